"""Reads code as Markdown has it, in spans and fences: nothing in it is a call."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from langchain_ai365vip._parsing.source import BLANKS, Pull, Source

Sink: TypeAlias = Callable[[str], object]

RUNS: Final = {"`": re.compile("`*"), "~": re.compile("~*")}
"""What code begins and ends with, by its character."""

_LINE = re.compile(r"[^\n]*")
_INFO = re.compile(r"[^\n`]*")
_SPAN = {True: re.compile(r"[^`\n]*"), False: re.compile(r"[^`]*")}


def read_code(source: Source, say: Sink, *, at_line_start: bool) -> Pull[None]:
    """Read a run of backticks or tildes, and the code that it begins, if any.

    Args:
        source: Where the characters come from.
        say: Takes up what is read, as it comes.
        at_line_start: Whether a fence may stand here, not a span only.
    """
    char = yield from source.peek()
    width = yield from _run(source, char, say)
    if width >= 3 and at_line_start:
        yield from _fence(source, say, char, width)
    elif char == "`":
        yield from _span(source, say, width)


def _run(source: Source, char: str, say: Sink) -> Pull[int]:
    before = source.at
    yield from source.run(RUNS[char], say)
    return source.at - before


def _fence(source: Source, say: Sink, char: str, width: int) -> Pull[None]:
    """Read a fenced block to the line that closes it."""
    if char == "`":
        # A backtick after the opening run makes it a code span, not a fence.
        yield from source.run(_INFO, say)
        if (yield from source.peek()) == "`":
            return (yield from _span(source, say, width))
    yield from _line(source, say)
    while (yield from source.more()):
        yield from source.run(BLANKS, say)
        closing = yield from _run(source, char, say)
        yield from source.run(BLANKS, say)
        if closing >= width and (yield from source.peek()) in ("\n", ""):
            return None
        yield from _line(source, say)
    return None


def _line(source: Source, say: Sink) -> Pull[None]:
    """Read the rest of a line, and its end."""
    yield from source.run(_LINE, say)
    if (yield from source.more()):
        say(source.take())


def _span(source: Source, say: Sink, width: int) -> Pull[None]:
    """Read a code span to a run of as many backticks; a short one ends with its line."""
    while (yield from source.more()):
        yield from source.run(_SPAN[width < 3], say)
        if (yield from _run(source, "`", say)) in (width, 0):
            return
