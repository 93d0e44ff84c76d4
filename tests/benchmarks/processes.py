"""Starting, asking and ending the processes of a benchmark run."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

_ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 300.0


class ProcessFailedError(RuntimeError):
    """A benchmark process died, timed out or reported an exception."""


class LineProcess:
    """A child process that answers with JSON lines and ends when its input closes."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            text=True,
            bufsize=1,
        )

    def receive(self, timeout: float = TIMEOUT) -> Any:
        """Wait for the next line and return it decoded."""
        output = self.process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], timeout)
        line = output.readline() if ready else ""
        if not line:
            what = f"no answer in {timeout:.0f} s" if not ready else "it ended"
            raise ProcessFailedError(f"{self.process.args!r}: {what}")
        return json.loads(line)

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")

    def close(self) -> None:
        """End the process: by closing its input, and if that does not help, by a signal."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class TokenServer(LineProcess):
    """The token server and where it listens."""

    def __init__(self, core: int, certificate: Path | None = None) -> None:
        secure = ["--certificate", str(certificate)] if certificate else []
        super().__init__(["tests.benchmarks.servers", "--core", str(core), *secure])
        self.ports: dict[str, int] = self.receive(60)

    def url(self, listener: str) -> str:
        """Return the base URL of one of its formats."""
        # The certificate names localhost, and a plain address needs no resolver.
        if listener.endswith("-tls"):
            return f"https://localhost:{self.ports[listener]}"
        return f"http://127.0.0.1:{self.ports[listener]}"

    def stats(self) -> dict[str, int]:
        """Return what the server has counted: connections, requests, held replies."""
        with urllib.request.urlopen(self.url("text") + "/stats", timeout=30) as answer:
            counted: dict[str, int] = json.load(answer)
        return counted


class Worker(LineProcess):
    """One adapter in a process of its own."""

    def __init__(
        self, adapter: str, core: int, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(["tests.benchmarks.worker", adapter, str(core)], environment)

    def call(self, operation: str, timeout: float = TIMEOUT, **fields: Any) -> dict[str, Any]:
        """Run one operation in the worker and return its figures."""
        self.send({"operation": operation, **fields})
        answer = self.receive(timeout)
        if "error" in answer:
            raise ProcessFailedError(answer["error"])
        metrics: dict[str, Any] = answer["metrics"]
        return metrics
