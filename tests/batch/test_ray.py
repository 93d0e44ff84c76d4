"""Bulk work on a real Ray cluster of several workers on this machine.

Ray wants a network of its own, so that the tests run this module as a script. The README's
figures are measured anew by `python -m tests.batch.test_ray --measure`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from langchain_ai365vip.batch import RayRows
from tests.endpoint import Endpoint
from tests.test_docstrings import EXAMPLES, ON_RAY, run_examples

pytestmark = pytest.mark.heavy

TOKENS, SECONDS_A_TOKEN = 10, 0.1
ROWS_AT_A_TIME = 20
# What `--measure` measures, and where it writes it.
MEASURED_ROWS, MEASURED_WORKERS, TIMES = 1200, (1, 2, 4), 2
FIGURES = Path(__file__).parent.parent / "fixtures" / "ray_workers.json"
MODULE = "tests.batch.test_ray"
# Ray takes the host's address for 127.0.0.1: in a namespace with nothing but a loopback there
# is none, and nothing leaves this machine.
ALONE = ("unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


def main(workers: int, rows: int, *, kill: bool) -> dict[str, Any]:
    """Answer rows against an endpoint that sends a token every 0.1 s; say what came of it."""
    import ray

    _start(ray)
    times: list[float] = []

    def kill_the_asker(request: web.Request) -> None:
        if kill and endpoint.requests == rows // 4:
            os.kill(_asker(request), signal.SIGKILL)

    def tokens(_: Any) -> Iterator[str]:
        times.append(time.monotonic())
        yield from ["word "] * TOKENS
        times.append(time.monotonic())

    with Endpoint() as endpoint, tempfile.TemporaryDirectory() as at:
        endpoint.pieces, endpoint.delay = tokens, SECONDS_A_TOKEN
        endpoint.response = kill_the_asker
        source, target = Path(at, "in.jsonl"), Path(at, "out")
        kinds: list[dict[str, Any]] = [
            {"prompt": "row"},
            {"messages": [{"role": "user", "content": "row"}]},
        ]
        lines = [json.dumps({"id": n, **kinds[n % 2]}) + "\n" for n in range(rows)]
        source.write_text("".join(lines))
        started = time.monotonic()
        ray.data.read_json(str(source), override_num_blocks=rows // ROWS_AT_A_TIME).map_batches(
            RayRows,
            fn_constructor_kwargs={"settings": {"base_url": endpoint.base_url}},
            batch_size=ROWS_AT_A_TIME,
            concurrency=workers,
            num_cpus=0.5,
        ).write_json(str(target))
        whole = time.monotonic() - started
        lines = "".join(part.read_text() for part in target.glob("*.json")).splitlines()
    answers = [json.loads(json.loads(line)["answer"]) for line in lines]
    return {
        "ids": sorted(answer["id"] for answer in answers),
        "wrong": [answer for answer in answers if answer.get("output") != "word " * TOKENS],
        "requests": endpoint.requests,
        "connections": endpoint.connections,
        "first_to_last": round(max(times) - min(times), 1),
        "whole": round(whole),
    }


def _start(ray: Any) -> None:
    ray.init(num_cpus=4, include_dashboard=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False


def example() -> dict[str, Any]:
    """Run the example in the docstring of `RayRows`; return the rows that it wrote."""
    import ray

    [thing] = [thing for thing in EXAMPLES if thing.name == ON_RAY]
    with Endpoint() as endpoint, tempfile.TemporaryDirectory() as at:
        endpoint.pieces = ["Hello"]
        os.chdir(at)
        Path("in.jsonl").write_text('{"id": "a", "prompt": "Hi"}\n{"id": "b", "prompt": "Ho"}\n')
        _start(ray)
        run_examples(thing, endpoint.base_url)
        lines = "".join(part.read_text() for part in Path("out").glob("*.json")).splitlines()
        os.chdir("/")
    answers = [json.loads(json.loads(line)["answer"]) for line in lines]
    return {
        "ids": sorted(answer["id"] for answer in answers),
        "answers": {answer["id"]: answer["output"] for answer in answers},
    }


def measure() -> None:
    """Write the figures of the README anew."""
    runs = {
        str(workers): [
            {name: result[name] for name in ("first_to_last", "whole")}
            for result in (on_ray(str(workers), str(MEASURED_ROWS)) for _ in range(TIMES))
        ]
        for workers in MEASURED_WORKERS
    }
    figures = {
        "cores": os.cpu_count(),
        "rows": MEASURED_ROWS,
        "tokens": TOKENS,
        "tokens_a_second": round(1 / SECONDS_A_TOKEN),
        "rows_at_a_time": ROWS_AT_A_TIME,
        "runs": runs,
    }
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def workers_table() -> str:
    """Return what the README says of how workers add up."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    rows = [
        f"| {workers} | {_each(runs, 'first_to_last')} s | {_faster(figures['runs']['1'], runs)} "
        f"| {_each(runs, 'whole')} s |"
        for workers, runs in figures["runs"].items()
    ]
    return "\n".join(
        [
            f"Measured on {figures['cores']} cores, {figures['rows']:,} rows against an endpoint "
            f"that sends {figures['tokens']} tokens at",
            f"{figures['tokens_a_second']} a second, {figures['rows_at_a_time']} rows at a time "
            f"per worker, {len(figures['runs']['1'])} runs each:",
            "",
            "| workers | from the first row to the last | against one worker "
            "| with Ray's start and end |",
            "|--:|--:|--:|--:|",
            *rows,
            "",
        ]
    )


