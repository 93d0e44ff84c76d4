"""Rows answered: one, many at a time, and on a cluster."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import (
    AsyncGenerator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Future
from contextlib import ExitStack, aclosing, closing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.exceptions import ModelError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.outputs import LLMResult
from langchain_core.runnables import Runnable

from langchain_ai365vip import _sync
from langchain_ai365vip.batch.files import ASKING, MEND, Files, Row, json_of, opened

_PLACE: Final = ("id", "index")

T = TypeVar("T")


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        total: Rows of the input.
        skipped: Rows that were answered in earlier runs.
        answered: Rows answered in this run.
        failed: Rows that failed in this run.
        failed_before: Ids of rows that failed in earlier runs and are not asked for again: their
            failure is one that stays, such as a line that is not JSON.
        started: When the run began, by `time.monotonic()`.
    """

    total: int = 0
    skipped: int = 0
    answered: int = 0
    failed: int = 0
    failed_before: list[Any] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Rows that stand in the output by now."""
        return self.skipped + len(self.failed_before) + self.answered + self.failed

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
        source: The input file; `-` is the standard input.
        target: The output file, for one run at a time. Rows that it holds are not asked for
            again, except those whose failure may pass (`is_retryable`).
        model: Any chat model.
        concurrency: Rows asked for at a time. Default 16.
        schema: A JSON schema: answers are then objects that fit it. Default: texts.
        retry_failed: Ask again for all rows that failed in earlier runs, also those whose
            failure is one that stays.
        ordered: Bring the finished output into the order of the input; rows that are no longer
            in the input come last.
        on_progress: Called when the rows are counted, and after each row.

    Returns:
        How it went.

    Raises:
        ValueError: `concurrency` below 1, an input that is not in UTF-8 or holds no rows, two
            rows with one id, another row in the place of one that was answered, or an output
            that is no regular file or holds something else.
        OSError: A file cannot be read, written or, where that is needed, replaced, or another
            run writes to the output.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    on_progress = on_progress or (lambda _: None)
    answer = answering(model, schema)

    async def answered(row: Row) -> Row:
        return await answer_row(answer, row)

    with ExitStack() as stack:
        names = os.fspath(source), os.fspath(target)
        # Before the output is taken: nobody may ever write to a pipe.
        rows = await _unawaited(lambda: stack.enter_context(opened(*names)))
        files = await _whole(lambda: stack.enter_context(closing(Files(names[0], rows, names[1]))))
        begun = await _whole(lambda: files.begin(retry_failed=retry_failed, ordered=ordered))
        progress = Progress(begun.total, begun.answered, failed_before=begun.failed)
        on_progress(progress)
        async with aclosing(_concurrently(files.todo(), answered, concurrency)) as results:
            async for row in results:
                files.append(row)
                progress.failed += "error" in row
                progress.answered += "error" not in row
                on_progress(progress)
        if progress.done != progress.total:
            raise ValueError(
                f"{source} changed during the run: of {progress.total} rows, {progress.done} were "
                "found again. Run the same again once it changes no more."
            )
        if ordered:
            await _whole(files.put_in_order)
    return progress


batch_file = _sync.twin_of(abatch_file)


async def _unawaited(work: Callable[[], T]) -> T:
    """Do it in a thread that not even the interpreter's end waits for: it may wait for ever."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as exc:  # of any kind: it belongs to who waits
            future.set_exception(exc)

    threading.Thread(target=run, daemon=True, name="ai365vip-input").start()
    return await asyncio.wrap_future(future)


async def _whole(work: Callable[[], T]) -> T:
    """Do it in a thread to its end, also when cancelled: until then the files are in use."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


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
        row: A `prompt` or `messages`, and of `id`, `index` and `digest` what it has.

    Returns:
        The last three with an `output` or an `error`, and of the answer what the model says:
        `finish_reason` ("length": it was cut), `model`, and `usage`.
    """
    place: Row = {name: row[name] for name in ("id", "index", "digest") if name in row}
    end = _End()
    try:
        result = await answer.ainvoke(messages_of(row), {"callbacks": [end]})
        place["output"] = _output(result)
    except Exception as exc:  # whatever it is, it belongs to this row and stops no other
        place["error"] = _error(exc)
    return place | end.said


class _End(AsyncCallbackHandler):
    """What a model says of its answer, also where a parser comes behind it."""

    def __init__(self) -> None:
        self.said: Row = {}

    async def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        """Note it."""
        message = getattr(response.generations[0][0], "message", None)
        if isinstance(message, AIMessage):
            metadata = message.response_metadata
            said = {
                "finish_reason": metadata.get("finish_reason"),
                "model": metadata.get("model_name"),
                "usage": message.usage_metadata,
            }
            self.said = {name: value for name, value in said.items() if value is not None}


def messages_of(row: Row) -> Sequence[BaseMessage] | str:
    """Return what a row asks.

    Args:
        row: An input row.

    Raises:
        ValueError: It asks nothing.
    """
    if isinstance(row.get("prompt"), ValueError):
        raise row["prompt"]
    if isinstance(row.get("prompt"), str):
        return str(row["prompt"])
    if isinstance(row.get("messages"), list):
        return convert_to_messages(row["messages"])
    raise ValueError(f'The row has neither a text "prompt" nor a list of "messages". {MEND}')


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
    rows: Iterator[Row],
    answered: Callable[[Row], Coroutine[Any, Any, Row]],
    concurrency: int,
) -> AsyncGenerator[Row, None]:
    """Yield the answers as they are ready, with at most `concurrency` rows under way."""
    running: set[asyncio.Task[Row]] = set()
    try:
        more = True
        while more or running:
            while more and len(running) < concurrency:
                row = next(rows, None)
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
        from langchain_ai365vip.chat_models import ChatAI365VIP

        self._answer = answering(ChatAI365VIP(**settings), schema)

    def __call__(self, batch: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
        """Answer a batch of columns: `id`, `index` if given, and `prompt` or `messages`.

        Args:
            batch: The columns. A row whose `id` is null fails.

        Returns:
            The columns `id`, `index` if given, and `answer`: the output row as JSON, since its
            shape differs from row to row.

        Raises:
            ValueError: There is no column `id`: rows have no place of their own on a cluster.
        """
        if "id" not in batch:
            raise ValueError("The rows have no column `id`: give each row an id of its own.")
        columns = {name: _plain(batch[name]) for name in (*_PLACE, *ASKING) if name in batch}
        rows = [
            _with_id(dict(zip(columns, values, strict=True)))
            for values in zip(*columns.values(), strict=True)
        ]

        async def answered() -> list[Row]:
            return await asyncio.gather(*(answer_row(self._answer, row) for row in rows))

        results = _sync.run(answered)
        return {
            **{name: columns[name] for name in _PLACE if name in columns},
            "answer": list(map(json_of, results)),
        }


def _with_id(row: Row) -> Row:
    # Where some rows have none, Ray hands over NaN for the others' numbers.
    if row["id"] is None or row["id"] != row["id"]:
        return {**row, "id": None, "prompt": ValueError(f"The row has no id. {MEND}")}
    return row


def _plain(value: Any) -> Any:
    """Return JSON values for what Ray hands over: NumPy's arrays and numbers, also nested."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
