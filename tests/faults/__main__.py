"""`python -m tests.faults --table` prints the table, `--peer openai` a peer's matrix."""

from __future__ import annotations

import argparse
import sys

from tests.faults.table import markdown, peer_rows
from tests.faults.wires import OPENAI


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", action="store_true", help="our outcomes, as Markdown")
    what.add_argument("--peer", choices=["openai"], help="the shared faults, played to a peer")
    asked = parser.parse_args()
    if asked.table:
        sys.stdout.write(markdown())
    else:
        _print_peer()


def _print_peer() -> None:
    sys.stdout.write("| fault | way | outcome | requests | kept |\n|---|---|---|--:|---|\n")
    good = total = 0
    for name, way, outcome, requests, ok in peer_rows(OPENAI):
        good, total = good + ok, total + 1
        sys.stdout.write(f"| {name} | {way} | {outcome} | {requests} | {'yes' if ok else 'no'} |\n")
        sys.stdout.flush()
    sys.stdout.write(f"\nkept: {good} of {total}\n")


if __name__ == "__main__":
    main()
