"""Reads arguments that stand as text between marks.

A field's text may hold anything, marks too, and models leave marks out. So a mark that ends a
field does so only where a call goes on behind it, and what is opened inside the text must be
closed before. Where the end is in doubt, the field is not guessed at: the call is unreadable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from langchain_ai365vip._parsing.calls import Field
from langchain_ai365vip._parsing.marks import (
    CLOSE,
    CUT,
    END,
    FIELD_END,
    FIELD_TAG,
    HALF,
    HEAD,
    KEY,
    NO_MARK,
    OPEN,
    RESULT,
    TAG,
    VALUE,
    Found,
    Marks,
    plain,
)
from langchain_ai365vip._parsing.source import SPACE, Pull, Source

NOISE: Final = plain("]<]minimax[>[")
_FOLLOWS: Final = frozenset({KEY, FIELD_TAG, CLOSE, HEAD, OPEN, END, RESULT, HALF, CUT, TAG})
_INSIDE: Final = frozenset({KEY, FIELD_END, CLOSE, HEAD, OPEN})
_QUOTES = frozenset("\"'`(")
_CDATA: Final = "<![CDATA["


@dataclass(slots=True)
class Fields:
    """The fields of a call, as far as they were read.

    Attributes:
        given: The fields.
        closed: The mark that ends the call, if it was there.
        half: Only the beginning of it was there.
        cut_off: The text ended inside a field.
        torn: A field has no certain end.
    """

    given: list[Field] = field(default_factory=list)
    closed: str = ""
    half: bool = False
    cut_off: bool = False
    torn: bool = False


@dataclass(slots=True)
class _Text:
    """A field's text while it arrives."""

    parts: list[str] = field(default_factory=list)
    keys: int = 0  # how many marks of fields were opened in it and not closed
    calls: int = 0  # how many of calls
    end: int | None = None  # where it may have ended, as a number of parts
    unclosed: bool = False  # whether it ended there without a mark of its own
    stray: bool = False  # whether a mark that would end it stands in it
    line: str = ""  # the last visible character of the line
    lines: bool = False  # whether there is a line break in it

    def add(self, text: str) -> None:
        self.parts.append(text)
        _, line_break, line = text.rpartition("\n")
        self.lines = self.lines or bool(line_break)
        self.line = line.rstrip()[-1:] or ("" if line_break else self.line)


