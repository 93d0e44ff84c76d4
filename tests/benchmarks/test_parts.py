"""What the parts cost in process, without any wire.

`uv run pytest -m heavy tests/benchmarks/test_parts.py` prints pytest-benchmark's table, with the
median and the spread of each. Every part also has its result checked, so that nothing fast and
wrong is measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk

from langchain_ai365vip._chunks import text_chunk
from langchain_ai365vip._cutter import ReplyCutter
from langchain_ai365vip._messages import to_wire
from langchain_ai365vip._structured import Schema
from langchain_ai365vip._tokens import estimate_tokens
from langchain_ai365vip._tool_parser import Call, Text, ToolCallParser
from tests.benchmarks.load import TOKENS

Benchmark = Callable[..., Any]
pytestmark = pytest.mark.heavy

TOOLS: dict[str, Any] = {
    "write": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
}
PROSE = [TOKENS[number % len(TOKENS)] for number in range(5_000)]
ARGUMENT = "lorem ipsum " * 8_000
CALL = (
    f"<tool_call>\n{json.dumps({'name': 'write', 'arguments': {'text': ARGUMENT}})}\n</tool_call>"
)


def cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def parsed(pieces: list[str]) -> list[Any]:
    parser = ToolCallParser(TOOLS)
    events = [event for piece in pieces for event in parser.feed(piece)]
    return [*events, *parser.flush()]


def test_a_chunk_of_text(benchmark: Benchmark) -> None:
    assert benchmark(text_chunk, "lorem ") == constructed("lorem ")


def constructed(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def test_a_chunk_of_text_by_the_constructors(benchmark: Benchmark) -> None:
    assert benchmark(constructed, "lorem ").text == "lorem "


def test_5000_tokens_of_prose_with_tools_bound(benchmark: Benchmark) -> None:
    assert benchmark(parsed, PROSE) == [Text(token) for token in PROSE]


@pytest.mark.parametrize("size", [4, 400], ids=lambda size: f"in pieces of {size}")
def test_a_call_of_100_kilobytes(benchmark: Benchmark, size: int) -> None:
    calls = [event for event in benchmark(parsed, cut(CALL, size)) if isinstance(event, Call)]
    assert [call.arguments for call in calls] == [{"text": ARGUMENT}]


def kept(tokens: list[str]) -> Iterator[str]:
    cutter = ReplyCutter(["\nObservation:", "STOP"], 1_000_000, estimate_tokens)
    yield from map(cutter.feed, tokens)
    yield cutter.flush()


def test_5000_tokens_past_stop_texts_and_a_bound(benchmark: Benchmark) -> None:
    assert benchmark(lambda: "".join(kept(PROSE))) == "".join(PROSE)


def test_100_messages_for_the_wire(benchmark: Benchmark) -> None:
    history: list[BaseMessage] = [HumanMessage("Question?"), AIMessage("Answer.")] * 50
    _, turns = benchmark(to_wire, history)
    assert len(turns) == 100


def test_an_object_of_200_items_out_of_a_reply(benchmark: Benchmark) -> None:
    item = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    listed = {"type": "array", "items": item}
    schema = Schema.of({"title": "Items", "type": "object", "properties": {"all": listed}})
    value = {"all": [{"id": number} for number in range(200)]}
    found = benchmark(schema.read, f"Here it is:\n```json\n{json.dumps(value)}\n```")
    assert json.loads(found.text) == value
