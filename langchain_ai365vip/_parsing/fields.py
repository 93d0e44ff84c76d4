"""Reads arguments that stand as text between marks.

A field's text may hold anything, marks too, and models leave marks out. So a mark that ends a
field does so only where a call goes on behind it, and what is opened inside the text must be
closed before. Where the end is in doubt, the field is not guessed at: the call is unreadable.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from langchain_ai365vip._parsing.calls import Field
from langchain_ai365vip._parsing.marks import NO_MARK, Found, Kind, Marks, plain, table
from langchain_ai365vip._parsing.source import SPACE, Pull, Source

NOISE: Final = plain("]<]minimax[>[")
_FOLLOWS: Final = frozenset(
    {
        Kind.KEY,
        Kind.FIELD_TAG,
        Kind.CLOSE,
        Kind.HEAD,
        Kind.OPEN,
        Kind.END,
        Kind.RESULT,
        Kind.HALF,
        Kind.CUT,
        Kind.TAG,
    }
)
_INSIDE: Final = frozenset({Kind.KEY, Kind.FIELD_END, Kind.CLOSE, Kind.HEAD, Kind.OPEN})
_QUOTES = frozenset("\"'`(")
_CDATA: Final = "<![CDATA["


@dataclass(slots=True)
class Fields:
    """The fields of a call, as far as they were read.

    Attributes:
        given: The fields.
        close: The mark that ends the call, if it was there.
        cut_off: The text ended inside a field.
        torn: A field has no certain end.
    """

    given: list[Field] = field(default_factory=list)
    close: Found | None = None
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
        tags = {f"{noise}<{name}>": name for name in known or () for noise in ("", NOISE)}
        ends = [(f"</{tag}>", Kind.CLOSE)] if tag else []
        self._own = table([*((mark, Kind.FIELD_TAG) for mark in tags), *ends], tags)

    def read(self) -> Pull[Fields]:
        """Read to the mark behind the last field, and take it; or to where it is missing."""
        found = self._found
        while not (found.cut_off or found.torn):
            space = yield from self._source.collect(SPACE)
            mark = yield from self._marks.read({*_FOLLOWS, Kind.FIELD_END}, self._own)
            if mark is None:
                found.torn = yield from self._source.more()
                break
            if mark.kinds & {Kind.KEY, Kind.FIELD_TAG}:
                yield from self._field(mark)
            elif mark.kinds & {Kind.CLOSE, Kind.HALF}:
                found.close = mark
                break
            elif Kind.CUT in mark.kinds:
                found.cut_off = True
            elif Kind.FIELD_END not in mark.kinds:  # of a field that had two ends
                self._source.back(space + mark.raw)
                break
        return found

    def _field(self, mark: Found) -> Pull[None]:
        end = f"</{mark.name}>" if Kind.FIELD_TAG in mark.kinds else ""
        space = yield from self._source.collect(SPACE)
        value = yield from self._marks.read({Kind.VALUE})
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
            self._found.given.append(Field(mark.name, text, mark.is_text))

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
            elif Kind.FIELD_END in mark.kinds:
                if (yield from self._ends_here(text, mark)):
                    return self._whole(text)
            elif Kind.KEY in mark.kinds and self._begins_next(text, mark):
                self._source.back(mark.raw)
                if text.end is None:
                    text.end, text.unclosed = len(text.parts), True
                return self._settled(text)
            elif Kind.CLOSE not in mark.kinds:
                text.keys += Kind.KEY in mark.kinds
                text.calls += Kind.KEY not in mark.kinds
                text.add(mark.raw)
            elif (yield from self._closes(text, mark)):
                return self._settled(text)
        return None

    def _ends_here(self, text: _Text, mark: Found) -> Pull[bool]:
        """Say whether a field's end is the end of this one; if not, it belongs to the text."""
        goes_on = yield from self._goes_on()
        if goes_on and text.keys <= 0:
            return True
        if goes_on and text.end is None:
            text.end = len(text.parts)
        text.stray = text.stray or text.keys <= 0
        text.keys -= text.keys > 0
        text.add(mark.raw)
        return False

    def _closes(self, text: _Text, mark: Found) -> Pull[bool]:
        """Say whether the mark of a call's end shows that the text ended before."""
        if text.calls > 0 or text.end is not None:
            text.calls -= 1
            text.add(mark.raw)
            return text.calls < 0 and text.end is not None
        sure = yield from self._goes_on()
        text.end, text.unclosed = len(text.parts), True
        text.add(mark.raw)
        if not sure and (yield from self._goes_on({Kind.FIELD_END})):
            text.end, text.unclosed = None, False
        return sure

    def _goes_on(self, kinds: Collection[str] = _FOLLOWS) -> Pull[bool]:
        """Say whether a mark of a call follows, or the text ends."""
        space = yield from self._source.collect(SPACE)
        mark = yield from self._marks.read(kinds, self._own)
        more = yield from self._source.more()
        self._source.back(space + (mark.raw if mark else ""))
        return mark is not None or not more

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
        ends = table((noise + end, Kind.TAG_END) for noise in ("", NOISE))
        parts: list[str] = []
        while (yield from self._source.more()):
            yield from self._source.run(NO_MARK, parts.append)
            mark = yield from self._marks.read({Kind.TAG_END}, ends)
            if mark is None and (yield from self._source.more()):
                parts.append(self._source.take())
            elif mark is not None and (yield from self._goes_on()):
                return "".join(parts)
            parts.append(mark.raw if mark else "")
        self._found.cut_off = True
        return None


_FIELD_ENDS: Final = ("</parameter", "</param", "</argvalue", "<|close|>argument", "<|toolarg:end")
