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

OPEN: Final = "begins a call, or all calls"
HEAD: Final = "begins a call, its name within the mark"
TAG: Final = "a tag of a tool's own name"
LOST: Final = "a bound tool's name at the beginning of a line, its mark missing perhaps"
LINE: Final = "begins a call where it begins a line"
ARGS: Final = "stands between a name and its arguments"
KEY: Final = "begins a field"
FIELD_TAG: Final = "begins a field, a tag of the parameter's own name"
SLOT: Final = "ends the name within a mark"
VALUE: Final = "begins a field's text"
FIELD_END: Final = "ends a field's text"
QUOTE: Final = "stands around a string"
CLOSE: Final = "ends a call, or all calls"
END: Final = "ends a turn"
THOUGHT: Final = "begins reasoning"
THOUGHT_END: Final = "ends reasoning"
CHANNEL_MARK: Final = "says that what follows is for the user"
RESULT: Final = "begins a result"
HALF: Final = "the beginning of a closing mark, at the end of the text"
CUT: Final = "the beginning of a mark that goes on with a call, at the end of the text"

CALLS: Final = frozenset({OPEN, HEAD})
AFTER_CALL: Final = frozenset({OPEN, HEAD, CLOSE, END, RESULT})

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


class _Table(NamedTuple):
    kinds: Mapping[str, frozenset[str]]
    prefixes: frozenset[str]  # the marks, and what they begin with
    starts: frozenset[str]  # what longer marks begin with


def _table(marks: Iterable[tuple[str, str]]) -> _Table:
    kinds: dict[str, set[str]] = {}
    for mark, kind in marks:
        kinds.setdefault(plain(mark), set()).add(kind)
    starts = frozenset(mark[:end] for mark in kinds for end in range(1, len(mark)))
    found = {mark: frozenset(names) for mark, names in kinds.items()}
    return _Table(found, starts | kinds.keys(), starts)


def _marks_of(form: Form) -> Iterator[tuple[str, str]]:
    is_tag = form.open.endswith("<")
    if form.open and not is_tag:
        yield form.open, LINE if form.lines else HEAD if form.head.rstrip().endswith(">") else OPEN
        yield _slot_end(form.head), SLOT
    yield form.section[0], OPEN
    for mark in (form.section[1], "" if is_tag else form.close):
        yield mark, CLOSE
    # Of `<|constrain|>json<|message|>` each part may be left out.
    for mark in re.findall(r"<[^<>]+>[^<>]*|^[^<>]+", form.args):
        yield mark, ARGS
    for mark in re.findall(r"<[^<>]+>(?=\{name\})|\[\w+\]", form.head):
        yield mark, ARGS
    if form.key and not form.key.endswith("<"):
        yield form.key, KEY
        yield _slot_end(form.slot), SLOT
        yield form.end, FIELD_END
    yield form.value, VALUE
    yield form.quote, QUOTE


def _slot_end(slot: str) -> str:
    found = re.search(r"<\S+>\Z", slot.rstrip())
    return found[0] if found else ""


def _all_marks() -> Iterator[tuple[str, str]]:
    for form in FORMS:
        yield from _marks_of(form)
    for kind, marks in ((END, ENDS), (CHANNEL_MARK, CHANNELS), (RESULT, RESULTS)):
        for mark in marks:
            yield mark, kind
    for begin, end in THOUGHTS:
        yield begin, THOUGHT
        yield end, THOUGHT_END


_ALL: Final = _table((mark, kind) for mark, kind in _all_marks() if mark)
_CLOSING: Final = _table(
    (mark, CLOSE) for mark, kinds in _ALL.kinds.items() if kinds & {CLOSE, END}
).prefixes
_GOING_ON: Final = _table(
    (mark, KEY) for mark, kinds in _ALL.kinds.items() if kinds & {KEY, VALUE, OPEN, HEAD}
).prefixes
_ANYWHERE = {mark[0] for mark in _ALL.kinds if mark[0] in "<[]\u25c1"}
STARTS: Final = frozenset(_ANYWHERE)
"""The characters that a mark begins with, apart from those at the beginning of a line."""

NO_MARK: Final = re.compile("[^" + re.escape("".join(sorted(STARTS))) + "]*")
"""Characters with which no mark begins within a line."""

_LINE_STARTS: Final = {mark[0] for mark, kinds in _ALL.kinds.items() if kinds & {LINE, RESULT}}

UNCLOSED: Final = frozenset(
    plain(form.open) for form in FORMS if form.open and not form.close and not form.section[1]
)
"""The opening marks of forms that have no closing one."""

THOUGHT_ENDS: Final = {plain(begin): plain(end) for begin, end in THOUGHTS}


@functools.lru_cache(maxsize=1 << 14)
def _step(mark: str, char: str) -> tuple[str, bool, frozenset[str]]:
    """Add a character to the beginning of a mark; say whether it still is one, or all of it."""
    mark += plain(char)
    return mark, _may_begin(mark), _kinds(mark)


def _may_begin(mark: str) -> bool:
    """Say whether a text may become a mark of the table."""
    if mark in _ALL.prefixes or mark[:1] != "<":
        return mark in _ALL.prefixes
    if _IN_NAMESPACE.match(mark) or without_namespace(mark) in _ALL.prefixes:
        return True
    suffixed = _IN_SUFFIX.match(mark)
    return bool(_kinds(mark)) or (suffixed is not None and suffixed[1] in _ALL.prefixes)


@functools.lru_cache(maxsize=1 << 14)
def _may_go_on(mark: str) -> bool:
    if mark in _ALL.starts:
        return True
    inside = _IN_NAMESPACE.match(mark) or _IN_SUFFIX.match(mark)
    return inside is not None or without_namespace(mark) in _ALL.starts


