"""The table on the screen and the JSON file behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.adapters import ENTRIES, NOTES, PEERS, UNLIMITED
from tests.benchmarks.goals import Cell, Curve, Verdict, curves, judge_all, unmeasured
from tests.benchmarks.machine import commit, versions
from tests.benchmarks.profile import OWNERS
from tests.benchmarks.reasons import explained
from tests.benchmarks.scenarios import OTHERS, STREAMS, Metrics, Runner, Samples
from tests.benchmarks.writing import against, significant

RESULTS = Path(__file__).resolve().parent / "results"
LATEST = RESULTS / "latest.json"

# Which figures a table shows, with their heading and the decimals worth printing.
COLUMNS = {
    "cpu_us_per_token": ("CPU/token µs", 1),
    "cpu_us_per_call": ("CPU/call µs", 0),
    "calls_per_s": ("calls/s", 0),
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
    "server": "server side, 50 streams, a token every 10 ms",
    "import": "import, without the interpreter's own start",
}
_LABELS = {
    ("server", "unserved"): "the model alone, without a server",
    ("server", "bare-host"): "bare aiohttp.web handler around the same model",
    ("server", "ours-host"): "create_app(model)",
    ("import", "core"): "langchain_core's chat models and aiohttp",
    ("import", "package"): "langchain_ai365vip",
    ("import", "ours"): "ChatAI365VIP of langchain_ai365vip",
    ("import", "openai"): "langchain_openai",
    ("import", "mistral"): "langchain_mistralai",
    ("import", "ollama"): "langchain_ollama",
}
# A model without a wire has no first text, no delays and nothing that could fail.
_OF_CORE = ("cpu_us_per_token", "cpu_us_per_call", "cpu_ms", "chunks")


def _is_told(adapter: str, metric: str) -> bool:
    return adapter != "core" or metric in _OF_CORE or metric.startswith("in_")


def _label(scenario: str, adapter: str) -> str:
    return _LABELS.get((scenario, adapter)) or ENTRIES[adapter].label


def collect(runner: Runner) -> dict[str, Any]:
    """Run, and return the whole report, ready for JSON."""
    samples, settings = _rounded(runner.run()), runner.settings
    return {
        "runs": [{"commit": commit(), "versions": versions(), "rows": []}],
        "quick": settings.quick,
        "notes": list(NOTES),
        "failures": [
            {"scenario": scenario, "adapter": adapter, "why": why}
            for (scenario, adapter), why in runner.failures.items()
        ],
        **_judged(samples),
    }


def _judged(samples: Samples) -> dict[str, Any]:
    return {
        "goals": [verdict.as_dict() for verdict in judge_all(samples)],
        "growth": [curve.as_dict() for curve in curves(samples)],
        "samples": samples,
    }


def updated(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a report with the rows of a newer one in place of its own.

    A row is what one adapter did in one scenario. `runs` says which rows are of which run: the
    first has all that no later one names.
    """
    taken = {(scenario, adapter) for scenario, rows in new["samples"].items() for adapter in rows}
    failed = {(failure["scenario"], failure["adapter"]) for failure in new["failures"]}
    samples = {**old["samples"]}
    for scenario, rows in new["samples"].items():
        samples[scenario] = {**samples.get(scenario, {}), **rows}
    for scenario, adapter in failed - taken:
        samples.get(scenario, {}).pop(adapter, None)
    kept = [
        failure
        for failure in old["failures"]
        if (failure["scenario"], failure["adapter"]) not in taken | failed
    ]
    return {
        **new,
        "runs": _runs(old["runs"], new["runs"][0], taken | failed),
        "quick": old["quick"],
        "failures": [*kept, *new["failures"]],
        **_judged(samples),
    }


def _runs(
    old: list[dict[str, Any]], new: dict[str, Any], replaced: set[tuple[str, str]]
) -> list[dict[str, Any]]:
    first, *later = old
    names = sorted(f"{scenario}/{adapter}" for scenario, adapter in replaced)
    left = [{**run, "rows": [row for row in run["rows"] if row not in names]} for run in later]
    return [first, *(run for run in left if run["rows"]), {**new, "rows": names}]


def _provenance(report: dict[str, Any]) -> Iterator[str]:
    """Say which versions and which commit were measured, and what was measured apart."""
    for run in report["runs"]:
        found = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        at = f" at commit {run['commit']}" if run["commit"] else ""
        if run["rows"]:
            rows = ", ".join(f"`{row}`" for row in run["rows"])
            yield f"In another run{at}, so that ratios to others are not within a round: {rows}."
        else:
            yield f"Measured{at} with {found}."


