"""Reads a growing text without reading anything twice: the source, and JSON values in it.

`Source` holds the characters that have arrived. Its methods are generators: they yield
where the next character is still to come, so a reader is written as if the whole text were
there, and a piece may end anywhere.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from langchain_ai365vip._parsing.json_text import joins_strings

T = TypeVar("T")
Pull: TypeAlias = Generator[None, None, T]
Sink: TypeAlias = Callable[[str], None]

SPACE = re.compile(r"\s*")

_PLAIN_JSON = re.compile(r"""[^"'{}\[\]<]*""")
_STRING = {'"': re.compile(r'[^"\\<]*'), "'": re.compile(r"[^'\\<]*")}
_FENCES_AND_SPACE = re.compile(r"[\s`]*")
_BETWEEN = re.compile(r"[\s,;:`)}\]]*")


def prefixes(words: Collection[str]) -> frozenset[str]:
    """Return all beginnings of some tags, for `Source.literal`."""
    return frozenset(word[:end] for word in words for end in range(1, len(word) + 1))


class Source:
    """The reply's characters; its generators yield where the next one is still to come."""

    __slots__ = ("ended", "piece", "pos", "scanned")

    def __init__(self) -> None:
        self.piece = ""
        self.pos = 0
        self.ended = False
        self.scanned = 0

    def more(self) -> Pull[bool]:
        """Wait for a character; False at the end of the reply."""
        while self.pos >= len(self.piece):
            if self.ended:
                return False
            yield
        return True

    def peek(self) -> Pull[str]:
        """Return the next character, not taken; empty at the end of the reply."""
        if self.pos >= len(self.piece) and not (yield from self.more()):
            return ""
        return self.piece[self.pos]

    def take(self) -> str:
        """Take the character that was peeked at."""
        self.pos += 1
        self.scanned += 1
        return self.piece[self.pos - 1]

    def run(self, pattern: re.Pattern[str], sink: Sink) -> Pull[int]:
        """Pass on the characters that a `[...]*` pattern matches; say how many."""
        count = 0
        while self.pos < len(self.piece) or (yield from self.more()):
            found = pattern.match(self.piece, self.pos)
            end = found.end() if found is not None else self.pos
            if end > self.pos:
                sink(self.piece[self.pos : end])
                count += end - self.pos
                self.pos = end
            if end < len(self.piece):
                break
        self.scanned += count
        return count

    def collect(self, pattern: re.Pattern[str]) -> Pull[str]:
        """Take the characters that a `[...]*` pattern matches."""
        parts: list[str] = []
        yield from self.run(pattern, parts.append)
        return "".join(parts)

    def literal(self, prefixes: Collection[str]) -> Pull[str]:
        """Take characters as long as they begin one of the words (tags); return them.

        The words are in small letters; what is taken may have capitals.
        """
        word = ""
        while not word.endswith((">", "]")) and (char := (yield from self.peek())):
            if (word + char).lower() not in prefixes:
                break
            word += self.take()
        return word

    def back(self, text: str) -> None:
        """Give back what was taken last, to be taken again."""
        if self.pos >= len(text):
            self.pos -= len(text)
        else:  # the beginning of it came with an earlier piece
            self.piece, self.pos = text + self.piece[self.pos :], 0


def _is_before_prose(between: str) -> bool:
    """Say whether what follows stands at the beginning of a line."""
    return "\n" in between and _FENCES_AND_SPACE.fullmatch(between) is not None


