"""A thread pool for what may block for ever: nobody waits for its threads."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Call = tuple["Future[Any]", Callable[[], Any]]


class DaemonThreads(ThreadPoolExecutor):
    """Daemon threads for calls, which neither `shutdown` nor the interpreter's exit joins.

    It is a `ThreadPoolExecutor` because an event loop takes no other for its default one.

    Args:
        max_workers: Threads at most; further calls wait.
    """

    def __init__(self, max_workers: int) -> None:
        super().__init__(max_workers)
        self._most = max_workers
        self._started = 0
        self._unfinished = 0
        self._ended = False
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function on one of the threads, or here if there is not even one to be had.

        None can be started at the interpreter's exit.

        Raises:
            RuntimeError: `shutdown` was called.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._ended:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._calls.put((future, partial(fn, *args, **kwargs)))
            self._unfinished += 1
            # Not a count of idle threads: one that takes a call just before it says that it
            # is idle would count for ever.
            if self._started < min(self._unfinished, self._most):
                self._start()
            call = None if self._started else self._calls.get_nowait()
        if call is not None:
            self._carry_out(*call)
        return future

    def _start(self) -> None:
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=self._work, daemon=True, name="ai365vip-call").start()
            self._started += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let each thread end after what it does now, and wait for none of them."""
        with self._lock:
            self._ended = True
            for _ in range(self._started):
                self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            self._carry_out(*call)
            del call  # not kept while it waits for the next

    def _carry_out(self, future: Future[Any], function: Callable[[], Any]) -> None:
        runs = future.set_running_or_notify_cancel()
        result, error = _outcome(function) if runs else (None, None)
        if error is not None:
            future.set_exception(error)
        elif runs:
            future.set_result(result)
        with self._lock:
            # After the future's callbacks: they may wait for further calls.
            self._unfinished -= 1


def _outcome(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return function(), None
    except BaseException as error:  # of any kind: it belongs to who waits for the call
        return None, error
