"""An async iterator, or a coroutine, seen from sync code: one background loop per process.

`asyncio.run` fails inside a running loop (a notebook) and a loop per call throws the open
connections away. So sync calls run on one event loop in a daemon thread, made at first use,
made anew after a fork, and closed at the interpreter's exit. Then, when no thread can be started
any more, a call has a loop of its own in the caller's thread, and a stream comes whole.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import functools
import os
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Items waiting for a slow consumer before its producer pauses; it goes on at a quarter.
_HIGH_WATER: Final = 1024
_LOW_WATER: Final = _HIGH_WATER // 4
# Seconds after which a waiting thread looks for signals.
_LONGEST_WAIT: Final = 1.0


class _LoopThread:
    """A daemon thread that runs an event loop until `stop()`."""

    def __init__(self) -> None:
        # Made by the caller, who is told if no file is left for it.
        self.loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        # An empty context: the thread outlives the call that happened to start it.
        self._thread = threading.Thread(
            target=contextvars.Context().run,
            args=(self._run,),
            name="langchain-ai365vip",
            daemon=True,
        )
        try:
            self._thread.start()
        except RuntimeError:
            self.loop.close()
            raise

    def _run(self) -> None:
        try:
            self.loop.run_until_complete(self._main())
        finally:
            self.loop.close()

    async def _main(self) -> None:
        await self._stopping.wait()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()

    def task(
        self, coroutine: Coroutine[Any, Any, None], ended: Callable[[BaseException | None], None]
    ) -> _Task:
        """Return a task of the loop that has not begun.

        Args:
            coroutine: What to run.
            ended: Called on the loop when the task is over, with what it raised.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "A sync call of ChatAI365VIP was made from a callback that runs on its own "
                "background event loop, where it would wait for itself. Use the async method."
            )
        return _Task(self.loop, coroutine, ended)

    def stop(self) -> None:
        """Cancel what runs, close the loop with its connections, end the thread."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(timeout=5)


class _Task:
    """A task on the background loop, as another thread sees it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, None],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self._loop = loop
        self._coroutine = coroutine
        self._ended = ended
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin on the loop, in the caller's context.

        The loop may be far ahead before this returns, and a KeyboardInterrupt may come in
        between: so call it where `cancel` is certain to follow.
        """
        self._loop.call_soon_threadsafe(self._run, context=contextvars.copy_context())

    def _run(self) -> None:
        self._task = self._loop.create_task(self._coroutine)
        # A callback rather than the coroutine's own `finally`: a task that is cancelled
        # before its first step never gets there.
        self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        """Ask the task to end; may be called from any thread, at any time."""
        # A closed loop runs nothing any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._ended(asyncio.CancelledError() if task.cancelled() else task.exception())


class _Ended:
    """Put in the queue after the last item, with the exception that ended the iterator."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Bridge(Generic[T]):
    """Items from a task on the loop to a thread that waits for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[T | _Ended] = queue.SimpleQueue()
        self._paused: asyncio.Event | None = None

    async def pump(self, items: AsyncGenerator[T, None]) -> None:
        """Fill the queue; runs on the loop."""
        put, size = self._queue.put, self._queue.qsize
        async with contextlib.aclosing(items):
            async for item in items:
                put(item)
                if size() > _HIGH_WATER:
                    await self._wait_for_room()

    def end(self, error: BaseException | None) -> None:
        """Put the end mark; runs on the loop."""
        self._queue.put(_Ended(error))

    def get(self) -> T | _Ended:
        """Wait for the next item; runs in the consumer's thread."""
        item = self._next()
        paused = self._paused
        if paused is not None and self._queue.qsize() < _LOW_WATER:
            self._loop.call_soon_threadsafe(paused.set)
        return item

    def _next(self) -> T | _Ended:
        # A signal that comes between CPython's last look for one and the wait itself is not
        # acted upon before the wait ends (measured on a busy machine: 2 of 3,000 Ctrl-C, each
        # only after the 60 s of the time limit). So no wait is long.
        while True:
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=_LONGEST_WAIT)

    async def _wait_for_room(self) -> None:
        self._paused = asyncio.Event()
        # The consumer may have emptied the queue before it could see the event.
        if self._queue.qsize() > _LOW_WATER:
            await self._paused.wait()
        self._paused = None


