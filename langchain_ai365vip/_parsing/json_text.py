"""Reads one JSON text as language models write it: exact where it can, repaired where not."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import json_repair

REPAIR_LIMIT = 100_000
"""The longest text, in characters, that is repaired.

Repairing takes about 2 microseconds per character in pure Python, on the event loop: 0.2
seconds at this size. Correct JSON has no limit, it is read at the speed of C.
"""


class Json(NamedTuple):
    """A JSON value, and whether its text had to be repaired: then some of it is a guess."""

    value: Any
    repaired: bool


def read_json(text: str, escaped: str = "") -> Json:
    """Read a JSON text; raw line breaks in strings are accepted.

    langchain-core's `parse_partial_json` is not among the steps: it tries again
    after each character it drops, which takes minutes for a megabyte with a fault in it, and
    a text that was cut off is not completed by guess.

    Args:
        text: The JSON text, white space around it allowed.
        escaped: The same with what seem to be unescaped quotation marks escaped, if any.

    Raises:
        ValueError: The text is not JSON and could not be repaired without losing some of
            it; says why.
    """
    try:
        return Json(json.loads(text, strict=False), repaired=False)
    except RecursionError:
        raise ValueError("The JSON is nested too deeply to be read.") from None
    except ValueError as error:
        fault = error
    try:
        return Json(json.loads(escaped, strict=False), repaired=True)
    except (ValueError, RecursionError):
        return Json(_repair(text, fault), repaired=True)


def is_json(text: str) -> bool:
    """Say whether a text can be read as it is."""
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _repair(text: str, fault: ValueError) -> Any:
    if len(text) > REPAIR_LIMIT:
        raise ValueError(
            f"The JSON is broken ({fault}) and, with {len(text)} characters, too long to be "
            f"repaired (the limit is {REPAIR_LIMIT})."
        ) from None
    try:
        value = json_repair.loads(text, skip_json_loads=True)
        # It drops what it cannot place, and takes brackets into a text whose end it misses.
        kept = isinstance(value, dict | list) and shows(text, value)
    except Exception as error:  # a heuristic library on arbitrary text: any failure is "no"
        raise ValueError(f"The JSON is broken: {fault} ({error})") from None
    if not kept:
        raise ValueError(f"The JSON is broken: {fault}")
    return value


# --- whether a broken text shows the value that a repair made of it ---------------------------
#
# A repair is a guess. It is believed only where the text, read from its start to its end, shows
# each key, word and number of the value in order, each whole and between marks of its own,
# and nothing else but punctuation. `{"a": "x" + "y"}` shows no text `x" + "y`, and
# `{'a': 'L'Aquila'}` no text `L'Aquila'}`.

_GAP = re.compile(r"[\s,;:{}\[\]]*")
_REST = re.compile(r"[\s,;:{}\[\]()`]*\Z")
_EMPTY = {
    "{": re.compile(r"([\s,;:{}\[\]]*?)\{[\s,]*(?:\}|\Z)"),
    "[": re.compile(r"([\s,;:{}\[\]]*?)\[[\s,]*(?:\]|\Z)"),
}
_SEPARATOR = re.compile(r"[\s,;{}\[\]]")
_BREAK = re.compile(r"[\s,:;}\]]|\Z")
_CLOSERS = re.compile(r"[\s}\]]*\Z")
_STRUCTURE = re.compile(r"""["'{}\[\]]""")
_PLAIN = re.compile(r"""[^\\"']*""")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", **{c: c for c in "\"'\\/"}}
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_SURROGATES = range(0xD800, 0xE000)
_UNICODE = re.compile(r"\\u([0-9a-fA-F]{4})")
_BARE_KEY = re.compile(r"""[^\s"'`{}\[\],;:]+""")
_BARE_TEXT = re.compile(r"""(?:[^"'`{}\[\],;:\n]|:(?!\s))+""")
_NO_TEXT = frozenset({"undefined", "nan", "nil"})
_SCALAR = re.compile(r"""[^\s"'{}\[\],:;]+""")
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WORDS = {"null": None, "none": None, "true": True, "false": False}

_KEY, _FIELD, _ITEM = "a key", "a value of an object", "an item of a list"
# How JSON goes on behind each. A quotation mark before it may end a string: where a repair
# took it for a part of one, nobody knows who is right.
_END = r"[}\]][}\]\s]*(?:,|\Z)"
_GOES_ON = {
    _KEY: re.compile(r"\s*:"),
    _FIELD: re.compile(rf"""\s*(?:,\s*(?:"[^"\\]*"|'[^'\\]*'|\w+)\s*:|{_END})"""),
    _ITEM: re.compile(rf"""\s*(?:,\s*(?:["'{{\[\d-]|[tfnTFN]\w{{3,4}}\b)|{_END})"""),
}
_OPERATORS = re.compile(r"[\s+.,;:&|%*/~=<>-]*")


def shows(text: str, value: Any) -> bool:
    """Say whether a text shows a value, in time linear in its length.

    False also where one cannot tell. The text is JSON, broken or not.
    """
    shown = _Shown(text)
    return all(map(shown.has, _tokens(value, _ITEM))) and shown.is_at_end()


def joins_strings(segments: Sequence[str]) -> bool:
    """Say whether a string with quotation marks in it looks like several strings.

    The segments stand between the marks, such as `a`, ` + ` and `b`.
    """
    return any(_OPERATORS.fullmatch(segment) for segment in segments[1::2])


