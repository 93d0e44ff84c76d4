"""What a JSON schema says: its references, its types, what it names; see `_json_check`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_ai365vip._patterns import matches

Schema = Mapping[str, Any]


def resolve(schema: Any, root: Any) -> Any:
    """Follow local references (`#/$defs/Name`).

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
            return {**rest, "allOf": [*list_in(rest, "allOf"), target]}
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
    """Return the properties of an object's schema, by name."""
    schema = resolve(schema, schema)
    return map_in(schema, "properties") if isinstance(schema, Mapping) else {}


def has_foreign_keys(value: Any, schema: Any) -> bool:
    """Say whether an object anywhere in a value has a key that its schema does not name.

    That is allowed, where the schema does not say otherwise. In a value that was repaired
    it is more likely a part of a text that was torn apart.

    Args:
        value: JSON data.
        schema: A JSON schema.
    """
    try:
        return _is_foreign(value, [schema], schema)
    except RecursionError:
        return True  # nested too deeply to be looked at


def _is_foreign(value: Any, schemas: Sequence[Any], root: Any) -> bool:
    if not isinstance(value, dict | list):
        return False
    parts = list(_parts(schemas, root, set()))
    if isinstance(value, list):
        return any(
            _is_foreign(item, [item_schema(part, i) for part in parts], root)
            for i, item in enumerate(value)
        )
    known = [part for part in parts if part.keys() & {"properties", "patternProperties"}]
    more = [part.get("additionalProperties", False) for part in parts]
    closed = bool(known) and not any(extra is not False for extra in more)
    for name, item in value.items():
        named = [schema for part in known for schema in property_schemas(name, part)]
        if (closed and not named) or _is_foreign(item, named or more, root):
            return True
    return False


def _parts(schemas: Iterable[Any], root: Any, seen: set[int]) -> Iterator[Schema]:
    """Yield the schemas, and those that they are put together from, each once."""
    for schema in schemas:
        if id(schema) in seen:
            continue
        seen.add(id(schema))
        schema = resolve(schema, root)
        if isinstance(schema, Mapping):
            yield schema
            for key in ("allOf", "anyOf", "oneOf"):
                yield from _parts(list_in(schema, key), root, seen)


def required(schema: Any) -> Sequence[str]:
    """Return the names of the properties that an object must have."""
    schema = resolve(schema, schema)
    return names_in(schema, "required") if isinstance(schema, Mapping) else ()


# --- reading one schema ---------------------------------------------------------------


def is_number(value: Any) -> bool:
    """Say whether a value is a number of JSON, which has neither NaN nor infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return is_number(value) and (isinstance(value, int) or value.is_integer())


TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def types_of(schema: Schema) -> Sequence[str]:
    """Return the types that a schema allows; none where it allows all."""
    declared = schema.get("type")
    return (declared,) if isinstance(declared, str) else list_in(schema, "type")


# A keyword with a value of another form (draft 4's `exclusiveMinimum: true`, an MCP server's
# `required: null`) is treated as one that is not known: it checks nothing.


def list_in(schema: Schema, key: str) -> Sequence[Any]:
    """Return the list at a key, or an empty one."""
    value = schema.get(key)
    return value if isinstance(value, list | tuple) else ()


def map_in(schema: Schema, key: str) -> Mapping[str, Any]:
    """Return the object at a key, or an empty one."""
    value = schema.get(key)
    return value if isinstance(value, Mapping) else {}


def names_in(schema: Schema, key: str) -> Sequence[str]:
    """Return the texts in the list at a key."""
    return [name for name in list_in(schema, key) if isinstance(name, str)]


def options_in(schema: Schema) -> Sequence[Any]:
    """Return the values that a schema names as the only ones."""
    return list_in(schema, "enum") or ([schema["const"]] if "const" in schema else [])


def has_type(value: Any, name: Any) -> bool:
    """Say whether a value is of a type; a type that is not known fits all."""
    return not isinstance(name, str) or name not in TYPES or TYPES[name](value)


def same(left: Any, right: Any) -> bool:
    """Say whether two values are equal in JSON: true is not 1, but 1 is 1.0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return bool(left == right)


def property_schemas(name: str, schema: Schema) -> Iterator[Any]:
    """Yield the schemas that an object's schema has for a property of this name."""
    if name in map_in(schema, "properties"):
        yield map_in(schema, "properties")[name]
    for pattern, part in map_in(schema, "patternProperties").items():
        if matches(pattern, name):
            yield part


def item_schema(schema: Schema, index: int) -> Any:
    """Return the schema that a list's schema has for the item at a place."""
    first = list_in(schema, "prefixItems")
    if index < len(first):
        return first[index]
    rest = schema.get("items", True)
    if isinstance(rest, list):  # draft 2019 and older: a tuple
        return rest[index] if index < len(rest) else schema.get("additionalItems", True)
    return rest
