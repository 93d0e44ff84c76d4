"""Sees where a call as Python writes it, or an object of bare keys, ends in a growing text."""

from __future__ import annotations

import re

from langchain_ai365vip._parsing.marks import Found, Kind, Marks
from langchain_ai365vip._parsing.source import Pull, Source

NAME = re.compile(r"[\w.:/-]*")
"""A name, what belongs to it in any form included."""

_CODE = re.compile(r"""[^"'()\[\]{}\\<#]*""")
_QUOTED = {'"': re.compile(r'[^"\\]*'), "'": re.compile(r"[^'\\]*")}
_NO_TAG = re.compile(r"[^<]*")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


class LiteralReader:
    """Reads what is written as code.

    Args:
        source: Where the characters come from.
        marks: Finds the marks that end it from outside, or stand around its strings.
    """

    def __init__(self, source: Source, marks: Marks) -> None:
        self._source = source
        self._marks = marks

    def call(self) -> Pull[tuple[str, bool]]:
        """Take `name(...)`; say whether its last bracket was there."""
        name = yield from self._source.collect(NAME)
        if (yield from self._source.peek()) != "(":
            return name, False
        text, _, whole = yield from self._brackets("\"'")
        return name + text, whole

    def braces(self) -> Pull[tuple[str, dict[str, str], bool]]:
        """Take an object of bare keys, whose strings may stand between marks of their own.

        Returns:
            The object; by their placeholders in it the strings; whether its end was there.
        """
        return (yield from self._brackets('"'))

    def _brackets(self, quotes: str) -> Pull[tuple[str, dict[str, str], bool]]:
        """Take a bracket and what follows, to the one that closes it."""
        source = self._source
        parts: list[str] = []
        marked: dict[str, str] = {}
        awaited: list[str] = []
        while (yield from source.more()):
            yield from source.run(_CODE, parts.append)
            char = yield from source.peek()
            mark = (yield from self._marks.read({Kind.QUOTE, Kind.CLOSE})) if char == "<" else None
            if mark is not None and Kind.CLOSE in mark.kinds:
                source.back(mark.raw)
                break
            if mark is not None:
                placeholder = f"\0{len(marked)}"
                marked[placeholder] = yield from self._marked_string(mark)
                parts.append(f" {placeholder} ")
            elif char and char in quotes:
                parts.append((yield from self._string(char)))
            elif char and char in _BRACKETS.values() and awaited.pop() != char:
                break
            elif char:
                awaited += _BRACKETS.get(char, "")
                parts.append(source.take())
                if not awaited:
                    return "".join(parts), marked, True
        return "".join(parts), marked, False

    def _string(self, quote: str) -> Pull[str]:
        """Take a string; one in three quotation marks ends with three."""
        source, text = self._source, self._source.take()
        for _ in range(2):
            if (yield from source.peek()) == quote:
                text += source.take()
        if len(text) == 2:
            return text
        parts, width, run = [text], len(text), 0
        while (yield from source.more()):
            before = len(parts)
            yield from source.run(_QUOTED[quote], parts.append)
            run = 0 if len(parts) > before else run
            char = yield from source.peek()
            if char:
                parts.append(source.take())
            if char == "\\" and (yield from source.more()):
                parts.append(source.take())
            run = run + 1 if char == quote else 0
            if run == width:
                break
        return "".join(parts)

    def _marked_string(self, mark: Found) -> Pull[str]:
        parts: list[str] = []
        while (yield from self._source.more()):
            yield from self._source.run(_NO_TAG, parts.append)
            end = yield from self._marks.read({Kind.QUOTE})
            if end is not None and end.mark == mark.mark:
                break
            if end is not None:
                self._source.back(end.raw)
            if (yield from self._source.more()):
                parts.append(self._source.take())
        return "".join(parts)
