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
from collections.abc import Callable, Sequence, Set
from itertools import chain, pairwise
from typing import Final

from langchain_ai365vip._parsing.bare import BareReader, readings_of
from langchain_ai365vip._parsing.calls import (
    Reading,
    Tools,
    bound_name,
    is_definition,
    name_hint,
)
from langchain_ai365vip._parsing.echoes import Echoes
from langchain_ai365vip._parsing.events import (
    CHANNEL,
    CLOSING_TAG,
    EMPTY_CALL,
    MORE_CALLS,
    THINK_TAG,
    TOOL_RESPONSE,
    WHITE_SPACE,
    Call,
    Discard,
    Event,
    InvalidCall,
    Reasoning,
    Text,
)
from langchain_ai365vip._parsing.json_text import is_json, read_json
from langchain_ai365vip._parsing.json_values import Candidate, Value, split
from langchain_ai365vip._parsing.marks import (
    CHANNEL_MARK,
    CLOSE,
    CUT,
    END,
    HALF,
    HEAD,
    LINE,
    OPEN,
    RESULT,
    STARTS,
    TAG,
    THOUGHT,
    THOUGHT_END,
    THOUGHT_ENDS,
    UNCLOSED,
    Found,
    Marks,
    own,
    without_namespace,
)
from langchain_ai365vip._parsing.shapes import CallReader, Read
from langchain_ai365vip._parsing.source import SPACE, Pull, Source

NET: Final = (
    "A call of this tool seems to be meant, but it could not be read. Write it again, exactly "
    "in the form that you were told."
)

_SPECIAL = re.compile("[\n`~" + re.escape("".join(sorted(STARTS))) + "]")
_PROSE = re.compile("[^\n`~" + re.escape("".join(sorted(STARTS))) + "]*")
_THOUGHT_TEXT = re.compile("[^" + re.escape("".join(sorted(STARTS))) + "]*")
_BLANKS = re.compile(r"[^\S\n]*")
_LINE = re.compile(r"[^\n]*")
_INFO = re.compile(r"[^\n`]*")
_RUN = {"`": re.compile("`*"), "~": re.compile("~*")}
_SPAN = {True: re.compile(r"[^`\n]*"), False: re.compile(r"[^`]*")}
_SHORTEST: Final = 3  # of a mark that the reply's end cuts behind a call, to be none of the text
_BARE_STARTS: Final = frozenset("{[`~")
_THOUGHT_END_MARKS: Final = frozenset(THOUGHT_ENDS.values())


