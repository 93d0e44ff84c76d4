"""A plain generator function as the model: what people write first."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableGenerator, RunnableLambda

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.server import LocalServer
from tests.server.server_kit import read_up_to


def test_a_generator_function_streams_and_is_closed_when_the_client_leaves() -> None:
    go_on, closed = threading.Event(), threading.Event()

    def model(messages: list[BaseMessage]) -> Iterator[str]:
        try:
            yield "You said: "
            go_on.wait(60)
            yield messages[-1].text
            yield from ("again " for _ in range(100_000))
        finally:
            closed.set()

    with LocalServer(model) as server:
        chunks = ChatAI365VIP(base_url=server.base_url).stream("Hi")
        read_up_to("You said: ", chunks)
        go_on.set()
        assert next(chunks).text.startswith("H")
        chunks.close()  # type: ignore[attr-defined]  # core's is a generator
        assert closed.wait(60)


def spelled(messages: list[BaseMessage], step: int = 1) -> Iterator[str]:
    yield from messages[-1].text[::step]


async def spelled_in_async(messages: list[BaseMessage]) -> AsyncIterator[str]:
    for letter in messages[-1].text:
        yield letter


class Speller:
    def spell(self, messages: list[BaseMessage]) -> Iterator[str]:
        yield from messages[-1].text

    def __call__(self, messages: list[BaseMessage]) -> Iterator[str]:
        yield from messages[-1].text


class AsyncSpeller:
    async def __call__(self, messages: list[BaseMessage]) -> AsyncIterator[str]:
        for letter in messages[-1].text:
            yield letter


def each(conversations: Iterator[list[BaseMessage]]) -> Iterator[str]:
    for conversation in conversations:
        yield from spelled(conversation)


def same(messages: list[BaseMessage]) -> list[BaseMessage]:
    return messages


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(spelled, id="generator-function"),
        pytest.param(spelled_in_async, id="async-generator-function"),
        pytest.param(partial(spelled, step=1), id="partial"),
        pytest.param(Speller().spell, id="method"),
        pytest.param(Speller(), id="object"),
        pytest.param(AsyncSpeller(), id="async-object"),
        pytest.param(RunnableGenerator(each), id="runnable-generator"),
        pytest.param(RunnableLambda(spelled), id="lambda"),
        pytest.param(RunnableLambda(spelled).with_config(tags=["a"]), id="bound"),
        pytest.param(RunnableLambda(same) | each, id="in-a-chain"),
        pytest.param(RunnableLambda(same) | RunnableLambda(spelled), id="lambda-in-a-chain"),
    ],
)
def test_a_generator_streams_however_it_is_wrapped(model: Any) -> None:
    with LocalServer(model) as server:
        chunks = list(ChatAI365VIP(base_url=server.base_url).stream("abc"))
    assert "".join(chunk.text for chunk in chunks) == "abc"


def test_a_client_that_leaves_a_blocking_generator_leaves_no_error_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    blocked, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def model(messages: list[BaseMessage]) -> Iterator[str]:
        try:
            yield "one"
            blocked.set()
            go_on.wait(60)
            yield "two"
        finally:
            closed.set()

    with LocalServer(RunnableLambda(model)) as server:
        chunks = ChatAI365VIP(base_url=server.base_url).stream("Hi")
        read_up_to("one", chunks)
        assert blocked.wait(60)
        chunks.close()  # type: ignore[attr-defined]  # core's is a generator
        go_on.set()
        assert closed.wait(60)
    assert caplog.text == ""
