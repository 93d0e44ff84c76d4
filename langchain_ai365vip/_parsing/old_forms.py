"""The tags around calls, and the forms of calls that are not one JSON value.

We ask for `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, but a model may fall
back on what it was trained on. Besides other tags around the same JSON, these are read:

- `<function=NAME><parameter=KEY>value</parameter></function>` (Qwen3-Coder) and
  `<function=NAME>{...}</function>` (Llama), in a call's tag or without one;
- `<tool_call>NAME<arg_key>KEY</arg_key><arg_value>value</arg_value></tool_call>` (GLM);
- `[TOOL_CALLS]NAME[ARGS]{...}` (Mistral);
- a name and a JSON object between the marks of DeepSeek, `<tool call begin>` and so on, which
  have bars of double width at their ends and low blocks for spaces.

A value between tags is text, brought to its parameter's type. `Form` reads one of them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from typing import NamedTuple

from langchain_ai365vip._parsing.old_calls import (
    CUT_OFF,
    NO_CALL,
    Reading,
    Tools,
    read_fields,
    read_named,
    unreadable,
)
from langchain_ai365vip._parsing.old_scan import (
    SPACE,
    Candidate,
    JsonReader,
    Pull,
    Source,
    Tags,
    prefixes,
    split,
)

# All in small letters, as they are compared; models write some of them in capitals.
_PAIRS = {
    f"<{name}>": f"</{name}>"
    for name in ("tool_call", "tool_calls", "function_call", "function_calls", "functioncall")
}
FUNCTION = "<function="
_FUNCTION_END = "</function>"
MISTRAL, _ARGS, _CALL_ID = "[tool_calls]", "[args]", "[call_id]"
_DEEPSEEK_ALL, _DEEPSEEK_ALL_END, _DEEPSEEK, _DEEPSEEK_END, _DEEPSEEK_SEP = (
    "<\uff5c" + words.replace(" ", "\u2581") + "\uff5c>"
    for words in (
        "tool calls begin",
        "tool calls end",
        "tool call begin",
        "tool call end",
        "tool sep",
    )
)
RESPONSE = "<tool_response>"

OPENERS = frozenset({*_PAIRS, "<|python_tag|>", "<|tool_call|>", MISTRAL, _DEEPSEEK_ALL, _DEEPSEEK})
"""What begins a call wherever it stands, if its body is one."""

PAIRED = frozenset(_PAIRS)
"""Those of them that have an end of the same name, and attributes perhaps."""

END_TOKENS = frozenset(
    {"<|eom_id|>", "<|eot_id|>", "<|im_end|>", "<|end|>", "<|end_of_text|>", "<|endoftext|>"}
)
"""What ends a model's turn: no part of the text, where it follows a call."""

CLOSERS = frozenset(
    {*_PAIRS.values(), "<|/tool_call|>", _DEEPSEEK_END, _DEEPSEEK_ALL_END, *END_TOKENS}
)
"""What ends a call."""

TAGS = Tags(
    openers=OPENERS,
    closers=CLOSERS,
    all=OPENERS | CLOSERS | {RESPONSE},
    prefixes=prefixes(OPENERS | CLOSERS | {RESPONSE}),
)
CLOSER_PREFIXES = prefixes(CLOSERS)
_ENDS = CLOSERS | {_FUNCTION_END}
END_PREFIXES = prefixes(END_TOKENS)
BODY_PREFIXES = TAGS.prefixes | prefixes({FUNCTION})
ATTRIBUTES = re.compile(r"""[ \w="':.-]*""")

_FUNCTION_TAGS = Tags(
    frozenset(), frozenset({_FUNCTION_END}), frozenset({_FUNCTION_END}), prefixes({_FUNCTION_END})
)
_NAME = re.compile(r"[\w.-]*")
_KEY = re.compile(r"[^<>\n]*")
_TICKS = re.compile("`*")
_WORD = re.compile(r"\w*")
_NO_TAG = re.compile(r"[^<]*")
_LINE = re.compile(r"[^<\n`]*")


_prefixes = functools.lru_cache(maxsize=32)(prefixes)


class _Markup(NamedTuple):
    """How a form writes its arguments."""

    key: str
    key_end: str
    value: str
    value_end: str
    ends: frozenset[str]


