"""From the background loop to a sync caller: bounded, in order, and never out of reach."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable

import pytest

from langchain_ai365vip import _sync
from tests.faults.server import PATIENCE

TURNS = 10_000


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def test_a_slow_caller_makes_the_reader_pause_and_loses_nothing() -> None:
    made: list[int] = []

    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(TURNS):
            made.append(number)
            yield number
            await asyncio.sleep(0)

    stream = _sync.iterate(numbers)
    assert next(stream) == 0
    _sync.run(_turns)
    # What waits for the caller, what it has, and what is being handed over.
    assert 500 < len(made) < 2_000
    assert list(stream) == list(range(1, TURNS))


class _Stop(BaseException):
    """What a signal handler raises."""


@pytest.mark.parametrize("call", ["run", "iterate"])
def test_a_waiting_thread_notices_what_came_before_its_wait(call: str) -> None:
    """As a signal that CPython has missed, this wakes no thread that waits for a lock."""
    waiting = threading.Event()
    ended: list[BaseException] = []

    async def silence() -> AsyncGenerator[int, None]:
        waiting.set()
        await asyncio.Event().wait()
        yield 1

    async def first() -> int:
        return await silence().__anext__()

    ways: dict[str, Callable[[], object]] = {
        "run": lambda: _sync.run(first),
        "iterate": lambda: next(_sync.iterate(silence)),
    }

    def wait() -> None:
        try:
            ways[call]()
        except _Stop as stop:
            ended.append(stop)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert waiting.wait(PATIENCE)
    assert thread.ident is not None
    while sys._current_frames()[thread.ident].f_code.co_name != "_next":
        time.sleep(0.001)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(_Stop)
    )
    thread.join(PATIENCE)
    assert [type(each) for each in ended] == [_Stop]