@dataclass(slots=True)
class Candidate:
    """The JSON of what may be a call, while it arrives."""

    bare: bool = False  # without a tag around it
    parts: list[str] = field(default_factory=list)
    length: int = 0
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    closers: list[str] = field(default_factory=list)
    awaited: dict[str, int] = field(default_factory=lambda: {"}": 0, "]": 0})
    # The places of the quotation marks in and behind each string with unescaped ones in it.
    quotes: list[list[int]] = field(default_factory=list)
    last: str = ""  # the last character that is not white space
    first_close: int = 0  # behind the first bracket that closes one
    last_close: int = 0
    clean: bool = True  # nothing but separators between the values
    in_string: bool = False
    opened_in_string: bool = False
    tag_in_string: bool = False

    def add(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)
        visible = text.rstrip()
        if visible:
            self.last = visible[-1]

    def open(self, char: str) -> None:
        if not self.closers:
            self.starts.append(self.length)
        closer = "}" if char == "{" else "]"
        self.closers.append(closer)
        self.awaited[closer] += 1
        self.add(char)

    def close(self, char: str) -> bool:
        """Close a bracket and those left open inside it; True at the end of a value."""
        self.add(char)
        self.last_close = self.length
        self.first_close = self.first_close or self.length
        while self.awaited[char]:
            closed = self.closers.pop()
            self.awaited[closed] -= 1
            if closed == char:
                break
        else:
            return False
        if self.closers:
            return False
        self.ends.append(self.length)
        return True

    def enter_string(self) -> None:
        """Forget what came before: it says nothing about what stands in the string."""
        self.last = ""
        self.in_string = True
        self.opened_in_string = False

    @property
    def seems_complete(self) -> bool:
        """Inside a string: whether it looks as if the call ended and the string did not."""
        return self.last in ("}", "]", '"', "'") and not self.opened_in_string

    def note_quote(self, place: int, *, first: bool) -> None:
        """Note an unescaped quotation mark in a string, or the one that ends it."""
        if first:
            self.quotes.append([])
        self.quotes[-1].append(place)

    def escaped(self, body: str, start: int, end: int) -> str:
        """Return a part of the body with the quotation marks inside strings escaped.

        Empty when there are none, and when what they stand around looks like several
        strings: a comma is missing there, not a backslash, or they are joined by `+`.
        """
        first = bisect_left(self.quotes, [start])  # one look for each value stays linear
        inner: list[int] = []
        for places in self.quotes[first : bisect_left(self.quotes, [end])]:
            segments = ["", *(body[a + 1 : b] for a, b in itertools.pairwise(places))]
            if joins_strings(segments):
                return ""
            inner += places[:-1]
        parts = [body[a:b] for a, b in itertools.pairwise([start, *inner, end])]
        return "\\".join(parts) if inner else ""

    @property
    def open_end(self) -> int:
        """Where a value that is open can be compared up to: behind its last bracket."""
        ended = self.ends[-1] if self.ends else 0
        return self.last_close if self.last_close > ended else self.length

    @property
    def cut_off(self) -> bool:
        return bool(self.closers) or self.in_string


@dataclass(frozen=True, slots=True)
class Value:
    """One JSON value of a candidate.

    Attributes:
        text: The value's own text.
        raw: The same with the separators before it; the last one's goes to the end.
        escaped: The text with the quotation marks inside strings escaped, if there are any.
        cut_off: The text ended inside it.
    """

    text: str
    raw: str
    escaped: str = ""
    cut_off: bool = False


def split(candidate: Candidate, *, ended: bool) -> list[Value]:
    """Take a candidate apart into its values; all as one where more stood between them.

    `ended`: no tag closed it, so an open value is one that was cut off.
    """
    body = "".join(candidate.parts)
    open_end = candidate.cut_off
    if not candidate.clean:
        escaped = candidate.escaped(body, 0, len(body))
        return [Value(body, body, escaped, open_end and ended)]
    ends = [*candidate.ends, len(body)] if open_end else candidate.ends
    spans = zip(candidate.starts, ends, strict=True)
    cuts = [0, *ends[:-1], len(body)]
    values = [
        Value(body[start:end], body[cuts[i] : cuts[i + 1]], candidate.escaped(body, start, end))
        for i, (start, end) in enumerate(spans)
    ]
    if open_end and ended:
        values[-1] = replace(values[-1], cut_off=True)
    return values


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags that end a call: the same tag's end, another call, a made-up result."""

    openers: frozenset[str]
    closers: frozenset[str]
    all: frozenset[str]
    prefixes: frozenset[str]


