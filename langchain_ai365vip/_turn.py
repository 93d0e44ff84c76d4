"""One turn of a model: its reply, cut, read for calls, and asked for once more if need be.

A `Turn` yields the events of `_tool_parser` (text, reasoning, calls). What a reply must be
(`Rules`) decides how:

- free: text is passed on at once; a call that cannot be read is asked for again at the end;
- a call is forced: nothing is passed on until one is complete; a reply without one is
  answered with a correction, once, and the second failure is an error;
- an object is asked for: it is passed on whole, once it fits its schema; a reply that does
  not fit is answered with what is wrong, once, and then passed on as it is.

The corrective request is part of the turn: callbacks see one run, usage counts both.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.messages.ai import UsageMetadata

from langchain_ai365vip._cutter import ReplyCutter
from langchain_ai365vip._protocol import WireMessage, check_number, escape_special_tokens
from langchain_ai365vip._reply import Reply
from langchain_ai365vip._structured import ObjectText, Schema
from langchain_ai365vip._tokens import Count, count_wire_tokens
from langchain_ai365vip._tool_parser import (
    Call,
    Discard,
    Event,
    InvalidCall,
    Reasoning,
    Text,
    ToolCallParser,
)
from langchain_ai365vip._tool_prompt import (
    ask_for_call,
    ask_for_valid_call,
    ask_for_valid_object,
)
from langchain_ai365vip.errors import AI365VIPError, AI365VIPOutputError

_logger = logging.getLogger("langchain_ai365vip")

_LONG: Final = 50_000
Open = Callable[[Mapping[str, Any]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a reply may and must be.

    Attributes:
        tools: The JSON schema of the arguments by name: what may be called.
        forced: Whether a call must come.
        parallel: Whether more than one may.
        reasoning: Whether `<think>` marks reasoning.
        echoed: Texts of users and tools, in which a call is only a quotation.
        schema: The object that the text, or the forced call's arguments, must fit.
        partial: Pass the object's text on as it grows, and do not ask again.
        stop: Texts before which the reply is cut.
        max_tokens: Bound on the reply's tokens.
    """

    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    forced: bool = False
    parallel: bool = True
    reasoning: bool = False
    echoed: Sequence[str] = ()
    schema: Schema | None = None
    partial: bool = False
    stop: Sequence[str] = ()
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        """Raise a `ValueError` for a bound below 1, before anything is sent."""
        if self.max_tokens is not None:
            check_number("max_tokens", self.max_tokens, at_least=1)

    @property
    def passes_text_on(self) -> bool:
        """Whether a reply needs no reading at all: the common case, kept cheap."""
        return not (self.tools or self.reasoning or self.schema)


