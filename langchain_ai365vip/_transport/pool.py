"""One aiohttp session per running event loop and connection settings.

Connections belong to the loop they were opened on, not to a model: LangChain makes copies of
models freely, and users call `asyncio.run` many times with one model. So the sessions hang on the
loop object itself: no global table, nothing that a later loop with the same `id` could find, and a
loop that is dropped takes its sessions along.

They are closed in the loop's own `close()`, which `asyncio.run`, test frameworks and hand-made
loops all end with, whether or not they call `shutdown_asyncgens()` before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import aiohttp
from aiohttp.connector import Connection

from langchain_ai365vip._transport.proxy import Proxy, socks_connector

_ATTRIBUTE = "_langchain_ai365vip_sessions"

# The reference server advertises 5 s and closes at 6 (measured); a connection that we
# give up first is never found dead by a request.
KEEPALIVE_SECONDS = 4.0
# Sessions kept for one event loop, besides those in use: who takes a new proxy for each call
# shall not keep them all.
_MOST_SESSIONS = 64
_MAX_STATUS_LINE = 128 * 1024


class ConnectionSettings(NamedTuple):
    """What makes two requests unable to share a session. Never the key, never headers."""

    max_connections: int | None = None
    # A SOCKS proxy is part of the connector; an HTTP proxy is named per request.
    socks_proxy: Proxy | None = None


class _Closable(Protocol):
    def close(self) -> None: ...


class PooledSession:
    """A session, the requests that wait for their head, and the replies that are being read.

    `with pooled:` is around a request that waits.
    """

    def __init__(
        self, session: aiohttp.ClientSession, unused: Callable[[PooledSession], None]
    ) -> None:
        self.session = session
        self.replies: set[_Closable] = set()
        self._waiting = 0
        self._retired = False
        self._unused = unused

    def __enter__(self) -> None:
        """Keep the session open while a request is on its way to becoming a reply."""
        self._waiting += 1

    def __exit__(self, *exc_info: object) -> None:
        self._waiting -= 1
        self._look_whether_unused()

    def admit(self, reply: _Closable) -> None:
        """Note that a reply is being read."""
        self.replies.add(reply)

    def release(self, reply: _Closable) -> None:
        """Note that a reply has ended; a retired session closes after its last one."""
        self.replies.discard(reply)
        self._look_whether_unused()

    def retire(self) -> None:
        """Have it closed as soon as nobody uses it: never cuts anyone's stream."""
        self._retired = True
        self._look_whether_unused()

    @property
    def in_use(self) -> bool:
        return bool(self._waiting or self.replies)

    def _look_whether_unused(self) -> None:
        if self._retired and not self.in_use:
            self._unused(self)

    async def aclose(self) -> None:
        """Close now, cutting what is still being read."""
        for reply in tuple(self.replies):
            reply.close()
        await self.session.close()


