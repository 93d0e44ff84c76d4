"""Reads tool calls and reasoning out of a model's text while it arrives.

`ToolCallParser.feed(text)` and `flush()` turn a reply into events. Each character of the
reply lies in exactly one event, in order: joining `event.raw` gives the reply back. The
events do not depend on how the reply was cut into pieces.

What is a call:

- what stands in the marks of a form (see `dialects`), anywhere in prose; the last mark may be
  missing, or be another one;
- a reply, or a fence at its end, that consists of call-shaped JSON or Python calls and nothing
  else, naming bound tools only;
- the same anywhere on lines of its own, where a closing mark follows: the opening one is lost.

What is not, and stays text: marks in a code fence or code span; marks in reasoning, unless it
is never closed and ends with whole calls; a call that stands word by word in what the user or a
tool wrote; a mark in a line of prose; a call of an unknown name, unless its marks are complete
and stand on lines of their own. A value that the end of the reply cuts off is no value: an
`InvalidCall`, as is all else that cannot be read.

How it works: the states are generators over one source of characters, each written as if
the whole reply were there; where it is not yet, they yield. So nothing is read twice, and a
cut can fall anywhere.
"""

from __future__ import annotations

import functools
import re
import uuid
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from langchain_ai365vip._parsing.bare import BareReader
from langchain_ai365vip._parsing.calls import (
    Tools,
    name_hint,
)
from langchain_ai365vip._parsing.code import RUNS, read_code
from langchain_ai365vip._parsing.echoes import Echoes
from langchain_ai365vip._parsing.events import (
    CHANNEL,
    CLOSING_TAG,
    EMPTY_CALL,
    THINK_TAG,
    TOOL_RESPONSE,
    WHITE_SPACE,
    Event,
    InvalidCall,
    Reasoning,
    Text,
)
from langchain_ai365vip._parsing.marks import STARTS, Found, Kind, Marks
from langchain_ai365vip._parsing.reasoning import Thought, ends_of, read_thought
from langchain_ai365vip._parsing.record import Record
from langchain_ai365vip._parsing.shapes import CallReader, Read
from langchain_ai365vip._parsing.source import BLANKS, SPACE, Pull, Source

NET: Final = (
    "A call of this tool seems to be meant, but it could not be read. Write it again, exactly "
    "in the form that you were told."
)

_PROSE = re.compile("[^\n`~" + re.escape("".join(sorted(STARTS))) + "]*")
_SHORTEST: Final = 3  # of a mark that the reply's end cuts behind a call, to be none of the text
_NOT_IN_THOUGHTS: Final = frozenset({Kind.THOUGHT, Kind.CHANNEL, Kind.RESULT, Kind.CUT})
_BARE_STARTS: Final = frozenset("{[`~")