class JsonReader:
    """A reader that sees where JSON values end, in correct JSON and in most of the broken.

    Args:
        source: Where the characters come from.
        tags: The tags that end the values from outside.
    """

    def __init__(self, source: Source, tags: Tags) -> None:
        self._source = source
        self._tags = tags

    def values(self, candidate: Candidate) -> Pull[str]:
        """Read values up to a tag, to prose or to the end of the text.

        Returns the tag, or the text that was taken because it began like one.
        """
        source = self._source
        while True:
            word = yield from self.value(candidate)
            if word or candidate.cut_off:
                return word
            between = yield from source.collect(_BETWEEN)
            candidate.add(between)
            char = yield from source.peek()
            if char == "<":
                return (yield from source.literal(self._tags.prefixes))
            if char and char in "\"'":
                candidate.clean = False
                if word := (yield from self._quoted(candidate)):
                    return word
            elif not char or (char not in "{[" and _is_before_prose(between)):
                return ""
            elif char not in "{[":
                # Not prose, which would begin a line: a string whose quotation marks are
                # broken may have closed the brackets too early.
                candidate.clean = False

    def value(self, candidate: Candidate) -> Pull[str]:
        """Read to the end of one JSON value.

        Args:
            candidate: Takes up what is read.

        Returns:
            The tag that cuts the value short; "<" (not taken) in a bare candidate,
            where no tag belongs; else nothing.
        """
        source = self._source
        while True:
            yield from source.run(_PLAIN_JSON, candidate.add)
            char = yield from source.peek()
            if not char:
                return ""
            if char == "<":
                if candidate.bare:
                    return char
                word = yield from source.literal(self._tags.prefixes)
                if word.lower() in self._tags.all:
                    return word
                candidate.add(word)
            elif char in "{[":
                candidate.open(source.take())
            elif char in "}]":
                if candidate.close(source.take()):
                    return ""
            elif word := (yield from self._quoted(candidate)):
                return word

    def _quoted(self, candidate: Candidate) -> Pull[str]:
        """Read a string where one may stand; elsewhere a quotation mark is only that."""
        opens = candidate.last in ("{", "[", ",", ":", "")
        quote = self._source.take()
        candidate.add(quote)
        return (yield from self._string(candidate, quote)) if opens else ""

    def _string(self, candidate: Candidate, quote: str) -> Pull[str]:
        """Read to the end of a string; return the closing tag that shows it has none.

        A quotation mark ends the string only where JSON goes on after it, so that
        unescaped ones inside do no harm.
        """
        source, had_quotes = self._source, False
        candidate.enter_string()
        while True:
            yield from source.run(_STRING[quote], candidate.add)
            char = yield from source.peek()
            if not char:
                return ""
            if char == "\\":
                yield from self._escape(candidate)
            elif char == quote:
                if (yield from self._closes_string(candidate, had_quotes=had_quotes)):
                    return ""
                had_quotes = True
            elif candidate.bare:
                candidate.add(source.take())
            elif word := (yield from self._tag_in_string(candidate)):
                return word

    def _closes_string(self, candidate: Candidate, *, had_quotes: bool) -> Pull[bool]:
        place, quote = candidate.length, self._source.take()
        candidate.add(quote)
        yield from self._source.run(SPACE, candidate.add)
        after = yield from self._source.peek()
        candidate.in_string = bool(after) and after not in ",:}]"
        if quote == '"' and (candidate.in_string or had_quotes):
            candidate.note_quote(place, first=not had_quotes)
        return not candidate.in_string

    def _escape(self, candidate: Candidate) -> Pull[None]:
        candidate.add(self._source.take())
        if (yield from self._source.more()):
            candidate.add(self._source.take())
        candidate.last = "\\"

    def _tag_in_string(self, candidate: Candidate) -> Pull[str]:
        """Take a tag as part of the string, unless a call seems to end before it."""
        word = yield from self._source.literal(self._tags.prefixes)
        if word.lower() in self._tags.closers:
            if candidate.seems_complete:
                return word
            candidate.tag_in_string = True
        candidate.opened_in_string = (
            candidate.opened_in_string or word.lower() in self._tags.openers
        )
        candidate.add(word)
        return ""


