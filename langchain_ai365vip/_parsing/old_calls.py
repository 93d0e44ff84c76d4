"""Says which tool calls a JSON value means, in the dialects that language models use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_ai365vip._parsing.coercion import coerce_fields
from langchain_ai365vip._parsing.json_text import Json, read_json
from langchain_ai365vip._parsing.schemas import fields, has_foreign_keys, required

NAME_KEYS = ("name", "tool_name", "function_name", "tool", "function", "action")
"""Keys whose text is the tool's name, in the order in which they are believed."""

ARGUMENT_KEYS = (
    "arguments",
    "parameters",
    "args",
    "input",
    "params",
    "kwargs",
    "tool_input",
    "tool_args",
    "action_input",
)
"""Keys that hold the arguments, as an object or as JSON text."""

WRAPPER_KEYS = ("function", "function_call", "tool_call", "tool_calls", "function_calls", "calls")
"""Keys that hold a call or a list of calls."""

META_KEYS = ("id", "type", "index", "call_id", "tool_call_id")
"""Keys that stand beside a call and say nothing that is needed."""

BROKEN = "The JSON of this call is broken."
CUT_OFF = "The reply ended inside this call."
NO_CALL = "What stands between the tags is not the JSON of a call."

Tools = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Reading:
    """One call as it was read: good when `error` is None."""

    name: str | None
    arguments: dict[str, Any]
    arguments_text: str
    error: str | None = None


def read_text(text: str, tools: Tools, escaped: str = "") -> list[Reading]:
    """Read the calls in a JSON text that is known to be meant as one; at least one reading.

    What cannot be executed has its `error` set. `escaped` is `read_json`'s.
    """
    try:
        value, repaired = read_json(text, escaped)
        return read_calls(value, tools, strict=repaired)
    except ValueError as error:
        return [unreadable(text, tools, str(error))]
    except RecursionError:
        return [unreadable(text, tools, "The JSON is nested too deeply to be read.")]


def read_named(name: str, text: str, tools: Tools, escaped: str = "") -> Reading:
    """Read a call whose name, bound or not, stands outside of its JSON."""
    try:
        value, repaired = read_json(text, escaped)
    except ValueError as error:
        return Reading(name, {}, text, str(error))
    return read_calls({"name": name, "arguments": value}, tools, strict=repaired)[0]


def read_fields(name: str, pairs: Sequence[tuple[str, str]], tools: Tools) -> Reading:
    """Read a call whose arguments stand as text between tags; they get the schema's types."""
    arguments = dict(pairs)
    if len(arguments) < len(pairs):
        return _failed(name, dict(pairs), "An argument is given twice.")
    if name in tools and has_foreign_keys(arguments, tools[name]):
        known = ", ".join(fields(tools[name]))
        return _failed(name, arguments, f"There is an unknown argument. Known are: {known}.")
    arguments = coerce_fields(arguments, tools.get(name, {}))
    return read_calls({"name": name, "arguments": arguments}, tools)[0]


def read_cut_off(text: str, tools: Tools) -> list[Reading]:
    """Read a call that the end of the reply cut off: good if only its last bracket is missing.

    Anything more would be a guess: a path that was cut off is another path.
    """
    if text.rstrip().endswith("}") and any(f'"{key}"' in text for key in ARGUMENT_KEYS):
        try:
            return read_calls(json.loads(text + "}", strict=False), tools)
        except (ValueError, RecursionError):
            pass
    return [unreadable(text, tools, CUT_OFF)]


def unreadable(text: str, tools: Tools, why: str) -> Reading:
    """Return a call that is there and cannot be read, and why."""
    return Reading(name_hint(text, tools), {}, text, why)


def read_calls(value: Any, tools: Tools, *, strict: bool = False) -> list[Reading]:
    """Read the calls in a value that is known to be meant as one; see `read_text`.

    Args:
        value: What stood inside a call's tags.
        tools: The JSON schema of the arguments by bound name.
        strict: Whether one call that cannot be carried out, or a foreign key, spoils all.
            In a value that was repaired it is likely to be a part of an argument.

    Returns:
        At least one reading; what cannot be executed has its `error` set.
    """
    calls = [_read(call, tools, strict) for call in _unwrap(value, strict=strict)]
    if strict and any(call.error for call in calls):
        # What cannot be read may be the rest of an argument of a call that can.
        return [_failed(calls[0].name, value, next(filter(None, (c.error for c in calls))))]
    return calls or [_failed(None, value, "There is no call in it.", tools)]


