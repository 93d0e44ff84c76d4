"""Bulk work: every row answered once, whatever interrupts the run."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.batch import Progress, abatch_file, batch_file
from tests.endpoint import Endpoint, Pieces, wait_until


def echo(body: dict[str, Any]) -> Pieces:
    """Answer with the question in capitals; a question with "empty" in it gets nothing."""
    question = body["messages"][-1]["content"]
    return [] if "empty" in question else [question.upper()]


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    endpoint.pieces = echo
    return ChatAI365VIP(base_url=endpoint.base_url, max_retries=0)


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def asked(endpoint: Endpoint) -> list[str]:
    return sorted(body["messages"][-1]["content"] for body in endpoint.bodies)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that is about to happen on another thread."""
    assert await asyncio.to_thread(wait_until, true)


def test_every_kind_of_row_is_answered_with_its_id(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source = write(
        tmp_path / "in.jsonl",
        "as text",
        {"prompt": "as a prompt", "id": "b"},
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "ü"},
            ]
        },
    )
    seen: list[tuple[int, int]] = []

    def note(progress: Progress) -> None:
        seen.append((progress.done, progress.total))

    target = tmp_path / "out.jsonl"
    progress = batch_file(source, target, model, ordered=True, on_progress=note)
    rows = read(target)
    # Rows that are known by their place say by which text.
    assert len({row.pop("digest") for row in (rows[0], rows[2])}) == 2
    said = {"finish_reason": "stop", "model": "gpt-3.5-turbo"}
    assert rows == [
        {"id": 0, "index": 0, "output": "AS TEXT", **said},
        {"id": "b", "index": 1, "output": "AS A PROMPT", **said},
        {"id": 2, "index": 2, "output": "Ü", **said},
    ]
    assert (progress.answered, progress.failed, progress.skipped) == (3, 0, 0)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert "Be brief." in {body["prompt"] for body in endpoint.bodies}


