"""Reads a call behind its opening mark, whatever shape its arguments have."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from langchain_ai365vip._parsing.calls import (
    CUT_OFF,
    NO_CALL,
    TORN,
    Reading,
    Tools,
    bound_name,
    read_braces,
    read_fields,
    read_named,
    read_python,
    unreadable,
)
from langchain_ai365vip._parsing.fields import Fields, FieldsReader
from langchain_ai365vip._parsing.json_values import Candidate, JsonReader, split
from langchain_ai365vip._parsing.literals import NAME, LiteralReader
from langchain_ai365vip._parsing.marks import (
    ARGS,
    CLOSE,
    CUT,
    END,
    HALF,
    HEAD,
    KEY,
    OPEN,
    RESULT,
    STARTS,
    TAG,
    UNCLOSED,
    Found,
    Marks,
)
from langchain_ai365vip._parsing.schemas import fields
from langchain_ai365vip._parsing.source import BLANKS, SPACE, Pull, Source

_TICKS = re.compile("`*")
_WORD = re.compile(r"[\w+.-]*")
_INDEX = re.compile(r"[:\d]*")
_NO_TAG = re.compile(r"[^<]*")
_LINE = re.compile(r"[^<\n`]*")
_SEPARATORS = re.compile(r"[\s,;]*")
_CLOSE: Final = frozenset({CLOSE, END, HALF})
_HEAD: Final = frozenset({HEAD})
_ARGS: Final = frozenset({ARGS, KEY, HEAD, CLOSE, CUT})
_PAIRED: Final = re.compile(r"<[a-z]+>")


@dataclass(slots=True)
class Read:
    """What stood behind a mark.

    Attributes:
        readings: The calls, each with the characters up to its end; none where it was no call.
        json: The JSON values, where it was those.
        head: What stands in front of them.
        ended: Whether the text ended behind them, not a mark.
        wraps: The mark of a call that follows at once, around which the first one stands.
        closed: The mark that ends the call was there.
        inside: The mark around all calls is open.
        cut_off: The text ended inside the call.
        empty: Whether there is nothing in it.
        missed: Whether marks stand there, and no call that can be read.
    """

    readings: list[Reading] = field(default_factory=list)
    json: Candidate | None = None
    head: str = ""
    ended: bool = False
    wraps: Found | None = None
    closed: bool = False
    inside: bool = False
    cut_off: bool = False
    empty: bool = False
    missed: bool = False


class CallReader:
    """Reads one call.

    Args:
        source: Where the characters come from.
        marks: Finds the marks.
        tools: The JSON schema of the arguments by bound name.
    """

    def __init__(self, source: Source, marks: Marks, tools: Tools) -> None:
        self._source = source
        self._marks = marks
        self._tools = tools
        self._json = JsonReader(source, marks)
        self._literals = LiteralReader(source, marks)
        self._open: Found  # the mark that the call began with
        self._depth = 1  # how many marks end it
        self._fenced = False  # whether its arguments stand in a fence
        self._wrapped = False

    def read(self, mark: Found, *, at_start: bool, wrapped: bool) -> Pull[Read]:
        """Read what stands behind a mark that may begin a call.

        Args:
            mark: The mark, which was taken.
            at_start: Whether it stands at the beginning of a line.
            wrapped: Whether marks around it are open.
        """
        self._open, self._depth, self._wrapped, self._fenced = mark, 1, wrapped, False
        if HEAD in mark.kinds:
            return (yield from self._headed(mark.name))
        if TAG in mark.kinds:
            return (yield from self._tagged(mark))
        fence = yield from self._fence()
        char = yield from self._source.peek()
        if char in ("{", "["):
            return (yield from self._bracket())
        if not fence:
            found = yield from self._marked(at_start)
            if found is not None:
                return found
            read = yield from self._by_name(at_start)
            if read.readings or read.wraps:
                return read
        if at_start and (_PAIRED.fullmatch(mark.mark) or ":" in mark.mark):
            return (yield from self._rest())
        return Read()

    def _fence(self) -> Pull[bool]:
        """Take white space, and the line that opens a fence."""
        yield from self._source.collect(SPACE)
        ticks = yield from self._source.collect(_TICKS)
        if len(ticks) < 3:
            self._source.back(ticks)
            return False
        yield from self._source.collect(_WORD)
        yield from self._source.collect(SPACE)
        self._fenced = True
        return True

    def _gap(self) -> Pull[None]:
        """Take white space, and the line that opens a fence; no empty line."""
        yield from self._source.collect(BLANKS)
        if (yield from self._source.peek()) == "\n":
            self._source.take()
            blanks = yield from self._source.collect(BLANKS)
            if (yield from self._source.peek()) == "\n":
                self._source.back("\n" + blanks)
                return
        yield from self._fence()

    def _marked(self, at_start: bool) -> Pull[Read | None]:
        """Read what begins with another mark; None where there is none."""
        char = yield from self._source.peek()
        if not char:
            return Read([Reading(None, {}, "", CUT_OFF)], cut_off=True) if at_start else Read()
        if char not in STARTS:
            return None
        mark = yield from self._marks.read({OPEN, HEAD, CLOSE, END, RESULT})
        if mark is None:
            return None
        if HEAD in mark.kinds:
            self._wrapped, self._depth = True, 2
            return (yield from self._headed(mark.name))
        if OPEN in mark.kinds:
            return Read(wraps=mark)
        if CLOSE not in mark.kinds:
            self._source.back(mark.raw)
        return Read(empty=at_start, closed=CLOSE in mark.kinds)

    # --- JSON -------------------------------------------------------------------------------

    def _bracket(self) -> Pull[Read]:
        bracket = self._source.take()
        space = yield from self._source.collect(SPACE)
        char = yield from self._source.peek()
        if bracket == "[" and (char.isalpha() or char == "_"):
            return (yield from self._python())
        self._source.back(bracket + space)
        candidate = Candidate()
        read = Read(json=candidate, head=self._source.held)
        end = yield from self._json.values(candidate)
        read.ended = end is None
        read.cut_off = read.ended and candidate.cut_off
        if end is None and not candidate.cut_off:
            end = yield from self._marks.read({HALF})
        read.closed = end is not None and bool(end.kinds & {CLOSE, END, HALF})
        if end is not None and not read.closed:
            self._source.back(end.raw)
        return read

    def _named(self, name: str) -> Pull[Read]:
        """Read arguments that are one JSON object, and the mark behind it."""
        if (yield from self._source.peek()) != "{":
            return (yield from self._stopped(name))
        candidate = Candidate()
        end = yield from self._json.value(candidate)
        if end is None and candidate.cut_off:
            return self._cut(name)
        if end is not None and CLOSE not in end.kinds:
            self._source.back(end.raw)
        (value,) = split(candidate, ended=False)
        reading = read_named(name, value.text, self._tools, value.escaped)
        read = Read([reading], closed=end is not None and CLOSE in end.kinds)
        yield from self._ends(read)
        return read

    # --- a name in front --------------------------------------------------------------------

    def named_at_line(self, name: str) -> Pull[Read]:
        """Read a call whose opening mark is missing: a bound name, and a mark behind it."""
        self._open, self._depth, self._fenced = Found("", frozenset(), ""), 1, False
        yield from self._source.collect(_INDEX)
        space = yield from self._source.collect(SPACE)
        if name.startswith("call:") and not space and (yield from self._source.peek()) == "{":
            return (yield from self._braces(name))
        if not space and (yield from self._source.peek()) == "(":
            return (yield from self._python_at_line(name))
        mark = yield from self._marks.read({ARGS, KEY, CUT})
        if mark is None:
            return Read()
        read = yield from self._behind_name(name, mark)
        read.missed = not read.readings
        return read

    def _python_at_line(self, name: str) -> Pull[Read]:
        """Read a call as Python writes it, which only a closing mark tells from prose."""
        self._source.back(name)
        text, whole = yield from self._literals.call()
        read = Read([read_python(text, self._tools)] if whole else [])
        yield from self._ends(read)
        return read if read.closed else Read()

    def _by_name(self, at_start: bool) -> Pull[Read]:
        """Read what begins with a name; within a line, only that of a bound tool counts."""
        name = "" if at_start else (yield from self._marks.bare_name())
        if at_start or self._is_bound(name):
            name += yield from self._source.collect(NAME)
        char = yield from self._source.peek()
        if not name or not (at_start or self._is_bound(name)):
            return Read()
        if char == "(":
            self._source.back(name)
            return (yield from self._python())
        if char == "{" and name.startswith("call:"):
            return (yield from self._braces(name))
        yield from self._gap()
        if (yield from self._source.peek()) == "{":
            return (yield from self._named(name))
        mark = yield from self._marks.read(_ARGS)
        if mark is not None:
            return (yield from self._behind_name(name, mark))
        return (yield from self._stopped(name)) if self._is_bound(name) else Read()

    def _behind_name(self, name: str, mark: Found) -> Pull[Read]:
        """Read on behind the mark that follows a name."""
        if CUT in mark.kinds:
            return self._cut(name) if self._is_bound(name) else Read()
        if HEAD in mark.kinds:
            self._depth = 2
            return (yield from self._headed(mark.name))
        if KEY in mark.kinds or CLOSE in mark.kinds:
            self._source.back(mark.raw)
            return (yield from self._fields(name))
        yield from self._fence()
        if (yield from self._source.peek()) == "{":
            return (yield from self._named(name))
        more = yield from self._marks.read(_ARGS)
        if more is not None:
            return (yield from self._behind_name(name, more))
        inner = yield from self._source.collect(NAME)
        if not inner:
            return (yield from self._stopped(name))
        return (yield from self._inner_name(name, inner))

    def _inner_name(self, name: str, inner: str) -> Pull[Read]:
        """Read on where two names follow one another: `function`, or an id, is the other."""
        name = inner if name == "function" or self._is_bound(inner) else name
        yield from self._fence()
        if (yield from self._source.peek()) == "{":
            return (yield from self._named(name))
        mark = yield from self._marks.read(_ARGS)
        if mark is None:
            return (yield from self._stopped(name))
        return (yield from self._behind_name(name, mark))

    def _headed(self, name: str) -> Pull[Read]:
        """Read on behind a mark that holds the name."""
        while True:
            space = yield from self._source.collect(SPACE)
            if (yield from self._source.peek()) == "{":
                return (yield from self._named(name))
            again = yield from self._marks.read(_HEAD)
            if again is None:
                self._source.back(space)
                return (yield from self._fields(name))
            name = again.name  # the mark twice

    def _tagged(self, mark: Found) -> Pull[Read]:
        name = next(tool for tool in self._tools if f"<{tool}>".lower() == mark.raw.lower())
        return (yield from self._fields(name, tag=name))

    def _fields(self, name: str, tag: str = "") -> Pull[Read]:
        bound = bound_name(name, self._tools)
        known = fields(self._tools[bound]) if bound in self._tools else None
        found = yield from FieldsReader(self._source, self._marks, known, tag).read()
        if not (found.given or found.closed or found.cut_off):
            return (yield from self._stopped(name)) if known is not None else Read()
        if found.torn:
            return (yield from self._torn(name))
        if found.cut_off or not (yield from self._is_whole(found, known)):
            return self._cut(name)
        read = Read([read_fields(name, found.given, self._tools)], closed=found.closed)
        yield from self._ends(read)
        return read

    def _is_whole(self, found: Fields, known: Collection[str] | None) -> Pull[bool]:
        """Say whether no field can be missing: one mark may be, where the text ends."""
        if (yield from self._source.more()):
            return True
        around = int(self._wrapped and self._depth == 1)
        missing = self._depth + around - (found.closed and not found.half)
        return missing <= 1 and (found.closed or bool(found.given) or not known)

    # --- as code ------------------------------------------------------------------------------

    def _python(self) -> Pull[Read]:
        """Read calls as Python writes them, in a list perhaps, and the mark behind them."""
        read = Read()
        while True:
            text, whole = yield from self._literals.call()
            if not whole:
                return (yield from self._broken_python(read, text))
            read.readings.append(read_python(text, self._tools))
            yield from self._source.collect(_SEPARATORS)
            char = yield from self._source.peek()
            if char == "]":
                self._source.take()
                break
            if not (char.isalpha() or char == "_") or not (yield from self._is_call()):
                break
        known = any(reading.name in self._tools for reading in read.readings)
        if not known and any(reading.error for reading in read.readings):
            return Read()  # code
        yield from self._ends(read)
        return read

    def _is_call(self) -> Pull[bool]:
        """Say whether a name and a bracket follow."""
        name = yield from self._source.collect(NAME)
        char = yield from self._source.peek()
        self._source.back(name)
        return char == "("

    def _broken_python(self, read: Read, text: str) -> Pull[Read]:
        name = text.removeprefix("print(").partition("(")[0]
        if (yield from self._source.more()):
            return (yield from self._torn(name)) if self._is_bound(name) else Read()
        if not self._is_bound(name):
            return Read()
        read.readings.append(unreadable(text, self._tools, CUT_OFF))
        read.cut_off = True
        return read

    def _braces(self, name: str) -> Pull[Read]:
        """Read an object of bare keys."""
        read = yield from self._literals.braces()
        if read is None:
            more = yield from self._source.more()
            return (yield from self._torn(name)) if more else self._cut(name)
        found = Read([read_braces(name, *read, self._tools)])
        yield from self._ends(found)
        return found

    # --- where it stops ---------------------------------------------------------------------

    def _ends(self, read: Read) -> Pull[None]:
        """Take the marks behind a call: its own, and that around it.

        No more than there must be, so that a call arrives with its last mark.
        """
        if self._open.mark in UNCLOSED and not self._fenced:
            return
        closed = int(read.closed)
        for _ in range(self._depth - closed):
            space = yield from self._source.collect(SPACE)
            ticks = (yield from self._source.collect(_TICKS)) if self._fenced else ""
            mark = yield from self._marks.read(_CLOSE)
            if mark is None and ticks:
                space = yield from self._source.collect(SPACE)
                mark = yield from self._marks.read(_CLOSE)
            if mark is None:
                self._source.back(space)
                break
            read.closed = True
            closed += 1
        read.inside = closed < self._depth and self._depth > 1

    def _is_bound(self, name: str) -> bool:
        return bound_name(name, self._tools) in self._tools

    def _stopped(self, name: str) -> Pull[Read]:
        """Return a call that the text's end cut off; no call where anything else stopped it."""
        return Read() if (yield from self._source.more()) else self._cut(name)

    def _cut(self, name: str) -> Read:
        name = bound_name(name, self._tools)
        return Read([Reading(name, {}, self._source.held, CUT_OFF)], cut_off=True)

    def _torn(self, name: str) -> Pull[Read]:
        """Read on to the mark that ends a broken call, or to the next one."""
        read = Read()
        while (yield from self._source.more()):
            yield from self._source.collect(_NO_TAG)
            mark = yield from self._marks.read({CLOSE, OPEN, HEAD, RESULT})
            if mark is None:
                if (yield from self._source.more()):
                    self._source.take()
            elif CLOSE in mark.kinds:
                yield from self._ends(read)
                read.closed = True
                break
            else:
                self._source.back(mark.raw)
                break
        read.readings.append(Reading(bound_name(name, self._tools), {}, self._source.held, TORN))
        return read

    def _rest(self) -> Pull[Read]:
        """Read on to the mark's end, if it comes before an empty line: no prose has both."""
        source = self._source
        while (yield from source.more()):
            yield from source.collect(_LINE)
            char = yield from source.peek()
            if char == "<":
                mark = yield from self._marks.read({CLOSE, OPEN})
                if mark is None:
                    source.take()
                elif OPEN in mark.kinds:
                    source.back(mark.raw)
                    return Read()
                else:
                    return Read([unreadable(source.held, self._tools, NO_CALL)], closed=True)
            elif char == "\n":
                source.take()
                if (yield from source.peek()) == "\n":
                    return Read()
            elif char:
                return Read()  # code, as Markdown has it
        return Read()
