"""One turn of a model: its reply, cut, read for calls, and asked for once more if need be.

No I/O: who drives a `Turn` sends its `request`, feeds it the texts of the reply, says when that
has ended, and does the same again while there is another `request`. What comes out are the
events of `_parsing` (text, reasoning, calls). What a reply must be (`Rules`) decides when:

- free: text and calls are handed out at once. A call that cannot be read waits for the end of
  the reply, and all text behind it, unless another call comes. If none does, it is asked for once
  more. If that brings no call either, its text is handed out as the model wrote it, or the words
  that came in its place: an answer is never empty;
- a call is forced: nothing is handed out until the one that must come is complete; a reply
  without it is answered with a correction, once, and the second failure is an error;
- an object is asked for: it is handed out whole, once it fits its schema; a reply that does
  not fit is answered with what is wrong, once, and then handed out as it is.

A turn sends one correction at most, and none for what `max_tokens` cut. It is part of the turn:
callbacks see one run, usage counts both requests.

A stop text ends prose. One inside a call or reasoning is a part of it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from langchain_core.messages.ai import UsageMetadata

from langchain_ai365vip._parsing.events import Call, Discard, Event, InvalidCall, Reasoning, Text
from langchain_ai365vip._parsing.objects import ObjectText
from langchain_ai365vip._parsing.parser import ToolCallParser
from langchain_ai365vip._prompt.corrections import (
    ask_for_call,
    ask_for_valid_call,
    ask_for_valid_object,
)
from langchain_ai365vip._prompt.tools import to_json
from langchain_ai365vip._turn.output_schema import Schema
from langchain_ai365vip._wire.cutter import ReplyCutter
from langchain_ai365vip._wire.facts import WireMessage
from langchain_ai365vip._wire.payload import check_number, escape_special_tokens
from langchain_ai365vip._wire.tokens import Count, count_wire_tokens
from langchain_ai365vip.errors import AI365VIPError, AI365VIPOutputError

_logger = logging.getLogger("langchain_ai365vip")


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
        call_schema: The object that a call's arguments must be.
        classes: The names of the tools that LangChain checks, by a class or a function; the
            others' arguments must fit their schema here.
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
    classes: Collection[str] = ()
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


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was sent, and what the model said to it, before any cut of ours."""

    payload: Mapping[str, Any]
    said: str

    @property
    def size(self) -> int:
        """Characters in both directions."""
        return len(self.said) + sum(len(turn["content"]) for turn in self.payload["messages"])