class Turn:
    """See the module.

    Attributes:
        finish_reason: `"stop"`, `"length"` or `"tool_calls"`, once the events have ended.
        exchanges: Each request's payload and its reply, for usage.
    """

    __slots__ = (
        "_broke_off",
        "_called",
        "_counter",
        "_cutter",
        "_open",
        "_payload",
        "_reply",
        "_rules",
        "exchanges",
    )

    def __init__(
        self,
        open_reply: Open,
        payload: Mapping[str, Any],
        rules: Rules,
        counter: Callable[[], Awaitable[Count]],
    ) -> None:
        self._open = open_reply
        self._payload = payload
        self._rules = rules
        self._counter = counter
        self._reply: Reply | None = None
        self._cutter: ReplyCutter | None = None
        self._broke_off = False  # inside a call or an object
        self._called = False
        self.exchanges: list[tuple[Mapping[str, Any], Reply]] = []

    @property
    def finish_reason(self) -> str:
        if self._called:
            return "tool_calls"
        return "length" if self._broke_off or self._cut_by == "length" else "stop"

    @property
    def _cut_by(self) -> str | None:
        return None if self._cutter is None else self._cutter.finish_reason

    async def open(self, payload: Mapping[str, Any] | None = None) -> None:
        """Send the request, or another one, and wait for the first text of its reply."""
        payload = self._payload if payload is None else payload
        self._reply = await self._open(payload)
        rules = self._rules
        if rules.stop or rules.max_tokens is not None:
            # A vocabulary is read from disk when something is to be counted, and not before.
            count = None if rules.max_tokens is None else await self._counter()
            self._cutter = ReplyCutter(rules.stop, rules.max_tokens, count)
        self._broke_off = False
        self.exchanges.append((payload, self._reply))

    def reader(self) -> Callable[[], Awaitable[str]]:
        """Return what gives the open reply's next text that may be shown, `""` at its end."""
        if self._reply is None:
            raise RuntimeError("open() comes first")
        if self._cutter is None:
            return self._reply.read
        return functools.partial(self._cutter.read, self._reply)

    async def usage(self) -> UsageMetadata:
        """Count what went over the wire, in both directions, a corrective request included."""
        count = await self._counter()
        size = sum(
            len(reply.partial_text) + sum(len(turn["content"]) for turn in payload["messages"])
            for payload, reply in self.exchanges
        )
        # Exact counting takes about 0.2 s per megabyte (measured): not on the loop.
        return self._usage(count) if size < _LONG else await asyncio.to_thread(self._usage, count)

    def _usage(self, count: Count) -> UsageMetadata:
        asked = sum(
            count_wire_tokens(payload["prompt"], payload["messages"], count)
            for payload, _ in self.exchanges
        )
        said = sum(count(reply.partial_text) for _, reply in self.exchanges)
        return UsageMetadata(input_tokens=asked, output_tokens=said, total_tokens=asked + said)

    def drop(self) -> None:
        """Close from whichever thread the garbage collector happens to run in."""
        if self._reply is not None:
            self._reply.drop()

    def close(self) -> None:
        """Close the connection at once, wherever the turn stands."""
        if self._reply is not None:
            self._reply.close()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield what the reply consists of."""
        rules = self._rules
        if rules.forced:
            events = self._forced()
        elif rules.schema is not None:
            events = self._growing() if rules.partial else self._object(rules.schema)
        else:
            events = self._free()
        async for event in events:
            if isinstance(event, (Call, InvalidCall)):
                self._called = True
            yield event

    async def _free(self) -> AsyncGenerator[Event, None]:
        broken: list[InvalidCall] = []
        async for event in self._read(self._payload):
            if isinstance(event, InvalidCall):
                broken.append(event)
            else:
                yield event
        for event in await self._mended(broken):
            yield event

    async def _mended(self, broken: list[InvalidCall]) -> Sequence[Event]:
        """Ask once more for calls that could not be read; without success they stay."""
        if not broken or self._cut_by is not None:
            return broken
        try:
            again = self._correction(ask_for_valid_call([c.error for c in broken]))
            calls = [event async for event in self._read(again) if isinstance(event, Call)]
        except AI365VIPError as exc:
            # What was read and shown so far is a reply; the failure must not take it away.
            _logger.warning("Could not ask again for a tool call that was not readable: %s", exc)
            calls = []
        return calls or broken

    async def _forced(self) -> AsyncGenerator[Event, None]:
        payload = self._payload
        for last in (False, True):
            held: list[Event] = []
            called = False
            async for event in self._read(payload):
                called = called or self._fits(event)
                held.append(event)
                if called:
                    for each in held:
                        yield each
                    held.clear()
            if called:
                return
            if not last:
                payload = self._correction(self._why_not(held))
        raise self._refused(held)

    def _refused(self, events: Sequence[Event]) -> AI365VIPOutputError:
        said = self.exchanges[-1][1].partial_text
        problems = "; ".join(self._problems(events))
        what = f"made a call that does not fit ({problems})" if problems else "made no call"
        instead = (
            "tool_choice='auto' leaves it the choice"
            if self._rules.schema is None
            else "method='json_schema' asks for plain JSON instead"
        )
        return AI365VIPOutputError(
            f"The model had to call a tool and {what}, even when it was asked again. It said: "
            f"{said[:500]!r}. A larger model may follow the instruction; {instead}.",
            partial_text=said,
        )

    def _fits(self, event: Event) -> bool:
        schema = self._rules.schema
        return isinstance(event, Call) and (
            schema is None or schema.problem(event.arguments) is None
        )

    def _problems(self, events: Sequence[Event]) -> list[str]:
        schema = self._rules.schema
        problems = [event.error for event in events if isinstance(event, InvalidCall)]
        if schema is not None:
            problems += [
                problem
                for event in events
                if isinstance(event, Call) and (problem := schema.problem(event.arguments))
            ]
        return problems

    def _why_not(self, events: Sequence[Event]) -> str:
        if problems := self._problems(events):
            return ask_for_valid_call(problems)
        return ask_for_call(list(self._rules.tools))

    async def _object(self, schema: Schema) -> AsyncGenerator[Event, None]:
        payload = self._payload
        for last in (False, True):
            held: list[Event] = []
            called = False
            async for event in self._read(payload):
                called = called or isinstance(event, (Call, InvalidCall))
                held.append(event)
                # Reasoning is no part of the answer: nothing to wait for.
                if called or isinstance(event, Reasoning):
                    for each in held:
                        yield each
                    held.clear()
            if called:
                return
            text = "".join(event.text for event in held if isinstance(event, Text))
            found = schema.read(text)
            self._broke_off = self._broke_off or found.cut_off
            if found.problem is None or last or self._cut_by is not None:
                yield Text(found.text)
                return
            payload = self._correction(ask_for_valid_object(found.problem))

    async def _growing(self) -> AsyncGenerator[Event, None]:
        growing = ObjectText()
        async for event in self._read(self._payload):
            if not isinstance(event, Text):
                yield event
            elif text := growing.feed(event.text):
                yield Text(text)
        if text := growing.flush():
            yield Text(text)

    async def _read(self, payload: Mapping[str, Any]) -> AsyncGenerator[Event, None]:
        """Send a request and yield the events of its reply, without the discarded parts."""
        rules = self._rules
        parser = ToolCallParser(
            rules.tools, reasoning=rules.reasoning, parallel=rules.parallel, echoed=rules.echoed
        )
        await self.open(payload)
        read = self.reader()
        while not parser.done and (text := await read()):
            for event in parser.feed(text):
                if not isinstance(event, Discard):
                    yield event
        # The parser may have seen enough: cut the connection.
        self.close()
        for event in parser.flush():
            if not isinstance(event, Discard):
                yield event
        self._broke_off = self._broke_off or parser.truncated

    def _correction(self, words: str) -> Mapping[str, Any]:
        """The conversation so far, the reply that will not do, and what is wrong with it."""
        payload, reply = self.exchanges[-1]
        turns: list[WireMessage] = [
            *payload["messages"],
            {"role": "assistant", "content": escape_special_tokens(reply.partial_text)},
            {"role": "user", "content": words},
        ]
        return {**payload, "messages": turns}
