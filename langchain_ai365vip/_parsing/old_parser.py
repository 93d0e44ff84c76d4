"""Reads tool calls and reasoning out of a model's text while it arrives.

`ToolCallParser.feed(text)` and `flush()` turn a reply into events. Each character of the
reply lies in exactly one event, in order: joining `event.raw` gives the reply back. The
events do not depend on how the reply was cut into pieces.

What is a call:

- `<tool_call>JSON</tool_call>` (also `tool_calls`, `function_call`), anywhere in prose, with
  one or several JSON values in it, fenced or not; the last one may stay unclosed. Text on a
  line of its own behind complete JSON is prose; on the same line it may be the rest of a
  string with broken quotation marks, and then spoils the call.
- The forms that models were trained on, see `_call_forms`.
- A reply that consists of call-shaped JSON and nothing else, bare or in a code fence,
  naming bound tools only.

What is not, and stays text: a tag in a code fence or code span, as Markdown has them; a tag
in reasoning; a call that stands word by word in what the user or a tool wrote; a tag in
a line of prose that is not followed by a call. A call of a tool that is not bound, one whose
arguments can neither be read nor repaired, and anything else between two tags at the start of
a line is an `InvalidCall` that says why.

How it works: the states are generators over one source of characters, each written as if
the whole reply were there; where it is not yet, they yield. So nothing is read twice, a cut
can fall anywhere, and text that may still become a call is a list of parts.
"""

from __future__ import annotations

import re
import uuid
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_ai365vip._parsing.echoes import Echoes
from langchain_ai365vip._parsing.json_text import is_json, read_json
from langchain_ai365vip._parsing.old_calls import (
    ARGUMENT_KEYS,
    CUT_OFF,
    META_KEYS,
    NAME_KEYS,
    WRAPPER_KEYS,
    Reading,
    Tools,
    is_call_shaped,
    name_hint,
    read_cut_off,
    read_text,
)
from langchain_ai365vip._parsing.old_forms import (
    ATTRIBUTES,
    BODY_PREFIXES,
    CLOSER_PREFIXES,
    CLOSERS,
    END_PREFIXES,
    END_TOKENS,
    FUNCTION,
    MISTRAL,
    OPENERS,
    PAIRED,
    RESPONSE,
    TAGS,
    Form,
    is_opener,
    is_paired,
)
from langchain_ai365vip._parsing.old_scan import (
    SPACE,
    Candidate,
    JsonReader,
    Pull,
    Source,
    Value,
    prefixes,
    split,
)


@dataclass(frozen=True, slots=True)
class _Stretch:
    text: str

    @property
    def raw(self) -> str:
        """The characters of the reply that this event stands for."""
        return self.text


@dataclass(frozen=True, slots=True)
class Text(_Stretch):
    """Text for the reader, to be passed on at once."""


@dataclass(frozen=True, slots=True)
class Reasoning(_Stretch):
    """Text between `<think>` and `</think>`."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a bound tool whose arguments fit its schema.

    Attributes:
        id: A unique id, made here.
        name: The name of a bound tool.
        arguments: The arguments as the model wrote them; texts between tags by the schema.
        raw: The characters of the reply; empty for the second and later calls of one
            JSON value (`{"tool_calls": [..., ...]}`).
    """

    id: str
    name: str
    arguments: dict[str, Any]
    raw: str


@dataclass(frozen=True, slots=True)
class InvalidCall:
    """A call that cannot be executed.

    Attributes:
        id: A unique id, made here.
        name: The name that the call gives, bound or not; None without one.
        arguments_text: The arguments as far as they were read, as text.
        error: What is wrong, in words that the model can act on.
        raw: The characters of the reply.
    """

    id: str
    name: str | None
    arguments_text: str
    error: str
    raw: str


@dataclass(frozen=True, slots=True)
class Discard(_Stretch):
    """Characters that are neither text nor a call, and why: one of the constants below."""

    why: str


Event: TypeAlias = Text | Reasoning | Call | InvalidCall | Discard

