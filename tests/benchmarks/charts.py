"""The two charts of the benchmark's README, drawn from a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tests.benchmarks.adapters import ENTRIES
from tests.benchmarks.goals import CPU, FIRST, WAIT_P95, middle, significant
from tests.benchmarks.scenarios import Samples

CHARTS: Final = Path(__file__).resolve().parent / "charts"
_STREAMS: Final = {"one": 1, "two-hundred": 200, "thousand": 1000}
# Okabe and Ito's palette: told apart by colour-blind readers too.
_COLOURS: Final = {
    "openai": "#D55E00",
    "ollama": "#009E73",
    "mistral": "#E69F00",
    "ours": "#0072B2",
    "floor": "#999999",
    "bare": "#000000",
}
_LABELS: Final = {"floor": "floor: bare session + core's astream", "bare": "bare aiohttp session"}


def _label(adapter: str) -> str:
    return _LABELS.get(adapter) or ENTRIES[adapter].label


def _cost(samples: Samples, scenario: str, adapter: str) -> float | None:
    parts = ("bare", "core") if adapter == "floor" else (adapter,)
    costs = [middle(samples, scenario, part, CPU) for part in parts]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(parts) else None


def _cpu_chart(samples: Samples, pyplot: Any) -> Any:
    figure, axes = pyplot.subplots(figsize=(7.6, 4.2), layout="constrained")
    for adapter, colour in _COLOURS.items():
        points = [
            (streams, cost)
            for scenario, streams in _STREAMS.items()
            if (cost := _cost(samples, scenario, adapter)) is not None
        ]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                color=colour,
                label=_label(adapter),
                marker="o",
                linewidth=3 if adapter == "ours" else 1.6,
                linestyle="--" if adapter in _LABELS else "-",
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(list(_STREAMS.values()), [f"{count:,}" for count in _STREAMS.values()])
    axes.set_yticks([10, 20, 50, 100, 200, 500], ["10", "20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.set_xlabel("streams open at the same time in one process")
    axes.set_ylabel("client CPU per token, µs (lower is better)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _waits_chart(samples: Samples, pyplot: Any) -> Any:
    figure, panels = pyplot.subplots(1, 2, figsize=(7.6, 2.8), layout="constrained", sharey=True)
    adapters = [adapter for adapter in _COLOURS if adapter != "floor"]
    titles = (
        (FIRST, "to the first text, median"),
        (WAIT_P95, "between two texts, 95th percentile"),
    )
    for axes, (metric, title) in zip(panels, titles, strict=True):
        waits = [middle(samples, "two-hundred", adapter, metric) for adapter in adapters]
        bars = axes.barh(
            range(len(adapters)),
            [wait or 0 for wait in waits],
            color=[_COLOURS[adapter] for adapter in adapters],
        )
        axes.bar_label(bars, [f"{significant(wait)} ms" for wait in waits], padding=3, fontsize=8)
        axes.set_xlim(0, 1.25 * max((wait or 1 for wait in waits), default=1))
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(adapters)), [_label(adapter) for adapter in adapters])
    figure.suptitle("What a reader waits for at 200 streams, ms (lower is better)", fontsize=11)
    return figure


def draw(report: dict[str, Any], directory: Path = CHARTS) -> None:
    """Draw the charts as PNG and SVG."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "langchain-ai365vip"
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    directory.mkdir(parents=True, exist_ok=True)
    for name, chart in (("cpu-per-token", _cpu_chart), ("waits", _waits_chart)):
        figure = chart(report["samples"], pyplot)
        # No date inside, so that the same figures give the same file.
        figure.savefig(directory / f"{name}.png", dpi=80, metadata={"Software": None})
        figure.savefig(directory / f"{name}.svg", metadata={"Date": None})
        pyplot.close(figure)
