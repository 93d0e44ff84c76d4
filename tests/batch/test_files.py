"""Bulk work's files: what may be read and written, by whom, and what is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.batch import Progress, abatch_file, batch_file
from langchain_ai365vip.cli.exits import Exit
from tests.batch.test_run import asked, echo, read, until, write
from tests.cli.test_processes import COMMAND, PATIENCE, Terminal
from tests.endpoint import Endpoint


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    endpoint.pieces = echo
    return ChatAI365VIP(base_url=endpoint.base_url, max_retries=0)


def outputs(path: Path) -> dict[Any, Any]:
    return {row["id"]: row.get("output") for row in read(path)}


# -- what is no regular file -----------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize("command", [True, False], ids=["command", "function"])
def test_an_output_that_is_no_regular_file_is_refused_before_anything_is_read(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path, command: bool
) -> None:
    target, source = tmp_path / "pipe", tmp_path / "in.jsonl"
    os.mkfifo(target)
    os.mkfifo(source)  # nobody writes to it: a run that reads would hang
    why = "pipe is no regular file, and a run must find there what it has done"
    if command:
        arguments = [*COMMAND, "batch", str(source), "-o", str(target)]
        ran = subprocess.run(arguments, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
        assert (ran.returncode, why in ran.stderr.decode()) == (Exit.FAILED, True)
    else:
        with pytest.raises(ValueError, match=why):
            batch_file(source, target, model)
    assert stat.S_ISFIFO(target.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "pipe"]


def test_a_missing_input_makes_no_output(model: ChatAI365VIP, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"in.jsonl"):
        batch_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", model)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
def test_rows_come_from_the_standard_input(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.pieces = echo
    target = tmp_path / "out.jsonl"
    command = [*COMMAND, "batch", "-", "-o", str(target), "--base-url", endpoint.base_url]
    rows = b'"one"\n"two"\n'
    for answered, before in [(2, 0), (0, 2)]:
        ran = subprocess.run(
            command, input=rows, capture_output=True, timeout=PATIENCE, check=False
        )
        assert ran.returncode == Exit.OK
        says = f"{answered} answered, 0 failed, {before} were there before"
        assert says in ran.stderr.decode()
    assert outputs(target) == {0: "ONE", 1: "TWO"}


def test_what_can_be_read_only_once_needs_a_temporary_file(
    model: ChatAI365VIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "pipe"
    os.mkfifo(source)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with (
        source.open("rb+", buffering=0),  # the writer's end, too: who opens the other does not wait
        pytest.raises(OSError, match=r"pipe can be read only once.* Set TMPDIR to a directory"),
    ):
        batch_file(source, tmp_path / "out.jsonl", model)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_file_named_with_a_dash_is_not_the_standard_input(
    model: ChatAI365VIP, tmp_path: Path
) -> None:
    source = write(tmp_path / "-", "one")
    batch_file(source, tmp_path / "out.jsonl", model)
    assert outputs(tmp_path / "out.jsonl") == {0: "ONE"}


def wait_for_a_copy(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has the nameless file that it copies its input to."""
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None
        assert time.monotonic() < end
        with contextlib.suppress(OSError):
            open_files = Path(f"/proc/{process.pid}/fd").iterdir()
            if any(str(each.readlink()).endswith(" (deleted)") for each in open_files):
                return
        time.sleep(0.01)