def iterate(make: Callable[[], AsyncGenerator[T, None]]) -> Generator[T, None, None]:
    """Iterate over an async generator, which runs on the background loop.

    It runs ahead of a slow caller, by `_HIGH_WATER` items at most. Closing the returned generator
    early closes the async one.

    Args:
        make: Makes the async generator; called once, when the first item is asked for.

    Raises:
        RuntimeError: It is called on the background loop itself, or inside an event loop where
            no thread can be started.
    """
    thread = _loop_thread()
    if thread is None:
        yield from _iterate_here(make)
        return
    bridge: _Bridge[T] = _Bridge(thread.loop)
    task = thread.task(bridge.pump(make()), bridge.end)
    ended = False
    try:
        task.begin()
        while True:
            item = bridge.get()
            if isinstance(item, _Ended):
                ended = True
                if item.error is not None:
                    raise _not_cancelled(item.error)
                return
            yield item
    finally:
        if not ended:
            task.cancel()


def _iterate_here(make: Callable[[], AsyncGenerator[T, None]]) -> Generator[T, None, None]:
    """Iterate over an async generator without a thread, on a loop for it alone.

    Its items come all at once, when the last one is there.
    """
    _refuse_inside_a_loop()
    loop = asyncio.new_event_loop()
    loop.set_default_executor(_Here())
    reading = loop.create_task(_all_of(make()))
    try:
        items = loop.run_until_complete(reading)
    finally:
        reading.cancel()  # after Ctrl-C it is still under way
        loop.run_until_complete(asyncio.wait([reading]))
        loop.close()
    yield from items


async def _all_of(items: AsyncGenerator[T, None]) -> list[T]:
    async with contextlib.aclosing(items):
        return [item async for item in items]


def on_event_loop() -> bool:
    """Say whether the caller's thread runs an event loop, which must not be blocked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _refuse_inside_a_loop() -> None:
    if on_event_loop():
        raise RuntimeError(
            "A sync call of ChatAI365VIP inside an event loop needs a thread, and none can be "
            "started: the interpreter is shutting down, or the system's limit is reached. Use the "
            "async method."
        )


def run(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on the background loop and wait for its result.

    An exception in the waiting thread, such as KeyboardInterrupt, cancels it.

    Args:
        make: Makes the coroutine.

    Raises:
        RuntimeError: As `iterate`.
    """

    async def once() -> AsyncGenerator[T, None]:
        yield await make()

    with contextlib.closing(iterate(once)) as results:
        return next(results)


def twin_of(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Return an async function's sync twin: `foo` for `afoo`, documented and typed as it is."""

    @functools.wraps(function)
    def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(lambda: function(*args, **kwargs))

    twin.__name__ = twin.__qualname__ = function.__name__.removeprefix("a")
    return twin


def is_running() -> bool:
    """Say whether the background loop has been needed so far."""
    return _thread is not None


def _not_cancelled(error: BaseException) -> BaseException:
    if isinstance(error, asyncio.CancelledError):
        return RuntimeError("The call was cancelled because the interpreter is shutting down.")
    return error


class _Here(ThreadPoolExecutor):
    """Runs functions at once, where there are no threads: looking up a host, above all."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function, and return its result in a future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


_lock = threading.Lock()
_thread: _LoopThread | None = None


def _loop_thread() -> _LoopThread | None:
    """Return the background loop's thread; `None` where threads end, or none can be started."""
    global _thread
    if not threading.main_thread().is_alive():
        return None  # the interpreter's exit: no thread pool takes work any more
    with _lock:
        if _thread is None:
            with contextlib.suppress(RuntimeError):
                _thread = _LoopThread()
        return _thread


def _stop_at_exit() -> None:
    global _thread
    with _lock:
        thread, _thread = _thread, None
    if thread is not None:
        thread.stop()


def _forget_after_fork() -> None:
    # The child has the loop object but not its thread. Closing it there would take the
    # parent's sockets out of the epoll set that the two share; so it is left as it is.
    global _thread, _lock
    _thread = None
    _lock = threading.Lock()


atexit.register(_stop_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
