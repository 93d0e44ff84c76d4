"""Broken JSON is read where its meaning is clear, and never at the price of some of its text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_ai365vip._parsing.calls import is_call_shaped
from langchain_ai365vip._parsing.events import Call, InvalidCall
from langchain_ai365vip._parsing.json_text import REPAIR_LIMIT, read_json
from langchain_ai365vip._parsing.parser import ToolCallParser

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


# What a repair could make of these, and must not: what stands in an argument is a guess.
TORN = {
    "three quotation marks": '{"city": """Paris"""}',
    "three quotation marks around others": '{"city": """the "big" one"""}',
    "an apostrophe at the end of a key's value": "{'city': 'L'Aquila'}",
    "an apostrophe in each of two": "{'city': 'don't', 'note': 'won't'}",
    "two kinds of quotation marks": """{"city": 'He said "it's"'}""",
    "two texts joined": '{"city": "a" + "b"}',
    "two texts joined by a dot": '{"city": "a" . "b"}',
    "two texts in a row": '{"city": "a" "b"}',
    "a text joined to a name": '{"city": "a" + b}',
    "a dictionary in a text": '{"city": "x = {"a": "b", "c": "d"}"}',
    "a list in a list's text": '{"tags": ["x = ["a", "b"]"]}',
    "a name without its value": '{"city": }',
    "a name without its colon": '{"city" "Paris"}',
    "a value that is no value": '{"city": undefined,}',
    "a quotation mark missing in the middle": '{"city": "Paris, "days": 2}',
    "a number with leading zeros": '{"city": "x", "days": 007}',
    "a number with commas": '{"city": "x", "days": 1,000}',
    "a number with underscores": '{"city": "x", "days": 1_000}',
    "a sum": '{"city": "x", "days": 1+1}',
    "what was left out": '{"city": "x", ...}',
    "a comment": '{"city": "x" /* or y */}',
    "a path with what may be a line break": r'{"city": "C:\Users\new"}',
    "a slash that is escaped where a quotation mark is missing": r'{"city": "a\/b}',
    "half of a character": r'{"city": "\ud83c",}',
    "a name twice": '{"city": "a", "city": "b",}',
}
FOREIGN = {
    "a name that the tool does not know": '{"city": "a", "town": "b",}',
    "the same one level down": '{"city": "a", "at": {"place": "x", "palce": "y",}}',
    "the same in a list": '{"city": "a", "all": [{"place": "x", "palce": "y",}]}',
    "the same in a text of JSON": r'"{\"city\": \"a\", \"town\": \"b\",}"',
}
PLACES = {"type": "object", "properties": {"place": {"type": "string"}}}
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "note": {"type": "string"},
        "days": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "at": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]},
        "all": {"type": "array", "items": {"$ref": "#/$defs/Place"}},
    },
    "$defs": {"Place": PLACES},
}


def call_of(arguments: str, schema: dict[str, Any] = CITY) -> Call | InvalidCall:
    parser = ToolCallParser({"weather": schema})
    reply = f'<tool_call>{{"name": "weather", "arguments": {arguments}}}</tool_call>'
    (event,) = parser.feed(reply) + parser.flush()
    assert isinstance(event, Call | InvalidCall)
    return event


@pytest.mark.parametrize("schema", [CITY, {}], ids=["known names", "any names"])
@pytest.mark.parametrize("arguments", TORN.values(), ids=list(TORN))
def test_a_call_is_not_made_with_what_a_repair_only_guesses(
    arguments: str, schema: dict[str, Any]
) -> None:
    assert isinstance(call_of(arguments, schema), InvalidCall)


@pytest.mark.parametrize("arguments", FOREIGN.values(), ids=list(FOREIGN))
def test_a_repaired_call_is_not_made_with_a_foreign_name_at_any_level(arguments: str) -> None:
    assert isinstance(call_of(arguments), InvalidCall)
    assert isinstance(call_of(arguments, {}), Call)


