"""Reads calls behind an opening mark, whatever shape their arguments have."""

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
    are_definitions,
    bound_name,
    read_braces,
    read_cut_off,
    read_fields,
    read_named,
    read_python,
    read_text,
    unreadable,
)
from langchain_ai365vip._parsing.fields import Fields, FieldsReader
from langchain_ai365vip._parsing.json_text import is_json
from langchain_ai365vip._parsing.json_values import Candidate, JsonReader, split
from langchain_ai365vip._parsing.literals import NAME, LiteralReader
from langchain_ai365vip._parsing.marks import UNCLOSED, Found, Kind, Marks
from langchain_ai365vip._parsing.schemas import fields
from langchain_ai365vip._parsing.source import BLANKS, SPACE, Pull, Source

_TICKS = re.compile("`*")
_SPACE_AND_TICKS = re.compile(r"[\s`]*")
_WORD = re.compile(r"[\w+.-]*")
_INDEX = re.compile(r"[:\d]*")
_NO_TAG = re.compile(r"[^<]*")
_LINE = re.compile(r"[^<\n`]*")
_SEPARATORS = re.compile(r"[\s,;]*")
_CLOSE: Final = frozenset({Kind.CLOSE, Kind.END, Kind.HALF})
_NEXT: Final = frozenset({Kind.OPEN, Kind.HEAD, Kind.CLOSE, Kind.END, Kind.RESULT})
_ARGS: Final = frozenset({Kind.ARGS, Kind.KEY, Kind.HEAD, Kind.CLOSE, Kind.CUT})
_PAIRED: Final = re.compile(r"<[a-z]+>|<.*:.*>")


@dataclass(frozen=True, slots=True)
class Item:
    """One call, or several of one value.

    Attributes:
        readings: The calls.
        end: Where it ends, as `Source.at`, without the marks behind it.
        first_close: Where its first bracket closes, if it is JSON.
        cut_off: The text ended inside it.
        is_definition: It is no call, but a tool as the prompt has it.
    """

    readings: list[Reading]
    end: int
    first_close: int = 0
    cut_off: bool = False
    is_definition: bool = False


@dataclass(slots=True)
class Read:
    """What was read where calls may stand.

    Attributes:
        items: The calls.
        start: Where they begin, as `Source.at`, without marks or a fence around them.
        closed: The mark that ends the last one was there, or stands behind it.
        whole: No mark of theirs is missing, but where the text ends.
        inside: The mark around all calls is open.
        alone: Nothing else stands there up to the end of the text.
        empty: Nothing stands between the marks.
        prose: There is not even a mark.
    """

    items: list[Item] = field(default_factory=list)
    start: int = 0
    closed: bool = False
    whole: bool = False
    inside: bool = False
    alone: bool = False
    empty: bool = False
    prose: bool = False

    @property
    def readings(self) -> list[Reading]:
        """The calls of all items."""
        return [reading for item in self.items for reading in item.readings]

    @property
    def cut_off(self) -> bool:
        """Whether the text ended inside the last item."""
        return bool(self.items) and self.items[-1].cut_off


def items_of(candidate: Candidate, start: int, tools: Tools, *, ended: bool) -> list[Item]:
    """Return the calls that JSON values mean, each for itself.

    They are one where not all are correct. A string with broken quotation marks can look like
    the end of one value and the beginning of another; the first must then not be carried out
    with half an argument.

    Args:
        candidate: The values.
        start: Where they begin, as `Source.at`.
        tools: The JSON schema of the arguments by bound name.
        ended: Whether the text ended behind them, not a mark.
    """
    values = split(candidate, ended=ended)
    if len(values) > 1 and not all(is_json(value.text) for value in values):
        candidate.clean = False
        values = split(candidate, ended=ended)
    shown = are_definitions([value.text for value in values])
    return [
        Item(
            read_cut_off(value.text, tools)
            if value.cut_off
            else read_text(value.text, tools, value.escaped),
            start + end,
            candidate.first_close and start + candidate.first_close,
            value.cut_off and not candidate.closed_in_string,
            shown,
        )
        for value, end in zip(values, (*candidate.ends, candidate.open_end), strict=False)
    ]


