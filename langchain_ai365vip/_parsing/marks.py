"""Finds the marks of the table in a text, however they are spelled."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from langchain_ai365vip._parsing.calls import Tools, bound_name
from langchain_ai365vip._parsing.dialects import FORMS, Form
from langchain_ai365vip._parsing.source import BLANKS, SPACE, Pull, Source
from langchain_ai365vip._parsing.turns import CHANNELS, ENDS, NAME_PREFIXES, RESULTS, THOUGHTS


class Kind:
    """What a mark does."""

    OPEN = "begins a call, or all calls"
    HEAD = "begins a call, its name within the mark"
    TAG = "a tag of a tool's own name"
    LOST = "a bound tool's name at the beginning of a line, its mark missing perhaps"
    LINE = "begins a call where it begins a line"
    ARGS = "stands between a name and its arguments"
    KEY = "begins a field"
    FIELD_TAG = "begins a field, a tag of the parameter's own name"
    SLOT = "ends the name within a mark"
    VALUE = "begins a field's text"
    TAG_END = "ends a field, a tag of the parameter's own name"
    FIELD_END = "ends a field's text"
    QUOTE = "stands around a string"
    CLOSE = "ends a call, or all calls"
    END = "ends a turn"
    THOUGHT = "begins reasoning"
    THOUGHT_END = "ends reasoning"
    CHANNEL = "says that what follows is for the user"
    RESULT = "begins a result"
    HALF = "the beginning of a closing mark, at the end of the text"
    CUT = "the beginning of a mark that goes on with a call, at the end of the text"


_GO_ON = frozenset({Kind.KEY, Kind.VALUE, Kind.OPEN, Kind.HEAD})
_MAX_BLANKS = 8  # in a row, within a mark
_IGNORED = str.maketrans({"\uff5c": "|", **dict.fromkeys("\u2581_ \t\n\r")})
_NAMESPACE = re.compile(r"(</?)(?:\|?[a-z0-9]{0,16}[:|])(?=[a-z])")
_IN_NAMESPACE = re.compile(r"</?\|?[a-z0-9]{0,16}[:|]?\Z")
_SUFFIX = re.compile(r"(</?[a-z|]+):[a-z0-9]{1,16}(?=>?\Z)")
_IN_SUFFIX = re.compile(r"(</?[a-z|]+):[a-z0-9]{0,16}\Z")
_ATTRIBUTES = re.compile(r"""[ \w="':.-]*""")
_SLOT_NAMES = frozenset({"name", "tool", "key"})
_SLOT_TEXT = re.compile(r"[^<>\n]*")
_WORD = re.compile(r"\w*")
_ATTRIBUTE = re.compile(r"""(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))""")
_TEXT_TYPES = frozenset({"string", "true", "text"})


def plain(text: str) -> str:
    """Take away what a model may spell otherwise: case, blanks, low lines, the width of bars."""
    return text.lower().translate(_IGNORED)


_plain_character = functools.lru_cache(maxsize=1 << 10)(plain)


def without_namespace(mark: str) -> str:
    """Return a mark without the namespace in front of its name."""
    return _NAMESPACE.sub(r"\1", mark)


class Found(NamedTuple):
    """A mark in a text.

    Attributes:
        raw: The mark as it stands there.
        kinds: What it may be.
        mark: The mark as the table has it, without what spelling may change.
        name: What stands in its slot.
        is_text: Whether the mark says that a field is text (True) or not (False).
    """

    raw: str
    kinds: frozenset[str]
    mark: str
    name: str = ""
    is_text: bool | None = None


class Table(NamedTuple):
    """Marks, by which a text is read.

    Attributes:
        kinds: What each is.
        names: The names that some of them consist of.
        prefixes: What they begin with, and they themselves.
        starts: What longer ones begin with.
    """

    kinds: Mapping[str, frozenset[str]]
    names: Mapping[str, str]
    prefixes: frozenset[str]
    starts: frozenset[str]


