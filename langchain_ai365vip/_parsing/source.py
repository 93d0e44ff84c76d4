"""The characters of a growing text, each looked at once.

The methods are generators: they yield where the next character is still to come. So a reader
is written as if the whole text were there, a piece may end anywhere, and no result can depend
on where it does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Pull: TypeAlias = Generator[None, None, T]

SPACE = re.compile(r"\s*")
BLANKS = re.compile(r"[^\S\n]*")  # within a line


class Source:
    """A text that arrives in pieces.

    Attributes:
        piece: What has arrived and was not dropped yet.
        pos: How much of it was taken.
        ended: No piece will follow.
        at: How many characters were taken and not given back.
        scanned: How many characters were taken so far, those given back counted again.
    """

    __slots__ = ("_held", "at", "ended", "piece", "pos", "scanned")

    def __init__(self) -> None:
        self.piece = ""
        self.pos = 0
        self.ended = False
        self.at = 0
        self.scanned = 0
        self._held: list[str] = []

    def feed(self, piece: str) -> None:
        """Go on with the next piece; the one before was taken as a whole."""
        self.piece, self.pos = piece, 0

    def hold(self, taken: str) -> None:
        """Begin to note what is taken; `taken` was taken before and is a part of it."""
        self._held = [taken]

    @property
    def held(self) -> str:
        """What was taken since `hold`."""
        self._held = ["".join(self._held)]
        return self._held[0]

    def more(self) -> Pull[bool]:
        """Wait for a character; False at the end of the text."""
        while self.pos >= len(self.piece):
            if self.ended:
                return False
            yield
        return True

    def peek(self) -> Pull[str]:
        """Return the next character, not taken; empty at the end of the text."""
        if self.pos >= len(self.piece) and not (yield from self.more()):
            return ""
        return self.piece[self.pos]

    def take(self) -> str:
        """Take the character that was peeked at."""
        char = self.piece[self.pos]
        self.pos += 1
        self.at += 1
        self.scanned += 1
        self._held.append(char)
        return char

    def run(self, pattern: re.Pattern[str], sink: Callable[[str], object]) -> Pull[None]:
        """Pass on the characters that a `[...]*` pattern matches, as they come."""
        while self.pos < len(self.piece) or (yield from self.more()):
            found = pattern.match(self.piece, self.pos)
            end = found.end() if found is not None else self.pos
            if end > self.pos:
                text = self.piece[self.pos : end]
                self._held.append(text)
                self.at += len(text)
                self.scanned += len(text)
                self.pos = end
                sink(text)
            if end < len(self.piece):
                break

    def collect(self, pattern: re.Pattern[str]) -> Pull[str]:
        """Take the characters that a `[...]*` pattern matches."""
        parts: list[str] = []
        yield from self.run(pattern, parts.append)
        return "".join(parts)

    def back(self, text: str) -> None:
        """Give back what was taken last, to be taken again."""
        if self.pos >= len(text):
            self.pos -= len(text)
        else:  # the beginning of it came with an earlier piece
            self.piece, self.pos = text + self.piece[self.pos :], 0
        left = len(text)
        self.at -= left
        while left and self._held:
            last = self._held.pop()
            if len(last) > left:
                self._held.append(last[:-left])
            left -= min(left, len(last))
