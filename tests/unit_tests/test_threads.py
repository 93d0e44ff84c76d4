"""The thread pool whose threads nobody waits for."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from langchain_ai365vip._threads import DaemonThreads


def test_a_call_has_its_result_or_whatever_it_raised() -> None:
    threads = DaemonThreads(2)
    assert threads.submit(divmod, 7, 2).result(30) == (3, 1)
    with pytest.raises(SystemExit, match="no more"):
        threads.submit(exit_, "no more").result(30)
    threads.shutdown()


def exit_(why: str) -> None:
    raise SystemExit(why)


def test_an_idle_thread_is_used_again() -> None:
    threads = DaemonThreads(8)
    threads._calls = steps = Waits()
    seen = {threads.submit(threading.current_thread).result(30)}
    assert steps.waiting.acquire(timeout=30)
    for _ in range(20):
        assert steps.waiting.acquire(timeout=30)  # the thread is free again
        seen.add(threads.submit(threading.current_thread).result(30))
    (thread,) = seen
    assert thread.daemon
    threads.shutdown()
    thread.join(30)
    assert not thread.is_alive()


def test_calls_beyond_the_bound_wait_and_can_be_cancelled() -> None:
    threads = DaemonThreads(2)
    release = threading.Event()
    running = [threads.submit(release.wait) for _ in range(2)]
    cancelled, waiting = threads.submit(print, "never"), threads.submit(int, "3")
    assert cancelled.cancel()
    assert not waiting.done()
    threads.shutdown()
    release.set()
    assert waiting.result(30) == 3
    assert all(call.result(30) for call in running)


class Waits(queue.SimpleQueue[Any]):
    """Counts how often a thread was free for a call."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = threading.Semaphore(0)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self.waiting.release()
        return super().get(block, timeout)


def test_a_callback_of_a_call_may_wait_for_another_call() -> None:
    threads, release, got = DaemonThreads(2), threading.Event(), []
    call = threads.submit(release.wait)
    done = threading.Event()

    def on_done(_: Future[bool]) -> None:
        try:
            got.append(threads.submit(int, "3").result(10))
        finally:
            done.set()

    call.add_done_callback(on_done)
    release.set()
    assert done.wait(30)
    assert got == [3]
    threads.shutdown()


class Steps(queue.SimpleQueue[Any]):
    """Holds the first thread where there is no call for it, and others before they look."""

    def __init__(self) -> None:
        super().__init__()
        self.first: threading.Thread | None = None
        self.held, self.first_may = threading.Event(), threading.Event()
        self.others_may = threading.Event()
        self.waiting = threading.Semaphore(0)

    def get_nowait(self) -> Any:
        self._hold_others()
        try:
            return super().get_nowait()
        except queue.Empty:
            self._hold_first()
            raise

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self._hold_others()
        if self.empty():
            self._hold_first()
        if self.empty():
            self.waiting.release()
        return super().get(block, timeout)

    def _hold_others(self) -> None:
        self.first = self.first or threading.current_thread()
        assert self.first is threading.current_thread() or self.others_may.wait(30)

    def _hold_first(self) -> None:
        if self.first is threading.current_thread() and not self.held.is_set():
            self.held.set()
            assert self.first_may.wait(30)


def test_no_call_waits_while_a_thread_for_it_could_be_started() -> None:
    # A thread that takes a call when it is about to say that it is free counted as free for
    # ever, and a call behind two that block waited for them.
    threads, steps = DaemonThreads(4), Steps()
    threads._calls = steps
    taken, release = threading.Event(), threading.Event()
    assert threads.submit(int, "3").result(30) == 3
    assert steps.held.wait(30)

    def block() -> bool:
        taken.set()
        return release.wait(30)

    blocked = [threads.submit(block)]
    steps.first_may.set()
    assert taken.wait(30)
    steps.others_may.set()
    for _ in range(threads._started - 1):
        assert steps.waiting.acquire(timeout=30)
    blocked.append(threads.submit(block))
    assert threads.submit(int, "4").result(20) == 4
    release.set()
    assert all(call.result(30) for call in blocked)
    threads.shutdown()


def test_nothing_can_be_submitted_after_the_end() -> None:
    threads = DaemonThreads(2)
    assert threads.submit(int, "3").result(30) == 3
    threads.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        threads.submit(int, "4")
