"""Reads calls that have no marks: a reply, or a fence at its end, that is nothing else.

What holds anything else is text, and one sees so as early as possible, so that it can be
passed on.
"""

from __future__ import annotations

import re
from typing import Final

from langchain_ai365vip._parsing.calls import (
    ARGUMENT_KEYS,
    CUT_OFF,
    META_KEYS,
    NAME_KEYS,
    WRAPPER_KEYS,
    Reading,
    Tools,
    bound_name,
    is_call_shaped,
    is_definition,
    name_hint,
    read_python,
    unreadable,
)
from langchain_ai365vip._parsing.code import RUNS
from langchain_ai365vip._parsing.json_text import read_json
from langchain_ai365vip._parsing.json_values import Candidate, JsonReader, split
from langchain_ai365vip._parsing.literals import LiteralReader
from langchain_ai365vip._parsing.marks import CLOSE, END, HALF, HEAD, LINE, OPEN, TAG, Found, Marks
from langchain_ai365vip._parsing.shapes import CallReader, Item, Read, items_of
from langchain_ai365vip._parsing.source import SPACE, Pull, Source

_CALL_KEYS: Final = frozenset({*NAME_KEYS, *ARGUMENT_KEYS, *WRAPPER_KEYS, *META_KEYS})
_BEGINS: Final = frozenset({OPEN, HEAD, LINE, TAG})
_CALL_TYPES: Final = frozenset({"function", "function_call", "tool_call", "tool_use"})
_STRING = {'"': re.compile(r'[^"\\\n{}\[\]]*'), "'": re.compile(r"[^'\\\n{}\[\]]*")}
_SEPARATORS = re.compile(r"[\s,;]*")
_WORD = re.compile(r"[\w+.-]*")
_NAME = re.compile(r"[\w.]*")


