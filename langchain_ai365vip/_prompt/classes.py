"""The classes that say what data must be: their JSON schema, and what reads data as one.

Pydantic v2 and v1 classes, `TypedDict`s and dataclasses. A class has the last word on an object:
what it accepts fits, whatever its JSON schema says.
"""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from langchain_core.tools import StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_function
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.v1 import BaseModel as BaseModelV1
from pydantic.v1 import ValidationError as ValidationErrorV1
from typing_extensions import (
    NotRequired,
    ReadOnly,
    Required,
    TypedDict,
    get_type_hints,
    is_typeddict,
)

JsonSchema = dict[str, Any]


def class_schema(cls: Any) -> JsonSchema | None:
    """Return the JSON schema that pydantic makes of a class; `None` for what is none.

    Raises:
        PydanticUserError: Pydantic makes none of it.
    """
    if not isinstance(cls, type):
        return None
    if issubclass(cls, BaseModel):
        return copy.deepcopy(cls.model_json_schema())
    if issubclass(cls, BaseModelV1):
        return copy.deepcopy(cls.schema())
    adapter: TypeAdapter[Any] | None = adapter_of(typing.cast("Any", cls))
    return None if adapter is None else adapter.json_schema()


def has_class(tool: Any) -> bool:
    """Say whether a tool's arguments are checked by a class or a function, and not only a schema.

    LangChain checks those when the tool is called. A tool that has nothing to call is a class of
    `ToolStrategy`, which reads the arguments by it, and tells the model what it says.
    """
    if isinstance(tool, StructuredTool) and tool.func is None and tool.coroutine is None:
        return True
    only_schema = isinstance(getattr(tool, "args_schema", None), Mapping)
    return not isinstance(tool, Mapping) and not only_schema


def reader_of(cls: Any) -> Callable[[Any], Any] | None:
    """Return what makes objects of a class of plain data, and raises where it refuses them.

    It is read as JSON, which is what the model wrote: a strict class takes a date or an enum's
    value from a text there, and `val_json_bytes` counts. Of a `TypedDict` or a dataclass it makes
    a dict, as LangChain does.
    """
    if isinstance(cls, type) and issubclass(cls, BaseModel):
        return lambda value: cls.model_validate_json(json.dumps(value))
    if isinstance(cls, type) and issubclass(cls, BaseModelV1):
        return cls.parse_obj
    adapter = adapter_of(cls) if cls is not None else None
    if adapter is None:
        return None
    return lambda value: adapter.dump_python(adapter.validate_json(json.dumps(value)))


def problem_for(reader: Callable[[Any], Any], value: Any, *, limit: int) -> str | None:
    """Say in words for a model why a class refuses data; `None` where it takes them.

    Args:
        reader: What `reader_of` returned.
        value: Plain data.
        limit: How many faults are named.
    """
    try:
        reader(value)
    except (ValidationError, ValidationErrorV1) as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'the value'}: {fault['msg']}"
            for fault in error.errors()[:limit]
        ]
        return "; ".join(faults)
    except Exception as error:  # a validator that expects another value
        return f"{type(error).__name__}: {error}"
    return None


@functools.lru_cache(maxsize=256)
def adapter_of(cls: Any) -> TypeAdapter[Any] | None:
    """Return what reads a `TypedDict` or a dataclass; nothing for other things."""
    if is_typeddict(cls):
        return TypeAdapter(_typed_dict(cls, {}))
    return TypeAdapter(cls) if isinstance(cls, type) and dataclasses.is_dataclass(cls) else None


# --- TypedDicts ---------------------------------------------------------------------------
#
# Pydantic reads those of `typing` from Python 3.12 on only, and neither their docstrings'
# arguments nor LangChain's `Annotated[type, default, "description"]`.

_REQUIRED: Final = (Required, getattr(typing, "Required", Required))
_NOT_REQUIRED: Final = (NotRequired, getattr(typing, "NotRequired", NotRequired))
_READ_ONLY: Final = (ReadOnly, getattr(typing, "ReadOnly", ReadOnly))


_new_typed_dict: Any = TypedDict  # whose name and fields are known at run time only


def _typed_dict(cls: Any, done: dict[Any, Any]) -> Any:
    """Write a `TypedDict`, and those in it, as pydantic reads them."""
    if cls in done:
        return done[cls]
    new = _new_typed_dict(cls.__name__, {})
    done[cls] = new
    hints = get_type_hints(cls, localns={cls.__name__: cls}, include_extras=True)
    description, told = _docstring(cls, list(hints))
    required = set()
    for name, hint in hints.items():
        kind, needed, details = _unwrapped(hint)
        default, details = _described_by(details, told.get(name))
        needed = name in cls.__required_keys__ if needed is None else needed
        if needed and default is ...:
            required.add(name)
        kind = _replaced(kind, done)
        parts = (kind, *details)
        new.__annotations__[name] = Annotated[parts] if details else kind
    new.__required_keys__ = frozenset(required)
    new.__optional_keys__ = frozenset(hints.keys() - required)
    new.__doc__, new.__module__ = description, cls.__module__
    if hasattr(cls, "__pydantic_config__"):
        new.__pydantic_config__ = cls.__pydantic_config__
    return new


def _docstring(cls: Any, names: list[str]) -> tuple[str | None, dict[str, str]]:
    """Return what a docstring says of the whole and of each field, as core reads it."""
    if not cls.__doc__:
        return None, {}
    plain = _new_typed_dict(cls.__name__, dict.fromkeys(names, str))
    plain.__doc__ = cls.__doc__
    function = convert_to_openai_function(plain)
    fields = function["parameters"]["properties"]
    told = {name: part["description"] for name, part in fields.items() if "description" in part}
    return function["description"], told


def _unwrapped(hint: Any) -> tuple[Any, bool | None, tuple[Any, ...]]:
    """Return a field's type, whether it must be there (if that is said), and its annotations."""
    needed: bool | None = None
    details: tuple[Any, ...] = ()
    while (origin := get_origin(hint)) in (Annotated, *_REQUIRED, *_NOT_REQUIRED, *_READ_ONLY):
        hint, *more = get_args(hint)
        details = (*more, *details)
        if origin in (*_REQUIRED, *_NOT_REQUIRED):
            needed = origin in _REQUIRED
    return hint, needed, details


def _described_by(details: tuple[Any, ...], told: str | None) -> tuple[Any, tuple[Any, ...]]:
    """Return a field's default (`...` for none), and its annotations as pydantic reads them."""
    default: Any = ...
    if len(details) == 2 and isinstance(details[1], str):
        default, told, details = details[0], told or details[1], ()
    elif len(details) == 1 and isinstance(details[0], str):
        told, details = told or details[0], ()
    extra = None if default is ... else {"default": default}
    said = (Field(description=told, json_schema_extra=extra),) if told or extra else ()
    return default, (*details, *said)


def _replaced(hint: Any, done: dict[Any, Any]) -> Any:
    """Put TypedDicts that pydantic reads in the place of those in a type."""
    if is_typeddict(hint):
        return _typed_dict(hint, done)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (None, Literal, collections.abc.Callable):
        return hint
    new = tuple(_replaced(part, done) for part in inner)
    if origin is Annotated:
        new = (new[0], *inner[1:])
    if origin in (Union, types.UnionType):
        return Union[new]  # noqa: UP007  # of a tuple
    return hint if new == inner else origin[new]
