"""In whose code a process spends its CPU: a sampling profile, by package."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from types import FrameType
from typing import Any, Final

from typing_extensions import Self

_EVERY: Final = 0.001
_HERE: Final = str(Path(__file__).resolve().parent)
_ASYNCIO: Final = str(Path(asyncio.__file__).parent)
OWNERS: Final = (
    "asyncio",
    "aiohttp",
    "langchain_core",
    "langchain_ai365vip",
    "peer",
    "reader",
    "gc",
)
_PACKAGES: Final = {
    **{name: name for name in ("aiohttp", "langchain_core", "langchain_ai365vip")},
    **dict.fromkeys(
        ("langchain_mistralai", "httpx", "httpx_sse", "httpcore", "h11", "anyio"), "peer"
    ),
}


class Profile:
    """Samples the main thread by CPU time, and times the garbage collector by its callbacks.

    A sample stands for the CPU time since the one before it, so that a long system call or a
    signal that came late counts in full. What a C function does counts for its caller.
    Iterating yields the owners and their CPU seconds.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._last = 0.0
        self._collecting: float | None = None

    def __enter__(self) -> Self:
        self._last = process_time()
        self._before = signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)
        gc.callbacks.append(self._gc)
        return self

    def __exit__(self, *exc_info: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)
        gc.callbacks.remove(self._gc)

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return ((owner, self._seconds[owner]) for owner in (*OWNERS, "other"))

    def _note(self, _signal: int, frame: FrameType | None) -> None:
        if self._collecting is None:
            now = process_time()
            self._seconds[_owner(frame)] += now - self._last
            self._last = now

    def _gc(self, phase: str, _info: dict[str, Any]) -> None:
        now = process_time()
        if phase == "start":
            self._collecting = now
        elif self._collecting is not None:
            self._seconds["gc"] += now - self._collecting
            # What came before the collection belongs to whoever is met next.
            self._last += now - self._collecting
            self._collecting = None


def _owner(frame: FrameType | None) -> str:
    """Return who is responsible for a frame: the first known package from the inside out."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_ASYNCIO) or name.endswith("/selectors.py"):
            return "asyncio"
        if name.startswith(_HERE):
            return "reader"
        for package, owner in _PACKAGES.items():
            if f"/{package}/" in name:
                return owner
        frame = frame.f_back
    return "other"
