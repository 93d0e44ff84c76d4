"""A reply while its texts arrive: cut, read for calls and reasoning, its calls judged. No I/O.

It knows nothing of other replies: whether one will do, and what is asked once more, is `Turn`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from langchain_ai365vip._parsing.events import Call, Discard, Event, InvalidCall, Text
from langchain_ai365vip._parsing.parser import ToolCallParser
from langchain_ai365vip._prompt.wording import to_json
from langchain_ai365vip._turn.output_schema import Schema
from langchain_ai365vip._turn.rules import Rules
from langchain_ai365vip._wire.cutter import ReplyCutter
from langchain_ai365vip._wire.tokens import Count


class ReplyReader:
    """One reply while its texts arrive: cut, and read for calls, objects and reasoning.

    Attributes:
        is_full: Whether no further text of it counts.
        cut_by: `"stop"` or `"length"` where it was cut here; a cut behind what is read of it
            does not count. Valid once it has ended, as `is_cut_off`.
    """

    def __init__(self, rules: Rules, count: Count | None) -> None:
        self._rules = rules
        judged = {n: s for n, s in rules.tools.items() if n not in rules.classes}
        self._judges = {name: Schema(name, schema) for name, schema in judged.items()}
        # Stop texts end prose; a reply that is not read is nothing else.
        stop = rules.stop if rules.passes_text_on else ()
        bounded = bool(stop) or rules.max_tokens is not None
        self._cutter = ReplyCutter(stop, rules.max_tokens, count) if bounded else None
        self._parser = None if rules.passes_text_on else _parser(rules)
        self._stop = _StopTexts(() if rules.passes_text_on else rules.stop)
        self._pieces: list[str] = []
        self.is_full = False

    @property
    def said(self) -> str:
        return "".join(self._pieces)

    def cut(self, text: str) -> str:
        self._pieces.append(text)
        if self._cutter is None:
            return text
        text = self._cutter.feed(text)
        self.is_full = self._cutter.finish_reason is not None
        return text

    def feed(self, text: str) -> Sequence[Event]:
        return self._read(self.cut(text))

    def end(self) -> Sequence[Event]:
        rest = self._read(self._cutter.flush()) if self._cutter else []
        if self._parser is None or self._stop.hit or self._parser.done:
            return rest
        return [*rest, *self._kept(self._stop.end(self._parser.flush()))]

    def _read(self, text: str) -> Sequence[Event]:
        if self._parser is None or not text:
            return text_events(text)
        events = self._kept(self._stop.cut(self._parser.feed(text)))
        self.is_full = self.is_full or self._stop.hit or self._parser.done
        return events

    def _kept(self, events: Sequence[Event]) -> Sequence[Event]:
        return [self._checked(event) for event in events if not isinstance(event, Discard)]

    def _checked(self, event: Event) -> Event:
        """Judge a call as far as LangChain does not: its name if it must come, its arguments."""
        if not isinstance(event, Call):
            return event
        rules = self._rules
        if event.name not in rules.tools:
            return self._unknown(event)
        schema = rules.call_schema or self._judges.get(event.name)
        if schema is None:
            return event
        arguments, problem = schema.fitted(event.arguments)
        if problem is None:
            return replace(event, arguments=arguments)
        return _invalid(event, f"The arguments are not valid: {problem}.")

    def _unknown(self, call: Call) -> Event:
        """Take a call of the object's name for the object; refuse others where one must come."""
        schema = self._rules.schema
        if schema is not None and call.name == schema.name:
            return Text(to_json(call.arguments))
        if not self._rules.forced:
            return call  # LangChain answers it with the names that there are
        known = ", ".join(self._rules.tools)
        return _invalid(call, f"{call.name} may not be called here. Call: {known}.")

    @property
    def cut_by(self) -> Literal["stop", "length"] | None:
        if self._stop.hit:
            return "stop"
        if self._cutter is None or (self._parser is not None and self._parser.done):
            return None
        return self._cutter.finish_reason

    @property
    def is_cut_off(self) -> bool:
        """Whether it was cut by max_tokens, or ended inside a call."""
        truncated = self._parser is not None and self._parser.truncated
        return self.cut_by == "length" or (truncated and not self._stop.hit)


def _parser(rules: Rules) -> ToolCallParser:
    return ToolCallParser(
        rules.tools,
        reasoning=bool(rules.reasoning),
        opened=rules.reasoning == "opened",
        parallel=rules.parallel,
        echoed=rules.echoed,
    )


class _StopTexts:
    """A cut through prose before a stop text, which lets calls and reasoning pass.

    Attributes:
        hit: Whether it has cut: what follows is not shown.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._cutter = ReplyCutter(texts)
        self._idle = not texts

    @property
    def hit(self) -> bool:
        return self._cutter.finish_reason is not None

    def cut(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return what may be shown of the next events."""
        return events if self._idle else list(self._cut(events))

    def end(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return what may be shown of the last events, and what was held back."""
        return [*self.cut(events), *text_events(self._cutter.flush())]

    def _cut(self, events: Sequence[Event]) -> Iterator[Event]:
        for event in events:
            if self.hit:
                return
            if isinstance(event, Text):
                yield from text_events(self._cutter.feed(event.text))
            else:
                yield from text_events(self._cutter.flush())
                yield event


def _invalid(call: Call, error: str) -> InvalidCall:
    return InvalidCall(call.id, call.name, to_json(call.arguments), error, call.raw)


def text_events(text: str) -> Sequence[Text]:
    """Return the event for a text; none for an empty one."""
    return [Text(text)] if text else []
