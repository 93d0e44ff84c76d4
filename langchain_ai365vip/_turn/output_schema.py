"""A schema in; an object that fits it, or a reason to ask again, out. Pure functions.

`Schema` has one path for pydantic v2 and v1 classes, TypedDicts, JSON schemas and OpenAI's
`response_format`. `_parsing` finds the object in the reply, repairs it and brings its fields to
the schema's types; here is decided which reading of it fits.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_ai365vip._parsing.calls import ARGUMENT_KEYS
from langchain_ai365vip._parsing.coercion import coerce
from langchain_ai365vip._parsing.json_text import read_json
from langchain_ai365vip._parsing.json_values import Value as ScannedValue
from langchain_ai365vip._parsing.objects import objects_in
from langchain_ai365vip._parsing.schemas import has_foreign_keys, is_list, schema_errors
from langchain_ai365vip._prompt.classes import problem_for, reader_of
from langchain_ai365vip._prompt.schemas import object_schema, tidied, unwrapped
from langchain_ai365vip._prompt.tools import as_sentence

_MAX_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What a reply holds.

    Attributes:
        text: The object's JSON text and nothing else: as the model wrote it where that is
            correct JSON that fits, written anew where it had to be repaired or coerced. The
            whole reply if there is no object in it.
        problem: What is wrong, in words for the model; None when the object fits.
        cut_off: The reply ended inside the object.
    """

    text: str
    problem: str | None = None
    cut_off: bool = False


@dataclass(frozen=True)
class Schema:
    """What an object must look like.

    Attributes:
        name: The name of the class, or the title of the schema.
        json_schema: The JSON schema; None for any JSON object.
        judge: The class or `TypedDict` that has the last word, if there is one.
    """

    name: str = "output"
    json_schema: Mapping[str, Any] | None = None
    judge: Any = None

    @classmethod
    def of(cls, schema: Mapping[str, Any] | type) -> Schema:
        """Read a schema in any form that LangChain accepts.

        Args:
            schema: A pydantic v2 or v1 class, a TypedDict, a JSON schema, or a tool as
                OpenAI or Anthropic write it. It is copied.

        Raises:
            ValueError: It is none of these.
        """
        schema, _ = unwrapped(schema)
        try:
            converted = object_schema(schema)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(
                f"{schema!r} is not a schema: {as_sentence(error)} Pass a pydantic class, "
                "a TypedDict or the dict of a JSON schema."
            ) from error
        kind = converted.get("type", "object")
        if kind not in ("object", "array"):
            raise ValueError(
                f"The schema's type is {kind!r}: it must be one name, 'object' or 'array'."
            )
        return cls(
            str(converted["title"]), converted, None if isinstance(schema, Mapping) else schema
        )

    @classmethod
    def of_response_format(cls, response_format: Any) -> Schema:
        """Read OpenAI's `response_format`.

        Args:
            response_format: `{"type": "json_schema", "json_schema": {"name": ..., "schema":
                ...}}` or `{"type": "json_object"}`. It is copied.

        Raises:
            ValueError: It is neither.
        """
        form = response_format if isinstance(response_format, Mapping) else {}
        kind = form.get("type")
        if kind == "json_object":
            return cls()
        given = form.get("json_schema")
        given = given if isinstance(given, Mapping) else {}
        schema = given.get("schema")
        if kind != "json_schema" or not isinstance(schema, Mapping):
            raise ValueError(
                f"response_format={response_format!r} is not understood. Use {{'type': "
                "'json_schema', 'json_schema': {'name': ..., 'schema': {...}}} or {'type': "
                "'json_object'}."
            )
        name = given.get("name") or schema.get("title") or "output"
        return cls(str(name), tidied(copy.deepcopy(dict(schema))))

    def problem(self, value: Any) -> str | None:
        """Say in words for the model what is wrong with JSON data; None when it fits."""
        if (reader := reader_of(self.judge)) is not None:
            return problem_for(reader, value, limit=_MAX_PROBLEMS)
        if self.json_schema is None:
            return None if isinstance(value, dict) else "The reply is not a JSON object."
        return "; ".join(schema_errors(value, self.json_schema, limit=_MAX_PROBLEMS)) or None

    def fitted(self, value: Any) -> tuple[Any, str | None]:
        """Return JSON data that fits, and no problem; or as it was given, and what is wrong.

        It is judged as the model wrote it, and only then with its texts brought to the types of
        the schema.
        """
        problem = self.problem(value)
        if problem is None:
            return value, None
        coerced = coerce(value, self.json_schema)
        return (coerced, None) if self.problem(coerced) is None else (value, problem)

    def read(self, text: str) -> Found:
        """Find the object in a reply, without the prose and fences around it.

        Of several, the first that fits is taken; where none does, the last one, being
        the model's conclusion, is the one that has the problem.
        """
        found = Found(text, "The reply holds no JSON object.")
        for value in objects_in(text, self.opening):
            if value.cut_off:
                return Found(value.text, "The JSON ends before it is complete.", cut_off=True)
            found = self._read_object(value)
            if found.problem is None:
                break
        return found

    @property
    def opening(self) -> str:
        """The bracket that it begins with: pydantic's root models may ask for a list."""
        return "[" if is_list(self.json_schema) else "{"

    def _read_object(self, found: ScannedValue) -> Found:
        try:
            exact = json.loads(found.text)
        except (ValueError, RecursionError):
            return self._read_broken(found)
        return self._fitted(exact, found.text)

    def _read_broken(self, found: ScannedValue) -> Found:
        try:
            value, _ = read_json(found.text, found.escaped)
        except ValueError as error:
            return Found(found.text, str(error))
        if has_foreign_keys(value, self.json_schema):
            # Where the quotation marks are broken, a foreign key is likely part of a text.
            return Found(found.text, "The JSON is broken.")
        return self._fitted(value, found.text, rewrite=True)

    def _fitted(self, value: Any, text: str, *, rewrite: bool = False) -> Found:
        """Take the first reading of the value that fits."""
        first: str | None = None
        for reading in self._readings(value):
            problem = self.problem(reading)
            if problem is None:
                same = reading is value and not rewrite
                return Found(text if same else json.dumps(reading, ensure_ascii=False))
            first = first or problem
        return Found(text, first)

    def _readings(self, value: Any) -> Iterator[Any]:
        yield value
        yield coerce(value, self.json_schema)
        # Wrapped as a call's arguments, or as the schema itself shows its fields.
        for key in (*ARGUMENT_KEYS, "properties", self.name) if isinstance(value, dict) else ():
            if isinstance(value.get(key), dict):
                yield coerce(value[key], self.json_schema)
