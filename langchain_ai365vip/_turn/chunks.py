"""Events of a turn -> LangChain's chunks. Pure functions, but for a count of the calls.

Each chunk holds text, or reasoning, or one tool call, never two of them: core drops a call
that shares its chunk with text. Strings in `response_metadata` are concatenated when chunks
are merged, so all of it stands on the last one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel

from langchain_ai365vip._parsing.events import Call, Event, InvalidCall, Reasoning
from langchain_ai365vip._prompt.wording import (
    invalid_call_args,
    read_invalid_call_args,
    tool_call_text,
)
from langchain_ai365vip._turn.rules import Rules
from langchain_ai365vip._turn.turn import Turn
from langchain_ai365vip.errors import AI365VIPError

T = TypeVar("T", bound=BaseModel)
PROVIDER: Final = "ai365vip"

# Core numbers text blocks 0, 1, 2 … itself in "v1" output, and merges what has the same
# index: a call numbered 0 ends up inside the text. Numbers it never reaches keep apart.
_FIRST_INDEX: Final = 1000


def text_chunk(text: str) -> ChatGenerationChunk:
    """Return a chunk of text, equal to what the two constructors make of it.

    They validate for longer than core needs to pass a chunk on, although nothing but the text
    differs: 12 µs instead of 5, where all that a token costs is 32 (measured at 200 streams;
    pydantic's `model_construct` takes 500, its `model_copy` 6 and as much again later). So a
    chunk is restored as pickle does it, from the state of one that they made.
    """
    fields = _FIELDS.copy()
    fields["content"] = text
    for name, make in _OWN:
        fields[name] = make()
    message = _restored(AIMessageChunk, fields, {"content"}, {})
    fields = {**_CHUNK_FIELDS, "text": text, "message": message}
    return _restored(ChatGenerationChunk, fields, {"message", "text"}, None)


def _restored(
    cls: type[T], fields: dict[str, Any], given: set[str], extra: dict[str, Any] | None
) -> T:
    model = cls.__new__(cls)
    model.__setstate__(
        {
            "__dict__": fields,
            "__pydantic_fields_set__": given,
            "__pydantic_extra__": extra,
            "__pydantic_private__": None,
        }
    )
    return model


_MODEL: Final = ChatGenerationChunk(message=AIMessageChunk(content=""))
_FIELDS: Final = _MODEL.message.__dict__
_CHUNK_FIELDS: Final = _MODEL.__dict__
# The fields that hold something changeable, which no two chunks may share.
_OWN: Final = tuple(
    (name, type(value)) for name, value in _FIELDS.items() if isinstance(value, (list, dict))
)


class ChunkWriter:
    """The chunks of one turn, made of its events, and the last one.

    Attributes:
        turn: The turn whose events are written.
    """

    def __init__(self, turn: Turn, rules: Rules) -> None:
        self.turn = turn
        self._passes_text_on = rules.passes_text_on
        self._calls = 0

    def feed(self, text: str) -> Sequence[ChatGenerationChunk]:
        """Return the chunks for the next text of a reply."""
        if not self._passes_text_on:
            return self._chunks(self.turn.feed(text))
        text = self.turn.pass_on(text)
        return [text_chunk(text)] if text else []

    def end(self) -> Sequence[ChatGenerationChunk]:
        """Return the chunks for the end of a reply; see `Turn.end`."""
        return self._chunks(self.turn.end())

    def fail(self, error: AI365VIPError) -> Sequence[ChatGenerationChunk]:
        """Return the chunks for a request that failed, or raise; see `Turn.fail`."""
        return self._chunks(self.turn.fail(error))

    def _chunks(self, events: Iterable[Event]) -> Sequence[ChatGenerationChunk]:
        return [self._chunk(event) for event in events]

    def _chunk(self, event: Event) -> ChatGenerationChunk:
        if isinstance(event, Call):
            return self._call_chunk(event.id, event.name, to_arguments(event.arguments))
        if isinstance(event, InvalidCall):
            return self._call_chunk(event.id, event.name, _invalid_args(event))
        if isinstance(event, Reasoning):
            # Where core looks for it when it makes content blocks, as for other providers.
            return ChatGenerationChunk(
                message=AIMessageChunk(
                    content="", additional_kwargs={"reasoning_content": event.text}
                )
            )
        return text_chunk(event.text)

    def last(self, model: str, usage: UsageMetadata | None = None) -> ChatGenerationChunk:
        """Return the last chunk: what is known of the whole reply."""
        metadata: dict[str, Any] = {
            "model_name": model,
            "model_provider": PROVIDER,
            "finish_reason": self.turn.finish_reason,
        }
        if usage is not None:
            metadata["usage"] = "estimated"
        return ChatGenerationChunk(
            message=AIMessageChunk(
                content="",
                response_metadata=metadata,
                usage_metadata=usage,
                chunk_position="last",
            )
        )

    def _call_chunk(self, id_: str, name: str | None, args: str) -> ChatGenerationChunk:
        index = _FIRST_INDEX + self._calls
        self._calls += 1
        call = tool_call_chunk(id=id_, name=name, args=args, index=index)
        return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))


def with_errors(message: AIMessage) -> None:
    """Put each invalid call's error where LangChain looks for it, in a whole message."""
    for call in message.invalid_tool_calls:
        if (invalid := read_invalid_call_args(call["args"] or "")) is not None:
            call["error"] = invalid[1]


def to_arguments(arguments: Mapping[str, Any]) -> str:
    """Write arguments as JSON with real Unicode."""
    return json.dumps(arguments, ensure_ascii=False)


def _invalid_args(event: InvalidCall) -> str:
    written = event.raw
    if not written and event.arguments_text:  # one of several calls that stand in one value
        written = tool_call_text(event.name, event.arguments_text)
    return invalid_call_args(written.strip(), event.error)
