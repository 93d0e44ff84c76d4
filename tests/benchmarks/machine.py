"""What the operating system says and allows: cores, CPU time, memory, open files."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

CLIENT_CORE = 0
SERVER_CORE = 1
# Set by `--realtime`: the processes then go before everything else on their cores.
REALTIME = "BENCHMARK_REALTIME"
PACKAGES = (
    "aiohttp",
    "langchain-core",
    "langchain-openai",
    "langchain-mistralai",
    "langchain-ollama",
    "openai",
    "httpx",
)


def pin(core: int) -> bool:
    """Keep this process on one core. Returns False where the OS cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return False
    os.sched_setaffinity(0, {allowed[core % len(allowed)]})
    return True


def prefer() -> None:
    """Go before other processes where this user may; a busy machine merges reads."""
    with contextlib.suppress(AttributeError, OSError):
        if os.environ.get(REALTIME):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        else:
            os.setpriority(os.PRIO_PROCESS, 0, -15)


def raise_file_limit() -> None:
    """Allow as many sockets as the OS lets this user have."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        resource = importlib.import_module("resource")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def commit() -> str | None:
    """Return the commit that is measured, `-dirty` with changes; `None` outside a clone."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        told = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()


def versions() -> dict[str, str]:
    """What was measured, for the report."""
    found = {"python": platform.python_version(), "system": f"{sys.platform} {platform.machine()}"}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