def _each(runs: list[dict[str, float]], name: str) -> str:
    return ", ".join(str(run[name]) for run in runs)


def _faster(of_one: list[dict[str, float]], runs: list[dict[str, float]]) -> str:
    """Say how many times as fast each run was as that of one worker."""
    ratios = [
        f"{one['first_to_last'] / run['first_to_last']:.1f}"
        for one, run in zip(of_one, runs, strict=True)
    ]
    return "1" if runs is of_one else f"{', '.join(dict.fromkeys(ratios))} times as fast"


def _asker(request: web.Request) -> int:
    """Return the process that waits for the answer: a worker between two batches would not."""
    assert request.transport is not None
    host, port = request.transport.get_extra_info("peername")
    address = f"{socket.inet_aton(host)[::-1].hex().upper()}:{port:04X}"
    sockets = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
    [inode] = [fields[9] for fields in sockets if fields[1] == address]
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(fd) == f"socket:[{inode}]":
                return int(fd.parts[2])
    raise RuntimeError("no worker found")


def on_ray(*arguments: str) -> dict[str, Any]:
    command = [*ALONE, sys.executable, "-m", MODULE, *arguments]
    ran = subprocess.run(
        command, env=os.environ | SETTINGS, capture_output=True, text=True, timeout=900
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    # Ray writes there, too, also after its end.
    [result] = [line for line in ran.stdout.splitlines() if line.startswith('{"ids"')]
    found: dict[str, Any] = json.loads(result)
    return found


def test_a_worker_killed_in_mid_run_loses_no_row_and_doubles_none() -> None:
    result = on_ray("2", "400", "--kill")
    assert (result["ids"], result["wrong"]) == (list(range(400)), [])
    # At least once on the wire, exactly once in the output.
    assert 400 < result["requests"] < 800


def test_the_docstrings_example_answers_every_row() -> None:
    assert on_ray("--example")["answers"] == {"a": "Hello", "b": "Hello"}


@pytest.mark.parametrize("workers", MEASURED_WORKERS)
def test_workers_keep_their_connections_and_ask_once_for_each_row(workers: int) -> None:
    result = on_ray(str(workers), "120")
    assert (result["ids"], result["wrong"]) == (list(range(120)), [])
    assert result["requests"] == 120
    assert result["connections"] <= ROWS_AT_A_TIME * workers


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure()
    else:
        done = (
            example()
            if "--example" in sys.argv
            else main(int(sys.argv[1]), int(sys.argv[2]), kill="--kill" in sys.argv)
        )
        sys.stdout.write("\n" + json.dumps(done) + "\n")
