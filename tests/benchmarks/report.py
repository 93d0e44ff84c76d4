"""The table on the screen and the JSON file behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.adapters import ENTRIES, NOTES, PEERS, UNLIMITED
from tests.benchmarks.goals import Curve, Verdict, curves, judge_all
from tests.benchmarks.machine import versions
from tests.benchmarks.profile import OWNERS
from tests.benchmarks.scenarios import OTHERS, STREAMS, Metrics, Runner

RESULTS = Path(__file__).resolve().parent / "results"
LATEST = RESULTS / "latest.json"

# Which figures a table shows, with their heading and the decimals worth printing.
COLUMNS = {
    "cpu_us_per_token": ("CPU/token µs", 1),
    "cpu_us_per_call": ("CPU/call µs", 0),
    "calls_per_s": ("calls/s", 0),
    "added_us_per_token": ("added/token µs", 1),
    "cpu_us": ("CPU µs", 0),
    "cpu_ms": ("CPU ms", 0),
    "io_events": ("I/O events", 0),
    "wall_s": ("wall s", 2),
    "first_p50_ms": ("first text p50 ms", 1),
    "gap_p95_ms": ("gap p95 ms", 1),
    "chunks": ("chunks", 1),
    "connections": ("connections", 0),
    "open_kb_per_stream": ("open KiB/stream", 1),
    "open_blocks_per_stream": ("objects/stream", 0),
    "left_blocks_per_stream": ("left after", 2),
    **{f"in_{owner}": (f"{owner} µs", 1) for owner in (*OWNERS, "other")},
    "failed": ("failed", 0),
}
_TITLES = {
    **{scenario.name: scenario.title for scenario in STREAMS + OTHERS},
    "server": "server side, 50 streams, a token every 10 ms, less what the model costs alone",
    "import": "import, without the interpreter's own start",
}
_LABELS = {
    ("server", "bare-host"): "bare aiohttp.web handler around the same model",
    ("server", "ours-host"): "create_app(model)",
    ("import", "core"): "langchain_core's chat models and aiohttp",
    ("import", "ours"): "ChatAI365VIP of langchain_ai365vip",
    ("import", "openai"): "langchain_openai",
    ("import", "mistral"): "langchain_mistralai",
    ("import", "ollama"): "langchain_ollama",
}
# A model without a wire has no first text, no delays and nothing that could fail.
_OF_CORE = ("cpu_us_per_token", "cpu_us_per_call", "cpu_ms", "chunks")


def _label(scenario: str, adapter: str) -> str:
    return _LABELS.get((scenario, adapter)) or ENTRIES[adapter].label


def collect(runner: Runner) -> dict[str, Any]:
    """Run, and return the whole report, ready for JSON."""
    samples, settings = runner.run(), runner.settings
    return {
        "versions": versions(),
        "quick": settings.quick,
        "rounds": settings.rounds,
        "notes": list(NOTES),
        "goals": [verdict.as_dict() for verdict in judge_all(samples)],
        "failures": [
            f"{ENTRIES[adapter].label}, {scenario}: {why}"
            for (scenario, adapter), why in runner.failures.items()
        ],
        "growth": [curve.as_dict() for curve in curves(samples)],
        "samples": samples,
    }


def updated(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a report with the scenarios of a newer one in place of its own."""
    samples = {**old["samples"], **new["samples"]}
    return {
        **new,
        "quick": old["quick"],
        "rounds": old["rounds"],
        "goals": [verdict.as_dict() for verdict in judge_all(samples)],
        "failures": [*old["failures"], *new["failures"]],
        "growth": [curve.as_dict() for curve in curves(samples)],
        "samples": samples,
    }