WHITE_SPACE = "white space around a call or reasoning"
THINK_TAG = "a reasoning tag"
CLOSING_TAG = "the closing tag of a call that had ended"
EMPTY_CALL = "a call with nothing in it"
TOOL_RESPONSE = "a tool result that the model made up"
MORE_CALLS = "what follows the one call that parallel_tool_calls=False allows"

_THINK, _THINK_END = "<think>", "</think>"
_FENCE_WORDS = frozenset(
    {"", "json", "jsonc", "json5", "tool", "tool_code", "call"} | {tag[1:-1] for tag in PAIRED}
)

_CALL_KEYS = frozenset({*NAME_KEYS, *ARGUMENT_KEYS, *WRAPPER_KEYS, *META_KEYS})
_CALL_TYPES = frozenset({"function", "function_call", "tool_call", "tool_use"})

_MISTRAL_PREFIXES = prefixes({MISTRAL})
_BARE_STARTS = frozenset("{[`")
_SPECIAL = re.compile(r"[<`~\[]")
_PROSE = re.compile(r"[^<`~\[]*")
_BLANKS = re.compile(r"[^\S\n]*")
_WORD = re.compile(r"[\w+.-]*")
_LINE = re.compile(r"[^\n]*")
_INFO = re.compile(r"[^\n`]*")
_NO_TAG = re.compile(r"[^<]*")
_RUN = {"`": re.compile("`*"), "~": re.compile("~*")}
_SPAN = {True: re.compile(r"[^`\n]*"), False: re.compile(r"[^`]*")}
_NAME = {'"': re.compile(r'[^"\\\n{}\[\]]*'), "'": re.compile(r"[^'\\\n{}\[\]]*")}
_SEPARATORS = re.compile(r"[\s,;]*")

_THINK_PREFIXES = prefixes({_THINK, _THINK_END})
_THINK_END_PREFIXES = prefixes({_THINK_END})


