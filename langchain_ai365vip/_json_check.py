"""JSON schema as far as tools and structured output need it: what is wrong with a value.

A compact reader of the validation keywords of draft 2020-12 (and of `definitions`,
which older drafts use), so that the core install needs no `jsonschema`. What is not
known is not checked, as the standard asks: `format`, `$dynamicRef`, references
to other documents, patterns that Python's `re` does not accept, and patterns where looking
could take long (`_patterns`).

Each part of a value is checked once against each part of the schema: unions in unions cost no
more than their size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain, islice
from typing import Any

from langchain_ai365vip._json_schema import (
    Schema,
    has_type,
    is_number,
    item_schema,
    list_in,
    map_in,
    names_in,
    options_in,
    property_schemas,
    resolve,
    same,
    types_of,
)
from langchain_ai365vip._patterns import matches

_SHOWN = 80
_LISTED = 20


def schema_errors(value: Any, schema: Any, *, limit: int = 5) -> list[str]:
    """Say what is wrong with a value, in words that a language model can act on.

    Args:
        value: JSON data (as `json.loads` gives it).
        schema: A JSON schema; `True` and `False` are schemas too.
        limit: The most errors to report.

    Returns:
        One sentence per fault, each with the path to it; empty when the value is valid.
    """
    return list(islice(Checker(schema).errors(value, schema, ""), limit))


class Checker:
    """Checks of values against one schema document; what was decided once is remembered.

    Args:
        root: The document, in which references are looked up.

    Attributes:
        steps: How many pairs of a value and a schema were looked at, for tests.
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        # By the identity of value and schema, which the entry keeps alive.
        self._valid: dict[tuple[int, int], tuple[Any, Any, bool]] = {}
        self._resolved: dict[int, tuple[Any, Any]] = {}
        self.steps = 0

    def resolve(self, schema: Any) -> Any:
        """Follow references; the same schema each time, for the same one."""
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            return schema
        if id(schema) not in self._resolved:
            self._resolved[id(schema)] = (schema, resolve(schema, self._root))
        return self._resolved[id(schema)][1]

    def is_valid(self, value: Any, schema: Any) -> bool:
        """Say whether a value fits a schema of the document."""
        key = (id(value), id(schema))
        if key not in self._valid:
            self._valid[key] = (value, schema, True)  # where a schema leads back to itself
            valid = next(self._errors(value, schema, None), None) is None
            self._valid[key] = (value, schema, valid)
        return self._valid[key][2]

    def errors(self, value: Any, schema: Any, path: str | None) -> Iterator[str]:
        """Say what is wrong with a value.

        Args:
            value: JSON data.
            schema: A schema of the document.
            path: Where in the whole the value stands; None where nobody reads the words.
        """
        if not self.is_valid(value, schema):
            yield from ("",) if path is None else self._errors(value, schema, path)

    def _errors(self, value: Any, schema: Any, path: str | None) -> Iterator[str]:
        self.steps += 1
        schema = self.resolve(schema)
        if schema is False:
            yield _says(path, "nothing is allowed here")
        if not isinstance(schema, Mapping):
            return
        types = types_of(schema)
        if types and not any(has_type(value, name) for name in types):
            wanted = " or ".join(map(str, types))
            yield _says(path, f"{_show(value)} is not of type {wanted}")
            return
        yield from _value_errors(value, schema, path)
        if isinstance(value, dict):
            yield from self._object_errors(value, schema, path)
        elif isinstance(value, list):
            yield from self._array_errors(value, schema, path)
        elif isinstance(value, str):
            yield from _string_errors(value, schema, path)
        elif is_number(value):
            yield from _number_errors(value, schema, path)
        yield from self._combination_errors(value, schema, path)

    def _object_errors(
        self, value: dict[str, Any], schema: Schema, path: str | None
    ) -> Iterator[str]:
        for name in names_in(schema, "required"):
            if name not in value:
                yield _says(_key(path, name), "is required and missing")
        dependent = map_in(schema, "dependentRequired")
        for name in dependent.keys() & value.keys():
            for needed in names_in(dependent, name):
                if needed not in value:
                    yield _says(_key(path, needed), f"is required together with {name}")
        for name, part in map_in(schema, "dependentSchemas").items():
            if name in value:
                yield from self.errors(value, part, path)
        yield from _size_errors(len(value), schema, path, "Properties")
        for name, item in value.items():
            yield from self._property_errors(name, item, schema, _key(path, name))

    def _property_errors(
        self, name: str, item: Any, schema: Schema, path: str | None
    ) -> Iterator[str]:
        if "propertyNames" in schema and not self.is_valid(name, schema["propertyNames"]):
            yield _says(path, "is not an allowed name")
        parts = list(property_schemas(name, schema))
        for part in parts:
            yield from self.errors(item, part, path)
        extra = schema.get("additionalProperties", True)
        if not parts and extra is False:
            known = _listed(list(map_in(schema, "properties")), str) or "none"
            yield _says(path, f"is not a known field (known: {known})")
        elif not parts:
            yield from self.errors(item, extra, path)

    def _array_errors(self, value: list[Any], schema: Schema, path: str | None) -> Iterator[str]:
        yield from _size_errors(len(value), schema, path, "Items")
        for index, item in enumerate(value):
            place = None if path is None else f"{path}[{index}]"
            yield from self.errors(item, item_schema(schema, index), place)
        if schema.get("uniqueItems") and len(set(map(_hashable, value))) < len(value):
            yield _says(path, "the items are not all different")
        if "contains" in schema:
            found = sum(self.is_valid(item, schema["contains"]) for item in value)
            if found < _limit(schema, "minContains", 1):
                yield _says(path, "does not contain a required item")
            if found > _limit(schema, "maxContains", math.inf):
                yield _says(path, "contains an item too often")

    def _combination_errors(self, value: Any, schema: Schema, path: str | None) -> Iterator[str]:
        for part in list_in(schema, "allOf"):
            yield from self.errors(value, part, path)
        if parts := list_in(schema, "anyOf"):
            yield from self._any_errors(value, parts, path)
        if parts := list_in(schema, "oneOf"):
            fits = sum(self.is_valid(value, part) for part in parts)
            if fits == 0:
                yield from self._any_errors(value, parts, path)
            elif fits > 1:
                yield _says(path, f"{_show(value)} fits {fits} forms, exactly one is needed")
        if "not" in schema and self.is_valid(value, schema["not"]):
            yield _says(path, f"{_show(value)} is not allowed")
        if "if" in schema:
            branch = "then" if self.is_valid(value, schema["if"]) else "else"
            yield from self.errors(value, schema.get(branch, True), path)

    def _any_errors(self, value: Any, parts: Sequence[Any], path: str | None) -> Iterator[str]:
        """Yield the errors of the nearest branch, so that the model is told what to mend."""
        if any(self.is_valid(value, part) for part in parts):
            return
        near = [part for part in parts if self._fits_type(value, part)]
        if near and path is not None:
            yield from self._option_errors(value, near, path) or self.errors(
                value, min(near, key=lambda p: self._distance(value, p)), path
            )
        else:
            yield _says(path, f"{_show(value)} fits none of the allowed forms")

    def _option_errors(self, value: Any, parts: Sequence[Any], path: str) -> list[str]:
        """Name all options where each branch is some: the first alone is hardly what is meant."""
        options = [options_in(self.resolve(part)) for part in parts if self._tells(part)]
        whole = {"enum": list(chain(*options))} if len(options) == len(parts) > 1 else {}
        return list(_value_errors(value, whole, path))

    def _fits_type(self, value: Any, schema: Any) -> bool:
        schema = self.resolve(schema)
        types = types_of(schema) if isinstance(schema, Mapping) else ()
        return any(has_type(value, name) for name in types)

    def _distance(self, value: Any, schema: Any) -> tuple[int, int]:
        """Measure how far a value is from a branch: by fields that tell branches apart, by all."""
        schema = self.resolve(schema)
        if not isinstance(value, dict):
            return (0, 0)
        known = map_in(schema, "properties")
        wrong = [n for n in known if n in value and not self.is_valid(value[n], known[n])]
        telling = [name for name in wrong if self._tells(known[name])]
        missing = [name for name in names_in(schema, "required") if name not in value]
        extra = [name for name in value if name not in known]
        return len(telling), len(wrong) + len(missing) + len(extra)

    def _tells(self, schema: Any) -> bool:
        schema = self.resolve(schema)
        return isinstance(schema, Mapping) and bool(schema.keys() & {"const", "enum"})


