"""Bulk work: rows of a JSON Lines file in, a row with an answer or a typed error out, resumable.

An input row is a prompt (`"text"`), or an object with a `prompt` or a list of `messages`, and
an `id` if it has one; without, its place in the file (from 0) is its id. An output row is
`{"id", "index", "output"}` or `{"id", "index", "error": {"type", "message", ...}}`.

Output rows are appended as they are ready, each with one write. A run that was interrupted
goes on where it stopped: rows that stand in the output are not asked for again, and what a
`kill -9` left of a line is taken away. Only ids are kept in memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from langchain_core.exceptions import ModelError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.runnables import Runnable

from langchain_ai365vip import _sync

_READ_AHEAD: Final = 256
_MEND: Final = "Mend the input and retry the failed rows."

Row = dict[str, Any]


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        total: Rows of the input.
        skipped: Rows that stood in the output before.
        answered: Rows answered in this run.
        failed: Rows that failed in this run.
        started: When the run began, by `time.monotonic()`.
    """

    total: int = 0
    skipped: int = 0
    answered: int = 0
    failed: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Rows that stand in the output by now."""
        return self.skipped + self.answered + self.failed

    @property
    def rate(self) -> float:
        """Rows per second in this run."""
        return (self.answered + self.failed) / max(time.monotonic() - self.started, 1e-9)


async def abatch_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    model: BaseChatModel,
    *,
    concurrency: int = 16,
    schema: Mapping[str, Any] | None = None,
    retry_failed: bool = False,
    ordered: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Progress:
    """Answer every row of a JSON Lines file; see the module for its rows.

    `batch_file` is for sync code, `abatch_file` for async code.

    Args:
        source: The input file.
        target: The output file; rows that it holds are not asked for again.
        model: Any chat model.
        concurrency: Rows asked for at a time.
        schema: A JSON schema: answers are then objects that fit it.
        retry_failed: Ask again for the rows that failed in earlier runs.
        ordered: Bring the finished output into the order of the input.
        on_progress: Called when the rows are counted, and after each row.

    Returns:
        How it went.

    Raises:
        ValueError: `concurrency` below 1, or two rows with one id.
        OSError: A file cannot be read or written.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    source, target = Path(source), Path(target)
    progress = Progress(total=await asyncio.to_thread(_check_rows, source))
    on_progress = on_progress or (lambda _: None)
    on_progress(progress)
    done = await asyncio.to_thread(_resume, target, retry_failed)
    answer = answering(model, schema)

    async def answered(row: Row) -> Row:
        return await answer_row(answer, row)

    with await asyncio.to_thread(target.open, "ab", buffering=0) as output:
        todo = _todo(source, done, progress)
        async with aclosing(_concurrently(todo, answered, concurrency)) as results:
            async for row in results:
                _append(output, row)
                progress.failed += "error" in row
                progress.answered += "error" not in row
                on_progress(progress)
    if ordered:
        await asyncio.to_thread(_put_in_order, target)
    return progress


batch_file = _sync.twin_of(abatch_file)


# -- one row: the same function here and on a cluster ----------------------------------------


def answering(model: BaseChatModel, schema: Mapping[str, Any] | None = None) -> Runnable[Any, Any]:
    """Return what answers a row's messages: the model, or the model bound to a schema.

    Args:
        model: Any chat model.
        schema: A JSON schema that the answers must fit.

    Raises:
        TypeError: The model is none.
    """
    if not isinstance(model, Runnable):
        raise TypeError(f"model is a {type(model).__name__}: pass one such as ChatAI365VIP(...)")
    if schema is None:
        return model
    return model.with_structured_output(dict(schema), method="json_schema")


async def answer_row(answer: Runnable[Any, Any], row: Row) -> Row:
    """Answer a row; a failure becomes a row, too.

    Args:
        answer: From `answering`.
        row: `{"id", "index"}` with a `prompt`, `messages`, or `problem`.

    Returns:
        `{"id", "index", "output"}` or `{"id", "index", "error"}`.
    """
    place = {"id": row["id"], "index": row["index"]}
    try:
        return {**place, "output": _output(await answer.ainvoke(messages_of(row)))}
    except Exception as exc:  # whatever it is, it belongs to this row and stops no other
        return {**place, "error": _error(exc)}


