"""A turn without a network: texts of replies in, events and the next request out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from langchain_ai365vip._parsing.events import Call, Event, InvalidCall, Reasoning, Text
from langchain_ai365vip._turn.output_schema import Schema
from langchain_ai365vip._turn.rules import Rules
from langchain_ai365vip._turn.turn import Turn
from langchain_ai365vip._wire.payload import chat_payload
from langchain_ai365vip._wire.tokens import estimate_tokens
from langchain_ai365vip.errors import AI365VIPConnectionError, AI365VIPOutputError

ASKED = chat_payload(model="m", messages=[{"role": "user", "content": "Hi"}], prompt="P")
ADD: dict[str, Any] = {
    "add": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a"],
    }
}


def call(arguments: str) -> str:
    return f'<tool_call>{{"name": "add", "arguments": {arguments}}}</tool_call>'


GOOD, OTHER, BROKEN = call('{"a": 1}'), call('{"a": 2}'), call("[1, 2]")


class Point(BaseModel):
    """A point."""

    x: int


POINT = Schema.of(Point)


def answer(turn: Turn, *replies: Sequence[str]) -> list[Event]:
    """Feed the replies to the requests that a turn makes, and return all its events."""
    events: list[Event] = []
    for reply in replies:
        assert turn.request is not None
        for text in reply:
            if not turn.is_full:
                events += turn.feed(text)
        events += turn.end()
    assert turn.request is None
    return events


def shown(events: Sequence[Event]) -> list[Any]:
    """What events say: text, arguments of calls, the written arguments of broken ones."""
    said: list[Any] = []
    for event in events:
        if isinstance(event, Call):
            said.append(dict(event.arguments))
        elif isinstance(event, InvalidCall):
            said.append(InvalidCall)
        elif isinstance(event, (Text, Reasoning)):
            said.append(event.text)
    return said


def last_words(turn: Turn) -> tuple[str, str]:
    """The model's words and ours at the end of the request that comes next."""
    assert turn.request is not None
    said, asked = turn.request["messages"][-2:]
    assert (said["role"], asked["role"]) == ("assistant", "user")
    return said["content"], asked["content"]


def test_text_is_handed_out_as_it_comes() -> None:
    turn = Turn(ASKED, Rules())
    first = turn.request
    assert first == ASKED
    assert [shown(turn.feed(text)) for text in ("Hel", "lo")] == [["Hel"], ["lo"]]
    assert turn.end() == []
    assert (turn.request, turn.finish_reason) == (None, "stop")


def test_a_call_is_handed_out_once_it_is_complete_and_the_text_before_it_at_once() -> None:
    turn = Turn(ASKED, Rules(tools=ADD))
    assert shown(turn.feed("Sure. " + GOOD[:20])) == ["Sure. "]
    assert shown(turn.feed(GOOD[20:])) == [{"a": 1}]
    assert shown(turn.end()) == []
    assert turn.finish_reason == "tool_calls"


@pytest.mark.parametrize("parallel", [True, False])
def test_what_follows_a_single_call_is_not_read(parallel: bool) -> None:
    turn = Turn(ASKED, Rules(tools=ADD, parallel=parallel))
    turn.feed(GOOD)
    assert turn.is_full is not parallel
    events = answer(turn, [OTHER])
    assert shown(events) == ([{"a": 2}] if parallel else [])


@pytest.mark.parametrize("tools", [{}, ADD], ids=["text", "tools"])
def test_a_stop_text_ends_the_reply(tools: dict[str, Any]) -> None:
    turn = Turn(ASKED, Rules(tools=tools, stop=("END",)))
    assert "".join(shown(turn.feed("one E"))) == "one "
    assert shown(turn.feed("ND two")) == []
    assert turn.is_full
    assert shown(turn.end()) == []
    assert (turn.finish_reason, turn.exchanges[0].said) == ("stop", "one END two")


@pytest.mark.parametrize("tools", [{}, ADD], ids=["text", "tools"])
def test_a_bound_on_tokens_ends_the_reply(tools: dict[str, Any]) -> None:
    turn = Turn(ASKED, Rules(tools=tools, max_tokens=5), estimate_tokens)
    events = answer(turn, ["word " * 50])
    assert "word" in "".join(shown(events))
    assert len("".join(shown(events))) < 40
    assert turn.finish_reason == "length"


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ([GOOD], ["Sure. ", {"a": 1}]),
        (["Sorry. ", GOOD, OTHER], ["Sure. ", {"a": 1}, {"a": 2}]),
        ([BROKEN], ["Sure. ", BROKEN, InvalidCall]),
        (["I cannot."], ["Sure. ", "\n\nI cannot."]),
    ],
    ids=["mended", "and another", "broken again", "words"],
)
def test_a_broken_call_is_asked_for_once_more(second: list[str], expected: list[Any]) -> None:
    turn = Turn(ASKED, Rules(tools=ADD))
    before = [*turn.feed("Sure. "), *turn.feed(BROKEN), *turn.end()]
    assert shown(before) == ["Sure. "]
    said, asked = last_words(turn)
    assert said == "Sure. " + BROKEN
    assert "not a JSON object" in asked
    assert shown([*before, *answer(turn, second)]) == expected
    assert len(turn.exchanges) == 2


