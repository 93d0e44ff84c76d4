"""What a process still holds: open sockets and unfinished tasks."""

from __future__ import annotations

import asyncio
import os


def open_sockets() -> int:
    """Count this process's socket descriptors (Linux)."""
    return sum(map(_is_socket, os.listdir("/proc/self/fd")))


def _is_socket(fd: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    except FileNotFoundError:  # listdir's own
        return False


async def settle(turns: int = 100) -> set[asyncio.Task[object]]:
    """Give the loop turns to clear up in; return the tasks that are still there."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
