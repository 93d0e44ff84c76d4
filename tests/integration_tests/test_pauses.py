"""Pauses in reading, which very many replies at a time bring about, change nothing but when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from langchain_ai365vip import ChatAI365VIP, Timeout
from langchain_ai365vip._pacing import ReadingPauses
from langchain_ai365vip.errors import AI365VIPConnectionError
from tests.endpoint import Endpoint

PIECES = [f"word{number} " for number in range(200)]


@pytest.fixture(autouse=True)
def _every_reply_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReadingPauses, "FREE", 0)
    monkeypatch.setattr(ReadingPauses, "PER_REPLY", ReadingPauses.LONGEST)


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    return ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url)


async def test_no_text_is_lost_and_the_connection_is_used_again(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = PIECES
    for _ in range(3):
        chunks = [chunk.text async for chunk in model.astream("Hi")]
        assert "".join(chunks) == "".join(PIECES)
    assert endpoint.connections == 1


async def test_replies_side_by_side_stay_apart(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    endpoint.pieces = lambda body: [body["messages"][0]["content"], *PIECES]
    replies = await asyncio.gather(*(model.ainvoke(f"<{number}>") for number in range(20)))
    assert [reply.content for reply in replies] == [
        f"<{number}>" + "".join(PIECES) for number in range(20)
    ]


async def test_the_first_text_does_not_wait(paced: Endpoint, model: ChatAI365VIP) -> None:
    paced.pieces = ["one", " two"]
    paced.release()
    stream = model.astream("Hi")
    assert (await anext(stream)).text == "one"
    paced.release()
    assert "".join([chunk.text async for chunk in stream]) == " two"


async def test_breaking_off_in_a_pause_ends_the_request(
    paced: Endpoint, model: ChatAI365VIP
) -> None:
    paced.pieces = PIECES
    paced.release()
    stream = model.astream("Hi")
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator, says the code
    assert await asyncio.to_thread(paced.closed.wait, 30)


def _broken_off(_body: object) -> Iterator[str]:
    yield from ("one", "two")
    raise ConnectionError("the endpoint's own end")


async def test_a_connection_lost_in_a_pause_is_noticed(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = _broken_off
    seen: list[str] = []

    async def read() -> None:
        async for chunk in model.astream("Hi"):
            seen.append(chunk.text)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(AI365VIPConnectionError) as caught:
        await read()
    assert caught.value.partial_text == "".join(seen) == "onetwo"


async def test_a_short_time_limit_is_not_spent_on_pauses(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long that a machine must be very busy to use up the limit without them.
    monkeypatch.setattr(ReadingPauses, "LONGEST", 30.0)
    monkeypatch.setattr(ReadingPauses, "PER_REPLY", 30.0)
    timeout = Timeout(connect=60, first_byte=60, between_bytes=2)
    model = ChatAI365VIP(base_url=endpoint.base_url, timeout=timeout, max_retries=0)
    endpoint.pieces = PIECES
    assert (await model.ainvoke("Hi")).content == "".join(PIECES)