def test_a_broken_call_beside_a_good_one_is_not_asked_for() -> None:
    turn = Turn(ASKED, Rules(tools=ADD))
    assert shown(answer(turn, [BROKEN, "So: ", GOOD])) == ["So: ", {"a": 1}, InvalidCall]


def test_what_follows_a_broken_call_waits_to_stand_behind_its_text() -> None:
    turn = Turn(ASKED, Rules(tools=ADD))
    assert shown([*turn.feed("Hm. "), *turn.feed(BROKEN), *turn.feed("Well.")]) == ["Hm. "]
    assert shown([*turn.end(), *answer(turn, [BROKEN])]) == [BROKEN, "Well.", InvalidCall]


def test_a_correction_that_fails_takes_nothing_away() -> None:
    turn = Turn(ASKED, Rules(tools=ADD))
    assert shown([*turn.feed(BROKEN), *turn.end(), *turn.feed("So")]) == []
    assert shown(turn.fail(AI365VIPConnectionError("gone"))) == [BROKEN, InvalidCall]
    assert turn.request is None
    assert [exchange.said for exchange in turn.exchanges] == [BROKEN, "So"]


def test_any_other_request_that_fails_is_an_error() -> None:
    for rules in (Rules(), Rules(tools=ADD, forced=True), Rules(schema=POINT)):
        turn = Turn(ASKED, rules)
        with pytest.raises(AI365VIPConnectionError):
            turn.fail(AI365VIPConnectionError("gone"))


def test_a_forced_call_is_waited_for_and_asked_for_once_more() -> None:
    turn = Turn(ASKED, Rules(tools=ADD, forced=True))
    assert shown([*turn.feed("I would rather "), *turn.feed("not."), *turn.end()]) == []
    said, asked = last_words(turn)
    assert said == "I would rather not."
    assert "add" in asked
    assert shown(answer(turn, ["Well: ", GOOD])) == ["Well: ", {"a": 1}]


@pytest.mark.parametrize("second", ["No.", BROKEN], ids=["words", "broken"])
def test_a_forced_call_that_does_not_come_is_an_error(second: str) -> None:
    turn = Turn(ASKED, Rules(tools=ADD, forced=True))
    with pytest.raises(AI365VIPOutputError) as caught:
        answer(turn, ["No."], [second])
    assert caught.value.partial_text == second


def test_or_the_reply_as_it_is_where_errors_are_not_raised() -> None:
    turn = Turn(ASKED, Rules(tools=ADD, forced=True, insistent=False))
    assert shown(answer(turn, ["No."], ["Never. ", BROKEN])) == ["Never. ", BROKEN, InvalidCall]


def test_an_object_is_handed_out_whole_and_nothing_else() -> None:
    turn = Turn(ASKED, Rules(schema=POINT))
    assert shown([*turn.feed('Here: {"x"'), *turn.feed(": 1} Bye.")]) == []
    assert shown(turn.end()) == ['{"x": 1}']
    assert turn.request is None


@pytest.mark.parametrize(
    ("second", "text"), [('{"x": 2}', '{"x": 2}'), ('{"y": 2}', '{"y": 2}'), ("No.", "No.")]
)
def test_an_object_that_does_not_fit_is_asked_for_once_more(second: str, text: str) -> None:
    turn = Turn(ASKED, Rules(schema=POINT))
    assert shown([*turn.feed('{"y": 1}'), *turn.end()]) == []
    assert "x" in last_words(turn)[1]
    assert shown(answer(turn, [second])) == [text]


def test_an_object_that_grows_is_handed_out_as_it_comes_and_never_asked_for_again() -> None:
    turn = Turn(ASKED, Rules(schema=POINT, partial=True))
    parts = [shown(turn.feed(text)) for text in ('Here: {"y', '": 1', "} Bye.")]
    assert parts == [['{"y'], ['": 1'], ["}"]]
    assert shown(turn.end()) == []
    assert turn.request is None


def test_a_reply_that_ends_inside_an_object_is_cut_off() -> None:
    turn = Turn(ASKED, Rules(schema=POINT, partial=True))
    answer(turn, ['{"x": '])
    assert turn.finish_reason == "length"


def test_reasoning_is_not_waited_for_where_an_object_is() -> None:
    turn = Turn(ASKED, Rules(schema=POINT, reasoning=True))
    assert "".join(shown(turn.feed("<think>Hm.</think>"))).strip() == "Hm."
    assert shown([*turn.feed('{"x": 1}'), *turn.end()]) == ['{"x": 1}']


def test_usage_counts_both_requests() -> None:
    turn = Turn(ASKED, Rules(tools=ADD))
    answer(turn, [BROKEN], [GOOD])
    usage = turn.usage(len)
    assert usage["output_tokens"] == len(BROKEN + GOOD)
    assert usage["input_tokens"] > 2 * len("PHi") + len(BROKEN)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