class LoopSessions:
    """The sessions of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._by_settings: dict[ConnectionSettings, PooledSession] = {}
        # Each with the task that closes it, once there is one.
        self._retired: dict[PooledSession, asyncio.Task[None] | None] = {}

    def get(self, settings: ConnectionSettings) -> PooledSession:
        """Return the session for these settings, made at first use."""
        pooled = self._by_settings.pop(settings, None)
        if pooled is None or pooled.session.closed:
            pooled = PooledSession(_new_session(settings), self._close_soon)
            self._make_room()
        self._by_settings[settings] = pooled  # as the one that was used last
        return pooled

    def _make_room(self) -> None:
        if len(self._by_settings) >= _MOST_SESSIONS:
            idle = (each for each, pooled in self._by_settings.items() if not pooled.in_use)
            if (longest := next(idle, None)) is not None:
                self._retire(longest)

    async def retire(self, settings: ConnectionSettings) -> None:
        """Close the session for these settings: now, or once nobody uses it any more."""
        if settings in self._by_settings:
            pooled = self._retire(settings)
            if (closing := self._retired.get(pooled)) is not None:
                await asyncio.wait([closing])

    def _retire(self, settings: ConnectionSettings) -> PooledSession:
        pooled = self._by_settings.pop(settings)
        self._retired[pooled] = None
        pooled.retire()
        return pooled

    def _close_soon(self, pooled: PooledSession) -> None:
        # aiohttp closes a session in a coroutine only, and this is called from anywhere.
        if self._retired.get(pooled) is None and not self._loop.is_closed():
            closing = self._loop.create_task(pooled.aclose())
            closing.add_done_callback(lambda _: self._retired.pop(pooled, None))
            self._retired[pooled] = closing

    async def aclose(self) -> None:
        """Close all of them."""
        pooled = [*self._by_settings.values(), *self._retired]
        self._by_settings = {}
        for each in pooled:
            await each.aclose()


def sessions_of(loop: asyncio.AbstractEventLoop) -> LoopSessions:
    """Return the sessions of a loop; the first call arranges for their end with it."""
    sessions: LoopSessions | None = getattr(loop, _ATTRIBUTE, None)
    if sessions is None:
        sessions = LoopSessions(loop)
        setattr(loop, _ATTRIBUTE, sessions)
        _close_with_loop(loop, sessions)
    return sessions


def _close_with_loop(loop: asyncio.AbstractEventLoop, sessions: LoopSessions) -> None:
    close_loop: Callable[[], None] = loop.close

    def close() -> None:
        try:
            if not loop.is_closed() and not loop.is_running():
                _run_to_its_end(loop, sessions)
        finally:
            close_loop()

    # asyncio has no hook for "this loop ends" that every way of ending one reaches.
    setattr(loop, "close", close)  # noqa: B010 - mypy rightly refuses the plain assignment


def _run_to_its_end(loop: asyncio.AbstractEventLoop, sessions: LoopSessions) -> None:
    """Close the sessions of a loop that stands still; stock `close()` raises nothing either."""
    # A task of its own: its failure is told to the loop's exception handler.
    closing = loop.create_task(sessions.aclose())
    # RuntimeError: another loop runs on this thread, or somebody has called `stop()`.
    with contextlib.suppress(RuntimeError):
        loop.run_until_complete(asyncio.wait([closing]))


class _Response(aiohttp.ClientResponse):
    """A response that takes its connection down with it when its head does not come."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        transport, protocol = connection.transport, connection.protocol
        try:
            if protocol is not None and protocol.should_close:
                # Measured: bytes behind an earlier answer, which came when the connection was
                # idle, would be taken for the answer to this request.
                raise aiohttp.ServerDisconnectedError
            return await super().start(connection)
        except BaseException:
            # aiohttp closes the connection, which first waits until a server that may hang
            # has taken the whole request.
            if transport is not None:
                transport.abort()
            raise


def _new_session(settings: ConnectionSettings) -> aiohttp.ClientSession:
    limits: dict[str, Any] = {
        "limit": settings.max_connections or 0,
        "keepalive_timeout": KEEPALIVE_SECONDS,
    }
    if settings.socks_proxy is None:
        # Names are looked up for each new connection, once for those that are opened together:
        # an address that is kept (aiohttp does, for 10 s) may be one where nobody answers any
        # more, and retries would go there. To drop it after a failure is a race in aiohttp:
        # calls that wait for the same lookup end with a KeyError.
        connector: aiohttp.BaseConnector = aiohttp.TCPConnector(**limits, ttl_dns_cache=0)
    else:
        connector = socks_connector(settings.socks_proxy, **limits)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(),
        response_class=_Response,
        trace_configs=[_trace_config()],
        # The reference server puts the upstream's message into the status line, however
        # long it is; aiohttp's default of 8 KB would hide the status, too.
        max_line_size=_MAX_STATUS_LINE,
    )


def _trace_config() -> aiohttp.TraceConfig:
    """Tell each request's `HeadDeadline` (its trace context) which step it has reached."""

    async def queued(_session: Any, context: Any, _params: Any) -> None:
        context.trace_request_ctx.queued()

    async def connecting(_session: Any, context: Any, _params: Any) -> None:
        context.trace_request_ctx.connecting()

    async def connected(_session: Any, context: Any, _params: Any) -> None:
        context.trace_request_ctx.connected(reused=False)

    async def reused(_session: Any, context: Any, _params: Any) -> None:
        context.trace_request_ctx.connected(reused=True)

    async def sending(_session: Any, context: Any, _params: Any) -> None:
        # aiohttp calls this when the connection is chosen, and nothing is written yet.
        context.trace_request_ctx.sending()

    config = aiohttp.TraceConfig()
    config.on_connection_queued_start.append(queued)
    config.on_connection_create_start.append(connecting)
    config.on_connection_create_end.append(connected)
    config.on_connection_reuseconn.append(reused)
    config.on_request_headers_sent.append(sending)
    return config