class BareReader:
    """Reads calls without marks.

    Args:
        source: Where the characters come from.
        marks: Finds the marks that may stand behind or, in a fence, around them.
        tools: The JSON schema of the arguments by bound name.
        calls: Reads what stands in marks.
    """

    def __init__(self, source: Source, marks: Marks, tools: Tools, calls: CallReader) -> None:
        self._source = source
        self._marks = marks
        self._tools = tools
        self._calls = calls
        self._json = JsonReader(source)
        self._literals = LiteralReader(source, marks)
        self._fence = ""  # the run of characters that opened the fence

    def read(self) -> Pull[Read]:
        """Read to the end of the text, or until it is clear that something else stands there."""
        read = Read(start=self._source.at)
        items = read.items
        fenced = (yield from self._source.peek()) in RUNS
        while not read.cut_off:
            yield from self._source.collect(_SEPARATORS)
            char = yield from self._source.peek()
            if fenced and char in RUNS and not self._fence:
                if not (yield from self._opens_fence(char)):
                    return read
                read.start = read.start if items else self._source.at
            elif self._fence and char == self._fence[0] and items:
                if len((yield from self._source.collect(RUNS[char]))) < len(self._fence):
                    return read
                self._fence = ""
            elif not char:
                break
            elif not (items and (yield from self._end_token())):
                closes = bool(items) and (yield from self._closes(keep=fenced))
                read.closed = closes and not fenced
                item = None if closes else (yield from self._item())
                if read.closed or not (closes or item):
                    return read
                items += [item] if item else []
        read.alone = bool(items)
        return read

    def _opens_fence(self, char: str) -> Pull[bool]:
        ticks = yield from self._source.collect(RUNS[char])
        yield from self._source.collect(_WORD)
        self._fence = ticks
        space = yield from self._source.collect(SPACE)
        after = yield from self._source.peek()
        return len(ticks) >= 3 and ("\n" in space or after in ("{", "[", "<", ""))

    def _end_token(self) -> Pull[bool]:
        mark = yield from self._marks.read({END, *_BEGINS})
        if mark is not None and END not in mark.kinds:
            self._source.back(mark.raw)
        return mark is not None and END in mark.kinds

    def _closes(self, *, keep: bool) -> Pull[bool]:
        """Say whether a closing mark follows; keep it where what follows matters still."""
        mark = yield from self._marks.read({CLOSE, HALF})
        if mark is not None and CLOSE in mark.kinds and not keep:
            self._source.back(mark.raw)
        return mark is not None

    def _item(self) -> Pull[Item | None]:
        """Read one call; None where there is none."""
        char = yield from self._source.peek()
        if self._fence and (mark := (yield from self._marks.read(_BEGINS))):
            return (yield from self._marked(mark))
        if char in ("{", "["):
            return (yield from self._bracket())
        if self._fence and (char.isalpha() or char == "_"):
            return (yield from self._python())
        return None

    def _marked(self, mark: Found) -> Pull[Item | None]:
        read = yield from self._calls.read(mark, at_start=True, wrapped=False)
        bound = all(reading.name in self._tools for reading in read.readings)
        if not read.items or not bound:
            return None
        return Item(read.readings, self._source.at, cut_off=read.cut_off)

    # --- JSON -------------------------------------------------------------------------------

    def _bracket(self) -> Pull[Item | None]:
        candidate = Candidate(bare=True)
        start = self._source.at
        begins = yield from self._begins_like_call(candidate)
        if begins is None:
            return (yield from self._python_list())
        if not begins or (yield from self._json.value(candidate)):
            return None
        stopped = candidate.cut_off and (yield from self._source.more())
        if stopped or not means_call(candidate, self._tools):
            return None
        (item,) = items_of(candidate, start, self._tools, ended=True)
        return item

    def _begins_like_call(self, candidate: Candidate) -> Pull[bool | None]:
        """Read as far as the first key that decides; None for a list of Python's calls."""
        source = self._source
        for bracket in "[{":
            char = yield from source.peek()
            if bracket == "{" and candidate.closers and (char.isalpha() or char == "_"):
                return None
            if char == bracket:
                candidate.open(source.take())
                yield from source.run(SPACE, candidate.add)
        if candidate.last != "{":
            return False
        while True:
            key = yield from self._string(candidate)
            if key not in _CALL_KEYS or not (yield from self._taken_if(candidate, ":")):
                return False
            char = yield from source.peek()
            if key not in META_KEYS:
                return (yield from self._decides(candidate, key, char))
            if not (yield from self._is_meta(candidate, key, char)):
                return False
            if not (yield from self._taken_if(candidate, ",")):
                return False

    def _decides(self, candidate: Candidate, key: str, char: str) -> Pull[bool]:
        if key in NAME_KEYS and char in ('"', "'"):
            name = yield from self._string(candidate)
            return name is not None and bound_name(name, self._tools) in self._tools
        if key in WRAPPER_KEYS:
            return char in ("{", "[")
        return key in ARGUMENT_KEYS

    def _is_meta(self, candidate: Candidate, key: str, char: str) -> Pull[bool]:
        if char in ('"', "'"):
            value = yield from self._string(candidate)
            return value is not None and (key != "type" or value in _CALL_TYPES)
        digits: list[str] = []
        yield from self._source.run(_WORD, digits.append)
        candidate.add("".join(digits))
        return key == "index" and bool(digits)

    def _string(self, candidate: Candidate) -> Pull[str | None]:
        """Read a short, plain string; None where there is none."""
        quote = yield from self._source.peek()
        if quote not in ('"', "'"):
            return None
        candidate.add(self._source.take())
        text = yield from self._source.collect(_STRING[quote])
        candidate.add(text)
        if (yield from self._source.peek()) != quote:
            return None
        candidate.add(self._source.take())
        return text

    def _taken_if(self, candidate: Candidate, char: str) -> Pull[bool]:
        """Take a character and the white space around it, if it is the one."""
        yield from self._source.run(SPACE, candidate.add)
        if (yield from self._source.peek()) != char:
            return False
        candidate.add(self._source.take())
        yield from self._source.run(SPACE, candidate.add)
        return True

    # --- Python -----------------------------------------------------------------------------

    def _python_list(self) -> Pull[Item | None]:
        readings: list[Reading] = []
        while True:
            item = yield from self._python()
            if item is None:
                return None
            readings += item.readings
            yield from self._source.collect(_SEPARATORS)
            char = yield from self._source.peek()
            if char == "]":
                self._source.take()
            if char == "]" or not char:
                at = self._source.at
                return Item(readings, at, cut_off=item.cut_off)

    def _python(self) -> Pull[Item | None]:
        name = yield from self._marks.bare_name("print")
        if name:
            name += yield from self._source.collect(_NAME)
        more = yield from self._source.more()
        bound = bound_name(name, self._tools) in self._tools
        if more and not ((bound or name == "print") and (yield from self._source.peek()) == "("):
            return None
        self._source.back(name)
        text, whole = yield from self._literals.call()
        at = self._source.at
        if whole:
            reading = read_python(text, self._tools)
            return Item([reading], at) if reading.name in self._tools else None
        if (yield from self._source.more()) or "(" not in text or not name_hint(text, self._tools):
            return None
        return Item([unreadable(text, self._tools, CUT_OFF)], at, cut_off=True)


def means_call(candidate: Candidate, tools: Tools) -> bool:
    """Say whether a bare value is a call of bound tools, or one that is broken."""
    (value,) = split(candidate, ended=True)
    if value.cut_off:
        return name_hint(value.text, tools) is not None
    try:
        parsed, _ = read_json(value.text, value.escaped)
    except ValueError:
        return name_hint(value.text, tools) is not None
    return is_call_shaped(parsed, tools) and not is_definition(parsed)
