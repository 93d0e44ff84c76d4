"""Thousands of calls over a server of random faults: none lost, repeated or left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import re
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median

import pytest
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel

from langchain_ai365vip import ChatAI365VIP, Timeout, errors
from tests.faults import cases
from tests.faults.leftovers import open_sockets, settle
from tests.faults.server import Exchange, FaultServer, Script

CALLS, TASKS, THREADS, SAMPLES = 5_000, 70, 30, 20
# Of Python's memory, in bytes for each call. Without a leak, -250 to 250 were measured.
GROWTH = 1_000
MAX_RETRIES = 2
# The second is LangChain's, for a reply that does not hold the object.
ERRORS = (errors.AI365VIPError, OutputParserException)
KINDS = ("stream", "stream", "whole", "object")
LONGEST_WAIT = 0.5  # seconds until a call is cancelled; most are answered within it


class Found(BaseModel):
    """What some calls ask for as an object: then a reply may need a correction."""

    number: int


def _number(x: Exchange) -> str:
    found = re.search(r"call (\d+)", x.json()["messages"][0]["content"])
    assert found is not None
    return found[1]


def _pieces(number: str) -> tuple[str, ...]:
    return (cases.BEGUN, "lo, wör", "ld 🙂: ", number)


def _object_pieces(number: str) -> tuple[str, ...]:
    return ('{"num', f'ber": {number}}}')


def _answer(x: Exchange) -> None:
    x.head()
    for piece in _pieces(_number(x)):
        x.text(piece)
    x.end()


def _object(x: Exchange) -> None:
    x.head()
    for piece in _object_pieces(_number(x)):
        x.text(piece)
    x.end()


def _answer_and_more(x: Exchange) -> None:
    x.head()
    x.text("".join(_pieces(_number(x))))
    x.end(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")


SCRIPTS: list[Script] = [
    *[_answer] * 6,
    *[_object] * 2,
    _answer_and_more,
    cases.close_before_head,
    cases.reset_before_head,
    cases.stall_mid_stream,
    cases.close_between_chunks,
    cases.close_mid_chunk,
    cases.reset_mid_stream,
    cases.short_body,
    cases.empty,
    cases.redirect(307, cases.same_origin),
    cases.replying("503 Service Unavailable", "Error", "Retry-After: 0"),
    cases.replying("401 Unauthorized", "Error"),
    cases.raw_body(cases.BEGUN.encode(), b"\xff"),
]


@dataclass
class Report:
    """What a soak of so many calls saw, on both sides."""

    calls: int
    ends: Counter[str] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    sent: Counter[int] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)
    sockets: tuple[int, int] = (0, 0)
    threads: tuple[int, int] = (0, 0)
    tasks: int = 0

    def check(self) -> None:
        """Fail unless each call ended once, as it should, and nothing was left or grew."""
        assert self.wrong == []
        assert self.ended == Counter(range(self.calls))
        assert self.ends["answer"] > self.calls / 5
        assert self.ends["error"] > self.calls / 20
        assert self.ends["left"] > self.calls / 5
        # Requests of several turns, which are corrections, and others are counted apart.
        assert max(self.sent.values()) <= MAX_RETRIES + 2
        assert max(self.sent.values()) > 1
        assert self.tasks == 0
        assert self.sockets[1] <= self.sockets[0]
        assert self.threads[1] <= self.threads[0]
        assert self.growth() <= GROWTH, "the memory grew"

    def growth(self) -> float:
        """How many bytes a call left behind, in the second half: caches fill up in the first.

        From the median of its first samples to that of its last: a sample holds what the calls
        under way need, and says little by itself.
        """
        half, few = self.memory[len(self.memory) // 2 :], 4
        calls = (len(half) - few) * (self.calls // SAMPLES)
        return (median(half[-few:]) - median(half[:few])) / calls


def _in_use() -> int:
    # Not the process's resident size: a leak may hide there, in room that tests before left.
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


class Soak:
    """Calls of both kinds on one model, a third of them left on their way."""

    def __init__(self, calls: int, after: Callable[[], None]) -> None:
        self.after = after
        self.report = Report(calls)
        self.numbers: Iterator[int] = iter(range(calls))
        self.dice = random.Random(4711)
        self.lock = threading.Lock()
        self.server = FaultServer(self.chaos)
        self.model = ChatAI365VIP(
            base_url=self.server.url,
            timeout=Timeout(connect=20, first_byte=20, between_bytes=2),
            max_retries=MAX_RETRIES,
        )
        self.objects = self.model.with_structured_output(Found, method="json_schema")

    def chaos(self, x: Exchange) -> None:
        """Count a request, and do to it what chance will have."""
        if "?again" not in x.request_head:  # where a redirect leads
            with self.lock:
                self.report.sent[hash(x.request_body)] += 1
        self.dice.choice(SCRIPTS)(x)

    def run(self) -> Report:
        """Make all calls and return what came of them."""
        before = open_sockets(), threading.active_count()
        with self.server:
            asyncio.run(self._all())
        self.report.sockets = before[0], open_sockets()
        self.report.threads = before[1], threading.active_count()
        return self.report

    async def _all(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(THREADS) as pool:
            threads = [loop.run_in_executor(pool, self._in_a_thread) for _ in range(THREADS)]
            await asyncio.gather(*(self._in_tasks() for _ in range(TASKS)), *threads)
        await self.model.aclose()
        self.report.tasks = len(await settle())

    def _next(self) -> int | None:
        with self.lock:
            number = next(self.numbers, None)
            if number is not None and number % (self.report.calls // SAMPLES) == 0:
                self._sample()
        return number

    def _sample(self) -> None:
        self.server.exchanges.clear()
        alive = [each for each in self.server.connections if each.is_alive()]
        self.server.connections[:] = alive
        self.report.memory.append(_in_use())

    def _in_a_thread(self) -> None:
        while (number := self._next()) is not None:
            said: list[str] = []
            try:
                left = self._call(number, said)
            except ERRORS:
                self._ended(number, "error", said)
            else:
                self._ended(number, "left" if left else "answer", said)

    def _call(self, number: int, said: list[str]) -> bool:
        """Make a call, noting its text; return whether it was left."""
        kind, prompt = KINDS[number % len(KINDS)], f"call {number}"
        if kind == "object":
            said.append(_text(self.objects.invoke(prompt)))
        elif kind == "whole":
            said.append(self.model.invoke(prompt).text)
        else:
            stream = self.model.stream(prompt)
            for chunk in stream:
                said.append(chunk.text)
                if number % 3 == 0:
                    stream.close()  # type: ignore[attr-defined]  # a generator, typed an iterator
                    return True
        return False

    async def _in_tasks(self) -> None:
        loop = asyncio.get_running_loop()
        while (number := self._next()) is not None:
            said: list[str] = []
            task = asyncio.create_task(self._acall(number, said))
            if number % 3 == 0:
                loop.call_later(self.dice.random() * LONGEST_WAIT, task.cancel)
            await asyncio.wait([task])
            if task.cancelled():
                self._ended(number, "left", said)
            elif isinstance(task.exception(), ERRORS):
                self._ended(number, "error", said)
            else:
                self._ended(number, await task, said)

    async def _acall(self, number: int, said: list[str]) -> str:
        kind, prompt = KINDS[number % len(KINDS)], f"call {number}"
        if kind == "object":
            said.append(_text(await self.objects.ainvoke(prompt)))
        elif kind == "whole":
            said.append((await self.model.ainvoke(prompt)).text)
        else:
            async for chunk in self.model.astream(prompt):
                said.append(chunk.text)  # noqa: PERF401  # what comes before it is cancelled counts
        return "answer"

    def _ended(self, number: int, how: str, said: list[str]) -> None:
        text = "".join(said)
        good = ("".join(_pieces(str(number))), "".join(_object_pieces(str(number))))
        whole = text in good if how == "answer" else any(one.startswith(text) for one in good)
        with self.lock:
            self.report.ends[how] += 1
            self.report.ended[number] += 1
            if not whole:
                self.report.wrong.append(f"{how} of {number}: {text}")
            self.after()


def _text(found: object) -> str:
    assert isinstance(found, Found)
    return "".join(_object_pieces(str(found.number)))


def _run(calls: int, after: Callable[[], None]) -> Report:
    # The thread of synchronous calls stays, once there, and is none that a soak leaves.
    with FaultServer(cases.answer) as server, ChatAI365VIP(base_url=server.url) as model:
        model.invoke("Hi")
    tracemalloc.start()
    try:
        return Soak(calls, after).run()
    finally:
        tracemalloc.stop()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Do not let pytest keep a record of each retry: that would be a leak of its own."""
    caplog.set_level(logging.CRITICAL, "langchain_ai365vip")


@pytest.mark.heavy
def test_thousands_of_calls_over_random_faults_end_once_and_leave_nothing() -> None:
    _run(CALLS, lambda: None).check()


@pytest.mark.heavy
def test_the_same_check_finds_a_leak() -> None:
    kept: list[bytes] = []
    report = _run(CALLS // 2, lambda: kept.append(os.urandom(4 * GROWTH)))
    with pytest.raises(AssertionError, match="the memory grew"):
        report.check()
