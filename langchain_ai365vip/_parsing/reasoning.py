"""Reads reasoning to its end, and the calls with which reasoning that has none may end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Set
from typing import Final

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

_OPENED: Final = frozenset(THOUGHT_ENDS.values()) - {"<|end|>"}


def ends_of(begin: Found | None) -> Set[str]:
    """Return the marks that end reasoning which began with a mark; None if that is not known."""
    return {THOUGHT_ENDS.get(begin.mark, "</think>")} if begin else _OPENED


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


class Thought:
    """Reasoning while it arrives: which calls stand at its end, and are more than thoughts.

    Args:
        bound: The names of the tools: a call of any other is a thought.
        say: Takes up what is only a thought, as soon as that is clear.
    """

    def __init__(self, bound: Collection[str], say: Callable[[str], object]) -> None:
        self._bound = bound
        self._say = say
        self._last: list[Event] = []  # a call, and what stands behind it

    def take(self, events: Iterable[Event]) -> None:
        """Note what was read of it, as if it were a reply."""
        for event in events:
            if self._last or isinstance(event, Call):
                self._last.append(event)
            else:
                self._say(event.raw)
            is_more = isinstance(event, Text) and bool(event.text.strip())
            if is_more or isinstance(event, InvalidCall):
                self.drop()

    def calls(self) -> list[Event]:
        """Return the whole calls at its end, and what is around them."""
        named = [event.name for event in self._last if isinstance(event, Call)]
        if not all(name in self._bound for name in named):
            self.drop()
        return self._last

    def drop(self) -> None:
        """Take the calls at its end for thoughts."""
        for event in self._last:
            self._say(event.raw)
        self._last = []
