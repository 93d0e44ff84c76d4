"""The command in a container: as its process 1, and with its output on a mount."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

from langchain_ai365vip.cli.exits import Exit
from tests.cli.test_processes import COMMAND, PATIENCE, piped
from tests.endpoint import Endpoint, wait_until

# They need namespaces of their own, which a container may refuse: then they fail.
pytestmark = pytest.mark.heavy

_AS_ROOT = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
_PROCESS_1 = ["unshare", *_AS_ROOT, "--pid", "--fork", "--mount-proc"]
SIGNALS = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def as_process_1(*arguments: str, **environment: str) -> Iterator[tuple[Popen[bytes], int]]:
    """Run the command as a container does; give `unshare`, and its child's id out here."""
    with Popen(
        [*_PROCESS_1, *COMMAND, *arguments],
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=os.environ | environment,
    ) as unshare:
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
        assert wait_until(lambda: bool(children.read_text().split()), PATIENCE)
        child = int(children.read_text().split()[0])
        try:
            yield unshare, child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


# -- process 1 -------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", SIGNALS, ids=lambda signum: signum.name)
def test_as_process_1_a_signal_ends_batch_and_keeps_what_is_written(
    paced: Endpoint, tmp_path: Path, signum: signal.Signals
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(f'"row {n}"\n' for n in range(12)))
    options = [str(source), "-o", str(target), "--concurrency", "3", "--base-url", paced.base_url]
    paced.pieces = ["Hello"]
    with as_process_1("batch", *options) as (process, child):
        paced.release(5)
        assert paced.wait_until(lambda: paced.requests == 8 and len(rows(target)) == 5, PATIENCE)
        os.kill(child, signum)
        assert process.wait(PATIENCE) == Exit.INTERRUPTED
        said = piped(process.stderr).read().decode()
    assert said == f"Stopped; 5 rows are in {target}. Run the same command again to go on.\n"
    assert len(rows(target)) == 5
    paced.release_all()
    subprocess.run([*COMMAND, "batch", *options], timeout=PATIENCE, check=True)
    assert sorted(row["id"] for row in rows(target)) == list(range(12))


@pytest.mark.parametrize("signum", SIGNALS, ids=lambda signum: signum.name)
def test_as_process_1_a_signal_ends_serve_before_its_model_is_loaded(
    tmp_path: Path, signum: signal.Signals
) -> None:
    (tmp_path / "langchain_xai.py").write_text(
        "import sys\nprint('loading', flush=True)\nsys.stdin.read()\n"
    )
    command = ["serve", "--model", "xai:slow", "--port", "0"]
    with as_process_1(*command, PYTHONPATH=str(tmp_path)) as (process, child):
        assert piped(process.stdout).readline() == b"loading\n"
        os.kill(child, signum)
        assert process.wait(PATIENCE) == Exit.INTERRUPTED
        assert piped(process.stderr).read() == b""


# -- mounts ----------------------------------------------------------------------------------


def ran_with(mounts: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with mounts that it alone sees."""
    script = ["unshare", *_AS_ROOT, "--mount", "sh", "-euc", f'{mounts}\nexec "$@"', "sh"]
    return subprocess.run(
        [*script, *COMMAND, *arguments],
        capture_output=True,
        timeout=PATIENCE,
        text=True,
        check=False,
    )


def file_on_itself(target: Path) -> str:
    name = shlex.quote(str(target))
    return f"mount --bind {name} {name}"


def file_in_a_directory_to_read(target: Path) -> str:
    name, directory = shlex.quote(str(target)), shlex.quote(str(target.parent))
    return (
        f"mount --bind {directory} {directory}\n"
        f"mount --bind {name} {name}\n"
        f"mount -o remount,bind,ro {directory}"
    )


FAILED = '{"id": 0, "index": 0, "error": {"is_retryable": true}}\n'


@pytest.mark.parametrize(
    ("mounts", "why"),
    [
        pytest.param(file_on_itself, "Device or resource busy", id="a-mounted-file"),
        pytest.param(file_in_a_directory_to_read, "Read-only file system", id="read-only"),
    ],
)
def test_an_output_that_cannot_be_replaced_is_refused_only_where_it_must_be(
    endpoint: Endpoint, tmp_path: Path, mounts: Any, why: str
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out" / "out.jsonl"
    source.write_text('"one"\n"two"\n')
    target.parent.mkdir()
    command = ["batch", str(source), "-o", str(target), "--base-url", endpoint.base_url]
    for before, option in [("", "--ordered"), (FAILED, "--retry-failed"), (FAILED, "--debug")]:
        target.write_text(before)
        ran = ran_with(mounts(target), *command, option)
        assert ran.returncode == Exit.FAILED
        assert f"{target}: no new file can take its place ({why})" in ran.stderr
        assert (target.read_text(), endpoint.requests) == (before, 0)
    target.write_text("")
    ran = ran_with(mounts(target), *command)
    assert (ran.returncode, endpoint.requests) == (Exit.OK, 2)
    assert sorted(row["id"] for row in rows(target)) == [0, 1]
