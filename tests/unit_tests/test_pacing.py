"""Who may go on, and when: the gate at which calls start, the pauses in reading many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from langchain_ai365vip import AI365VIP
from langchain_ai365vip._pacing import ReadingPauses, StartingGate
from langchain_ai365vip._pool import sessions_of

PER_TURN = StartingGate.PER_TURN


async def _arrive(gate: StartingGate, number: int, started: list[int]) -> None:
    await gate.enter()
    started.append(number)


async def _turns(started: list[int], count: int) -> list[int]:
    """How many have started after each of the next turns of the loop."""
    seen = []
    for _ in range(count):
        await asyncio.sleep(0)
        seen.append(len(started))
    return seen


async def test_a_call_that_comes_alone_does_not_even_wait_for_a_turn() -> None:
    gate = StartingGate(asyncio.get_running_loop())
    for _ in range(PER_TURN):
        with pytest.raises(StopIteration):
            gate.enter().send(None)


async def test_a_burst_starts_a_few_at_a_time_in_order() -> None:
    gate = StartingGate(asyncio.get_running_loop())
    started: list[int] = []
    count = 5 * PER_TURN
    tasks = [asyncio.create_task(_arrive(gate, number, started)) for number in range(count)]
    seen = await _turns(started, 2 * count)
    assert started == list(range(count))
    assert max(b - a for a, b in zip([0, *seen], seen, strict=False)) == PER_TURN
    await asyncio.gather(*tasks)


async def test_one_that_comes_later_waits_behind_the_others() -> None:
    gate = StartingGate(asyncio.get_running_loop())
    started: list[int] = []
    tasks = [asyncio.create_task(_arrive(gate, n, started)) for n in range(2 * PER_TURN)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(_arrive(gate, 99, started)))
    await asyncio.gather(*tasks)
    assert started == [*range(2 * PER_TURN), 99]


async def test_cancelled_calls_hold_nobody_up() -> None:
    gate = StartingGate(asyncio.get_running_loop())
    started: list[int] = []
    tasks = [asyncio.create_task(_arrive(gate, n, started)) for n in range(6 * PER_TURN)]
    await asyncio.sleep(0)
    for task in tasks[PER_TURN : 4 * PER_TURN]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert started == [*range(PER_TURN), *range(4 * PER_TURN, 6 * PER_TURN)]


async def test_the_gate_is_open_again_after_a_burst() -> None:
    gate = StartingGate(asyncio.get_running_loop())
    started: list[int] = []
    await asyncio.gather(*(_arrive(gate, n, started) for n in range(3 * PER_TURN)))
    await _turns(started, 3)
    with pytest.raises(StopIteration):
        gate.enter().send(None)


async def test_every_call_of_a_client_passes_the_gate_of_its_loop() -> None:
    gate = sessions_of(asyncio.get_running_loop()).gate
    for _ in range(PER_TURN):
        await gate.enter()
    call = AI365VIP(base_url="http://127.0.0.1:9").open({"messages": []})
    # It waits, and has not even looked at the payload, which would have made it fail.
    assert asyncio.isfuture(call.send(None))
    call.close()


class Clock:
    """An event loop of which only the time matters."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[int], None], int]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, callback: Callable[[int], None], tick: int) -> None:
        self.timers.append((at, callback, tick))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, callback, tick in due:
            callback(tick)


class Transport:
    """A connection that can be left alone, unless `error` says that it cannot."""

    def __init__(self, error: type[Exception] | None = None) -> None:
        self.paused = False
        self.error = error

    def pause_reading(self) -> None:
        if self.error is not None:
            raise self.error
        self.paused = True

    def resume_reading(self) -> None:
        if self.error is not None:
            raise self.error
        self.paused = False


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pauses_of(clock: Clock, replies: int) -> Any:
    pauses: Any = ReadingPauses(clock)  # type: ignore[arg-type]  # all it needs of a loop
    for _ in range(replies):
        pauses.count(1)
    return pauses


@pytest.mark.parametrize(
    ("replies", "length"),
    [
        pytest.param(0, 0, id="none"),
        pytest.param(200, 0, id="the last number that is free"),
        pytest.param(600, 0.1, id="in proportion"),
        pytest.param(1000, 0.2, id="the longest"),
        pytest.param(5000, 0.2, id="no longer"),
    ],
)
def test_a_pause_grows_with_the_number_of_replies(
    clock: Clock, replies: int, length: float
) -> None:
    assert pauses_of(clock, replies).length == pytest.approx(length)


def test_replies_that_have_ended_count_no_more(clock: Clock) -> None:
    pauses = pauses_of(clock, 1000)
    for _ in range(1000):
        pauses.count(-1)
    assert pauses.length == 0


def test_a_connection_is_left_alone_for_the_pause_and_no_longer(clock: Clock) -> None:
    pauses, transport = pauses_of(clock, 1000), Transport()
    pauses.begin(transport)
    assert transport.paused
    clock.advance(pauses.length - 2 * ReadingPauses.TICK)
    assert transport.paused
    clock.advance(2 * ReadingPauses.TICK)
    assert not transport.paused


def test_pauses_that_end_together_share_a_timer(clock: Clock) -> None:
    pauses, transports = pauses_of(clock, 1000), [Transport() for _ in range(50)]
    for transport in transports:
        pauses.begin(transport)
    assert len(clock.timers) == 1
    clock.advance(1)
    assert not any(transport.paused for transport in transports)
    assert clock.timers == []


@pytest.mark.parametrize("error", [AttributeError, NotImplementedError, RuntimeError])
def test_a_connection_that_cannot_pause_is_read_on(clock: Clock, error: type[Exception]) -> None:
    pauses, transport = pauses_of(clock, 1000), Transport(error)
    pauses.begin(transport)
    assert clock.timers == []


def test_a_connection_that_closed_in_its_pause_disturbs_no_other(clock: Clock) -> None:
    pauses, closed, other = pauses_of(clock, 1000), Transport(), Transport()
    pauses.begin(closed)
    pauses.begin(other)
    closed.error = RuntimeError
    clock.advance(1)
    assert not other.paused