def write(report: dict[str, Any], path: Path) -> None:
    """Write the report, a line per sample so that two of them can be compared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(report), indent=1, ensure_ascii=False) + "\n", "utf-8")


def read(path: Path) -> dict[str, Any]:
    """Read a report back."""
    report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return report


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value


def _grid(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "| " + " | ".join(cells) + " |"
        if number == 0:
            dashes = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
            yield "| " + " | ".join(dashes) + " |"


def _figure(rounds: Sequence[Metrics], metric: str) -> str:
    """Return the median with the lowest and highest of the rounds behind it."""
    digits = COLUMNS[metric][1]
    values = [float(sample[metric]) for sample in rounds]
    middle = f"{median(values):,.{digits}f}"
    if len(values) == 1 or max(values) == min(values):
        return middle
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _table(name: str, rows: dict[str, list[Metrics]]) -> Iterator[str]:
    first = next(iter(rows.values()))[0]
    metrics = [metric for metric in COLUMNS if metric in first]
    head = ["adapter", *(COLUMNS[metric][0] for metric in metrics)]
    body = [
        [
            _label(name, adapter),
            *(
                _figure(rounds, metric) if adapter != "core" or metric in _OF_CORE else ""
                for metric in metrics
            ),
        ]
        for adapter, rounds in rows.items()
    ]
    rounds = max(len(items) for items in rows.values())
    yield ""
    yield f"### {_TITLES.get(name, name)} (medians of {rounds}, lowest to highest)"
    yield ""
    yield from _grid([head, *body])


def _goals(verdicts: Sequence[Verdict]) -> Iterator[str]:
    rows = [["goal", "what", "ratio", "lowest to highest", "rounds", "limit", "met"]]
    for verdict in verdicts:
        sign = ">=" if verdict.at_least else "<="
        rows.append(
            [
                str(verdict.number),
                verdict.text,
                f"{verdict.ratio:.3g}",
                f"{verdict.lowest:.3g} to {verdict.highest:.3g}",
                str(verdict.rounds),
                f"{sign} {verdict.limit:.3g}",
                "yes" if verdict.passed else "NO",
            ]
        )
    yield ""
    yield "### Goals"
    yield ""
    yield from _grid(rows)


def _growth(found: Sequence[Curve]) -> Iterator[str]:
    head = ["what grows", "whose cost", "from", "to", "exponent", "µs per unit"]
    rows = [
        [
            curve.name,
            ENTRIES[curve.adapter].label,
            f"{curve.sizes[0]:,}",
            f"{curve.sizes[-1]:,}",
            f"{curve.exponent:.2f}",
            f"{curve.slope_us:.3g}",
        ]
        for curve in found
    ]
    yield ""
    yield "### Growth (1.00 = linear; the upper half of the sizes)"
    yield ""
    yield from _grid([head, *rows])


def lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield the report as Markdown."""
    yield ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    tables = {name: rows for name, rows in report["samples"].items() if rows}
    for name, rows in tables.items():
        if name in _TITLES or "-" not in name:
            yield from _table(name, rows)
    if report["growth"]:
        yield from _growth([Curve(**fields) for fields in report["growth"]])
    if report["goals"]:
        yield from _goals([Verdict(**fields) for fields in report["goals"]])
    yield ""
    for failure in report["failures"]:
        yield f"- NOT MEASURED: {failure}"
    for note in report["notes"]:
        yield f"- {note}"


def _cell(report: dict[str, Any], scenario: str, adapter: str, metric: str) -> str:
    rounds = report["samples"].get(scenario, {}).get(adapter, [])
    values = [float(sample[metric]) for sample in rounds if metric in sample]
    return significant(median(values)) if values else ""


def significant(value: float) -> str:
    """Write a figure with three significant digits, and large ones in full."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


_SUMMARY = (
    ("1 stream, CPU µs/token", "one", "cpu_us_per_token"),
    ("50 streams", "fifty", "cpu_us_per_token"),
    ("200 streams", "two-hundred", "cpu_us_per_token"),
    ("1,000 streams", "thousand", "cpu_us_per_token"),
    ("first text, 1 stream, ms", "one", "first_p50_ms"),
    ("first text, 200 starts, ms", "two-hundred", "first_p50_ms"),
)
_SUMMARY_ROWS = ("bare", "core", "ours", "lines", *PEERS, *UNLIMITED)


def summary(report: dict[str, Any]) -> str:
    """Return what the README shows: the main figures, what came of each goal, growth."""
    body = [
        [
            ENTRIES[adapter].label,
            *(
                _cell(report, scenario, adapter, metric)
                if adapter != "core" or metric in _OF_CORE
                else ""
                for _, scenario, metric in _SUMMARY
            ),
        ]
        for adapter in _SUMMARY_ROWS
    ]
    found = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    parts = [
        *_grid([["medians", *(head for head, _, _ in _SUMMARY)], *body]),
        "",
        f"Measured with {found}.",
        "",
        "<details><summary>All goals, where the time goes, and how cost grows</summary>",
        *_goals([Verdict(**fields) for fields in report["goals"]]),
        *_profiles(report),
        *_growth([Curve(**fields) for fields in report["growth"]]),
        "",
        "</details>",
        "",
    ]
    return "\n".join(parts)


def _profiles(report: dict[str, Any]) -> Iterator[str]:
    """Yield in whose code the CPU of a token goes."""
    owners = (*OWNERS, "other")
    yield ""
    yield "### Where the CPU of a token goes, µs (sampled; `gc` is the garbage collector)"
    yield ""
    rows = [
        [
            _TITLES[name],
            *(_cell(report, name, "ours", f"in_{owner}") for owner in owners),
        ]
        for name in report["samples"]
        if name.startswith("profile-")
    ]
    yield from _grid([["", *owners], *rows])
