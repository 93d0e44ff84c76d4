"""Broken JSON is read where its meaning is clear, and never at the price of some of its text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_ai365vip._json_text import REPAIR_LIMIT, read_json
from langchain_ai365vip._tool_parser import Call, InvalidCall, ToolCallParser

READ: dict[str, tuple[str, Any]] = {
    "correct": ('{"a": [1, null]}', {"a": [1, None]}),
    "a raw line break": ('{"a": "x\ny"}', {"a": "x\ny"}),
    "a trailing comma": ('{"a": 1,}', {"a": 1}),
    "single quotes": ("{'a': 'x'}", {"a": "x"}),
    "Python's words": ("{'a': True, 'b': None}", {"a": True, "b": None}),
    "unquoted keys": ('{a: 1, b_c: "x"}', {"a": 1, "b_c": "x"}),
    "brackets missing": ('{"a": {"b": [1', {"a": {"b": [1]}}),
    "a bracket too many": ('{"a": 1}}', {"a": 1}),
    "a bad escape": (r'{"a": "\d+"}', {"a": r"\d+"}),
    "unescaped quotation marks": ('{"a": "the "big" one"}', {"a": 'the "big" one'}),
}


CORRECT = {READ["correct"][0], READ["a raw line break"][0]}


@pytest.mark.parametrize(("text", "value"), READ.values(), ids=list(READ))
def test_json_with_a_clear_meaning_is_read(text: str, value: Any) -> None:
    assert read_json(text) == (value, text not in CORRECT)


LOST = {
    "the end of a string": '{"a": "the "big}" one"}',
    "punctuation": '{"a": "f("x") + g("}")"}',
    "a comment": '{"a": 1 /* b */}',
    "prose": '{"a": 1} and so on',
    "no JSON": "hello",
    "nothing": "",
    "nothing but brackets": "[" * 5000,
}


@pytest.mark.parametrize("text", LOST.values(), ids=list(LOST))
def test_a_repair_that_would_lose_something_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^The JSON is (broken|nested)"):
        read_json(text)


def test_a_long_text_is_read_and_not_repaired() -> None:
    long = "x" * REPAIR_LIMIT
    assert read_json(f'{{"a": "{long}"}}') == ({"a": long}, False)
    with pytest.raises(ValueError, match=f"the limit is {REPAIR_LIMIT}"):
        read_json(f'{{"a": "{long}",}}')


@settings(max_examples=200)
@given(st.text(alphabet="{}[]\":,\\ \nabc1'", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        value, _ = read_json(text)
    except ValueError:
        return
    json.dumps(value)


def calls_with(argument: str) -> list[Call | InvalidCall]:
    tools = {"run": {"type": "object", "properties": {"code": {"type": "string"}}}}
    parser = ToolCallParser(tools)
    body = f'{{"name": "run", "arguments": {{"code": "{argument}"}}}}'
    events = parser.feed(f"<tool_call>{body}</tool_call>") + parser.flush()
    return [event for event in events if isinstance(event, Call | InvalidCall)]


@pytest.mark.parametrize(
    "code",
    [
        'print("x")',
        'print("{}")',
        'x = {"a"}',
        'say "<tool_call>" now',
        'line "one"\nline "two"',
    ],
)
def test_code_with_unescaped_quotation_marks_arrives_whole(code: str) -> None:
    (call,) = calls_with(code)
    assert isinstance(call, Call)
    assert call.arguments == {"code": code}


def keeps_every_letter(code: str) -> bool:
    for call in calls_with(code):
        kept = iter(json.dumps(call.arguments) if isinstance(call, Call) else code)
        if not all(char in kept for char in code if char.isalpha()):
            return False
    return True


@settings(max_examples=300)
@given(st.text(alphabet='ab {}[]":,()', min_size=1, max_size=30))
def test_a_call_with_broken_quotation_marks_keeps_every_letter_or_is_invalid(code: str) -> None:
    assert keeps_every_letter(code)


@pytest.mark.parametrize("code", ['"}}[ab', '"}},{ab', '"}}ab', '"}} ab', '"}a:', '"}},["ab"]'])
def test_a_string_that_seems_to_end_early_is_not_half_an_argument(code: str) -> None:
    assert calls_with(code)
    assert keeps_every_letter(code)
