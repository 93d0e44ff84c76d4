"""Who may go on, and when: the gate at which the calls of one event loop start."""

from __future__ import annotations

import asyncio

import pytest

from langchain_ai365vip import AI365VIP
from langchain_ai365vip._pacing import StartingGate
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
