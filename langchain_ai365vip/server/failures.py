"""What a model raised, as the status and the safe words that a client gets. No HTTP here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

from langchain_ai365vip.errors import AI365VIPContentFilterError
from langchain_ai365vip.server.models import UnsupportedOutputError


class Failure(NamedTuple):
    """How a model's exception is told to a client: nothing here comes from its message."""

    status: int
    reason: str
    retry_after: int | None


_FAILURES: Final[list[tuple[type[BaseException], int, str]]] = [
    (ModelAuthenticationError, 401, "Incorrect API key provided to the model"),
    (ModelPermissionDeniedError, 403, "The model's provider denied permission"),
    (ContextOverflowError, 400, "The model's maximum context length is exceeded"),
    (AI365VIPContentFilterError, 400, "The model's content policy refused the request"),
    (ModelInvalidRequestError, 400, "The model refused the request as invalid"),
    (ModelNotFoundError, 404, "The model does not exist at its provider"),
    (ModelRateLimitError, 429, "Rate limit reached for the model"),
    (ModelTimeoutError, 504, "The model did not answer in time"),
    (ModelConnectionError, 502, "The model could not be reached"),
    (ModelAPIError, 502, "The model's provider failed"),
    (TimeoutError, 504, "The model did not answer in time"),
    (ConnectionError, 502, "The model could not be reached"),
    (UnsupportedOutputError, 500, "The model's output is not text"),
]


def failure_of(error: BaseException) -> Failure:
    """Map what a model raised to a status, a safe reason and the seconds to wait.

    LangChain's classes come first; an exception of another library is judged by its
    `status_code`, or its response's, as the providers' own clients have it.
    """
    known = (found[1:] for found in _FAILURES if isinstance(error, found[0]))
    status, reason = next(known, None) or _foreign(error)
    status_code = _status_code(error)
    if status == 502 and status_code is not None and status_code >= 500:
        status = status_code
    if status == 429 and not getattr(error, "is_retryable", True):
        reason = "The current quota of the model is used up"
    return Failure(status, reason, _retry_after(error))


def _foreign(error: BaseException) -> tuple[int, str]:
    # Before Python 3.11 asyncio's TimeoutError is a class of its own.
    if type(error).__name__ in ("TimeoutError", "APITimeoutError", "ReadTimeout"):
        return 504, "The model did not answer in time"
    status = _status_code(error)
    if status is None:
        return 500, "The model failed: the server's log says why"
    return next(
        ((code, reason) for _, code, reason in _FAILURES if code == status and code != 400),
        (status, f"The model's provider answered {HTTPStatus(status).phrase}"),
    )


def _status_code(error: BaseException) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int) and 400 <= status <= 599 and status in _STATUSES:
            return int(status)
    return None


_STATUSES = frozenset(status.value for status in HTTPStatus)


def _retry_after(error: BaseException) -> int | None:
    for value in _retry_hints(error):
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            continue  # an HTTP date, or nothing
        if math.isfinite(seconds) and seconds >= 0:
            return math.ceil(seconds)
    return None


def _retry_hints(error: BaseException) -> Iterator[Any]:
    yield getattr(error, "retry_after", None)
    for holder in (error, getattr(error, "response", None)):
        headers = getattr(holder, "headers", None)
        if headers is not None and hasattr(headers, "get"):
            yield headers.get("retry-after")
