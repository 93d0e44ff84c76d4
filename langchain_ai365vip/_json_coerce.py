"""Brings a value to its schema's types where only one reading is possible."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_ai365vip._json_check import Checker
from langchain_ai365vip._json_schema import (
    TYPES,
    Schema,
    has_type,
    item_schema,
    list_in,
    names_in,
    options_in,
    property_schemas,
    same,
    types_of,
)

_INTEGER = re.compile(r"[+-]?\d{1,4000}(?:\.0+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,400}(?:\.\d{1,400})?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_WORDS: Mapping[str, Any] = {"true": True, "false": False}
_NOTHING = frozenset({"null", "none"})


def coerce(value: Any, schema: Any) -> Any:
    """Bring a value to the schema's types where only one reading is possible.

    Language models write `"3"` for 3, `"true"` for true, one item for a list of one,
    a JSON text for an object, and null for "not given". A valid value comes back equal.

    Args:
        value: JSON data. It is not changed.
        schema: A JSON schema.

    Returns:
        The coerced value; it may still be invalid, see `schema_errors`. A value that is
        nested too deeply to be looked at comes back as it is.
    """
    try:
        return Coercer(Checker(schema)).read(value, schema)
    except RecursionError:
        return value


class Coercer:
    """A reader of one document's values; what was read once is remembered.

    Args:
        checker: Knows the schema's document, and what is valid.
    """

    def __init__(self, checker: Checker) -> None:
        self.checker = checker
        # By the identity of value and schema, which the entry keeps alive.
        self._read: dict[tuple[int, int], tuple[Any, Any, Any]] = {}

    def read(self, value: Any, schema: Any) -> Any:
        """Bring a value to a schema's types; see `coerce`."""
        key = (id(value), id(schema))
        if key not in self._read:
            self._read[key] = (value, schema, value)  # while a schema leads back to itself
            self._read[key] = (value, schema, self._reading(value, schema))
        return self._read[key][2]

    def _reading(self, value: Any, schema: Any) -> Any:
        schema = self.checker.resolve(schema)
        if not isinstance(schema, Mapping):
            return value
        types = types_of(schema)
        if types and not any(has_type(value, name) for name in types):
            value = _retype(value, types)
        value = _nearest_option(value, schema)
        for part in list_in(schema, "allOf"):
            value = self.read(value, part)
        for key in ("anyOf", "oneOf"):
            if parts := list_in(schema, key):
                value = self._choice(value, parts)
        if isinstance(value, dict):
            return self._object(value, schema)
        if isinstance(value, list):
            return [self.read(item, item_schema(schema, i)) for i, item in enumerate(value)]
        if "integer" in types and "number" not in types and isinstance(value, float):
            return int(value) if value.is_integer() else value
        return value

    def _object(self, value: dict[str, Any], schema: Schema) -> dict[str, Any]:
        needed = names_in(schema, "required")
        result = {}
        for name, item in value.items():
            parts = list(property_schemas(name, schema)) or [
                schema.get("additionalProperties", True)
            ]
            for part in parts:
                item = self.read(item, part)
            # null for "not given", where null is no value of the field
            given = item is not None or all(self.checker.is_valid(None, part) for part in parts)
            if given or name in needed:
                result[name] = item
        return result

    def _choice(self, value: Any, parts: Sequence[Any]) -> Any:
        """Take the reading that some branch accepts, if there is just one; else the value."""
        if any(self.checker.is_valid(value, part) for part in parts):
            return value
        readings: list[Any] = []
        for part in parts:
            reading = self.read(value, part)
            known = any(same(reading, other) for other in readings)
            if not known and self.checker.is_valid(reading, part):
                readings.append(reading)
        return readings[0] if len(readings) == 1 else value


def _retype(value: Any, types: Sequence[str]) -> Any:
    """Return the value as one of the types, when exactly one of them gives a reading."""
    readings = [reading for name in types for reading in _readings(value, name)]
    if readings and all(same(reading, readings[0]) for reading in readings):
        return readings[0]
    if not readings and "array" in types and value is not None:
        return [value]
    return value


def _readings(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, str):
        yield from _text_readings(value.strip(), name)
    elif name == "string" and isinstance(value, bool | int | float | dict):
        # Not a list: one text of several, or their JSON? That is for the model to say.
        yield json.dumps(value, ensure_ascii=False)


def _text_readings(text: str, name: str) -> Iterator[Any]:
    if name == "integer" and _INTEGER.fullmatch(text):
        yield int(text.partition(".")[0])
    elif name == "number" and _NUMBER.fullmatch(text):
        number = int(text) if _INTEGER.fullmatch(text) and "." not in text else float(text)
        if isinstance(number, int) or math.isfinite(number):
            yield number
    elif name == "boolean" and text.lower() in _WORDS:
        yield _WORDS[text.lower()]
    elif name == "null" and text.lower() in _NOTHING:
        yield None
    elif name in ("array", "object") and text[:1] in ("[", "{"):
        try:
            parsed = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return
        if TYPES[name](parsed):
            yield parsed


def _nearest_option(value: Any, schema: Schema) -> Any:
    """Find an enum member written in another case, or its number as text."""
    options = options_in(schema)
    if not options or any(same(value, option) for option in options):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    plain = str(value).strip().casefold()
    fits = [option for option in options if str(option).casefold() == plain]
    return fits[0] if len(fits) == 1 else value
