"""The goals of the work as ratios between samples, and how cost grows with size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.benchmarks.adapters import ENTRIES, PEERS, UNLIMITED
from tests.benchmarks.scenarios import (
    GROWTH_HISTORY,
    GROWTH_REPLY,
    GROWTH_STREAMS,
    Metrics,
    Samples,
)

CPU = "cpu_us_per_token"
RIVALS = (*PEERS, *UNLIMITED)


@dataclass(frozen=True)
class Cell:
    """One figure of one adapter in one scenario."""

    scenario: str
    adapter: str
    metric: str = CPU

    def values(self, samples: Samples) -> list[float]:
        """Return the figure of every round; empty if it was not measured."""
        rounds = samples.get(self.scenario, {}).get(self.adapter, [])
        return [float(item[self.metric]) for item in rounds if self.metric in item]


@dataclass(frozen=True)
class Goal:
    """A bound on a ratio of sums of cells, taken round by round.

    Attributes:
        number: The goal of the issue that it belongs to.
        text: What is compared.
        top: Cells whose sum is divided.
        bottom: Cells by whose sum it is divided; none to bound the sum itself.
        limit: What the median of the rounds must not exceed (or must reach, if `at_least`);
            `None` for a figure that is only shown.
        at_least: Whether more is better.
        less: A cell to subtract, above and below. The difference of two measurements is too
            noisy to be taken round by round, so it is taken between their medians.
        every: Whether each round must keep the limit: for what must never happen.
    """

    number: int
    text: str
    top: tuple[Cell, ...]
    bottom: tuple[Cell, ...]
    limit: float | None
    at_least: bool = False
    less: Cell | None = None
    every: bool = False

    def ratios(self, samples: Samples) -> list[float]:
        """Return the ratio of every round that has all cells."""
        top = _sums(self.top, samples)
        if self.less is not None:
            return _without_each_round(top, _sums(self.bottom, samples), self.less.values(samples))
        if not self.bottom:
            return top
        return [
            above / below for above, below in zip(top, _sums(self.bottom, samples), strict=False)
        ]

    def judge(self, samples: Samples) -> Verdict | None:
        """Compare with the limit; `None` if something was not measured."""
        ratios = self.ratios(samples)
        if not ratios:
            return None
        found = max(ratios) if self.every else median(ratios)
        if self.limit is None:
            passed = None
        else:
            passed = found >= self.limit if self.at_least else found <= self.limit
        return Verdict(
            self.number,
            self.text,
            found,
            min(ratios),
            max(ratios),
            len(ratios),
            self.limit,
            self.at_least,
            passed,
        )


@dataclass(frozen=True)
class Verdict:
    """What a goal came to; `passed` is `None` where there is no limit."""

    number: int
    text: str
    ratio: float
    lowest: float
    highest: float
    rounds: int
    limit: float | None
    at_least: bool
    passed: bool | None

    def as_dict(self) -> dict[str, Any]:
        """Fields for the JSON report."""
        return asdict(self)


def _sums(cells: Sequence[Cell], samples: Samples) -> list[float]:
    columns = [cell.values(samples) for cell in cells]
    return [sum(row) for row in zip(*columns, strict=False)]


def _without_each_round(top: list[float], bottom: list[float], less: list[float]) -> list[float]:
    """Return the ratio of differences of medians with each round left out in turn.

    How far they lie apart says how much hangs on a single round.
    """
    rounds = list(zip(top, bottom, less, strict=False))
    kept = [rounds[:at] + rounds[at + 1 :] for at in range(len(rounds))]
    medians = [[median(column) for column in zip(*rows, strict=True)] for rows in kept if rows]
    return [(above - base) / (below - base) for above, below, base in medians]


def floor(scenario: str, metric: str = CPU) -> tuple[Cell, ...]:
    """Return the cells of the floor: the bare session plus core's own `astream`."""
    return (Cell(scenario, "bare", metric), Cell(scenario, "core", metric))


def _label(adapter: str) -> str:
    return ENTRIES[adapter].label


_COUNTS = {
    "one": "1 stream",
    "fifty": "50 streams",
    "two-hundred": "200 streams",
    "thousand": "1,000 streams",
}


