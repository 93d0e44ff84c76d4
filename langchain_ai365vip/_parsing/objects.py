"""Finds JSON objects in prose: those of a whole text, or the first one while it arrives."""

from __future__ import annotations

import re
from collections.abc import Iterator

from langchain_ai365vip._parsing.json_values import Candidate, JsonReader, Value, split
from langchain_ai365vip._parsing.marks import Kind, Marks
from langchain_ai365vip._parsing.reasoning import ends_of, read_thought
from langchain_ai365vip._parsing.source import SPACE, Pull, Source

_NAME = re.compile(r"\w*")
_NOT_OPENING = {"{": re.compile(r"[^{]*"), "[": re.compile(r"[^\[]*")}
_ITEM_STARTS = "{[\"'-0123456789"


def objects_in(text: str, opening: str = "{") -> Iterator[Value]:
    """Yield the JSON objects in a text, one after the other.

    Args:
        text: A whole reply.
        opening: `{` for objects, `[` for lists.
    """
    source = Source()
    source.piece, source.ended = text, True
    finder = ObjectFinder(source, opening)
    for _ in finder.run():
        raise AssertionError("A text that is all there is not waited for.")
    for candidate in finder.found:
        yield from split(candidate, ended=True)


class ObjectText:
    """The text of the first JSON object in a reply while it grows, nothing else.

    A reply without any is passed on whole at the end: nothing is lost.

    Args:
        opening: `{` for an object, `[` for a list.
    """

    def __init__(self, opening: str = "{") -> None:
        self._source = Source()
        self._finder = ObjectFinder(self._source, opening, first_only=True)
        self._states = self._finder.run()
        next(self._states, None)

    def feed(self, text: str) -> str:
        """Read the next piece of the reply; return what of the object it adds."""
        self._source.piece, self._source.pos = text, 0
        next(self._states, None)
        return self._finder.take_growth()

    def flush(self) -> str:
        """End the reply; return the whole of it if there was no object in it, else nothing."""
        self._source.piece, self._source.pos, self._source.ended = "", 0, True
        next(self._states, None)
        return self._finder.take_growth() or self._finder.take_skipped()

    @property
    def cut_off(self) -> bool:
        """After `flush`: whether the reply ended inside the object."""
        return any(candidate.cut_off for candidate in self._finder.found)


class ObjectFinder:
    """A search for JSON objects in prose or code fences, after any reasoning.

    Args:
        source: Where the characters come from.
        opening: `{` for objects, `[` for lists.
        first_only: Stop reading after the first that is not empty.
    """

    def __init__(self, source: Source, opening: str, *, first_only: bool = False) -> None:
        self._source = source
        self._json = JsonReader(source)
        self._marks = Marks(source, {})
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
        yield from self._json.value(candidate)
        stopped = candidate.cut_off and (yield from self._source.more())  # by a tag
        if stopped and not self._first_only:
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
        begin = yield from self._marks.read({Kind.THOUGHT})
        if begin is None:
            return
        skip(begin.raw)
        end = yield from read_thought(source, self._marks, ends_of(begin), skip)
        skip(end.raw if end else "")

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