class FieldsReader:
    """Reads the fields of one call.

    Args:
        source: Where the characters come from.
        marks: Finds the marks.
        known: The names of the tool's parameters; None where the tool is not known.
        tag: The tool's name, where a tag of that name began the call.
    """

    def __init__(
        self, source: Source, marks: Marks, known: Collection[str] | None, tag: str = ""
    ) -> None:
        self._source = source
        self._marks = marks
        self._known = known
        self._found = Fields()
        self._unclosed = False
        self._tags: dict[str, str] = {}
        for name in known or ():
            for noise in ("", NOISE):
                self._tags[f"{noise}<{plain(name)}>"] = FIELD_TAG
        self._ends = {f"</{plain(tag)}>": CLOSE} if tag else {}

    def read(self) -> Pull[Fields]:
        """Read to the mark behind the last field, and take it; or to where it is missing."""
        found = self._found
        while not (found.cut_off or found.torn):
            space = yield from self._source.collect(SPACE)
            mark = yield from self._marks.read({*_FOLLOWS, FIELD_END}, {**self._tags, **self._ends})
            if mark is None:
                found.torn = yield from self._source.more()
                break
            if mark.kinds & {KEY, FIELD_TAG}:
                yield from self._field(mark)
            elif mark.kinds & {CLOSE, HALF}:
                found.closed, found.half = mark.raw, HALF in mark.kinds
                break
            elif CUT in mark.kinds:
                found.cut_off = True
            elif FIELD_END not in mark.kinds:  # of a field that had two ends
                self._source.back(space + mark.raw)
                break
        return found

    def _field(self, mark: Found) -> Pull[None]:
        name, end = mark.name, ""
        if not name:  # a tag of the parameter's name
            name = mark.raw.rpartition("<")[2].rstrip(">").strip()
            name = next(key for key in self._known or () if plain(key) == plain(name))
            end = f"</{plain(name)}>"
        space = yield from self._source.collect(SPACE)
        value = yield from self._marks.read({VALUE})
        if value is None:
            self._source.back(space)
            if mark.mark[-1] in (">", "]") and not end:  # a name, and no value
                self._found.torn = yield from self._source.more()
                self._found.cut_off = not self._found.torn
                return
        text = yield from (self._tagged(end) if end else self._text())
        if text is not None:
            if text[:1] == "\n":  # a text on lines of its own
                text = text[1:].removesuffix("\n")
            if text.startswith(_CDATA) and text.endswith("]]>"):
                text = text[len(_CDATA) : -3]
            self._found.given.append(Field(name, text, mark.is_text))

    # --- where a text ends ------------------------------------------------------------------

    def _text(self) -> Pull[str | None]:
        """Read a field's text; None, and what is wrong is noted, where it has no end."""
        text = _Text()
        while not self._found.torn:
            yield from self._source.run(NO_MARK, text.add)
            if not (yield from self._source.more()):
                if text.calls >= 0 and not text.unclosed:
                    text.end = None  # it may have ended a field of a call within the text
                return self._settled(text)
            mark = yield from self._marks.read(_INSIDE)
            if mark is None:
                text.add(self._source.take())
            elif FIELD_END in mark.kinds:
                if (yield from self._ends_here(text, mark)):
                    return self._whole(text)
            elif KEY in mark.kinds and self._begins_next(text, mark):
                self._source.back(mark.raw)
                if text.end is None:
                    text.end, text.unclosed = len(text.parts), True
                return self._settled(text)
            elif CLOSE not in mark.kinds:
                text.keys += KEY in mark.kinds
                text.calls += KEY not in mark.kinds
                text.add(mark.raw)
            elif (yield from self._closes(text, mark)):
                return self._settled(text)
        return None

    def _ends_here(self, text: _Text, mark: Found) -> Pull[bool]:
        """Say whether a field's end is the end of this one; if not, it belongs to the text."""
        space = yield from self._source.collect(SPACE)
        goes_on = yield from self._goes_on()
        if goes_on and text.keys <= 0:
            return True
        if goes_on and text.end is None:
            text.end = len(text.parts)
        text.stray = text.stray or text.keys <= 0
        text.keys -= text.keys > 0
        self._source.back(space)
        text.add(mark.raw)
        return False

    def _closes(self, text: _Text, mark: Found) -> Pull[bool]:
        """Say whether the mark of a call's end shows that the text ended before."""
        if text.calls > 0 or text.end is not None:
            text.calls -= 1
            text.add(mark.raw)
            return text.calls < 0 and text.end is not None
        space = yield from self._source.collect(SPACE)
        sure = yield from self._goes_on()
        self._source.back(space)
        text.end, text.unclosed = len(text.parts), True
        text.add(mark.raw)
        if not sure and (yield from self._is_end_of_field(space)):
            text.end, text.unclosed = None, False
        return sure

    def _is_end_of_field(self, space: str) -> Pull[bool]:
        yield from self._source.collect(SPACE)
        mark = yield from self._marks.read({FIELD_END})
        self._source.back(space + (mark.raw if mark else ""))
        return mark is not None

    def _goes_on(self) -> Pull[bool]:
        """Say whether a call goes on here, or the text ends."""
        mark = yield from self._marks.read(_FOLLOWS, {**self._tags, **self._ends})
        if mark is not None:
            self._source.back(mark.raw)
            return True
        return not (yield from self._source.more())

    def _begins_next(self, text: _Text, mark: Found) -> bool:
        """Say whether a mark begins the next field, the one before having no end."""
        given = {each.key for each in self._found.given}
        if text.keys > 0 or text.calls > 0 or mark.name in given:
            return False
        if self._known is not None and mark.name not in self._known:
            return False
        return not text.line if text.lines else text.line not in _QUOTES

    def _settled(self, text: _Text) -> str | None:
        """Return the text up to where it seems to have ended, and give back the rest."""
        if text.end is None:
            self._found.cut_off = True
            return None
        self._source.back("".join(text.parts[text.end :]))
        text.parts = text.parts[: text.end]
        self._unclosed = self._unclosed or text.unclosed
        return self._whole(text)

    def _whole(self, text: _Text) -> str | None:
        value = "".join(text.parts)
        in_doubt = text.stray or any(end in plain(value) for end in _FIELD_ENDS)
        if (text.unclosed and in_doubt) or (self._unclosed and text.stray):
            self._found.torn = True
            return None
        return value.removesuffix("\n") if text.unclosed else value

    def _tagged(self, end: str) -> Pull[str | None]:
        """Read a text up to the tag that ends it, which has the parameter's name."""
        ends: Mapping[str, str] = {end: FIELD_END, NOISE + end: FIELD_END}
        parts: list[str] = []
        while (yield from self._source.more()):
            yield from self._source.run(NO_MARK, parts.append)
            mark = yield from self._marks.read({FIELD_END}, ends)
            if mark is None or mark.mark not in ends:
                if (yield from self._source.more()):
                    self._source.back(mark.raw if mark else "")
                    parts.append(self._source.take())
                continue
            space = yield from self._source.collect(SPACE)
            goes_on = yield from self._goes_on()
            self._source.back(space)
            if goes_on:
                return "".join(parts)
            parts.append(mark.raw)
        self._found.cut_off = True
        return None


_FIELD_ENDS: Final = ("</parameter", "</param", "</argvalue", "<|close|>argument", "<|toolarg:end")