def table(marks: Iterable[tuple[str, str]], names: Mapping[str, str] | None = None) -> Table:
    """Make a table of marks and their kinds, and the names that marks consist of."""
    kinds: dict[str, frozenset[str]] = {}
    for mark, kind in marks:
        kinds[plain(mark)] = kinds.get(plain(mark), frozenset()) | {kind}
    starts = frozenset(mark[:end] for mark in kinds for end in range(1, len(mark)))
    named = {plain(mark): name for mark, name in (names or {}).items()}
    return Table(kinds, named, starts | kinds.keys(), starts)


def _marks_of(form: Form) -> Iterator[tuple[str, str]]:
    yield form.section[0], Kind.OPEN
    yield form.section[1], Kind.CLOSE
    if not form.open.endswith("<"):  # tags of the tools' own names
        yield form.open, _kind_of_opening(form)
        yield _slot_end(form.head), Kind.SLOT
        yield form.close, Kind.CLOSE
    # Of `<|constrain|>json<|message|>` each part may be left out.
    for mark in re.findall(r"<[^<>]+>[^<>]*|^[^<>]+", form.args):
        yield mark, Kind.ARGS
    for mark in re.findall(r"<[^<>]+>(?=\{name\})|\[\w+\]", form.head):
        yield mark, Kind.ARGS
    if not form.key.endswith("<"):
        yield form.key, Kind.KEY
        yield _slot_end(form.slot), Kind.SLOT
        yield form.end, Kind.FIELD_END
    yield form.value, Kind.VALUE
    yield form.quote, Kind.QUOTE


def _kind_of_opening(form: Form) -> str:
    if form.lines:
        return Kind.LINE
    return Kind.HEAD if form.head.rstrip().endswith(">") else Kind.OPEN


def _slot_end(slot: str) -> str:
    found = re.search(r"<\S+>\Z", slot.rstrip())
    return found[0] if found else ""


def _all_marks() -> Iterator[tuple[str, str]]:
    for form in FORMS:
        yield from _marks_of(form)
    for kind, marks in ((Kind.END, ENDS), (Kind.CHANNEL, CHANNELS), (Kind.RESULT, RESULTS)):
        for mark in marks:
            yield mark, kind
    for begin, end in THOUGHTS:
        yield begin, Kind.THOUGHT
        yield end, Kind.THOUGHT_END


_ALL: Final = table((mark, kind) for mark, kind in _all_marks() if mark)
NO_MORE: Final = table([])
_ANYWHERE = {mark[0] for mark in _ALL.kinds if mark[0] in "<[]\u25c1"}
STARTS: Final = frozenset(_ANYWHERE)
"""The characters that a mark begins with, apart from those at the beginning of a line."""

NO_MARK: Final = re.compile("[^" + re.escape("".join(sorted(STARTS))) + "]*")
"""Characters with which no mark begins within a line."""

_LINE_STARTS: Final = {
    mark[0] for mark, kinds in _ALL.kinds.items() if kinds & {Kind.LINE, Kind.RESULT}
}

UNCLOSED: Final = frozenset(
    plain(form.open) for form in FORMS if form.open and not form.close and not form.section[1]
)
"""The opening marks of forms that have no closing one."""

THOUGHT_ENDS: Final = {plain(begin): plain(end) for begin, end in THOUGHTS}


class _Look(NamedTuple):
    """What is known of a text where a mark may stand."""

    kinds: frozenset[str]  # of the mark that it is
    known: bool  # whether marks begin so
    begins: bool  # or may, if it is the beginning of a namespace or a suffix
    goes_on: bool  # whether longer marks begin so


def _in_table(mark: str) -> str:
    """Return a mark as the table has it, without a namespace or a suffix; itself if none is."""
    spellings = (mark, without_namespace(mark), _SUFFIX.sub(r"\1", mark))
    return next(filter(_ALL.kinds.get, spellings), mark)