class CallReader:
    """Reads calls behind an opening mark.

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
        self._wrapped = False  # whether marks around it are open

    def read(self, mark: Found, *, at_start: bool, wrapped: bool) -> Pull[Read]:
        """Read what stands behind a mark that may begin a call.

        Args:
            mark: The mark, which was taken.
            at_start: Whether it stands at the beginning of a line.
            wrapped: Whether marks around it are open.
        """
        while True:
            self._open, self._depth, self._wrapped, self._fenced = mark, 1, wrapped, False
            start = self._source.at - len(mark.raw)
            read = yield from self._behind_mark(mark, at_start)
            if isinstance(read, Read):
                read.start = start
                read.whole = read.closed or read.cut_off or self._open.mark in UNCLOSED
                return read
            mark, wrapped = read, True

    def _behind_mark(self, mark: Found, at_start: bool) -> Pull[Read | Found]:
        """Read a call; or another mark, around which the first one stands."""
        if Kind.HEAD in mark.kinds:
            return (yield from self._behind_name(mark.name, headed=True))
        if Kind.TAG in mark.kinds:
            return (yield from self._fields(mark.name, tag=mark.name))
        if Kind.LOST in mark.kinds:
            return (yield from self._named(mark.name))
        fence = yield from self._fence()
        char = yield from self._source.peek()
        if char in ("{", "["):
            return (yield from self._bracket())
        if not (fence or char):
            return self._cut(None) if at_start else Read()
        if not fence:
            read = yield from self._unfenced(at_start)
            if isinstance(read, Found) or read.items or read.empty:
                return read
        if at_start and _PAIRED.fullmatch(mark.mark):
            return (yield from self._rest())
        return Read()

    def _unfenced(self, at_start: bool) -> Pull[Read | Found]:
        """Read what begins with another mark, or a name; within a line, only a bound one."""
        mark = yield from self._marks.read(_NEXT)
        if mark is None:
            name = "" if at_start else (yield from self._marks.bare_name())
            if at_start or self._is_bound(name):
                name += yield from self._source.collect(NAME)
            named = name and (at_start or self._is_bound(name))
            return (yield from self._named(name)) if named else Read()
        if Kind.HEAD in mark.kinds:
            self._wrapped, self._depth = True, 2
            return (yield from self._behind_name(mark.name, headed=True))
        if Kind.OPEN in mark.kinds:
            return mark
        if Kind.CLOSE not in mark.kinds:
            self._source.back(mark.raw)
        return Read(empty=at_start)

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

    # --- JSON -------------------------------------------------------------------------------

    def _bracket(self) -> Pull[Read]:
        bracket = self._source.take()
        space = yield from self._source.collect(SPACE)
        char = yield from self._source.peek()
        if bracket == "[" and (char.isalpha() or char == "_"):
            return (yield from self._python())
        self._source.back(bracket + space)
        candidate, start = Candidate(), self._source.at
        end = yield from self._json.values(candidate)
        ended = end is None
        if end is None and not candidate.cut_off:
            end = yield from self._marks.read({Kind.HALF})
        closed = end is not None and bool(end.kinds & _CLOSE)
        if end is not None and not closed:
            self._source.back(end.raw)
        return Read(items_of(candidate, start, self._tools, ended=ended), closed=closed)

    def _object(self, name: str) -> Pull[Read]:
        """Read arguments that are one JSON object, and the mark behind it."""
        candidate = Candidate()
        end = yield from self._json.value(candidate)
        if end is None and candidate.cut_off:
            return self._cut(name)
        self._source.back(end.raw if end else "")
        (value,) = split(candidate, ended=False)
        return (yield from self._ended(read_named(name, value.text, self._tools, value.escaped)))

    # --- a name in front --------------------------------------------------------------------

    def _named(self, name: str) -> Pull[Read]:
        """Read on behind a name that is no part of a mark."""
        lost = Kind.LOST in self._open.kinds
        char = yield from self._source.peek()
        if char == "(":
            self._source.back(name)
            read = yield from self._python()
            return Read(prose=True) if lost and not read.closed else read
        if char == "{" and name.startswith("call:"):
            return (yield from self._braces(name))
        if lost:  # the opening mark is missing: there must be another
            yield from self._source.collect(_INDEX)
            yield from self._source.collect(SPACE)
            mark = yield from self._marks.read({Kind.ARGS, Kind.KEY, Kind.CUT})
            if mark is None:
                return Read(prose=True)
            self._source.back(mark.raw)
        elif not (yield from self._in_paragraph()):
            return (yield from self._stopped(name))
        return (yield from self._behind_name(name))

    def _in_paragraph(self) -> Pull[bool]:
        """Take white space; False at an empty line, which stays: no call has one there."""
        yield from self._source.collect(BLANKS)
        if (yield from self._source.peek()) != "\n":
            return True
        self._source.take()
        blanks = yield from self._source.collect(BLANKS)
        if (yield from self._source.peek()) != "\n":
            return True
        self._source.back("\n" + blanks)
        return False

    def _behind_name(self, name: str, *, headed: bool = False) -> Pull[Read]:
        """Read on behind a name: marks, another name or a fence, then the arguments.

        Args:
            name: The name.
            headed: Whether it stands within a mark.
        """
        marked, other = headed, ""
        while True:
            yield from self._fence()
            if (yield from self._source.peek()) == "{":
                return (yield from self._object(name))
            mark = yield from self._marks.read(_ARGS)
            if mark is None and headed:
                return (yield from self._fields(name))
            if mark is None:  # `function`, or an id, may be another name
                if other or not marked or not (other := (yield from self._source.collect(NAME))):
                    return (yield from self._stopped(name, marked=marked))
                name = other if name == "function" or self._is_bound(other) else name
            elif Kind.HEAD in mark.kinds:
                self._depth = 1 if Kind.HEAD in self._open.kinds else 2
                name, headed = mark.name, True
            elif Kind.ARGS in mark.kinds:
                marked = True
            elif Kind.CUT in mark.kinds and not headed:
                return self._cut(name) if self._is_bound(name) else Read()
            else:
                self._source.back(mark.raw)
                is_argument = other not in ("", name)
                return (yield from (self._torn(name) if is_argument else self._fields(name)))

    def _fields(self, name: str, tag: str = "") -> Pull[Read]:
        bound = bound_name(name, self._tools)
        known = fields(self._tools[bound]) if bound in self._tools else None
        found = yield from FieldsReader(self._source, self._marks, known, tag).read()
        if not (found.given or found.close or found.cut_off):
            return (yield from self._stopped(name))
        if found.torn:
            return (yield from self._torn(name))
        if found.cut_off or not (yield from self._is_whole(found, known)):
            return self._cut(name)
        reading = read_fields(name, found.given, self._tools)
        return (yield from self._ended(reading, close=found.close))

    def _is_whole(self, found: Fields, known: Collection[str] | None) -> Pull[bool]:
        """Say whether no field can be missing: one mark may be, where the text ends."""
        if (yield from self._source.more()):
            return True
        around = int(self._wrapped and self._depth == 1)
        closed = found.close is not None and Kind.HALF not in found.close.kinds
        missing = self._depth + around - closed
        return missing <= 1 and (bool(found.close) or bool(found.given) or not known)

    # --- as code ------------------------------------------------------------------------------

    def python(self, *, bound: bool) -> Pull[tuple[list[Item], str]]:
        """Read calls as Python writes them, in a list perhaps.

        Args:
            bound: Whether only those of bound tools are looked at.

        Returns:
            The calls, and a broken one behind them.
        """
        items: list[Item] = []
        while (yield from self._is_call(bound)):
            text, whole = yield from self._literals.call()
            if not whole:
                return items, text
            items.append(Item([read_python(text, self._tools)], self._source.at))
            yield from self._source.collect(_SEPARATORS)
            if (yield from self._source.peek()) == "]":
                self._source.take()
                break
        return items, ""

    def _is_call(self, bound: bool) -> Pull[bool]:
        """Say whether a name and a bracket follow."""
        name = (yield from self._marks.bare_name("print")) if bound else ""
        if bound and not name:
            return False
        name += yield from self._source.collect(NAME)
        char = yield from self._source.peek()
        self._source.back(name)
        return char == "(" and (not bound or name == "print" or self._is_bound(name))

    def _python(self) -> Pull[Read]:
        """Read calls as Python writes them, and the mark behind them."""
        items, broken = yield from self.python(bound=False)
        name = broken.removeprefix("print(").partition("(")[0]
        if broken and not self._is_bound(name):
            return Read()
        if broken:
            return (yield from self._torn(name, *items))
        if not items:
            return (yield from self._stopped((yield from self._source.collect(NAME))))
        readings = Read(items).readings
        known = any(reading.name in self._tools for reading in readings)
        if not known and any(reading.error for reading in readings):
            return Read()  # code
        return (yield from self._marked_off(Read(items)))

    def _braces(self, name: str) -> Pull[Read]:
        """Read an object of bare keys."""
        text, marked, whole = yield from self._literals.braces()
        if whole:
            return (yield from self._ended(read_braces(name, text, marked, self._tools)))
        return (yield from self._torn(name))

    # --- where it stops ---------------------------------------------------------------------

    def _ended(self, reading: Reading, *before: Item, close: Found | None = None) -> Pull[Read]:
        """Return a call that ends here, and take the marks behind it.

        Args:
            reading: The call.
            before: Those before it.
            close: A mark behind it that was taken.
        """
        end = self._source.at - (len(close.raw) if close else 0)
        read = Read([*before, Item([reading], end)], closed=close is not None)
        return (yield from self._marked_off(read))

    def _marked_off(self, read: Read) -> Pull[Read]:
        """Take the marks behind calls: theirs, and that around.

        No more than there must be, so that a call arrives with its last mark.
        """
        if self._open.mark in UNCLOSED and not self._fenced:
            return read
        left = self._depth - read.closed
        while left:
            space = yield from self._source.collect(_SPACE_AND_TICKS if self._fenced else SPACE)
            if (yield from self._marks.read(_CLOSE)) is None:
                self._source.back("" if self._fenced else space)
                break
            read.closed = True
            left -= 1
        read.inside = left > 0 and self._depth > 1
        return read

    def _is_bound(self, name: str) -> bool:
        return bound_name(name, self._tools) in self._tools

    def _stopped(self, name: str, *, marked: bool = False) -> Pull[Read]:
        """Return a call that the text's end cut off; no call where anything else stopped it.

        Args:
            name: Its name.
            marked: Whether the marks show that it is one, whatever its name.
        """
        if (yield from self._source.more()):
            return Read()
        return self._cut(name) if marked or self._is_bound(name) else Read()

    def _cut(self, name: str | None, *before: Item) -> Read:
        name = name and bound_name(name, self._tools)
        reading = Reading(name, {}, self._source.held, CUT_OFF)
        return Read([*before, Item([reading], self._source.at, cut_off=True)])

    def _torn(self, name: str, *before: Item) -> Pull[Read]:
        """Read on to the mark that ends a broken call, or to the next one, if one follows."""
        if not (yield from self._source.more()):
            return self._cut(name, *before)
        while (yield from self._source.more()):
            yield from self._source.collect(_NO_TAG)
            mark = yield from self._marks.read({Kind.CLOSE, Kind.OPEN, Kind.HEAD, Kind.RESULT})
            if mark is not None:
                self._source.back(mark.raw)
                break
            if (yield from self._source.more()):
                self._source.take()
        name = bound_name(name, self._tools)
        return (yield from self._ended(Reading(name, {}, self._source.held, TORN), *before))

    def _rest(self) -> Pull[Read]:
        """Read on to the mark's end, if it comes before an empty line: no prose has both."""
        source = self._source
        while (yield from source.more()):
            yield from source.collect(_LINE)
            char = yield from source.peek()
            if char == "<":
                mark = yield from self._marks.read({Kind.CLOSE, Kind.OPEN})
                if mark is None:
                    source.take()
                    continue
                source.back(mark.raw)
                if Kind.CLOSE in mark.kinds:
                    reading = unreadable(source.held, self._tools, NO_CALL)
                    return (yield from self._ended(reading))
                break
            if char != "\n":
                break  # code, as Markdown has it
            source.take()
            if (yield from source.peek()) == "\n":
                break
        return Read()
