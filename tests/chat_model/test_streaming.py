"""Text arrives as it is sent, in every way of calling, and breaking off ends the request."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_ai365vip import AI365VIP, ChatAI365VIP
from tests.endpoint import Endpoint


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    return ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url)


async def test_astream_hands_on_each_piece_before_the_next_is_sent(
    paced: Endpoint, model: ChatAI365VIP
) -> None:
    paced.pieces = ["one", " two", " three"]
    seen = []
    paced.release()
    async for chunk in model.astream("Hi"):
        seen.append(chunk.text)
        paced.release()
    assert seen == ["one", " two", " three", ""]


def test_stream_hands_on_each_piece_before_the_next_is_sent(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.paced = True
    endpoint.pieces = ["one", " two", " three"]
    seen = []
    endpoint.release()
    for chunk in model.stream("Hi"):
        seen.append(chunk.text)
        endpoint.release()
    assert seen == ["one", " two", " three", ""]


async def test_all_ways_of_calling_agree(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    endpoint.pieces = ["Gr", "ü\u00df".encode()[:1], "ü\u00df".encode()[1:], " dich"]
    whole = await model.ainvoke("Hi")
    assert whole.content == "Grüß dich"
    assert whole.response_metadata == {
        "model_name": "gpt-4o",
        "model_provider": "ai365vip",
        "finish_reason": "stop",
    }
    assert (await asyncio.to_thread(model.invoke, "Hi")).content == "Grüß dich"
    assert model.invoke("Hi").content == "Grüß dich"  # inside a running loop
    assert "".join([c.text async for c in model.astream("Hi")]) == "Grüß dich"
    assert "".join(c.text for c in model.stream("Hi")) == "Grüß dich"
    assert endpoint.requests == 5


async def test_breaking_out_of_astream_closes_the_connection(
    paced: Endpoint, model: ChatAI365VIP
) -> None:
    paced.release()
    async for _ in model.astream("Hi"):
        break
    gc.collect()
    assert await asyncio.to_thread(paced.closed.wait, 30)


def test_breaking_out_of_stream_closes_the_connection(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.paced = True
    endpoint.release()
    for _ in model.stream("Hi"):
        break
    gc.collect()
    assert endpoint.closed.wait(30)


async def test_the_source_documents_example_runs(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    model, messages = "gpt-3.5-turbo", [{"role": "user", "content": "Hi"}]
    async for chunk in AI365VIP.create_async_generator(
        model=model, messages=messages, base_url=endpoint.base_url
    ):
        print(chunk)  # noqa: T201
    assert "".join(capsys.readouterr().out.split("\n")) == "Hello there!"
    assert endpoint.bodies == [
        {
            "model": {
                "id": "gpt-3.5-turbo-16k",
                "name": "GPT-3.5-16K",
                "maxLength": 48_000,
                "tokenLimit": 1_000_000_000,
            },
            "messages": [{"role": "user", "content": "Hi"}],
            "key": "",
            "prompt": "You are a helpful assistant.",
            "temperature": 1.0,
        }
    ]


async def test_replies_side_by_side_stay_apart(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    words = [f"word{number} " for number in range(200)]
    endpoint.pieces = lambda body: [body["messages"][0]["content"], *words]
    replies = await asyncio.gather(*(model.ainvoke(f"<{number}>") for number in range(20)))
    assert [reply.content for reply in replies] == [
        f"<{number}>" + "".join(words) for number in range(20)
    ]


def test_a_hundred_calls_use_one_connection(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    for _ in range(100):
        model.invoke("Hi")
    assert endpoint.connections == 1


@pytest.mark.parametrize("limit", [{"stop": ["STOP"]}, {"max_tokens": 1}], ids=["stop", "length"])
async def test_the_connection_is_closed_at_the_cut_and_not_when_the_caller_reads_on(
    paced: Endpoint, model: ChatAI365VIP, limit: dict[str, Any]
) -> None:
    paced.pieces = ["one STOP and a lot of further text", "more"]
    paced.release()
    chunks = model.astream("Hi", **limit)
    assert (await chunks.__anext__()).text.startswith("one")
    assert await asyncio.to_thread(paced.closed.wait, 30)
    assert (await chunks.__anext__()).text == ""


@pytest.mark.parametrize("reasoning", [False, True], ids=["passed-on", "read-for-reasoning"])
async def test_an_end_that_was_held_back_and_is_too_long_is_a_cut(
    endpoint: Endpoint, model: ChatAI365VIP, reasoning: bool
) -> None:
    endpoint.pieces = ["Hello", "#"]  # may become the stop text, and is one token too many
    limits: dict[str, Any] = {"stop": ["##"], "max_tokens": 1, "reasoning": reasoning}
    replies: list[list[AIMessage]] = [
        [model.invoke("x", **limits)],
        [await model.ainvoke("x", **limits)],
        list(model.stream("x", **limits)),
        [chunk async for chunk in model.astream("x", **limits)],
    ]
    for reply in replies:
        assert "".join(part.text for part in reply) == "Hello"
        assert reply[-1].response_metadata["finish_reason"] == "length"
