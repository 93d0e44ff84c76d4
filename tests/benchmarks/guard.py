"""The small benchmark that CI runs: CPU per token against the floor of the same minute.

Only ratios count, taken round by round between processes that ran one after the other, so
that a slow or busy machine changes both sides; the median of the rounds decides.
Run it alone with `python -m tests.benchmarks.guard`.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from statistics import median

from tests.benchmarks.adapters import ENTRIES
from tests.benchmarks.load import Load
from tests.benchmarks.machine import CLIENT_CORE, SERVER_CORE
from tests.benchmarks.processes import TokenServer, Worker

LIMIT = 2.0
ROUNDS = 7
LOAD = Load(50, 100, 0.01)


class RegressionError(AssertionError):
    """An adapter costs more than `LIMIT` times the floor."""


def ratios_to_floor(adapter: str, rounds: int = ROUNDS, load: Load = LOAD) -> list[float]:
    """Measure an adapter and the floor in turn and return the ratio of each round."""
    found = []
    with ExitStack() as stack:
        server = stack.enter_context(TokenServer(SERVER_CORE))
        workers = {
            name: stack.enter_context(Worker(name, CLIENT_CORE))
            for name in (adapter, "bare", "core")
        }

        def cost(name: str, chunks: float) -> tuple[float, float]:
            sample = workers[name].call(
                "streams",
                base_url=server.url(ENTRIES[name].listener),
                load=load.as_dict(),
                options={"chunks": chunks},
            )
            if name != "core" and sample["failed"]:
                raise RegressionError(f"{sample['failed']} of {load.streams} streams failed")
            return sample["cpu_us_per_token"], sample["chunks"]

        for _ in range(rounds):
            bare, _ = cost("bare", 0)
            ours, chunks = cost(adapter, 0)
            core, _ = cost("core", chunks)
            found.append(ours / (bare + core))
    return found


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
    print(check(ratios_to_floor(sys.argv[1] if len(sys.argv) > 1 else "ours")))
