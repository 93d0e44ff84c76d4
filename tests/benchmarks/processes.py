"""The processes of a benchmark run: the token server, and a worker for each client."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
from typing import Any, Final

from typing_extensions import Self

from tests.benchmarks import servers, worker

TIMEOUT: Final = 120.0
_CLIENT_CORE: Final = 0
_SERVER_CORE: Final = 1


class ProcessFailedError(RuntimeError):
    """A benchmark process died, timed out or reported an exception."""


def _settled(core: int, run: Any, *args: Any) -> None:
    """Stay on one core, before other processes and with all sockets that the OS allows."""
    if hasattr(os, "sched_setaffinity"):  # Linux
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[core % len(allowed)]})
    with contextlib.suppress(OSError):  # not everyone's right
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    with contextlib.suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Everything happens on this machine, whatever its user's proxy is.
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    run(*args)


class Child:
    """A process that starts from nothing and is talked to through a pipe."""

    def __init__(self, core: int, run: Any, *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_settled, args=(core, run, theirs, *args), daemon=True
        )
        self.process.start()
        theirs.close()

    def receive(self) -> Any:
        """Wait for what it sends."""
        if not self._pipe.poll(TIMEOUT):
            raise ProcessFailedError(f"no answer in {TIMEOUT:.0f} s")
        try:
            return self._pipe.recv()
        except EOFError:
            raise ProcessFailedError("its process ended") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.join()
        self._pipe.close()


class TokenServer(Child):
    """The token server and where it listens, by format."""

    def __init__(self) -> None:
        super().__init__(_SERVER_CORE, servers.serve)
        self.urls: dict[str, str] = self.receive()


class Worker(Child):
    """One adapter in a process of its own."""

    def __init__(self, adapter: str) -> None:
        super().__init__(_CLIENT_CORE, worker.answer, adapter)

    def call(self, **command: Any) -> dict[str, Any]:
        """Run one measurement in the worker and return its figures."""
        self._pipe.send(command)
        answer: dict[str, Any] = self.receive()
        if "error" in answer:
            raise ProcessFailedError(answer["error"])
        return answer
