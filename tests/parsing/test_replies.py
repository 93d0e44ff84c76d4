"""Replies as models write them, beside those of `cases.json`, with tools of every kind.

A reply of `replies.json` has the `calls` and the `text` (`=`: all of it) that are to be read in
it, the tools of `invalid` calls, and what is `thought`, where that is compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from langchain_ai365vip._parsing.events import Call, Event, InvalidCall, Reasoning, Text
from langchain_ai365vip._parsing.parser import ToolCallParser

from .test_cases import seen

FILE = json.loads(Path(__file__).with_name("replies.json").read_text(encoding="utf-8"))
REPLIES: dict[str, dict[str, Any]] = {reply["id"]: reply for reply in FILE["replies"]}


def parse(case: dict[str, Any], pieces: Iterable[str]) -> list[Event]:
    parser = ToolCallParser(
        FILE["tools"],
        reasoning=case.get("reasoning", False),
        opened=case.get("opened", False),
        echoed=case.get("echoed", ()),
    )
    return [event for piece in pieces for event in parser.feed(piece)] + parser.flush()


def words(events: Iterable[Event], kind: type[Text] | type[Reasoning]) -> list[str]:
    return "".join(event.raw for event in events if isinstance(event, kind)).split()


@pytest.mark.parametrize("case", REPLIES.values(), ids=list(REPLIES))
def test_a_reply_is_read_right_whole_and_by_character(case: dict[str, Any]) -> None:
    reply = case["reply"]
    events = parse(case, [reply])
    assert "".join(event.raw for event in events) == reply
    calls = [[event.name, event.arguments] for event in events if isinstance(event, Call)]
    assert json.dumps(calls) == json.dumps(case["calls"])
    invalid = [event.name for event in events if isinstance(event, InvalidCall)]
    assert invalid == case.get("invalid", [])
    text = reply if case["text"] == "=" else case["text"]
    assert words(events, Text) == text.split()
    if "thought" in case:
        assert words(events, Reasoning) == case["thought"].split()
    assert seen(parse(case, list(reply))) == seen(events)