class _Token(NamedTuple):
    """A key, a word, a number, or a bracket that nothing stands in."""

    value: Any
    place: str
    is_empty: bool = False


def _tokens(value: Any, place: str) -> Iterator[_Token]:
    if isinstance(value, dict | list) and not value:
        yield _Token("{" if isinstance(value, dict) else "[", place, is_empty=True)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield _Token(key, _KEY)
            yield from _tokens(item, _FIELD)
    elif isinstance(value, list):
        for item in value:
            yield from _tokens(item, _ITEM)
    else:
        yield _Token(value, place)


class _Shown:
    """The text, and how far what it should show was found in it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pos = 0
        self._after_key = False

    def is_at_end(self) -> bool:
        return _REST.match(self._text, self._pos) is not None

    def has(self, token: _Token) -> bool:
        """Go on behind the next token, if that is what comes next."""
        pattern = _EMPTY[token.value] if token.is_empty else _GAP
        found = pattern.match(self._text, self._pos)
        if found is None or not self._separates(found[1] if token.is_empty else found[0]):
            return False
        self._pos = found.end()
        self._after_key = token.place == _KEY
        return token.is_empty or self._shows(token)

    def _separates(self, gap: str) -> bool:
        """Say whether a gap separates: a colon does so between key and value, nowhere else."""
        if self._after_key or ":" in gap:
            return self._after_key and gap.count(":") == 1
        return self._pos == 0 or _SEPARATOR.search(gap) is not None

    def _shows(self, token: _Token) -> bool:
        if not isinstance(token.value, str):
            return self._take(_SCALAR, lambda run: _is_scalar(run, token.value))
        if self._text[self._pos : self._pos + 1] in ('"', "'"):
            return self._has_string(token.value, token.place)
        bare = _BARE_KEY if token.place == _KEY else _BARE_TEXT
        return token.value.lower() not in _NO_TEXT and self._take(
            bare, lambda run: run.rstrip() == token.value
        )

    def _take(self, pattern: re.Pattern[str], fits: Callable[[str], bool]) -> bool:
        found = pattern.match(self._text, self._pos)
        if found is None or not fits(found[0]):
            return False
        self._pos = found.end()
        return self._text[self._pos - 1].isspace() or self._is_at_break()

    def _is_at_break(self) -> bool:
        return _BREAK.match(self._text, self._pos) is not None

    def _has_string(self, value: str, place: str) -> bool:
        start, quote = self._pos + 1, self._text[self._pos]
        inner = self._inner_quotes(value, start, quote)
        if inner is None or _mixes_escapes(self._text[start : self._pos]):
            return False
        if self._text[self._pos : self._pos + 1] != quote:
            # Its end is missing: only where the whole text ends, so that no key is lost.
            run = self._text[start : self._pos]
            return not _STRUCTURE.search(run) and bool(_CLOSERS.match(self._text, self._pos))
        bounds = [start - 1, *inner, self._pos]
        self._pos += 1
        segments = [self._text[a + 1 : b] for a, b in itertools.pairwise(bounds)]
        ends_early = any(_GOES_ON[place].match(self._text, mark + 1) for mark in inner)
        return self._is_at_break() and not ends_early and not joins_strings(segments)

    def _inner_quotes(self, value: str, pos: int, quote: str) -> list[int] | None:
        """Go to the end of a string's text; return the places of its own quotation marks."""
        text, done, inner = self._text, 0, []
        while done < len(value):
            run = _PLAIN.match(text, pos)
            length = min(run.end() - pos, len(value) - done) if run is not None else 0
            took, gave = (length, length) if length else self._character(pos, value[done])
            if not took or (length and value[done : done + length] != text[pos : pos + length]):
                return None
            if not length and took == 1 and text[pos] == quote:
                inner.append(pos)
            pos, done = pos + took, done + gave
        self._pos = pos
        return inner

    def _character(self, pos: int, wanted: str) -> tuple[int, int]:
        """Return how much of the text, and of the value, is one escape or quotation mark."""
        text = self._text
        found = _UNICODE.match(text, pos)
        if found is not None:
            code = int(found[1], 16)
            return (6, 1) if wanted == chr(code) and code not in _SURROGATES else (0, 0)
        if text[pos : pos + 1] != "\\":
            return (1, 1) if text[pos : pos + 1] == wanted else (0, 0)
        meant = _ESCAPED.get(text[pos + 1 : pos + 2])
        if meant is None:  # as in a path or a pattern: `\d`
            return (1, 1) if wanted == "\\" else (0, 0)
        return (2, 1) if wanted == meant else (0, 0)


def _mixes_escapes(run: str) -> bool:
    r"""Say whether escapes are in doubt: in `C:\Users\new`, `\U` is none, nor need `\n` be."""
    found = {escape[1] for escape in _ESCAPE.findall(run)}
    return bool(found & set("bfnrt")) and not found <= {*_ESCAPED, "u"}


def _is_scalar(run: str, value: Any) -> bool:
    if run.lower() in _WORDS:
        return _WORDS[run.lower()] is value
    if isinstance(value, bool) or value is None or not _NUMBER.fullmatch(run):
        return False
    return bool(float(run) == value if isinstance(value, float) else run.lstrip("+") == str(value))
