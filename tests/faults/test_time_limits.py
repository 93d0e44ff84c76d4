"""Time limits, each for as long as it says: the loop's clock is set forward, nobody waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import pytest

from langchain_ai365vip import AI365VIP, Timeout, errors
from langchain_ai365vip._transport.reply import Reply
from langchain_ai365vip._wire.payload import chat_payload
from tests.faults.cases import BEGUN, answer, stall_before_head, stall_mid_stream
from tests.faults.server import Exchange, FaultServer

NONE = Timeout(connect=None, first_byte=None, between_bytes=None, total=None)
# So many turns of the loop are far more than anything here takes that waits for no network.
TURNS = 1_000


class Clock:
    """The time of the running loop, which stands still unless it is set forward."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time()

    def time(self) -> float:
        return self._now

    async def forward(self, seconds: float) -> None:
        """Let the time be later, and what is due then happen."""
        self._now += seconds
        for _ in range(TURNS):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock.time)
    return clock


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Waits until somebody reads the body of an answer, whose head is there then."""
    reading = asyncio.Event()

    def telling(name: str) -> None:
        real = getattr(aiohttp.StreamReader, name)

        async def read(self: aiohttp.StreamReader, *args: Any) -> bytes:
            reading.set()
            data: bytes = await real(self, *args)
            return data

        monkeypatch.setattr(aiohttp.StreamReader, name, read)

    telling("read")
    telling("readany")
    return reading.wait


def opening(url: str, timeout: Timeout, **settings: Any) -> asyncio.Task[Reply]:
    client = AI365VIP(base_url=url, timeout=timeout, max_retries=0, **settings)
    return asyncio.create_task(client.open(chat_payload(model="gpt-4o", messages=[])))


async def until(holds: Callable[[], object]) -> None:
    def wait() -> None:
        while not holds():
            time.sleep(0.001)

    await asyncio.to_thread(wait)


def head_when_released(x: Exchange) -> None:
    x.server.released.wait()
    x.head()
    x.stall()


async def test_first_byte_is_one_limit_for_the_head_and_the_first_text(
    clock: Clock, reads: Callable[[], Any]
) -> None:
    with FaultServer(head_when_released) as server:
        opened = opening(server.url, NONE._replace(first_byte=100))
        await until(lambda: server.requests)
        await clock.forward(60)
        assert not opened.done()
        server.released.set()
        await reads()
        await clock.forward(30)
        assert not opened.done()
        await clock.forward(11)
        assert opened.done()
        with pytest.raises(errors.AI365VIPTimeoutError, match=r"\(first_byte is 100 s\)"):
            await opened


async def test_between_bytes_is_a_limit_for_each_read(clock: Clock) -> None:
    with FaultServer(stall_mid_stream) as server:
        reply = await opening(server.url, NONE._replace(first_byte=100, between_bytes=50))
        assert await reply.read() == BEGUN
        # Nobody reads: a slow caller is not a slow server.
        await clock.forward(300)
        reading = asyncio.create_task(reply.read())
        await clock.forward(0)
        await clock.forward(49)
        assert not reading.done()
        await clock.forward(2)
        assert reading.done()
        with pytest.raises(errors.AI365VIPTimeoutError, match=r"\(between_bytes is 50 s\)"):
            await reading


async def test_total_is_a_limit_for_the_whole_reply(clock: Clock) -> None:
    with FaultServer(stall_mid_stream) as server:
        reply = await opening(server.url, NONE._replace(between_bytes=70, total=100))
        assert await reply.read() == BEGUN
        await clock.forward(60)
        reading = asyncio.create_task(reply.read())
        await clock.forward(41)
        assert reading.done()
        with pytest.raises(errors.AI365VIPTimeoutError, match=r"\(total is 100 s\)") as caught:
            await reading
        assert caught.value.partial_text == BEGUN


@pytest.mark.parametrize("redirects", [0, 1, 3])
async def test_total_is_a_limit_for_all_redirects_together(clock: Clock, redirects: int) -> None:
    def redirect(x: Exchange) -> None:
        x.server.released.wait()
        x.server.released.clear()
        x.reply("307 Moved", "", "Location: /elsewhere")

    with FaultServer(*[redirect] * redirects, stall_before_head) as server:
        opened = opening(server.url, NONE._replace(total=100))
        for requests in range(1, redirects + 1):
            await until(partial(requests_are, server, requests))
            await clock.forward(30)
            server.released.set()
        await until(server.stalled.is_set)
        await clock.forward(99 - 30 * redirects)
        assert not opened.done()
        await clock.forward(2)
        assert opened.done()
        with pytest.raises(errors.AI365VIPTimeoutError, match=r"\(total is 100 s\)"):
            await opened


def requests_are(server: FaultServer, count: int) -> bool:
    return server.requests == count


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (NONE, 10),
        (NONE._replace(between_bytes=60), 10),
        (NONE._replace(between_bytes=3), 3),
        (NONE._replace(total=5), 5),
        (NONE._replace(total=60), 10),
    ],
    ids=["none", "between_bytes, longer", "between_bytes", "total", "total, longer"],
)
async def test_the_body_of_an_error_is_not_waited_for_for_long(
    timeout: Timeout, seconds: float, clock: Clock, reads: Callable[[], Any]
) -> None:
    def begin(x: Exchange) -> None:
        x.send("HTTP/1.1 500 No\r\nContent-Length: 50\r\n\r\nThe model does not exist")
        x.stall()

    with FaultServer(begin) as server:
        opened = opening(server.url, timeout)
        await reads()
        await until(server.stalled.is_set)
        await clock.forward(seconds - 1)
        assert not opened.done()
        await clock.forward(2)
        assert opened.done()
        with pytest.raises(errors.AI365VIPNotFoundError) as caught:
            await opened
    assert caught.value.body == "The model does not exist"


async def test_the_wait_for_a_free_connection_has_a_limit_of_its_own(clock: Clock) -> None:
    with FaultServer(stall_mid_stream, answer) as server:
        first = await opening(server.url, NONE, max_connections=1)
        second = opening(server.url, NONE._replace(pool=100), max_connections=1)
        await clock.forward(0)
        await clock.forward(99)
        assert not second.done()
        await clock.forward(2)
        assert second.done()
        with pytest.raises(
            errors.AI365VIPTimeoutError,
            match=r"waiting for one of max_connections to be free \(pool is 100 s\)",
        ):
            await second
        assert server.requests == 1
        queued = opening(server.url, Timeout(), max_connections=1)
        await clock.forward(10_000)
        assert not queued.done()  # no limit by default
        first.close()
        (await queued).close()
        third = await opening(server.url, Timeout(), max_connections=1)
        assert await third.read()
        third.close()
