"""Makes events of what was read, in order, and knows what there was so far."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TypeAlias

from langchain_ai365vip._parsing.calls import Reading
from langchain_ai365vip._parsing.events import (
    MORE_CALLS,
    WHITE_SPACE,
    Call,
    Discard,
    Event,
    InvalidCall,
    Reasoning,
    Text,
)

Stretch: TypeAlias = type[Text] | type[Reasoning] | str
"""What a stretch of the reply is; a str: discarded, and why."""


class Record:
    """The events of a reply while it is read.

    Args:
        parallel: Whether there may be more than one call.

    Attributes:
        any_text: There was text for the reader.
        any_block: There was a call, reasoning or a mark.
        any_call: There was a call.
        fresh: There was nothing but reasoning and white space.
        at_line_start: There was only white space since the line began.
        done: No further text matters.
    """

    def __init__(self, *, parallel: bool) -> None:
        self._parallel = parallel
        self._why_done = MORE_CALLS
        self._events: list[Event] = []
        self._kind: Stretch = Text
        self._pending: list[str] = []
        self.any_text = False
        self.any_block = False
        self.any_call = False
        self.fresh = True
        self.at_line_start = True
        self.done = False

    def take(self) -> list[Event]:
        """Return the events since the last time."""
        self._settle()
        events, self._events = self._events, []
        return events

    def say(self, kind: Stretch, text: str) -> None:
        """Note text of a kind, merged with what it follows."""
        if not text:
            return
        if kind != self._kind:
            self._settle()
            self._kind = kind
        self._pending.append(text)

    def _settle(self) -> None:
        if self._pending:
            text = "".join(self._pending)
            kind = self._kind
            self._events.append(Discard(text, kind) if isinstance(kind, str) else kind(text))
            self._pending = []

    def text(self, text: str) -> None:
        """Note text for the reader."""
        if text:
            self.say(Text, text)
            self.any_text = True
            start = text.rfind("\n") + 1
            if start or self.at_line_start:
                self.at_line_start = not text[start:].strip()

    def prose(self, space: str, text: str = "") -> None:
        """Note text for the reader; white space between it and blocks only is none."""
        if self.any_block and not self.any_text:
            self.say(WHITE_SPACE, space)
        else:
            self.text(space)
        self.text(text)
        self.fresh = False

    def block(self, space: str, kind: Stretch = "", text: str = "") -> None:
        """Note what is no text for the reader, the white space before it neither."""
        self.say(WHITE_SPACE, space)
        self.say(kind, text)
        self.any_block = self.any_block or bool(text)

    def calls(self, readings: Sequence[Reading], raw: str) -> None:
        """Note the calls of one stretch of the reply, the first with its characters."""
        for reading in readings:
            if self.done:
                break
            self.event(_event_of(reading, raw))
            raw = ""
        self.say(MORE_CALLS, raw)

    def event(self, event: Event) -> None:
        """Note an event, and whether it is the last that matters."""
        if self.done:
            self.say(MORE_CALLS, event.raw)
            return
        self._settle()
        self._events.append(event)
        if isinstance(event, Call | InvalidCall):
            self.any_call = self.any_block = True
            self.fresh = False
        self.done = isinstance(event, Call) and not self._parallel

    def end(self, why: str, text: str) -> None:
        """Note text behind which nothing matters, and why."""
        self.any_block = True
        self._why_done = why
        self.done = True
        self.rest(text)

    def rest(self, text: str) -> None:
        """Note text that does not matter any more."""
        self.say(self._why_done, text)

    @property
    def failed_last(self) -> bool:
        """Whether the last call cannot be read."""
        return not self.done and bool(self._events) and isinstance(self._events[-1], InvalidCall)


def _event_of(reading: Reading, raw: str) -> Call | InvalidCall:
    call_id = f"call_{uuid.uuid4().hex}"
    if reading.error is None and reading.name:
        return Call(call_id, reading.name, reading.arguments, raw)
    error = reading.error or "The call has no name."
    return InvalidCall(call_id, reading.name, reading.arguments_text, error, raw)
