"""The command `batch`: a file of rows, a progress bar, an exit code."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from langchain_core.rate_limiters import InMemoryRateLimiter

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.batch import Progress, answering, batch_file
from langchain_ai365vip.cli.exits import Exit
from langchain_ai365vip.cli.failures import UserError
from langchain_ai365vip.cli.terminal import is_terminal, note

EVERY = 10.0  # seconds between two lines
_NAMED: Final = 10


def limiter(per_minute: int) -> InMemoryRateLimiter:
    """Return what lets so many requests a minute through, one by one."""
    return InMemoryRateLimiter(
        requests_per_second=per_minute / 60,
        check_every_n_seconds=min(0.1, 6 / per_minute),  # a tenth of the time between two
    )


def answer_rows(
    client: ChatAI365VIP,
    source: str,
    target: str,
    *,
    concurrency: int,
    schema: Path | None,
    retry_failed: bool,
    ordered: bool,
) -> Exit:
    """Answer the rows of a file, and say how it went."""
    try:
        with _shown() as show:
            progress = batch_file(
                source,
                target,
                client,
                concurrency=concurrency,
                schema=None if schema is None else _schema(schema, client),
                retry_failed=retry_failed,
                ordered=ordered,
                on_progress=show,
            )
    except (KeyboardInterrupt, SystemExit):  # the latter by SIGTERM or SIGHUP
        raise KeyboardInterrupt(
            f"Stopped; {_rows_in(target)} rows are in {target}. Run the same command again to go "
            "on."
        ) from None
    return _ended(progress, target)


def _ended(progress: Progress, target: str) -> Exit:
    """Say how a run went, and with which code the command ends."""
    note(
        f"{progress.answered} answered, {progress.failed} failed, {progress.skipped} were there "
        f"before: {target}"
    )
    if progress.failed_before:
        note(f"{len(progress.failed_before)} failed before: {_some(progress.failed_before)}")
    if progress.failed or progress.failed_before:
        note(
            "Failed rows hold their error. The same command asks again for those whose failure "
            "may pass, with --retry-failed for all."
        )
        return Exit.FAILED
    return Exit.OK


def _some(ids: Sequence[Any]) -> str:
    shown = [json.dumps(each, ensure_ascii=False) for each in ids[:_NAMED]]
    return ", ".join([*shown, f"and {len(ids) - _NAMED} more"] if ids[_NAMED:] else shown)


def _rows_in(target: str) -> int:
    if not Path(target).exists():
        return 0
    with open(target, "rb") as file:
        return sum(line.endswith(b"\n") for line in file)


def _schema(path: Path, client: ChatAI365VIP) -> dict[str, Any]:
    try:
        schema = json.loads(path.read_bytes())
    except ValueError as exc:
        raise UserError(
            f"--schema: {path} is not JSON: {exc}. It must hold a JSON schema."
        ) from exc
    if not isinstance(schema, dict):
        raise UserError(
            f"--schema: {path} holds no JSON schema, which is an object such as "
            '{"type": "object", "properties": …}.'
        )
    try:
        answering(client, schema)
    except ValueError as exc:
        raise UserError(f"--schema: {path}: {exc}") from exc
    return schema


@contextmanager
def _shown() -> Iterator[Callable[[Progress], None]]:
    """Show how far the run is: a bar at a terminal, else a line from time to time."""
    with _bar() if is_terminal(sys.stderr) else _lines() as show:
        yield show


@contextmanager
def _lines() -> Iterator[Callable[[Progress], None]]:
    """Write a line from time to time, whether rows get done or not."""
    seen: list[Progress] = []
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(EVERY):
            for each in seen:
                note(
                    f"{each.done} of {each.total} rows, {each.failed} failed, {each.rate:.1f} "
                    "rows/s"
                )

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield lambda progress: seen.__setitem__(slice(None), [progress])
    finally:
        ended.set()
        thread.join()


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """Draw the rows done, the rate and the errors."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} rows/s"),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        # Shown once the rows are counted.
        task = bar.add_task("", visible=False, rate=0.0, failed=0)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                visible=True,
                total=progress.total,
                completed=progress.done,
                rate=progress.rate,
                failed=progress.failed,
            )

        yield show
