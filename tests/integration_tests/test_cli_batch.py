"""`ai365vip batch`: a file in, a file out, an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from langchain_ai365vip._cli.app import app
from langchain_ai365vip._cli.exits import Exit
from tests.endpoint import Endpoint


def batch(endpoint: Endpoint, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["batch", *arguments, "--base-url", endpoint.base_url])
    return int(ended.value.code or 0)


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