def _key(path: str | None, name: str) -> str | None:
    return f"{path}.{name}" if path else None if path is None else name


def _says(path: str | None, text: str) -> str:
    return f"{path or 'the value'}: {text}"


def _show(value: Any) -> str:
    """Return the beginning of a value, of which no more is written than is shown."""
    if isinstance(value, str):
        value = value[: _SHOWN + 1]
    text = ""
    for part in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value):
        text += part[: _SHOWN + 1]
        if len(text) > _SHOWN:
            return text[: _SHOWN - 3] + "..."
    return text


def _listed(values: Sequence[Any], show: Callable[[Any], str] = _show) -> str:
    more = len(values) - _LISTED
    return ", ".join(map(show, values[:_LISTED])) + (f" and {more:,} more" if more > 0 else "")


def _hashable(value: Any) -> Any:
    """Return what is equal where two values are the same in JSON, as `same` has it."""
    if isinstance(value, list):
        return (list, *map(_hashable, value))
    if isinstance(value, dict):
        return (dict, frozenset((key, _hashable(item)) for key, item in value.items()))
    return (bool, value) if isinstance(value, bool) else value


def _limit(schema: Schema, key: str, default: float) -> float:
    value = schema.get(key)
    return value if is_number(value) else default  # type: ignore[return-value]  # a number