def test_a_row_that_fails_becomes_a_row_with_its_typed_error(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('"fine"\n\n"empty"\n{broken\n[1]\n{"id": 9}\n\n', encoding="utf-8")
    target = tmp_path / "out.jsonl"
    progress = batch_file(source, target, model, ordered=True)
    rows = read(target)
    assert (progress.answered, progress.failed) == (1, 4)
    assert [row.get("error", {}).get("type") for row in rows] == [
        None,
        "AI365VIPAPIError",
        "ValueError",
        "ValueError",
        "ValueError",
    ]
    assert rows[1]["error"]["is_retryable"] is True
    assert rows[1]["error"]["status_code"] == 200
    # By lines as an editor counts them, blank ones too.
    assert rows[2]["error"]["message"].startswith("Line 4 is not JSON in UTF-8: Expecting")
    assert "line 1" not in rows[2]["error"]["message"]
    assert rows[3]["error"]["message"].startswith("Line 5 is neither a JSON string nor")
    assert rows[4]["id"] == 9
    assert endpoint.requests == 2


def test_a_line_nested_too_deep_stops_no_other(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("[" * 200_000 + '\n"fine"\n')
    batch_file(source, tmp_path / "out.jsonl", model, ordered=True)
    first, second = read(tmp_path / "out.jsonl")
    assert first["error"]["message"].startswith("Line 1 is not JSON")
    assert second["output"] == "FINE"


def test_a_second_run_asks_again_for_what_failed_and_may_pass(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.jsonl", "one", "empty", "three")
    target = tmp_path / "out.jsonl"
    batch_file(source, target, model)
    assert endpoint.requests == 3
    endpoint.pieces = ["now"]
    progress = batch_file(source, target, model, ordered=True)
    assert (progress.skipped, progress.answered, progress.failed_before) == (2, 1, [])
    assert [row["output"] for row in read(target)] == ["ONE", "now", "THREE"]
    assert batch_file(source, target, model).skipped == 3
    assert endpoint.requests == 4


def test_a_failure_that_stays_is_counted_named_and_asked_again_on_demand(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    refused = {"b", "c"}
    endpoint.response = lambda _: (
        web.Response(status=401)
        if endpoint.bodies[-1]["messages"][-1]["content"] in refused
        else None
    )
    source = write(tmp_path / "in.jsonl", *({"id": name, "prompt": name} for name in "abc"))
    target = tmp_path / "out.jsonl"
    first = batch_file(source, target, model)
    assert (first.answered, first.failed, first.failed_before) == (1, 2, [])
    second = batch_file(source, target, model)
    assert (second.skipped, second.failed, second.failed_before) == (1, 0, ["b", "c"])
    assert (second.done, second.total, endpoint.requests) == (3, 3, 3)
    refused.clear()
    third = batch_file(source, target, model, retry_failed=True)
    assert (third.skipped, third.answered, third.failed_before) == (1, 2, [])
    assert sorted(row["output"] for row in read(target)) == ["A", "B", "C"]


def test_an_answer_that_was_cut_says_so_and_usage_stands_beside_it(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.pieces = ["one two three four five six seven eight nine ten"]
    model = ChatAI365VIP(
        base_url=endpoint.base_url, model="gpt-4", max_tokens=2, estimate_usage=True
    )
    source = write(tmp_path / "in.jsonl", {"id": 0, "prompt": "Count."})
    batch_file(source, tmp_path / "out.jsonl", model)
    [row] = read(tmp_path / "out.jsonl")
    assert (row["finish_reason"], row["model"]) == ("length", "gpt-4")
    assert row["usage"].keys() >= {"input_tokens", "output_tokens", "total_tokens"}
    assert 0 < len(row["output"]) < 20


def test_half_a_line_of_a_killed_run_is_taken_away_and_its_row_asked_again(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.jsonl", "one", "two")
    target = tmp_path / "out.jsonl"
    target.write_text('{"id": 0, "index": 0, "output": "ONE"}\n{"id": 1, "ind', encoding="utf-8")
    batch_file(source, target, model)
    assert [row["output"] for row in read(target)] == ["ONE", "TWO"]
    assert asked(endpoint) == ["two"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("notes\nof mine\n", id="lines"),
        pytest.param("notes", id="no-line-end"),
        pytest.param('"a prompt"\n', id="prompts"),
        pytest.param('{"id": 0, "prompt": "one"}\n', id="input-rows"),
    ],
)
def test_a_file_that_holds_something_else_is_not_taken_for_the_output(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path, content: str
) -> None:
    source, target = write(tmp_path / "in.jsonl", "one"), tmp_path / "notes.txt"
    target.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"notes.txt, line 1: .* Name another file"):
        batch_file(source, target, model)
    assert target.read_text(encoding="utf-8") == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "notes.txt"]
    assert endpoint.requests == 0


def test_an_id_that_stands_twice_is_refused_before_anything_is_asked(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.jsonl", {"id": "a", "prompt": "1"}, {"id": "a", "prompt": "2"})
    with pytest.raises(ValueError, match=r"in\.jsonl, line 2: the id 'a' is that of line 1, too"):
        batch_file(source, tmp_path / "out.jsonl", model)
    source.write_text('{"id": 1, "prompt": "1"}\n\n"2"\n')
    with pytest.raises(ValueError, match=r"line 3: the id 1 is .* line 1, .*its place, from 0"):
        batch_file(source, tmp_path / "out.jsonl", model)
    with pytest.raises(TypeError, match="model is a str: pass one such as ChatAI365VIP"):
        batch_file(write(tmp_path / "b", "1"), tmp_path / "out.jsonl", "gpt-4o")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="concurrency"):
        batch_file(source, tmp_path / "out.jsonl", model, concurrency=0)
    assert endpoint.requests == 0


def test_a_schema_makes_objects(endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path) -> None:
    endpoint.pieces = ['Sure: {"n": "3"}']
    schema = {"title": "N", "type": "object", "properties": {"n": {"type": "integer"}}}
    source = write(tmp_path / "in.jsonl", "How many?")
    batch_file(source, tmp_path / "out.jsonl", model, schema=schema)
    [row] = read(tmp_path / "out.jsonl")
    assert (row["output"], row["finish_reason"]) == ({"n": 3}, "stop")
    del schema["title"]
    batch_file(source, tmp_path / "untitled.jsonl", model, schema=schema)
    assert read(tmp_path / "untitled.jsonl")[0]["output"] == {"n": 3}


async def test_no_more_than_concurrency_rows_are_under_way(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    endpoint.paced = True
    source = write(tmp_path / "in.jsonl", *(f"row {n}" for n in range(9)))
    run = asyncio.create_task(abatch_file(source, tmp_path / "out.jsonl", model, concurrency=3))
    for done in range(9):
        expected = min(9, done + 3)
        await until(functools.partial(lambda count: endpoint.requests >= count, expected))
        assert endpoint.requests <= done + 3
        endpoint.release()
    assert (await run).answered == 9


async def test_an_interrupted_run_leaves_whole_lines_and_goes_on_where_it_stopped(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    endpoint.paced = True
    source = write(tmp_path / "in.jsonl", *(f"row {n}" for n in range(20)))
    target = tmp_path / "out.jsonl"
    run = asyncio.create_task(abatch_file(source, target, model, concurrency=4))
    endpoint.release(5)
    await until(lambda: endpoint.requests == 9 and len(read(target)) == 5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    endpoint.release_all()
    written = read(target)
    before = endpoint.requests
    progress = await abatch_file(source, target, model, concurrency=4)
    assert progress.skipped == len(written)
    assert endpoint.requests - before == 20 - len(written)
    assert sorted(row["id"] for row in read(target)) == list(range(20))


_RUN = """
import sys
from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.batch import batch_file
batch_file(sys.argv[1], sys.argv[2], ChatAI365VIP(base_url=sys.argv[3]), concurrency=4)
"""


@pytest.mark.processes
def test_after_kill_9_only_the_rows_in_flight_are_asked_again(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.jsonl", *(f"row {n}" for n in range(40)))
    target = tmp_path / "out.jsonl"
    endpoint.paced = True
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(source), str(target), endpoint.base_url]
    )
    endpoint.release(20)
    try:
        # Twenty rows are answered, and the next four have been asked for.
        there = endpoint.wait_until(
            lambda: endpoint.requests == 24 and target.read_bytes().count(b"\n") == 20, 60
        )
    finally:
        process.kill()
        process.wait()
    assert there
    endpoint.release_all()
    written = [row["id"] for row in read(target)]
    batch_file(source, target, model)
    assert sorted(row["id"] for row in read(target)) == list(range(40))
    assert endpoint.requests == 44
    assert [asked(endpoint).count(f"row {n}") for n in written] == [1] * 20


@pytest.mark.heavy
def test_a_hundred_thousand_rows_are_never_in_memory(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    """All rows but two hundred stand in the output already; a row is a kilobyte."""
    count, padding = 100_000, "x" * 1000
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    with source.open("w", encoding="utf-8") as rows, target.open("w", encoding="utf-8") as done:
        for n in range(count):
            rows.write(json.dumps({"prompt": f"{n} {padding}"}) + "\n")
            if n < count - 200:
                done.write(json.dumps({"id": n, "index": n, "output": padding}) + "\n")
    tracemalloc.start()
    try:
        progress = batch_file(source, target, model)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (progress.skipped, progress.answered) == (count - 200, 200)
    assert peak < os.path.getsize(source) / 3


class InstantModel(BaseChatModel):
    """Answers without a network, so that 100,000 rows take seconds and no memory of their own."""

    @property
    def _llm_type(self) -> str:
        return "instant"

    def _generate(self, messages: Any, stop: Any = None, *_: Any, **__: Any) -> ChatResult:
        raise AssertionError("rows are answered asynchronously")

    async def _agenerate(self, messages: Any, stop: Any = None, *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(messages[-1].text))])


_MEASURED = """
import re, sys
from langchain_ai365vip.batch import batch_file
from tests.batch.test_run import InstantModel

def most():
    # Not ru_maxrss, in which Linux counts the parent process, too.
    return int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024

before = most()
progress = batch_file(sys.argv[1], sys.argv[2], InstantModel(), ordered=True)
print(progress.answered, most() - before)
"""


@pytest.mark.heavy
def test_a_hundred_thousand_rows_are_answered_without_being_in_memory(tmp_path: Path) -> None:
    count, padding = 100_000, "x" * 1000
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    with source.open("w", encoding="utf-8") as rows:
        rows.writelines(json.dumps(f"{n} {padding}") + "\n" for n in range(count))
    # In a process of its own: its memory is measured, which slows nothing down.
    command = [sys.executable, "-c", _MEASURED, str(source), str(target)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[2])
    answered, peak = map(int, ran.stdout.split())
    assert answered == count
    with target.open(encoding="utf-8") as answers:
        outputs = (json.loads(line)["output"] for line in answers)
        assert all(output == f"{n} {padding}" for n, output in enumerate(outputs))
    assert peak < os.path.getsize(source) / 3
