"""`ai365vip batch`: a file in, a file out, an exit code."""

from __future__ import annotations

import io
import json
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from langchain_ai365vip.cli.app import app
from langchain_ai365vip.cli.exits import Exit
from tests.cli.test_processes import PATIENCE, Terminal, finished, started
from tests.endpoint import Endpoint


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


def test_the_same_command_answers_the_rows_that_a_dead_endpoint_failed(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('"one"\n"two"\n')
    endpoint.response = lambda _: web.Response(status=503, headers={"Retry-After": "0"})
    assert batch(endpoint, str(source), "-o", str(target)) == Exit.FAILED
    assert "0 answered, 2 failed, 0 were there before" in capsys.readouterr().err
    endpoint.response = lambda _: None
    assert batch(endpoint, str(source), "-o", str(target)) == Exit.OK
    assert "2 answered, 0 failed, 0 were there before" in capsys.readouterr().err
    assert [row["output"] for row in rows(target)] == ["Hello there!"] * 2


def test_rows_that_failed_for_good_are_named_and_keep_the_command_from_success(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(f'{{"id": "n{n}"}}\n' for n in range(12)) + '"one"\n')
    assert batch(endpoint, str(source), "-o", str(target)) == Exit.FAILED
    capsys.readouterr()
    assert batch(endpoint, str(source), "-o", str(target)) == Exit.FAILED
    said = capsys.readouterr().err
    assert "0 answered, 0 failed, 1 were there before" in said
    named = ", ".join(f'"n{n}"' for n in range(10))
    assert f"12 failed before: {named}, and 2 more\n" in said
    assert "with --retry-failed for all" in said


def test_requests_are_no_more_than_the_rate_allows(endpoint: Endpoint, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(f'"row {n}"\n' for n in range(4)))
    failing = [web.Response(status=503, headers={"Retry-After": "0"})]
    times: list[float] = []

    def note(_: web.Request) -> web.Response | None:
        times.append(time.monotonic())
        return failing.pop() if failing else None

    endpoint.response = note
    options = ["-o", str(tmp_path / "out.jsonl"), "--rate", "1200"]
    assert batch(endpoint, str(source), *options) == Exit.OK
    # Four rows and a retry, 20 a second. Only a lower bound: no machine is too slow for it.
    assert len(times) == 5
    assert times[-1] - times[0] > 0.15


def test_without_a_terminal_a_line_says_from_time_to_time_how_far_it_is(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, said = tmp_path / "in.jsonl", io.StringIO()
    source.write_text('"one"\n"two"\n')
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr("langchain_ai365vip.cli.batch.EVERY", 0.01)
    endpoint.pieces, endpoint.paced = ["x"], True
    endpoint.release()

    def go_on() -> None:
        endpoint.wait_until(lambda: "1 of 2 rows, 0 failed, " in said.getvalue())
        endpoint.release_all()

    with ThreadPoolExecutor() as threads:
        threads.submit(go_on)
        assert batch(endpoint, str(source), "-o", str(tmp_path / "out.jsonl")) == Exit.OK
    assert "1 of 2 rows, 0 failed, " in said.getvalue()


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
    said = {"finish_reason": "stop", "model": "gpt-4"}
    assert rows(target) == [{"id": 0, "index": 0, "output": {"n": 3}, **said}]
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


@pytest.mark.processes
@pytest.mark.parametrize(
    "signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda signum: signum.name
)
def test_a_signal_leaves_whole_lines_and_the_same_command_goes_on(
    paced: Endpoint, tmp_path: Path, signum: signal.Signals
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(f'"row {n}"\n' for n in range(12)))
    options = ["-o", str(target), "--concurrency", "3", "--base-url", paced.base_url]
    paced.pieces = ["Hello"]
    with started("batch", str(source), *options) as process:
        paced.release(5)
        # Five rows are answered, and the next three have been asked for.
        assert paced.wait_until(lambda: paced.requests == 8 and len(rows(target)) == 5, PATIENCE)
        process.send_signal(signum)
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
