"""Brings text to a schema's types, where its meaning is clear: `"3"` for an integer is 3."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from langchain_ai365vip._parsing.schemas import (
    Judge,
    Schema,
    escape,
    is_readable,
    list_in,
    lookup,
    map_in,
)

_INTEGER = re.compile(r"[+-]?\d{1,4000}(?:\.0+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,400}(?:\.\d{1,400})?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_KINDS: Mapping[str, type] = {
    "null": type(None),
    "boolean": bool,
    "integer": int,
    "number": float,
    "array": list,
    "object": dict,
    "string": str,
}
_WORDS: Mapping[str, Any] = {"true": True, "false": False}
_NOTHING = frozenset({"null", "none"})


def coerce(value: Any, schema: Any) -> Any:
    """Bring the texts in a value to the schema's types, where their meaning is clear.

    Language models write `"3"` for 3 (and 3 for `"3"`), `"true"` for true, `"null"` for null, a
    JSON text for a list or an object, and null for a field that they do not give. A text that
    is allowed stays a text, and one text is never made a list of one.

    Args:
        value: JSON data. It is not changed.
        schema: A JSON schema. `$ref`, `$defs`, `allOf`, `anyOf` and `oneOf` are followed.

    Returns:
        The coerced value, equal to the given one if that was valid; it may still be invalid,
        see `schema_errors`. What is nested too deeply to be judged comes back as it is.
    """
    try:
        return _Reader(schema).read(value, "#") if is_readable(value) else value
    except RecursionError:
        return value


def coerce_fields(texts: Mapping[str, str], schema: Any) -> dict[str, Any]:
    """Read the arguments of a call that stand as text between tags.

    Where there is only text, JSON's null, lists and objects are what they say for each field
    that may be that, even if it may be a string, too. All else is as in `coerce`.

    Args:
        texts: The text of each argument, by name.
        schema: The JSON schema of the arguments.

    Returns:
        The arguments; they may still be invalid, see `schema_errors`.
    """
    reader = _Reader(schema)
    given = {name: reader.written(name, text) for name, text in texts.items()}
    result: dict[str, Any] = reader.read(given, "#")
    return result


def _is_null(text: str) -> bool:
    return text.strip().lower() in _NOTHING


class _Reader:
    """Reads the values of one schema; what was read once is remembered.

    Args:
        schema: The whole JSON schema. Its parts are known by their pointers.
    """

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._fits = Judge(schema).fits
        # By the identity of the value, which the entry keeps alive.
        self._done: dict[tuple[int, str], tuple[Any, Any]] = {}

    def written(self, name: str, text: str) -> Any:
        """Return the null, list or object that a field's text is, where the field may be that."""
        readings = [None] if _is_null(text) else _json_readings(text.strip(), object)
        return next((value for value in readings if self._may_be(value, name, "#")), text)

    def _may_be(self, value: Any, name: str, pointer: str) -> bool:
        schema, places = lookup(pointer, self._schema), list(self._places(name, pointer))
        if not places and isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
            ref = unquote(schema["$ref"])
            return ref != pointer and self._may_be(value, name, ref)
        return bool(places) and all(self._fits(value, place) for place in places)

    def read(self, value: Any, pointer: str) -> Any:
        """Bring a value to the types of a part of the schema."""
        key = (id(value), pointer)
        if key not in self._done:
            self._done[key] = (value, value)  # while the schema leads back to itself
            self._done[key] = (value, self._reading(value, pointer))
        return self._done[key][1]

    def _reading(self, value: Any, pointer: str) -> Any:
        schema = lookup(pointer, self._schema)
        if not isinstance(schema, Mapping):
            return value
        if isinstance(schema.get("$ref"), str):
            value = self.read(value, unquote(schema["$ref"]))
        for place in _branches(schema, pointer, "allOf"):
            value = self.read(value, place)
        for key in ("anyOf", "oneOf"):
            value = self._choice(value, _branches(schema, pointer, key))
        if isinstance(value, str | int) and not self._fits(value, pointer):
            value = _typed(value, _types(schema))
        if isinstance(value, dict):
            return self._object(value, list_in(schema, "required"), pointer)
        if isinstance(value, list):
            first = len(list_in(schema, "prefixItems"))
            return [self._item(item, i, first, pointer) for i, item in enumerate(value)]
        return value

    def _choice(self, value: Any, places: Sequence[str]) -> Any:
        """Take the reading that some branch accepts, if there is just one; else the value."""
        if any(self._fits(value, place) for place in places):
            return value
        readings: list[Any] = []
        for place in places:
            reading = self.read(value, place)
            if reading not in readings and self._fits(reading, place):
                readings.append(reading)
        return readings[0] if len(readings) == 1 else value

    def _object(
        self, value: dict[str, Any], required: Sequence[Any], pointer: str
    ) -> dict[str, Any]:
        result = {}
        for name, item in value.items():
            places = list(self._places(name, pointer))
            for place in places:
                item = self.read(item, place)
            # null for "not given", where null is no value of the field
            allowed = item is not None or all(self._fits(None, place) for place in places)
            if allowed or name in required:
                result[name] = item
        return result

    def _places(self, name: str, pointer: str) -> Iterator[str]:
        schema = lookup(pointer, self._schema)
        if not isinstance(schema, Mapping):
            return
        patterns = [
            f"{pointer}/patternProperties/{escape(pattern)}"
            for pattern in map_in(schema, "patternProperties")
            if Judge({"pattern": pattern}).fits(name)
        ]
        yield from patterns
        if name in map_in(schema, "properties"):
            yield f"{pointer}/properties/{escape(name)}"
        elif not patterns and "additionalProperties" in schema:
            yield f"{pointer}/additionalProperties"

    def _item(self, item: Any, index: int, first: int, pointer: str) -> Any:
        place = f"{pointer}/prefixItems/{index}" if index < first else f"{pointer}/items"
        return self.read(item, place)


