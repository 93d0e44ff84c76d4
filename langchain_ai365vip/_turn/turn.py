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

A turn sends one correction at most, and where `max_tokens` cut only for a call that must come. It
is part of the turn: callbacks see one run, usage counts both requests.

A stop text ends prose. One inside a call or reasoning is a part of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages.ai import UsageMetadata

from langchain_ai365vip._parsing.events import Call, Event, InvalidCall, Reasoning, Text
from langchain_ai365vip._parsing.objects import ObjectText
from langchain_ai365vip._prompt.corrections import (
    ask_for_call,
    ask_for_valid_call,
    ask_for_valid_object,
)
from langchain_ai365vip._turn.output_schema import Schema
from langchain_ai365vip._turn.reader import ReplyReader, text_events
from langchain_ai365vip._turn.rules import Rules
from langchain_ai365vip._wire.facts import WireMessage
from langchain_ai365vip._wire.payload import escape_special_tokens
from langchain_ai365vip._wire.tokens import Count, count_wire_tokens
from langchain_ai365vip.errors import AI365VIPError, AI365VIPOutputError

_logger = logging.getLogger("langchain_ai365vip")


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
        # What was handed out so far.
        self._called = False
        self._spoken = False
        # Calls that cannot be read, beside others that were handed out: they come last.
        self._broken: list[InvalidCall] = []
        # What was held of the first reply, while its call is asked for again.
        self._first: Sequence[Event] | None = None
        # Of an object that is passed on as it grows, what was passed on so far.
        growing = rules.schema if rules.partial and not rules.forced else None
        self._growing = None if growing is None else ObjectText(growing.opening)
        # Whether the answer is not whole.
        self._length = False
        self._begin()

    def _begin(self) -> None:
        """Wait for a reply to the request; nothing of it has come or will do yet."""
        self._reply = ReplyReader(self._rules, self._count)
        # What came of this reply and is not handed out yet, because it may not do.
        self._held: list[Event] = []
        # Whether it is known to do already: then events are handed out as they come.
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
            yield from text_events(self._growing.feed(event.text))
            return
        self._called = self._called or isinstance(event, Call)
        self._spoken = self._spoken or isinstance(event, Text)
        yield event

    def _as_written(self, held: Sequence[Event]) -> Sequence[Event]:
        """Return what was held, the text of broken calls in its place, and those calls."""
        broken = [event for event in held if isinstance(event, InvalidCall)]
        texts = [text_events(e.raw) if isinstance(e, InvalidCall) else [e] for e in held]
        return [*(event for each in texts for event in each), *self._broken, *broken]

    # -- what becomes of a reply that has ended ----------------------------------------

    def _judge(self) -> Sequence[Event]:
        """Decide: hand out what was held, ask once more, or raise."""
        if self._first is not None:
            return self._judge_correction(self._first)
        self._length = self._reply.is_cut_off
        if self._growing is not None:
            text = text_events(self._growing.flush())
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
        """Why the answer ended, in OpenAI's words; `"stop"` is all that this wire can say."""
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


def _answer(text: str, schema: Schema) -> str:
    """Return what follows the reasoning in a text, where that begins without its tag.

    A chat template may have written `<think>` itself, and a draft before `</think>` is not
    the answer. A tag that is part of an object stands inside it, and on no line of its own.
    """
    before, _, answer = text.rpartition("</think>")
    own_line = not before.rpartition("\n")[2].strip()
    inside = not own_line and schema.read(before).cut_off
    return text if inside or not answer.strip() else answer


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