def _cpu_goals() -> Iterator[Goal]:
    for (scenario, name), limit in zip(_COUNTS.items(), (1.1, 1.1, 1.0, 1.0), strict=True):
        text = f"CPU per token, {name}, against the floor"
        yield Goal(1, text, (Cell(scenario, "ours"),), floor(scenario), limit)
    for scenario, peer, limit in (
        *(("two-hundred", peer, 1 / 2) for peer in RIVALS if peer != "openai"),
        ("two-hundred", "openai", 1 / 5),
        *(("thousand", peer, 1 / 8) for peer in RIVALS),
    ):
        text = f"CPU per token, {_COUNTS[scenario]}, against {_label(peer)}"
        yield Goal(1, text, (Cell(scenario, "ours"),), (Cell(scenario, peer),), limit)
    wall = (Cell("thousand", "ours", "wall_s"),), (Cell("thousand", "bare", "wall_s"),)
    yield Goal(1, "wall time, 1,000 streams, against the bare session", *wall, 1.2)
    for scenario, name in (*_COUNTS.items(), ("burst", "burst")):
        failed = (Cell(scenario, "ours", "failed"),)
        yield Goal(1, f"failed streams, {name}", failed, (), 0, every=True)
    burst = (Cell("burst", "ours"),), (Cell("burst", "bare"),)
    yield Goal(1, "CPU per token, burst, against the bare session", *burst, 2.0)


def _latency_goals() -> Iterator[Goal]:
    first = "first_p50_ms"
    for scenario, name, limit, rivals, most in (
        ("two-hundred", "200 starts", 2.0, RIVALS, 1 / 3),
        ("one", "a single stream", 1.5, PEERS, 1.0),
        ("first", "calls one after the other", 1.5, PEERS, 1.0),
    ):
        ours = (Cell(scenario, "ours", first),)
        text = f"first text p50, {name}, against"
        yield Goal(2, f"{text} the bare session", ours, (Cell(scenario, "bare", first),), limit)
        for peer in rivals:
            yield Goal(2, f"{text} {_label(peer)}", ours, (Cell(scenario, peer, first),), most)
    for scenario, name in _COUNTS.items():
        text = f"p95 of the delay between chunks, {name}, against the bare session"
        gap = "gap_p95_ms"
        yield Goal(2, text, (Cell(scenario, "ours", gap),), (Cell(scenario, "bare", gap),), 1.1)


def _other_goals() -> Iterator[Goal]:
    sync = (Cell("threads", "ours"),)
    path = (Cell("threads", "ours-async"),)
    yield Goal(3, "sync, 50 threads, against our async path", sync, path, 2.0)
    for peer in PEERS:
        text = f"sync, 50 threads, against {_label(peer)}"
        yield Goal(3, text, sync, (Cell("threads", peer),), 1.0)
    rate = "calls_per_s"
    opened = (Cell("calls", "ours", "connections"),)
    yield Goal(4, "connections of 200 calls", opened, (), 1, every=True)
    speed = (Cell("calls-tls", "ours", rate),), (Cell("calls-tls", "lines", rate),)
    text = "calls per second over TLS against a session per call"
    yield Goal(4, text, *speed, 2.0, at_least=True)
    yield from _size_goals()
    yield from _overhead_goals()


def _size_goals() -> Iterator[Goal]:
    reply = floor("megabyte")
    for name, adapter in (
        ("astream", "ours"),
        ("ainvoke", "ours-ainvoke"),
        ("invoke", "ours-invoke"),
    ):
        text = f"1 MB by {name} against the floor"
        yield Goal(5, text, (Cell("megabyte", adapter),), reply, 1.5)
    built = (Cell("construct", "ours", "cpu_us"),), (Cell("construct", "openai", "cpu_us"),)
    yield Goal(5, "building a model against ChatOpenAI", *built, 1 / 5)
    opened = (Cell("construct", "ours", "io_events"),)
    text = "files and sockets opened by it, modules apart"
    yield Goal(5, text, opened, (), 0, every=True)
    imported = (Cell("import", "core", "cpu_ms"),)
    for adapter, statement in (
        ("package", "import langchain_ai365vip"),
        ("ours", "from langchain_ai365vip import ChatAI365VIP"),
    ):
        text = f"`{statement}` against langchain_core's chat models and aiohttp"
        yield Goal(5, text, (Cell("import", adapter, "cpu_ms"),), imported, 1.15)
    memory = "open_kb_per_stream"
    held = (Cell("memory", "ours", memory),), (Cell("memory", "bare", memory),)
    yield Goal(6, "memory of open streams against the bare session", *held, 1.5)
    left = (Cell("memory", "ours", "left_blocks_per_stream"),)
    yield Goal(6, "objects left per stream afterwards", left, (), 0.5, every=True)


