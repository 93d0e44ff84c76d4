"""The goals of the work as ratios between samples, and how cost grows with size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.benchmarks.adapters import ENTRIES, PEERS
from tests.benchmarks.scenarios import (
    GROWTH_HISTORY,
    GROWTH_REPLY,
    GROWTH_STREAMS,
    Metrics,
    Samples,
)

CPU = "cpu_us_per_token"


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
        limit: What the median of the rounds must not exceed (or reach, if `at_least`).
        at_least: Whether more is better.
    """

    number: int
    text: str
    top: tuple[Cell, ...]
    bottom: tuple[Cell, ...]
    limit: float
    at_least: bool = False

    def ratios(self, samples: Samples) -> list[float]:
        """Return the ratio of every round that has all cells."""
        top = _sums(self.top, samples)
        if not self.bottom:
            return top
        return [
            above / below for above, below in zip(top, _sums(self.bottom, samples), strict=False)
        ]

    def judge(self, samples: Samples) -> Verdict | None:
        """Compare the median with the limit; `None` if something was not measured."""
        ratios = self.ratios(samples)
        if not ratios:
            return None
        middle = median(ratios)
        passed = middle >= self.limit if self.at_least else middle <= self.limit
        return Verdict(
            self.number,
            self.text,
            middle,
            min(ratios),
            max(ratios),
            len(ratios),
            self.limit,
            self.at_least,
            passed,
        )


@dataclass(frozen=True)
class Verdict:
    """What a goal came to."""

    number: int
    text: str
    ratio: float
    lowest: float
    highest: float
    rounds: int
    limit: float
    at_least: bool
    passed: bool

    def as_dict(self) -> dict[str, Any]:
        """Fields for the JSON report."""
        return asdict(self)


def _sums(cells: Sequence[Cell], samples: Samples) -> list[float]:
    columns = [cell.values(samples) for cell in cells]
    return [sum(row) for row in zip(*columns, strict=False)]


def floor(scenario: str, metric: str = CPU) -> tuple[Cell, ...]:
    """Return the cells of the floor: the bare session plus core's own `astream`."""
    return (Cell(scenario, "bare", metric), Cell(scenario, "core", metric))


def _label(adapter: str) -> str:
    return ENTRIES[adapter].label


def _cpu_goals() -> Iterator[Goal]:
    for scenario, name, limit in (
        ("one", "1 stream", 1.1),
        ("fifty", "50 streams", 1.1),
        ("two-hundred", "200 streams", 1.0),
        ("thousand", "1,000 streams", 1.0),
    ):
        text = f"CPU per token, {name}, against the floor"
        yield Goal(1, text, (Cell(scenario, "ours"),), floor(scenario), limit)
    for scenario, peer, limit in (
        *(("two-hundred", peer, 1 / 2) for peer in ("mistral", "ollama")),
        ("two-hundred", "openai", 1 / 5),
        *(("thousand", peer, 1 / 8) for peer in PEERS),
    ):
        count = {"two-hundred": "200", "thousand": "1,000"}[scenario]
        text = f"CPU per token, {count} streams, against {_label(peer)}"
        yield Goal(1, text, (Cell(scenario, "ours"),), (Cell(scenario, peer),), limit)
    wall = (Cell("thousand", "ours", "wall_s"),), (Cell("thousand", "bare", "wall_s"),)
    yield Goal(1, "wall time, 1,000 streams, against the bare session", *wall, 1.2)
    for scenario in ("one", "fifty", "two-hundred", "thousand", "burst"):
        text = f"failed streams, {scenario}"
        yield Goal(1, text, (Cell(scenario, "ours", "failed"),), (), 0)
    burst = (Cell("burst", "ours"),), (Cell("burst", "bare"),)
    yield Goal(1, "CPU per token, burst, against the bare session", *burst, 2.0)


