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
        self._ended = False
        self._idle = threading.Semaphore(0)
        self._starting = threading.Lock()
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function on one of the threads, or here if there is not even one to be had.

        None can be started at the interpreter's exit.

        Raises:
            RuntimeError: `shutdown` was called.
        """
        future: Future[T] = Future()
        with self._starting:
            if self._ended:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._calls.put((future, partial(fn, *args, **kwargs)))
            if not self._idle.acquire(blocking=False) and self._started < self._most:
                self._start()
        if not self._started and (call := self._calls.get_nowait()) is not None:
            _settle(*call)
        return future

    def _start(self) -> None:
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=self._work, daemon=True, name="ai365vip-call").start()
            self._started += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let each thread end after what it does now, and wait for none of them."""
        with self._starting:
            self._ended = True
            for _ in range(self._started):
                self._calls.put(None)

    def _work(self) -> None:
        while (call := self._next()) is not None:
            future, function = call
            if future.set_running_or_notify_cancel():
                _settle(future, function)
            del call, future, function  # not kept while it waits for the next

    def _next(self) -> _Call | None:
        try:
            return self._calls.get_nowait()
        except queue.Empty:
            self._idle.release()
            return self._calls.get()


def _settle(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        result = function()
    except BaseException as error:  # of any kind: it belongs to who waits for the call
        future.set_exception(error)
    else:
        future.set_result(result)