def _overhead_goals() -> Iterator[Goal]:
    tools = (Cell("tools", "tools"),), (Cell("tools", "ours"),)
    yield Goal(7, "tools bound and stop set against without", *tools, 1.3)
    server = (Cell("server", "ours-host"),), (Cell("server", "bare-host"),)
    model = Cell("server", "unserved")
    text = "what the server adds to its model, against a bare handler"
    yield Goal(7, text, *server, 1.5, less=model)
    yield Goal(7, "server and model together, against a bare handler", *server, 1.5)
    merged = (Cell("thousand", "ours"),), (Cell("thousand", "bare"),)
    yield Goal(8, "CPU per token, 1,000 streams, against the bare session", *merged, 1.0)
    first = "first_p50_ms"
    early = (Cell("thousand", "ours", first),), (Cell("thousand", "bare", first),)
    # No goal names a bound: it is the one that goal 2 sets for 200 starts.
    yield Goal(8, "first text p50, 1,000 starts, against the bare session", *early, 2.0)
    delay = (Cell("thousand", "ours", "gap_p95_ms"),)
    yield Goal(8, "p95 of the delay between chunks, 1,000 streams, ms", delay, (), None)


def all_goals() -> tuple[Goal, ...]:
    """Return the goals, in the order of their numbers as far as they belong together."""
    return (*_cpu_goals(), *_latency_goals(), *_other_goals())


def judge_all(samples: Samples) -> list[Verdict]:
    """Return what every goal that was measured came to."""
    verdicts = [goal.judge(samples) for goal in all_goals()]
    return [verdict for verdict in verdicts if verdict is not None]


def unmeasured(samples: Samples) -> list[str]:
    """Return the goals that there are no figures for."""
    return [goal.text for goal in all_goals() if goal.judge(samples) is None]


@dataclass(frozen=True)
class Curve:
    """How a cost grows: `cost ~ size ** exponent`, and what one more unit costs.

    Attributes:
        name: What grows.
        adapter: Whose cost.
        sizes: The sizes measured.
        costs: CPU milliseconds at each size, medians.
        exponent: Slope between the logarithms, over the upper half of the sizes.
        slope_us: CPU microseconds per further unit, over the same.
    """

    name: str
    adapter: str
    sizes: list[int]
    costs: list[float]
    exponent: float
    slope_us: float

    def as_dict(self) -> dict[str, Any]:
        """Fields for the JSON report."""
        return asdict(self)


def _streams_cost(sample: Metrics, size: int) -> float:
    return float(sample[CPU]) * 40 * size / 1e3


def _reply_cost(sample: Metrics, size: int) -> float:
    return float(sample[CPU]) * (size // 60) / 1e3


def _history_cost(sample: Metrics, size: int) -> float:
    return float(sample["cpu_us_per_call"]) / 1e3


_CURVES: tuple[tuple[str, tuple[int, ...], Callable[[Metrics, int], float]], ...] = (
    ("streams", GROWTH_STREAMS, _streams_cost),
    ("reply", GROWTH_REPLY, _reply_cost),
    ("ainvoke", GROWTH_REPLY, _reply_cost),
    ("history", GROWTH_HISTORY, _history_cost),
)


def curves(samples: Samples) -> list[Curve]:
    """Return the growth curves that were measured."""
    found = []
    for name, sizes, cost in _CURVES:
        for adapter in ("bare", "core", "ours"):
            points = [
                (size, median(cost(sample, size) for sample in rounds))
                for size in sizes
                if (rounds := samples.get(f"{name}-{size}", {}).get(adapter))
            ]
            if len(points) > 2:
                found.append(_curve(name, adapter, points))
    return found


def _slope(points: Sequence[tuple[float, float]]) -> float:
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def _curve(name: str, adapter: str, points: list[tuple[int, float]]) -> Curve:
    upper = points[len(points) // 2 - 1 :]
    exponent = _slope([(math.log(x), math.log(y)) for x, y in upper])
    slope = 1e3 * _slope([(float(x), y) for x, y in upper])
    sizes = [x for x, _ in points]
    return Curve(name, adapter, sizes, [y for _, y in points], exponent, slope)