_THINK_PREFIXES = prefixes({"<think>"})
_THINK_END_PREFIXES = prefixes({"</think>"})
_NAME = re.compile(r"\w*")
_NOT_TAG = re.compile(r"[^<]*")
_NOT_OPENING = {"{": re.compile(r"[^{]*"), "[": re.compile(r"[^\[]*")}
_ITEM_STARTS = "{[\"'-0123456789"
_NO_TAGS = Tags(frozenset(), frozenset(), frozenset(), frozenset())


class ObjectFinder:
    """A search for JSON objects in prose or code fences, after any reasoning.

    Args:
        source: Where the characters come from.
        opening: `{` for objects, `[` for lists.
        first_only: Stop reading after the first that is not empty.
    """

    def __init__(self, source: Source, opening: str, *, first_only: bool = False) -> None:
        self._source = source
        self._json = JsonReader(source, _NO_TAGS)
        self._opening = opening
        self._first_only = first_only
        self._skipped: list[str] = []
        self.found: list[Candidate] = []

    def run(self) -> Pull[None]:
        """Read the text to its end."""
        source = self._source
        yield from self._skip_reasoning()
        while (yield from source.more()):
            yield from source.run(_NOT_OPENING[self._opening], self._skipped.append)
            if (yield from source.more()):
                yield from self._object()
            if self._first_only and self.found:
                return

    def _object(self) -> Pull[None]:
        candidate = Candidate(bare=True)
        candidate.open(self._source.take())
        begins = self._begins_like_object if self._opening == "{" else self._begins_like_list
        if not (yield from begins(candidate)):
            self._skipped += candidate.parts
            return
        self.found.append(candidate)
        if (yield from self._json.value(candidate)) and not self._first_only:
            self.found.pop()
            self._skipped += candidate.parts

    def _begins_like_object(self, candidate: Candidate) -> Pull[bool]:
        """Say whether there is a key, quoted or not: other braces belong to prose or code."""
        source = self._source
        yield from source.run(SPACE, candidate.add)
        char = yield from source.peek()
        if char in ('"', "'"):
            return True
        if char == "}":
            return not self._first_only  # empty: something better may follow
        yield from source.run(_NAME, candidate.add)
        yield from source.run(SPACE, candidate.add)
        return char.isidentifier() and (yield from source.peek()) == ":"

    def _begins_like_list(self, candidate: Candidate) -> Pull[bool]:
        """Say whether an item follows: a link and a box to tick have words and spaces in them."""
        yield from self._source.run(SPACE, candidate.add)
        char = yield from self._source.peek()
        return not self._first_only or (char != "" and char in _ITEM_STARTS)

    def _skip_reasoning(self) -> Pull[None]:
        source, skip = self._source, self._skipped.append
        yield from source.run(SPACE, skip)
        word = yield from source.literal(_THINK_PREFIXES)
        skip(word)
        while word == "<think>" and (yield from source.more()):
            yield from source.run(_NOT_TAG, skip)
            closing = yield from source.literal(_THINK_END_PREFIXES)
            skip(closing)
            if closing == "</think>":
                return
            if not closing and (yield from source.more()):
                skip(source.take())

    def take_growth(self) -> str:
        """Return the text by which the first object has grown since the last time."""
        if not self.found:
            return ""
        parts = self.found[0].parts
        text = "".join(parts)
        parts.clear()
        return text

    def take_skipped(self) -> str:
        """Return everything that was read, if no object was found."""
        return "" if self.found else "".join(self._skipped)