def _latency_goals() -> Iterator[Goal]:
    first = "first_p50_ms"
    for scenario, name, limit, peers in (
        ("two-hundred", "200 starts", 2.0, 1 / 3),
        ("one", "one stream", 1.5, 1.0),
        ("first", "one stream after the other", 1.5, 1.0),
    ):
        ours = (Cell(scenario, "ours", first),)
        text = f"first text p50, {name}, against"
        yield Goal(2, f"{text} the bare session", ours, (Cell(scenario, "bare", first),), limit)
        for peer in PEERS:
            yield Goal(2, f"{text} {_label(peer)}", ours, (Cell(scenario, peer, first),), peers)
    for scenario, name in (
        ("one", "1 stream"),
        ("fifty", "50 streams"),
        ("two-hundred", "200 streams"),
        ("thousand", "1,000 streams"),
    ):
        text = f"p95 of the delay between chunks, {name}, against the bare session"
        gap = "gap_p95_ms"
        yield Goal(2, text, (Cell(scenario, "ours", gap),), (Cell(scenario, "bare", gap),), 1.1)


def _other_goals() -> Iterator[Goal]:
    sync = (Cell("threads", "ours"),)
    yield Goal(3, "sync, 50 threads, against our async path", sync, (Cell("fifty", "ours"),), 2.0)
    for peer in PEERS:
        text = f"sync, 50 threads, against {_label(peer)}"
        yield Goal(3, text, sync, (Cell("threads", peer),), 1.0)
    rate = "calls_per_s"
    yield Goal(4, "connections of 200 calls", (Cell("calls", "ours", "connections"),), (), 1)
    speed = (Cell("calls-tls", "ours", rate),), (Cell("calls-tls", "lines", rate),)
    yield Goal(4, "calls per second over TLS against a session per call", *speed, 2.0, True)
    reply = floor("megabyte")
    yield Goal(5, "1 MB by astream against the floor", (Cell("megabyte", "ours"),), reply, 1.5)
    for operation in ("ainvoke", "invoke"):
        cells = (Cell(operation, "ours", CPU),)
        yield Goal(5, f"1 MB by {operation} against the floor", cells, reply, 1.5)
    built = (Cell("construct", "ours", "cpu_us"),), (Cell("construct", "openai", "cpu_us"),)
    yield Goal(5, "building a model against ChatOpenAI", *built, 1 / 5)
    yield Goal(
        5, "files and sockets opened by it", (Cell("construct", "ours", "io_events"),), (), 0
    )
    imports = (Cell("import", "ours", "cpu_ms"),), (Cell("import", "core", "cpu_ms"),)
    yield Goal(5, "import against langchain_core's chat models and aiohttp", *imports, 1.15)
    memory = "open_kb_per_stream"
    held = (Cell("memory", "ours", memory),), (Cell("memory", "bare", memory),)
    yield Goal(6, "memory of open streams against the bare session", *held, 1.5)
    left = (Cell("memory", "ours", "left_blocks_per_stream"),)
    yield Goal(6, "objects left per stream afterwards", left, (), 0.5)
    tools = (Cell("tools", "tools"),), (Cell("tools", "ours"),)
    yield Goal(7, "tools bound and stop set against without", *tools, 1.3)
    added = "added_us_per_token"
    server = (Cell("server", "ours-host", added),), (Cell("server", "bare-host", added),)
    yield Goal(7, "what the server adds, against a bare handler", *server, 1.5)
    merged = (Cell("thousand", "ours"),), (Cell("thousand", "bare"),)
    yield Goal(8, "CPU per token, 1,000 streams, against the bare session", *merged, 1.0)


def judge_all(samples: Samples) -> list[Verdict]:
    """Return what every goal that was measured came to."""
    goals = (*_cpu_goals(), *_latency_goals(), *_other_goals())
    verdicts = [goal.judge(samples) for goal in goals]
    return [verdict for verdict in verdicts if verdict is not None]


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