def write(report: dict[str, Any], path: Path) -> None:
    """Write the report, a line per sample so that two of them can be compared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(report), indent=1, ensure_ascii=False) + "\n", "utf-8")


def read(path: Path) -> dict[str, Any]:
    """Read a report back, judged by the goals of today."""
    report: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return {**report, **_judged(report["samples"])}


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
    values = [float(sample[metric]) for sample in rounds if metric in sample]
    if not values:
        return ""
    middle = f"{median(values):,.{digits}f}"
    if len(values) == 1 or max(values) == min(values):
        return middle
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _table(name: str, rows: dict[str, list[Metrics]]) -> Iterator[str]:
    first = next(iter(rows.values()))[0]
    metrics = [metric for metric in COLUMNS if metric in first]
    head = ["adapter", *(COLUMNS[metric][0] for metric in metrics), "rounds"]
    body = [
        [
            _label(name, adapter),
            *(_figure(rounds, metric) if _is_told(adapter, metric) else "" for metric in metrics),
            str(len(rounds)),
        ]
        for adapter, rounds in rows.items()
    ]
    yield ""
    yield f"### {_TITLES.get(name, name)} (medians, lowest to highest)"
    yield ""
    yield from _grid([head, *body])


def _goals(verdicts: Sequence[Verdict]) -> Iterator[str]:
    rows = [["goal", "what", "ratio or figure", "lowest to highest", "rounds", "limit", "met"]]
    for verdict in verdicts:
        found, limit = against(verdict.ratio, verdict.limit)
        sign = ">=" if verdict.at_least else "<="
        rows.append(
            [
                str(verdict.number),
                verdict.text,
                found,
                f"{significant(verdict.lowest)} to {significant(verdict.highest)}",
                str(verdict.rounds),
                f"{sign} {limit}" if limit else "none",
                {True: "yes", False: "NO", None: ""}[verdict.passed],
            ]
        )
    yield ""
    yield "### Goals"
    yield ""
    yield from _grid(rows)


def _missed(report: dict[str, Any], verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield the goals that were not met, each with its reason."""
    judged = [verdict for verdict in verdicts if verdict.passed is not None]
    missed = [verdict for verdict in judged if not verdict.passed]
    yield ""
    if missed:
        yield f"Of {len(judged)} goals, {len(judged) - len(missed)} are met. Not these:"
        yield ""
    else:
        yield f"All {len(judged)} goals are met."
    for verdict in missed:
        found, limit = against(verdict.ratio, verdict.limit)
        reason = explained(verdict.text, report["samples"])
        yield f"- {verdict.text}: **{found}**, limit {limit}. {reason}"
    for text in unmeasured(report["samples"]):
        yield f"- {text}: not measured."


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
    yield from _provenance(report)
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
        who = _label(failure["scenario"], failure["adapter"])
        yield f"- NOT MEASURED: {who}, {failure['scenario']}: {failure['why']}"
    for note in report["notes"]:
        yield f"- {note}"


_SUMMARY = (
    ("1 stream, CPU µs/token", "one", "cpu_us_per_token"),
    ("50 streams", "fifty", "cpu_us_per_token"),
    ("200 streams", "two-hundred", "cpu_us_per_token"),
    ("1,000 streams", "thousand", "cpu_us_per_token"),
    ("first text, calls one after the other, ms", "first", "first_p50_ms"),
    ("first text, 200 starts, ms", "two-hundred", "first_p50_ms"),
)
_SUMMARY_ROWS = ("bare", "core", "ours", "lines", *PEERS, *UNLIMITED)


def _cell(samples: Samples, cell: Cell) -> str:
    """Return a median, with the number of streams that failed beside it."""
    values = cell.values(samples)
    if not values or not _is_told(cell.adapter, cell.metric):
        return ""
    failed = Cell(cell.scenario, cell.adapter, "failed").values(samples)
    if cell.adapter == "core" or not any(failed):
        return significant(median(values))
    return f"{significant(median(values))} ({max(failed):,.0f} failed)"


def _rounds(samples: Samples, adapter: str) -> str:
    counts = [len(Cell(at, adapter, metric).values(samples)) for _, at, metric in _SUMMARY]
    known = sorted({count for count in counts if count})
    return " to ".join(str(count) for count in dict.fromkeys(known[:1] + known[-1:]))


def summary(report: dict[str, Any]) -> str:
    """Return what the README shows: main figures, missed goals, then all goals and growth."""
    samples = report["samples"]
    verdicts = [Verdict(**fields) for fields in report["goals"]]
    body = [
        [
            ENTRIES[adapter].label,
            *(_cell(samples, Cell(scenario, adapter, metric)) for _, scenario, metric in _SUMMARY),
            _rounds(samples, adapter),
        ]
        for adapter in _SUMMARY_ROWS
    ]
    parts = [
        *_grid([["medians", *(head for head, _, _ in _SUMMARY), "rounds"], *body]),
        "",
        *_provenance(report),
        *_missed(report, verdicts),
        "",
        "<details><summary>All goals, where the time goes, and how cost grows</summary>",
        *_goals(verdicts),
        *_profiles(samples),
        *_growth([Curve(**fields) for fields in report["growth"]]),
        "",
        "</details>",
        "",
    ]
    return "\n".join(parts)


def _profiles(samples: Samples) -> Iterator[str]:
    """Yield in whose code the CPU of a token goes."""
    owners = (*OWNERS, "other")
    yield ""
    yield "### Where the CPU of a token goes, µs"
    yield ""
    yield "Sampled; `gc` is the garbage collector, `peer` a peer's package and httpx."
    yield ""
    body = [
        [
            f"{_TITLES[name].partition(', ')[2]}, {ENTRIES[adapter].label}",
            *(_cell(samples, Cell(name, adapter, f"in_{owner}")) for owner in owners),
        ]
        for name, rows in samples.items()
        if name.startswith("profile-")
        for adapter in rows
    ]
    yield from _grid([["", *owners], *body])
