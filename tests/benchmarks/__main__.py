"""The command line: `python -m tests.benchmarks [--quick]`."""

from __future__ import annotations

import argparse
import importlib.util


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Compare ChatAI365VIP with a bare aiohttp session and with three peers; "
        "write the figures, the charts and the tables of tests/benchmarks/README.md.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="a minute or two; print the tables, write nothing")
    add("--draw", action="store_true", help="measure nothing: judge and draw the last figures")
    arguments = parser.parse_args()
    # Better now than after ten minutes.
    needed = ("langchain_mistralai", "langchain_ollama", "langchain_openai", "matplotlib")
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        parser.error(f"{', '.join(missing)} not installed: run it by `uv run --group bench`")
    return arguments


def main() -> None:
    """Measure, print, write and draw."""
    arguments = _arguments()
    # The processes that are measured import this module, too, and nothing that they do not need.
    from tests import generated
    from tests.benchmarks import charts, report

    figures = report.read(report.LATEST) if arguments.draw else report.collect(arguments.quick)
    print(report.summary(figures))
    if not arguments.quick:
        report.write(figures, report.LATEST)
        charts.draw(figures)
        generated.write(generated.BENCHMARKS)


if __name__ == "__main__":
    main()