@functools.lru_cache(maxsize=1 << 14)
def _look(mark: str) -> _Look:
    bare = without_namespace(mark)
    suffixed = _IN_SUFFIX.match(mark)
    inside = bool(_IN_NAMESPACE.match(mark) or (suffixed and suffixed[1] in _ALL.prefixes))
    kinds = _ALL.kinds.get(_in_table(mark), frozenset())
    known = bool(kinds) or mark in _ALL.prefixes or bare in _ALL.prefixes
    goes_on = inside or mark in _ALL.starts or bare in _ALL.starts
    return _Look(kinds, known, known or inside, goes_on)


def _is_half(mark: str, more: Table) -> bool:
    """Say whether a text is the beginning of a closing mark, and of none that goes on."""
    ends = [end for end, kinds in more.kinds.items() if Kind.CLOSE in kinds]
    if mark[2:] and any(end.startswith(mark) for end in ends):
        return True
    for half in (mark, without_namespace(mark), _IN_SUFFIX.sub(r"\1", mark)):
        wholes = [kinds for whole, kinds in _ALL.kinds.items() if whole.startswith(half)]
        kinds = frozenset().union(*wholes)
        if kinds & {Kind.CLOSE, Kind.END} and not kinds & _GO_ON:
            return True
    return False


@functools.lru_cache(maxsize=64)
def _of_tools(names: tuple[str, ...]) -> Table:
    # A tool may be named as a mark is: `think`. The mark stays what it is.
    tags = {f"<{name}>": name for name in names if not _look(plain(f"<{name}>")).kinds}
    return table([(tag, Kind.TAG) for tag in tags], tags)


@functools.lru_cache(maxsize=64)
def _bare_names(names: tuple[str, ...]) -> frozenset[str]:
    words = [before + name for name in names for before in ("", *NAME_PREFIXES)]
    return frozenset(word[:end].lower() for word in words for end in range(1, len(word) + 1))


