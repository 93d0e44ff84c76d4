"""One turn: what is asked for again and how, what is handed out, and why the reply ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import RootModel

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.errors import AI365VIPOutputError
from tests.agent_kit import Request, asked
from tests.endpoint import Endpoint, in_turn
from tests.turn.test_tools import ADD, BROKEN, Joke, add, merged


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


ADD_9 = call("add", a=1, b=9)
CUT = ADD[: ADD.index('"b"')]
OBJECT = '{"setup": "s", "punchline": "p"}'
ONE, NINE = {"a": 1, "b": 2}, {"a": 1, "b": 9}
INVALID = "The arguments are not a JSON object."
CUT_OFF = "The reply ended inside this call."
JOKE = {
    "type": "json_schema",
    "json_schema": {"name": "Joke", "schema": Joke.model_json_schema()},
}
ANY: dict[str, Any] = {"tool_choice": "any"}
SINGLE: dict[str, Any] = {"parallel_tool_calls": False}
FORMAT: dict[str, Any] = {"response_format": JOKE}
GROWING: dict[str, Any] = {"response_format": JOKE, "partial_objects": True}


X = [("user", "x")]


def gist(message: AIMessage) -> tuple[Any, ...]:
    return (
        message.text,
        [each["args"] for each in message.tool_calls],
        [(each["args"] or "").partition("\n")[0] for each in message.invalid_tool_calls],
        message.response_metadata["finish_reason"],
    )


def wrong(*errors: str) -> list[str]:
    return [f"[invalid tool call}} {error}" for error in errors]


# what is bound, the replies in turn, and: text, calls, invalid calls, finish_reason
CASES: dict[str, tuple[dict[str, Any], list[str], tuple[Any, ...]]] = {
    "broken": ({}, [BROKEN, ADD], ("", [ONE], [], "tool_calls")),
    "broken, beside an object": (FORMAT, [BROKEN, ADD], ("", [ONE], [], "tool_calls")),
    "broken, beside a growing object": (GROWING, [BROKEN, ADD], ("", [ONE], [], "tool_calls")),
    "broken twice, beside an object": (
        FORMAT,
        ["Hm. " + BROKEN, BROKEN],
        ("Hm. " + BROKEN, [], wrong(INVALID), "stop"),
    ),
    "broken, then an object": (FORMAT, [BROKEN, "So: " + OBJECT], (OBJECT, [], [], "stop")),
    "broken twice, beside a growing object": (
        GROWING,
        [BROKEN, BROKEN],
        (BROKEN, [], wrong(INVALID), "stop"),
    ),
    "good and broken, beside an object": (
        FORMAT,
        [ADD + BROKEN],
        ("", [ONE], wrong(INVALID), "tool_calls"),
    ),
    "an object as a call of its name, beside tools": (
        FORMAT,
        [call("Joke", **json.loads(OBJECT))],
        (OBJECT, [], [], "stop"),
    ),
    "broken and good, forced": (ANY, [BROKEN + ADD], ("", [ONE], wrong(INVALID), "tool_calls")),
    "broken, then good, forced": (ANY, [BROKEN, ADD], ("", [ONE], [], "tool_calls")),
    "none, forced, then broken and good": (
        ANY,
        ["No.", BROKEN + ADD],
        ("", [ONE], wrong(INVALID), "tool_calls"),
    ),
    "a forced call comes before an object": (
        {**ANY, **FORMAT},
        [ADD],
        ("", [ONE], [], "tool_calls"),
    ),
    "good and broken": ({}, [ADD + BROKEN], ("", [ONE], wrong(INVALID), "tool_calls")),
    "broken, then words": ({}, ["Hm. " + BROKEN, "It is 3."], ("Hm. \n\nIt is 3.", [], [], "stop")),
    "broken, and words before none": ({}, [BROKEN, "It is 3."], ("It is 3.", [], [], "stop")),
    "broken between words": (
        {},
        [f"Hm. {BROKEN} Well.", BROKEN],
        (f"Hm. {BROKEN} Well.", [], wrong(INVALID), "stop"),
    ),
    "arguments that do not fit": (
        {},
        [call("add", a="one")],
        ("", [{"a": "one"}], [], "tool_calls"),
    ),
    "an unknown name": ({}, [call("subtract", a=1)], ("", [{"a": 1}], [], "tool_calls")),
    "an unknown name, forced": (ANY, [call("subtract", a=1), ADD], ("", [ONE], [], "tool_calls")),
    "the same call twice in one reply": ({}, [ADD + ADD], ("", [ONE, ONE], [], "tool_calls")),
    "broken and good, one allowed": (
        SINGLE,
        [BROKEN + ADD],
        ("", [ONE], wrong(INVALID), "tool_calls"),
    ),
    "broken, one allowed, two come": (
        SINGLE,
        [BROKEN, ADD_9 + ADD],
        ("", [NINE], [], "tool_calls"),
    ),
    "cut, mended": ({}, ["So: " + CUT, ADD], ("So: ", [ONE], [], "tool_calls")),
    "cut, not mended": ({}, ["So: " + CUT, "No."], ("So: \n\nNo.", [], [], "stop")),
    "cut, cut again": ({}, [CUT, CUT], (CUT, [], wrong(CUT_OFF), "length")),
    "good and cut": ({}, [ADD + CUT], ("", [ONE], wrong(CUT_OFF), "length")),
    "broken, then cut": ({}, [BROKEN, CUT], (BROKEN, [], wrong(INVALID), "stop")),
    "an object cut twice": (FORMAT, [OBJECT[:20], OBJECT[:20]], (OBJECT[:20], [], [], "length")),
    "a growing object cut": (GROWING, [OBJECT[:20]], (OBJECT[:20], [], [], "length")),
    "a growing object": (GROWING, ["Well: " + OBJECT], (OBJECT, [], [], "stop")),
}


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_turn_makes_these_requests_and_has_this_result(
    endpoint: Endpoint, case: tuple[dict[str, Any], list[str], tuple[Any, ...]], way: str
) -> None:
    settings, replies, expected = case
    endpoint.pieces = in_turn(*[[reply[:9], reply[9:]] for reply in replies])
    model = ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, max_retries=0)
    bound = model.bind_tools([add], **settings)
    message: AIMessage = merged(bound.stream("x")) if way == "stream" else bound.invoke("x")
    assert gist(message) == expected
    first, *again = asked(endpoint)
    assert first == Request(X, ["add"], schema="Joke" if "response_format" in settings else "")
    # Asking again is to show the reply, and to say what is wrong with it.
    assert again == [
        replace(first, turns=[*X, ("assistant", reply), ("user", wanted.turns[-1][1])])
        for reply, wanted in zip(replies[:-1], again, strict=True)
    ]


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_where_tools_are_ruled_out_all_is_text(endpoint: Endpoint, way: str) -> None:
    endpoint.pieces = ["So: ", ADD]
    bound = ChatAI365VIP(base_url=endpoint.base_url).bind_tools([add], tool_choice="none")
    message: AIMessage = merged(bound.stream("x")) if way == "stream" else bound.invoke("x")
    assert gist(message) == ("So: " + ADD, [], [], "stop")
    assert endpoint.requests == 1


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    return ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, max_retries=0)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        pytest.param(ADD, ("", [], wrong(CUT_OFF), "length"), id="inside a call"),
        pytest.param("So: " + ADD, ("So: ", [], [], "length"), id="before its name"),
        pytest.param("w " * 50, ("w " * 10, [], [], "length"), id="in prose"),
        pytest.param("Fine.", ("Fine.", [], [], "stop"), id="not at all"),
    ],
)
def test_max_tokens_is_a_cut_wherever_it_falls(
    endpoint: Endpoint, model: ChatAI365VIP, reply: str, expected: tuple[Any, ...]
) -> None:
    endpoint.pieces = [reply]
    message = model.bind_tools([add]).invoke("x", max_tokens=10)
    assert gist(message)[1:] == expected[1:]
    assert reply.startswith(message.text.strip())
    assert message.text
    assert endpoint.requests == 1


def test_a_cut_behind_the_only_call_that_may_come_does_not_count(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = [ADD + " then " * 100]
    message = model.bind_tools([add], **SINGLE).invoke("x", max_tokens=60)
    assert gist(message) == ("", [ONE], [], "tool_calls")


def test_a_cut_after_a_call_is_a_cut(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    endpoint.pieces = [ADD + " then" * 100]
    message = model.bind_tools([add]).invoke("x", max_tokens=60)
    assert gist(message)[1:] == ([ONE], [], "length")


# -- forced calls that bring an object -----------------------------------------------------


HALF = call("Joke", setup="s")
LONG_ADD = call("add", a=1, b=int("2" * 200))
MISSING = "The arguments are not valid: punchline: Field required."


@pytest.mark.parametrize(
    ("reply", "settings", "says"),
    [
        pytest.param(HALF, {}, f"made a call that does not fit ({MISSING})", id="misfit"),
        pytest.param("No joke.", {}, "made no call", id="refusal"),
        pytest.param(
            call("Joke", setup="s" * 100, punchline="p"),
            {"max_tokens": 10},
            "The reply was cut off",
            id="cut",
        ),
    ],
)
def test_an_object_that_a_call_does_not_bring_is_an_error_that_says_why(
    endpoint: Endpoint, model: ChatAI365VIP, reply: str, settings: dict[str, Any], says: str
) -> None:
    endpoint.pieces = [reply]
    with pytest.raises(AI365VIPOutputError) as raised:
        model.with_structured_output(Joke, **settings).invoke("x")
    assert says in str(raised.value)
    assert endpoint.requests == 2

    structured = model.with_structured_output(Joke, include_raw=True, **settings)
    whole, streamed = structured.invoke("x"), merged_dicts(structured.stream("x"))
    for result in (whole, streamed):
        assert isinstance(result, dict)
        assert result.keys() == {"raw", "parsed", "parsing_error"}
        assert result["parsed"] is None
        assert isinstance(result["parsing_error"], AI365VIPOutputError)
        assert says in str(result["parsing_error"])
        assert reply.startswith(result["raw"].text)
        assert result["raw"].text
    assert endpoint.requests == 6


CUT_SHORT = "The reply was cut off by max_tokens=60: raise it, or ask for less."


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        pytest.param("w " * 99, "w " * 99, f"made no call, even .* {CUT_SHORT}", id="in prose"),
        pytest.param("w " * 99, LONG_ADD, f"does not fit .* {CUT_SHORT}", id="inside a call"),
        pytest.param("w " * 99, "No.", "leaves it the choice", id="not the second time"),
        pytest.param(LONG_ADD, ADD, None, id="then a short call"),
        pytest.param("w " * 99, ADD, None, id="then no prose"),
    ],
)
def test_a_forced_call_that_max_tokens_cut_is_asked_for_again_and_the_error_names_the_limit(
    endpoint: Endpoint, model: ChatAI365VIP, first: str, second: str, says: str | None
) -> None:
    endpoint.pieces = in_turn([first], [second])
    bound = model.bind_tools([add], tool_choice="any")
    if says is None:
        assert gist(bound.invoke("x", max_tokens=60)) == ("", [ONE], [], "tool_calls")
    else:
        with pytest.raises(AI365VIPOutputError, match=says):
            bound.invoke("x", max_tokens=60)
    assert endpoint.requests == 2


def merged_dicts(parts: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            mergeable = isinstance(value, AIMessage) and name in whole
            whole[name] = whole[name] + value if mergeable else value
    return whole


@pytest.mark.parametrize("schema", [Joke, Joke.model_json_schema()], ids=["class", "dict"])
def test_include_raw_gives_the_message_and_the_object(
    endpoint: Endpoint, model: ChatAI365VIP, schema: Any
) -> None:
    good = {"setup": "s", "punchline": "p"}
    endpoint.pieces = in_turn([HALF], [call("Joke", **good)], [call("Joke", **good)])
    structured = model.with_structured_output(schema, include_raw=True)
    expected = Joke(**good) if schema is Joke else good
    for result in (structured.invoke("x"), merged_dicts(structured.stream("x"))):
        assert isinstance(result, dict)
        assert result["parsed"] == expected
        assert result["parsing_error"] is None
        assert result["raw"].tool_calls[0]["args"] == good
    assert endpoint.requests == 3


# -- objects in the text -------------------------------------------------------------------


class Jokes(RootModel[list[Joke]]):
    """Some jokes."""


LIST = f"[{OBJECT}, {OBJECT}]"
ALL = [{"setup": "s", "punchline": "p"}] * 2


def paced_parts(endpoint: Endpoint, structured: Any, pieces: Sequence[str]) -> Iterator[Any]:
    """Stream, and let each piece through when what the ones before it gave was seen."""
    endpoint.paced, endpoint.pieces = True, pieces
    endpoint.release(1)
    for part in structured.stream("x"):
        yield part
        endpoint.release(1)


def test_a_list_grows_item_by_item(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    pieces = ['[{"setup": "s"', ', "punchline": "p"}, {"se', 'tup": "s", "punchline": "p"', "}]"]
    schema = {"title": "Jokes", "type": "array", "items": Joke.model_json_schema()}
    structured = model.with_structured_output(schema, method="json_schema", partial_objects=True)
    growth: list[Any] = []
    for part in paced_parts(endpoint, structured, pieces):
        growth.append(part)
        if part == ALL:
            endpoint.release_all()
    assert growth == [[{"setup": "s"}], [ALL[0], {}], ALL]
    assert endpoint.requests == 1


@pytest.mark.parametrize("partial", [False, True], ids=["whole", "growing"])
def test_a_list_of_a_class_comes_whole(
    endpoint: Endpoint, model: ChatAI365VIP, partial: bool
) -> None:
    endpoint.pieces = ["Sure: ", *LIST, " Bye."]
    structured = model.with_structured_output(Jokes, method="json_schema", partial_objects=partial)
    expected = Jokes.model_validate(ALL)
    assert list(structured.stream("x"))[-1] == structured.invoke("x") == expected
    assert endpoint.requests == 2


CUT_OBJECT = '{"setup": "s", "punchl'
MISFIT = '{"setup": "s"}'


@pytest.mark.parametrize("partial", [False, True], ids=["whole", "growing"])
@pytest.mark.parametrize("schema", [Joke, Joke.model_json_schema()], ids=["class", "dict"])
@pytest.mark.parametrize(
    ("reply", "says", "reason"),
    [
        pytest.param("No joke.", "holds no JSON object", "stop", id="none"),
        pytest.param(MISFIT, "punchline", "stop", id="misfit"),
        pytest.param(CUT_OBJECT, "ends before it is complete", "length", id="cut"),
    ],
)
async def test_an_object_that_never_comes_is_an_error_in_a_stream_too(
    endpoint: Endpoint,
    model: ChatAI365VIP,
    reply: str,
    says: str,
    reason: str,
    schema: Any,
    partial: bool,
) -> None:
    endpoint.pieces = [reply]

    def structured(*, include_raw: bool) -> Any:
        return model.with_structured_output(
            schema, method="json_schema", partial_objects=partial, include_raw=include_raw
        )

    strict, lenient = structured(include_raw=False), structured(include_raw=True)
    with pytest.raises(OutputParserException, match=says):
        strict.invoke("x")
    with pytest.raises(OutputParserException, match=says):
        list(strict.stream("x"))
    with pytest.raises(OutputParserException, match=says):
        [part async for part in strict.astream("x")]
    parts = [part async for part in lenient.astream("x")]
    for result in (lenient.invoke("x"), merged_dicts(lenient.stream("x")), merged_dicts(parts)):
        assert result["parsed"] is None
        assert isinstance(result["parsing_error"], OutputParserException)
        assert (result["raw"].text, result["raw"].response_metadata["finish_reason"]) == (
            reply,
            reason,
        )
    assert endpoint.requests == (6 if partial else 12)


def test_include_raw_goes_with_growing_objects(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    endpoint.pieces = ["Sure: ", OBJECT, " Bye."]
    structured = model.with_structured_output(
        Joke.model_json_schema(), method="json_schema", partial_objects=True, include_raw=True
    )
    for result in (structured.invoke("x"), merged_dicts(structured.stream("x"))):
        assert isinstance(result, dict)
        assert (result["raw"].text, result["parsed"]) == (OBJECT, ALL[0])
        assert result["parsing_error"] is None
    assert endpoint.requests == 2


# -- reasoning whose beginning the chat template has written -------------------------------

DRAFT = 'I might say {"setup": "draft", "punchline": "draft"}, but no.'


@pytest.mark.parametrize("output_version", [None, "v1"])
def test_a_reply_that_begins_inside_reasoning(endpoint: Endpoint, output_version: Any) -> None:
    thought = f"Let me think of {ADD}?"
    endpoint.pieces = [thought[:30], thought[30:], "\n</thi", "nk>\n\nSo: ", ADD_9]
    model = ChatAI365VIP(
        base_url=endpoint.base_url, reasoning="opened", output_version=output_version
    )
    bound = model.bind_tools([add])
    for message in (bound.invoke("x"), merged(bound.stream("x"))):
        assert gist(message) == ("So: ", [NINE], [], "tool_calls")
        kinds = [(b["type"], b.get("reasoning")) for b in message.content_blocks]
        assert kinds[0] == ("reasoning", thought + "\n")
    assert endpoint.requests == 2


def test_such_a_reply_that_never_ends_its_reasoning_keeps_it(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = ["Red, ", "blue."]
    message = model.invoke("x", reasoning="opened")
    assert message.text == ""
    assert message.content_blocks == [{"type": "reasoning", "reasoning": "Red, blue."}]


@pytest.mark.parametrize("reasoning", [False, True, "opened"])
@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(f"{DRAFT}\n</think>\n\n{OBJECT}", id="on its own line"),
        pytest.param(f"{DRAFT}</think>{OBJECT}", id="before the object"),
        pytest.param(f"{DRAFT}</think>\n```json\n{OBJECT}\n```", id="before a fence"),
        pytest.param(f"<think>{DRAFT}</think>\nSure: {OBJECT}", id="with its beginning"),
    ],
)
def test_a_draft_in_the_reasoning_is_not_the_object(
    endpoint: Endpoint, model: ChatAI365VIP, reply: str, reasoning: Any
) -> None:
    endpoint.pieces = [reply]
    structured = model.with_structured_output(Joke, method="json_schema", reasoning=reasoning)
    expected = Joke(setup="s", punchline="p")
    assert structured.invoke("x") == expected
    assert list(structured.stream("x")) == [expected]
    assert endpoint.requests == 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"setup": "s</think>", "punchline": "p</think> {"}', id="inside"),
        pytest.param(OBJECT + "\n</think>\n", id="behind it"),
    ],
)
def test_a_closing_tag_in_or_behind_an_object_takes_nothing_away(
    endpoint: Endpoint, model: ChatAI365VIP, text: str
) -> None:
    endpoint.pieces = [text]
    message = model.invoke("x", response_format=JOKE)
    assert message.text == text.removesuffix("\n</think>\n")
    assert endpoint.requests == 1


def test_an_unknown_kind_of_reasoning_is_refused(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    with pytest.raises(ValueError, match=r"reasoning[\s\S]*should be 'opened'"):
        model.invoke("x", reasoning="open")
    assert endpoint.requests == 0


# -- stop texts ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize(
    ("stop", "reply", "expected"),
    [
        pytest.param("\n", f"Sure: {ADD}", ("Sure: ", [ONE], [], "tool_calls"), id="in a call"),
        pytest.param(
            "</tool_call>", ADD + ADD_9, ("", [ONE, NINE], [], "tool_calls"), id="its tag"
        ),
        pytest.param("\n", f"One\ntwo {ADD}", ("One", [], [], "stop"), id="before a call"),
        pytest.param(
            "STOP", f"{ADD} bye STOP {ADD}", ("bye ", [ONE], [], "tool_calls"), id="after a call"
        ),
        pytest.param("STOP", "a ST", ("a ST", [], [], "stop"), id="half of one"),
        pytest.param("STOP", f"a ST{ADD}OP", ("a STOP", [ONE], [], "tool_calls"), id="around"),
        pytest.param(
            "\n", f"<think>a\nb</think>c\nd {ADD}", ("c", [], [], "stop"), id="in reasoning"
        ),
    ],
)
def test_a_stop_text_ends_prose_and_no_call(
    endpoint: Endpoint, stop: str, reply: str, expected: tuple[Any, ...], way: str
) -> None:
    endpoint.pieces = [reply[:3], reply[3:14], reply[14:]]
    model = ChatAI365VIP(base_url=endpoint.base_url, reasoning=True, stop=[stop])
    bound = model.bind_tools([add])
    message: AIMessage = merged(bound.stream("x")) if way == "stream" else bound.invoke("x")
    assert gist(message) == expected
    assert endpoint.requests == 1


def test_a_stop_text_behind_a_broken_call_does_not_keep_it_from_being_asked_for(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn([BROKEN, " bye STOP ", ADD_9], [ADD])
    message = model.bind_tools([add]).invoke("x", stop=["STOP"])
    assert gist(message) == ("bye ", [ONE], [], "tool_calls")
    assert endpoint.requests == 2


async def test_a_stop_text_hangs_up(paced: Endpoint) -> None:
    model = ChatAI365VIP(base_url=paced.base_url)
    paced.pieces = ["Hi STOP", " and on", " and on"]
    paced.release(1)
    message = await model.bind_tools([add]).ainvoke("x", stop=["STOP"])
    assert message.text == "Hi "
    assert await asyncio.to_thread(paced.closed.wait, 30)


# -- what may be bound ---------------------------------------------------------------------


def test_openais_default_response_format_means_nothing(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = ["Hello."]
    assert model.invoke("x", response_format={"type": "text"}).text == "Hello."
    assert model.invoke("x").text == "Hello."
    plain, formatted = endpoint.bodies
    assert plain == formatted


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
def test_structured_output_beside_tools_is_refused_with_what_to_do(
    model: ChatAI365VIP, method: Any
) -> None:
    with pytest.raises(ValueError, match=r"takes no tools\. .* use bind_tools\(tools, response_f"):
        model.with_structured_output(Joke, method=method, tools=[add])


@pytest.mark.parametrize(
    ("arguments", "what_to_do"),
    [
        ({"schema": Joke, "method": "tools"}, r"'tools' is unknown: use 'function_calling', "),
        ({"schema": None}, r"needs a schema: pass a pydantic class, "),
        ({"schema": None, "method": "json_schema"}, r"Only method='json_mode' does without"),
        ({"schema": Joke, "partial_objects": True}, r"needs method='json_schema' or 'json_mode'"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused_with_what_to_do(
    model: ChatAI365VIP, arguments: dict[str, Any], what_to_do: str
) -> None:
    with pytest.raises(ValueError, match=what_to_do):
        model.with_structured_output(**arguments)


def test_a_caller_may_leave_the_call_of_an_object_to_the_model(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn(["No joke."], [call("Joke", **ALL[0]) * 2])
    structured: Any = model.with_structured_output(
        Joke, tool_choice="auto", parallel_tool_calls=True, include_raw=True
    )
    words, jokes = structured.invoke("x"), structured.invoke("x")
    assert (words["parsed"], words["raw"].text) == (None, "No joke.")
    assert isinstance(words["parsing_error"], AI365VIPOutputError)
    assert (jokes["parsed"], len(jokes["raw"].tool_calls)) == (Joke(**ALL[0]), 2)
    assert endpoint.requests == 2


def test_strict_shows_a_stricter_tool_and_the_same_json_schema(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = [call("Joke", **ALL[0])]
    for strict in (None, True):
        model.with_structured_output(Joke, strict=strict).invoke("x")
    endpoint.pieces = [OBJECT]
    for strict in (None, True, False):
        model.with_structured_output(Joke, method="json_schema", strict=strict).invoke("x")
    loose, stricter, *texts = [body["prompt"] for body in endpoint.bodies]
    assert '"additionalProperties": false' in stricter
    assert '"additionalProperties"' not in loose
    assert texts == [texts[0]] * 3


# -- counting ------------------------------------------------------------------------------


def test_a_users_own_tokenizer_counts_everything(endpoint: Endpoint) -> None:
    endpoint.pieces = ["one two three"]
    model = ChatAI365VIP(
        base_url=endpoint.base_url, custom_get_token_ids=lambda text: list(range(len(text)))
    )
    assert model.get_token_ids("abc") == [0, 1, 2]
    assert model.get_num_tokens("abc") == 3
    framing = 2 * 4 + 3
    asked = len("You are a helpful assistant.") + len("Hi") + framing
    assert model.get_num_tokens_from_messages([HumanMessage("Hi")]) == asked
    message = model.invoke("Hi", estimate_usage=True)
    assert message.usage_metadata == {
        "input_tokens": asked,
        "output_tokens": 13,
        "total_tokens": asked + 13,
    }
    assert model.invoke("Hi", max_tokens=5).text == "one t"


def test_tokens_are_counted_without_transformers(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    assert len(model.get_token_ids("Hello there")) > 0
    assert model.get_num_tokens("Hello there") == 2
    endpoint.pieces = ["Hi!"]
    message = model.invoke("Hi", estimate_usage=True)
    assert message.usage_metadata == {"input_tokens": 18, "output_tokens": 2, "total_tokens": 20}
    assert message.response_metadata["usage"] == "estimated"


def test_messages_and_tools_count_as_what_is_sent(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    long = [HumanMessage("w " * 4_000), AIMessage("k"), HumanMessage("go")]
    usage = model.bind_tools([add]).invoke(long, estimate_usage=True).usage_metadata
    assert usage is not None
    assert model.get_num_tokens_from_messages(long, [add]) == usage["input_tokens"]
    assert model.get_num_tokens_from_messages([]) == 0
