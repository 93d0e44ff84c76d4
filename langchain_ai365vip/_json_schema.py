"""JSON schema as far as tools and structured output need it: check a value, coerce a value.

A compact reader of the validation keywords of draft 2020-12 (and of `definitions`,
which older drafts use). Schemas that come from pydantic, TypedDict, functions and by hand
need no more, and the core install stays without a `jsonschema` dependency. What is not
known is not checked, as the standard asks: `format`, `$dynamicRef`, references
to other documents, patterns that Python's `re` does not accept.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Schema = Mapping[str, Any]

_INTEGER = re.compile(r"[+-]?\d{1,4000}(?:\.0+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,400}(?:\.\d{1,400})?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_WORDS: Mapping[str, Any] = {"true": True, "false": False}
_NOTHING = frozenset({"null", "none"})


class _Place(NamedTuple):
    """Where a check stands: the schema document and the path to the value."""

    root: Any
    path: str

    def key(self, name: str) -> _Place:
        return _Place(self.root, f"{self.path}.{name}" if self.path else name)

    def item(self, index: int) -> _Place:
        return _Place(self.root, f"{self.path}[{index}]")

    def says(self, text: str) -> str:
        return f"{self.path or 'the value'}: {text}"


def schema_errors(value: Any, schema: Any, *, limit: int = 5) -> list[str]:
    """Says what is wrong with a value, in words that a language model can act on.

    Args:
        value: JSON data (as `json.loads` gives it).
        schema: A JSON schema; `True` and `False` are schemas too.
        limit: The most errors to report.

    Returns:
        One sentence per fault, each with the path to it; empty when the value is valid.
    """
    errors = _errors(value, schema, _Place(schema, ""))
    return [error for error, _ in zip(errors, range(limit), strict=False)]


def coerce(value: Any, schema: Any) -> Any:
    """Brings a value to the schema's types where only one reading is possible.

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
        return _coerce(value, schema, schema)
    except RecursionError:
        return value


def resolve(schema: Any, root: Any) -> Any:
    """Follows local references (`#/$defs/Name`).

    Args:
        schema: A schema that may be a `$ref`.
        root: The document that the reference is looked up in.

    Returns:
        The schema meant, with the keywords beside the `$ref` merged over it; `True`
        (everything is valid) for a reference that leads nowhere.
    """
    seen = set()
    while isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
        pointer = schema["$ref"]
        if pointer in seen:
            return True
        seen.add(pointer)
        rest = {key: item for key, item in schema.items() if key != "$ref"}
        target = _lookup(pointer, root)
        if not rest or not isinstance(target, Mapping):
            schema = target
        elif rest.keys() & target.keys() & _APPLICATORS:
            return {**rest, "allOf": [*_list(rest, "allOf"), target]}
        else:
            schema = {**target, **rest}
    return schema


_APPLICATORS = frozenset(
    {
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "properties",
        "patternProperties",
        "additionalProperties",
        "items",
        "prefixItems",
        "contains",
        "required",
        "type",
        "enum",
        "const",
    }
)


def _lookup(pointer: str, root: Any) -> Any:
    if not pointer.startswith("#"):
        return True
    node = root
    for part in pointer[1:].strip("/").split("/") if pointer.strip("#/") else ():
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping) and name in node:
            node = node[name]
        elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        else:
            return True
    return node


def fields(schema: Any) -> Mapping[str, Any]:
    """The properties of an object's schema, by name."""
    schema = resolve(schema, schema)
    return _map(schema, "properties") if isinstance(schema, Mapping) else {}


def has_foreign_keys(value: Any, schema: Any) -> bool:
    """Says whether an object anywhere in a value has a key that its schema does not name.

    That is allowed, where the schema does not say otherwise. In a value that was repaired
    it is more likely a part of a text that was torn apart.

    Args:
        value: JSON data.
        schema: A JSON schema.
    """
    return _is_foreign(value, [schema], schema)