def _in_table(mark: str) -> str:
    """Return a mark as the table has it, without a namespace or a suffix; itself if none is."""
    spellings = (without_namespace(mark), _SUFFIX.sub(r"\1", mark))
    return mark if mark in _ALL.kinds else next(filter(_ALL.kinds.get, spellings), mark)


def _kinds(mark: str) -> frozenset[str]:
    return _ALL.kinds.get(_in_table(mark), frozenset())


@functools.lru_cache(maxsize=64)
def _of_tools(names: tuple[str, ...]) -> _Table:
    marks = [(f"<{name}>", TAG) for name in names]
    return _table(marks)


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

    def read(
        self, wanted: Collection[str], extra: Mapping[str, str] | None = None
    ) -> Pull[Found | None]:
        """Take a mark of one of the wanted kinds, the longest; None, and nothing, without one.

        Args:
            wanted: Kinds of marks.
            extra: More marks, as `plain` makes them, and their kinds.
        """
        raw, mark, found = "", "", None
        blanks, spaced, char = 0, False, "-"
        while (not mark or self._goes_on(mark, extra)) and (
            char := (yield from self._source.peek())
        ):
            more, begins, kinds = _step(mark, char)
            if blanks and more != mark and not self._has(more, extra):
                break
            blanks = blanks + 1 if more == mark else 0
            if not begins and not self._begins(more, extra):
                break
            if blanks > _MAX_BLANKS or not more or (spaced and more not in _ALL.prefixes):
                break
            spaced = OPEN in wanted and blanks > 0 and OPEN in _kinds(more + ">")
            raw, mark = raw + self._source.take(), more
            if blanks == 0:
                kinds = self._kinds(mark, kinds, extra).intersection(wanted)
                found = Found(raw, kinds, _in_table(mark)) if kinds else found
        if not char and HALF in wanted and found is None and self._is_half(mark):
            return Found(raw, frozenset({HALF}), mark)
        if not char and CUT in wanted and found is None and raw:
            return Found(raw, frozenset({CUT}), mark)
        if found is None and spaced:
            return (yield from self._with_attributes(raw, mark))
        self._source.back(raw[len(found.raw) :] if found else raw)
        if found is not None and found.kinds & {HEAD, KEY}:
            return (yield from self._with_name(found, cut=CUT in wanted))
        return found

    def _begins(self, mark: str, extra: Mapping[str, str] | None) -> bool:
        """Say whether a text may become a mark that only some parsers, or some calls, have."""
        if mark in self._of_tools.prefixes:
            return True
        return bool(extra) and any(more.startswith(mark) for more in extra or ())

    def _has(self, mark: str, extra: Mapping[str, str] | None) -> bool:
        """Say whether a mark begins so, a namespace in front of it perhaps."""
        table = _ALL.prefixes
        return mark in table or without_namespace(mark) in table or self._begins(mark, extra)

    def _goes_on(self, mark: str, extra: Mapping[str, str] | None) -> bool:
        """Say whether there is a longer mark that begins so."""
        if _may_go_on(mark) or mark in self._of_tools.starts:
            return True
        return bool(extra) and any(m != mark and m.startswith(mark) for m in extra or ())

    def _kinds(
        self, mark: str, kinds: frozenset[str], extra: Mapping[str, str] | None
    ) -> frozenset[str]:
        if extra and mark in extra:
            return frozenset({extra[mark]})
        return self._of_tools.kinds.get(mark, kinds)

    def _is_half(self, mark: str) -> bool:
        """Say whether the text ends in the midst of a closing mark, and of no other."""
        return any(
            form in _CLOSING and form not in _GOING_ON
            for form in (mark, _NAMESPACE.sub(r"\1", mark), _IN_SUFFIX.sub(r"\1", mark))
        )

    def _with_attributes(self, raw: str, mark: str) -> Pull[Found | None]:
        """Take the rest of an opening tag that has attributes: `<tool_call id="1">`."""
        more = yield from self._source.collect(_ATTRIBUTES)
        if (yield from self._source.peek()) == ">":
            return Found(raw + more + self._source.take(), frozenset({OPEN}), mark + ">")
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
            half = yield from self.read({CUT})
            if half is not None or not (yield from source.more()):
                raw = found.raw + slot + (half.raw if half else "")
                return Found(raw, frozenset({CUT}), found.mark)
        if end is None or not name:
            source.back(found.raw + slot + (end or ""))
            return None
        return Found(found.raw + slot + end, found.kinds, found.mark, name, is_text)

    def _slot_start(self) -> Pull[str]:
        """Take `=`, or the name of the attribute that holds the name; nothing for prose."""
        source = self._source
        space = yield from source.collect(BLANKS)
        word = yield from source.collect(_WORD)
        start = space + word + (yield from source.collect(BLANKS))
        if (word.lower() in _SLOT_NAMES or not word) and (yield from source.peek()) == "=":
            return start + source.take()
        source.back(start)
        return ""

    def _slot_end(self) -> Pull[str | None]:
        """Take what ends a slot; the mark of a field's text ends it, too, and stays."""
        source = self._source
        space = yield from source.collect(SPACE)
        if (yield from source.peek()) == ">":
            return space + source.take()
        mark = yield from self.read({SLOT, VALUE})
        if mark is None or VALUE in mark.kinds:
            source.back(space + (mark.raw if mark else ""))
            return None if mark is None else ""
        return space + mark.raw

    def lost(self) -> Pull[Found | None]:
        """Take a bound tool's name where a line begins; None, and nothing, without one."""
        name = yield from self.bare_name()
        after = yield from self._source.peek()
        if bound_name(name, self._tools) in self._tools and not (after.isalnum() or after == "_"):
            return Found(name, frozenset({LOST}), "", name)
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
