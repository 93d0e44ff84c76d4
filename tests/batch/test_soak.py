"""Twenty thousand rows, five times killed: each comes out once."""

from __future__ import annotations

import collections
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.batch import batch_file
from tests.endpoint import Endpoint

_COUNT, _KILLS, _CONCURRENCY = 20_000, 5, 32
_BYTES_BETWEEN_KILLS = 250_000
_RUN = """
import sys
from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.batch import batch_file
model = ChatAI365VIP(base_url=sys.argv[3], max_retries=0)
batch_file(sys.argv[1], sys.argv[2], model, concurrency=int(sys.argv[4]))
"""


def _is_larger(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size > size


@pytest.mark.heavy
def test_twenty_thousand_rows_with_five_kills_come_out_once_each(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(f'{{"id": {n}, "prompt": "row {n}"}}\n' for n in range(_COUNT)))
    asked: collections.Counter[str] = collections.Counter()

    def fail_some(_: web.Request) -> web.Response | None:
        """Fail every hundredth row when it is asked for the first time."""
        row = endpoint.bodies.pop()["messages"][-1]["content"]
        asked[row] += 1
        fails = asked[row] == 1 and row.endswith("00")
        return web.Response(status=503) if fails else None

    def echo(body: dict[str, Any]) -> list[str]:
        return [body["messages"][-1]["content"].upper()]

    endpoint.response, endpoint.pieces = fail_some, echo
    arguments = [str(source), str(target), endpoint.base_url, str(_CONCURRENCY)]
    for _ in range(_KILLS):
        before = target.stat().st_size if target.exists() else 0
        with subprocess.Popen([sys.executable, "-c", _RUN, *arguments]) as process:
            try:
                there = endpoint.wait_until(
                    functools.partial(_is_larger, target, before + _BYTES_BETWEEN_KILLS), 600
                )
            finally:
                process.kill()
        assert there

    with ChatAI365VIP(base_url=endpoint.base_url, max_retries=0) as model:
        for _ in range(2):
            progress = batch_file(source, target, model, concurrency=_CONCURRENCY)
    assert (progress.total, progress.skipped + progress.answered) == (_COUNT, _COUNT)
    written = [json.loads(line) for line in target.read_text().splitlines()]
    assert sorted(row["id"] for row in written) == list(range(_COUNT))
    assert all(row["output"] == f"ROW {row['id']}" for row in written)
    # Only failed rows, and those under way at a kill, were asked for again.
    failed = sum(str(n).endswith("00") for n in range(_COUNT))
    assert _COUNT <= asked.total() <= _COUNT + failed + _KILLS * _CONCURRENCY
