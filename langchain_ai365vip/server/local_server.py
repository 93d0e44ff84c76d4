"""`LocalServer`: the endpoint on a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from typing_extensions import Unpack

from langchain_ai365vip.server.access import is_address, is_loopback
from langchain_ai365vip.server.app import AppOptions, Model, create_app, positive
from langchain_ai365vip.server.endpoint import SOURCES, logger

P = ParamSpec("P")
T = TypeVar("T")

# How long a connection may stay without a complete request: it bounds slow headers, too.
IDLE_TIMEOUT: Final = 30.0
# Seconds for which the rest of a refused body is read, so that its sender gets the answer.
LINGERING_TIME: Final = 1.0
_LOOK_EVERY: Final = 0.05
_BACKLOG: Final = 1024
_STOPPING_TIME: Final = 10.0
# Calls of synchronous models at a time, those that their client has left among them.
_MOST_THREADS: Final = 32
_ELSEWHERE: Final = (
    " Pass another port (port=0 takes a free one), or as host an address of this machine."
)
_ADDRESS_ERRORS: Final = (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL)


class LocalServer:
    """The endpoint on a thread of its own, for tests, notebooks and the command line.

    ```python
    with LocalServer(model) as server:  # or: async with
        print(server.base_url)
    ```

    It has its own event loop, so it works inside a running one, and can be started again
    after it was stopped (with `port=0` on another port).

    Args:
        model: What answers, as for `create_app`.
        host: The address to listen on. Default 127.0.0.1. Any but a loopback address needs an
            `api_key`. "::" takes IPv4, too.
        port: The port. Default 0, which takes a free one; `base_url` says which.
        idle_timeout: Seconds that a connection may stay without a complete request. Default 30.
        **options: The other options of `create_app`.

    Raises:
        TypeError: As for `create_app`, or `host` is no text or `port` no whole number.
        ValueError: `host` is reachable from other machines and there is no `api_key`, or
            an option is wrong.
    """

    def __init__(
        self,
        model: Model,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        idle_timeout: float = IDLE_TIMEOUT,
        **options: Unpack[AppOptions],
    ) -> None:
        if not isinstance(host, str) or type(port) is not int:
            raise TypeError(
                f"host is {host!r} and port {port!r}: pass a text and a whole number, such as "
                'host="127.0.0.1", port=8000'
            )
        local = host == "localhost" or (is_address(host) and is_loopback((host,)))
        if not local and options.get("api_key") is None:
            raise ValueError(
                f"host {host!r} is reachable from other machines, and without api_key anybody "
                'there could use the model: pass api_key, or host="127.0.0.1"'
            )
        if host and not local and not is_address(host):
            options["allowed_hosts"] = (*options.get("allowed_hosts", ()), host)
        self._make_app = partial(create_app, model, **options)
        self._make_app()  # a wrong option is the caller's error, now and not on the thread
        self._host, self._port = host, port
        self._idle_timeout = positive(idle_timeout, "idle_timeout")
        self._running: _Running | None = None
        self._requests = 0
        self.connections = 0

    def __repr__(self) -> str:
        running = self._running
        return f"<LocalServer {'stopped' if running is None else running.base_url}>"

    @property
    def base_url(self) -> str:
        """The URL to give to clients, without a trailing slash.

        Raises:
            RuntimeError: The server does not run.
        """
        if self._running is None:
            raise RuntimeError("The server does not run: use it in `with`, or call start()")
        return self._running.base_url

    @property
    def is_running(self) -> bool:
        """Whether it takes requests; a model that raises `SystemExit` ends it, see the log."""
        return self._running is not None and self._running.thread.is_alive()

    @property
    def requests(self) -> int:
        """How many HTTP requests came in so far, refused ones included."""
        return self._requests + (self._running.server.requests_count if self._running else 0)

    def start(self) -> LocalServer:
        """Start, and return once it listens.

        Returns:
            This server.

        Raises:
            OSError: The address cannot be had, for example because the port is in use;
                the message says what to pass instead.
            RuntimeError: It runs already.
        """
        if self._running is not None:
            raise RuntimeError(f"The server runs already, at {self.base_url}")
        ready: Future[_Running] = Future()
        thread = threading.Thread(
            target=_run, args=(self._serve(ready),), name="ai365vip-server", daemon=True
        )
        thread.start()
        try:
            self._running = ready.result()
        except (OSError, OverflowError) as error:  # the latter of a port that can be none
            thread.join()
            code = getattr(error, "errno", None) or 0
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            # asyncio's words differ from version to version.
            why = os.strerror(code) if code > 0 else said.rstrip(".")
            raise OSError(
                code,
                f"the server cannot listen at host={self._host!r}, port={self._port}: {why}."
                + (_ELSEWHERE if code <= 0 or code in _ADDRESS_ERRORS else ""),
            ) from error
        except Exception:
            thread.join()
            raise
        return self

    def stop(self, grace: float = 0.0) -> None:
        """Stop, and return once all is closed. Stopping twice does no harm.

        A synchronous model runs on daemon threads and cannot be interrupted: what it does now
        it does to its end, or to the interpreter's, and nobody waits for that. A model that
        blocks the event loop holds this up for ten seconds; then its thread is left behind,
        with a warning in the log.

        Args:
            grace: Seconds after which replies under way are cut. Default 0: at once. Another
                call, from another thread or after an interrupt, may shorten it.
        """
        running = self._running
        if running is None:
            return
        with suppress(RuntimeError):  # its loop has ended meanwhile
            running.loop.call_soon_threadsafe(running.end, grace)
        end = time.monotonic() + grace + _STOPPING_TIME
        while running.thread.is_alive() and time.monotonic() < end:
            running.thread.join(1)  # Ctrl-C in a longer wait may go unnoticed
        if running.thread.is_alive():
            logger.warning(
                "The server at %s has not ended in %g s and is left to itself: a model blocks its "
                "event loop.",
                running.base_url,
                grace + _STOPPING_TIME,
            )
        if self._running is running:
            self._running = None
            self._requests += running.server.requests_count

    async def _serve(self, ready: Future[_Running]) -> None:
        try:
            async with self._listening() as running:
                ready.set_result(running)
                await running.stopping.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[_Running]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(_DaemonThreads())
        runner = self._runner()
        await runner.setup()
        server = cast(web.Server, runner.server)

        def connected() -> asyncio.BaseProtocol:
            self.connections += 1
            return server()

        try:
            listener = await self._listen(loop, connected)
            with closing(listener):
                url = _base_url(listener.sockets[0].getsockname())
                running = _Running(
                    url, server, loop, asyncio.Event(), asyncio.Event(), threading.current_thread()
                )
                yield running
                await _stop_accepting(listener)
            await running.let_replies_end()
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await asyncio.sleep(0)  # the transports tell their protocols that they are gone
        finally:
            await runner.cleanup()
            # aiohttp keeps the last 1,024 applications (for their middlewares): not their models.
            runner.app[SOURCES].clear()

    async def _listen(
        self, loop: asyncio.AbstractEventLoop, connected: Callable[[], asyncio.BaseProtocol]
    ) -> asyncio.Server:
        if self._host == "::" and socket.has_dualstack_ipv6():
            # asyncio's own socket for it would take no IPv4.
            address = socket.create_server(
                ("::", self._port), family=socket.AF_INET6, dualstack_ipv6=True
            )
            return await loop.create_server(connected, sock=address, backlog=_BACKLOG)
        return await loop.create_server(connected, self._host, self._port, backlog=_BACKLOG)

    def _runner(self) -> web.AppRunner:
        return web.AppRunner(
            self._make_app(),
            # What stops the model when its client goes away.
            handler_cancellation=True,
            access_log=None,
            logger=_http_logger,
            keepalive_timeout=self._idle_timeout,
            lingering_time=LINGERING_TIME,
            shutdown_timeout=1.0,
            auto_decompress=False,
        )

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> LocalServer:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)


def _run(serving: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(serving)
    except SystemExit:  # of a model, which asyncio lets end the loop
        logger.exception("The server has ended: a model raised SystemExit.")


async def _stop_accepting(listener: asyncio.Server) -> None:
    """Take in the connections that asyncio has accepted, and no further ones.

    It takes one in in two turns of the loop. A close of the listener between them leaves the socket
    open, of which Python warns in the tests of whoever stops a server.
    """
    loop = asyncio.get_running_loop()
    for listening in listener.sockets:
        with suppress(NotImplementedError):  # the loop of Windows has no readers
            loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)
    await asyncio.sleep(0)


class _DaemonThreads(ThreadPoolExecutor):
    """A few threads for the calls of synchronous models, none of which holds an exit.

    A client that leaves cannot take its call along, so calls are bounded here: those that find
    no thread wait for one, or for their own client to leave. A pool's own threads are joined
    when the loop and when the interpreter ends. It is a `ThreadPoolExecutor` because an event
    loop takes no other for its default one.
    """

    def __init__(self) -> None:
        super().__init__(_MOST_THREADS)
        self._lock = threading.Lock()
        self._running = 0
        self._waiting: deque[Callable[[], None]] = deque()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            if self._running < _MOST_THREADS:
                threading.Thread(target=self._work, daemon=True, name="ai365vip-model").start()
                self._running += 1
            self._waiting.append(partial(_fulfil, future, partial(fn, *args, **kwargs)))
        return future

    def _work(self) -> None:
        while (call := self._next()) is not None:
            call()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._running -= 1
            return None


def _fulfil(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:  # of any kind: it belongs to who waits for the call
        future.set_exception(error)


def _is_worth_logging(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


# aiohttp logs a traceback for each request that is not valid HTTP, which anybody can send.
_http_logger = logging.getLogger(f"{logger.name}.http")
_http_logger.addFilter(_is_worth_logging)


class _Running(NamedTuple):
    """What a started server is made of."""

    base_url: str
    server: web.Server
    loop: asyncio.AbstractEventLoop
    stopping: asyncio.Event
    cutting: asyncio.Event
    thread: threading.Thread

    def end(self, grace: float) -> None:
        """Take no more requests, and cut what is under way when the time is over."""
        self.stopping.set()
        if grace > 0:
            self.loop.call_later(grace, self.cutting.set)
        else:
            self.cutting.set()

    async def let_replies_end(self) -> None:
        """Close idle connections now, the others after their reply, until it is time to cut."""
        ended = asyncio.create_task(self.server.shutdown())
        while not self.cutting.is_set() and not ended.done():
            # Again and again: a connection may be too new to hear it.
            self.server.pre_shutdown()
            await asyncio.wait([ended], timeout=_LOOK_EVERY)
        ended.cancel()


def _base_url(sockname: tuple[Any, ...]) -> str:
    """Make the URL at which this machine reaches a listening socket."""
    host, port = sockname[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