def is_call_shaped(value: Any, tools: Tools) -> bool:
    """Say whether each call in a bare JSON value names a bound tool and holds no foreign key."""
    try:
        calls = list(_unwrap(value, strict=True))
    except RecursionError:
        return False  # lists in lists
    return bool(calls) and all(_is_strict_call(call, tools) for call in calls)


def name_hint(text: str, tools: Tools) -> str | None:
    """Find the bound name that stands first, as a JSON string, in a call that is no JSON."""
    head = text[:1000]
    found = {head.find(f'"{name}"'): name for name in tools}
    found.pop(-1, None)
    return found[min(found)] if found else None


def _unwrap(value: Any, *, strict: bool = False) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _unwrap(item, strict=strict)
        return
    for key in WRAPPER_KEYS if isinstance(value, dict) else ():
        inner = value.get(key)
        if isinstance(inner, dict | list) and _name_key(value) is None:
            if strict and not value.keys() <= {key, *META_KEYS}:
                yield None
            yield from _unwrap(inner, strict=strict)
            return
    yield value


def _name_key(value: dict[str, Any]) -> str | None:
    return next((key for key in NAME_KEYS if isinstance(value.get(key), str)), None)


def _argument_key(value: dict[str, Any]) -> str | None:
    return next((key for key in ARGUMENT_KEYS if key in value), None)


def _is_strict_call(value: Any, tools: Tools) -> bool:
    if not isinstance(value, dict) or (name_key := _name_key(value)) is None:
        return False
    schema = tools.get(value[name_key])
    if schema is None:
        return False
    argument_key = _argument_key(value)
    if argument_key is None:
        return value.keys() <= {name_key, *META_KEYS} and not required(schema)
    known = {name_key, argument_key, *META_KEYS}
    return value.keys() <= known and isinstance(value[argument_key], dict | str | None)


def _read(value: Any, tools: Tools, strict: bool) -> Reading:
    if not isinstance(value, dict):
        return _failed(None, value, "A call is a JSON object.", tools)
    name_key = _name_key(value)
    if name_key is None:
        return _failed(None, value, 'The call has no "name".', tools)
    name = value[name_key]
    schema = tools.get(name)
    given = _given_arguments(value, name_key, schema)
    if schema is None:
        return _failed(name, given, f"There is no tool named {name!r}.", tools)
    if strict and not _is_plain(value, name_key, schema):
        return _failed(name, value, BROKEN)
    arguments, repaired = _as_object(given, schema)
    if (strict or repaired) and has_foreign_keys(arguments, schema):
        return _failed(name, value, BROKEN)
    if not isinstance(arguments, dict):
        return _failed(name, given, "The arguments are not a JSON object.")
    return Reading(name, arguments, json.dumps(arguments, ensure_ascii=False))


def _is_plain(value: dict[str, Any], name_key: str, schema: Mapping[str, Any]) -> bool:
    key = _argument_key(value)
    known = fields(schema).keys() if key is None else {key}
    return value.keys() <= {name_key, *known, *META_KEYS}


def _given_arguments(value: dict[str, Any], name_key: str, schema: Mapping[str, Any] | None) -> Any:
    key = _argument_key(value)
    if key is not None:
        return value[key]
    # Arguments beside the name, where every one of them is a field of the tool.
    rest = {k: v for k, v in value.items() if k != name_key and k not in META_KEYS}
    return rest if rest.keys() <= fields(schema).keys() else {}


def _as_object(given: Any, schema: Mapping[str, Any]) -> Json:
    """Make an object of arguments: JSON text is parsed, a lone value is the only field's."""
    if given is None or given == "":
        return Json({}, repaired=False)
    if isinstance(given, str) and given.lstrip().startswith("{"):
        try:
            parsed = read_json(given)
        except ValueError:
            return Json(given, repaired=False)
        if isinstance(parsed.value, dict):
            return parsed
    names = list(fields(schema))
    if not isinstance(given, dict) and len(names) == 1:
        return Json({names[0]: given}, repaired=False)
    return Json(given, repaired=False)


def _failed(name: str | None, given: Any, why: str, tools: Tools | None = None) -> Reading:
    if tools is not None:
        why = f"{why} Known tools: {', '.join(tools) or 'none'}."
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return Reading(name, {}, text, why)
