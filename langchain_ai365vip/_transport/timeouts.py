"""Time limits: the five that a user sets, and what enforces them up to the head and after."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple

from typing_extensions import Self

if sys.version_info >= (3, 11):
    from asyncio import timeout_at
else:  # aiohttp depends on async_timeout there
    from async_timeout import timeout_at


class Timeout(NamedTuple):
    """Time limits of a request, in seconds; `None` switches one off.

    Attributes:
        connect: To look up the name, connect, and agree on TLS. Default 10.
        first_byte: From then to the first byte of the reply's text. Default 120: a
            language model may read a long prompt before it says a word, and this wire
            has no keep-alive bytes.
        between_bytes: Between two reads of the reply. Default 60. Async methods read when
            the caller asks for text, so that a slow caller is not a slow server; the sync
            ones read ahead of it.
        total: For the whole request, redirects and an error's body included, retries not.
            Default none: a long answer is not a fault.
        pool: To wait for a connection where `max_connections` are in use. Default none:
            whoever caps them wants the other calls to queue.
    """

    connect: float | None = 10.0
    first_byte: float | None = 120.0
    between_bytes: float | None = 60.0
    total: float | None = None
    pool: float | None = None

    @classmethod
    def of(cls, value: Timeout | float | None) -> Timeout:
        """Read what a user may pass as `timeout`.

        Args:
            value: A `Timeout`; seconds of inactivity allowed in each step, as in httpx;
                or `None` for the defaults.

        Raises:
            ValueError: A limit that is not a number of seconds above 0.
        """
        if value is None:
            return cls()
        timeout = value if isinstance(value, Timeout) else cls(value, value, value, pool=value)
        for name, limit in timeout._asdict().items():
            number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
            if limit is not None and not (number and 0 < limit < math.inf):
                where = f"timeout: {name}" if timeout is value else "timeout"
                raise ValueError(
                    f"{where} must be a number of seconds above 0, or None, not {limit!r}"
                )
        return timeout


# A connection that the server closed while it was idle fails one round trip after it is used.
# Later, it was lost in the midst of the server's work.
_STALE_WITHIN: Final = 2.0
_QUEUED: Final = "waiting for one of max_connections to be free"


class IdleConnectionError(Exception):
    """A connection that was idle came up where only a new one will do; it is closed then."""


class HeadDeadline:
    """A deadline over the steps up to the response head, moved on as they pass.

    Used as `async with deadline.running():` around the request; aiohttp's trace signals
    call the step methods.

    Attributes:
        step: What is under way, in words.
        step_at: When its own limit passes (loop time).
        only_new: Whether no connection will do that was idle.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeout: Timeout,
        total_at: float | None,
        only_new: bool,
    ) -> None:
        self._loop = loop
        self.only_new = only_new
        self._timeout = timeout
        self._total_at = total_at
        self._scope: Any = None
        self.step = _QUEUED
        self.step_at: float | None = None
        self._nearest = "total"
        self._reused_at: float | None = None

    def running(self) -> AbstractAsyncContextManager[Any]:
        """Return the scope in which the deadline cancels the current task."""
        self._scope = timeout_at(self._total_at)
        return self._scope  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: aioresponses, in its users' tests, copies a request's arguments."""
        return self

    def queued(self) -> None:
        """Note that as many connections are in use as may be."""
        self._enter(_QUEUED, "pool")

    def connecting(self) -> None:
        """Note that a new connection is being made."""
        self._reused_at = None
        self._enter("connecting", "connect")

    def connected(self, *, reused: bool) -> None:
        """Note that a connection is there: from now on the server is what we wait for."""
        self._reused_at = self._loop.time() if reused else None
        self._enter("waiting for the first byte of the reply", "first_byte")

    def sending(self) -> None:
        """Refuse to send on a connection that was idle, where that will not do.

        Raises:
            IdleConnectionError: It was; aiohttp closes it.
        """
        if self.only_new and self._reused_at is not None:
            raise IdleConnectionError

    @property
    def was_stale(self) -> bool:
        """Whether a connection that is lost now was given up by the server before our request."""
        return self._reused_at is not None and self._loop.time() < self._reused_at + _STALE_WITHIN

    @property
    def limit(self) -> str:
        """The limit that passes first in this step, in words."""
        return f"{self._nearest} is {getattr(self._timeout, self._nearest)} s"

    def _enter(self, step: str, name: str) -> None:
        self.step = step
        self._nearest, at = "total", self._total_at
        limit: float | None = getattr(self._timeout, name)
        self.step_at = None if limit is None else self._loop.time() + limit
        if self.step_at is not None and (at is None or self.step_at < at):
            self._nearest, at = name, self.step_at
        if sys.version_info >= (3, 11):
            self._scope.reschedule(at)
        elif at is not None:
            self._scope.update(at)
        else:
            self._scope.reject()


class ReadTimer:
    """One timer for all reads of a reply, which calls `expired` when one waits too long.

    `asyncio.timeout_at` around each read would be the plain way, but takes a fifth of what a
    token costs (measured: 6 of 30 µs). This notes the time of each read (`since`), and looks at
    it when a limit could have passed, at least once a second; then it calls `look`, too.

    Args:
        loop: The reader's loop.
        timeout: The limits.
        first_at: When the limit for the first text passes, which began with the head.
        total_at: When the limit of the whole request passes.
        expired: Called once, with the limit that passed, in words.
        look: Called now and then.

    Attributes:
        since: When the current wait began (loop time), or `None` while nobody waits: a
            slow consumer is not a slow server.
    """

    _LOOK_EVERY = 1.0

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeout: Timeout,
        first_at: float | None,
        total_at: float | None,
        expired: Callable[[str], None],
        look: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._timeout = timeout
        self._ends = {"total": total_at, "first_byte": first_at}
        self._expired = expired
        self._look = look
        self.since: float | None = None
        self._arm()

    def text_came(self) -> None:
        """Measure each wait by itself from now on."""
        del self._ends["first_byte"]
        self.stop()
        self._arm()

    def stop(self) -> None:
        """Call nothing any more."""
        self._handle.cancel()

    def _next(self) -> tuple[float, str]:
        """Return when the next limit passes, and its name."""
        ends = [(at, name) for name, at in self._ends.items() if at is not None]
        between = self._timeout.between_bytes
        if "first_byte" not in self._ends and between is not None:
            since = self._loop.time() if self.since is None else self.since
            ends.append((since + between, "between_bytes"))
        return min(ends, default=(math.inf, ""))

    def _arm(self) -> None:
        at = min(self._next()[0], self._loop.time() + self._LOOK_EVERY)
        self._handle = self._loop.call_at(at, self._check)

    def _check(self) -> None:
        at, name = self._next()
        if self._loop.time() >= at:
            self._expired(f"{name} is {getattr(self._timeout, name)} s")
        else:
            self._look()
            self._arm()
