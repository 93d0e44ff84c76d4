"""Reads reasoning to its end, and the calls with which reasoning that has none may end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Set
from typing import Final, Protocol

from langchain_ai365vip._parsing.events import Call, Event, InvalidCall, Text
from langchain_ai365vip._parsing.marks import (
    NO_MARK,
    THOUGHT_ENDS,
    Found,
    Kind,
    Marks,
    without_namespace,
)
from langchain_ai365vip._parsing.source import Pull, Source

OPENED: Final = frozenset(THOUGHT_ENDS.values()) - {"<|end|>"}
"""The marks that end reasoning whose own opening mark is not known."""


def ends_of(begin: Found) -> Set[str]:
    """Return the marks that end reasoning which began with a mark."""
    return {THOUGHT_ENDS.get(begin.mark, "</think>")}


def read_thought(
    source: Source, marks: Marks, ends: Set[str], say: Callable[[str], object]
) -> Pull[Found | None]:
    """Read reasoning up to the mark that ends it, and take the mark; None without one.

    Args:
        source: Where the characters come from.
        marks: Finds the marks.
        ends: The marks that end it.
        say: Takes up the text, as it comes.
    """
    while (yield from source.more()):
        yield from source.run(NO_MARK, say)
        mark = yield from marks.read({Kind.THOUGHT_END})
        if mark is not None and not ends.isdisjoint({mark.mark, without_namespace(mark.mark)}):
            return mark
        source.back(mark.raw if mark else "")
        if (yield from source.more()):
            say(source.take())
    return None


class Reader(Protocol):
    """Reads calls out of a text that arrives in pieces."""

    def feed(self, text: str) -> list[Event]:
        """Read the next piece."""

    def flush(self) -> list[Event]:
        """End the text."""


class Thought:
    """Reasoning while it arrives: which calls stand at its end, and are more than thoughts.

    Args:
        calls: Reads the calls in it.
        bound: The names of the tools: a call of any other is a thought.
        say: Takes up what is only a thought, as soon as that is clear.
    """

    def __init__(self, calls: Reader, bound: Collection[str], say: Callable[[str], object]) -> None:
        self._calls = calls
        self._bound = bound
        self._say = say
        self._last: list[Event] = []  # a call, and what stands behind it

    def feed(self, text: str) -> None:
        """Read the next piece."""
        self._take(self._calls.feed(text))

    def end(self) -> None:
        """End it by its mark: all of it was a thought."""
        self._take(self._calls.flush())
        self._drop()

    def cut(self) -> list[Event]:
        """End it without a mark; return the whole calls at its end, and what is around them."""
        self._take(self._calls.flush())
        named = [event.name for event in self._last if isinstance(event, Call)]
        if not all(name in self._bound for name in named):
            self._drop()
        return self._last

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            if self._last or isinstance(event, Call):
                self._last.append(event)
            else:
                self._say(event.raw)
            is_more = isinstance(event, Text) and bool(event.text.strip())
            if is_more or isinstance(event, InvalidCall):
                self._drop()

    def _drop(self) -> None:
        for event in self._last:
            self._say(event.raw)
        self._last = []
