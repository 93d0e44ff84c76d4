"""The two charts of the README, drawn from a report."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.adapters import ENTRIES
from tests.benchmarks.writing import significant

_STREAMS = {"one": 1, "fifty": 50, "two-hundred": 200, "thousand": 1000}
_FLOOR = "floor: bare session + core's astream"
# Okabe and Ito's palette: told apart by colour-blind readers too.
_COLOURS = {
    "ours": "#0072B2",
    "floor": "#999999",
    "bare": "#000000",
    "lines": "#56B4E9",
    "mistral": "#E69F00",
    "ollama": "#009E73",
    "openai": "#D55E00",
}
# A peer without its limit on connections has the colour that it has with it.
_COLOURS |= {f"{peer}-unlimited": _COLOURS[peer] for peer in ("mistral", "ollama")}
_STYLES = {"floor": "--", "bare": "--", "mistral-unlimited": ":", "ollama-unlimited": ":"}
_LABELS = {
    "floor": _FLOOR,
    "bare": "bare aiohttp session",
    "lines": "line-iterating provider",
    "mistral-unlimited": "ChatMistralAI, no limit",
    "ollama-unlimited": "ChatOllama, no limit",
}


def _label(adapter: str) -> str:
    return _LABELS.get(adapter) or ENTRIES[adapter].label


def _median(report: dict[str, Any], scenario: str, adapter: str, metric: str) -> float | None:
    rounds = report["samples"].get(scenario, {}).get(adapter)
    return median(sample[metric] for sample in rounds) if rounds else None


def _cpu(report: dict[str, Any], scenario: str, adapter: str) -> float | None:
    if adapter != "floor":
        return _median(report, scenario, adapter, "cpu_us_per_token")
    parts = [_median(report, scenario, part, "cpu_us_per_token") for part in ("bare", "core")]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == 2 else None


def _save(figure: Any, directory: Path, name: str) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"{name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        # No date inside, so that the same figures give the same file.
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(path, dpi=110, metadata=metadata)
    return paths


def _cpu_chart(report: dict[str, Any], pyplot: Any) -> Any:
    figure, axes = pyplot.subplots(figsize=(8, 4.6), layout="constrained")
    peers = ("openai", "ollama", "ollama-unlimited", "mistral", "mistral-unlimited")
    for adapter in (*peers, "ours", "floor", "bare"):
        points = [
            (streams, cost)
            for scenario, streams in _STREAMS.items()
            if (cost := _cpu(report, scenario, adapter)) is not None
        ]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                color=_COLOURS[adapter],
                label=_label(adapter),
                marker="o",
                linewidth=3 if adapter == "ours" else 1.6,
                linestyle=_STYLES.get(adapter, "-"),
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(list(_STREAMS.values()), [f"{count:,}" for count in _STREAMS.values()])
    axes.set_yticks([10, 20, 50, 100, 200, 500], ["10", "20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.set_xlabel("streams open at the same time in one process")
    axes.set_ylabel("client CPU per token, µs (lower is better)")
    axes.set_title("CPU per token against number of streams")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _first_text_chart(report: dict[str, Any], pyplot: Any) -> Any:
    figure, panels = pyplot.subplots(1, 2, figsize=(8, 3.6), layout="constrained", sharey=True)
    unlimited = ("ollama-unlimited", "mistral-unlimited")
    adapters = ("lines", "openai", "ollama", "mistral", *unlimited, "ours", "bare")
    titles = (
        ("first", "calls one after the other"),
        ("two-hundred", "200 streams started together"),
    )
    for axes, (scenario, title) in zip(panels, titles, strict=True):
        rows = [
            (at, adapter, value)
            for at, adapter in enumerate(adapters)
            if (value := _median(report, scenario, adapter, "first_p50_ms")) is not None
        ]
        bars = axes.barh(
            [at for at, _, _ in rows],
            [value for _, _, value in rows],
            color=[_COLOURS[adapter] for _, adapter, _ in rows],
        )
        axes.bar_label(
            bars, [f"{significant(value)} ms" for _, _, value in rows], padding=3, fontsize=8
        )
        axes.set_xscale("log")
        axes.set_xlim(0.2, 40_000)
        axes.set_xticks([1, 10, 100, 1000, 10_000], ["1", "10", "100", "1 s", "10 s"])
        axes.minorticks_off()
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(adapters)), [_label(adapter) for adapter in adapters])
    figure.suptitle("Time to first text in ms, median (lower is better, logarithmic)", fontsize=11)
    return figure


def draw(report: dict[str, Any], directory: Path) -> list[Path]:
    """Draw the charts as PNG and SVG and return where they are."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "langchain-ai365vip"
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    written = []
    for name, chart in (("cpu-per-token", _cpu_chart), ("first-text", _first_text_chart)):
        figure = chart(report, pyplot)
        written += _save(figure, directory, name)
        pyplot.close(figure)
    return written
