"""In whose code a process spends its CPU: a sampling profile, by package."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections import Counter
from pathlib import Path
from time import process_time
from types import FrameType
from typing import Any, Final

from typing_extensions import Self

_OWNERS: Final = {
    f"{Path(asyncio.__file__).parent}/": "asyncio",
    "/selectors.py": "asyncio",
    f"{Path(__file__).resolve().parent}/": "reader",
    "/aiohttp/": "aiohttp",
    "/langchain_core/": "core",
    "/langchain_ai365vip/": "ours",
}


class Profile:
    """Samples the main thread by CPU time, and times the garbage collector by its callbacks.

    What a C function does counts for its caller.

    Attributes:
        cpu: CPU seconds, of all.
        collecting: Those of the garbage collector.
        longest: Those of its longest run.
    """

    def __init__(self) -> None:
        self.collecting = self.longest = 0.0
        self._samples: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGPROF, self._note)
        gc.callbacks.append(self._gc)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
        self.cpu = -process_time()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cpu += process_time()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)
        gc.callbacks.remove(self._gc)

    def seconds(self) -> dict[str, float]:
        """Return the CPU seconds of each owner, the garbage collector's apart (`gc`)."""
        each = (self.cpu - self.collecting) / max(1, self._samples.total())
        found = {owner: each * count for owner, count in self._samples.items()}
        return {**found, "gc": self.collecting}

    def _note(self, _signal: int, frame: FrameType | None) -> None:
        self._samples[_owner(frame)] += 1

    def _gc(self, phase: str, _info: dict[str, Any]) -> None:
        if phase == "start":
            self._started = process_time()
            return
        took = process_time() - self._started
        self.collecting += took
        self.longest = max(self.longest, took)


def _owner(frame: FrameType | None) -> str:
    """Return who is responsible for a frame: the first known package from the inside out."""
    while frame is not None:
        for part, owner in _OWNERS.items():
            if part in frame.f_code.co_filename:
                return owner
        frame = frame.f_back
    return "other"
