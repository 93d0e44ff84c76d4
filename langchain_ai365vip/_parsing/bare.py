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
    Tools,
    bound_name,
    is_call_shaped,
    name_hint,
    unreadable,
)
from langchain_ai365vip._parsing.code import RUNS
from langchain_ai365vip._parsing.json_text import read_json
from langchain_ai365vip._parsing.json_values import Candidate, JsonReader, split
from langchain_ai365vip._parsing.marks import Found, Kind, Marks
from langchain_ai365vip._parsing.shapes import CallReader, Item, Read, items_of
from langchain_ai365vip._parsing.source import SPACE, Pull, Source

_CALL_KEYS: Final = frozenset({*NAME_KEYS, *ARGUMENT_KEYS, *WRAPPER_KEYS, *META_KEYS})
_BEGINS: Final = frozenset({Kind.OPEN, Kind.HEAD, Kind.LINE, Kind.TAG})
_BEHIND: Final = frozenset({*_BEGINS, Kind.END, Kind.CLOSE, Kind.HALF})
_CALL_TYPES: Final = frozenset({"function", "function_call", "tool_call", "tool_use"})
_STRING = {'"': re.compile(r'[^"\\\n{}\[\]]*'), "'": re.compile(r"[^'\\\n{}\[\]]*")}
_SEPARATORS = re.compile(r"[\s,;]*")
_WORD = re.compile(r"[\w+.-]*")


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
        self._fence = ""  # the run of characters that opened the fence
        self._seen = ""  # of JSON of which it is not clear if it is a call

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
            else:
                mark = (yield from self._marks.read(_BEHIND)) if items else None
                if mark is None or mark.kinds & _BEGINS:
                    self._source.back(mark.raw if mark else "")
                    found = yield from self._calls_here()
                    if not found:
                        return read
                    items.extend(found)
                elif Kind.END not in mark.kinds and not fenced:
                    self._source.back(mark.raw)
                    read.closed = True
                    return read
        read.alone = bool(items)
        return read

    def _opens_fence(self, char: str) -> Pull[bool]:
        ticks = yield from self._source.collect(RUNS[char])
        yield from self._source.collect(_WORD)
        self._fence = ticks
        space = yield from self._source.collect(SPACE)
        after = yield from self._source.peek()
        return len(ticks) >= 3 and ("\n" in space or after in ("{", "[", "<", ""))

    def _calls_here(self) -> Pull[list[Item]]:
        """Read a call, or several of one list or mark; none where there is none."""
        char = yield from self._source.peek()
        if self._fence and (mark := (yield from self._marks.read(_BEGINS))):
            return (yield from self._marked(mark))
        if char in ("{", "["):
            return (yield from self._bracket())
        if self._fence and (char.isalpha() or char == "_"):
            return (yield from self._python())
        return []

    def _marked(self, mark: Found) -> Pull[list[Item]]:
        read = yield from self._calls.read(mark, at_start=True, wrapped=False)
        bound = all(reading.name in self._tools for reading in read.readings)
        return read.items if bound else []

    def _bracket(self) -> Pull[list[Item]]:
        candidate, start = Candidate(bare=True), self._source.at
        begins = yield from self._begins_like_call()
        if begins is None:
            return (yield from self._python())
        if not begins or (yield from self._json.value(candidate)):
            return []
        stopped = candidate.cut_off and (yield from self._source.more())
        if stopped or not means_call(candidate, self._tools):
            return []
        return items_of(candidate, start, self._tools, ended=True)

    def _begins_like_call(self) -> Pull[bool | None]:
        """Look at JSON as far as the first key that decides; None where it is Python.

        Where it may be a call, it is given back.
        """
        self._seen = ""
        word = yield from self._word()
        if word == "[":
            word = yield from self._word()
            char = "" if word else (yield from self._source.peek())
            if char.isalpha() or char == "_":
                return None
        while word in ("{", ","):
            key = (yield from self._word())[1:-1]
            if key not in _CALL_KEYS or (yield from self._word()) != ":":
                return False
            value = yield from self._word()
            if key not in META_KEYS:
                may_be = self._decides(key, value)
                self._source.back(self._seen if may_be else "")
                return may_be
            word = yield from self._word()
            if key == "type" and value[1:-1] not in _CALL_TYPES:
                return False
        return False

    def _decides(self, key: str, value: str) -> bool:
        """Say whether a call may go on behind a key and the beginning of its value."""
        if key in NAME_KEYS and value[:1] in _STRING:
            return bound_name(value[1:-1], self._tools) in self._tools
        return key in ARGUMENT_KEYS or (key in WRAPPER_KEYS and value in ("{", "["))

    def _word(self) -> Pull[str]:
        """Take white space, and a bracket, a short string or a digit; empty for anything else."""
        source = self._source
        space, word = (yield from source.collect(SPACE)), ""
        quote = yield from source.peek()
        if quote in ("{", "[", ":", ",", *_STRING) or quote.isdigit():
            word = source.take()
        if word in _STRING:
            word += yield from source.collect(_STRING[quote])
            word += source.take() if (yield from source.peek()) == quote else ""
        self._seen += space + word
        return word

    def _python(self) -> Pull[list[Item]]:
        items, broken = yield from self._calls.python(bound=True)
        if broken and (yield from self._source.more()):
            return []
        if broken:
            reading = unreadable(broken, self._tools, CUT_OFF)
            items.append(Item([reading], self._source.at, cut_off=True))
        bound = all(reading.name in self._tools for reading in Read(items).readings)
        return items if bound else []


def means_call(candidate: Candidate, tools: Tools) -> bool:
    """Say whether a bare value is a call of bound tools, or one that is broken."""
    (value,) = split(candidate, ended=True)
    if value.cut_off:
        return name_hint(value.text, tools) is not None
    try:
        parsed, _ = read_json(value.text, value.escaped)
    except ValueError:
        return name_hint(value.text, tools) is not None
    return is_call_shaped(parsed, tools)
