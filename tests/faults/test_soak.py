"""Thousands of calls over a server that injects random faults: all end well, nothing grows."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import pytest

from langchain_ai365vip import ChatAI365VIP, Timeout, errors
from tests.faults import cases
from tests.faults.cases import ANSWER
from tests.faults.leftovers import open_sockets, settle
from tests.faults.server import Exchange, FaultServer

CALLS, AT_A_TIME, SAMPLES = 5_000, 100, 20
# Of Python's memory, in bytes for each call. Without a leak, -250 to 250 were measured.
GROWTH = 1_000

SCRIPTS = [
    *[cases.answer] * 6,
    cases.close_before_head,
    cases.reset_before_head,
    cases.stall_mid_stream,
    cases.close_between_chunks,
    cases.close_mid_chunk,
    cases.reset_mid_stream,
    cases.short_body,
    cases.empty,
    cases.answer_and_more,
    cases.replying("503 Service Unavailable", "Error", "Retry-After: 0"),
    cases.replying("401 Unauthorized", "Error"),
    cases.raw_body(b"Hel", b"\xff"),
]


@dataclass
class Report:
    """What a soak saw."""

    answers: int = 0
    failures: int = 0
    wrong: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    sockets: tuple[int, int] = (0, 0)
    tasks: int = 0

    def check(self) -> None:
        """Fail unless all ended well and nothing was left or grew."""
        assert self.wrong == []
        assert self.answers + self.failures == CALLS
        assert self.answers > CALLS / 4
        assert self.failures > CALLS / 20
        assert self.tasks == 0
        assert self.sockets[1] <= self.sockets[0]
        assert self.growth() <= GROWTH, "the memory grew"

    def growth(self) -> float:
        """How many bytes a call left behind, in the second half: caches fill up in the first.

        From the median of its first samples to that of its last: a sample holds what the calls
        under way need, and says little by itself.
        """
        half, few = self.memory[len(self.memory) // 2 :], 4
        calls = (len(half) - few) * (CALLS // SAMPLES)
        return (median(half[-few:]) - median(half[:few])) / calls


def _in_use() -> int:
    # Not the process's resident size: a leak may hide there, in room that tests before left.
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def _one(model: ChatAI365VIP, report: Report) -> None:
    text = ""
    try:
        async for chunk in model.astream("x"):
            text += chunk.text
    except errors.AI365VIPError:
        report.failures += 1
        good = ANSWER.startswith(text)
    else:
        report.answers += 1
        good = text == ANSWER
    if not good:
        report.wrong.append(text)


async def _soak(server: FaultServer, after: Callable[[], None]) -> Report:
    report, waiting = Report(), iter(range(CALLS))
    timeout = Timeout(connect=20, first_byte=20, between_bytes=2)
    model = ChatAI365VIP(base_url=server.url, timeout=timeout)
    before = open_sockets()

    async def work() -> None:
        for number in waiting:
            await _one(model, report)
            after()
            if number % (CALLS // SAMPLES) == 0:
                server.exchanges.clear()
                server.connections[:] = [each for each in server.connections if each.is_alive()]
                report.memory.append(_in_use())

    await asyncio.gather(*(work() for _ in range(AT_A_TIME)))
    await model.aclose()
    report.tasks = len(await settle())
    for connection in server.connections:
        await asyncio.to_thread(connection.join, 10)
    report.sockets = (before, open_sockets())
    return report


def _run(after: Callable[[], None]) -> Report:
    dice = random.Random(4711)

    def chaos(x: Exchange) -> None:
        dice.choice(SCRIPTS)(x)

    tracemalloc.start()
    try:
        with FaultServer(chaos) as server:
            return asyncio.run(_soak(server, after))
    finally:
        tracemalloc.stop()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Do not let pytest keep a record of each retry: that would be a leak of its own."""
    caplog.set_level(logging.CRITICAL, "langchain_ai365vip")


@pytest.mark.heavy
def test_thousands_of_calls_over_random_faults_end_well_and_leave_nothing() -> None:
    _run(lambda: None).check()


@pytest.mark.heavy
def test_the_same_check_finds_a_leak() -> None:
    kept: list[bytes] = []
    report = _run(lambda: kept.append(os.urandom(4 * GROWTH)))
    with pytest.raises(AssertionError, match="the memory grew"):
        report.check()
