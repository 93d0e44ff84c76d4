"""Warnings that name the line of the caller, and not one of LangChain's or ours."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Python's own `skip_file_prefixes` came with 3.12, and ends where a task begins.
_BETWEEN: Final = frozenset(
    {
        "langchain_ai365vip",
        "langchain_core",
        "langchain",
        "langgraph",
        "langsmith",
        "pydantic",
        "contextlib",
        "functools",
    }
)
# Above these frames is whoever runs the loop or the thread, not who made the call.
_RUNNERS: Final = frozenset({"asyncio", "concurrent", "threading"})


class _Place(NamedTuple):
    file: str
    line: int
    module: dict[str, Any]


_caller: ContextVar[_Place | None] = ContextVar("langchain_ai365vip_caller", default=None)


@contextmanager
def _noted() -> Iterator[None]:
    token = _caller.set(_place(_RUNNERS) or _caller.get())
    try:
        yield
    finally:
        # A coroutine that is dropped may be closed in another context than it ran in.
        with suppress(ValueError):
            _caller.reset(token)


def noting_caller(method: Callable[P, T]) -> Callable[P, T]:
    """Return a method that keeps its caller's place for warnings out of tasks and threads."""

    @functools.wraps(method)
    def noting(*args: P.args, **kwargs: P.kwargs) -> T:
        with _noted():
            return method(*args, **kwargs)

    return noting


def anoting_caller(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the same for an async method."""

    @functools.wraps(method)
    async def noting(*args: P.args, **kwargs: P.kwargs) -> T:
        with _noted():
            return await method(*args, **kwargs)

    return noting


def warn(message: str) -> None:
    """Warn the caller.

    Args:
        message: What happened, and what to do next.
    """
    place = _place(_RUNNERS) or _caller.get() or _place(frozenset()) or _Place("sys", 1, vars(sys))
    warnings.warn_explicit(
        message,
        UserWarning,
        place.file,
        place.line,
        module=place.module.get("__name__"),
        registry=place.module.setdefault("__warningregistry__", {}),
    )


def _place(ends: frozenset[str]) -> _Place | None:
    """Find the nearest line of none of the packages in between."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package in ends:
            return None
        if package not in _BETWEEN and package not in _RUNNERS:
            return _Place(frame.f_code.co_filename, frame.f_lineno, frame.f_globals)
        frame = frame.f_back
    return None