class Marks:
    """Reads marks out of a source.

    Args:
        source: Where the characters come from.
        tools: The tools by bound name: the tags of some forms are named so.
    """

    def __init__(self, source: Source, tools: Tools) -> None:
        self._source = source
        self._tools = tools
        self._of_tools = _of_tools(tuple(tools))
        bare = _bare_names(tuple(tools))
        self.line_starts = _LINE_STARTS | {word[0] for word in bare}

    def read(self, wanted: Collection[str], more: Table = NO_MORE) -> Pull[Found | None]:
        """Take a mark of one of the wanted kinds, the longest; None, and nothing, without one.

        Args:
            wanted: Kinds of marks.
            more: Marks that only this call has.
        """
        raw, mark, found = "", "", None
        blanks, spaced, goes_on, char = 0, False, True, "-"
        while goes_on and (char := (yield from self._source.peek())):
            longer = mark + _plain_character(char)
            blank = longer == mark
            look = self._look(longer, more)
            if not look.begins or ((blanks or spaced) and not (blank or look.known)):
                break
            if blank and blanks == _MAX_BLANKS:
                break
            blanks = blanks + 1 if blank else 0
            spaced = blank and Kind.OPEN in wanted and Kind.OPEN in _look(mark + ">").kinds
            raw, mark, goes_on = raw + self._source.take(), longer, look.goes_on
            if not blank and (kinds := look.kinds.intersection(wanted)):
                name = self._of_tools.names.get(mark) or more.names.get(mark, "")
                found = Found(raw, kinds, _in_table(mark), name)
        if not char and found is None and Kind.HALF in wanted and _is_half(mark, more):
            return Found(raw, frozenset({Kind.HALF}), mark)
        if not char and found is None and Kind.CUT in wanted and raw:
            return Found(raw, frozenset({Kind.CUT}), mark)
        if found is None and spaced:
            return (yield from self._with_attributes(raw, mark))
        self._source.back(raw[len(found.raw) :] if found else raw)
        if found is not None and found.kinds & {Kind.HEAD, Kind.KEY}:
            return (yield from self._with_name(found, cut=Kind.CUT in wanted))
        return found

    def _look(self, mark: str, more: Table) -> _Look:
        look = _look(mark)
        for own in (self._of_tools, more):
            if mark in own.prefixes:
                kinds = own.kinds.get(mark, look.kinds)
                look = _Look(kinds, True, True, look.goes_on or mark in own.starts)
        return look

    def _with_attributes(self, raw: str, mark: str) -> Pull[Found | None]:
        """Take the rest of an opening tag that has attributes: `<tool_call id="1">`."""
        more = yield from self._source.collect(_ATTRIBUTES)
        if (yield from self._source.peek()) == ">":
            return Found(raw + more + self._source.take(), frozenset({Kind.OPEN}), mark + ">")
        self._source.back(raw + more)
        return None

    # --- names within marks ---------------------------------------------------------------

    def _with_name(self, found: Found, *, cut: bool) -> Pull[Found | None]:
        """Take the name in a mark's slot, and the slot's end: `<invoke name="...">`."""
        source = self._source
        alone = found.mark[-1] in (">", "]")  # nothing else stands there: `<arg_key>...`
        start = (yield from source.collect(SPACE)) if alone else (yield from self._slot_start())
        slot = start + (yield from source.collect(_SLOT_TEXT)) if alone or start else ""
        end = (yield from self._slot_end()) if slot else None
        name, is_text = (slot.strip(), None) if alone else _name_in(slot)
        if end is None and cut:
            half = yield from self.read({Kind.CUT})
            if half is not None or not (yield from source.more()):
                raw = found.raw + slot + (half.raw if half else "")
                return Found(raw, frozenset({Kind.CUT}), found.mark)
        if end is None or not name:
            source.back(found.raw + slot + (end or ""))
            return None
        return Found(found.raw + slot + end, found.kinds, found.mark, name, is_text)

    def _slot_start(self) -> Pull[str]:
        """Take `=`, or what begins an attribute: one holds the name; nothing for prose."""
        source = self._source
        space = yield from source.collect(BLANKS)
        word = yield from source.collect(_WORD)
        start = space + word + (yield from source.collect(BLANKS))
        if (yield from source.peek()) == "=":
            return start + source.take()
        source.back(start)
        return ""

    def _slot_end(self) -> Pull[str | None]:
        """Take what ends a slot; the mark of a field's text ends it, too, and stays."""
        source = self._source
        space = yield from source.collect(SPACE)
        if (yield from source.peek()) == ">":
            return space + source.take()
        mark = yield from self.read({Kind.SLOT, Kind.VALUE})
        if mark is None or Kind.VALUE in mark.kinds:
            source.back(space + (mark.raw if mark else ""))
            return None if mark is None else ""
        return space + mark.raw

    def lost(self) -> Pull[Found | None]:
        """Take a bound tool's name where a line begins; None, and nothing, without one."""
        name = yield from self.bare_name()
        after = yield from self._source.peek()
        if bound_name(name, self._tools) in self._tools and not (after.isalnum() or after == "_"):
            return Found(name, frozenset({Kind.LOST}), "", name)
        self._source.back(name)
        return None

    def bare_name(self, *others: str) -> Pull[str]:
        """Take a bound tool's name, with a prefix perhaps; nothing where none stands."""
        starts = _bare_names((*self._tools, *others))
        word = ""
        while char := (yield from self._source.peek()):
            if (word + char).lower() not in starts:
                break
            word += self._source.take()
        return word


def _name_in(slot: str) -> tuple[str, bool | None]:
    if slot.lstrip().startswith("="):
        return slot.lstrip()[1:].strip().strip("\"'").strip(), None
    attributes = {
        found[1].lower(): found[2] or found[3] or found[4] or ""
        for found in _ATTRIBUTE.finditer(slot)
    }
    name = next((attributes[key] for key in attributes if key in _SLOT_NAMES), "")
    kind = attributes.get("string", attributes.get("type", "")).lower()
    return name.strip(), (kind in _TEXT_TYPES) if kind else None
