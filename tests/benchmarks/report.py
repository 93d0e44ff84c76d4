"""The tables, and the JSON file behind them."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.benchmarks.adapters import ENTRIES, PEERS, TRIO
from tests.benchmarks.goals import (
    CPU,
    FIRST,
    GOALS,
    WAIT,
    WAIT_P95,
    Goal,
    middle,
    reason,
    significant,
)
from tests.benchmarks.scenarios import CAPACITY, CAPACITY_STEPS, Runner, Samples

LATEST: Final = Path(__file__).resolve().parent / "results" / "latest.json"
_COLUMNS: Final = (
    ("CPU µs/token, 1 stream", "one", CPU),
    ("200 streams", "two-hundred", CPU),
    ("1,000 streams", "thousand", CPU),
    ("first text ms, 200 streams", "two-hundred", FIRST),
    ("wait between texts ms, 200 streams: median", "two-hundred", WAIT),
    ("95th percentile", "two-hundred", WAIT_P95),
    ("1,000 streams: median", "thousand", WAIT),
    ("95th percentile", "thousand", WAIT_P95),
)


_PACKAGES: Final = (
    "aiohttp",
    "langchain-core",
    "langchain-mistralai",
    "langchain-ollama",
    "langchain-openai",
    "httpx",
)


def _commit() -> str:
    """Return the commit that is measured, `-dirty` with changes."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    told = subprocess.run(command, cwd=LATEST.parents[1], capture_output=True, text=True)
    return told.stdout.strip() or "(no clone)"


def _versions() -> dict[str, str]:
    own = {"python": platform.python_version(), "system": f"{sys.platform} {platform.machine()}"}
    return own | {name: metadata.version(name) for name in _PACKAGES}


def collect(quick: bool) -> dict[str, Any]:
    """Run, and return the whole report, ready for JSON."""
    with Runner(quick=quick) as runner:
        runner.run()
    samples = {name: dict(rows) for name, rows in runner.samples.items()}
    return {
        "commit": _commit(),
        "versions": _versions(),
        "failures": runner.failures,
        # No figure is worth more digits than five.
        "samples": json.loads(json.dumps(samples), parse_float=lambda x: float(f"{float(x):.5g}")),
    }


def write(report: dict[str, Any], path: Path) -> None:
    """Write the report, a line per figure so that two of them can be compared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read(path: Path) -> dict[str, Any]:
    """Read a report back."""
    report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return report


def _grid(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)]
    for number, (*row, last) in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "| " + " | ".join([*cells, last]) + " |"
        if number == 0:
            yield "|-" + "-|-".join(["-" * width for width in [*widths, len(last)]]) + "-|"


def _cell(samples: Samples, adapter: str, scenario: str, metric: str) -> str:
    """Return a median, with the number of streams that failed beside it."""
    if adapter == "core":  # it waits for nothing and reads nothing
        return significant(middle(samples, scenario, adapter, metric)) if metric == CPU else ""
    failed = max((run["failed"] for run in samples.get(scenario, {}).get(adapter, [])), default=0)
    figure = significant(middle(samples, scenario, adapter, metric))
    return f"{figure} ({failed} failed)" if failed else figure


def _capacity(samples: Samples, adapter: str) -> str:
    streams = middle(samples, CAPACITY, adapter, "streams")
    if streams is None:
        return ""
    if streams == 0:
        return f"less than {CAPACITY_STEPS[0]}"
    return f"{streams:,.0f}" + (" or more" if streams == CAPACITY_STEPS[-1] else "")


def _figures(samples: Samples) -> Iterator[str]:
    rows = [["medians", *(head for head, _, _ in _COLUMNS), "streams of 20 tokens/s carried"]]
    for adapter in (*TRIO, *PEERS):
        cells = (_cell(samples, adapter, scenario, metric) for _, scenario, metric in _COLUMNS)
        rows.append([ENTRIES[adapter].label, *cells, _capacity(samples, adapter)])
    yield from _grid(rows)


def _goal(goal: Goal, samples: Samples) -> list[str]:
    ratios = goal.ratios(samples)
    if not ratios:
        return [goal.text, f"{goal.limit:g}", "", "", "", "not measured"]
    return [
        goal.text,
        f"{goal.limit:g}",
        f"{median(ratios):.3f}",
        f"{min(ratios):.3f} to {max(ratios):.3f}",
        str(len(ratios)),
        "met" if goal.is_met(samples) else f"**missed**: {reason(goal, samples)}",
    ]


def lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield the report as Markdown."""
    samples = report["samples"]
    found = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    yield f"Measured at commit {report['commit']} with {found}."
    yield ""
    yield from _figures(samples)
    yield ""
    head = ["goal", "at most", "ratio", "lowest to highest", "rounds", "outcome"]
    yield from _grid([head, *(_goal(goal, samples) for goal in GOALS)])
    if report["failures"]:
        yield ""
    for failure in report["failures"]:
        yield f"- Not measured: {failure}."


def summary(report: dict[str, Any]) -> str:
    """Return what the benchmark's README shows."""
    return "\n".join([*lines(report), ""])
