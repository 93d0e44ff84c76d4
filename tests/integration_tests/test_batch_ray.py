"""Bulk work on a real Ray cluster of several workers on this machine.

Ray wants a network of its own, so that the tests run this module as a script. For numbers:
`python -m tests.integration_tests.test_batch_ray WORKERS ROWS`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_ai365vip.batch import RayRows
from tests.endpoint import Endpoint

pytestmark = pytest.mark.heavy

TOKENS, SECONDS_A_TOKEN = 10, 0.1
ROWS_AT_A_TIME = 20
# Ray takes the host's address for 127.0.0.1: in a namespace with nothing but a loopback there
# is none, and nothing leaves this machine.
ALONE = ("unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


def main(workers: int, rows: int, *, kill: bool) -> dict[str, Any]:
    """Answer rows against an endpoint that sends a token every 0.1 s; say what came of it."""
    import ray

    times: list[float] = []

    def tokens(_: Any) -> Iterator[str]:
        times.append(time.monotonic())
        if kill and endpoint.requests == rows // 4:
            os.kill(_worker(), signal.SIGKILL)
        yield from ["word "] * TOKENS
        times.append(time.monotonic())

    ray.init(num_cpus=4, include_dashboard=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with Endpoint() as endpoint, tempfile.TemporaryDirectory() as at:
        endpoint.pieces, endpoint.delay = tokens, SECONDS_A_TOKEN
        source, target = Path(at, "in.jsonl"), Path(at, "out")
        source.write_text("".join(f'{{"id": {n}, "prompt": "row"}}\n' for n in range(rows)))
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
        "seconds": f"{max(times) - min(times):.1f} from first row to last, {whole:.1f} in all",
    }


def _worker() -> int:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            title = (process / "cmdline").read_bytes()
            if title.startswith(b"ray::") and b"RayRows" in title:
                return int(process.name)
    raise RuntimeError("no worker found")


def on_ray(*arguments: str) -> dict[str, Any]:
    command = [*ALONE, sys.executable, "-m", __name__, *arguments]
    ran = subprocess.run(
        command, env=os.environ | SETTINGS, capture_output=True, text=True, timeout=300
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


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_keep_their_connections_and_ask_once_for_each_row(workers: int) -> None:
    result = on_ray(str(workers), "120")
    assert (result["ids"], result["wrong"]) == (list(range(120)), [])
    assert result["requests"] == 120
    assert result["connections"] <= ROWS_AT_A_TIME * workers


if __name__ == "__main__":
    done = main(int(sys.argv[1]), int(sys.argv[2]), kill="--kill" in sys.argv)
    sys.stdout.write("\n" + json.dumps(done) + "\n")
