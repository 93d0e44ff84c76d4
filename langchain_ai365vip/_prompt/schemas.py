"""The JSON schemas that a model is shown, whole: from pydantic, where there is a class.

Core's conversion, which tracing keeps, inlines references: of a recursive class it makes `{}`,
of a `TypedDict` it loses what may be null or left out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from langchain_core.tools import BaseTool, StructuredTool, Tool, create_schema_from_function
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_function
from pydantic.errors import PydanticUserError

from langchain_ai365vip._prompt.classes import JsonSchema, class_schema

# What pydantic raises where it makes no schema of a class.
_NO_SCHEMA: Final = (PydanticUserError, NameError, TypeError, ValueError, KeyError)


def object_schema(schema: Mapping[str, Any] | type) -> JsonSchema:
    """Return the JSON schema of an object that is asked for, with a title.

    Args:
        schema: A pydantic class, a `TypedDict`, a dataclass, the dict of a JSON schema, or of a
            tool as OpenAI, Anthropic or Bedrock write it. It is not changed.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(schema, Mapping) and not is_tool(schema):
        return {"title": "output", **tidied(copy.deepcopy(dict(schema)))}
    function = schema.get("function", schema) if isinstance(schema, Mapping) else schema
    described = _described(function)
    if described is None:
        return tidied(copy.deepcopy(convert_to_json_schema(function)))
    name, description, parameters = described
    shown = {"description": description} if description else {}
    return {"title": name, **shown, **tidied(parameters)}


