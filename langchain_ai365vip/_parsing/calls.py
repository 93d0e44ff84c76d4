"""Says which tool calls a value means."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_ai365vip._parsing.json_text import Json, is_json, read_json
from langchain_ai365vip._parsing.schemas import fields, has_foreign_keys, required
from langchain_ai365vip._parsing.turns import NAME_PREFIXES
from langchain_ai365vip._parsing.values import from_braces, from_texts, python_call

NAME_KEYS: Final = ("name", "tool_name", "function_name", "tool", "function", "action")
"""Keys whose text is the tool's name, in the order in which they are believed."""

ARGUMENT_KEYS: Final = (
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

WRAPPER_KEYS: Final = (
    "function",
    "function_call",
    "tool_call",
    "tool_calls",
    "function_calls",
    "calls",
)
"""Keys that hold a call or a list of calls."""

META_KEYS: Final = ("id", "type", "index", "call_id", "tool_call_id")
"""Keys that stand beside a call and say nothing that is needed."""

BROKEN: Final = "The JSON of this call is broken."
CUT_OFF: Final = "The reply ended inside this call."
NO_CALL: Final = "What stands between the marks is not a call."
TORN: Final = "The marks around the arguments of this call are broken."

Tools = Mapping[str, Mapping[str, Any]]
_NUMBERED = re.compile(r":\d+\Z")


@dataclass(frozen=True, slots=True)
class Reading:
    """One call as it was read: good when `error` is None."""

    name: str | None
    arguments: dict[str, Any]
    arguments_text: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """An argument whose value stands as text.

    Attributes:
        key: Its name.
        text: What stands between the marks.
        is_text: Whether the mark says that it is text (True), or JSON (False).
    """

    key: str
    text: str
    is_text: bool | None = None


def bound_name(name: str, tools: Tools) -> str:
    """Return the bound name that a name means: itself, without a prefix, in another case.

    The name itself, without its prefix, where there is none.
    """
    name = _NUMBERED.sub("", name.strip())
    if name in tools:
        return name
    for prefix in NAME_PREFIXES:
        name = name.removeprefix(prefix)
    alike = [tool for tool in tools if tool.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else name


def read_text(text: str, tools: Tools, escaped: str = "") -> list[Reading]:
    """Read the calls in a JSON text that is known to be meant as one; at least one reading.

    What cannot be read has its `error` set. `escaped` is `read_json`'s.
    """
    try:
        value, repaired = _read_json(text, escaped)
        return read_calls(value, tools, strict=repaired)
    except ValueError as error:
        return [unreadable(text, tools, str(error))]
    except RecursionError:
        return [unreadable(text, tools, "The JSON is nested too deeply to be read.")]


def _read_json(text: str, escaped: str) -> Json:
    try:
        return read_json(text, escaped)
    except ValueError:
        if "=>" not in text[:200]:
            raise
        return Json(from_braces(text, {}), repaired=True)


def read_named(name: str, text: str, tools: Tools, escaped: str = "") -> Reading:
    """Read a call whose name, bound or not, stands outside of its JSON."""
    try:
        value, repaired = read_json(text, escaped)
    except ValueError as error:
        return Reading(bound_name(name, tools), {}, text, str(error))
    return read_calls({"name": name, "arguments": value}, tools, strict=repaired)[0]


def read_fields(name: str, given: Sequence[Field], tools: Tools) -> Reading:
    """Read a call whose arguments stand as text between marks; they get the schema's types."""
    name = bound_name(name, tools)
    texts = {field.key: field.text for field in given}
    if len(texts) < len(given):
        return _failed(name, texts, "An argument is given twice.")
    arguments: dict[str, Any] = dict(texts)
    if name in tools:
        arguments = from_texts(texts, tools[name])
    for field in given:
        if field.is_text:
            arguments[field.key] = field.text
    return _good(name, arguments)


def read_python(text: str, tools: Tools) -> Reading:
    """Read a call as Python writes it."""
    try:
        name, arguments = python_call(text)
    except ValueError as error:
        name = re.split(r"\(", text.removeprefix("print("), maxsplit=1)[0]
        return Reading(bound_name(name, tools), {}, text, str(error))
    return _good(bound_name(name, tools), arguments)


def read_braces(name: str, text: str, quotes: Mapping[str, str], tools: Tools) -> Reading:
    """Read a call whose arguments are an object of bare keys."""
    name = bound_name(name, tools)
    try:
        value = from_braces(text, quotes)
    except ValueError as error:
        return Reading(name, {}, text, str(error))
    return _good(name, value) if isinstance(value, dict) else _failed(name, value, BROKEN)


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
        value: What stood inside a call's marks.
        tools: The JSON schema of the arguments by bound name.
        strict: Whether one call that cannot be read, or a foreign key, spoils all. In a
            value that was repaired it is likely to be a part of an argument.

    Returns:
        At least one reading; what cannot be read has its `error` set.
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


def are_definitions(texts: Sequence[str]) -> bool:
    """Say whether JSON texts are tools, as the prompt has them, and not calls."""
    return all(
        '"description"' in text and is_json(text) and is_definition(read_json(text).value)
        for text in texts
    )


def is_definition(value: Any) -> bool:
    """Say whether a value is a list of tools, as the prompt has it, and not of calls."""
    if isinstance(value, list):
        return bool(value) and all(map(is_definition, value))
    if not isinstance(value, dict):
        return False
    function = value.get("function")
    if isinstance(function, dict):
        value = function
    shown = value.get("parameters")
    is_schema = isinstance(shown, dict) and isinstance(shown.get("properties"), dict)
    return is_schema and "description" in value


def name_hint(text: str, tools: Tools) -> str | None:
    """Find the bound name that stands first, in quotes or as a word, in a call's text."""
    head = text[:1000]
    for pattern in ('"{}"', r"(?<![\w.]){}(?!\w)"):
        found = {
            at.start(): name
            for name in tools
            if (at := re.search(pattern.format(re.escape(name)), head)) is not None
        }
        if found:
            return found[min(found)]
    return None


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
    schema = tools.get(bound_name(value[name_key], tools))
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
        return _read_keyed(value, tools)
    name = bound_name(value[name_key], tools)
    schema = tools.get(name)
    if schema is None:
        return _read_unknown(name, value, name_key, strict=strict)
    given = _given_arguments(value, name_key, schema)
    if strict and not _is_plain(value, name_key, schema):
        return _failed(name, value, BROKEN)
    arguments, repaired = _as_object(given, schema)
    if (strict or repaired) and has_foreign_keys(arguments, schema):
        return _failed(name, value, BROKEN)
    if not isinstance(arguments, dict):
        return _failed(name, given, "The arguments are not a JSON object.")
    return _good(name, arguments)


def _read_keyed(value: dict[str, Any], tools: Tools) -> Reading:
    """Read a call whose name is the key of its arguments."""
    if len(value) == 1:
        ((key, arguments),) = value.items()
        name = bound_name(key, tools)
        if name in tools and isinstance(arguments, dict):
            return _good(name, arguments)
    return _failed(None, value, 'The call has no "name".', tools)


def _read_unknown(name: str, value: dict[str, Any], name_key: str, *, strict: bool) -> Reading:
    given = _given_arguments(value, name_key, None)
    arguments = _as_object(given, {}).value
    if strict or not isinstance(arguments, dict) or not name:
        return _failed(name or None, given, f"There is no tool named {name!r}.")
    return _good(name, arguments)


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


def _good(name: str, arguments: dict[str, Any]) -> Reading:
    return Reading(name, arguments, json.dumps(arguments, ensure_ascii=False))


def _failed(name: str | None, given: Any, why: str, tools: Tools | None = None) -> Reading:
    if tools is not None:
        why = f"{why} Known tools: {', '.join(tools) or 'none'}."
    text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return Reading(name, {}, text, why)