def messages_of(row: Row) -> Sequence[BaseMessage] | str:
    """Return what a row asks.

    Args:
        row: An input row.

    Raises:
        ValueError: It asks nothing.
    """
    if "problem" in row:
        raise ValueError(row["problem"])
    if isinstance(row.get("prompt"), str):
        return str(row["prompt"])
    if isinstance(row.get("messages"), list):
        return convert_to_messages(row["messages"])
    raise ValueError(f'The row has neither a text "prompt" nor a list of "messages". {_MEND}')


def _output(answer: Any) -> Any:
    return answer.text if isinstance(answer, AIMessage) else answer


def _error(exc: Exception) -> Row:
    error = {
        "type": type(exc).__name__,
        "message": str(exc),
        "is_retryable": isinstance(exc, ModelError) and exc.is_retryable,
    }
    for name in ("status_code", "partial_text"):
        if (value := getattr(exc, name, None)) is not None:
            error[name] = value
    return error


# -- many rows -------------------------------------------------------------------------------


async def _concurrently(
    rows: AsyncIterator[Row],
    answered: Callable[[Row], Coroutine[Any, Any, Row]],
    concurrency: int,
) -> AsyncGenerator[Row, None]:
    """Yield the answers as they are ready, with at most `concurrency` rows under way."""
    running: set[asyncio.Task[Row]] = set()
    try:
        more = True
        while more or running:
            while more and len(running) < concurrency:
                row = await anext(rows, None)
                if row is None:
                    more = False
                else:
                    running.add(asyncio.create_task(answered(row)))
            if running:
                ready, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ready:
                    yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _todo(source: Path, done: set[str], progress: Progress) -> AsyncIterator[Row]:
    with await asyncio.to_thread(source.open, "rb") as file:
        rows = _rows(file)
        # Read in a thread, some rows ahead: a slow disk must not hold up the answers.
        while ahead := await asyncio.to_thread(lambda: list(islice(rows, _READ_AHEAD))):
            for row in ahead:
                if _key(row["id"]) in done:
                    progress.skipped += 1
                else:
                    yield row


# -- the files -------------------------------------------------------------------------------


def _rows(file: BinaryIO) -> Iterator[Row]:
    """Yield the input's rows, each with its id and place; blank lines do not count."""
    lines = ((number, line) for number, line in enumerate(file, 1) if line.strip())
    for index, (number, line) in enumerate(lines):
        try:
            data = json.loads(line.strip())
        except (ValueError, RecursionError) as exc:
            why = getattr(exc, "msg", exc)  # without "line 1", which would be of this line
            data = {"problem": f"Line {number} is not JSON in UTF-8: {why}. {_MEND}"}
        if isinstance(data, str):
            data = {"prompt": data}
        elif not isinstance(data, dict):
            data = {"problem": f"Line {number} is neither a JSON string nor a JSON object. {_MEND}"}
        yield {**data, "id": data.get("id", index), "index": index, "line": number}


def _check_rows(source: Path) -> int:
    """Count the rows, and refuse ids that stand twice: one of the two would never be asked."""
    seen: dict[str, int] = {}
    with source.open("rb") as file:
        for row in _rows(file):
            key = _key(row["id"])
            if key in seen:
                raise ValueError(
                    f"{source}, line {row['line']}: the id {row['id']!r} is that of line "
                    f"{seen[key]}, too (a row without one has its place, from 0). Give every row "
                    "an id of its own, or none an id."
                )
            seen[key] = row["line"]
    return len(seen)


def _key(identity: Any) -> str:
    # 1 and "1" are two ids.
    return json.dumps(identity, sort_keys=True)


