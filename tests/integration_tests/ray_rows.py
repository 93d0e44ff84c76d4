"""Rows on a local Ray cluster: a script, since Ray wants a network of its own.

`python -m tests.integration_tests.ray_rows WORKERS ROWS [--kill]` answers the rows against a
slow-token endpoint in this process and prints what came of it as JSON. With `--kill` one of
the workers is killed in mid-run.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import ray

from langchain_ai365vip.batch import RayRows
from tests.endpoint import Endpoint

TOKENS, SECONDS_A_TOKEN = 5, 0.02


def main(workers: int, rows: int, *, kill: bool) -> dict[str, Any]:
    """Run the rows; return the answers' ids, the requests and the rate."""
    with (
        Endpoint(["word "] * TOKENS) as endpoint,
        tempfile.TemporaryDirectory() as at,
    ):
        endpoint.delay = SECONDS_A_TOKEN
        source, target = Path(at, "in.jsonl"), Path(at, "out")
        source.write_text(
            "".join(json.dumps({"id": n, "prompt": f"row {n}"}) + "\n" for n in range(rows))
        )
        if kill:
            threading.Thread(target=_kill_one, args=(endpoint, rows // 4), daemon=True).start()
        started = time.monotonic()
        ray.data.read_json(str(source), override_num_blocks=4 * workers).map_batches(
            RayRows,
            fn_constructor_kwargs={"settings": {"base_url": endpoint.base_url}},
            batch_size=10,
            concurrency=workers,
            num_cpus=0.5,
        ).write_json(str(target))
        seconds = time.monotonic() - started
        answers = [
            json.loads(json.loads(line)["answer"])
            for part in target.glob("*.json")
            for line in part.read_text().splitlines()
        ]
        return {
            "workers": workers,
            "ids": sorted(answer["id"] for answer in answers),
            "wrong": [a for a in answers if a.get("output") != "word " * TOKENS],
            "requests": endpoint.requests,
            "connections": endpoint.connections,
            "rows_per_second": rows / seconds,
        }


def _kill_one(endpoint: Endpoint, after: int) -> None:
    while endpoint.requests < after:
        time.sleep(0.01)
    os.kill(_worker(), signal.SIGKILL)


def _worker() -> int:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::") and b"RayRows" in title:
            return int(process.name)
    raise RuntimeError("no worker found")


if __name__ == "__main__":
    ray.init(num_cpus=4, include_dashboard=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    result = main(int(sys.argv[1]), int(sys.argv[2]), kill="--kill" in sys.argv)
    ray.shutdown()
    sys.stdout.write("RESULT " + json.dumps(result) + "\n")