@functools.cache
def _wanted(
    tools: bool, at_start: bool, any_call: bool, closes: bool, thinking: bool
) -> frozenset[str]:
    """Return the kinds of marks that mean something at a place."""
    wanted = {OPEN, HEAD} if tools else set()
    if at_start:
        wanted |= {LINE, TAG} if tools else set()
        wanted |= {THOUGHT, CHANNEL_MARK} if not thinking else set()
        wanted |= {RESULT} if any_call and not thinking else set()
    if any_call:
        wanted |= {END, CLOSE, HALF} if closes else {END}
        wanted |= {CUT} if closes and not thinking else set()
    return frozenset(wanted)


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

    Attributes:
        done: The reply needs no further reading: the connection can be closed. All further
            text is a `Discard`.
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
    ) -> None:
        self._tools = tools
        self._reasoning = reasoning or opened
        self._opened = opened
        self._parallel = parallel
        self._echoed = echoed
        self._echoes = Echoes(echoed)
        self._source = Source()
        self._marks = Marks(self._source, tools)
        self._calls = CallReader(self._source, self._marks, tools)
        self.done = False
        self.truncated = False
        self._thinking = False  # whether this reads what another one takes for reasoning
        self._why_done = MORE_CALLS
        self._events: list[Event] = []
        self._kind: type[Text] | type[Reasoning] | str = Text
        self._pending: list[str] = []
        self._blank_line = True  # only white space since the line began
        self._fresh = True  # nothing but reasoning and white space so far
        self._any_text = False
        self._any_block = False
        self._any_call = False
        self._dangling = False  # the last call had no closing mark
        self._wrapper: list[str] = []  # marks in front of what may be a call
        self._wrapped = False  # a mark around calls had no closing mark so far
        self._not_before = 0  # where the last search for calls without marks gave up
        self._missed: str | None = None  # the tool whose call seems to be meant
        self._in_prose = False
        self._states = self._run()
        next(self._states)

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
        if self._in_prose and text and _SPECIAL.search(text) is None:
            self._source.scanned += len(text)
            self._source.at += len(text)
            self._follow_line(text)
            return [Text(text)]
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
        if self._missed is not None and not (self._any_call or self._thinking):
            call_id = f"call_{uuid.uuid4().hex}"
            events.append(InvalidCall(call_id, self._missed, "", NET, ""))
        return events

    def _advance(self) -> list[Event]:
        next(self._states, None)
        if self.done:
            self._say(self._why_done, self._source.piece[self._source.pos :])
            self._source.feed("")
        self._settle()
        events, self._events = self._events, []
        return events

    # --- what was read -------------------------------------------------------

    def _say(self, kind: type[Text] | type[Reasoning] | str, text: str) -> None:
        """Note text of a kind (a str: discarded, and why), merged with what it follows."""
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

    def _text(self, text: str) -> None:
        if text:
            self._say(Text, text)
            self._any_text = True
            self._follow_line(text)

    def _follow_line(self, text: str) -> None:
        start = text.rfind("\n") + 1
        if start or self._blank_line:
            self._blank_line = not text[start:].strip()

    def _space(self, space: str, *, before_block: bool) -> None:
        """Note white space: text before prose, unless nothing but blocks stands before it."""
        if before_block or (self._any_block and not self._any_text):
            self._say(WHITE_SPACE, space)
        else:
            self._text(space)
        wrapper, self._wrapper = self._wrapper, []
        if before_block:
            self._say(EMPTY_CALL, "".join(wrapper))
            self._wrapped = self._wrapped or bool(wrapper)
        else:
            self._text("".join(wrapper))

    def _no_call(self, space: str, text: str) -> None:
        self._space(space, before_block=False)
        self._text(text)
        self._fresh = False

    def _emit(self, reading: Reading, raw: str) -> None:
        self._settle()
        call_id = f"call_{uuid.uuid4().hex}"
        self._any_call = self._any_block = True
        self._fresh = False
        if reading.error is None and reading.name:
            self._events.append(Call(call_id, reading.name, reading.arguments, raw))
            self.done = not self._parallel
        else:
            error = reading.error or "The call has no name."
            self._events.append(
                InvalidCall(call_id, reading.name, reading.arguments_text, error, raw)
            )

    def _emit_all(self, readings: Sequence[Reading], raw: str) -> None:
        """Emit the calls of one stretch of the reply, the first with its characters."""
        for reading in readings:
            if self.done:
                self._say(MORE_CALLS, raw)
                return
            self._emit(reading, raw)
            raw = ""
        self._say(MORE_CALLS, raw)

    def _failed_last(self) -> bool:
        return not self.done and isinstance(self._events[-1], InvalidCall)

    # --- the states ----------------------------------------------------------

    def _run(self) -> Pull[None]:
        after_block = True  # or at the start of the reply
        if self._opened:
            yield from self._opened_think()
        while not self.done:
            space = (yield from self._source.collect(SPACE)) if after_block else ""
            if not (yield from self._source.more()):
                self._space(space, before_block=self._any_block)
                return
            after_block = yield from self._stretch(space, after_block)

    def _stretch(self, space: str, after_block: bool) -> Pull[bool]:
        """Read a block or some prose; True when it was a block."""
        at_start = after_block or self._blank_line
        char = yield from self._source.peek()
        mark = yield from self._mark(char, after_block, at_start)
        if mark is not None:
            return (yield from self._marked(space, mark, at_start))
        if at_start and char in _BARE_STARTS:
            read = yield from self._bare(space)
            if read is not None:
                return read
        if at_start and self._tools and char.lower() in self._marks.line_starts:
            read = yield from self._nameless(space)
            if read is not None:
                return read
        self._space(space, before_block=False)
        self._fresh = False
        self._source.let_go()
        yield from self._prose(char)
        return False

    def _prose(self, char: str) -> Pull[None]:
        source = self._source
        if char in _RUN:
            yield from self._code(char)
        elif char in STARTS:
            self._text(source.take())
        elif char == "\n":
            yield from source.run(SPACE, self._text)
        else:
            self._in_prose = True
            yield from source.run(_PROSE, self._text)
            self._in_prose = False

    def _mark(self, char: str, after_block: bool, at_start: bool) -> Pull[Found | None]:
        """Take a mark that means something here."""
        if char not in STARTS and not (at_start and char.lower() in self._marks.line_starts):
            return None
        closes = self._dangling or self._wrapped or after_block
        wanted = _wanted(bool(self._tools), at_start, self._any_call, closes, self._thinking)
        return (yield from self._marks.read(wanted))

    def _marked(self, space: str, mark: Found, at_start: bool) -> Pull[bool]:
        if THOUGHT in mark.kinds:
            yield from self._think(space, mark)
            return True
        if RESULT in mark.kinds:
            self._space(space, before_block=True)
            self._end_at_response(mark.raw)
            return True
        if CHANNEL_MARK in mark.kinds:
            self._space(space, before_block=True)
            self._say(CHANNEL, mark.raw)
            self._any_block = True
            return True
        if CUT in mark.kinds and len(mark.mark) < _SHORTEST:
            self._no_call(space, mark.raw)
            return False
        if mark.kinds <= {CLOSE, END, HALF, CUT}:
            self._space(space, before_block=True)
            self._say(CLOSING_TAG, mark.raw)
            self._dangling = self._wrapped = False
            return True
        return (yield from self._call(space, mark, at_start))

    def _end_at_response(self, word: str) -> None:
        self._any_block = True
        self._say(TOOL_RESPONSE, word)
        self._why_done = TOOL_RESPONSE
        self.done = True

    # --- reasoning -----------------------------------------------------------

    def _think(self, space: str, mark: Found) -> Pull[None]:
        self._source.let_go()
        if self._reasoning:
            self._space(space, before_block=True)
            self._say(THINK_TAG, mark.raw)
            yield from self._source.run(SPACE, lambda text: self._say(WHITE_SPACE, text))
        else:
            self._text(space + mark.raw)
        yield from self._to_think_end({THOUGHT_ENDS.get(mark.mark, "</think>")})

    def _opened_think(self) -> Pull[None]:
        """Read the reasoning with which the reply begins; some models tag it all the same."""
        yield from self._source.run(SPACE, lambda text: self._say(WHITE_SPACE, text))
        mark = yield from self._marks.read({THOUGHT, THOUGHT_END})
        if mark is not None:
            self._say(THINK_TAG, mark.raw)
            if THOUGHT_END in mark.kinds:
                self._any_block = True
                return
            yield from self._source.run(SPACE, lambda text: self._say(WHITE_SPACE, text))
        yield from self._to_think_end(_THOUGHT_END_MARKS - {"<|end|>"})

    def _to_think_end(self, ends: Set[str]) -> Pull[None]:
        source = self._source
        kind = Reasoning if self._reasoning else Text
        thought = _Thought(self._tools, self._echoed, kind, self._say)
        while (yield from source.more()):
            yield from source.run(_THOUGHT_TEXT, thought.feed)
            mark = yield from self._marks.read({THOUGHT_END})
            if mark is not None and ends.isdisjoint({mark.mark, without_namespace(mark.mark)}):
                source.back(mark.raw)
            elif mark is not None:
                thought.end()
                self._say(THINK_TAG if self._reasoning else Text, mark.raw)
                break
            if (yield from source.more()):
                thought.feed(source.take())
        else:
            self._any_text = self._any_text or not self._reasoning
            for event in thought.calls():
                if self.done:
                    self._say(MORE_CALLS, event.raw)
                    continue
                self._settle()
                self._events.append(event)
                self._any_call = self._any_call or isinstance(event, Call)
                self.done = isinstance(event, Call) and not self._parallel
        self._any_text = self._any_text or not self._reasoning
        self._blank_line = False
        self._any_block = self._any_block or self._reasoning

    # --- code, as Markdown has it: nothing in it is a call -------------------

    def _code(self, char: str) -> Pull[None]:
        at_line_start = self._blank_line
        before = self._source.at
        yield from self._source.run(_RUN[char], self._text)
        width = self._source.at - before
        if width >= 3 and at_line_start:
            yield from self._fence(char, width)
        elif char == "`":
            yield from self._span(width)

    def _fence(self, char: str, width: int) -> Pull[None]:
        """Read a fenced block to the line that closes it."""
        source = self._source
        if char == "`":
            # A backtick after the opening run makes it a code span, not a fence.
            yield from source.run(_INFO, self._text)
            if (yield from source.peek()) == "`":
                return (yield from self._span(width))
        yield from source.run(_LINE, self._text)
        yield from self._line_break()
        while (yield from source.more()):
            yield from source.run(_BLANKS, self._text)
            before = source.at
            yield from source.run(_RUN[char], self._text)
            closing = source.at - before
            yield from source.run(_BLANKS, self._text)
            if closing >= width and (yield from source.peek()) in ("\n", ""):
                return None
            yield from source.run(_LINE, self._text)
            yield from self._line_break()
        return None

    def _line_break(self) -> Pull[None]:
        if (yield from self._source.more()):
            self._text(self._source.take())

    def _span(self, width: int) -> Pull[None]:
        """Read a code span to a run of as many backticks; a short one ends with its line."""
        source = self._source
        while (yield from source.more()):
            yield from source.run(_SPAN[width < 3], self._text)
            before = source.at
            yield from source.run(_RUN["`"], self._text)
            if source.at - before in (width, 0):
                return

    # --- calls in marks ------------------------------------------------------

    def _call(self, space: str, mark: Found, at_start: bool) -> Pull[bool]:
        """Read what stands behind a mark; False when it is only text."""
        self._dangling = False
        while True:
            self._source.hold(mark.raw)
            wrapped = self._wrapped or bool(self._wrapper)
            read = yield from self._calls.read(mark, at_start=at_start, wrapped=wrapped)
            if read.wraps is None:
                break
            self._wrapper.append(self._source.held.removesuffix(read.wraps.raw))
            mark = read.wraps
        if read.json is not None and read.json.length:
            return (yield from self._json_calls(space, mark, read, read.json, at_start))
        raw = self._source.held
        if read.empty:
            self._space(space, before_block=True)
            self._say(EMPTY_CALL, raw)
            return True
        counts = read.readings and (yield from self._counts(mark, read, read.readings, at_start))
        if not counts or self._echoes.hold(own(raw)):
            if not counts and at_start:
                self._note_missed(raw)
            self._no_call(space, raw)
            return False
        self._space(space, before_block=True)
        self._emit_all(read.readings, raw)
        self._dangling = not read.closed
        self._wrapped = self._wrapped or read.inside
        self.truncated = read.cut_off and self._failed_last()
        return True

    def _counts(
        self, mark: Found, read: Read, readings: Sequence[Reading], at_start: bool
    ) -> Pull[bool]:
        """Say whether calls count: of a bound tool anywhere, else only on lines of their own."""
        if any(reading.name in self._tools for reading in readings):
            return True
        if not at_start or not (read.closed or read.cut_off or mark.mark in UNCLOSED):
            return False
        blanks = yield from self._source.collect(_BLANKS)
        char = yield from self._source.peek()
        self._source.back(blanks)
        return not char or char == "\n" or char in STARTS

    def _note_missed(self, text: str) -> None:
        """Note a bound tool whose name stands beside a mark, without a call that can be read."""
        name = name_hint(text[:200], self._tools)
        if name is not None and not self._echoes.hold(text.strip()):
            self._missed = self._missed or name

    def _json_calls(
        self, space: str, mark: Found, read: Read, candidate: Candidate, at_start: bool
    ) -> Pull[bool]:
        """Emit the calls of the JSON values behind a mark."""
        raw = self._source.held
        values = _values(candidate, ended=read.ended)
        readings = [readings_of(value, self._tools) for value in values]
        counts = yield from self._counts(mark, read, list(chain(*readings)), at_start)
        tail = raw[len(read.head) + candidate.length :]
        raws = [value.raw for value in values]
        raws[0] = read.head + raws[0]
        raws[-1] += tail
        if not counts or _are_definitions(values):
            quoted = len(values)
        else:
            ends = [len(read.head) + end for end in (*candidate.ends, candidate.open_end)]
            first_close = candidate.first_close and len(read.head) + candidate.first_close
            quoted = self._quoted(raw, ends[: len(values)], first_close, readings)
        self._emit_from(space, quoted, raws, readings)
        if quoted == len(values):
            return False
        self._dangling = not read.closed
        cut_off = values[-1].cut_off and not candidate.closed_in_string
        self.truncated = cut_off and self._failed_last()
        return True

    def _emit_from(
        self, space: str, first: int, raws: Sequence[str], readings: Sequence[Sequence[Reading]]
    ) -> None:
        """Emit calls from one on; those before it are text."""
        if first:
            self._no_call(space, "".join(raws[:first]))
        else:
            self._space(space, before_block=True)
        for raw, each in zip(raws[first:], readings[first:], strict=True):
            self._emit_all(each, raw)

    def _quoted(
        self,
        text: str,
        ends: Sequence[int],
        first_close: int,
        readings: Sequence[Sequence[Reading]],
    ) -> int:
        """Return how many calls, from the first on, only repeat what others wrote."""

        def held(end: int) -> bool:
            return self._echoes.hold(text[:end])

        if count := bisect_left(range(len(ends)), True, key=lambda at: not held(ends[at])):
            return count
        # Where a quoted call is broken, the prose behind it may seem to be a part of it.
        broken = len(ends) == 1 and first_close and held(first_close)
        return int(bool(broken) and any(each.error for each in readings[0]))

    # --- calls without marks, or without the first one -------------------------

    def _bare(self, space: str) -> Pull[bool | None]:
        """Read calls without marks; False where it was text, None where nothing was taken."""
        source = self._source
        if not self._tools or self._thinking or source.at < self._not_before:
            return None
        fenced = (yield from source.peek()) in _RUN
        source.hold("")
        start = source.at
        bare = yield from BareReader(source, self._marks, self._tools, self._calls).read()
        raw = source.held
        quoted = len(bare.items)
        if (bare.good and (self._fresh or fenced)) or bare.closed:
            ends = [item.end - bare.start for item in bare.items]
            first_close = bare.items[0].first_close - bare.start
            readings = [item.readings for item in bare.items]
            quoted = self._quoted(raw[bare.start - start :], ends, first_close, readings)
        if quoted == len(bare.items):
            self._not_before = source.at
            if fenced:
                source.back(raw)
                return None
            self._no_call(space, raw)
            return False
        cuts = [0, *(item.end - start for item in bare.items[:-1]), len(raw)]
        raws = [raw[a:b] for a, b in pairwise(cuts)]
        self._emit_from(space, quoted, raws, readings)
        self._dangling = bare.closed
        self.truncated = bare.items[-1].cut_off and self._failed_last()
        return True

    def _nameless(self, space: str) -> Pull[bool | None]:
        """Read a call whose opening mark is missing; None where nothing was taken."""
        self._source.hold("")
        name = yield from self._marks.bare_name()
        after = yield from self._source.peek()
        if bound_name(name, self._tools) not in self._tools or after.isalnum() or after == "_":
            self._source.back(name)
            return None
        read = yield from self._calls.named_at_line(name)
        raw = self._source.held
        if not read.readings or self._echoes.hold(own(raw)):
            if read.missed:
                self._note_missed(raw)
            self._no_call(space, raw)
            return False
        self._space(space, before_block=True)
        self._emit_all(read.readings, raw)
        self._dangling = not read.closed
        self.truncated = read.cut_off and self._failed_last()
        return True