class Turn:
    """A reply, and another if need be, as one row of events; see the module.

    Args:
        payload: The request's body.
        rules: What its reply may and must be.
        count: Counts tokens, where `rules` bound them. Default: an estimate.

    Attributes:
        request: The body of the request that comes next: at first `payload`, then a
            correction or `None`.
        exchanges: What was asked and said so far.
        finish_reason: `"stop"`, `"length"` or `"tool_calls"`, once there is no further request.
    """

    def __init__(
        self, payload: Mapping[str, Any], rules: Rules, count: Count | None = None
    ) -> None:
        self.request: Mapping[str, Any] | None = payload
        self.exchanges: list[Exchange] = []
        self._rules = rules
        self._count = count
        self._called = False  # a call was handed out
        self._spoken = False  # and text
        self._broken: list[InvalidCall] = []  # handed out at the end
        self._first: Sequence[Event] | None = None  # held of a reply whose call is asked for again
        growing = rules.schema if rules.partial and not rules.forced else None
        self._growing = None if growing is None else ObjectText(growing.opening)
        self._length = False  # the answer is not whole
        self._begin()

    def _begin(self) -> None:
        """Wait for a reply to the request."""
        self._reply = _Reply(self._rules, self._count)
        self._held: list[Event] = []  # of this reply, while it may not do
        self._will_do = self._growing is not None or not (self._rules.forced or self._rules.schema)

    # -- what comes in -----------------------------------------------------------------

    def pass_on(self, text: str) -> str:
        """Take the next text of a reply that is not read (`Rules.passes_text_on`).

        Returns:
            What may be shown of it.
        """
        return self._reply.cut(text)

    def feed(self, text: str) -> Sequence[Event]:
        """Take the next text of the reply, and return what is handed out of it."""
        return self._hand_out(self._reply.feed(text))

    @property
    def is_full(self) -> bool:
        """Whether no further text of this reply counts: stop reading, and call `end`."""
        return self._reply.is_full

    def end(self) -> Sequence[Event]:
        """Take note that the reply has ended, and judge it; `request` says what comes next."""
        last = self._hand_out(self._reply.end())
        self._note()
        self.request = None
        return [*last, *self._judge()]

    def fail(self, error: AI365VIPError) -> Sequence[Event]:
        """Take note that the request failed, and return what there is all the same.

        Raises:
            AI365VIPError: This error, unless the answer can do without that request.
        """
        if self._first is None:
            raise error
        # What was read and shown so far is a reply; the failure must not take it away.
        _logger.warning("Could not ask again for a tool call that was not readable: %s", error)
        self._note()
        self.request = None
        return self._as_written(self._first)

    def _note(self) -> None:
        if self.request is not None and self._reply.said:
            self.exchanges.append(Exchange(self.request, self._reply.said))

    # -- what is handed out ------------------------------------------------------------

    def _hand_out(self, events: Sequence[Event]) -> Sequence[Event]:
        """Take events of a reply, and return those for which nothing is to be waited for."""
        if self._first is not None:
            self._held += events
            return []
        if self._will_do and not (self._rules.tools or self._growing):
            return events  # nothing that could be broken or grow
        return [given for event in events for given in self._given_of(event)]

    def _given_of(self, event: Event) -> Iterator[Event]:
        """Yield what an event lets through: itself, what was held for it, or nothing."""
        self._will_do = self._will_do or self._is_wanted(event)
        self._held.append(event)
        # Reasoning is no part of an object: nothing to wait for.
        if self._will_do or (isinstance(event, Reasoning) and not self._rules.forced):
            called = self._called or isinstance(event, Call)
            if called or not any(isinstance(each, InvalidCall) for each in self._held):
                yield from self._released()

    def _is_wanted(self, event: Event) -> bool:
        if self._rules.forced:
            return isinstance(event, Call)
        return isinstance(event, (Call, InvalidCall))

    def _released(self) -> Iterator[Event]:
        """Yield what was held, but for calls that cannot be read: those come last."""
        held, self._held = self._held, []
        for event in held:
            if isinstance(event, InvalidCall):
                self._broken.append(event)
            else:
                yield from self._shown(event)

    def _shown(self, event: Event) -> Iterator[Event]:
        if isinstance(event, Text) and self._growing is not None:
            yield from _text(self._growing.feed(event.text))
            return
        self._called = self._called or isinstance(event, Call)
        self._spoken = self._spoken or isinstance(event, Text)
        yield event

    def _as_written(self, held: Sequence[Event]) -> Sequence[Event]:
        """Return what was held, the text of broken calls in its place, and those calls."""
        broken = [event for event in held if isinstance(event, InvalidCall)]
        texts = [_text(e.raw) if isinstance(e, InvalidCall) else [e] for e in held]
        return [*(event for each in texts for event in each), *self._broken, *broken]

    # -- what becomes of a reply that has ended ----------------------------------------

    def _judge(self) -> Sequence[Event]:
        """Decide: hand out what was held, ask once more, or raise."""
        if self._first is not None:
            return self._judge_correction(self._first)
        self._length = self._reply.is_cut_off
        if self._growing is not None:
            text = _text(self._growing.flush())
            self._length = self._length or self._growing.cut_off
            return [*text, *self._mend()]
        if self._will_do:
            return self._mend()
        if self._rules.forced or self._rules.schema is None:
            return self._judge_without_call()
        return self._judge_object(self._rules.schema)

    def _judge_without_call(self) -> Sequence[Event]:
        invalid = [event for event in self._held if isinstance(event, InvalidCall)]
        if len(self.exchanges) < 2:
            return self._ask(self._why_not(invalid))
        if not self._rules.insistent:
            return self._as_written(self._held)
        raise no_forced_call(
            [event.error for event in invalid],
            self._reply.said,
            cut_off=self._length,
            limit=self._rules.max_tokens if self._reply.cut_by == "length" else None,
            for_object=self._rules.call_schema is not None,
        )

    def _judge_object(self, schema: Schema) -> Sequence[Event]:
        text = "".join(event.text for event in self._held if isinstance(event, Text))
        found = schema.read(_answer(text, schema))
        self._length = self._length or found.cut_off
        last = len(self.exchanges) > 1 or self._reply.cut_by is not None
        if found.problem is None or last:
            return [Text(found.text)]
        return self._ask(ask_for_valid_object(found.problem))

    def _mend(self) -> Sequence[Event]:
        """Ask once more for calls that cannot be read, where no other came."""
        broken = [event for event in self._held if isinstance(event, InvalidCall)]
        if not broken or self._reply.cut_by == "length" or len(self.exchanges) > 1:
            return self._as_written(self._held)
        self._first = self._held
        return self._ask(self._why_not(broken))

    def _judge_correction(self, first: Sequence[Event]) -> Sequence[Event]:
        """Hand out the calls that came for the broken ones, or the words, or those themselves."""
        prose = [event for event in first if not isinstance(event, InvalidCall)]
        calls = [event for event in self._held if isinstance(event, Call)]
        words = "".join(event.text for event in self._held if isinstance(event, Text)).strip()
        still_broken = any(isinstance(event, InvalidCall) for event in self._held)
        if not calls and (still_broken or not words):
            return self._as_written(first)  # and the answer ended as the first reply did
        self._length = self._reply.is_cut_off
        self._called = bool(calls)
        if calls:
            return [*prose, *calls]
        if self._rules.schema is not None:
            words = self._rules.schema.read(words).text
        spoken = self._spoken or any(isinstance(event, Text) for event in prose)
        return [*prose, Text(f"\n\n{words}" if spoken else words)]

    # -- what is asked once more -------------------------------------------------------

    def _ask(self, words: str) -> Sequence[Event]:
        """Request another reply: the conversation, the one that will not do, and why."""
        payload, said = self.exchanges[-1].payload, self.exchanges[-1].said
        turns: list[WireMessage] = [
            *payload["messages"],
            {"role": "assistant", "content": escape_special_tokens(said)},
            {"role": "user", "content": words},
        ]
        self.request = {**payload, "messages": turns}
        self._begin()
        return []

    def _why_not(self, broken: Sequence[InvalidCall]) -> str:
        if not broken:
            return ask_for_call(list(self._rules.tools))
        return ask_for_valid_call([event.error for event in broken])

    # -- what is known of the whole ----------------------------------------------------

    @property
    def finish_reason(self) -> str:
        if self._length:
            return "length"
        return "tool_calls" if self._called else "stop"

    def usage(self, count: Count) -> UsageMetadata:
        """Count what went over the wire, in both directions, a correction included.

        Exact counting takes about 0.2 s per megabyte (measured).
        """
        asked = sum(
            count_wire_tokens(each.payload["prompt"], each.payload["messages"], count)
            for each in self.exchanges
        )
        said = sum(count(each.said) for each in self.exchanges)
        return UsageMetadata(input_tokens=asked, output_tokens=said, total_tokens=asked + said)


class _Reply:
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
            return _text(text)
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


def _invalid(call: Call, error: str) -> InvalidCall:
    return InvalidCall(call.id, call.name, to_json(call.arguments), error, call.raw)


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
