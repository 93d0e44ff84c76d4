"""Sees where JSON values end in a growing text, in correct JSON and in most of the broken."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left
from dataclasses import dataclass, field, replace

from langchain_ai365vip._parsing.json_text import joins_strings
from langchain_ai365vip._parsing.marks import STARTS, Found, Kind, Marks
from langchain_ai365vip._parsing.source import SPACE, Pull, Source

_PLAIN_JSON = re.compile(r"""[^"'{}\[\]<]*""")
_STRING = {'"': re.compile(r'[^"\\<\[]*'), "'": re.compile(r"[^'\\<\[]*")}
_FENCES_AND_SPACE = re.compile(r"[\s`]*")
_BETWEEN = re.compile(r"[\s,;:`)}\]]*")
_ENDS = frozenset({Kind.CLOSE, Kind.END, Kind.OPEN, Kind.HEAD, Kind.RESULT})


def _is_before_prose(between: str) -> bool:
    """Say whether what follows stands at the beginning of a line."""
    return "\n" in between and _FENCES_AND_SPACE.fullmatch(between) is not None


@dataclass(slots=True)
class Candidate:
    """The JSON of what may be a call, while it arrives."""

    bare: bool = False  # without a mark around it
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
    quote: str = ""  # the quotation mark that the last string began with
    opened_in_string: bool = False
    closed_in_string: bool = False

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

    def enter_string(self, quote: str) -> None:
        """Forget what came before: it says nothing about what stands in the string."""
        self.last, self.quote = "", quote
        self.in_string = True
        self.opened_in_string = False

    @property
    def seems_complete(self) -> bool:
        """Inside a string: whether it looks as if the call ended and the string did not."""
        return self.last in ("}", "]", self.quote) and not self.opened_in_string

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

    `ended`: no mark closed it, so an open value is one that was cut off.
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


class JsonReader:
    """Reads JSON values.

    Args:
        source: Where the characters come from.
        marks: Finds the marks that end the values from outside; None where there are none.
    """

    def __init__(self, source: Source, marks: Marks | None = None) -> None:
        self._source = source
        self._marks = marks

    def values(self, candidate: Candidate) -> Pull[Found | None]:
        """Read values up to a mark, to prose or to the end of the text.

        Returns:
            The mark, which was taken.
        """
        source = self._source
        while True:
            mark = yield from self.value(candidate)
            if mark or candidate.cut_off:
                return mark
            between = yield from source.collect(_BETWEEN)
            candidate.add(between)
            char = yield from source.peek()
            if char in STARTS and (mark := (yield from self._mark(Kind.HALF))):
                return mark
            if char and char in "\"'":
                candidate.clean = False
                if mark := (yield from self._quoted(candidate)):
                    return mark
            elif not char or char == "<" or (char not in "{[" and _is_before_prose(between)):
                return None
            elif char not in "{[":
                # Not prose, which would begin a line: a string whose quotation marks are
                # broken may have closed the brackets too early.
                candidate.clean = False

    def value(self, candidate: Candidate) -> Pull[Found | None]:
        """Read to the end of one JSON value.

        Args:
            candidate: Takes up what is read.

        Returns:
            The mark that cuts the value short, which was taken. In a bare candidate, where
            none belongs, `<` ends it and stays.
        """
        source = self._source
        while True:
            yield from self._run(_PLAIN_JSON, candidate)
            char = yield from source.peek()
            if not char or (char == "<" and candidate.bare):
                return None
            if char in STARTS and not candidate.bare and (mark := (yield from self._mark())):
                return mark
            if char in "{[":
                candidate.open(source.take())
            elif char in "}]":
                if candidate.close(source.take()):
                    return None
            elif char not in "\"'":
                candidate.add(source.take())
            elif mark := (yield from self._quoted(candidate)):
                return mark

    def _run(self, pattern: re.Pattern[str], candidate: Candidate) -> Pull[None]:
        yield from self._source.run(pattern, candidate.add)

    def _mark(self, *more: str) -> Pull[Found | None]:
        return (yield from self._marks.read({*_ENDS, *more})) if self._marks is not None else None

    def _quoted(self, candidate: Candidate) -> Pull[Found | None]:
        """Read a string where one may stand; elsewhere a quotation mark is only that."""
        opens = candidate.last in ("{", "[", ",", ":", "")
        quote = self._source.take()
        candidate.add(quote)
        return (yield from self._string(candidate, quote)) if opens else None

    def _string(self, candidate: Candidate, quote: str) -> Pull[Found | None]:
        """Read to the end of a string; return the closing mark that shows it has none.

        A quotation mark ends the string only where JSON goes on after it, so that
        unescaped ones inside do no harm.
        """
        source, had_quotes = self._source, False
        candidate.enter_string(quote)
        while True:
            yield from self._run(_STRING[quote], candidate)
            char = yield from source.peek()
            if not char:
                return None
            if char == "\\":
                yield from self._escape(candidate)
            elif char == quote:
                if (yield from self._closes_string(candidate, had_quotes=had_quotes)):
                    return None
                had_quotes = True
            elif candidate.bare:
                candidate.add(source.take())
            elif mark := (yield from self._mark_in_string(candidate)):
                return mark

    def _closes_string(self, candidate: Candidate, *, had_quotes: bool) -> Pull[bool]:
        place, quote = candidate.length, self._source.take()
        candidate.add(quote)
        yield from self._run(SPACE, candidate)
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

    def _mark_in_string(self, candidate: Candidate) -> Pull[Found | None]:
        """Take a mark as part of the string, unless a call seems to end before it."""
        mark = yield from self._mark()
        if mark is None:
            candidate.add(self._source.take())
            return None
        if mark.kinds & {Kind.CLOSE, Kind.END}:
            if candidate.seems_complete:
                return mark
            candidate.closed_in_string = True
        opens = bool(mark.kinds & {Kind.OPEN, Kind.HEAD})
        candidate.opened_in_string = candidate.opened_in_string or opens
        candidate.add(mark.raw)
        return None
