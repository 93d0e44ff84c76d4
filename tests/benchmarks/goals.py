"""The goals: ratios between samples of the same round, and why one is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.benchmarks.adapters import PEERS
from tests.benchmarks.scenarios import Metrics, Samples

CPU: Final = "cpu_us_per_token"
FIRST: Final = "first_ms"
WAIT: Final = "wait_ms"
WAIT_P95: Final = "wait_p95_ms"
WALL: Final = "wall_s"
_WORDS: Final = {
    CPU: "CPU per token",
    FIRST: "first text",
    WAIT: "median wait between two texts",
    WAIT_P95: "95th percentile of that wait",
    WALL: "wall time",
}
STREAMS: Final = {"one": "1 stream", "two-hundred": "200 streams", "thousand": "1,000 streams"}
Round = dict[str, Metrics]


def _leanest(found: Round, metric: str) -> float:
    return min(float(found[peer][metric]) for peer in PEERS if peer in found)


_BASES: Final[dict[str, Callable[[Round, str], float]]] = {
    "the floor": lambda found, metric: float(found["bare"][metric] + found["core"][metric]),
    "a bare session": lambda found, metric: float(found["bare"][metric]),
    "the leanest peer": _leanest,
}


@dataclass(frozen=True)
class Goal:
    """A bound on what a figure of ours is, divided by another's.

    Attributes:
        scenario: Where it is measured.
        metric: Which figure.
        base: By whose figure it is divided, a key of `_BASES`.
        limit: What the median of the rounds must not exceed.
    """

    scenario: str
    metric: str
    base: str
    limit: float

    @property
    def text(self) -> str:
        """What is compared."""
        return f"{STREAMS[self.scenario]}: {_WORDS[self.metric]}, against {self.base}"

    def ratios(self, samples: Samples) -> list[float]:
        """Return the ratio of every round that has both figures."""
        ratios = []
        for found in _rounds(samples.get(self.scenario, {})):
            with suppress(KeyError, ValueError):  # somebody was not measured in this round
                base = _BASES[self.base](found, self.metric)
                ratios.append(float(found["ours"][self.metric]) / base)
        return ratios

    def is_met(self, samples: Samples) -> bool:
        """Compare the median of the rounds with the limit."""
        return median(self.ratios(samples)) <= self.limit


GOALS: Final = (
    Goal("two-hundred", CPU, "the floor", 1.0),
    Goal("two-hundred", CPU, "the leanest peer", 0.4),
    Goal("two-hundred", WAIT, "a bare session", 1.05),
    Goal("two-hundred", WAIT_P95, "a bare session", 1.3),
    Goal("two-hundred", FIRST, "a bare session", 1.5),
    Goal("thousand", WAIT, "a bare session", 1.1),
    Goal("thousand", CPU, "the floor", 1.0),
    Goal("thousand", WALL, "a bare session", 1.15),
    Goal("one", CPU, "the floor", 1.1),
)


def _rounds(rows: dict[str, list[Metrics]]) -> Iterator[Round]:
    for number in range(max(map(len, rows.values()), default=0)):
        yield {adapter: row[number] for adapter, row in rows.items() if number < len(row)}


def middle(samples: Samples, scenario: str, adapter: str, metric: str) -> float | None:
    """Return the median of the rounds; `None` if it was not measured."""
    rounds = samples.get(scenario, {}).get(adapter, [])
    values = [float(sample[metric]) for sample in rounds if metric in sample]
    return median(values) if values else None


def significant(value: float | None, digits: int = 3) -> str:
    """Write a figure with three significant digits, large ones in full, none as nothing."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{digits}g}"


_OWNERS: Final = {
    "asyncio": "asyncio",
    "aiohttp": "aiohttp",
    "core": "LangChain's core",
    "ours": "our own code",
    "gc": "the garbage collector",
}


def reason(goal: Goal, samples: Samples) -> str:
    """Return in one line why a goal was missed, from the profile of the same run."""
    first = goal.metric == FIRST
    profile = "profile-starts" if first else f"profile-{goal.scenario}"
    if profile not in samples:
        return "not profiled"

    def figure(metric: str, *adapters: str) -> str:
        parts = (middle(samples, profile, adapter, metric) or 0.0 for adapter in adapters)
        return significant(sum(parts))

    spent = ", ".join(
        f"{name} {figure(f'in_{owner}', 'ours')} ({figure(f'in_{owner}', 'bare', 'core')})"
        for owner, name in _OWNERS.items()
    )
    longest = f"{figure('collection_ms', 'ours')} ms ({figure('collection_ms', 'bare')})"
    unit = "call" if first else "token"
    return (
        f"CPU µs a {unit}, the floor's in brackets: {spent}; "
        f"the longest garbage collection, a bare session's in brackets: {longest}"
    )