class ToolCallParser:
    """A reply's text in, events out.

    Args:
        tools: The JSON schema of the arguments by bound name. Without tools nothing is
            a call.
        reasoning: Whether `<think>...</think>` and its like, at the start of the reply, of a
            line or after a call, becomes `Reasoning`. Otherwise it stays text.
        opened: Whether the reply begins inside reasoning, its opening mark being part of
            the prompt. A reply that does not close it is reasoning as a whole, but for whole
            calls at its end.
        parallel: Whether there may be more than one call. Otherwise the parser is done
            after the first.
        echoed: What users and tools wrote in this conversation: a call that stands there
            with its mark is text, however it is escaped. Looked at only when there is a call.
        thinking: Whether this is what another parser takes for reasoning: only calls in marks
            count there.

    Attributes:
        truncated: After `flush`: the reply ended inside an open call.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        reasoning: bool = False,
        opened: bool = False,
        parallel: bool = True,
        echoed: Sequence[str] = (),
        thinking: bool = False,
    ) -> None:
        self._tools = tools
        self._reasoning = reasoning or opened
        self._opened = opened
        self._thinking = thinking
        self._echoed = echoed
        self._echoes = Echoes(echoed)
        self._source = Source()
        self._marks = Marks(self._source, tools)
        self._calls = CallReader(self._source, self._marks, tools)
        self._record = Record(parallel=parallel)
        self.truncated = False
        self._dangling = False  # the last call had no closing mark
        self._wrapped = False  # a mark around calls had no closing mark so far
        self._channel = False  # a model's own mark stood in front of its answer
        self._not_before = 0  # where the last search for calls without marks gave up
        self._missed: str | None = None  # the tool whose call seems to be meant
        self._states = self._run()
        next(self._states)

    @property
    def done(self) -> bool:
        """The reply needs no further reading: all further text is a `Discard`."""
        return self._record.done

    @property
    def scanned(self) -> int:
        """How many characters were looked at so far, for tests: linear, or it is a bug."""
        return self._source.scanned

    def feed(self, text: str) -> list[Event]:
        """Read the next piece of the reply.

        Args:
            text: Any piece, also an empty one.

        Returns:
            The events that are certain by now.
        """
        self._source.feed(text)
        return self._advance()

    def flush(self) -> list[Event]:
        """End the reply.

        Returns:
            The events for what was held back.
        """
        self._source.feed("")
        self._source.ended = True
        events = self._advance()
        if self._missed is not None and not (self._record.any_call or self._thinking):
            call_id = f"call_{uuid.uuid4().hex}"
            events.append(InvalidCall(call_id, self._missed, "", NET, ""))
        return events

    def _advance(self) -> list[Event]:
        next(self._states, None)
        if self.done:
            self._record.rest(self._source.piece[self._source.pos :])
            self._source.feed("")
        return self._record.take()

    # --- the states ----------------------------------------------------------

    def _run(self) -> Pull[None]:
        after_block = True  # or at the start of the reply
        if self._opened:
            yield from self._opened_think()
        while not self.done:
            space = (yield from self._source.collect(SPACE)) if after_block else ""
            if not (yield from self._source.more()):
                say = self._record.block if self._record.any_block else self._record.text
                say(space)
                return
            after_block = yield from self._stretch(space, after_block)

    def _stretch(self, space: str, after_block: bool) -> Pull[bool]:
        """Read a block or some prose; True when it was a block."""
        at_start = after_block or self._record.at_line_start
        char = yield from self._source.peek()
        mark = yield from self._mark(char, after_block, at_start)
        if mark is not None:
            return (yield from self._marked(space, mark, at_start))
        if at_start and char in _BARE_STARTS:
            read = yield from self._bare(space)
            if read is not None:
                return read
        self._record.prose(space)
        yield from self._prose(char)
        return False

    def _prose(self, char: str) -> Pull[None]:
        source = self._source
        record = self._record
        if char in RUNS:
            yield from read_code(source, record.text, at_line_start=record.at_line_start)
        elif char in STARTS:
            record.text(source.take())
        else:
            yield from source.run(SPACE if char == "\n" else _PROSE, record.text)

    def _mark(self, char: str, after_block: bool, at_start: bool) -> Pull[Found | None]:
        """Take a mark that means something here."""
        at_line_start = at_start and char.lower() in self._marks.line_starts
        if char not in STARTS and not at_line_start:
            return None
        mark = yield from self._marks.read(self._wanted(after_block, at_start))
        return (yield from self._marks.lost()) if mark is None and at_line_start else mark

    def _wanted(self, after_block: bool, at_start: bool) -> set[str]:
        """Return the kinds of marks that mean something here."""
        any_call = self._record.any_call
        wanted = {Kind.OPEN, Kind.HEAD} if self._tools else set()
        if self._tools and at_start:
            wanted |= {Kind.LINE, Kind.TAG}
        if any_call and (self._dangling or self._wrapped or after_block):
            wanted |= {Kind.CLOSE, Kind.HALF, Kind.CUT}
        if any_call or self._channel:
            wanted |= {Kind.END}
        if any_call and at_start:
            wanted |= {Kind.RESULT}
        if at_start:
            wanted |= {Kind.THOUGHT, Kind.CHANNEL}
        return wanted - _NOT_IN_THOUGHTS if self._thinking else wanted

    def _marked(self, space: str, mark: Found, at_start: bool) -> Pull[bool]:
        if Kind.THOUGHT in mark.kinds:
            yield from self._think(space, mark)
            return True
        if Kind.RESULT in mark.kinds:
            self._record.block(space)
            self._record.end(TOOL_RESPONSE, mark.raw)
            return True
        if Kind.CHANNEL in mark.kinds:
            self._record.block(space, CHANNEL, mark.raw)
            self._channel = True
            return True
        if Kind.CUT in mark.kinds and len(mark.mark) < _SHORTEST:
            self._record.prose(space, mark.raw)
            return False
        if mark.kinds <= {Kind.CLOSE, Kind.END, Kind.HALF, Kind.CUT}:
            self._record.block(space, CLOSING_TAG, mark.raw)
            self._dangling = self._wrapped = False
            return True
        return (yield from self._call(space, mark, at_start))

    # --- reasoning -----------------------------------------------------------

    def _opened_think(self) -> Pull[None]:
        """Read the reasoning with which the reply begins; some models tag it all the same."""
        yield from self._thought_space()
        mark = yield from self._marks.read({Kind.THOUGHT, Kind.THOUGHT_END})
        if mark is not None and Kind.THOUGHT_END in mark.kinds:
            self._record.block("", THINK_TAG, mark.raw)
        else:
            yield from self._think("", mark)

    def _thought_space(self) -> Pull[None]:
        yield from self._source.run(SPACE, functools.partial(self._record.say, WHITE_SPACE))

    def _think(self, space: str, mark: Found | None) -> Pull[None]:
        """Read reasoning behind its mark, or behind none where the prompt has opened it."""
        record, begin = self._record, mark.raw if mark else ""
        if self._reasoning:
            record.block(space, THINK_TAG, begin)
            yield from self._thought_space()
        else:
            record.text(space + begin)
        calls = ToolCallParser(self._tools, echoed=self._echoed, thinking=True)
        thought = Thought(
            self._tools, functools.partial(record.say, Reasoning if self._reasoning else Text)
        )
        end = yield from read_thought(
            self._source,
            self._marks,
            ends_of(mark),
            lambda text: thought.take(calls.feed(text)),
        )
        thought.take(calls.flush())
        if end is None:
            for event in thought.calls():
                record.event(event)
        else:
            thought.drop()
            record.say(THINK_TAG if self._reasoning else Text, end.raw)
        record.any_text = record.any_text or not self._reasoning
        record.any_block = record.any_block or self._reasoning
        record.at_line_start = False

    # --- calls in marks ------------------------------------------------------

    def _call(self, space: str, mark: Found, at_start: bool) -> Pull[bool]:
        """Read what stands behind a mark; False when it is only text."""
        self._dangling = False
        self._source.hold(mark.raw)
        read = yield from self._calls.read(mark, at_start=at_start, wrapped=self._wrapped)
        if read.empty:
            self._record.block(space, EMPTY_CALL, self._source.held)
            return True
        counts = yield from self._counts(read, at_start)
        raw = self._source.held
        lead = len(raw) - (self._source.at - read.start)
        if at_start and not (counts or read.prose or Kind.TAG in mark.kinds):
            self._note_missed(raw[lead:])
        return self._emit(space, read, counts=counts, lead=lead)

    def _counts(self, read: Read, at_start: bool) -> Pull[bool]:
        """Say whether calls count: of a bound tool anywhere, else only on lines of their own."""
        if any(reading.name in self._tools for reading in read.readings):
            return True
        if not (at_start and read.items and read.whole):
            return False
        blanks = yield from self._source.collect(BLANKS)
        char = yield from self._source.peek()
        self._source.back(blanks)
        return not char or char == "\n" or char in STARTS

    def _note_missed(self, text: str) -> None:
        """Note a bound tool whose name stands beside a mark, without a call that can be read."""
        name = name_hint(text[:200], self._tools)
        if name is not None and not self._echoes.hold(text.strip()):
            self._missed = self._missed or name

    def _emit(self, space: str, read: Read, *, counts: bool, lead: int) -> bool:
        """Emit calls; False where they are only text.

        Args:
            space: The white space before them.
            read: The calls.
            counts: Whether they do, if they are no quotation.
            lead: How many characters of marks around them stand before the first.
        """
        raw, items = self._source.held, read.items
        start = self._source.at - len(raw)
        quoted = self._quoted(raw, start, read) if counts else len(items)
        cuts = [lead, *(item.end - start for item in items[:-1]), len(raw)]
        if quoted == len(items):
            self._record.prose(space, raw)
            return False
        if quoted:
            self._record.prose(space, raw[: cuts[quoted]])
        else:
            self._record.block(space, EMPTY_CALL, raw[:lead])
        for item, (begin, end) in list(zip(items, pairwise(cuts), strict=True))[quoted:]:
            self._record.calls(item.readings, raw[begin:end])
        self._dangling = not read.closed
        self._wrapped = self._wrapped or read.inside or lead > 0
        self.truncated = read.cut_off and self._record.failed_last
        return True

    def _quoted(self, raw: str, start: int, read: Read) -> int:
        """Return how many items, from the first on, only repeat what others wrote."""
        items = read.items

        def held(end: int) -> bool:
            return self._echoes.hold(raw[read.start - start : end - start])

        if all(item.is_definition for item in items):
            return len(items)
        if count := bisect_left(range(len(items)), True, key=lambda at: not held(items[at].end)):
            return count
        # Where a quoted call is broken, the prose behind it may seem to be a part of it.
        broken = len(items) == 1 and items[0].first_close and held(items[0].first_close)
        return int(bool(broken) and any(reading.error for reading in items[0].readings))

    # --- calls without marks, or without the first one -------------------------

    def _bare(self, space: str) -> Pull[bool | None]:
        """Read calls without marks; False where it was text, None where nothing was taken."""
        source = self._source
        if not self._tools or self._thinking or source.at < self._not_before:
            return None
        fenced = (yield from source.peek()) in RUNS
        source.hold("")
        read = yield from BareReader(source, self._marks, self._tools, self._calls).read()
        counts = (read.alone and (self._record.fresh or fenced)) or read.closed
        self._not_before = source.at
        if fenced and not counts:
            source.back(source.held)
            return None
        return self._emit(space, read, counts=counts, lead=0)
