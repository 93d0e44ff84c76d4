"""Time limits: the four that a user sets, and the two mechanisms that enforce them."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from typing_extensions import Self

if sys.version_info >= (3, 11):
    from asyncio import timeout as _timeout
else:  # aiohttp depends on async_timeout there
    from async_timeout import timeout as _timeout


class Timeout(NamedTuple):
    """Time limits of a request, in seconds; `None` switches one off.

    Attributes:
        connect: To look up the name, connect, and agree on TLS. Default 10.
        first_byte: From then to the first byte of the reply's text. Default 120: a
            language model may read a long prompt before it says a word, and this wire
            has no keep-alive bytes.
        between_bytes: Between two reads of the reply, counted only while the caller is
            waiting for text. Default 60.
        total: For the whole request, retries not included. Default none: a long answer
            is not a fault.
    """

    connect: float | None = 10.0
    first_byte: float | None = 120.0
    between_bytes: float | None = 60.0
    total: float | None = None

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
        timeout = value if isinstance(value, Timeout) else cls(value, value, value)
        for name, limit in timeout._asdict().items():
            number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
            if limit is not None and not (number and 0 < limit < math.inf):
                where = f"timeout: {name}" if timeout is value else "timeout"
                raise ValueError(
                    f"{where} must be a number of seconds above 0, or None, not {limit!r}"
                )
        return timeout


class HeadDeadline:
    """A deadline over the steps up to the response head, moved on as they pass.

    Used as `async with deadline.running():` around the request; aiohttp's trace signals
    call the step methods.

    Attributes:
        step: What is under way, or was when time ran out.
        reused: Whether the connection had served a request before.
        first_text_at: When the first text must be there (loop time); `None`: no limit.
        total_at: When all must be there, likewise.
    """

    __slots__ = (
        *("_loop", "_nearest", "_scope", "_timeout"),
        *("first_text_at", "reused", "step", "total_at"),
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: Timeout) -> None:
        self._loop = loop
        self._timeout = timeout
        self.total_at = None if timeout.total is None else loop.time() + timeout.total
        self.first_text_at: float | None = None
        self._scope: Any = None
        self.step = "waiting for a free connection"
        self._nearest = "total"
        self.reused = False

    def running(self) -> AbstractAsyncContextManager[Any]:
        """The scope in which the deadline cancels the current task."""
        self._scope = _timeout(self._timeout.total)
        return self._scope  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: aioresponses, in its users' tests, copies a request's arguments."""
        return self

    def connecting(self) -> None:
        """A new connection is being made."""
        self.reused = False
        self._enter("connecting", "connect", self._from_now(self._timeout.connect))

    def connected(self, *, reused: bool) -> None:
        """A connection is there; from now on the server is what we wait for."""
        self.reused = reused
        self.first_text_at = self._from_now(self._timeout.first_byte)
        self._enter("waiting for the first byte of the reply", "first_byte", self.first_text_at)

    @property
    def limit(self) -> str:
        """The limit that passes first in this step, in words."""
        return f"{self._nearest} is {getattr(self._timeout, self._nearest)} s"

    def _from_now(self, limit: float | None) -> float | None:
        return None if limit is None else self._loop.time() + limit

    def _enter(self, step: str, name: str, step_at: float | None) -> None:
        self.step = step
        self._nearest, at = "total", self.total_at
        if step_at is not None and (at is None or step_at < at):
            self._nearest, at = name, step_at
        if sys.version_info >= (3, 11):
            self._scope.reschedule(at)
        elif at is not None:
            self._scope.update(at)
        else:
            self._scope.reject()


class BodyWatchdog:
    """Calls `expired` when the first text is late, or a reader has waited too long for more.

    aiohttp's own `sock_read` re-arms a timer at every read; this one only notes the time
    (`since`) and looks at it now and then, and calls `look` as often.

    Attributes:
        since: When the current wait began (loop time), or `None` while nobody waits: a
            slow consumer is not a slow server.
        now: The loop's clock.
    """

    __slots__ = (
        *("_expired", "_first_at", "_handle", "_limit", "_look", "_loop", "_total_at"),
        *("now", "since"),
    )

    _LOOK_EVERY = 1.0

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: float | None,
        deadline: HeadDeadline,
        expired: Callable[[str], None],
        look: Callable[[], None],
    ) -> None:
        self._loop = loop
        self.now = loop.time
        self._limit = limit
        # The head's limit goes on up to the first text: a late head leaves less of it.
        self._first_at = deadline.first_text_at
        self._total_at = deadline.total_at
        self._expired = expired
        self._look = look
        self._handle: asyncio.TimerHandle | None = None
        self.since: float | None = None
        self._arm()

    def limit_to(self, limit: float | None) -> None:
        """Set the limit for each of the waits after the first text."""
        self._first_at = None
        self._limit = limit
        if limit is not None and limit < self._LOOK_EVERY:
            self.stop()
            self._arm()

    def stop(self) -> None:
        """Call nothing any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        now = self.now()
        at = now + self._LOOK_EVERY
        if (due := self._due(now)) is not None:
            at = min(at, due)
        if self._total_at is not None:
            at = min(at, self._total_at)
        self._handle = self._loop.call_at(at, self._check)

    def _check(self) -> None:
        now = self.now()
        if self._total_at is not None and now >= self._total_at:
            self._expired("the total time limit passed")
        elif self.since is not None and (due := self._due(now)) is not None and now >= due:
            what = "no byte came for" if self._first_at is None else "no text came within"
            self._expired(f"{what} {self._limit:g} s")
        else:
            self._look()
            self._arm()

    def _due(self, now: float) -> float | None:
        """When the wait that goes on, or one that would begin now, has taken too long."""
        if self._first_at is not None:
            return self._first_at
        if self._limit is None:
            return None
        return (now if self.since is None else self.since) + self._limit
