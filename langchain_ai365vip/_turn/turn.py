"""One turn of a model: its reply, cut, read for calls, and asked for once more if need be.

A `Turn` yields the events of `_tool_parser` (text, reasoning, calls). What a reply must be
(`Rules`) decides how:

- free: text and calls are passed on at once;
- a call is forced: nothing is passed on until one is complete; a reply without one is
  answered with a correction, once, and the second failure is an error. So is one that
  max_tokens cut;
- an object is asked for: it is passed on whole, once it fits its schema; a reply that does
  not fit is answered with what is wrong, once, and then passed on as it is.

In each of them a call that cannot be carried out waits for the end of the reply, and is
asked for again there, unless a correction was sent before: a turn has one at most. It is
part of the turn: callbacks see one run, usage counts both requests.

A stop text ends prose. One inside a call or reasoning is a part of it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from langchain_core.messages.ai import UsageMetadata

from langchain_ai365vip._parsing.old_parser import (
    Call,
    Discard,
    Event,
    InvalidCall,
    Reasoning,
    Text,
    ToolCallParser,
)
from langchain_ai365vip._prompt.corrections import (
    ask_for_call,
    ask_for_valid_call,
    ask_for_valid_object,
)
from langchain_ai365vip._prompt.tools import to_json
from langchain_ai365vip._transport.reply import Reply
from langchain_ai365vip._turn.objects import ObjectText, Schema
from langchain_ai365vip._wire.cutter import ReplyCutter
from langchain_ai365vip._wire.facts import WireMessage
from langchain_ai365vip._wire.payload import check_number, escape_special_tokens
from langchain_ai365vip._wire.tokens import Count, count_wire_tokens
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
        reasoning: Whether `<think>` marks reasoning; `"opened"` where replies begin inside it.
        echoed: Texts of users and tools, in which a call is only a quotation.
        schema: The object that the text must be, where no tool is called.
        call_schema: What a call's arguments must fit, besides the tool's own schema.
        partial: Pass the object's text on as it grows, and do not ask for another.
        insistent: Whether a forced call that does not come is an error.
        stop: Texts before which the reply is cut.
        max_tokens: Bound on the reply's tokens.
    """

    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    forced: bool = False
    parallel: bool = True
    reasoning: bool | Literal["opened"] = False
    echoed: Sequence[str] = ()
    schema: Schema | None = None
    call_schema: Schema | None = None
    partial: bool = False
    insistent: bool = True
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
    """A reply, and another if need be, as one row of events; see the module.

    Attributes:
        finish_reason: `"stop"`, `"length"` or `"tool_calls"`, once the events have ended.
        exchanges: Each request's payload and its reply, for usage.
    """

    __slots__ = (
        "_counter",
        "_cut_by",
        "_cut_off",
        "_cutter",
        "_given",
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
        # How the reply that was read last ended:
        self._cut_by: str | None = None  # our own "stop" or "length"
        self._cut_off = False  # by max_tokens, or inside a call or an object
        self._given: list[Call] = []
        self.exchanges: list[tuple[Mapping[str, Any], Reply]] = []

    @property
    def finish_reason(self) -> str:
        if self._cut_off or (self._cutter and self._cutter.finish_reason == "length"):
            return "length"
        return "tool_calls" if self._given else "stop"

    async def open(self, payload: Mapping[str, Any] | None = None) -> None:
        """Send the request, or another one, and wait for the first text of its reply."""
        payload = self._payload if payload is None else payload
        self._reply = await self._open(payload)
        rules = self._rules
        stop = rules.stop if rules.passes_text_on else ()
        if stop or rules.max_tokens is not None:
            # A vocabulary is read from disk when something is to be counted, and not before.
            count = None if rules.max_tokens is None else await self._counter()
            self._cutter = ReplyCutter(stop, rules.max_tokens, count)
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

    def close(self) -> None:
        """Close the connection at once, wherever the turn stands."""
        if self._reply is not None:
            self._reply.close()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield what the reply consists of."""
        broken: list[InvalidCall] = []
        async for event in self._first():
            if isinstance(event, InvalidCall):
                broken.append(event)
                continue
            if isinstance(event, Call):
                self._given.append(event)
            yield event
        for event in await self._mended(broken):
            yield event

    def _first(self) -> AsyncGenerator[Event, None]:
        """Read the reply by its rules: what is passed on of it, broken calls among it."""
        rules = self._rules
        if rules.forced:
            return self._forced()
        if rules.schema is None:
            return self._read(self._payload)
        return self._growing(rules.schema) if rules.partial else self._object(rules.schema)

    async def _mended(self, broken: Sequence[InvalidCall]) -> Sequence[Event]:
        """Ask once more for calls that cannot be carried out; without success they stay."""
        full = bool(self._given) and not self._rules.parallel
        if not broken or full or self._cut_by == "length" or len(self.exchanges) > 1:
            return broken
        cut_off = self._cut_off
        try:
            payload = self._correction(self._why_not(broken))
            calls = [
                e async for e in self._read(payload) if isinstance(e, Call) and self._is_new(e)
            ]
        except AI365VIPError as exc:
            # What was read and shown so far is a reply; the failure must not take it away.
            _logger.warning("Could not ask again for a tool call that was not readable: %s", exc)
            calls = []
        self._given += calls
        if not calls:
            self._cut_off = cut_off
        return calls or broken

    def _is_new(self, call: Call) -> bool:
        """Say whether a call of the corrected reply was not handed out with the first one."""
        said = any((c.name, c.arguments) == (call.name, call.arguments) for c in self._given)
        if said:
            _logger.debug("Left out a repeated call of %r in a corrected reply", call.name)
        return not said

    async def _forced(self) -> AsyncGenerator[Event, None]:
        payload = self._payload
        for last in (False, True):
            held: list[Event] = []
            called = False
            async for event in self._read(payload):
                called = called or isinstance(event, Call)
                held.append(event)
                if called:
                    for each in held:
                        yield each
                    held.clear()
            if called:
                return
            if not last:
                payload = self._correction(self._why_not(held))
        if self._rules.insistent:
            errors = [event.error for event in held if isinstance(event, InvalidCall)]
            said = self.exchanges[-1][1].partial_text
            for_object = self._rules.call_schema is not None
            limit = self._rules.max_tokens if self._cut_by == "length" else None
            raise no_forced_call(
                errors, said, cut_off=self._cut_off, limit=limit, for_object=for_object
            )
        for each in held:
            yield each

    def _why_not(self, events: Sequence[Event]) -> str:
        problems = [event.error for event in events if isinstance(event, InvalidCall)]
        if not problems:
            return ask_for_call(list(self._rules.tools))
        return ask_for_valid_call(problems, [(c.name, c.arguments) for c in self._given])

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
            found = schema.read(_answer(text, schema))
            self._cut_off = self._cut_off or found.cut_off
            if found.problem is None or last or self._cut_by is not None:
                yield Text(found.text)
                return
            payload = self._correction(ask_for_valid_object(found.problem))

    async def _growing(self, schema: Schema) -> AsyncGenerator[Event, None]:
        growing = ObjectText(schema)
        async for event in self._read(self._payload):
            if not isinstance(event, Text):
                yield event
            elif text := growing.feed(event.text):
                yield Text(text)
        if text := growing.flush():
            yield Text(text)
        self._cut_off = self._cut_off or growing.cut_off

    async def _read(self, payload: Mapping[str, Any]) -> AsyncGenerator[Event, None]:
        """Send a request and yield the events of its reply, without the discarded parts."""
        rules = self._rules
        parser = ToolCallParser(
            rules.tools,
            reasoning=bool(rules.reasoning),
            opened=rules.reasoning == "opened",
            parallel=rules.parallel,
            echoed=rules.echoed,
        )
        stop = _StopTexts(rules.stop)
        await self.open(payload)
        read = self.reader()
        ended = False
        while not ended:
            text = await read()
            events = stop.cut(parser.feed(text)) if text else stop.end(parser.flush())
            ended = not text or stop.hit or parser.done
            if ended:
                # Before the caller gets the last events, who may take time over them.
                self.close()
            for event in events:
                if not isinstance(event, Discard):
                    yield self._checked(event)
        self._note_end(parser, stop)

    def _note_end(self, parser: ToolCallParser, stop: _StopTexts) -> None:
        """Judge how the reply ended; a cut behind what is read of it does not count."""
        cutter, self._cutter = self._cutter, None
        if stop.hit:
            self._cut_by = "stop"
        else:
            self._cut_by = None if cutter is None or parser.done else cutter.finish_reason
        self._cut_off = self._cut_by == "length" or (parser.truncated and not stop.hit)

    def _checked(self, event: Event) -> Event:
        """Make a call invalid that does not fit the object that was asked for."""
        schema = self._rules.call_schema
        if schema is None or not isinstance(event, Call):
            return event
        problem = schema.problem(event.arguments)
        if problem is None:
            return event
        error = f"The arguments are not valid: {problem}."
        return InvalidCall(event.id, event.name, to_json(event.arguments), error, event.raw)

    def _correction(self, words: str) -> Mapping[str, Any]:
        """Write the conversation so far, the reply that will not do, and what is wrong with it."""
        payload, reply = self.exchanges[-1]
        turns: list[WireMessage] = [
            *payload["messages"],
            {"role": "assistant", "content": escape_special_tokens(reply.partial_text)},
            {"role": "user", "content": words},
        ]
        return {**payload, "messages": turns}


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
        return [*self.cut(events), *_text(self._cutter.flush())]

    def _cut(self, events: Sequence[Event]) -> Iterator[Event]:
        for event in events:
            if self.hit:
                return
            if isinstance(event, Text):
                yield from _text(self._cutter.feed(event.text))
            else:
                yield from _text(self._cutter.flush())
                yield event


def _answer(text: str, schema: Schema) -> str:
    """Return what follows the reasoning in a text, where that begins without its tag.

    A chat template may have written `<think>` itself, and a draft before `</think>` is not
    the answer. A tag that is part of an object stands inside it, and on no line of its own.
    """
    before, _, answer = text.rpartition("</think>")
    own_line = not before.rpartition("\n")[2].strip()
    inside = not own_line and schema.read(before).cut_off
    return text if inside or not answer.strip() else answer


def _text(text: str) -> Sequence[Text]:
    return [Text(text)] if text else []


def no_forced_call(
    errors: Sequence[str],
    said: str,
    *,
    cut_off: bool,
    limit: int | None = None,
    for_object: bool,
) -> AI365VIPOutputError:
    """Return the error for a call that had to come and did not, or not as it had to be.

    Args:
        errors: What is wrong with each call that came.
        said: The model's reply.
        cut_off: Whether the reply was cut off.
        limit: The `max_tokens` that cut it, where that is known.
        for_object: Whether the call was to bring an object that was asked for.
    """
    what = f"made a call that does not fit ({' '.join(errors)})" if errors else "made no call"
    if limit is not None:
        advice = f"The reply was cut off by max_tokens={limit}: raise it, or ask for less."
    elif cut_off:
        advice = (
            "The reply was cut off: raise max_tokens if it is set, or ask for less, for servers "
            "have limits of their own."
        )
    elif for_object:
        advice = (
            "A larger model may follow the instruction; method='json_schema' asks for plain JSON "
            "instead."
        )
    else:
        advice = (
            "A larger model may follow the instruction; tool_choice='auto' leaves it the choice."
        )
    return AI365VIPOutputError(
        f"The model had to call a tool and {what}, even when it was asked again. It said: "
        f"{said[:500]!r}. {advice}",
        partial_text=said,
    )