@pytest.mark.processes
def test_at_a_terminal_rows_are_typed_and_ctrl_c_is_no_crash(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    target = tmp_path / "out.jsonl"
    arguments = ["batch", "-", "-o", str(target), "--base-url", endpoint.base_url]
    for keys, code in [('"one"\n\x03', Exit.INTERRUPTED), ('"one"\n\x04', Exit.OK)]:
        with Terminal(*arguments) as terminal:
            wait_for_a_copy(terminal.process)
            terminal.type(keys)
            assert "Fatal" not in terminal.rest()
            assert terminal.process.wait(PATIENCE) == code
        assert target.exists() == (code == Exit.OK)
    assert len(read(target)) == 1


def test_a_pipe_is_read_once_and_all_of_it_is_asked(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source = tmp_path / "pipe"
    os.mkfifo(source)
    lines = "".join(f'"row {n}"\n' for n in range(30))
    writer = threading.Thread(target=source.write_text, args=(lines,), daemon=True)
    writer.start()
    assert batch_file(source, tmp_path / "out.jsonl", model).answered == 30
    writer.join()
    assert outputs(tmp_path / "out.jsonl") == {n: f"ROW {n}" for n in range(30)}


def test_an_input_that_changes_during_the_run_is_an_error(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.jsonl", *(f"row {n} {'x' * 999}" for n in range(400)))

    def empty(_: Progress) -> None:
        os.truncate(source, 0)

    with pytest.raises(ValueError, match=r"in\.jsonl changed during the run: of 400 rows"):
        batch_file(source, tmp_path / "out.jsonl", model, on_progress=empty)


def test_rows_added_during_the_run_are_for_the_next_one(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    rows = [f"row {n} {'x' * 999}" for n in range(400)]
    source, target = write(tmp_path / "in.jsonl", *rows), tmp_path / "out.jsonl"

    def grow(progress: Progress) -> None:
        if not progress.done:
            with source.open("a") as file:
                file.write('"new"\n{"id": 3, "prompt": "another"}\n')

    progress = batch_file(source, target, model, on_progress=grow)
    assert (progress.total, progress.done) == (400, 400)
    assert sorted(outputs(target)) == list(range(400))


@pytest.mark.processes
@pytest.mark.parametrize("content", ['{"id": "a", "prompt": "one"}', '{"id": "a", "prompt": "on'])
@pytest.mark.parametrize("link", [True, False], ids=["link", "itself"])
def test_an_output_that_is_the_input_is_refused_and_stays_whole(
    model: ChatAI365VIP, tmp_path: Path, content: str, link: bool
) -> None:
    source = target = tmp_path / "in.jsonl"
    source.write_text(content)
    if link:
        target = tmp_path / "out.jsonl"
        target.symlink_to(source)
    with pytest.raises(ValueError, match=f"{target.name} is the input, too: name another file"):
        batch_file(source, target, model)
    with source.open("rb") as stdin:
        arguments = [*COMMAND, "batch", "-", "-o", str(target)]
        ran = subprocess.run(
            arguments, stdin=stdin, stderr=subprocess.PIPE, timeout=PATIENCE, check=False
        )
    assert (ran.returncode, b"is the input, too" in ran.stderr) == (Exit.FAILED, True)
    assert source.read_text() == content


@pytest.mark.processes
def test_a_dash_is_no_output_but_a_file_may_be_called_so(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.pieces = echo
    write(tmp_path / "in.jsonl", "one")
    for source, target, says in [
        ("in.jsonl", "-", "The standard output is no regular file"),
        ("in.jsonl", "./-", "1 answered"),
        ("./-", "out.jsonl", "1 failed"),
    ]:
        command = [*COMMAND, "batch", source, "-o", target, "--base-url", endpoint.base_url]
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
            cwd=tmp_path,
        )
        assert says in ran.stderr.decode()
        assert (tmp_path / "-").exists() == (target != "-")


def test_no_output_is_made_for_an_input_that_cannot_be_opened(
    model: ChatAI365VIP, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").mkdir()
    with pytest.raises(IsADirectoryError):
        batch_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", model)
    assert not (tmp_path / "out.jsonl").exists()


# -- cancelled runs --------------------------------------------------------------------------


async def test_a_run_cancelled_while_it_waits_for_a_pipe_leaves_the_output_to_others(
    model: ChatAI365VIP, tmp_path: Path
) -> None:
    pipe, target = tmp_path / "pipe", tmp_path / "out.jsonl"
    os.mkfifo(pipe)
    run = asyncio.create_task(abatch_file(pipe, target, model))
    writer = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)  # once it is read
    try:
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert not target.exists()
        progress = await abatch_file(write(tmp_path / "in.jsonl", "one"), target, model)
        assert progress.answered == 1
    finally:
        os.close(writer)


async def test_a_cancelled_run_ends_when_nothing_works_on_its_files_any_more(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    count = 20_000
    source = write(tmp_path / "in.jsonl", *({"id": n, "prompt": "one"} for n in range(count)))
    failed = ({"id": n, "index": n, "error": {}} for n in range(count // 2))
    answered = ({"id": n, "index": n, "output": ""} for n in range(count // 2, count))
    target = write(tmp_path / "out.jsonl", *failed, *answered)
    copy = tmp_path / ".out.jsonl.new"
    run = asyncio.create_task(abatch_file(source, target, model, retry_failed=True))
    await until(lambda: copy.exists() or endpoint.requests > 0)  # at the latest
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not copy.exists()
    assert len(read(target)) >= count // 2


# -- two runs at once ------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["empty", "full"], ids=["rewritten", "as-it-is"])
async def test_a_second_run_on_an_output_is_refused_until_the_first_one_ends(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path, first: str
) -> None:
    source = write(tmp_path / "in.jsonl", first, "one", "two")
    target = tmp_path / "out.jsonl"
    await abatch_file(write(tmp_path / "first.jsonl", first), target, model)
    endpoint.pieces, endpoint.paced = ["now"], True
    again = first == "empty"
    run = asyncio.create_task(abatch_file(source, target, model))
    await until(lambda: endpoint.requests == 3 + again)
    before = target.read_bytes()
    for retry_failed in (True, False):
        with pytest.raises(BlockingIOError, match=r"out\.jsonl: another run is writing"):
            await abatch_file(source, target, model, retry_failed=retry_failed, ordered=True)
    assert target.read_bytes() == before
    endpoint.release_all()
    assert (await run).answered == 2 + again
    assert outputs(target) == {0: "now" if again else "FULL", 1: "now", 2: "now"}
    assert (await abatch_file(source, target, model)).skipped == 3


# -- a changed input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(["one", "two"], ["zero", "one", "two"], id="a-row-before"),
        pytest.param(["one", "two"], ["one", "three"], id="another-row"),
        pytest.param([{"prompt": "one"}], [{"messages": [["user", "1"]]}], id="messages"),
    ],
)
def test_another_row_in_the_place_of_an_answered_one_is_refused(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path, old: list[Any], new: list[Any]
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    batch_file(write(source, *old), target, model)
    before, requests = target.read_bytes(), endpoint.requests
    write(source, *new)
    for retry_failed in (True, False):
        with pytest.raises(ValueError, match=r"line \d: the row asks something else than row \d"):
            batch_file(source, target, model, retry_failed=retry_failed)
    assert (target.read_bytes(), endpoint.requests) == (before, requests)


def test_rows_may_be_added_and_written_differently_and_failed_ones_mended(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    batch_file(write(source, "one", "empty"), target, model)
    write(source, {"note": "mine", "prompt": "one", "id": None}, "full", "three")
    progress = batch_file(source, target, model, retry_failed=True, ordered=True)
    assert (progress.skipped, progress.answered) == (1, 2)
    assert list(outputs(target).values()) == ["ONE", "FULL", "THREE"]


def test_the_order_is_that_of_the_input_as_it_is_now(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [{"id": name, "prompt": name} for name in "abc"]
    batch_file(write(source, *rows), target, model)
    moved = [{"id": "new", "prompt": "new"}, *rows[:0:-1]]
    batch_file(write(source, *moved), target, model, ordered=True)
    assert list(outputs(target)) == ["new", "c", "b", "a"]
    assert endpoint.requests == 4


def test_a_failed_row_that_is_no_longer_in_the_input_is_kept(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    failing = [{"id": name, "prompt": "empty"} for name in "ab"]
    batch_file(write(source, *failing), target, model)
    progress = batch_file(write(source, {"id": "b", "prompt": "full"}), target, model)
    assert (progress.total, progress.answered) == (1, 1)
    assert outputs(target) == {"a": None, "b": "FULL"}


def test_an_earlier_row_without_a_place_does_not_stop_the_ordering(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source, target = write(tmp_path / "in.jsonl", "one", "two"), tmp_path / "out.jsonl"
    write(target, {"id": 1, "index": None, "output": "mine"})
    batch_file(source, target, model, ordered=True)
    assert list(outputs(target).items()) == [(0, "ONE"), (1, "mine")]


# -- what is left of the output --------------------------------------------------------------


def test_links_and_modes_stay_and_what_a_kill_left_goes(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source, real, link = (tmp_path / name for name in ("in.jsonl", "real.jsonl", "out.jsonl"))
    link.symlink_to(real.name)
    batch_file(write(source, "one", "empty"), link, model)
    real.chmod(0o640)
    stale = tmp_path / ".real.jsonl.new"
    stale.write_text("half of a copy")
    batch_file(source, link, model, retry_failed=True, ordered=True)
    assert link.readlink() == Path("real.jsonl")
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["in.jsonl", "out.jsonl", "real.jsonl"]
    )
    stale.write_text("half of a copy")
    batch_file(source, link, model)
    assert not stale.exists()


def test_going_on_makes_no_copy(model: ChatAI365VIP, tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.jsonl", "one", "two"), tmp_path / "out.jsonl"
    batch_file(source, target, model)
    os.truncate(target, target.stat().st_size - 5)
    before = target.stat().st_ino
    batch_file(source, target, model)
    assert target.stat().st_ino == before
    assert sorted(outputs(target).values()) == ["ONE", "TWO"]


def test_a_last_line_without_its_end_is_not_glued_to_the_next(
    model: ChatAI365VIP, tmp_path: Path
) -> None:
    source, target = write(tmp_path / "in.jsonl", "one", "two"), tmp_path / "out.jsonl"
    target.write_text('{"output": "mine", "index": 0, "id": 0}')
    batch_file(source, target, model)
    assert outputs(target) == {0: "mine", 1: "TWO"}


@pytest.mark.parametrize("line", ['{"id": "a", "prompt": "one"}', '{"id": 5}'])
def test_a_whole_line_that_no_run_wrote_is_not_taken_for_half_a_line(
    model: ChatAI365VIP, tmp_path: Path, line: str
) -> None:
    source, target = write(tmp_path / "in.jsonl", "one"), tmp_path / "mine.jsonl"
    target.write_text(line)
    with pytest.raises(ValueError, match="line 1: this is no row of an earlier run"):
        batch_file(source, target, model)
    assert target.read_text() == line


def test_a_whole_row_without_its_end_is_kept(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source, target = write(tmp_path / "in.jsonl", "one", "two"), tmp_path / "out.jsonl"
    target.write_text('{"id": 0, "index": 0, "output": "mine"}')
    batch_file(source, target, model)
    assert outputs(target) == {0: "mine", 1: "TWO"}
    assert asked(endpoint) == ["two"]


@pytest.mark.parametrize("first", ["error", "output"])
def test_a_row_that_also_has_an_answer_is_not_asked_again(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path, first: str
) -> None:
    source, target = write(tmp_path / "in.jsonl", "one", "two"), tmp_path / "out.jsonl"
    rows = [{"id": 0, "index": 0, "error": {}}, {"id": 0, "index": 0, "output": "ONE"}]
    write(target, *(rows if first == "error" else rows[::-1]))
    batch_file(source, target, model, retry_failed=True)
    assert asked(endpoint) == ["two"]


def test_blank_lines_of_an_output_are_skipped(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source, target = write(tmp_path / "in.jsonl", "one", "two", "three"), tmp_path / "out.jsonl"
    target.write_text('\n{"id": 1, "index": 1, "output": "mine"}\n\n  ')
    batch_file(source, target, model)
    batch_file(source, target, model, ordered=True)
    assert list(outputs(target).items()) == [(0, "ONE"), (1, "mine"), (2, "THREE")]
    assert asked(endpoint) == ["one", "three"]


def test_an_earlier_row_whose_id_is_null_is_known_by_its_place(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path
) -> None:
    source, target = write(tmp_path / "in.jsonl", "one", "two"), tmp_path / "out.jsonl"
    write(target, {"id": None, "index": 0, "output": "mine"})
    assert batch_file(source, target, model).skipped == 1
    assert asked(endpoint) == ["two"]


def test_the_order_of_an_objects_names_makes_no_other_row(
    model: ChatAI365VIP, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    message = {"role": "user", "content": "one"}
    batch_file(write(source, {"messages": [message]}), target, model)
    write(source, {"messages": [dict(reversed(message.items()))]})
    assert batch_file(source, target, model).skipped == 1


_FULL = """
import resource, sys
from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.batch import batch_file
source, target, url, limit, ordered = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    batch_file(source, target, ChatAI365VIP(base_url=url), concurrency=4, ordered=ordered == "yes")
except OSError as exc:
    print(exc)
"""


@pytest.mark.processes
@pytest.mark.parametrize("ordered", [True, False], ids=["ordering", "writing"])
def test_a_full_disk_is_named_and_the_same_run_goes_on(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path, ordered: bool
) -> None:
    """A limit on the size of files does what a full disk does: a short write, then an error."""
    count = 40
    source = write(tmp_path / "in.jsonl", *(f"row {n} {'x' * 200}" for n in range(count)))
    target = tmp_path / "out.jsonl"
    endpoint.pieces = echo
    if ordered:
        batch_file(source, target, model)
    before = target.read_bytes() if ordered else b""
    # -B: the limit holds for compiled modules, too, and cut ones would stay.
    command = [sys.executable, "-B", "-c", _FULL, str(source), str(target), endpoint.base_url]
    limit = ["5000", "yes" if ordered else "no"]
    ran = subprocess.run([*command, *limit], capture_output=True, timeout=PATIENCE, check=True)
    says = f"{target}: File too large. Make room and run the same again: it goes on from here."
    assert ran.stdout.decode().strip() == says
    written = target.read_bytes()
    assert written.endswith(b"}\n")
    assert written == before if ordered else 0 < len(outputs(target)) < count
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]
    assert batch_file(source, target, model, ordered=ordered).skipped == len(written.splitlines())
    assert list(outputs(target)) == list(range(count)) if ordered else len(read(target)) == count


@pytest.mark.parametrize("going", ["in order", "on, with a failed row"])
def test_an_output_that_no_file_can_replace_is_refused_before_anything_is_asked(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path, going: str
) -> None:
    source, target = write(tmp_path / "in.jsonl", "one", "two"), tmp_path / "out.jsonl"
    ordered = going == "in order"
    if not ordered:
        write(target, {"id": 0, "index": 0, "error": {"is_retryable": True}})
    (tmp_path / ".out.jsonl.new").mkdir()  # in the way, as is a directory of somebody else
    before = target.read_bytes() if target.exists() else b""
    with pytest.raises(OSError, match=r"no new file can take its place .*Is a directory"):
        batch_file(source, target, model, ordered=ordered)
    assert (endpoint.requests, target.read_bytes()) == (0, before)


# -- characters ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"", id="plain"),
        pytest.param(b"\xef\xbb\xbf", id="bom"),
        pytest.param(b"\xef\xbb\xbf\r\n", id="bom-and-a-blank-line"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_marks_and_blank_lines_are_no_rows(
    model: ChatAI365VIP, tmp_path: Path, start: bytes, end: bytes
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(start + end.join([b'"one"', b"", b' {"prompt": "two"} ', b'"three"']))
    batch_file(source, tmp_path / "out.jsonl", model)
    assert outputs(tmp_path / "out.jsonl") == {0: "ONE", 1: "TWO", 2: "THREE"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("[" * 200_000, "Line 2 is not JSON in UTF-8", id="deep"),
        pytest.param(
            '{"id": ' + "[" * 980 + "]" * 980 + ', "prompt": "x"}', "Line 2 is", id="deep-id"
        ),
        pytest.param('{"id": NaN, "prompt": "x"}', "Line 2 is not JSON in UTF-8", id="nan"),
        pytest.param('{"id": [1e999], "prompt": "x"}', "Line 2 is not JSON", id="infinity"),
        pytest.param('{"problem": "mine"}', 'neither a text "prompt"', id="nothing-asked"),
    ],
)
def test_a_bad_line_stops_no_other(
    model: ChatAI365VIP, tmp_path: Path, line: str, says: str
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(f'"one"\n{line}\n"three"\n')
    batch_file(source, target, model)
    assert outputs(target) == {0: "ONE", 1: None, 2: "THREE"}
    [message] = [row["error"]["message"] for row in read(target) if "error" in row]
    assert says in message


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("utf-16-be", "UTF-16"), ("utf-32", "UTF-32")],
)
def test_another_encoding_is_named_and_the_file_refused(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path, encoding: str, named: str
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes('"one"\r\n"two"\r\n'.encode(encoding))
    with pytest.raises(ValueError, match=rf"in\.jsonl is in {named}, and rows are JSON in UTF-8"):
        batch_file(source, target, model)
    assert (endpoint.requests, target.exists()) == (0, False)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("id,prompt\n1,one\n2,two\n", id="csv"),
        pytest.param('"id","prompt"\n"1","one"\n', id="csv-in-quotes"),
        pytest.param('["one", "two"]\n', id="a-list"),
        pytest.param('[\n  "one",\n  "two"\n]\n', id="a-list-over-lines"),
        pytest.param('[\n  {\n    "id": 1,\n    "prompt": "one"\n  }\n]\n', id="json-over-lines"),
    ],
)
def test_a_file_without_a_single_row_is_refused(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path, text: str
) -> None:
    source = tmp_path / "in.csv"
    source.write_text(text)
    with pytest.raises(ValueError, match=r"in\.csv holds no rows\. Rows are JSON.* Line 1 "):
        batch_file(source, tmp_path / "out.jsonl", model)
    assert endpoint.requests == 0


@pytest.mark.parametrize("turned", [True, False], ids=["before", "after"])
def test_a_broken_line_whose_place_is_another_lines_id_is_called_broken(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path, turned: bool
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = ["{broken", '{"id": 0, "prompt": "one"}', '{"id": 1, "prompt": "two"}']
    source.write_text("\n".join(lines[:2] if turned else [*lines[2:], *lines[:1]]))
    number = 1 if turned else 2
    with pytest.raises(ValueError, match=rf"in\.jsonl: Line {number} is not JSON in UTF-8"):
        batch_file(source, target, model)
    assert endpoint.requests == 0


@pytest.mark.processes
def test_the_commands_messages_leave_names_as_they_are(endpoint: Endpoint, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "api_key base_url.jsonl"
    command = [*COMMAND, "batch", str(source), "-o", str(target), "--base-url", endpoint.base_url]
    endpoint.pieces = echo

    def said() -> str:
        ran = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
        return ran.stderr.decode()

    write(source, *({"id": "max_tokens", "prompt": "one"} for _ in range(2)))
    assert "line 2: the id 'max_tokens' is that of line 1" in said()
    write(source, "one")
    assert "1 answered" in said()
    write(source, "two")
    assert "If it failed and is mended, retry the failed rows." in said()
    target.write_text("mine\n")
    assert f"{target}, line 1: this is no row" in said()


@pytest.mark.processes
def test_a_schema_that_is_none_is_a_wrong_option(tmp_path: Path) -> None:
    source, schema = write(tmp_path / "in.jsonl", "one"), tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": 5}))
    options = ["-o", str(tmp_path / "out.jsonl"), "--schema", str(schema)]
    ran = subprocess.run(
        [*COMMAND, "batch", str(source), *options],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == Exit.USAGE
    assert f"--schema: {schema}: The schema's type is 5" in ran.stderr.decode()
    assert not (tmp_path / "out.jsonl").exists()


def test_other_columns_are_the_users_own(model: ChatAI365VIP, tmp_path: Path) -> None:
    mine = {"problem": "none", "index": 7, "digest": "mine", "error": "none"}
    source = write(tmp_path / "in.jsonl", {"id": "a", "prompt": "one", **mine})
    batch_file(source, tmp_path / "out.jsonl", model)
    [row] = read(tmp_path / "out.jsonl")
    assert row == {
        "id": "a",
        "index": 0,
        "output": "ONE",
        "finish_reason": "stop",
        "model": "gpt-3.5-turbo",
    }


@pytest.mark.parametrize("identity", ["\ud800", "a\u2028b", "\x85", "\u2029"], ids=ascii)
def test_an_id_of_any_characters_is_asked_once_and_its_row_is_one_line(
    endpoint: Endpoint, model: ChatAI365VIP, tmp_path: Path, identity: str
) -> None:
    source = write(tmp_path / "in.jsonl", {"id": identity, "prompt": "one"})
    target = tmp_path / "out.jsonl"
    endpoint.pieces = ["un\u2028deux\u2029trois\x85ü"]
    for _ in range(2):
        batch_file(source, target, model)
    # `read` takes lines by `str.splitlines`, as many a reader does.
    assert outputs(target) == {identity: "un\u2028deux\u2029trois\x85ü"}
    assert asked(endpoint) == ["one"]


def test_half_of_a_surrogate_pair_in_an_answer_is_kept(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.pieces = ['{"text": "\\ud83d"}']
    schema = {"title": "T", "type": "object", "properties": {"text": {"type": "string"}}}
    source, target = write(tmp_path / "in.jsonl", "one"), tmp_path / "out.jsonl"
    batch_file(source, target, ChatAI365VIP(base_url=endpoint.base_url), schema=schema)
    assert [row["output"] for row in read(target)] == [{"text": "\ud83d"}]