class _Thought:
    """Reasoning while it arrives; it may turn out to be never closed, and to end with calls."""

    def __init__(
        self,
        tools: Tools,
        echoed: Sequence[str],
        kind: type[Text] | type[Reasoning],
        say: Callable[[type[Text] | type[Reasoning], str], None],
    ) -> None:
        self._tools = tools
        self._kind = kind
        self._say = say
        self._parser = ToolCallParser(tools, echoed=echoed)
        self._parser._thinking = True
        self._last: list[Event] = []  # a call, and what stands behind it

    def feed(self, text: str) -> None:
        if self._tools:
            self._take(self._parser.feed(text))
        else:
            self._say(self._kind, text)

    def end(self) -> None:
        """Take all of it for reasoning."""
        self._take(self._parser.flush())
        self._drop()

    def calls(self) -> list[Event]:
        """Return the whole calls at the end, where nothing else follows them."""
        self._take(self._parser.flush())
        named = [event.name for event in self._last if isinstance(event, Call)]
        if not all(name in self._tools for name in named):
            self._drop()
        return self._last

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            if self._last or isinstance(event, Call):
                self._last.append(event)
            else:
                self._say(self._kind, event.raw)
            is_more = isinstance(event, Text) and bool(event.text.strip())
            if is_more or isinstance(event, InvalidCall):
                self._drop()

    def _drop(self) -> None:
        for event in self._last:
            self._say(self._kind, event.raw)
        self._last = []


def _values(candidate: Candidate, *, ended: bool) -> list[Value]:
    """Return the values behind a mark: each for itself, or as one where not all are correct.

    A string with broken quotation marks can look like the end of one value and the
    beginning of another; the first must then not be carried out with half an argument.
    """
    values = split(candidate, ended=ended)
    if len(values) > 1 and not all(is_json(value.text) for value in values):
        candidate.clean = False
        return split(candidate, ended=ended)
    return values


def _are_definitions(values: Sequence[Value]) -> bool:
    """Say whether values are tools as the prompt has them."""
    return all(
        '"description"' in value.text
        and is_json(value.text)
        and is_definition(read_json(value.text).value)
        for value in values
    )
