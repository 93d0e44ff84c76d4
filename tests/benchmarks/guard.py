"""The small benchmark that CI runs: CPU per token against the floor of the same minute.

Only ratios count, taken round by round between processes that ran one after the other, so
that a slow or busy machine changes both sides; the median of the rounds decides.
Run it alone with `python -m tests.benchmarks.guard`.
"""

from __future__ import annotations

from statistics import median

from tests.benchmarks.goals import CPU
from tests.benchmarks.load import Load
from tests.benchmarks.scenarios import Runner, Scenario

LIMIT = 2.0
ROUNDS = 7


class RegressionError(AssertionError):
    """An adapter costs `LIMIT` times the floor or more, or its streams failed."""


def ratios_to_floor(adapter: str, rounds: int = ROUNDS) -> list[float]:
    """Measure an adapter and the floor in turn and return the ratio of each round."""
    adapters = ("bare", adapter, "core")
    with Runner() as runner:
        runner.interleave(Scenario("guard", Load(50, 100), rounds, adapters=adapters))
    if runner.failures:
        raise RegressionError("; ".join(runner.failures))
    columns = [[sample[CPU] for sample in runner.samples["guard"][name]] for name in adapters]
    return [ours / (bare + core) for bare, ours, core in zip(*columns, strict=True)]


def check(ratios: list[float]) -> str:
    """Return a sentence about the ratios.

    Raises:
        RegressionError: Their median is `LIMIT` or more.
    """
    middle = median(ratios)
    said = (
        f"CPU per token is {middle:.2f} times the floor (rounds: "
        f"{', '.join(f'{ratio:.2f}' for ratio in ratios)}; limit: {LIMIT:g})"
    )
    if middle >= LIMIT:
        raise RegressionError(said)
    return said


if __name__ == "__main__":
    print(check(ratios_to_floor("ours")))
