"""The thread pool whose threads nobody waits for."""

from __future__ import annotations

import threading

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
    seen = set()
    for _ in range(20):
        seen.add(threads.submit(threading.current_thread).result(30))
        # The thread says that it is idle a moment after its result is there.
        while not threads._idle.acquire(blocking=False):
            pass
        threads._idle.release()
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


def test_nothing_can_be_submitted_after_the_end() -> None:
    threads = DaemonThreads(2)
    assert threads.submit(int, "3").result(30) == 3
    threads.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        threads.submit(int, "4")