def _branches(schema: Schema, pointer: str, key: str) -> list[str]:
    return [f"{pointer}/{key}/{index}" for index in range(len(list_in(schema, key)))]


def _types(schema: Schema) -> Sequence[str]:
    """Return the types that a schema names, or else those of its options."""
    declared = schema.get("type")
    if declared is not None:
        return [declared] if isinstance(declared, str) else list_in(schema, "type")
    options = list_in(schema, "enum") or ([schema["const"]] if "const" in schema else [])
    return [name for name, kind in _KINDS.items() if any(type(o) is kind for o in options)]


def _typed(value: str | int, types: Sequence[str]) -> Any:
    """Return the text as one of the types, when there is exactly one reading."""
    if not isinstance(value, str):
        is_digits = "string" in types and not isinstance(value, bool)
        return str(value) if is_digits else value
    readings: list[Any] = []
    for name in types:
        readings += [
            reading for reading in _readings(value.strip(), name) if reading not in readings
        ]
    return readings[0] if len(readings) == 1 else value


def _readings(text: str, name: str) -> Iterator[Any]:
    if name == "integer" and _INTEGER.fullmatch(text):
        yield int(text.partition(".")[0])
    elif name == "number" and _NUMBER.fullmatch(text):
        number = int(text) if _INTEGER.fullmatch(text) and "." not in text else float(text)
        if isinstance(number, int) or math.isfinite(number):
            yield number
    elif name == "boolean" and text.lower() in _WORDS:
        yield _WORDS[text.lower()]
    elif name == "null" and _is_null(text):
        yield None
    elif name in ("array", "object"):
        yield from _json_readings(text, _KINDS[name])


def _json_readings(text: str, kind: type) -> Iterator[Any]:
    if text[:1] not in ("[", "{"):
        return
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return
    if isinstance(value, kind) and is_readable(value):
        yield value