class ToolCallParser:
    """A reply's text in, events out.

    Args:
        tools: The JSON schema of the arguments by bound name. Without tools nothing is
            a call.
        reasoning: Whether `<think>...</think>`, at the start of the reply, of a line
            or after a call, becomes `Reasoning`. Otherwise it stays text.
        opened: Whether the reply begins inside reasoning, its opening tag being part of
            the prompt. A reply that does not close it is reasoning as a whole.
        parallel: Whether there may be more than one call. Otherwise the parser is done
            after the first.
        echoed: What users and tools wrote in this conversation: a call that stands there
            with its tag is text, however it is escaped. Looked at only when there is a call.

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
        self._echoes = Echoes(echoed)
        self._source = Source()
        self._json = JsonReader(self._source, TAGS)
        self._openers = prefixes({_THINK, *(OPENERS | {FUNCTION, RESPONSE} if tools else ())})
        self.done = False
        self.truncated = False
        self._why_done = MORE_CALLS
        self._events: list[Event] = []
        self._kind: type[Text] | type[Reasoning] | str = Text
        self._pending: list[str] = []
        self._blank_line = True  # only white space since the line began
        self._fresh = True  # nothing but reasoning and white space so far
        self._any_text = False
        self._any_block = False
        self._any_call = False
        self._dangling = False  # the last call had no closing tag
        self._wrapper: list[str] = []  # tags in front of what may be a call
        self._wrapped = False  # a tag around calls had no closing tag so far
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
        if self._in_prose and _SPECIAL.search(text) is None:
            self._source.scanned += len(text)
            self._follow_line(text)
            return [Text(text)] if text else []
        self._source.piece, self._source.pos = text, 0
        return self._advance()

    def flush(self) -> list[Event]:
        """End the reply.

        Returns:
            The events for what was held back.
        """
        self._source.piece, self._source.pos, self._source.ended = "", 0, True
        return self._advance()

    def _advance(self) -> list[Event]:
        next(self._states, None)
        if self.done:
            self._say(self._why_done, self._source.piece[self._source.pos :])
            self._source.piece = ""
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
            self._wrapped |= any(is_paired(tag.rstrip()) for tag in wrapper)
        else:
            self._text("".join(wrapper))

    def _emit(self, reading: Reading, raw: str) -> None:
        self._settle()
        call_id = f"call_{uuid.uuid4().hex}"
        if reading.error is None and reading.name is not None:
            self._events.append(Call(call_id, reading.name, reading.arguments, raw))
            self.done = not self._parallel
        else:
            error = reading.error or "The call has no name."
            self._events.append(
                InvalidCall(call_id, reading.name, reading.arguments_text, error, raw)
            )

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
            char = yield from self._source.peek()
            if self._fresh and self._tools and char in _BARE_STARTS:
                after_block = yield from self._bare_calls(space)
            else:
                after_block = yield from self._stretch(space, after_block)

    def _stretch(self, space: str, after_block: bool) -> Pull[bool]:
        """Read a block or some prose; True when it was a block."""
        char = yield from self._source.peek()
        if char in ("<", "["):
            return (yield from self._tag(space, after_block))
        self._space(space, before_block=False)
        self._fresh = False
        if char in _RUN:
            yield from self._code(char)
        else:
            self._in_prose = True
            yield from self._source.run(_PROSE, self._text)
            self._in_prose = False
        return False

    def _tag(self, space: str, after_block: bool) -> Pull[bool]:
        word = yield from self._mark(after_block)
        at_start = after_block or self._blank_line
        if is_opener(word):
            return (yield from self._calls(space, word, at_start))
        if word == _THINK and at_start:
            yield from self._think(space)
            return True
        if word.lower() == RESPONSE and at_start:
            self._space(space, before_block=True)
            self._end_at_response(word)
            return True
        if word.lower() in CLOSERS:
            self._space(space, before_block=True)
            self._say(CLOSING_TAG, word)
            self._dangling = self._wrapped = False
            return True
        self._space(space, before_block=False)
        self._text(word)
        self._fresh = False
        return False

    def _mark(self, after_block: bool) -> Pull[str]:
        """Take a mark that means something here, or the first character of none."""
        source = self._source
        word = yield from source.literal(self._marks_here(after_block))
        if f"{word.lower()}>" in PAIRED and (yield from source.peek()) == " ":
            word += yield from source.collect(ATTRIBUTES)
            word += source.take() if (yield from source.peek()) == ">" else ""
        return word or source.take()

    def _marks_here(self, after_block: bool) -> frozenset[str]:
        if self._dangling or self._wrapped or (self._any_call and after_block):
            return self._openers | CLOSER_PREFIXES
        return self._openers | END_PREFIXES if self._any_call else self._openers

    def _end_at_response(self, word: str) -> None:
        self._any_block = True
        self._say(TOOL_RESPONSE, word)
        self._why_done = TOOL_RESPONSE
        self.done = True

    def _think(self, space: str) -> Pull[None]:
        """Read reasoning; what looks like a call in it is not one."""
        source = self._source
        if self._reasoning:
            self._space(space, before_block=True)
            self._say(THINK_TAG, _THINK)
            yield from source.run(SPACE, lambda text: self._say(WHITE_SPACE, text))
        else:
            self._text(space + _THINK)
        yield from self._to_think_end()

    def _opened_think(self) -> Pull[None]:
        """Read the reasoning with which the reply begins; some models tag it all the same."""
        yield from self._source.run(SPACE, lambda text: self._say(WHITE_SPACE, text))
        word = yield from self._source.literal(_THINK_PREFIXES)
        self._say(THINK_TAG if word in (_THINK, _THINK_END) else Reasoning, word)
        if word == _THINK_END:
            self._any_block = True
            return
        if word == _THINK:
            yield from self._source.run(SPACE, lambda text: self._say(WHITE_SPACE, text))
        yield from self._to_think_end()

    def _to_think_end(self) -> Pull[None]:
        source = self._source
        sink = (lambda text: self._say(Reasoning, text)) if self._reasoning else self._text
        while (yield from source.more()):
            yield from source.run(_NO_TAG, sink)
            word = yield from source.literal(_THINK_END_PREFIXES)
            if word == _THINK_END:
                self._say(THINK_TAG, word) if self._reasoning else self._text(word)
                break
            sink(word or ((yield from source.peek()) and source.take()))
        self._any_block = self._any_block or self._reasoning

    # --- code, as Markdown has it: nothing in it is a call -------------------

    def _code(self, char: str) -> Pull[None]:
        at_line_start = self._blank_line
        width = yield from self._source.run(_RUN[char], self._text)
        if width >= 3 and at_line_start:
            yield from self._fence(char, width)
        elif char == "`":
            yield from self._span(width)

    def _fence(self, char: str, width: int, *, in_info: bool = True) -> Pull[None]:
        """Read a fenced block to the line that closes it."""
        source = self._source
        if in_info and char == "`":
            # A backtick after the opening run makes it a code span, not a fence.
            yield from source.run(_INFO, self._text)
            if (yield from source.peek()) == "`":
                return (yield from self._span(width))
        if not self._blank_line:
            yield from source.run(_LINE, self._text)
            yield from self._line_break()
        while (yield from source.more()):
            yield from source.run(_BLANKS, self._text)
            closing = yield from source.run(_RUN[char], self._text)
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
            run = yield from source.run(_RUN["`"], self._text)
            if run in (width, 0):
                return

    # --- calls in tags -------------------------------------------------------

    def _calls(self, space: str, opener: str, at_start: bool) -> Pull[bool]:
        """Read a tag and the tags that follow it at once; False when it is only text."""
        self._dangling = False
        while is_opener(opener) and not self.done:
            found = yield from self._call(space, opener, at_start)
            if found is None:
                return False
            self._fresh, opener = False, found
            if not self._wrapper:
                self._any_block = self._any_call = at_start = True
                space = ""
        if self.done:
            self._say(MORE_CALLS, opener)
        elif opener.lower() == RESPONSE:
            self._end_at_response(opener)
        elif opener:  # a "<..." that turned out to be no tag
            self._text(opener)
            return False
        return True

    def _call(self, space: str, opener: str, at_start: bool) -> Pull[str | None]:
        """Read one tag; return the tag that follows it at once, None if it was text."""
        source = self._source
        held = [opener]
        if opener.lower() == FUNCTION:
            return (yield from self._form(space, opener, held, at_start))
        yield from source.run(SPACE, held.append)
        ticks = yield from source.run(_RUN["`"], held.append)
        if ticks:
            yield from source.run(_WORD, held.append)
            yield from source.run(SPACE, held.append)
        char = yield from source.peek()
        if char and char in "{[":
            return (yield from self._tagged(space, "".join(held)))
        word = (yield from source.literal(BODY_PREFIXES)) if char == "<" else ""
        mark = word.lower()
        if mark in OPENERS or (at_start and (mark in TAGS.all or not char)):
            return self._empty_call(space, "".join(held), word)
        held.append(word)
        if not ticks and mark not in TAGS.all:
            return (yield from self._form(space, opener, held, at_start))
        self._no_call(space, "".join(held))
        if ticks:
            yield from self._span(ticks)
        return None

    def _form(self, space: str, opener: str, held: list[str], at_start: bool) -> Pull[str | None]:
        """Read a call that is not one JSON value; None if it was text."""
        form = Form(self._source, self._json, self._tools, opener, held)
        reading = yield from form.read()
        if reading is None and at_start and is_paired(opener):
            reading = yield from form.read_rest()
        raw = "".join(held)
        if reading is None or self._echoes.hold(form.own):
            self._no_call(space, raw)
            return None
        self._space(space, before_block=True)
        self._emit(reading, raw)
        self._dangling = not form.closed
        self.truncated = form.cut_off and self._failed_last()
        return ""

    def _no_call(self, space: str, text: str) -> None:
        self._space(space, before_block=False)
        self._text(text)
        self._fresh = False

    def _empty_call(self, space: str, held: str, word: str) -> str:
        if word.lower() in OPENERS:
            self._wrapper.append(held)  # part of a call, if what follows is one
            return word
        self._space(space, before_block=True)
        if not word:
            self.truncated = True
            self._emit(Reading(None, {}, "", CUT_OFF), held)
            return ""
        closed = word.lower() in CLOSERS
        self._say(EMPTY_CALL, held + word if closed else held)
        return "" if closed else word

    def _tagged(self, space: str, head: str) -> Pull[str | None]:
        """Read the JSON values in a tag; return a tag that follows without a closing one."""
        candidate = Candidate()
        end = yield from self._json.values(candidate)
        closer = end if end.lower() in CLOSERS else ""
        values = _tagged_values(candidate, ended=not end)
        quoted = self._quoted(values, candidate, head)
        if quoted == len(values):
            self._no_call(space, head + "".join(candidate.parts) + closer)
            self._source.back("" if closer else end)
            return None
        if quoted:
            self._no_call(space, head + "".join(value.raw for value in values[:quoted]))
            head = ""
        else:
            self._space(space, before_block=True)
        self._dangling = not closer
        self._finish(values[quoted:], head, closer)
        cut_off = values[-1].cut_off and not candidate.tag_in_string
        self.truncated = cut_off and self._failed_last()
        return "" if closer else end

    def _quoted(self, values: list[Value], candidate: Candidate, head: str = "") -> int:
        """Return how many values, from the first on, only repeat what others wrote."""
        body = head + "".join(candidate.parts)
        start = 0 if head else candidate.starts[0]

        def held(end: int) -> bool:
            return self._echoes.hold(body[start : len(head) + end])

        ends = [*candidate.ends, candidate.open_end]
        if count := bisect_left(range(len(values)), True, key=lambda at: not held(ends[at])):
            return count
        # Where a quoted call is broken, the prose behind it may seem to be a part of it.
        broken = len(values) == 1 and candidate.first_close and held(candidate.first_close)
        return int(bool(broken) and any(each.error for each in self._readings(values[0])))

    def _failed_last(self) -> bool:
        return not self.done and isinstance(self._events[-1], InvalidCall)

    def _finish(self, values: list[Value], head: str = "", tail: str = "") -> None:
        """Emit the calls of the values, each with the characters that it stands for."""
        for index, value in enumerate(values):
            raw = head * (index == 0) + value.raw + tail * (index == len(values) - 1)
            if self.done:
                self._say(MORE_CALLS, raw)
                continue
            for reading in self._readings(value):
                if not self.done:
                    self._emit(reading, raw)
                    raw = ""

    def _readings(self, value: Value) -> list[Reading]:
        if value.cut_off:
            return read_cut_off(value.text, self._tools)
        return read_text(value.text, self._tools, value.escaped)

    # --- a reply that is nothing but calls, without tags ----------------------

    def _bare_calls(self, space: str) -> Pull[bool]:
        """Read a reply that may consist of bare calls: to its end, or until it does not."""
        if (yield from self._source.peek()) == "[":
            word = yield from self._source.literal(_MISTRAL_PREFIXES)
            if word.lower() == MISTRAL:
                return (yield from self._calls(space, word, at_start=True))
            self._source.back(word)
        reply = _BareReply(self._source, self._json, self._tools)
        good = yield from reply.read()
        body = "".join(reply.candidate.parts)
        if good:
            values = split(reply.candidate, ended=True)
            quoted = self._quoted(values, reply.candidate)
            if quoted < len(values) and reply.means_calls(values):
                if quoted:
                    self._no_call(space, "".join(value.raw for value in values[:quoted]))
                else:
                    self._space(space, before_block=True)
                self._finish(values[quoted:])
                self.truncated = values[-1].cut_off and self._failed_last()
                return False
        self._no_call(space, body)
        if reply.fence >= 3:
            yield from self._fence("`", reply.fence, in_info=reply.in_info)
        elif reply.fence:
            yield from self._span(reply.fence)
        return False


def _tagged_values(candidate: Candidate, *, ended: bool) -> list[Value]:
    """Return the values in a tag: each for itself, or as one where not all are correct.

    A string with broken quotation marks can look like the end of one value and the
    beginning of another; the first must then not be carried out with half an argument.
    """
    values = split(candidate, ended=ended)
    if len(values) > 1 and not all(is_json(value.text) for value in values):
        candidate.clean = False
        return split(candidate, ended=ended)
    return values


class _BareReply:
    """A reply that is call-shaped JSON and nothing else, as far as one can tell so far."""

    def __init__(self, source: Source, json: JsonReader, tools: Tools) -> None:
        self._source = source
        self._json = json
        self._tools = tools
        self.candidate = Candidate(bare=True)
        self.fence = 0  # the backticks of the code fence that is open
        self.in_info = False  # still on the line that opened it

    def read(self) -> Pull[bool]:
        """Read until it is clear; True at the end of the reply, False where it cannot be."""
        source, candidate = self._source, self.candidate
        while True:
            if (yield from source.peek()) == "`" and not (yield from self._open_fence()):
                return False
            if not (yield from self._begins_like_call()):
                return False
            if (yield from self._json.value(candidate)):
                return False
            if candidate.cut_off:
                return True
            yield from source.run(_SEPARATORS, candidate.add)
            if self.fence and (yield from source.peek()) == "`":
                if (yield from source.run(_RUN["`"], candidate.add)) < self.fence:
                    return False
                self.fence = 0
                yield from source.run(SPACE, candidate.add)
            if (yield from source.peek()) == "<" and not (yield from self._end_token()):
                return False
            if not (yield from source.more()):
                return True

    def _end_token(self) -> Pull[bool]:
        word = yield from self._source.literal(END_PREFIXES)
        self.candidate.add(word)
        yield from self._source.run(SPACE, self.candidate.add)
        return word.lower() in END_TOKENS

    def _open_fence(self) -> Pull[bool]:
        if self.fence:
            return False
        self.fence = yield from self._source.run(_RUN["`"], self.candidate.add)
        if self.fence < 3:
            return False
        self.in_info = True
        word = yield from self._taken(_WORD)
        space = yield from self._taken(SPACE)
        self.in_info = "\n" not in space
        return word in _FENCE_WORDS

    def _taken(self, pattern: re.Pattern[str]) -> Pull[str]:
        text = yield from self._source.collect(pattern)
        self.candidate.add(text)
        return text

    def _begins_like_call(self) -> Pull[bool]:
        """Read as far as the first key that decides, so that other JSON is not held back."""
        source, candidate = self._source, self.candidate
        for bracket in "[{":
            char = yield from source.peek()
            if char == bracket:
                candidate.open(source.take())
                yield from source.run(SPACE, candidate.add)
        if candidate.last != "{":
            return False
        while True:
            key = yield from self._string()
            if key not in _CALL_KEYS or not (yield from self._taken_if(":")):
                return False
            char = yield from source.peek()
            if key not in META_KEYS:
                return (yield from self._decides(key, char))
            if not (yield from self._is_meta(key, char)):
                return False
            if not (yield from self._taken_if(",")):
                return False

    def _decides(self, key: str, char: str) -> Pull[bool]:
        if key in NAME_KEYS and char in ('"', "'"):
            return (yield from self._string()) in self._tools
        if key in WRAPPER_KEYS:
            return char in ("{", "[")
        return key in ARGUMENT_KEYS

    def _is_meta(self, key: str, char: str) -> Pull[bool]:
        if char in ('"', "'"):
            value = yield from self._string()
            return value is not None and (key != "type" or value in _CALL_TYPES)
        return key == "index" and bool((yield from self._taken(_WORD)))

    def _string(self) -> Pull[str | None]:
        """Read a short, plain string; None where there is none."""
        quote = yield from self._source.peek()
        if quote not in ('"', "'"):
            return None
        self.candidate.add(self._source.take())
        text = yield from self._taken(_NAME[quote])
        if (yield from self._source.peek()) != quote:
            return None
        self.candidate.add(self._source.take())
        return text

    def _taken_if(self, char: str) -> Pull[bool]:
        """Take a character and the white space around it, if it is the one."""
        yield from self._source.run(SPACE, self.candidate.add)
        if (yield from self._source.peek()) != char:
            return False
        self.candidate.add(self._source.take())
        yield from self._source.run(SPACE, self.candidate.add)
        return True

    def means_calls(self, values: list[Value]) -> bool:
        """Say whether each value of the reply is a call of a bound tool."""
        for value in values:
            if value.cut_off:
                return name_hint(value.text, self._tools) is not None
            try:
                parsed, _ = read_json(value.text, value.escaped)
            except ValueError:
                return name_hint(value.text, self._tools) is not None
            if not is_call_shaped(parsed, self._tools):
                return False
        return True
