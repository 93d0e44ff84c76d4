"""A chunk of text made without validation is the constructors' chunk in every respect."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.load import dumps
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks
from pydantic import BaseModel

from langchain_ai365vip._turn.chunks import text_chunk

TEXTS = ["a", "zwölf € 你好 🙂", "line\nbreak", "{'json': 1}"]


def constructed(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def _state(value: Any) -> Any:
    """Everything that a model consists of, down to the types of its values."""
    if isinstance(value, BaseModel):
        return type(value), {name: _state(part) for name, part in value.__getstate__().items()}
    if isinstance(value, dict):
        return dict, {name: _state(part) for name, part in value.items()}
    # core's constructor leaves a subclass of str in `text`
    return (str if isinstance(value, str) else type(value)), value


def _changeable(value: Any) -> Iterator[Any]:
    if isinstance(value, BaseModel):
        yield value
        for part in value.__getstate__().values():
            yield from _changeable(part)
    elif isinstance(value, (dict, list, set)):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from _changeable(part)


@pytest.mark.parametrize("text", TEXTS)
def test_it_has_the_state_that_the_constructors_give(text: str) -> None:
    assert _state(text_chunk(text)) == _state(constructed(text))


def test_no_two_chunks_share_anything_changeable() -> None:
    chunks = [text_chunk("a"), text_chunk("a"), text_chunk("b")]
    seen = [id(part) for chunk in chunks for part in _changeable(chunk)]
    # a chunk, its message, and for each a dict and a set; three lists, three dicts
    assert len(seen) >= 3 * 10
    assert len(set(seen)) == len(seen)


def test_changing_one_chunk_changes_no_later_one() -> None:
    first = text_chunk("a")
    first.message.id = "id"
    first.message.additional_kwargs["key"] = "value"
    first.message.response_metadata = {"key": "value"}
    assert isinstance(first.message, AIMessageChunk)
    first.message.tool_calls.append({"name": "f", "args": {}, "id": "1", "type": "tool_call"})
    first.message.model_fields_set.add("tool_calls")
    assert _state(text_chunk("a")) == _state(constructed("a"))


@pytest.mark.parametrize(
    "treat",
    [
        pytest.param(lambda chunk: chunk + constructed("end"), id="added to another"),
        pytest.param(lambda chunk: constructed("start") + chunk, id="another added"),
        pytest.param(
            lambda chunk: merge_chat_generation_chunks([chunk, chunk, constructed("x")]),
            id="merged",
        ),
        pytest.param(copy.deepcopy, id="deep copy"),
        pytest.param(lambda chunk: chunk.model_copy(update={"text": "other"}), id="model_copy"),
        pytest.param(lambda chunk: pickle.loads(pickle.dumps(chunk)), id="pickled"),
        pytest.param(lambda chunk: chunk.model_dump(), id="model_dump"),
        pytest.param(lambda chunk: chunk.model_dump(exclude_unset=True), id="what was set"),
        pytest.param(lambda chunk: dumps(chunk), id="langchain's dumps"),
        pytest.param(lambda chunk: chunk.message.content_blocks, id="content_blocks"),
        pytest.param(lambda chunk: chunk.message.text, id="text"),
        pytest.param(lambda chunk: repr(chunk.message), id="repr of the message"),
        pytest.param(lambda chunk: chunk.message.pretty_repr(), id="pretty_repr"),
    ],
)
def test_it_behaves_as_the_constructors_chunk(
    treat: Callable[[ChatGenerationChunk], object],
) -> None:
    assert _state(treat(text_chunk("text"))) == _state(treat(constructed("text")))


def test_two_chunks_are_equal() -> None:
    assert text_chunk("a") == constructed("a")
    assert text_chunk("a") != constructed("b")
