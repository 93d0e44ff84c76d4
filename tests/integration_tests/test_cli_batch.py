"""`ai365vip batch`: a file in, a file out, an exit code."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from langchain_ai365vip.cli.app import app
from langchain_ai365vip.cli.exits import Exit
from tests.endpoint import Endpoint
from tests.integration_tests.test_cli import PATIENCE, Terminal, finished, started


def batch(endpoint: Endpoint, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["batch", *arguments, "--base-url", endpoint.base_url])
    return int(ended.value.code or 0)


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_are_answered_retried_and_counted(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('"one"\n{"id": "b"}\n')
    assert batch(endpoint, str(source), "-o", str(target), "--ordered") == Exit.FAILED
    assert "1 answered, 1 failed, 0 were there before" in capsys.readouterr().err
    source.write_text('"one"\n{"id": "b", "prompt": "two"}\n')
    assert batch(endpoint, str(source), "-o", str(target), "--retry-failed") == Exit.OK
    outputs = [json.loads(line)["output"] for line in target.read_text().splitlines()]
    assert outputs == ["Hello there!"] * 2
    assert endpoint.requests == 2


def test_a_schema_that_is_none_is_explained(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, schema = tmp_path / "in.jsonl", tmp_path / "schema.json"
    source.write_text('"one"\n')
    schema.write_text("[]")
    out = str(tmp_path / "out.jsonl")
    assert batch(endpoint, str(source), "-o", out, "--schema", str(schema)) == Exit.USAGE
    assert "holds no JSON schema" in capsys.readouterr().err
    assert endpoint.requests == 0


def test_a_schema_makes_objects_of_the_answers_of_the_model_that_was_named(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    source, target, schema = (tmp_path / name for name in ("in.jsonl", "out.jsonl", "n.json"))
    source.write_text('{"id": 0, "prompt": "How many?"}\n')
    schema.write_text('{"title": "N", "type": "object", "properties": {"n": {"type": "integer"}}}')
    endpoint.pieces = ['Sure: {"n": "3"}']
    options = ["-o", str(target), "--schema", str(schema), "--model", "gpt-4"]
    assert batch(endpoint, str(source), *options) == Exit.OK
    assert rows(target) == [{"id": 0, "index": 0, "output": {"n": 3}}]
    assert [body["model"]["id"] for body in endpoint.bodies] == ["gpt-4"]


@pytest.mark.processes
def test_a_terminal_is_shown_the_rows_done_the_rate_and_the_failures(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('"one"\n"refused"\n"three"\n')

    def refuse(_: web.Request) -> web.Response | None:
        asked = endpoint.bodies[-1]["messages"][-1]["content"]
        return web.Response(status=401, reason="No") if asked == "refused" else None

    endpoint.response, endpoint.paced = refuse, True
    options = ["-o", str(target), "--concurrency", "1", "--base-url", endpoint.base_url]
    with Terminal("batch", str(source), *options, kind="xterm") as terminal:
        terminal.wait_for("0/3")
        endpoint.release(3)
        terminal.wait_for("2/3")
        terminal.wait_for(" rows/s")
        terminal.wait_for("1 failed")
        endpoint.release(3)
        terminal.wait_for("3/3")
        assert "2 answered, 1 failed, 0 were there before" in terminal.rest()
        assert terminal.process.wait(PATIENCE) == Exit.FAILED
    assert endpoint.requests == 3


def test_ctrl_c_leaves_whole_lines_and_the_same_command_goes_on(
    paced: Endpoint, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(f'"row {n}"\n' for n in range(12)))
    options = ["-o", str(target), "--concurrency", "3", "--base-url", paced.base_url]
    paced.pieces = ["Hello"]
    with started("batch", str(source), *options) as process:
        paced.release(5)
        # Five rows are answered, and the next three have been asked for.
        assert paced.wait_until(lambda: paced.requests == 8 and len(rows(target)) == 5, PATIENCE)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == Exit.INTERRUPTED
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert said == f"Stopped; 5 rows are in {target}. Run the same command again to go on.\n"
    written = [row["id"] for row in rows(target)]
    paced.release_all()
    assert finished("batch", str(source), *options).returncode == Exit.OK
    assert [row["id"] for row in rows(target)][: len(written)] == written
    assert sorted(row["id"] for row in rows(target)) == list(range(12))
    assert paced.requests == 12 + 3
