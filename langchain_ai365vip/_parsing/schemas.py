"""JSON schemas: what they name, and what is wrong with a value, in words for a model.

jsonschema-rs judges. Its patterns are matched in linear time, or given up after a fixed number
of steps, so that none stalls the event loop.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

import jsonschema_rs

Schema = Mapping[str, Any]

logger = logging.getLogger(__name__)

# The library walks a value on the stack: at 20,000 levels it takes the process down.
_DEEPEST = 64
# Where unions stand in unions, its errors double with each level; whether a value fits does not.
_DEEPEST_EXPLAINED = 12
_SHOWN = 80
_LISTED = 20
_PLACE = "\x00"
_WHOLE = "urn:whole"
_STEPS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)


def schema_errors(value: Any, schema: Any, *, limit: int = 5) -> list[str]:
    """Say what is wrong with a value, in words that a language model can act on.

    A reference to another document allows everything. A schema that is none (the library
    refuses it) checks nothing; that is logged once.

    Args:
        value: JSON data (as `json.loads` gives it).
        schema: A JSON schema; `True` and `False` are schemas too.
        limit: The most errors to report.

    Returns:
        One sentence per fault, each with the path to it; empty when the value is valid.
    """
    return list(islice(Judge(schema).errors(value), limit))


class Judge:
    """What the library says of values, by the parts of one schema.

    Args:
        schema: The whole JSON schema. A reference to another document is not fetched: it allows
            everything. What is no schema does so, too, and that is logged once.
    """

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        try:
            self._text = json.dumps(schema, default=_as_json)
        except (TypeError, ValueError, RecursionError) as error:
            logger.warning("Nothing is checked against a schema that is not JSON: %s", error)
            self._text = "true"

    def fits(self, value: Any, pointer: str = "#") -> bool:
        """Say whether a value fits a part of the schema.

        Args:
            value: JSON data that `is_readable`.
            pointer: Where the part stands, as a `$ref` has it.

        Returns:
            True also where there is no such part.
        """
        validator = _validator(self._text, pointer)
        if validator is None:
            return True
        try:
            return validator.is_valid(value)
        except ValueError:
            return validator.is_valid(_whole_characters(value))

    def errors(self, value: Any) -> Iterator[str]:
        """Say what is wrong with a value; see `schema_errors`."""
        validator = _validator(self._text, "#")
        if not is_readable(value):
            yield f"the value is nested more than {_DEEPEST} levels deep"
        elif validator is None or self.fits(value):
            return
        elif _is_deeper(value, _DEEPEST_EXPLAINED):
            yield "the value does not fit the schema"
        else:
            for error in validator.iter_errors(_whole_characters(value)):
                yield from _says(error, self._schema)


def _whole_characters(value: Any) -> Any:
    """Put a question mark for half of a surrogate pair, which the library does not take."""
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _as_json(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


@functools.lru_cache(maxsize=1024)
def _validator(schema: str, pointer: str) -> jsonschema_rs.Validator | None:
    part: Any = schema if pointer == "#" else {"$ref": _WHOLE + quote(pointer, safe="#/~")}
    try:
        return jsonschema_rs.validator_for(
            part,
            retriever=lambda uri: json.loads(schema) if uri == _WHOLE else True,
            mask=_PLACE,
            pattern_options=_STEPS,
            validate_formats=False,
        )
    except Exception as error:  # of several classes: no schema, no such reference
        if pointer == "#":
            fault = str(error).replace(_PLACE, "it").partition("\n")[0]
            logger.warning("Nothing is checked against %s: %s", _cut(schema, 200), fault)
        return None


def is_readable(value: Any) -> bool:
    """Say whether a value is not nested too deeply to be judged."""
    return not _is_deeper(value, _DEEPEST)


def _is_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels + 1):
        layer = [item for part in layer for item in _items(part)]
        if not layer:
            return False
    return True


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


# --- words ------------------------------------------------------------------------------

_TYPES = {
    "null": "null",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "array": "a list",
    "object": "an object",
}
_CHOICES = ("type", "enum", "const")


def _says(error: jsonschema_rs.ValidationError, schema: Any) -> Iterator[str]:
    """Put an error into words; one of a union is said by its nearest branch."""
    kind, place = error.kind, _place(error.instance_path)
    if kind.name == "required":
        name = kind.as_dict()["property"]
        yield f"{_place([*error.instance_path, name])} is required and missing"
    elif kind.name in ("additionalProperties", "unevaluatedProperties"):
        yield from _unknown(error, schema)
    elif kind.name in ("anyOf", "oneOf") and "more than one" not in error.message:
        yield from _union(error, schema)
    elif kind.name == "falseSchema":
        yield f"{place} must not be given (it is {_show(error.instance)})"
    elif wanted := _wanted(error):
        yield f"{place} must be {_listed(wanted)}, not {_show(error.instance)}"
    else:
        fault = _cut(error.message.replace(_PLACE, place), 200)
        yield f"{fault} (it is {_show(error.instance)})"


def _unknown(error: jsonschema_rs.ValidationError, schema: Any) -> Iterator[str]:
    parent = lookup("#/" + "/".join(map(escape, error.schema_path[:-1])), schema)
    known = list(map_in(parent, "properties")) if isinstance(parent, Mapping) else []
    for name in error.kind.as_dict()["unexpected"]:
        place = _place([*error.instance_path, name])
        yield f"{place} is not a known field (known: {_listed(known, 'and') or 'none'})"


def _union(error: jsonschema_rs.ValidationError, schema: Any) -> Iterator[str]:
    branches = error.kind.as_dict()["context"]
    near = [branch for branch in branches if not _is_other(branch, error.instance_path)]
    if near:
        for fault in min(near, key=_distance):
            yield from _says(fault, schema)
        return
    wanted = [text for branch in branches for fault in branch for text in _wanted(fault)]
    place = _place(error.instance_path)
    yield f"{place} must be {_listed(list(dict.fromkeys(wanted)))}, not {_show(error.instance)}"


def _is_other(branch: Sequence[jsonschema_rs.ValidationError], path: Sequence[Any]) -> bool:
    return any(e.kind.name in _CHOICES and e.instance_path == path for e in branch)


def _distance(branch: Sequence[jsonschema_rs.ValidationError]) -> tuple[int, int]:
    """Measure how far a value is from a branch: by fields that tell branches apart, by all."""
    return sum(error.kind.name in ("enum", "const") for error in branch), len(branch)


def _wanted(error: jsonschema_rs.ValidationError) -> list[str]:
    """Say what a value must be instead, where that is a matter of type or choice."""
    facts = error.kind.as_dict()
    if error.kind.name == "type":
        return [_TYPES.get(name, name) for name in facts["types"]]
    if error.kind.name == "enum":
        return [_show(option) for option in facts["options"]]
    return [_show(facts["expected_value"])] if error.kind.name == "const" else []


def _place(path: Sequence[Any]) -> str:
    """Return where in the whole a value stands: `'stops[0].city'`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f"'{text.removeprefix('.')}'" if text else "the value"


