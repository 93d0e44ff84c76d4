"""Sees where a call as Python writes it, or an object of bare keys, ends in a growing text."""

from __future__ import annotations

import re

from langchain_ai365vip._parsing.marks import Found, Kind, Marks
from langchain_ai365vip._parsing.source import Pull, Source

NAME = re.compile(r"[\w.:/-]*")
"""A name, what belongs to it in any form included."""

_CODE = re.compile(r"""[^"'()\[\]{}\\<#]*""")
_BRACES = re.compile(r"""[^"{}<]*""")
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
        source, parts = self._source, [(yield from self._source.collect(NAME))]
        if (yield from source.peek()) != "(":
            return parts[0], False
        awaited: list[str] = []
        while (yield from source.more()):
            yield from source.run(_CODE, parts.append)
            char = yield from source.peek()
            if char in _BRACKETS:
                awaited.append(_BRACKETS[char])
            elif char in ("'", '"'):
                parts.append((yield from self._string(char)))
                continue
            elif char == "<" and (yield from self._is_close()):
                break
            elif char in (")", "]", "}"):
                if not awaited or awaited.pop() != char:
                    break
                if not awaited:
                    return "".join([*parts, source.take()]), True
            if char:
                parts.append(source.take())
        return "".join(parts), False

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

    def _is_close(self) -> Pull[bool]:
        mark = yield from self._marks.read({Kind.CLOSE})
        if mark is not None:
            self._source.back(mark.raw)
        return mark is not None

    def braces(self) -> Pull[tuple[str, dict[str, str]] | None]:
        """Take an object of bare keys, whose strings may stand between marks of their own.

        Returns:
            The object, and by their placeholders in it the strings; None where it did not end.
        """
        parts: list[str] = []
        quotes: dict[str, str] = {}
        depth = 0
        while (yield from self._source.more()):
            yield from self._source.run(_BRACES, parts.append)
            char = yield from self._source.peek()
            mark = (yield from self._marks.read({Kind.QUOTE, Kind.CLOSE})) if char == "<" else None
            if mark is not None and Kind.CLOSE in mark.kinds:
                self._source.back(mark.raw)
                break
            if mark is not None:
                placeholder = f"\0{len(quotes)}"
                quotes[placeholder] = yield from self._marked_string(mark)
                parts.append(f" {placeholder} ")
                continue
            if char == '"':
                parts.append((yield from self._string(char)))
                continue
            depth += {"{": 1, "}": -1}.get(char, 0)
            if char:
                parts.append(self._source.take())
            if char == "}" and depth == 0:
                return "".join(parts), quotes
        return None

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