def _append(output: Any, row: Row) -> None:
    """Write a row as one line, whole: a short write, on a full disk, is an error."""
    line = json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
    written = output.write(line)
    if written != len(line):
        raise OSError(
            f"only {written} of {len(line)} bytes of a row could be written; is the disk full? "
            "Make room and run the same again: it goes on from here."
        )


def _resume(target: Path, retry_failed: bool) -> set[str]:
    """Mend the output of an earlier run, and return the ids that need not be asked again."""
    done: set[str] = set()
    if not target.exists():
        return done
    with target.open("rb") as old, _replacing(target) as new:
        for number, line in enumerate(old, start=1):
            if not line.endswith(b"\n") and line.startswith(_BEGINNING[: len(line)]):
                break  # the beginning of a line that a kill -9 cut
            row = _written_row(line, f"{target}, line {number}")
            if retry_failed and "error" in row:
                continue
            done.add(_key(row["id"]))
            new.write(line)
    return done


_BEGINNING: Final = b'{"id": '  # of every line that _append writes
_ROW_KEYS: Final = frozenset({"id", "index", "output", "error"})


def _written_row(line: bytes, where: str) -> Row:
    """Read a row of an earlier run; anything else in the file is somebody's, and stays."""
    with suppress(ValueError):
        row = json.loads(line)
        if isinstance(row, dict) and {"id", "index"} <= row.keys() & _ROW_KEYS != {"id", "index"}:
            return row
    raise ValueError(
        f"{where}: this is no row of an earlier run, so the file is left as it is. Name another "
        "file for the answers."
    )


def _put_in_order(target: Path) -> None:
    with target.open("rb") as old:
        places = []
        offset = 0
        for line in old:
            places.append((json.loads(line)["index"], offset))
            offset += len(line)
        places.sort()
        with _replacing(target) as new:
            for _, offset in places:
                old.seek(offset)
                new.write(old.readline())


class _replacing:  # noqa: N801 - used as a function
    """A file that takes another's place once it is written whole, and not before."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._new = target.with_name(f".{target.name}.{os.getpid()}.new")

    def __enter__(self) -> BinaryIO:
        self._file = self._new.open("wb")
        return self._file

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        if kind is None:
            self._new.replace(self._target)
        else:
            self._new.unlink()


# -- on a cluster ----------------------------------------------------------------------------


class RayRows:
    """What answers batches of rows in a Ray actor, and keeps its connections between them.

    For `ray.data.Dataset.map_batches`; Ray does the scheduling and the restarts.

    Args:
        settings: The arguments of `ChatAI365VIP` (a model is made in each actor).
        schema: A JSON schema that the answers must fit.

    Example:
        ```python
        import ray

        ray.data.read_json("in.jsonl").map_batches(
            RayRows,
            fn_constructor_kwargs={"settings": {"base_url": "http://127.0.0.1:3000"}},
            batch_size=16,
            concurrency=2,
        ).write_json("out")
        ```
    """

    def __init__(
        self, settings: Mapping[str, Any], schema: Mapping[str, Any] | None = None
    ) -> None:
        from langchain_ai365vip import ChatAI365VIP

        self._answer = answering(ChatAI365VIP(**settings), schema)

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Answer a batch of columns: `id`, `index` if given, and `prompt` or `messages`.

        Args:
            batch: The columns.

        Returns:
            The columns `id`, `index`, and `answer`: the output row as JSON, since its shape
            differs from row to row.
        """
        names = list(batch)
        columns = [_plain(column) for column in batch.values()]
        rows = [
            {"index": place, **dict(zip(names, values, strict=True))}
            for place, values in enumerate(zip(*columns, strict=True))
        ]

        async def answered() -> list[Row]:
            return await asyncio.gather(*(answer_row(self._answer, row) for row in rows))

        results = _sync.run(answered)
        return {
            "id": [row["id"] for row in results],
            "index": [row["index"] for row in results],
            "answer": [json.dumps(row, ensure_ascii=False, default=str) for row in results],
        }


def _plain(column: Any) -> list[Any]:
    # Ray hands over NumPy arrays, whose items are no JSON values.
    return list(column.tolist() if hasattr(column, "tolist") else column)