def _show(value: Any) -> str:
    if isinstance(value, str):
        return f"'{_cut(value)}'"
    return _cut(json.dumps(value, ensure_ascii=False, default=str))


def _cut(text: str, size: int = _SHOWN) -> str:
    return text if len(text) <= size else text[: size - 3] + "..."


def _listed(texts: Sequence[str], last: str = "or") -> str:
    more = len(texts) - _LISTED
    if more > 0:
        return f"{', '.join(texts[:_LISTED])} {last} {more:,} more"
    return f" {last} ".join(filter(None, (", ".join(texts[:-1]), "".join(texts[-1:]))))


# --- what a schema names ------------------------------------------------------------------


def fields(schema: Any) -> Mapping[str, Any]:
    """Return the properties of an object's schema, by name."""
    return {
        name: part
        for whole in _parts([schema], schema, ("allOf",))
        for name, part in map_in(whole, "properties").items()
    }


def required(schema: Any) -> Sequence[str]:
    """Return the names of the properties that an object must have."""
    parts = _parts([schema], schema, ("allOf",))
    return [name for part in parts for name in list_in(part, "required")]


def is_list(schema: Any) -> bool:
    """Say whether the whole must be a list."""
    return any(part.get("type") == "array" for part in _parts([schema], schema, ("allOf",)))


