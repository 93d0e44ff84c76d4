"""Bulk work on a real Ray cluster of several workers on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.heavy

# Ray takes the host's address for 127.0.0.1: in a namespace with nothing but a loopback there
# is none, and nothing leaves this machine.
_ALONE = ("unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")


def on_ray(*arguments: str) -> dict[str, Any]:
    environment = {
        **os.environ,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    ran = subprocess.run(
        [*_ALONE, sys.executable, "-m", "tests.integration_tests.ray_rows", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )
    results = [line[7:] for line in ran.stdout.splitlines() if line.startswith("RESULT ")]
    assert ran.returncode == 0, ran.stderr[-3000:]
    result: dict[str, Any] = json.loads(results[-1])
    return result


def test_a_worker_killed_in_mid_run_loses_no_row_and_doubles_none() -> None:
    result = on_ray("2", "400", "--kill")
    assert result["ids"] == list(range(400))
    assert result["wrong"] == []
    # At least once on the wire, exactly once in the output.
    assert 400 < result["requests"] < 800


def test_a_worker_keeps_its_connections(capsys: pytest.CaptureFixture[str]) -> None:
    results = [on_ray(str(workers), "120") for workers in (1, 2, 4)]
    with capsys.disabled():
        for result in results:
            sys.stdout.write(
                f"\nRay, {result['workers']} workers: {result['rows_per_second']:.0f} rows/s\n"
            )
    for result in results:
        assert result["ids"] == list(range(120))
        assert result["requests"] == 120
        assert result["connections"] <= 10 * result["workers"] * 2
