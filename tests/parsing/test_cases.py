"""The sample replies of `cases.json`, in 69 forms: whole, by character and at every cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from langchain_ai365vip._parsing.events import Call, Discard, Event, InvalidCall, Text
from langchain_ai365vip._parsing.parser import ToolCallParser

FILE = json.loads(Path(__file__).with_name("cases.json").read_text(encoding="utf-8"))
TOOLS: dict[str, dict[str, Any]] = FILE["tools"]
CASES: dict[str, dict[str, Any]] = {
    f"{case['dialect']}: {case['case']}": case for case in FILE["cases"]
}


def parse(pieces: Iterable[str], *, reasoning: bool) -> list[Event]:
    parser = ToolCallParser(TOOLS, reasoning=reasoning)
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.flush()


def seen(events: Iterable[Event]) -> list[tuple[Any, ...]]:
    """Events without their ids, neighbours of one kind joined."""
    result: list[tuple[Any, ...]] = []
    for event in events:
        if isinstance(event, Call | InvalidCall):
            what = event.arguments if isinstance(event, Call) else event.error
            result.append((type(event), event.name, what, event.raw))
            continue
        kind = (type(event), event.why if isinstance(event, Discard) else "")
        if result and result[-1][:2] == kind:
            result[-1] = (*kind, result[-1][2] + event.text)
        else:
            result.append((*kind, event.text))
    return result


def is_right(case: dict[str, Any], events: list[Event]) -> bool:
    calls = [[event.name, event.arguments] for event in events if isinstance(event, Call)]
    broken = any(isinstance(event, InvalidCall) for event in events)
    text = "".join(event.text for event in events if isinstance(event, Text))
    mode = case.get("mode")
    if mode == "no-call":
        return not any(name in TOOLS for name, _ in calls)
    as_text = not calls and not broken and text.split() == case["reply"].split()
    if mode == "text" or (case.get("optional") and as_text):
        return as_text
    wanted = case["expected_text"]
    return (
        json.dumps(calls) == json.dumps(case["expected_calls"])
        and (not broken or bool(case.get("partial_ok")))
        and (wanted is None or text.split() == wanted.split())
    )


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_reply_is_read_right_whole_and_by_character(case: dict[str, Any]) -> None:
    reply, reasoning = case["reply"], case["reasoning"]
    events = parse([reply], reasoning=reasoning)
    assert "".join(event.raw for event in events) == reply
    assert is_right(case, events), events
    assert seen(parse(list(reply), reasoning=reasoning)) == seen(events)


def assert_same_at_cuts(case: dict[str, Any], cuts: Iterable[int]) -> None:
    reply, reasoning = case["reply"], case["reasoning"]
    whole = seen(parse([reply], reasoning=reasoning))
    for cut in cuts:
        assert seen(parse([reply[:cut], reply[cut:]], reasoning=reasoning)) == whole, cut


def assert_whole_where_it_ends(case: dict[str, Any], ends: Iterable[int]) -> None:
    """A value that the reply's end cuts is another value, and would be carried out."""
    for end in ends:
        events = parse([case["reply"][:end]], reasoning=case["reasoning"])
        calls = [event for event in events if isinstance(event, Call)]
        for call, (name, arguments) in zip(calls, case["expected_calls"], strict=False):
            assert call.name == name, end
            assert call.arguments.items() <= arguments.items(), end


@pytest.mark.thorough
def test_every_cut_and_every_end_of_a_reply_leave_its_calls_as_they_are() -> None:
    for case in CASES.values():
        assert_same_at_cuts(case, range(len(case["reply"])))
        assert_whole_where_it_ends(case, range(len(case["reply"])))
