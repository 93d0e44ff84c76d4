"""What a reply consists of: the events that a `ToolCallParser` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class _Stretch:
    text: str

    @property
    def raw(self) -> str:
        """The characters of the reply that this event stands for."""
        return self.text


@dataclass(frozen=True, slots=True)
class Text(_Stretch):
    """Text for the reader, to be passed on at once."""


@dataclass(frozen=True, slots=True)
class Reasoning(_Stretch):
    """Text between the marks of reasoning, such as `<think>` and `</think>`."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that could be read: a name and an object.

    Attributes:
        id: A unique id, made here.
        name: The name of a bound tool; one that is not bound, as it was written, where the
            call stands in complete marks on lines of their own.
        arguments: The arguments as the model wrote them, whether they fit the tool's schema
            or not. Only text between tags is brought to the types of the schema.
        raw: The characters of the reply; empty for the second and later calls of one
            value (`{"tool_calls": [..., ...]}`).
    """

    id: str
    name: str
    arguments: dict[str, Any]
    raw: str


@dataclass(frozen=True, slots=True)
class InvalidCall:
    """A call that cannot be read.

    Attributes:
        id: A unique id, made here.
        name: The name that the call gives, bound or not; None without one.
        arguments_text: The arguments as far as they were read, as text.
        error: What is wrong, in words that the model can act on.
        raw: The characters of the reply; empty where they were passed on as text.
    """

    id: str
    name: str | None
    arguments_text: str
    error: str
    raw: str


@dataclass(frozen=True, slots=True)
class Discard(_Stretch):
    """Characters that are neither text nor a call, and why: one of the constants below."""

    why: str


Event: TypeAlias = Text | Reasoning | Call | InvalidCall | Discard

WHITE_SPACE = "white space around a call or reasoning"
THINK_TAG = "a mark of reasoning"
CLOSING_TAG = "the closing mark of a call that had ended"
EMPTY_CALL = "a call with nothing in it"
CHANNEL = "a mark in front of what the model says to the user"
TOOL_RESPONSE = "a tool result that the model made up"
MORE_CALLS = "what follows the one call that parallel_tool_calls=False allows"