_QWEN = _Markup("<parameter=", ">", "", "</parameter>", frozenset({_FUNCTION_END}))
_GLM = _Markup("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", CLOSERS)


def is_opener(word: str) -> bool:
    """Say whether a word begins a call: a tag with its attributes, or another mark."""
    return word.lower() in OPENERS or word.lower() == FUNCTION or is_paired(word)


def is_paired(word: str) -> bool:
    """Say whether a word is a tag that has an end, with attributes perhaps."""
    name, space, _ = word.lower().partition(" ")
    return word.endswith(">") and (f"{name}>" if space else name) in PAIRED


class Form:
    """A reader of one call that is not one JSON value.

    Args:
        source: Where the characters come from.
        json: Reads JSON in them.
        tools: The JSON schema of the arguments by bound name.
        opener: The mark that the call begins with.
        held: What was read so far, the mark first; takes up all that is read.

    Attributes:
        closed: The mark that ends the call was there.
        cut_off: The reply ended inside the call.
    """

    def __init__(
        self, source: Source, json: JsonReader, tools: Tools, opener: str, held: list[str]
    ) -> None:
        self._source = source
        self._json = json
        self._tools = tools
        self._opener = opener.lower()
        self._held = held
        self.closed = False
        self.cut_off = False

    @property
    def own(self) -> str:
        """What was read, without the marks behind the call, which a quotation may not have."""
        parts = self._held.copy()
        while parts and (not parts[-1].strip() or parts[-1].lower() in _ENDS):
            parts.pop()
        return "".join(parts)

    def read(self) -> Pull[Reading | None]:
        """Read to the end of the call; None where it turns out to be none."""
        if self._held[-1].lower() == FUNCTION:
            return (yield from self._function())
        if self._opener == MISTRAL:
            return (yield from self._mistral())
        if self._opener == _DEEPSEEK:
            return (yield from self._deepseek())
        return (yield from self._glm()) if is_paired(self._opener) else None

    def read_rest(self) -> Pull[Reading | None]:
        """Read on to the tag's end, if it comes before an empty line: no prose has both."""
        source = self._source
        while (yield from source.more()):
            yield from source.run(_LINE, self._held.append)
            char = yield from source.peek()
            if char == "<":
                word = yield from source.literal(TAGS.prefixes)
                if word.lower() in OPENERS:
                    source.back(word)
                    return None
                self._held.append(word or source.take())
                if word.lower() in CLOSERS:
                    self.closed = True
                    return unreadable("".join(self._held), self._tools, NO_CALL)
            elif char == "\n":
                self._held.append(source.take())
                if (yield from source.peek()) == "\n":
                    return None
            elif char:
                return None  # code, as Markdown has it
        return None

    # --- the forms -----------------------------------------------------------

    def _function(self) -> Pull[Reading | None]:
        name = yield from self._name()
        if self._opener != FUNCTION:
            name += yield from self._collect(_NAME)  # it is meant as a call in any case
        elif name not in self._tools:
            return None
        if not (yield from self._taken({">"})):
            return None
        yield from self._collect(SPACE)
        if (yield from self._source.peek()) == "{":
            json = JsonReader(self._source, _FUNCTION_TAGS)
            reading = yield from self._arguments(name, json, {_FUNCTION_END})
        else:
            reading = yield from self._fields(name, _QWEN)
        if reading is not None and not self.cut_off:
            # The call's tag around it is sometimes only closed, not opened.
            self.closed = bool((yield from self._end(CLOSERS))) or self._opener == FUNCTION
        return reading

    def _glm(self) -> Pull[Reading | None]:
        name = yield from self._name()
        if name not in self._tools:
            return None
        reading = yield from self._fields(name, _GLM)
        self.closed = not self.cut_off
        return reading

    def _mistral(self) -> Pull[Reading | None]:
        name = yield from self._name()
        if name not in self._tools:
            return None
        mark = yield from self._taken({_ARGS, _CALL_ID})
        if mark == _CALL_ID:
            yield from self._collect(_WORD)
            mark = yield from self._taken({_ARGS})
        self.closed = True  # it has no end of its own
        if mark != _ARGS:
            return (yield from self._cut(name))
        return (yield from self._arguments(name, self._json))

    def _deepseek(self) -> Pull[Reading | None]:
        name = yield from self._collect(_NAME)
        if not (yield from self._taken({_DEEPSEEK_SEP})):
            return None
        if name == "function":  # version 3; 3.1 begins with the tool's name
            name = yield from self._collect(_NAME)
        yield from self._collect(SPACE)
        ticks = yield from self._collect(_TICKS)
        yield from self._collect(_WORD if ticks else SPACE)
        reading = yield from self._arguments(name, self._json)
        if reading is None or self.cut_off:
            return reading
        yield from self._collect(SPACE)
        yield from self._collect(_TICKS)
        yield from self._end({_DEEPSEEK_END})
        yield from self._end({_DEEPSEEK_ALL_END})
        return reading

    # --- their arguments -----------------------------------------------------

    def _arguments(
        self, name: str, json: JsonReader, ends: Collection[str] = ()
    ) -> Pull[Reading | None]:
        """Read arguments that are one JSON object, and the mark behind it."""
        yield from self._collect(SPACE)
        if (yield from self._source.peek()) != "{":
            return (yield from self._cut(name))
        candidate = Candidate()
        word = yield from json.value(candidate)
        self._held += candidate.parts
        if word:
            self._held.append(word)
        elif candidate.cut_off:
            return (yield from self._cut(name))
        elif ends and not (yield from self._end(ends)) and (yield from self._source.more()):
            return None
        (value,) = split(candidate, ended=False)
        return read_named(name, value.text, self._tools, value.escaped)

    def _fields(self, name: str, markup: _Markup) -> Pull[Reading | None]:
        """Read arguments with tags around each key and value."""
        fields: list[tuple[str, str]] = []
        while True:
            yield from self._collect(SPACE)
            mark = yield from self._taken({markup.key, *markup.ends})
            if mark in markup.ends:
                return read_fields(name, fields, self._tools)
            if not mark:
                return (yield from self._cut(name))
            key = yield from self._collect(_KEY)
            if not (yield from self._taken({markup.key_end})):
                return (yield from self._cut(name))
            if markup.value:
                yield from self._collect(SPACE)
                if not (yield from self._taken({markup.value})):
                    return (yield from self._cut(name))
            value = yield from self._until(markup.value_end)
            if value is None:
                return (yield from self._cut(name))
            fields.append((key.strip(), value.removeprefix("\n").removesuffix("\n")))

    def _cut(self, name: str) -> Pull[Reading | None]:
        """Return a call that the reply's end cut off; None where anything else stopped it."""
        if (yield from self._source.more()):
            return None
        self.cut_off = True
        return Reading(name, {}, "".join(self._held), CUT_OFF)

    # --- their characters ----------------------------------------------------

    def _collect(self, pattern: re.Pattern[str]) -> Pull[str]:
        text = yield from self._source.collect(pattern)
        self._held.append(text)
        return text

    def _name(self) -> Pull[str]:
        """Take characters as long as they begin the name of a bound tool."""
        name = ""
        while char := (yield from self._source.peek()):
            if not any(tool.startswith(name + char) for tool in self._tools):
                break
            name += self._source.take()
        self._held.append(name)
        return name

    def _taken(self, marks: Collection[str]) -> Pull[str]:
        """Take one of the marks and return it in small letters; nothing where none stands."""
        word = yield from self._source.literal(_prefixes(frozenset(marks)))
        found = word.lower() in marks
        if found or not (yield from self._source.more()):  # half a mark at the reply's end
            self._held.append(word)
        else:
            self._source.back(word)
        return word.lower() if found else ""

    def _end(self, marks: Collection[str]) -> Pull[str]:
        """Take one of the marks with the white space before it; nothing where none stands."""
        space = yield from self._source.collect(SPACE)
        word = yield from self._source.literal(_prefixes(frozenset(marks)))
        if word.lower() in marks:
            self._held += [space, word]
            self.closed = True
            return word.lower()
        self._source.back(space + word)
        return ""

    def _until(self, mark: str) -> Pull[str | None]:
        """Read to a mark and take it; None at the end of the reply."""
        parts: list[str] = []
        while (yield from self._source.more()):
            yield from self._source.run(_NO_TAG, parts.append)
            if not (yield from self._source.more()):
                break
            word = yield from self._source.literal(_prefixes(frozenset({mark})))
            if word.lower() == mark:
                self._held += [*parts, word]
                return "".join(parts)
            parts.append(word or self._source.take())
        self._held += parts
        return None