def _is_foreign(value: Any, schemas: Sequence[Any], root: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    parts = list(_parts(schemas, root, set()))
    if isinstance(value, list):
        return any(
            _is_foreign(item, [_item_schema(part, i) for part in parts], root)
            for i, item in enumerate(value)
        )
    known = [part for part in parts if part.keys() & {"properties", "patternProperties"}]
    more = [part.get("additionalProperties", False) for part in parts]
    closed = bool(known) and not any(extra is not False for extra in more)
    for name, item in value.items():
        named = [schema for part in known for schema in _property_schemas(name, part)]
        if (closed and not named) or _is_foreign(item, named or more, root):
            return True
    return False


def _parts(schemas: Iterable[Any], root: Any, seen: set[int]) -> Iterator[Schema]:
    """The schemas, and those that they are put together from, each once."""
    for schema in schemas:
        if id(schema) in seen:
            continue
        seen.add(id(schema))
        schema = resolve(schema, root)
        if isinstance(schema, Mapping):
            yield schema
            for key in ("allOf", "anyOf", "oneOf"):
                yield from _parts(_list(schema, key), root, seen)


def required(schema: Any) -> Sequence[str]:
    """The names of the properties that an object must have."""
    schema = resolve(schema, schema)
    return _names(schema, "required") if isinstance(schema, Mapping) else ()


# --- checking -------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _types(schema: Schema) -> Sequence[str]:
    declared = schema.get("type")
    return (declared,) if isinstance(declared, str) else _list(schema, "type")


# A keyword with a value of another form (draft 4's `exclusiveMinimum: true`, an MCP server's
# `required: null`) is treated as one that is not known: it checks nothing.


def _list(schema: Schema, key: str) -> Sequence[Any]:
    value = schema.get(key)
    return value if isinstance(value, list | tuple) else ()


def _map(schema: Schema, key: str) -> Mapping[str, Any]:
    value = schema.get(key)
    return value if isinstance(value, Mapping) else {}


def _names(schema: Schema, key: str) -> Sequence[str]:
    return [name for name in _list(schema, key) if isinstance(name, str)]


def _limit(schema: Schema, key: str, default: float) -> float:
    value = schema.get(key)
    return value if _is_number(value) else default  # type: ignore[return-value]  # a number


def _has_type(value: Any, name: Any) -> bool:
    return not isinstance(name, str) or name not in _TYPES or _TYPES[name](value)


def _same(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1, but 1 is 1.0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    return bool(left == right)


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _valid(value: Any, schema: Any, root: Any) -> bool:
    return next(_errors(value, schema, _Place(root, "")), None) is None


def _errors(value: Any, schema: Any, place: _Place) -> Iterator[str]:
    schema = resolve(schema, place.root)
    if schema is False:
        yield place.says("nothing is allowed here")
    if not isinstance(schema, Mapping):
        return
    types = _types(schema)
    if types and not any(_has_type(value, name) for name in types):
        yield place.says(f"{_show(value)} is not of type {' or '.join(map(str, types))}")
        return
    yield from _value_errors(value, schema, place)
    if isinstance(value, dict):
        yield from _object_errors(value, schema, place)
    elif isinstance(value, list):
        yield from _array_errors(value, schema, place)
    elif isinstance(value, str):
        yield from _string_errors(value, schema, place)
    elif _is_number(value):
        yield from _number_errors(value, schema, place)
    yield from _combination_errors(value, schema, place)


def _value_errors(value: Any, schema: Schema, place: _Place) -> Iterator[str]:
    if "const" in schema and not _same(value, schema["const"]):
        yield place.says(f"{_show(value)} is not {_show(schema['const'])}")
    options = _list(schema, "enum")
    if options and not any(_same(value, option) for option in options):
        listed = ", ".join(map(_show, options))
        yield place.says(f"{_show(value)} is not one of {listed}")


def _object_errors(value: dict[str, Any], schema: Schema, place: _Place) -> Iterator[str]:
    for name in _names(schema, "required"):
        if name not in value:
            yield place.key(name).says("is required and missing")
    dependent = _map(schema, "dependentRequired")
    for name in dependent.keys() & value.keys():
        for needed in _names(dependent, name):
            if needed not in value:
                yield place.key(needed).says(f"is required together with {name}")
    for name, part in _map(schema, "dependentSchemas").items():
        if name in value:
            yield from _errors(value, part, place)
    yield from _size_errors(len(value), schema, place, "Properties")
    for name, item in value.items():
        yield from _property_errors(name, item, schema, place)


def _property_errors(name: str, item: Any, schema: Schema, place: _Place) -> Iterator[str]:
    if "propertyNames" in schema and not _valid(name, schema["propertyNames"], place.root):
        yield place.key(name).says("is not an allowed name")
    parts = list(_property_schemas(name, schema))
    for part in parts:
        yield from _errors(item, part, place.key(name))
    extra = schema.get("additionalProperties", True)
    if not parts and extra is False:
        known = ", ".join(_map(schema, "properties")) or "none"
        yield place.key(name).says(f"is not a known field (known: {known})")
    elif not parts:
        yield from _errors(item, extra, place.key(name))


def _property_schemas(name: str, schema: Schema) -> Iterator[Any]:
    if name in _map(schema, "properties"):
        yield _map(schema, "properties")[name]
    for pattern, part in _map(schema, "patternProperties").items():
        if _search(pattern, name):
            yield part


def _array_errors(value: list[Any], schema: Schema, place: _Place) -> Iterator[str]:
    yield from _size_errors(len(value), schema, place, "Items")
    for index, item in enumerate(value):
        yield from _errors(item, _item_schema(schema, index), place.item(index))
    if schema.get("uniqueItems") and _has_duplicates(value):
        yield place.says("the items are not all different")
    if "contains" in schema:
        found = sum(_valid(item, schema["contains"], place.root) for item in value)
        if found < _limit(schema, "minContains", 1):
            yield place.says("does not contain a required item")
        if found > _limit(schema, "maxContains", math.inf):
            yield place.says("contains an item too often")


def _item_schema(schema: Schema, index: int) -> Any:
    first = _list(schema, "prefixItems")
    if index < len(first):
        return first[index]
    rest = schema.get("items", True)
    if isinstance(rest, list):  # draft 2019 and older: a tuple
        return rest[index] if index < len(rest) else schema.get("additionalItems", True)
    return rest


def _has_duplicates(value: list[Any]) -> bool:
    return any(_same(left, right) for i, left in enumerate(value) for right in value[:i])


def _size_errors(size: int, schema: Schema, place: _Place, what: str) -> Iterator[str]:
    least, most = _limit(schema, f"min{what}", 0), _limit(schema, f"max{what}", math.inf)
    if size < least:
        yield place.says(f"has {size} {what.lower()}, at least {least} are needed")
    if size > most:
        yield place.says(f"has {size} {what.lower()}, at most {most} are allowed")


def _string_errors(value: str, schema: Schema, place: _Place) -> Iterator[str]:
    if len(value) < _limit(schema, "minLength", 0):
        yield place.says(f"is shorter than {schema['minLength']} characters")
    if len(value) > _limit(schema, "maxLength", math.inf):
        yield place.says(f"is longer than {schema['maxLength']} characters")
    if isinstance(schema.get("pattern"), str) and not _search(schema["pattern"], value):
        yield place.says(f"{_show(value)} does not match {schema['pattern']}")


def _search(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # an ECMA pattern that Python does not know: not checked
        return True


def _number_errors(value: float, schema: Schema, place: _Place) -> Iterator[str]:
    if value < _limit(schema, "minimum", -math.inf):
        yield place.says(f"{value} is less than {schema['minimum']}")
    if value > _limit(schema, "maximum", math.inf):
        yield place.says(f"{value} is more than {schema['maximum']}")
    if value <= _limit(schema, "exclusiveMinimum", -math.inf) and value != -math.inf:
        yield place.says(f"{value} is not more than {schema['exclusiveMinimum']}")
    if value >= _limit(schema, "exclusiveMaximum", math.inf) and value != math.inf:
        yield place.says(f"{value} is not less than {schema['exclusiveMaximum']}")
    step = _limit(schema, "multipleOf", 0)
    if step > 0 and not _is_multiple(value, step):
        yield place.says(f"{value} is not a multiple of {step}")


def _is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    quotient = value / step
    return math.isfinite(quotient) and quotient.is_integer()


def _combination_errors(value: Any, schema: Schema, place: _Place) -> Iterator[str]:
    for part in _list(schema, "allOf"):
        yield from _errors(value, part, place)
    if parts := _list(schema, "anyOf"):
        yield from _any_errors(value, parts, place)
    if parts := _list(schema, "oneOf"):
        matches = sum(_valid(value, part, place.root) for part in parts)
        if matches == 0:
            yield from _any_errors(value, parts, place)
        elif matches > 1:
            yield place.says(f"{_show(value)} fits {matches} forms, exactly one is needed")
    if "not" in schema and _valid(value, schema["not"], place.root):
        yield place.says(f"{_show(value)} is not allowed")
    if "if" in schema:
        branch = "then" if _valid(value, schema["if"], place.root) else "else"
        yield from _errors(value, schema.get(branch, True), place)


def _any_errors(value: Any, parts: Sequence[Any], place: _Place) -> Iterator[str]:
    """The errors of the nearest branch, so that the model is told what to mend."""
    nearest: list[str] | None = None
    for part in parts:
        errors = list(_errors(value, part, place))
        if not errors:
            return
        same_kind = _fits_type(value, part, place.root)
        if same_kind and (nearest is None or len(errors) < len(nearest)):
            nearest = errors
    if nearest is not None:
        yield from nearest
    else:
        yield place.says(f"{_show(value)} fits none of the allowed forms")


def _fits_type(value: Any, schema: Any, root: Any) -> bool:
    schema = resolve(schema, root)
    types = _types(schema) if isinstance(schema, Mapping) else ()
    return any(_has_type(value, name) for name in types)


# --- coercing -------------------------------------------------------------------------


def _coerce(value: Any, schema: Any, root: Any) -> Any:
    schema = resolve(schema, root)
    if not isinstance(schema, Mapping):
        return value
    types = _types(schema)
    if types and not any(_has_type(value, name) for name in types):
        value = _retype(value, types)
    value = _nearest_option(value, schema)
    for part in _list(schema, "allOf"):
        value = _coerce(value, part, root)
    for key in ("anyOf", "oneOf"):
        if parts := _list(schema, key):
            value = _coerce_choice(value, parts, root)
    if isinstance(value, dict):
        return _coerce_object(value, schema, root)
    if isinstance(value, list):
        return [_coerce(item, _item_schema(schema, i), root) for i, item in enumerate(value)]
    if "integer" in types and "number" not in types and isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value


def _coerce_object(value: dict[str, Any], schema: Schema, root: Any) -> dict[str, Any]:
    needed = _names(schema, "required")
    result = {}
    for name, item in value.items():
        parts = list(_property_schemas(name, schema)) or [schema.get("additionalProperties", True)]
        for part in parts:
            item = _coerce(item, part, root)
        # null for "not given", where null is no value of the field
        given = item is not None or all(_valid(None, part, root) for part in parts)
        if given or name in needed:
            result[name] = item
    return result


def _coerce_choice(value: Any, parts: Sequence[Any], root: Any) -> Any:
    """The one reading that some branch accepts; unchanged when there are none or several."""
    if any(_valid(value, part, root) for part in parts):
        return value
    readings: list[Any] = []
    for part in parts:
        reading = _coerce(value, part, root)
        known = any(_same(reading, other) for other in readings)
        if not known and _valid(reading, part, root):
            readings.append(reading)
    return readings[0] if len(readings) == 1 else value


def _retype(value: Any, types: Sequence[str]) -> Any:
    """The value as one of the types, when exactly one of them gives a reading."""
    readings = [reading for name in types for reading in _readings(value, name)]
    if readings and all(_same(reading, readings[0]) for reading in readings):
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
        yield int(text) if _INTEGER.fullmatch(text) and "." not in text else float(text)
    elif name == "boolean" and text.lower() in _WORDS:
        yield _WORDS[text.lower()]
    elif name == "null" and text.lower() in _NOTHING:
        yield None
    elif name in ("array", "object") and text[:1] in ("[", "{"):
        try:
            parsed = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return
        if _TYPES[name](parsed):
            yield parsed


def _nearest_option(value: Any, schema: Schema) -> Any:
    """An enum member written in another case, or its number as text."""
    options = _list(schema, "enum") or ([schema["const"]] if "const" in schema else [])
    if not options or any(_same(value, option) for option in options):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    plain = str(value).strip().casefold()
    fits = [option for option in options if str(option).casefold() == plain]
    return fits[0] if len(fits) == 1 else value
