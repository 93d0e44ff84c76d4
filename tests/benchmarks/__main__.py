"""The command line: `python -m tests.benchmarks [--quick]`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tests.benchmarks import charts, report
from tests.benchmarks.adapters import ENTRIES
from tests.benchmarks.machine import REALTIME
from tests.benchmarks.scenarios import Runner, Settings

_HERE = Path(__file__).resolve().parent
CHARTS = _HERE / "charts"


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Compare ChatAI365VIP with a bare aiohttp session and with its peers.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="a run of a few minutes, without growth and charts")
    add("--rounds", type=int, help="rounds of every scenario (default: 5, quick: 3)")
    add(
        "--slow-rounds",
        type=int,
        default=5,
        help="rounds of the peers at 1,000 streams (%(default)s)",
    )
    add("--growth-rounds", type=int, default=3, help="rounds of the growth curves (%(default)s)")
    add(
        "--only",
        type=_names,
        default=[],
        metavar="A,B",
        help="scenarios, by the start of their names",
    )
    add("--adapters", type=_names, default=[], metavar="A,B", help=f"of {', '.join(ENTRIES)}")
    add(
        "--json",
        type=Path,
        help="where to write the figures (default: results/latest.json or quick.json)",
    )
    add("--charts", type=Path, default=CHARTS, help="directory of the charts")
    add(
        "--realtime",
        action="store_true",
        help="go before every other process of a busy machine (Linux, root)",
    )
    add(
        "--update",
        action="store_true",
        help="put each adapter's figures in place of those that --json has, and keep the others",
    )
    add("--draw", action="store_true", help="measure nothing: draw and print the figures of --json")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write and draw."""
    arguments = _arguments()
    default = report.RESULTS / "quick.json" if arguments.quick else report.LATEST
    path: Path = arguments.json or default
    if arguments.draw:
        figures = report.read(path)
    else:
        if arguments.realtime:
            os.environ[REALTIME] = "1"
        settings = Settings(
            quick=arguments.quick,
            rounds=arguments.rounds or (3 if arguments.quick else 5),
            slow_rounds=arguments.slow_rounds,
            growth_rounds=arguments.growth_rounds,
            only=arguments.only,
            adapters=arguments.adapters,
        )
        figures = report.collect(Runner(settings))
        if arguments.update:
            figures = report.updated(report.read(path), figures)
        report.write(figures, path)
    print("\n".join(report.lines(figures)))
    # A part of the figures would give a part of a chart.
    if (
        arguments.draw
        or arguments.update
        or not (arguments.quick or arguments.only or arguments.adapters)
    ):
        for written in charts.draw(figures, arguments.charts):
            print(written.name)


if __name__ == "__main__":
    main()