def _value_errors(value: Any, schema: Schema, path: str | None) -> Iterator[str]:
    if "const" in schema and not same(value, schema["const"]):
        yield _says(path, f"{_show(value)} is not {_show(schema['const'])}")
    options = list_in(schema, "enum")
    if options and not any(same(value, option) for option in options):
        yield _says(path, f"{_show(value)} is not one of {_listed(options)}")


def _size_errors(size: int, schema: Schema, path: str | None, what: str) -> Iterator[str]:
    least, most = _limit(schema, f"min{what}", 0), _limit(schema, f"max{what}", math.inf)
    if size < least:
        yield _says(path, f"has {size} {what.lower()}, at least {least} are needed")
    if size > most:
        yield _says(path, f"has {size} {what.lower()}, at most {most} are allowed")


def _string_errors(value: str, schema: Schema, path: str | None) -> Iterator[str]:
    if len(value) < _limit(schema, "minLength", 0):
        yield _says(path, f"is shorter than {schema['minLength']} characters")
    if len(value) > _limit(schema, "maxLength", math.inf):
        yield _says(path, f"is longer than {schema['maxLength']} characters")
    if isinstance(schema.get("pattern"), str) and not matches(schema["pattern"], value):
        yield _says(path, f"{_show(value)} does not match {schema['pattern']}")


def _number_errors(value: float, schema: Schema, path: str | None) -> Iterator[str]:
    shown = _show(value)
    if value < _limit(schema, "minimum", -math.inf):
        yield _says(path, f"{shown} is less than {schema['minimum']}")
    if value > _limit(schema, "maximum", math.inf):
        yield _says(path, f"{shown} is more than {schema['maximum']}")
    if value <= _limit(schema, "exclusiveMinimum", -math.inf):
        yield _says(path, f"{shown} is not more than {schema['exclusiveMinimum']}")
    if value >= _limit(schema, "exclusiveMaximum", math.inf):
        yield _says(path, f"{shown} is not less than {schema['exclusiveMaximum']}")
    step = _limit(schema, "multipleOf", 0)
    if step > 0 and _exactly(value) % _exactly(step):
        yield _says(path, f"{shown} is not a multiple of {step}")


def _exactly(number: float) -> Fraction:
    """Return the number as it is written: 0.3 is three times 0.1, whatever its bits."""
    return Fraction(number if isinstance(number, int) else repr(number))