MENDED: dict[str, tuple[str, dict[str, Any]]] = {
    "an apostrophe inside": ("{'city': 'it's, ok', 'days': 2}", {"city": "it's, ok", "days": 2}),
    "a remark in quotation marks": ('{"city": "say "hi", ok"}', {"city": 'say "hi", ok'}),
    "a colon behind them": ('{"city": "say "hi": ok"}', {"city": 'say "hi": ok'}),
    "a call in a text": ('{"city": "print("a", "b")"}', {"city": 'print("a", "b")'}),
    "joined texts in a call in a text": ('{"city": "f("a" + "b")"}', {"city": 'f("a" + "b")'}),
    "a dictionary of one": ('{"city": "d = {"k": "v"}"}', {"city": 'd = {"k": "v"}'}),
    "HTML": ('{"city": "<p class="x">it\'s</p>"}', {"city": '<p class="x">it\'s</p>'}),
    "a word without marks": ('{"city": Paris}', {"city": "Paris"}),
    "words without marks": ("{city: New York, days: 2}", {"city": "New York", "days": 2}),
    "a list without marks": ("{tags: [a, b c]}", {"tags": ["a", "b c"]}),
    "an address without marks": ("{city: https://x.y/z?q=1}", {"city": "https://x.y/z?q=1"}),
    "the last mark missing": ('{"city": "Paris}', {"city": "Paris"}),
    "commas missing": ('{"city": "x" "tags": ["a" "b"]}', {"city": "x", "tags": ["a", "b"]}),
    "a number like .5": ('{"city": "x", "days": .5,}', {"city": "x", "days": 0.5}),
    "a pattern": (r'{"city": "\d+\s",}', {"city": r"\d+\s"}),
    "a path": (r'{"city": "C:\Users\x"}', {"city": r"C:\Users\x"}),
    "escapes": (r'{"city": "\u00e9\n\"x\"\\",}', {"city": 'é\n"x"\\'}),
    "nothing inside": ('{"city": "", "tags": [], "all": [{}],}',
        {"city": "", "tags": [], "all": [{}]}),
    "Python's words": ("{'city': 'x', 'at': None,}", {"city": "x", "at": None}),
    "no such name where any is allowed": (
        '{"city": "x", "at": {"place": "y",}}',
        {"city": "x", "at": {"place": "y"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "meant"), MENDED.values(), ids=list(MENDED))
def test_a_call_is_made_where_the_repair_is_what_the_text_shows(
    arguments: str, meant: dict[str, Any]
) -> None:
    call = call_of(arguments)
    assert isinstance(call, Call)
    assert call.arguments == meant


def test_a_repaired_object_may_have_any_key_where_the_schema_says_so() -> None:
    for schema in (
        {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object"},
    ):
        call = call_of('{"b": "x",}', schema)
        assert isinstance(call, Call)
        assert call.arguments == {"b": "x"}


strings = st.text(alphabet="ab \"'{}[]:,+\\n", max_size=12)


def damaged(text: str, places: list[int]) -> str:
    for place in places:
        place %= len(text)
        text = text[:place] + text[place + 1 :]
    return text


@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from(["city", "note"]), strings, min_size=1),
    st.lists(st.integers(0, 999), min_size=1, max_size=2),
)
def test_every_text_of_a_repaired_value_stands_in_the_source_as_one_run(
    value: dict[str, str], places: list[int]
) -> None:
    text = damaged(json.dumps(value), places)
    try:
        read, repaired = read_json(text)
    except ValueError:
        return
    if repaired and isinstance(read, dict):
        # Without backslashes, `\\n` and `\\b` are letters: on both sides.
        source, letters = text.replace("\\", ""), str.maketrans({"\n": "n", "\b": "b", "\\": ""})
        for item in read.values():
            shown = item.translate(letters) if isinstance(item, str) else ""
            assert shown in source, (text, read)


def test_lists_in_lists_are_no_call_however_deep_they_are() -> None:
    value: Any = {"name": "run", "arguments": {}}
    for _ in range(20_000):
        value = [value]
    assert not is_call_shaped({"tool_calls": value}, {"run": {}})
    assert is_call_shaped({"tool_calls": [{"name": "run", "arguments": {}}]}, {"run": {}})
