"""The tool parser: which text is a call, at every way of cutting it, without losing any."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_ai365vip._parsing.events import (
    CLOSING_TAG,
    EMPTY_CALL,
    MORE_CALLS,
    THINK_TAG,
    TOOL_RESPONSE,
    WHITE_SPACE,
    Call,
    Discard,
    Event,
    InvalidCall,
    Reasoning,
    Text,
)
from langchain_ai365vip._parsing.json_values import Candidate
from langchain_ai365vip._parsing.parser import ToolCallParser
from langchain_ai365vip._prompt.wording import tool_response_text

TOOLS: dict[str, dict[str, Any]] = {
    "weather": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
    "now": {"type": "object", "properties": {}},
    "add": {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
}

PARIS = '{"name": "weather", "arguments": {"city": "Paris"}}'
ROME = '{"name": "weather", "arguments": {"city": "Rome", "days": 2}}'
NOW = '{"name": "now", "arguments": {}}'

# What the tests compare: an event without its random id.
Seen = tuple[Any, ...]


def paris(raw: str) -> Seen:
    return ("call", "weather", {"city": "Paris"}, raw)


def rome(raw: str) -> Seen:
    return ("call", "weather", {"city": "Rome", "days": 2}, raw)


def now(raw: str) -> Seen:
    return ("call", "now", {}, raw)


def text(words: str) -> Seen:
    return ("text", words)


def space(words: str) -> Seen:
    return ("discard", words, WHITE_SPACE)


def tag(body: str) -> str:
    return f"<tool_call>{body}</tool_call>"


def show(event: Event) -> Seen:
    match event:
        case Text():
            return ("text", event.text)
        case Reasoning():
            return ("reasoning", event.text)
        case Discard():
            return ("discard", event.text, event.why)
        case Call():
            return ("call", event.name, event.arguments, event.raw)
        case InvalidCall():
            return ("invalid", event.name, event.error, event.raw)


def merged(events: Iterable[Event]) -> list[Seen]:
    """Events with the neighbours of one kind joined: how text is cut says nothing."""
    result: list[Seen] = []
    for event in map(show, events):
        joins = event[0] in ("text", "reasoning", "discard") and result
        if joins and (result[-1][0], *result[-1][2:]) == (event[0], *event[2:]):
            result[-1] = (event[0], result[-1][1] + event[1], *event[2:])
        else:
            result.append(event)
    return result


def parse(
    pieces: Iterable[str], tools: dict[str, dict[str, Any]] = TOOLS, **options: Any
) -> tuple[list[Seen], bool, bool]:
    parser = ToolCallParser(tools, **options)
    events = [event for piece in pieces for event in parser.feed(piece)] + parser.flush()
    assert "".join(event.raw for event in events) == "".join(pieces)
    ids = [event.id for event in events if isinstance(event, Call | InvalidCall)]
    assert len(set(ids)) == len(ids)
    assert all(call_id.startswith("call_") and len(call_id) == 37 for call_id in ids)
    return merged(events), parser.done, parser.truncated


def read(reply: str, **options: Any) -> list[Seen]:
    return parse([reply], **options)[0]


LIST = f'{{"tool_calls": [{PARIS}, {ROME}]}}'
OPENAI = json.dumps(
    {
        "tool_calls": [
            {
                "id": "call_0",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
            }
        ]
    }
)

# reply -> what is in it
REPLIES: dict[str, tuple[str, list[Seen]]] = {
    "prose": ("Hello, world.", [text("Hello, world.")]),
    "nothing": ("", []),
    "white space only": (" \n ", [text(" \n ")]),
    "a tag": (tag(PARIS), [paris(tag(PARIS))]),
    "a tag on lines of its own": (
        f"\n<tool_call>\n{PARIS}\n</tool_call>\n",
        [space("\n"), paris(f"<tool_call>\n{PARIS}\n</tool_call>"), space("\n")],
    ),
    "prose before": (
        f"I'll look.\n\n{tag(PARIS)}",
        [text("I'll look.\n\n"), paris(tag(PARIS))],
    ),
    "prose in front, on the same line": (
        f"Here: {tag(PARIS)}",
        [text("Here: "), paris(tag(PARIS))],
    ),
    "prose after": (
        f"{tag(PARIS)}\n\nPlease wait.",
        [paris(tag(PARIS)), space("\n\n"), text("Please wait.")],
    ),
    "prose on both sides": (
        f"One.{tag(PARIS)}\nTwo.",
        [text("One."), paris(tag(PARIS)), text("\nTwo.")],
    ),
    "two calls": (
        f"{tag(PARIS)}\n{tag(ROME)}",
        [paris(tag(PARIS)), space("\n"), rome(tag(ROME))],
    ),
    "two values in one tag": (
        tag(f"{PARIS}\n{ROME}"),
        [paris(f"<tool_call>{PARIS}"), rome(f"\n{ROME}</tool_call>")],
    ),
    "a list in one tag": (tag(f"[{PARIS}, {ROME}]"), [paris(tag(f"[{PARIS}, {ROME}]")), rome("")]),
    "tool_calls": (LIST, [paris(LIST), rome("")]),
    "tool_calls in a tag": (tag(LIST), [paris(tag(LIST)), rome("")]),
    "OpenAI's form": (OPENAI, [paris(OPENAI)]),
    "an unclosed tag": (f"<tool_call>{PARIS}", [paris(f"<tool_call>{PARIS}")]),
    "an unclosed tag before another": (
        f"<tool_call>{PARIS}\n{tag(ROME)}",
        [paris(f"<tool_call>{PARIS}\n"), rome(tag(ROME))],
    ),
    "an opening tag instead of the closing one": (
        f"<tool_call>{PARIS}<tool_call>\n{tag(ROME)}",
        [
            paris(f"<tool_call>{PARIS}"),
            ("discard", "<tool_call>\n", EMPTY_CALL),
            rome(tag(ROME)),
        ],
    ),
    "an unclosed tag before prose": (
        f"<tool_call>{PARIS}\nLet us wait.",
        [paris(f"<tool_call>{PARIS}\n"), text("Let us wait.")],
    ),
    "a closing tag that comes late": (
        f"<tool_call>{PARIS}\n// look </tool_call> done",
        [
            paris(f"<tool_call>{PARIS}\n"),
            text("// look "),
            ("discard", "</tool_call>", CLOSING_TAG),
            text(" done"),
        ],
    ),
    "an unclosed tag before a tag of another kind": (
        f"<tool_call>{PARIS}<br>",
        [paris(f"<tool_call>{PARIS}"), text("<br>")],
    ),
    "the last bracket missing at the end": (
        f"<tool_call>{PARIS[:-1]}",
        [paris(f"<tool_call>{PARIS[:-1]}")],
    ),
    "brackets missing before the closing tag": (
        tag(PARIS[:-2]),
        [paris(tag(PARIS[:-2]))],
    ),
    "a quotation mark missing before the closing tag": (
        tag('{"name": "weather", "arguments": {"city": "Paris}}'),
        [paris(tag('{"name": "weather", "arguments": {"city": "Paris}}'))],
    ),
    "a bracket too many": (tag(PARIS + "}"), [paris(tag(PARIS + "}"))]),
    "brackets doubled": (tag("{" + PARIS + "}"), [paris(tag("{" + PARIS + "}"))]),
    "closed too early": (
        tag('{"name": "weather"}, "arguments": {"city": "Paris"}}'),
        [paris(tag('{"name": "weather"}, "arguments": {"city": "Paris"}}'))],
    ),
    "a fence inside the tag": (
        tag(f"\n```json\n{PARIS}\n```\n"),
        [paris(tag(f"\n```json\n{PARIS}\n```\n"))],
    ),
    "bare JSON": (PARIS, [paris(PARIS)]),
    "bare JSON with space around": (
        f"\n {PARIS}\n",
        [space("\n "), paris(f"{PARIS}\n")],
    ),
    "a bare list": (f"[{PARIS}, {ROME}]", [paris(f"[{PARIS}, {ROME}]"), rome("")]),
    "bare values in a row": (f"{PARIS}\n{ROME}", [paris(PARIS), rome(f"\n{ROME}")]),
    "fenced JSON": (f"```json\n{PARIS}\n```", [paris(f"```json\n{PARIS}\n```")]),
    "fenced without a language": (f"```\n{PARIS}\n```\n", [paris(f"```\n{PARIS}\n```\n")]),
    "fenced on one line": (f"```json {PARIS}```", [paris(f"```json {PARIS}```")]),
    "an unclosed fence": (f"```json\n{PARIS}", [paris(f"```json\n{PARIS}")]),
    "two fences": (
        f"```json\n{PARIS}\n```\n```json\n{ROME}\n```",
        [paris(f"```json\n{PARIS}"), rome(f"\n```\n```json\n{ROME}\n```")],
    ),
    "bare JSON, single quotes and Python's words": (
        "{'name': 'weather', 'arguments': {'city': 'Paris', 'days': None,}}",
        [
            (
                "call",
                "weather",
                {"city": "Paris", "days": None},
                "{'name': 'weather', 'arguments': {'city': 'Paris', 'days': None,}}",
            )
        ],
    ),
    "bare JSON without the last bracket": (PARIS[:-1], [paris(PARIS[:-1])]),
    "type and id first": (
        f'{{"id": "x", "type": "function", "function": {PARIS}}}',
        [paris(f'{{"id": "x", "type": "function", "function": {PARIS}}}')],
    ),
    "arguments first": (
        '{"arguments": {"city": "Paris"}, "name": "weather"}',
        [paris('{"arguments": {"city": "Paris"}, "name": "weather"}')],
    ),
    "no arguments": (tag(NOW), [now(tag(NOW))]),
    "no arguments at all": (tag('{"name": "now"}'), [now(tag('{"name": "now"}'))]),
    "no arguments, bare": ('{"name": "now"}', [now('{"name": "now"}')]),
    "an empty call": (
        "<tool_call>\n</tool_call>",
        [("discard", "<tool_call>\n</tool_call>", EMPTY_CALL)],
    ),
    "a made-up result": (
        f"{tag(PARIS)}\n<tool_response>\nSunny.\n</tool_response>\nIt is sunny.",
        [
            paris(tag(PARIS)),
            space("\n"),
            (
                "discard",
                "<tool_response>\nSunny.\n</tool_response>\nIt is sunny.",
                TOOL_RESPONSE,
            ),
        ],
    ),
    "a made-up result in an unclosed tag": (
        f"<tool_call>{PARIS}\n<tool_response>Sunny.",
        [
            paris(f"<tool_call>{PARIS}\n"),
            ("discard", "<tool_response>Sunny.", TOOL_RESPONSE),
        ],
    ),
    "the closing tag inside a string": (
        tag('{"name": "weather", "arguments": {"city": "a</tool_call>b"}}'),
        [
            (
                "call",
                "weather",
                {"city": "a</tool_call>b"},
                tag('{"name": "weather", "arguments": {"city": "a</tool_call>b"}}'),
            )
        ],
    ),
    "a closing tag that opens a string": (
        tag('{"name": "weather", "arguments": {"city": "</tool_call>"}}'),
        [
            (
                "call",
                "weather",
                {"city": "</tool_call>"},
                tag('{"name": "weather", "arguments": {"city": "</tool_call>"}}'),
            )
        ],
    ),
    "a whole call inside a string": (
        tag(json.dumps({"name": "weather", "arguments": {"city": tag(PARIS)}})),
        [
            (
                "call",
                "weather",
                {"city": tag(PARIS)},
                tag(json.dumps({"name": "weather", "arguments": {"city": tag(PARIS)}})),
            )
        ],
    ),
    "unescaped quotation marks": (
        tag('{"name": "weather", "arguments": {"city": "the "big" one"}}'),
        [
            (
                "call",
                "weather",
                {"city": 'the "big" one'},
                tag('{"name": "weather", "arguments": {"city": "the "big" one"}}'),
            )
        ],
    ),
    "unescaped quotation marks around brackets": (
        tag('{"name": "weather", "arguments": {"city": "the "big}}" one"}}'),
        [
            (
                "call",
                "weather",
                {"city": 'the "big}}" one'},
                tag('{"name": "weather", "arguments": {"city": "the "big}}" one"}}'),
            )
        ],
    ),
    "a raw line break in a string": (
        tag('{"name": "weather", "arguments": {"city": "New\nYork"}}'),
        [
            (
                "call",
                "weather",
                {"city": "New\nYork"},
                tag('{"name": "weather", "arguments": {"city": "New\nYork"}}'),
            )
        ],
    ),
    "Unicode": (
        tag('{"name": "weather", "arguments": {"city": "東京 🌸"}}'),
        [
            (
                "call",
                "weather",
                {"city": "東京 🌸"},
                tag('{"name": "weather", "arguments": {"city": "東京 🌸"}}'),
            )
        ],
    ),
    # --- text ---
    "a tag in a fence": (
        f"```\n{tag(PARIS)}\n```\nend",
        [text(f"```\n{tag(PARIS)}\n```\nend")],
    ),
    "nothing but a tag in a tilde fence": (
        f"~~~xml\n{tag(PARIS)}\n~~~",
        [paris(f"~~~xml\n{tag(PARIS)}\n~~~")],
    ),
    "nothing but a tag in an unclosed fence": (
        f"```\n{tag(PARIS)}",
        [paris(f"```\n{tag(PARIS)}")],
    ),
    "a tag and more in an unclosed fence": (
        f"```\n{tag(PARIS)}\nx",
        [text(f"```\n{tag(PARIS)}\nx")],
    ),
    "a tag in a longer fence": (
        f"````\n```\n{tag(PARIS)}\n```\n{tag(ROME)}\n````\n",
        [text(f"````\n```\n{tag(PARIS)}\n```\n{tag(ROME)}\n````\n")],
    ),
    "a tag in a code span": (f"Write `{tag(PARIS)}`.", [text(f"Write `{tag(PARIS)}`.")]),
    "a tag in a long code span": (f"x ``` {tag(PARIS)} ```", [text(f"x ``` {tag(PARIS)} ```")]),
    "a call after a fence": (
        f"```py\nx = 1\n```\n{tag(PARIS)}",
        [text("```py\nx = 1\n```\n"), paris(tag(PARIS))],
    ),
    "a call after an empty fence": (
        f"```json\n```\n{tag(PARIS)}",
        [text("```json\n```\n"), paris(tag(PARIS))],
    ),
    "a call after fenced JSON of another kind": (
        f'```json\n{{"a": 1}}\n```\n{tag(PARIS)}',
        [text('```json\n{"a": 1}\n```\n'), paris(tag(PARIS))],
    ),
    "a call after a code span": (
        f"`x` {tag(PARIS)}",
        [text("`x` "), paris(tag(PARIS))],
    ),
    "a lone backtick on the line above": (
        f"don`t\n{tag(PARIS)}",
        [text("don`t\n"), paris(tag(PARIS))],
    ),
    "a triple code span at the start of a line": (
        f"a\n```x``` {tag(PARIS)}",
        [text("a\n```x``` "), paris(tag(PARIS))],
    ),
    "the tag's name": ("The <tool_call> tag.", [text("The <tool_call> tag.")]),
    "the tag's name at the end": ("It is <tool_call>", [text("It is <tool_call>")]),
    "the closing tag's name": ("The </tool_call> tag.", [text("The </tool_call> tag.")]),
    "the result's tag in a sentence": (
        "The <tool_response> tag.",
        [text("The <tool_response> tag.")],
    ),
    "angle brackets": ("a < b <tool <", [text("a < b <tool <")]),
    "prose after bare JSON": (f"{PARIS}\nis JSON.", [text(f"{PARIS}\nis JSON.")]),
    "prose before bare JSON": (f"Try {PARIS}", [text(f"Try {PARIS}")]),
    "prose before fenced JSON": (
        f"Try:\n```json\n{PARIS}\n```",
        [text("Try:\n"), paris(f"```json\n{PARIS}\n```")],
    ),
    "prose around fenced JSON": (
        f"Try:\n```json\n{PARIS}\n```\nSo.",
        [text(f"Try:\n```json\n{PARIS}\n```\nSo.")],
    ),
    "prose after fenced JSON": (
        f"```json\n{PARIS}\n```\nRun that.",
        [text(f"```json\n{PARIS}\n```\nRun that.")],
    ),
    "bare JSON of an unknown tool": (
        '{"name": "rm", "arguments": {}}',
        [text('{"name": "rm", "arguments": {}}')],
    ),
    "bare JSON with a foreign key": (
        '{"name": "now", "arguments": {}, "age": 3}',
        [text('{"name": "now", "arguments": {}, "age": 3}')],
    ),
    "bare JSON about something else of that name": (
        '{"name": "now", "age": 3}',
        [text('{"name": "now", "age": 3}')],
    ),
    "bare JSON, one of two unknown": (
        f'[{PARIS}, {{"name": "rm", "arguments": {{}}}}]',
        [text(f'[{PARIS}, {{"name": "rm", "arguments": {{}}}}]')],
    ),
    "other JSON": ('{"answer": 42}', [text('{"answer": 42}')]),
    "a JSON list": ("[1, 2]", [text("[1, 2]")]),
    "a Markdown link": ("[link](x) {y}", [text("[link](x) {y}")]),
    "an empty object": ("{}", [text("{}")]),
    "an empty list": ("[]", [text("[]")]),
    "half a name": ('{"name": "wea', [text('{"name": "wea')]),
    # --- calls that cannot be executed ---
    "an unknown tool": (
        tag('{"name": "rm", "arguments": {"path": "/"}}'),
        [("call", "rm", {"path": "/"}, tag('{"name": "rm", "arguments": {"path": "/"}}'))],
    ),
    "no name": (
        tag('{"city": "Paris"}'),
        [
            (
                "invalid",
                None,
                'The call has no "name". Known tools: weather, now, add.',
                tag('{"city": "Paris"}'),
            )
        ],
    ),
    "a required argument missing": (
        tag('{"name": "weather", "arguments": {"days": 1}}'),
        [("call", "weather", {"days": 1}, tag('{"name": "weather", "arguments": {"days": 1}}'))],
    ),
    "an argument of another type": (
        tag('{"name": "weather", "arguments": {"city": "Paris", "days": "soon"}}'),
        [
            (
                "call",
                "weather",
                {"city": "Paris", "days": "soon"},
                tag('{"name": "weather", "arguments": {"city": "Paris", "days": "soon"}}'),
            )
        ],
    ),
    "a remark behind the brackets": (
        tag(f"{PARIS} // look"),
        [
            (
                "invalid",
                "weather",
                "The JSON is broken: Extra data: line 1 column 53 (char 52)",
                tag(f"{PARIS} // look"),
            )
        ],
    ),
    "a list with a call that is none": (
        tag(f"[{PARIS}, 3]"),
        [
            paris(tag(f"[{PARIS}, 3]")),
            (
                "invalid",
                None,
                "A call is a JSON object. Known tools: weather, now, add.",
                "",
            ),
        ],
    ),
    "an empty list of calls": (
        tag("[]"),
        [
            (
                "invalid",
                None,
                "There is no call in it. Known tools: weather, now, add.",
                tag("[]"),
            )
        ],
    ),
    "cut off in the arguments": (
        '<tool_call>{"name": "weather", "arguments": {"city": "Par',
        [
            (
                "invalid",
                "weather",
                "The reply ended inside this call.",
                '<tool_call>{"name": "weather", "arguments": {"city": "Par',
            )
        ],
    ),
    "cut off after a call": (
        f"{tag(PARIS)}<tool_call>{{",
        [
            paris(tag(PARIS)),
            ("invalid", None, "The reply ended inside this call.", "<tool_call>{"),
        ],
    ),
    "cut off after the tag": (
        "Well.\n<tool_call>\n",
        [
            text("Well.\n"),
            ("invalid", None, "The reply ended inside this call.", "<tool_call>\n"),
        ],
    ),
    "cut off, bare": (
        '{"name": "weather", "arguments": {"city": "Par',
        [
            (
                "invalid",
                "weather",
                "The reply ended inside this call.",
                '{"name": "weather", "arguments": {"city": "Par',
            )
        ],
    ),
}

# --- the forms that models were trained on, beside ours --------------------------------------

QWEN = "<function=weather>\n<parameter=city>\nParis\n</parameter>\n</function>"
QWEN_ROME = (
    "<function=weather>\n<parameter=city>\nRome\n</parameter>\n"
    "<parameter=days>\n2\n</parameter>\n</function>"
)
GLM = "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>"
LLAMA = '{"name": "weather", "parameters": {"city": "Paris"}}'
NAMED = '{"city": "Paris"}'


def deepseek(words: str) -> str:
    return f"<\uff5c{words}\uff5c>".replace(" ", "\u2581")


DEEPSEEK = (
    deepseek("tool calls begin")
    + deepseek("tool call begin")
    + f"function{deepseek('tool sep')}weather\n```json\n{NAMED}\n```"
    + deepseek("tool call end")
)
DEEPSEEK_31 = (
    deepseek("tool call begin")
    + f"weather{deepseek('tool sep')}{NAMED}"
    + deepseek("tool call end")
)
CLOSED_WRAPPER = ("discard", "</tool_calls>", CLOSING_TAG)
EMPTY_DEEPSEEK = ("discard", deepseek("tool calls begin"), EMPTY_CALL)
NO_CALL = "What stands between the marks is not a call."
CLOSED = ("discard", "</tool_call>", CLOSING_TAG)


def invalid(name: str | None, error: str, raw: str) -> Seen:
    return ("invalid", name, error, raw)


def only_invalid(name: str | None, error: str, raw: str) -> tuple[str, list[Seen]]:
    return raw, [invalid(name, error, raw)]


FORMS: dict[str, tuple[str, list[Seen]]] = {
    "Qwen3-Coder": (tag(f"\n{QWEN}\n"), [paris(tag(f"\n{QWEN}\n"))]),
    "Qwen3-Coder, two, prose before": (
        f"Let me see.\n\n{tag(QWEN)}\n{tag(QWEN_ROME)}",
        [text("Let me see.\n\n"), paris(tag(QWEN)), space("\n"), rome(tag(QWEN_ROME))],
    ),
    "Qwen3-Coder, two in one tag": (
        tag(f"\n{QWEN}\n{QWEN_ROME}\n"),
        [
            paris(f"<tool_call>\n{QWEN}"),
            space("\n"),
            rome(QWEN_ROME),
            space("\n"),
            CLOSED,
        ],
    ),
    "Qwen3-Coder without its tag": (f"Well: {QWEN}", [text("Well: "), paris(QWEN)]),
    "Qwen3-Coder with half its tag": (
        f"{QWEN}\n</tool_call>",
        [paris(QWEN), space("\n"), CLOSED],
    ),
    "Qwen3-Coder without arguments": (
        tag("<function=now>\n</function>"),
        [now(tag("<function=now>\n</function>"))],
    ),
    "Qwen3-Coder with tags and breaks in a text": (
        tag("<function=weather><parameter=city>\n\n<b>a\n</tool_call>\n\n</parameter></function>"),
        [
            (
                "call",
                "weather",
                {"city": "\n<b>a\n</tool_call>\n"},
                tag("<function=weather><parameter=city>\n\n<b>a\n</tool_call>\n\n</parameter></function>"),
            )
        ],
    ),
    "Qwen3-Coder, an unknown argument": (
        tag("<function=weather><parameter=town>Paris</parameter></function>"),
        [
            (
                "call",
                "weather",
                {"town": "Paris"},
                tag("<function=weather><parameter=town>Paris</parameter></function>"),
            )
        ],
    ),
    "Qwen3-Coder, an argument twice": only_invalid(
        "weather",
        "An argument is given twice.",
        QWEN.replace("</function>", "<parameter=city>Rome</parameter></function>"),
    ),
    "Qwen3-Coder, an argument of another type": (
        QWEN_ROME.replace("2", "soon"),
        [("call", "weather", {"city": "Rome", "days": "soon"}, QWEN_ROME.replace("2", "soon"))],
    ),
    "Qwen3-Coder, an unknown tool in the tag": (
        tag(QWEN.replace("weather", "rm")),
        [("call", "rm", {"city": "Paris"}, tag(QWEN.replace("weather", "rm")))],
    ),
    "Qwen3-Coder, an unknown tool without the tag": (
        QWEN.replace("weather", "rm"),
        [("call", "rm", {"city": "Paris"}, QWEN.replace("weather", "rm"))],
    ),
    "Qwen3-Coder, an unknown tool in a line": (
        f"So {tag(QWEN.replace('weather', 'rm'))}",
        [text(f"So {tag(QWEN.replace('weather', 'rm'))}")],
    ),
    "Qwen3-Coder in a sentence": (
        "Write <function=weather> and then <parameter=city>.",
        [text("Write <function=weather> and then <parameter=city>.")],
    ),
    "Qwen3-Coder in a fence": (
        f"```\n{tag(QWEN)}\n```\nSo.",
        [text(f"```\n{tag(QWEN)}\n```\nSo.")],
    ),
    "cut off in Qwen3-Coder's form": only_invalid(
        "weather", "The reply ended inside this call.", f"<tool_call>{QWEN[:60]}"
    ),
    "Llama's function tag": (
        f"<function=weather>{NAMED}</function>",
        [paris(f"<function=weather>{NAMED}</function>")],
    ),
    "Llama's function tag, unclosed": (
        f"<function=weather>{NAMED}<|eom_id|>",
        [paris(f"<function=weather>{NAMED}<|eom_id|>")],
    ),
    "Llama's function tag, broken JSON": only_invalid(
        "weather",
        "The JSON is broken: Expecting ',' delimiter: line 1 column 14 (char 13)",
        '<function=weather>{"city": "a" + "b"}</function>',
    ),
    "Llama's tag": (f"<|python_tag|>{LLAMA}", [paris(f"<|python_tag|>{LLAMA}")]),
    "Llama's tag and its end": (
        f"<|python_tag|>{LLAMA}<|eom_id|>",
        [paris(f"<|python_tag|>{LLAMA}<|eom_id|>")],
    ),
    "Llama's tag before code": (
        "<|python_tag|>print(1)",
        [text("<|python_tag|>print(1)")],
    ),
    "bare JSON and the end of a turn": (f"{LLAMA}<|eot_id|>", [paris(f"{LLAMA}<|eot_id|>")]),
    "fenced JSON and the end of a turn": (
        f"```json\n{LLAMA}\n```\n<|im_end|>\n",
        [paris(f"```json\n{LLAMA}\n```\n<|im_end|>\n")],
    ),
    "bare JSON and another token": (f"{LLAMA}<|x|>", [text(f"{LLAMA}<|x|>")]),
    "a call and the end of a turn": (
        f"{tag(PARIS)}<|im_end|>",
        [paris(tag(PARIS)), ("discard", "<|im_end|>", CLOSING_TAG)],
    ),
    "a call that only the end of a turn closes": (
        f"<tool_call>\n{PARIS}\n<|im_end|>",
        [paris(f"<tool_call>\n{PARIS}\n<|im_end|>")],
    ),
    "prose and the end of a turn": ("Hi.<|im_end|>", [text("Hi.<|im_end|>")]),
    "GLM": (GLM, [paris(GLM)]),
    "GLM, types and no line breaks": (
        "<tool_call>add<arg_key>a</arg_key><arg_value>1</arg_value>"
        "<arg_key>b</arg_key><arg_value>2.5</arg_value></tool_call> ok",
        [
            (
                "call",
                "add",
                {"a": 1, "b": 2.5},
                "<tool_call>add<arg_key>a</arg_key><arg_value>1</arg_value>"
                "<arg_key>b</arg_key><arg_value>2.5</arg_value></tool_call>",
            ),
            space(" "),
            text("ok"),
        ],
    ),
    "GLM without arguments": (tag("now\n"), [now(tag("now\n"))]),
    "GLM with a tag in a text": (
        GLM.replace("Paris", "a</tool_call>b"),
        [("call", "weather", {"city": "a</tool_call>b"}, GLM.replace("Paris", "a</tool_call>b"))],
    ),
    "GLM, a value missing": only_invalid(
        "weather", NO_CALL, tag("weather\n<arg_key>city</arg_key>")
    ),
    "GLM in a sentence": ("Use <tool_call>weather here.", [text("Use <tool_call>weather here.")]),
    "cut off in GLM's form": only_invalid("weather", "The reply ended inside this call.", GLM[:40]),
    "Mistral": (f"[TOOL_CALLS][{PARIS}]", [paris(f"[TOOL_CALLS][{PARIS}]")]),
    "Mistral, prose before": (
        f"Let me see.[TOOL_CALLS] [{PARIS}, {ROME}]</s>",
        [text("Let me see."), paris(f"[TOOL_CALLS] [{PARIS}, {ROME}]</s>"), rome("")],
    ),
    "Mistral, names outside": (
        f"[TOOL_CALLS]weather[ARGS]{NAMED}[TOOL_CALLS]now[CALL_ID]a1[ARGS]{{}}",
        [paris(f"[TOOL_CALLS]weather[ARGS]{NAMED}"), now("[TOOL_CALLS]now[CALL_ID]a1[ARGS]{}")],
    ),
    "Mistral, an unknown name": (
        f"[TOOL_CALLS]rm[ARGS]{NAMED}",
        [("call", "rm", {"city": "Paris"}, f"[TOOL_CALLS]rm[ARGS]{NAMED}")],
    ),
    "Mistral, an unknown name in a line": (
        f"So [TOOL_CALLS]rm[ARGS]{NAMED}",
        [text(f"So [TOOL_CALLS]rm[ARGS]{NAMED}")],
    ),
    "Mistral's mark in a sentence": (
        "The [TOOL_CALLS] mark, [TOOL] and [a](b).",
        [text("The [TOOL_CALLS] mark, [TOOL] and [a](b).")],
    ),
    "Mistral's mark in a code span": (
        f"`[TOOL_CALLS][{PARIS}]`",
        [text(f"`[TOOL_CALLS][{PARIS}]`")],
    ),
    "cut off in Mistral's form": only_invalid(
        "weather", "The reply ended inside this call.", '[TOOL_CALLS]weather[ARGS]{"city": "Par'
    ),
    "DeepSeek 3": (
        DEEPSEEK + deepseek("tool calls end"),
        [
            EMPTY_DEEPSEEK,
            paris(DEEPSEEK.removeprefix(EMPTY_DEEPSEEK[1])),
            ("discard", deepseek("tool calls end"), CLOSING_TAG),
        ],
    ),
    "DeepSeek 3.1": (DEEPSEEK_31, [paris(DEEPSEEK_31)]),
    "Granite": (f"<|tool_call|>[{PARIS}]", [paris(f"<|tool_call|>[{PARIS}]")]),
    "Phi": (
        f"<|tool_call|>[{PARIS}]<|/tool_call|>",
        [paris(f"<|tool_call|>[{PARIS}]<|/tool_call|>")],
    ),
    "functioncall": (f"<functioncall> {PARIS}", [paris(f"<functioncall> {PARIS}")]),
    "capitals": (
        f"<TOOL_CALL>\n{PARIS}\n</TOOL_CALL>",
        [paris(f"<TOOL_CALL>\n{PARIS}\n</TOOL_CALL>")],
    ),
    "attributes": (
        f'Ok.\n<tool_call id="1" n=2>\n{PARIS}\n</tool_call>',
        [text("Ok.\n"), paris(f'<tool_call id="1" n=2>\n{PARIS}\n</tool_call>')],
    ),
    "attributes that do not end": (
        "<tool_call is what <b>I</b> write",
        [text("<tool_call is what <b>I</b> write")],
    ),
    "calls in a wrapper": (
        f"\n<tool_calls>\n{tag(PARIS)}\n{tag(ROME)}\n</tool_calls>\nWait.",
        [
            space("\n"),
            ("discard", "<tool_calls>\n", EMPTY_CALL),
            paris(tag(PARIS)),
            space("\n"),
            rome(tag(ROME)),
            space("\n"),
            CLOSED_WRAPPER,
            space("\n"),
            text("Wait."),
        ],
    ),
    "a wrapper behind prose": (
        f"Look: <tool_calls>{tag(PARIS)}</tool_calls><|im_end|>",
        [
            text("Look: "),
            ("discard", "<tool_calls>", EMPTY_CALL),
            paris(tag(PARIS)),
            ("discard", "</tool_calls><|im_end|>", CLOSING_TAG),
        ],
    ),
    "a wrapper closed behind prose": (
        f"<tool_calls>{tag(PARIS)}\nPlease wait.\n</tool_calls> No </tool_calls>.",
        [
            ("discard", "<tool_calls>", EMPTY_CALL),
            paris(tag(PARIS)),
            space("\n"),
            text("Please wait.\n"),
            CLOSED_WRAPPER,
            text(" No </tool_calls>."),
        ],
    ),
    "a wrapper that nothing opened": (
        f"{tag(PARIS)}\n</tool_calls>",
        [paris(tag(PARIS)), space("\n"), CLOSED_WRAPPER],
    ),
    "a wrapper around Qwen3-Coder's form": (
        f"<tool_calls>\n{tag(QWEN)}\n{QWEN}\n</tool_calls>",
        [
            ("discard", "<tool_calls>\n", EMPTY_CALL),
            paris(tag(QWEN)),
            space("\n"),
            paris(QWEN),
            space("\n"),
            CLOSED_WRAPPER,
        ],
    ),
    "Qwen3-Coder, closed twice": (
        f"{QWEN}\n</tool_call>\n</tool_call> So.",
        [
            paris(QWEN),
            space("\n"),
            CLOSED,
            space("\n"),
            CLOSED,
            space(" "),
            text("So."),
        ],
    ),
    "a wrapper in a sentence": (
        "The <tool_calls><tool_call> tags, and </tool_calls>.",
        [text("The <tool_calls><tool_call> tags, and </tool_calls>.")],
    ),
    "an empty pair of tags in a sentence": (
        "Write <tool_call></tool_call>, <tool_call> </tool_calls> or <tool_call><tool_response>.",
        [
            text(
                "Write <tool_call></tool_call>, <tool_call> </tool_calls> or "
                "<tool_call><tool_response>."
            )
        ],
    ),
    "the closing tags' names behind a call and prose": (
        f"{tag(PARIS)} The </tool_call> and </tool_calls> tags.",
        [paris(tag(PARIS)), space(" "), text("The </tool_call> and </tool_calls> tags.")],
    ),
    "a pair of tags around something else": only_invalid(None, NO_CALL, tag("\nParis, please\n")),
    "a pair of tags around Python": (
        tag('\nweather(city="Paris")\n'),
        [paris(tag('\nweather(city="Paris")\n'))],
    ),
    "a pair of tags in a sentence": (
        "So <tool_call>...</tool_call> is it.",
        [text("So <tool_call>...</tool_call> is it.")],
    ),
    "a pair of tags around an empty line": (
        tag("Well.\n\nSo.\n"),
        [text(tag("Well.\n\nSo.\n"))],
    ),
    "a tag before prose and a call": (
        f"<tool_call> is the tag:\n{tag(PARIS)}",
        [text("<tool_call> is the tag:\n"), paris(tag(PARIS))],
    ),
    "a tag before prose with code": (
        f"<tool_call>x `{tag(PARIS)}`",
        [text(f"<tool_call>x `{tag(PARIS)}`")],
    ),
    "Python's calls": (
        '[weather(city="Paris")]',
        [paris('[weather(city="Paris")]')],
    ),
}  # fmt: skip
REPLIES.update(FORMS)

every_reply = pytest.mark.parametrize(("reply", "expected"), REPLIES.values(), ids=list(REPLIES))


@every_reply
def test_a_reply_is_read_as_what_it_means(reply: str, expected: list[Seen]) -> None:
    assert read(reply) == expected


@every_reply
def test_a_reply_means_the_same_by_character_and_cut(reply: str, expected: list[Seen]) -> None:
    assert parse(list(reply))[0] == expected
    assert_same_at_cuts(reply, expected, range(len(reply) % 11, len(reply), 11))


@pytest.mark.thorough
@every_reply
def test_a_reply_means_the_same_at_every_cut(reply: str, expected: list[Seen]) -> None:
    assert_same_at_cuts(reply, expected, range(len(reply) + 1))


def assert_same_at_cuts(reply: str, expected: list[Seen], cuts: Iterable[int]) -> None:
    for cut in cuts:
        assert parse([reply[:cut], "", reply[cut:]])[0] == expected, cut


TRUNCATED = {name for name in REPLIES if name.startswith("cut off")}


def test_only_a_reply_that_ends_inside_a_call_is_truncated() -> None:
    assert {name for name, (reply, _) in REPLIES.items() if parse([reply])[2]} == TRUNCATED


SYNONYMS = {
    "parameters": '{"name": "weather", "parameters": {"city": "Paris"}}',
    "args": '{"name": "weather", "args": {"city": "Paris"}}',
    "input": '{"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Paris"}}',
    "arguments as JSON text": r'{"name": "weather", "arguments": "{\"city\": \"Paris\"}"}',
    "tool and tool_input": '{"tool": "weather", "tool_input": {"city": "Paris"}}',
    "action and action_input": '{"action": "weather", "action_input": {"city": "Paris"}}',
    "function": '{"function": "weather", "arguments": {"city": "Paris"}}',
    "function_call": '{"function_call": {"name": "weather", "arguments": {"city": "Paris"}}}',
    "tool_call": '{"tool_call": {"name": "weather", "arguments": {"city": "Paris"}}}',
}


@pytest.mark.parametrize("body", SYNONYMS.values(), ids=list(SYNONYMS))
def test_synonyms_are_read_bare_fenced_and_in_tags(body: str) -> None:
    fenced = f"```json\n{body}\n```"
    assert read(body) == [paris(body)]
    assert read(fenced) == [paris(fenced)]
    for name in ("tool_call", "tool_calls", "function_call"):
        reply = f"<{name}>{body}</{name}>"
        assert read(reply) == [paris(reply)]


def test_arguments_beside_the_name_are_read_in_a_tag_only() -> None:
    body = '{"name": "weather", "city": "Paris"}'
    assert read(tag(body)) == [paris(tag(body))]
    assert read(body) == [text(body)]


def test_arguments_in_json_stay_as_the_model_wrote_them() -> None:
    body = tag('{"name": "weather", "arguments": {"city": 75, "days": null}}')
    assert read(body) == [("call", "weather", {"city": 75, "days": None}, body)]


def test_a_lone_argument_goes_to_the_only_field() -> None:
    tools = {"find": {"type": "object", "properties": {"query": {"type": "string"}}}}
    body = tag('{"name": "find", "arguments": "tea"}')
    assert read(body, tools=tools) == [("call", "find", {"query": "tea"}, body)]


MALFORMED = {
    "a name alone": '["now"]',
    "tools' descriptions": '["description"]',
    "no name": '{"arguments": {"city": "Paris"}}',
    "an empty name": '{"name": "", "arguments": {}}',
    "an unknown name and no object": '{"name": "other", "arguments": "x"}',
    "a broken list, one of whose calls is none": "[{'name': 'now', 'arguments': {}}, {'b': 1}]",
    "a broken list, beside something": "{'tool_calls': [{'name': 'now'}], 'note': 'a'}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=list(MALFORMED))
def test_what_stands_in_marks_and_is_no_call_is_not_carried_out(body: str) -> None:
    (event,) = read(tag(body))
    assert (event[0], event[-1]) == ("invalid", tag(body))


@pytest.mark.parametrize(
    "body",
    [
        '{"arguments": {"city": "Paris"}}',
        f"[{NOW}, 1]",
        f'[{NOW}, {{"arguments": {{}}}}]',
        f'{{"tool_calls": [{NOW}], "note": "a"}}',
        '{"type": "recipe", "name": "now"}',
        "```python\nweather(city='x' + y)\nprint(1)\n```",
        "```python\nnow(])\n```",
        f"```\n{NOW}\n``",
    ],
)
def test_bare_data_that_is_no_call_is_text(body: str) -> None:
    assert read(body) == [text(body)]


def test_a_call_without_marks_that_the_reply_cuts_is_asked_for_again() -> None:
    for end in range(len('{"name": "weather"'), len(PARIS) - 1):
        (event,) = read(PARIS[:end])
        assert event[0] == "invalid", end
    (event,) = read("```python\nweather(city='Par")
    assert event[0] == "invalid"


def test_a_list_of_tools_in_marks_is_text() -> None:
    shown = (
        '{"name": "now", "description": "d", "parameters": {"type": "object", "properties": {}}}'
    )
    for reply in (tag(shown), tag(f"[{shown}]")):
        assert read(reply) == [text(reply)]


def test_a_tool_may_be_named_like_a_prefix_or_like_another_in_capitals() -> None:
    tools: dict[str, dict[str, Any]] = {name: {} for name in ("functions.now", "Now", "now")}
    for name in tools:
        body = tag(f'{{"name": "{name}", "arguments": {{}}}}')
        assert read(body, tools=tools) == [("call", name, {}, body)]


def test_an_argument_given_twice_makes_no_call() -> None:
    field = "<parameter=city>Paris</parameter>"
    (event,) = read(tag(f"<function=weather>{field}{field}</function>"))
    assert event[:3] == ("invalid", "weather", "An argument is given twice.")


def test_a_mark_may_say_that_an_argument_is_text() -> None:
    tools = {"find": {"properties": {"query": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}}

    for is_text, value in (("true", "null"), ("false", None)):
        field = f'<parameter name="query" string="{is_text}">null</parameter>'
        reply = f'<function_calls><invoke name="find">{field}</invoke></function_calls>'
        assert read(reply, tools=tools) == [("call", "find", {"query": value}, reply)]


def test_without_tools_nothing_is_a_call() -> None:
    for reply in (tag(PARIS), PARIS, f"<tool_response>{PARIS}", f"```json\n{PARIS}\n```"):
        assert read(reply, tools={}) == [text(reply)]


# --- reasoning ------------------------------------------------------------------------

THOUGHTS: dict[str, tuple[str, list[Seen]]] = {
    "at the start": (
        "<think>\nHm.\n</think>\n\nHello.",
        [
            ("discard", "<think>", THINK_TAG),
            space("\n"),
            ("reasoning", "Hm.\n"),
            ("discard", "</think>", THINK_TAG),
            space("\n\n"),
            text("Hello."),
        ],
    ),
    "empty": (
        "<think>\n\n</think>\n\nHello.",
        [
            ("discard", "<think>", THINK_TAG),
            space("\n\n"),
            ("discard", "</think>", THINK_TAG),
            space("\n\n"),
            text("Hello."),
        ],
    ),
    "with a call in it": (
        f"<think>{tag(PARIS)}</think>{tag(ROME)}",
        [
            ("discard", "<think>", THINK_TAG),
            ("reasoning", tag(PARIS)),
            ("discard", "</think>", THINK_TAG),
            rome(tag(ROME)),
        ],
    ),
    "before bare JSON": (
        f"<think>a < b</think>\n{PARIS}",
        [
            ("discard", "<think>", THINK_TAG),
            ("reasoning", "a < b"),
            ("discard", "</think>", THINK_TAG),
            space("\n"),
            paris(PARIS),
        ],
    ),
    "between calls": (
        f"{tag(PARIS)}<think>Next.</think>{tag(ROME)}",
        [
            paris(tag(PARIS)),
            ("discard", "<think>", THINK_TAG),
            ("reasoning", "Next."),
            ("discard", "</think>", THINK_TAG),
            rome(tag(ROME)),
        ],
    ),
    "without an end": (
        "<think>Hm. </thin",
        [("discard", "<think>", THINK_TAG), ("reasoning", "Hm. </thin")],
    ),
    "in a sentence": ("The <think> tag.", [text("The <think> tag.")]),
}


@pytest.mark.parametrize(("reply", "expected"), THOUGHTS.values(), ids=list(THOUGHTS))
def test_reasoning_is_read_at_every_cut(reply: str, expected: list[Seen]) -> None:
    assert read(reply, reasoning=True) == expected
    assert parse(list(reply), reasoning=True)[0] == expected
    for cut in range(len(reply)):
        assert parse([reply[:cut], reply[cut:]], reasoning=True)[0] == expected


OPENED: dict[str, tuple[str, list[Seen]]] = {
    "ended": (
        f"\nHm {tag(PARIS)} < no.\n</think>\n\n{tag(ROME)}",
        [
            space("\n"),
            ("reasoning", f"Hm {tag(PARIS)} < no.\n"),
            ("discard", "</think>", THINK_TAG),
            space("\n\n"),
            rome(tag(ROME)),
        ],
    ),
    "ended at once": (
        f"</think>{PARIS}",
        [("discard", "</think>", THINK_TAG), paris(PARIS)],
    ),
    "tagged all the same": (
        "<think>\nHm.</think>Hello.",
        [
            ("discard", "<think>", THINK_TAG),
            space("\n"),
            ("reasoning", "Hm."),
            ("discard", "</think>", THINK_TAG),
            text("Hello."),
        ],
    ),
    "nearly tagged": ("<thin air", [("reasoning", "<thin air")]),
    "never ended": (f"Hello. {tag(PARIS)}</thin", [("reasoning", f"Hello. {tag(PARIS)}</thin")]),
    "then tagged again": (
        "Hm.</think>\n<think>So.</think>Hello.",
        [
            ("reasoning", "Hm."),
            ("discard", "</think>", THINK_TAG),
            space("\n"),
            ("discard", "<think>", THINK_TAG),
            ("reasoning", "So."),
            ("discard", "</think>", THINK_TAG),
            text("Hello."),
        ],
    ),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("reply", "expected"), OPENED.values(), ids=list(OPENED))
def test_a_reply_that_begins_inside_reasoning_is_read_at_every_cut(
    reply: str, expected: list[Seen]
) -> None:
    assert read(reply, opened=True) == expected
    assert parse(list(reply), opened=True)[0] == expected
    for cut in range(len(reply)):
        assert parse([reply[:cut], reply[cut:]], opened=True)[0] == expected


def test_reasoning_stays_text_when_it_is_not_asked_for() -> None:
    thought = f"<think>\n{tag(PARIS)}</think>\n"
    assert read(f"{thought}Hello.") == [text(f"{thought}Hello.")]
    assert read(f"{thought}{tag(ROME)}") == [
        text(thought.rstrip()),
        space("\n"),
        rome(tag(ROME)),
    ]
    assert read(f"{thought}{PARIS}") == [text(thought.rstrip()), space("\n"), paris(PARIS)]


# --- where the reply ends ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "first", "rest"),
    [
        (f"{tag(PARIS)}\n{tag(ROME)} x", tag(PARIS), f"\n{tag(ROME)} x"),
        (tag(f"{PARIS}\n{ROME}"), f"<tool_call>{PARIS}", f"\n{ROME}</tool_call>"),
        (f"<tool_call>{PARIS}{tag(ROME)}", f"<tool_call>{PARIS}", tag(ROME)),
        (f"{PARIS}\n{ROME}", PARIS, f"\n{ROME}"),
    ],
    ids=["two tags", "two values in a tag", "an unclosed tag", "bare"],
)
def test_the_parser_is_done_after_one_call_unless_parallel(
    reply: str, first: str, rest: str
) -> None:
    for pieces in ([reply], list(reply)):
        expected = [paris(first), ("discard", rest, MORE_CALLS)]
        assert parse(pieces, parallel=False) == (expected, True, False)


def test_a_call_that_failed_does_not_count_as_the_one_call() -> None:
    bad = tag('{"name": "weather", "arguments": 3 4}')
    seen, done, _ = parse([bad + tag(PARIS)], parallel=False)
    assert [event[0] for event in seen] == ["invalid", "call"]
    assert done


def test_a_made_up_result_ends_the_reply_at_once() -> None:
    parser = ToolCallParser(TOOLS)
    parser.feed(f"{tag(PARIS)}\n<tool_response")
    assert not parser.done
    assert parser.feed(">")[-1] == Discard("<tool_response>", TOOL_RESPONSE)
    assert parser.done
    assert parser.feed("Sunny.") == [Discard("Sunny.", TOOL_RESPONSE)]
    assert parser.flush() == []


# --- echoes -----------------------------------------------------------------------------

QUOTED = f"<tool_call>\n{PARIS}\n</tool_call>"


PLACE = '<tool_call>\n{"name": "weather", "arguments": {"city": "Orléans 🌸"}}\n</tool_call>'
WRAPPED = json.dumps({"body": json.dumps({"html": f"<p>{PLACE}</p>"})})


@pytest.mark.parametrize(
    ("said", "reply", "is_text"),
    [
        (f"Explain {QUOTED} please", QUOTED, True),
        (f"Explain {QUOTED} please", tag(PARIS), True),
        (f"Explain {QUOTED} please", f"<tool_call>{PARIS}", True),
        (f"<tool_calls>{QUOTED}</tool_calls>", f"<tool_calls>{QUOTED}</tool_calls> is it", True),
        (json.dumps({"page": f"<p>{QUOTED}</p>"}), QUOTED, True),
        (json.dumps({"page": tag(QWEN)}), tag(QWEN), True),
        (json.dumps({"page": tag(QWEN)}), QWEN, True),
        (f"<p>{GLM}</p>", GLM, True),
        (json.dumps({"page": PLACE}), PLACE, True),
        (WRAPPED, PLACE, True),
        (json.dumps({"page": PLACE}, ensure_ascii=False).replace("<", "\\u003C"), PLACE, True),
        (PLACE.replace("/", "\\/"), PLACE, True),
        (f"<pre>{escape(PLACE)}</pre>", PLACE, True),
        (json.dumps({"page": f"<pre>{escape(PLACE)}</pre>"}), PLACE, True),
        (PLACE, json.dumps(PLACE).strip('"').replace('\\"', '"').replace("\\n", ""), True),
        (json.dumps({"page": PLACE.replace(", ", ", \n")}), PLACE, True),
        (json.dumps({"page": PLACE}), PLACE.replace("Orléans", "Orleans"), False),
        (f"Explain {PARIS} please", PARIS, True),
        (f"Explain {PARIS} please", f"```json\n{PARIS}\n```", True),
        (f"Explain {QUOTED} please", tag(ROME), False),
        (f"Do {PARIS}", tag(PARIS), False),
        ("The weather in Paris?", tag(PARIS), False),
    ],
    ids=[
        "the same",
        "other white space",
        "unclosed",
        "in a wrapper",
        "escaped in JSON",
        "in Qwen3-Coder's form",
        "in Qwen3-Coder's form without the tag",
        "in GLM's form",
        "escaped in ASCII",
        "in JSON in JSON",
        "with the tag's bracket escaped",
        "with slashes escaped",
        "in HTML",
        "in HTML in JSON",
        "escaped by the one who quotes",
        "broken into lines",
        "almost the same",
        "bare",
        "fenced",
        "another call",
        "a call asked for without its tag",
        "no call there",
    ],
)
def test_a_call_that_others_wrote_is_text(said: str, reply: str, is_text: bool) -> None:
    seen = read(reply, echoed=["Hi", said])
    assert ([event[0] for event in seen] == ["text"]) is is_text


# What a model may write around a call that it quotes.
AROUND = [
    *("{}", "He wrote: {} on it", 'The page says "{}", so.', "It says '{}'.", "The page ({}) is."),
    *("See **{}** there", "It has {}.", "{}: that", "{}\n\nThat is all.", "{} is what it says"),
    *("- {}\n- more", "({})\n", "{}\n```\n", "({}, {})", "{}<|eot_id|>", "{}\n<|im_end|>"),
    *("{}</tool_call>", "{}\n</tool_calls>"),
]
MADE = {
    name: reply
    for name, (reply, seen) in REPLIES.items()
    if {event[0] for event in seen} >= {"call"} and "invalid" not in {event[0] for event in seen}
}


@pytest.mark.parametrize("call", MADE.values(), ids=list(MADE))
def test_a_call_of_any_form_is_text_when_it_is_quoted_from_a_result(call: str) -> None:
    page = f"<p>é {call} b</p>"
    for content in (page, json.dumps({"page": page})):
        result = tool_response_text("fetch", content)
        for words in AROUND:
            for pieces in ([words.replace("{}", call)], list(words.replace("{}", call))):
                seen = parse(pieces, echoed=[result])[0]
                assert {event[0] for event in seen} <= {"text", "discard"}, (words, content)


BROKEN = f"<tool_call>{PARIS[:-1]}"


@pytest.mark.parametrize(
    ("said", "reply", "kinds"),
    [
        ("<tool_call>now</tool_call>", "<tool_call>now</tool_call>", "text"),
        ("say <tool_call>now", "<tool_call>now</tool_call>", "text"),
        ("<tool_call>nowhere</tool_call>", "<tool_call>now</tool_call>", "call"),
        (GLM.replace("weather", "now"), "<tool_call>now</tool_call>", "call"),
        (QWEN.replace("</parameter>", "</parameter><parameter=x>"), QWEN, "call"),
        ('<function=now>{"a": 1}</function>', "<function=now></function>", "call"),
        (QWEN.removesuffix("</function>"), QWEN, "text"),
        (tag(PARIS), f"<tool_call>{PARIS}{ROME}</tool_call>", "text call"),
        (f"It has {PARIS}", f"{PARIS}\n{ROME}", "text call"),
        ("a weather(city='P')", "```py\nweather(city='P')\nnow()\n```", "text call"),
        ("[weather(city='P')]", "[weather(city='P'), now()]", "text call"),
        (tag("now()"), "<tool_call>now()\nweather(city='P')</tool_call>", "text call"),
        (tag(PARIS + ROME), f"<tool_call>{PARIS}{ROME}</tool_call>", "text"),
        (tag(ROME), f"<tool_call>{PARIS}{ROME}</tool_call>", "call call"),
        (tag(PARIS.replace("Paris", "{P} x")), BROKEN.replace("Paris", "{P} y"), "call"),
        (tag(PARIS.replace('"Paris"', "15")), BROKEN.replace('"Paris"}', "1"), "invalid"),
        (BROKEN, BROKEN, "text"),
        (BROKEN, f"{BROKEN} is on the page {{sic}}", "text"),
        (BROKEN, f"{BROKEN} is on the page. }}}}", "text"),
        (BROKEN, f'{BROKEN} says "}}"\n</tool_call>', "text"),
    ],
)
def test_a_call_is_a_quotation_only_as_a_whole_and_from_the_first_on(
    said: str, reply: str, kinds: str
) -> None:
    for pieces in ([reply], list(reply)):
        seen = parse(pieces, echoed=[said])[0]
        assert " ".join(event[0] for event in seen) == kinds


def test_echoes_are_looked_at_only_for_a_call() -> None:
    class Unread(list[str]):
        def __iter__(self) -> Any:
            raise AssertionError("was read")

    texts = Unread(["x"])
    assert read("Prose <b> `code` [1] {x}.", echoed=texts)
    with pytest.raises(AssertionError, match="was read"):
        read(tag(PARIS), echoed=texts)


# --- streaming --------------------------------------------------------------------------


def shown(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


@pytest.mark.parametrize(
    "steps",
    [
        [("Hello", "Hello"), (" ", " "), ("you.\n", "you.\n")],
        [("a <", "a "), ("b", ""), (" c", "<b c")],
        [("a <tool", "a "), ("_call", ""), (">x", "<tool_call>x")],
        [("a <tool_call>\n\n", "a "), ("Well", "<tool_call>\n\nWell")],
        [("<tool_call>\n", ""), ("Well", ""), (".\n", ""), ("\n", "<tool_call>\nWell.\n\n")],
        [("a <tool_call>\n\n", "a "), ("now", ""), (" so", "<tool_call>\n\nnow so")],
        [("a [", "a "), ("T", ""), ("h", ""), ("e](x", "[The](x")],
        [("<function=", ""), ("rm>", ""), (" x", "<function=rm> x")],
        [("<function=now>", ""), ("x", "<function=now>x")],
        [("[TOOL_CALLS]", ""), ("x", ""), (" y", "[TOOL_CALLS]x y")],
        [("{", ""), ('"', ""), ("answer", ""), ('"', '{"answer"'), (": 1", ": 1")],
        [('{"name": "J', ""), ("o", ""), ('"', '{"name": "Jo"')],
        [("[", ""), ("1", "[1")],
        [("```py", ""), ("\n", ""), ("x", "```py\nx")],
        [("```json\n", ""), ("[", ""), ("2", "```json\n[2")],
        [("  ", ""), ("x", "  x"), ("  ", "  ")],
        [("x ``", "x ``"), ("<tool_call>", "<tool_call>")],
    ],
    ids=lambda steps: "".join(piece for piece, _ in steps),
)
def test_prose_is_passed_on_as_soon_as_it_cannot_become_a_call(
    steps: list[tuple[str, str]],
) -> None:
    parser = ToolCallParser(TOOLS)
    for piece, passed_on in steps:
        assert shown(parser.feed(piece)) == passed_on


def test_a_call_arrives_with_its_closing_tag() -> None:
    parser = ToolCallParser(TOOLS)
    assert parser.feed(tag(PARIS)[:-1]) == []
    assert [show(event) for event in parser.feed(">")] == [paris(tag(PARIS))]


def scanned(reply: str, size: int) -> int:
    parser = ToolCallParser(TOOLS)
    events: list[Event] = []
    for start in range(0, len(reply), size):
        events += parser.feed(reply[start : start + size])
    events += parser.flush()
    assert "".join(event.raw for event in events) == reply
    return parser.scanned


# How each grows with its size: `n` copies of something that is held back or looked at twice.
GROWING = {
    "a long argument": lambda n: tag(
        json.dumps({"name": "weather", "arguments": {"city": "x" * n}})
    ),
    "an argument full of markup": lambda n: tag(
        json.dumps({"name": "weather", "arguments": {"city": "<b>\"'</b>\\" * (n // 11)}})
    ),
    "an argument full of closing tags": lambda n: tag(
        json.dumps({"name": "weather", "arguments": {"city": ".</tool_call>" * (n // 13)}})
    ),
    "a bare call": lambda n: json.dumps({"name": "weather", "arguments": {"city": "x" * n}}),
    "white space after a tag": lambda n: "<tool_call>" + " " * n,
    "white space after a call": lambda n: tag(PARIS) + " " * n,
    "many calls": lambda n: tag(PARIS) * (n // 74),
    "many openings": lambda n: "<tool_call>{" * (n // 12),
    "open strings": lambda n: '<tool_call>{"a": "</tool_call>' * (n // 30),
    "open brackets": lambda n: "<tool_call>" + "[" * n,
    "quotation marks": lambda n: '<tool_call>{"a' + '" ' * (n // 2),
    "angle brackets": lambda n: "<" * n,
    "backticks": lambda n: "`" * n,
    "fences": lambda n: "```\n" * (n // 4),
    "half a bare call": lambda n: '{"name": "' + "x" * n,
    "brackets": lambda n: "[{" * (n // 2),
    "openings and prose": lambda n: "<tool_call> x\n" * (n // 14),
    "attributes": lambda n: "<tool_call " + "a=1 " * (n // 4),
    "a value between tags": lambda n: tag(QWEN.replace("Paris", "<b> x </" * (n // 8))),
    "values between tags": lambda n: (
        f"<tool_call>now{'<arg_key>a</arg_key><arg_value>' * (n // 31)}"
    ),
    "function tags": lambda n: "<function=now>" * (n // 14),
    "Mistral's marks": lambda n: "[TOOL_CALLS]now[ARGS]{}" * (n // 23),
    "halves of Mistral's mark": lambda n: "[TOOL_CALLS" * (n // 11),
    "closing tags": lambda n: tag(PARIS) + "</tool_call>\n" * (n // 13),
    "wrappers": lambda n: "<tool_calls>" * (n // 12),
    "wrappers in prose": lambda n: "a <tool_calls><tool_call>\n" * (n // 25),
    "white space behind a function": lambda n: QWEN + " " * n,
    "brackets of one kind closed by the other": lambda n: (
        "<tool_call>" + "[" * (n // 2) + "}" * (n // 2)
    ),
}


@pytest.mark.parametrize("make", GROWING.values(), ids=list(GROWING))
def test_reading_is_linear_in_characters_scanned(make: Any) -> None:
    small, large = scanned(make(2_500), 4), scanned(make(10_000), 4)
    assert large <= 4.2 * small
    assert large <= 3 * 10_500


def test_a_long_call_costs_at_most_five_of_a_quarter_of_it() -> None:
    def call(size: int) -> str:
        return tag(json.dumps({"name": "weather", "arguments": {"city": "é" * (size // 6)}}))

    assert scanned(call(400_000), 4) <= 5 * scanned(call(100_000), 4)


@pytest.mark.parametrize(
    ("reply", "echoed", "kind"),
    [
        ('<tool_call>{"a": 1}' + "\n" * 300_000 + ", x", "", "text"),
        (tag(PARIS), "\\" * 300_000, "call"),
        ("<tool_call>" * 20_000, "", "invalid"),
    ],
    ids=["line ends behind brackets", "backslashes in a quotation", "openings"],
)
def test_a_long_row_of_the_same_is_read_in_one_go(reply: str, echoed: str, kind: str) -> None:
    # A regular expression that went back and forth in it, or a copy at each, took minutes.
    assert [event[0] for event in read(reply, echoed=[echoed])][-1:] == [kind]


# --- whatever comes ---------------------------------------------------------------------

FRAGMENTS = [
    *("<tool_call>", "</tool_call>", "<tool_calls>", "</function_call>", "<tool_response>"),
    *("<think>", "</think>", "```", "```json\n", "~~~", "`", "\n", " ", "<", "</", "tool_call>"),
    *("<function=weather>", "<function=now>", "<parameter=city>", "</parameter>", "</function>"),
    *("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "weather", "now", "city"),
    *(
        "[TOOL_CALLS]",
        "[ARGS]",
        "<|python_tag|>",
        "<|eot_id|>",
        "<TOOL_CALL>",
        '<tool_call id="1">',
    ),
    *(QWEN, GLM, NAMED, DEEPSEEK_31),
    *("{", "}", "[", "]", '"', "'", "\\", ",", ":", ";", ")", "null", "3", "x", "Hi. "),
    *('"name"', '"weather"', '"now"', '"arguments"', '"city"', '{"name": "now"}'),
    *(PARIS, ROME, NOW, tag(PARIS), PARIS[:-1], "é", "\u2028", "\ud800", "\x00"),
]

replies = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join) | st.text(max_size=60)


def cut(reply: str, places: Iterable[int]) -> list[str]:
    bounds = [0, *sorted(place % (len(reply) + 1) for place in places), len(reply)]
    return [reply[start:end] for start, end in itertools.pairwise(bounds)]


options = st.fixed_dictionaries(
    {
        "reasoning": st.booleans(),
        "opened": st.booleans(),
        "parallel": st.booleans(),
        "echoed": st.sampled_from([(), (PARIS,), (tag(ROME), "x")]),
        "tools": st.sampled_from([TOOLS, {}]),
    }
)


@settings(max_examples=300)
@given(reply=replies, options=options, places=st.lists(st.integers(0, 2000), max_size=5))
def test_any_text_gives_the_same_events_at_every_cut_and_loses_nothing(
    reply: str, options: dict[str, Any], places: list[int]
) -> None:
    whole = parse([reply], **options)
    assert parse(list(reply), **options) == whole
    assert parse(cut(reply, places), **options) == whole


class Counted(list[str]):
    """Counts the looks at its items."""

    looks = 0

    def __contains__(self, item: object) -> bool:
        Counted.looks += len(self)
        return super().__contains__(item)

    def pop(self, *args: Any) -> str:
        Counted.looks += 1
        return super().pop(*args)


@pytest.mark.parametrize(
    "text", ["[" * 2000 + "}" * 2000, "[{" * 1000 + "]" * 2000], ids=["wrong kind", "skipped"]
)
def test_brackets_are_closed_without_looking_through_the_open_ones(text: str) -> None:
    Counted.looks = 0
    candidate = Candidate(closers=Counted())
    for char in text:
        candidate.open(char) if char in "[{" else candidate.close(char)
    assert Counted.looks <= len(text)
