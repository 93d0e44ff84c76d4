"""`first_byte` bounds the wait for the first text as a whole, a late head included."""

from __future__ import annotations

import asyncio

import pytest

from langchain_ai365vip import AI365VIP, Timeout
from langchain_ai365vip._pool import ConnectionSettings, sessions_of
from langchain_ai365vip._protocol import chat_payload
from langchain_ai365vip.errors import AI365VIPTimeoutError
from tests.faults.server import PATIENCE, Exchange, FaultServer


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock a test puts forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def late_head_and_no_text(exchange: Exchange) -> None:
    exchange.server.stalled.set()
    exchange.server.released.wait(PATIENCE)
    exchange.head()
    exchange.stall()


async def open_slowly(loop: Loop, server: FaultServer) -> None:
    """Open a reply: 600 s pass before its head, and 600 s after it."""
    client = AI365VIP(base_url=server.url, timeout=Timeout(first_byte=1_000), max_retries=0)
    payload = chat_payload(model="m", messages=[{"role": "user", "content": "Hi"}], prompt="")
    opening = loop.create_task(client.open(payload))
    assert await asyncio.to_thread(server.stalled.wait, PATIENCE)
    loop.ahead += 600
    server.released.set()
    while not sessions_of(loop).get(ConnectionSettings()).replies:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)
    loop.ahead += 600
    await asyncio.wait_for(opening, PATIENCE)


def test_a_late_head_leaves_less_time_for_the_first_text() -> None:
    loop = Loop()
    try:
        with (
            FaultServer(late_head_and_no_text) as server,
            pytest.raises(AI365VIPTimeoutError, match="no text came within 1000 s"),
        ):
            loop.run_until_complete(open_slowly(loop, server))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