def has_foreign_keys(value: Any, schema: Any) -> bool:
    """Say whether an object anywhere in a value has a key that its schema does not name.

    That is allowed, where the schema does not say otherwise. In a value that was repaired
    it is more likely a part of a text that was torn apart.

    Args:
        value: JSON data.
        schema: A JSON schema.
    """
    return not is_readable(value) or _is_foreign(value, [schema], schema)


def _is_foreign(value: Any, schemas: Sequence[Any], root: Any) -> bool:
    parts = list(_parts(schemas, root, ("allOf", "anyOf", "oneOf")))
    if isinstance(value, list):
        return any(
            _is_foreign(item, [_item_schema(part, i) for part in parts], root)
            for i, item in enumerate(value)
        )
    known = [part for part in parts if part.keys() & {"properties", "patternProperties"}]
    more = [part.get("additionalProperties", False) for part in parts]
    closed = bool(known) and not any(extra is not False for extra in more)
    for name, item in value.items() if isinstance(value, dict) else ():
        named = [part for whole in known for part in _property_schemas(name, whole)]
        if (closed and not named) or _is_foreign(item, named or more, root):
            return True
    return False


def _property_schemas(name: str, schema: Schema) -> Iterator[Any]:
    if name in map_in(schema, "properties"):
        yield map_in(schema, "properties")[name]
    for pattern, part in map_in(schema, "patternProperties").items():
        if Judge({"pattern": pattern}).fits(name):
            yield part


def _item_schema(schema: Schema, index: int) -> Any:
    first = list_in(schema, "prefixItems") or list_in(schema, "items")
    return first[index] if index < len(first) else schema.get("items", True)


def _parts(schemas: Iterable[Any], root: Any, keys: Sequence[str]) -> Iterator[Schema]:
    """Yield the schemas, and those that they refer to or are put together from, each once."""
    waiting, seen = list(schemas), set[int]()
    while waiting:
        schema = waiting.pop(0)
        if not isinstance(schema, Mapping) or id(schema) in seen:
            continue
        seen.add(id(schema))
        yield schema
        waiting += [lookup(schema["$ref"], root)] if isinstance(schema.get("$ref"), str) else []
        waiting += [part for key in keys for part in list_in(schema, key)]


def lookup(pointer: str, root: Any) -> Any:
    """Return the part of a schema that a `$ref` means; `True` if it is not there."""
    if not pointer.startswith("#"):
        return True
    node = root
    for part in pointer[1:].strip("/").split("/") if pointer.strip("#/") else ():
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping) and name in node:
            node = node[name]
        elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        else:
            return True
    return node


def escape(part: Any) -> str:
    """Return a name as it stands in a pointer."""
    return str(part).replace("~", "~0").replace("/", "~1")


# A keyword with a value of another form (an MCP server's `required: null`) names nothing.


def list_in(schema: Schema, key: str) -> Sequence[Any]:
    """Return the list at a key, or an empty one."""
    value = schema.get(key)
    return value if isinstance(value, list | tuple) else ()


def map_in(schema: Schema, key: str) -> Mapping[str, Any]:
    """Return the object at a key, or an empty one."""
    value = schema.get(key)
    return value if isinstance(value, Mapping) else {}