def tool_function(tool: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """Return a tool as an OpenAI function, with the whole schema of its arguments.

    Arguments that LangChain injects are left out.

    Args:
        tool: A function, a `BaseTool`, a pydantic class, a `TypedDict`, a dataclass, or a dict in
            any form that `convert_to_openai_function` takes.
        strict: As there.

    Raises:
        ValueError: It is none of these, or its arguments are no object.
        TypeError: Core can make nothing of its arguments.
        KeyError: A part of the dict is missing.
    """
    described = _described(tool)
    if described is None:
        function = convert_to_openai_function(tool, strict=strict)
    else:
        name, description, parameters = described
        function = {"name": name, "description": description, "parameters": parameters}
        if strict is not None:
            function["strict"] = strict
        if strict:
            function["parameters"] = _mapped(parameters, _closed)
    _check_is_object(function)
    return {**function, "parameters": tidied(function.get("parameters") or _nothing())}


def _check_is_object(function: Mapping[str, Any]) -> None:
    kind = (function.get("parameters") or {}).get("type", "object")
    if kind != "object":
        raise ValueError(
            f"{function['name']} is a schema of type {kind!r}, and the arguments of a call are an "
            "object. Put it into a field of a class; with_structured_output reads it as it is "
            "with method='json_schema'."
        )


def is_tool(schema: Mapping[str, Any]) -> bool:
    """Say whether a dict is a tool, and not a JSON schema."""
    if schema.get("type") == "function" or "toolSpec" in schema:
        return True
    is_named = isinstance(schema.get("name"), str)
    return is_named and ("parameters" in schema or "input_schema" in schema)


def titled(schema: Any) -> Any:
    """Return a JSON schema with a title, which LangChain asks for; all else as it is."""
    if not isinstance(schema, Mapping) or is_tool(schema):
        return schema
    rooted = _rooted(schema)
    return {**rooted, "title": rooted.get("title") or "output"}


def unwrapped(schema: Any) -> tuple[Any, bool | None]:
    """Take a JSON schema out of OpenAI's envelope, with what it says of `strict`.

    Args:
        schema: `{"name", "schema", "strict"}`, the same as `{"type": "json_schema",
            "json_schema": {...}}` or beside that type; anything else is returned as it is.
    """
    if not isinstance(schema, Mapping):
        return schema, None
    envelope = schema
    if schema.get("type") == "json_schema" and isinstance(schema.get("json_schema"), Mapping):
        envelope = schema["json_schema"]
    inner = envelope.get("schema")
    if not isinstance(inner, Mapping) or not isinstance(envelope.get("name"), str):
        return schema, None
    said = {"description": envelope["description"]} if envelope.get("description") else {}
    return {**said, **inner, "title": envelope["name"]}, envelope.get("strict")


# --- classes, tools and functions ---------------------------------------------------------


def _described(source: Any) -> tuple[str, str, JsonSchema] | None:
    """Return name, description and arguments; nothing where that is for core to say."""
    try:
        if isinstance(source, BaseTool):
            return _described_tool(source)
        if isinstance(source, Mapping):
            return _described_schema(source)
        if (schema := _schema_of_class(source)) is not None:
            name = schema.pop("title", source.__name__)
            return name, schema.pop("description", ""), schema
        return _described_function(source) if callable(source) else None
    except _NO_SCHEMA:
        return None


def _described_schema(source: Mapping[str, Any]) -> tuple[str, str, JsonSchema] | None:
    source, _ = unwrapped(source)
    if is_tool(source) or "name" in source:
        return None
    source = _rooted(source)
    if not isinstance(source.get("title"), str):
        return None
    schema = object_schema(source)
    return schema.pop("title"), schema.pop("description", ""), schema or _nothing()


def _described_tool(tool: BaseTool) -> tuple[str, str, JsonSchema] | None:
    if isinstance(tool, Tool):  # takes one text, to which core gives a name
        return None
    source = tool.tool_call_schema
    schema = _rooted(source) if isinstance(source, dict) else _schema_of_class(source)
    if schema is None:
        return None
    arguments = {k: v for k, v in schema.items() if k not in ("title", "description")}
    return tool.name, tool.description, arguments or _nothing()


def _nothing() -> JsonSchema:
    return {"type": "object", "properties": {}}


def _described_function(function: Callable[..., Any]) -> tuple[str, str, JsonSchema]:
    name = function.__name__
    # As core does for functions: descriptions of arguments come from the docstring.
    model = create_schema_from_function(
        name,
        function,
        filter_args=(),
        parse_docstring=True,
        error_on_invalid_docstring=False,
        include_injected=False,
    )
    # In a module with `from __future__ import annotations`, only a tool knows what is injected.
    shown = StructuredTool(name=name, description=name, args_schema=model, func=function)
    schema = _schema_of_class(shown.tool_call_schema) or {}
    arguments = {k: v for k, v in schema.items() if k not in ("title", "description")}
    return name, model.__doc__ or "", arguments


def _schema_of_class(cls: Any) -> JsonSchema | None:
    schema = class_schema(cls)
    return None if schema is None else _rooted(schema)


# --- JSON schemas -------------------------------------------------------------------------

_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTED: Final = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_SINGLE: Final = (
    *("items", "additionalProperties", "additionalItems", "unevaluatedProperties"),
    *("contains", "propertyNames", "not", "if", "then", "else"),
)


def _mapped(
    schema: Any, change: Callable[[JsonSchema, str | None], Any], name: str | None = None
) -> Any:
    """Change each schema in a schema, from the inside out, by what it is and how it is named."""
    if not isinstance(schema, Mapping):
        return schema
    result: JsonSchema = dict(schema)
    for key, value in schema.items():
        if key in _NAMED and isinstance(value, Mapping):
            result[key] = {n: _mapped(part, change, n) for n, part in value.items()}
        elif key in _LISTED and isinstance(value, list):
            result[key] = [_mapped(part, change) for part in value]
        elif key in _SINGLE:
            result[key] = _mapped(value, change)
    return change(result, name)


def tidied(schema: Mapping[str, Any]) -> JsonSchema:
    """Return a schema with its root in one piece, and without the titles that repeat names.

    Args:
        schema: A JSON schema; not changed.
    """
    result: JsonSchema = _mapped(_rooted(schema), _without_title)
    return result


def _without_title(schema: JsonSchema, name: str | None) -> JsonSchema:
    title = schema.get("title")
    if name is not None and isinstance(title, str) and _letters(title) == _letters(name):
        schema.pop("title")
    return schema


def _letters(text: str) -> str:
    return re.sub(r"\W|_", "", text).lower()


def _closed(schema: JsonSchema, name: str | None) -> JsonSchema:
    """Allow no field but those that are named, and have all of them: OpenAI's strict mode."""
    properties = schema.get("properties")
    if isinstance(properties, dict):
        schema |= {"additionalProperties": False}
        schema |= {"required": list(properties)} if properties else {}
    return schema


def _rooted(schema: Mapping[str, Any]) -> JsonSchema:
    """Put the definition that the root refers to in its place; it is `#` from then on."""
    pointer = schema.get("$ref")
    kind, _, name = pointer.removeprefix("#/").partition("/") if pointer else ("", "", "")
    definitions = schema.get(kind, {})
    if name not in definitions:
        return dict(schema)
    root = definitions[name]
    rest = {n: part for n, part in definitions.items() if n != name}
    own = {key: value for key, value in schema.items() if key not in ("$ref", kind)}
    whole = {**root, **own, **({kind: rest} if rest else {})}

    def to_root(part: JsonSchema, _: str | None) -> JsonSchema:
        return {**part, "$ref": "#"} if part.get("$ref") == pointer else part

    result: JsonSchema = _mapped(whole, to_root)
    return result
