"""Retries: which failures are tried again, how often, and after how long a wait."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import tenacity

from langchain_ai365vip.errors import AI365VIPAPIError, AI365VIPError

T = TypeVar("T")
OnRetry = Callable[[tenacity.RetryCallState], Awaitable[None] | None]

# Seconds: the longest wait that a server's Retry-After may ask for.
_MAX_WAIT: Final = 60.0
_backoff = tenacity.wait_random_exponential(multiplier=0.5, max=8.0)


async def with_retries(
    attempt: Callable[[int], Awaitable[T]], *, max_retries: int, on_retry: OnRetry | None = None
) -> T:
    """Do something that may fail, and once more where that may help.

    Args:
        attempt: What to do; it is told which retry it is, 0 for the first attempt.
        max_retries: Retries (not attempts).
        on_retry: Called before each retry with tenacity's state.

    Raises:
        AI365VIPError: The last failure, or the first that is not `is_retryable`.
    """
    try:
        return await attempt(0)
    except AI365VIPError as error:
        if max_retries == 0 or not _is_retryable(error):
            raise
        failures = [error]

    # Where nothing fails, nothing is spent on retrying: tenacity hears of the first attempt
    # when it is over.
    retries = itertools.count(1)

    async def again() -> T:
        if failures:
            raise failures.pop()
        return await attempt(next(retries))

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_is_retryable),
        stop=_Patience(max_retries).has_ended,
        wait=_wait,
        before_sleep=on_retry,
        reraise=True,
    )
    result: T = await retrying(again)
    return result


class _Patience:
    """How often one call is retried.

    Args:
        max_retries: Retries of any failure.
    """

    def __init__(self, max_retries: int) -> None:
        self._max_retries = max_retries
        self._wordless = 0

    def has_ended(self, state: tenacity.RetryCallState) -> bool:
        """Say so, after each failure."""
        error = state.outcome.exception() if state.outcome else None
        # A 500 without a word: the reference server's upstream may still be running, and
        # billing, so not more than once in all.
        self._wordless += type(error) is AI365VIPAPIError and error.status_code == 500
        return state.attempt_number > self._max_retries or self._wordless > 1


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the seconds to wait: full jitter, or what the server asked for, within a bound."""
    error = state.outcome.exception() if state.outcome else None
    asked = getattr(error, "retry_after", None)
    return _backoff(state) if asked is None else min(asked, _MAX_WAIT)


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, AI365VIPError) and bool(getattr(error, "is_retryable", False))
