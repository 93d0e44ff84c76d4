"""A caller that leaves: the server sees the connection closed, nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from langchain_ai365vip import AI365VIP, ChatAI365VIP
from tests.faults.calling import PROMPT
from tests.faults.cases import (
    ANSWER,
    BEGUN,
    answer,
    stall_after_head,
    stall_before_head,
    stall_mid_stream,
)
from tests.faults.leftovers import open_sockets, settle
from tests.faults.server import PATIENCE, Exchange, FaultServer, Script, on_accept

Model = Callable[..., ChatAI365VIP]
Leave = Callable[[ChatAI365VIP, FaultServer], Awaitable[None]]


async def _first(stream: AsyncIterable[Any]) -> None:
    async for _ in stream:
        break


async def _break_and_close(model: ChatAI365VIP, server: FaultServer) -> None:
    stream = model.astream(PROMPT)
    await _first(stream)
    await stream.aclose()  # type: ignore[attr-defined]  # core returns a generator


async def _break_and_drop(model: ChatAI365VIP, server: FaultServer) -> None:
    await _first(model.astream(PROMPT))


class _Answer(BaseModel):
    """An answer."""

    text: str


async def _break_and_drop_bound(model: ChatAI365VIP, server: FaultServer) -> None:
    await _first(model.bind(stop=["END"]).astream(PROMPT))


async def _break_and_drop_with_config(model: ChatAI365VIP, server: FaultServer) -> None:
    await _first(
        model.with_config(tags=["a"]).bind(stop=["END"]).with_config(tags=["b"]).astream(PROMPT)
    )


async def _break_and_drop_with_tools(model: ChatAI365VIP, server: FaultServer) -> None:
    await _first(model.bind_tools([_Answer]).astream(PROMPT))


async def _break_and_leave_to_the_collector(model: ChatAI365VIP, server: FaultServer) -> None:
    holder: list[Any] = [model.astream(PROMPT)]
    await _first(holder[0])
    holder.append(holder)
    del holder
    gc.collect()


async def _drop_the_bare_stream(model: ChatAI365VIP, server: FaultServer) -> None:
    await _first(model._astream([HumanMessage(PROMPT)]))


async def _drop_the_wire_client(model: ChatAI365VIP, server: FaultServer) -> None:
    turn = {"role": "user", "content": PROMPT}
    await _first(AI365VIP.create_async_generator("gpt-4o", [turn], base_url=server.url))


async def _cancelled(work: Any, server: FaultServer, arrived: threading.Event) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.to_thread(arrived.wait, PATIENCE)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def _cancel_ainvoke(model: ChatAI365VIP, server: FaultServer) -> None:
    await _cancelled(model.ainvoke(PROMPT), server, server.stalled)


async def _cancel_astream(model: ChatAI365VIP, server: FaultServer) -> None:
    async def read() -> None:
        async for _ in model.astream(PROMPT):
            pass

    await _cancelled(read(), server, server.stalled)


async def _close_v2_events(model: ChatAI365VIP, server: FaultServer) -> None:
    events = model.astream_events(PROMPT, version="v2")
    async for event in events:
        if event["event"] == "on_chat_model_stream":
            break
    await events.aclose()  # type: ignore[attr-defined]  # core returns a generator


async def _close_v3_events(model: ChatAI365VIP, server: FaultServer) -> None:
    stream = await model.astream_events(PROMPT, version="v3")
    await _first(stream)
    await stream.aclose()


MID_STREAM: dict[str, Leave] = {
    "break and aclose": _break_and_close,
    "break and drop": _break_and_drop,
    "bound, break and drop": _break_and_drop_bound,
    "with a config, break and drop": _break_and_drop_with_config,
    "with tools, break and drop": _break_and_drop_with_tools,
    "left to the garbage collector": _break_and_leave_to_the_collector,
    "the bare stream dropped": _drop_the_bare_stream,
    "the wire client's generator dropped": _drop_the_wire_client,
    "ainvoke cancelled": _cancel_ainvoke,
    "astream cancelled": _cancel_astream,
    "v2 events closed": _close_v2_events,
    "v3 events closed": _close_v3_events,
}
EARLIER: dict[str, Leave] = {
    "ainvoke cancelled": _cancel_ainvoke,
    "astream cancelled": _cancel_astream,
}
CASES: list[tuple[str, Leave, Script]] = [
    *((f"{name}, in mid-reply", leave, stall_mid_stream) for name, leave in MID_STREAM.items()),
    *((f"{name}, after the head", leave, stall_after_head) for name, leave in EARLIER.items()),
    *((f"{name}, before the head", leave, stall_before_head) for name, leave in EARLIER.items()),
]


@pytest.mark.filterwarnings("ignore:.*_achat_model_stream_v3. is in beta")
@pytest.mark.parametrize(
    ("leave", "script"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_the_server_sees_the_connection_closed(
    leave: Leave, script: Script, model: Model
) -> None:
    with FaultServer(script) as server:
        sockets = open_sockets()
        await leave(model(server.url), server)
        # On another thread: the loop closes what was only dropped.
        assert await asyncio.to_thread(server.connections[0].closed_by_client.wait, PATIENCE)
        server.connections[0].join(PATIENCE)  # which closes the server's end, too
        assert await settle() == set()
        assert open_sockets() <= sockets


class _Left(BaseException):
    """What a signal handler raises in these tests."""


@contextlib.contextmanager
def _signal_raises() -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        raise _Left

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def _signal_mid_stream(x: Exchange) -> None:
    x.head()
    x.text(BEGUN)
    os.kill(os.getpid(), signal.SIGUSR1)
    x.stall()


def _break(model: ChatAI365VIP) -> None:
    for _ in model.stream(PROMPT):
        break


def _close(model: ChatAI365VIP) -> None:
    stream = model.stream(PROMPT)
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # core returns a generator


def _interrupted_stream(model: ChatAI365VIP) -> None:
    with pytest.raises(_Left):
        list(model.stream(PROMPT))


def _interrupted_invoke(model: ChatAI365VIP) -> None:
    with pytest.raises(_Left):
        model.invoke(PROMPT)


@pytest.mark.parametrize(
    ("leave", "script"),
    [
        (_break, stall_mid_stream),
        (_close, stall_mid_stream),
        (_interrupted_stream, _signal_mid_stream),
        (_interrupted_invoke, _signal_mid_stream),
    ],
    ids=["break", "close", "Ctrl-C in stream", "Ctrl-C in invoke"],
)
def test_a_sync_caller_that_leaves_closes_the_connection(
    leave: Callable[[ChatAI365VIP], None], script: Script, model: Model
) -> None:
    with FaultServer(script) as server, _signal_raises():
        leave(model(server.url))
        assert server.connections[0].closed_by_client.wait(PATIENCE)


@on_accept
def _read_no_further(x: Exchange) -> None:
    x.connection.socket.recv(1)
    x.server.stalled.set()
    x.server.released.wait(PATIENCE)


async def test_cancelling_while_the_request_is_still_being_sent_leaves_no_socket(
    model: Model,
) -> None:
    with FaultServer(_read_no_further) as server:
        sockets = open_sockets()
        work = model(server.url).ainvoke("x" * 20_000_000)
        await _cancelled(work, server, server.stalled)
        assert await settle() == set()
        # The server has not read: all that was sent is still on its way, or was given up.
        assert open_sockets() <= sockets + 1, "only the server's own end is left"
        server.released.set()


async def test_aclose_never_cuts_a_siblings_stream(model: Model) -> None:
    def paced(x: Exchange) -> None:
        x.head()
        x.text(BEGUN)
        x.server.stalled.set()
        x.server.released.wait(PATIENCE)
        x.text(ANSWER[len(BEGUN) :])
        x.end()

    with FaultServer(paced, answer) as server:
        one, other = model(server.url), model(server.url)
        stream = one.astream(PROMPT)
        seen = [(await anext(stream)).text]
        await one.aclose()
        assert (await other.ainvoke(PROMPT)).text == ANSWER
        await other.aclose()
        server.released.set()
        seen += [chunk.text async for chunk in stream]
        assert "".join(seen) == ANSWER
