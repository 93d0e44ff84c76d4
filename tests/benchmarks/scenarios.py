"""What is measured, and the interleaved runs that measure it."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from typing_extensions import Self

from tests.benchmarks.adapters import ENTRIES, PEERS, TRIO
from tests.benchmarks.load import Load
from tests.benchmarks.processes import ProcessFailedError, TokenServer, Worker

Metrics = dict[str, Any]
Samples = dict[str, dict[str, list[Metrics]]]


@dataclass(frozen=True)
class Scenario:
    """Streams that every adapter reads in turn, round by round.

    Attributes:
        name: How the goals call it.
        load: What the server sends.
        rounds: How often everybody is measured.
        peer_rounds: In how many of these rounds the peers are, too.
        profiled: Whether to ask in whose code the time goes.
        adapters: Who takes part, besides the peers.
    """

    name: str
    load: Load
    rounds: int
    peer_rounds: int = 0
    profiled: bool = False
    adapters: tuple[str, ...] = TRIO

    def shortened(self) -> Scenario:
        """Return the quick run's version."""
        load = replace(self.load, tokens=1 + self.load.tokens // 4)
        rounds, peer_rounds = min(self.rounds, 2), min(self.peer_rounds, 1)
        return replace(self, load=load, rounds=rounds, peer_rounds=peer_rounds)


_ONE: Final = Load(1, 200, 0.01)
_TWO_HUNDRED: Final = Load(200, 200, 0.01)
_THOUSAND: Final = Load(1000, 100, 0.05)
SCENARIOS: Final = (
    # A single stream is short of samples, and quick.
    Scenario("one", _ONE, 10, 3),
    Scenario("two-hundred", _TWO_HUNDRED, 5, 3),
    # The peers take up to half a minute each.
    Scenario("thousand", _THOUSAND, 5, 2),
    # A single stream is idle most of the time, so that it takes long to have samples.
    Scenario("profile-one", Load(1, 1000, 0.01), 1, profiled=True),
    Scenario("profile-two-hundred", _TWO_HUNDRED, 1, profiled=True),
    Scenario("profile-thousand", _THOUSAND, 1, profiled=True),
    Scenario("profile-starts", Load(200, 1), 1, profiled=True),
)
CAPACITY: Final = "capacity"
CAPACITY_ROUNDS: Final = 3
# Streams of 20 tokens a second.
CAPACITY_STEPS: Final = (100, 200, 400, 800, 1600, 3200)
_EVERY: Final = 0.05


def capacity_load(streams: int) -> Load:
    """Return streams that last long enough for all of them to be open at once."""
    return Load(streams, 40 + streams // 25, _EVERY)


def is_carried(sample: Metrics) -> bool:
    """Say whether a process carried its streams: all of them, at once, at the server's pace.

    Both ways: who reads several tokens at once and passes them on one after the other has waits
    that are far too short.
    """
    server = 1e3 * _EVERY
    kept_pace = abs(float(sample["wait_ms"]) - server) <= server / 10
    return not sample["failed"] and bool(sample["together"]) and kept_pace


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Runner:
    """Starts the processes and collects the samples.

    Attributes:
        samples: By scenario and adapter, a sample of each round.
        failures: What could not be measured, and why.
    """

    def __init__(self, *, quick: bool = False, tell: Callable[[str], None] = _tell) -> None:
        self.quick = quick
        self.tell = tell
        self.samples: Samples = defaultdict(lambda: defaultdict(list))
        self.failures: list[str] = []
        self._out: set[tuple[str, str]] = set()
        self._stack = ExitStack()
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Self:
        self._server = self._stack.enter_context(TokenServer())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def run(self) -> None:
        """Measure everything."""
        for scenario in SCENARIOS:
            self.interleave(scenario.shortened() if self.quick else scenario)
        for number in range(1 if self.quick else CAPACITY_ROUNDS):
            for adapter in ("bare", "ours", *PEERS):
                self._try(CAPACITY, number, adapter, partial(self._climb, adapter))

    def interleave(self, scenario: Scenario) -> None:
        """Measure everyone once in each round."""
        for number in range(scenario.rounds):
            peers = PEERS if number < scenario.peer_rounds else ()
            chunks = scenario.load.tokens
            for adapter in (*scenario.adapters, *peers):
                take = partial(self._whole, adapter, scenario, chunks)
                sample = self._try(scenario.name, number, adapter, take)
                # A model without a wire makes as many chunks as whoever came before it.
                chunks = round(sample["chunks"]) if sample else chunks

    def _try(
        self, scenario: str, number: int, adapter: str, take: Callable[[], Metrics]
    ) -> Metrics | None:
        """Take a sample; an adapter that cannot do it is out of this scenario, not of the run."""
        if (scenario, adapter) in self._out:
            return None
        try:
            sample = take()
        except ProcessFailedError as exc:
            why = str(exc).strip().rpartition("\n")[2]
            self.failures.append(f"{ENTRIES[adapter].label}, {scenario}: {why}")
            self.tell(f"{scenario} {number + 1} {adapter} FAILED: {exc}")
            self._out.add((scenario, adapter))
            # It may still be at work, and its next answer would be to this question.
            if worker := self._workers.pop(adapter, None):
                worker.process.kill()
            return None
        self.samples[scenario][adapter].append(sample)
        self.tell(f"{scenario} {number + 1} {adapter}")
        return sample

    def _sample(self, adapter: str, load: Load, chunks: int, *, profiled: bool = False) -> Metrics:
        if adapter not in self._workers:
            self._workers[adapter] = self._stack.enter_context(Worker(adapter))
        return self._workers[adapter].call(
            url=self._server.urls[ENTRIES[adapter].form],
            load=load,
            chunks=chunks,
            profiled=profiled,
        )

    def _whole(self, adapter: str, scenario: Scenario, chunks: int) -> Metrics:
        """Take a sample in which no stream of ours failed; with those of a peer it is shown."""
        load = scenario.load
        sample = self._sample(adapter, load, chunks, profiled=scenario.profiled)
        if sample["failed"] and adapter not in ("core", *PEERS):
            raise ProcessFailedError(f"{sample['failed']} of {load.streams} streams failed")
        return sample

    def _climb(self, adapter: str) -> Metrics:
        """Double the streams until they are too many."""
        most = 0
        for streams in CAPACITY_STEPS[:3] if self.quick else CAPACITY_STEPS:
            sample = self._sample(adapter, capacity_load(streams), 0)
            if not is_carried(sample):
                break
            most = streams
        return {"streams": most}
