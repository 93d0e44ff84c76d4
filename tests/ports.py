"""Ports of which no other process can get hold between the choice and the use."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a port for a server that cannot say which one it took.

    It lies below those that the kernel gives to whoever asks for any port.
    """
    lowest = int(_RANGE.read_text().split()[0])
    start = lowest // 2
    # Where two processes look at once, they begin at different places.
    for n in range(lowest - start):
        port = start + (os.getpid() * 10 + n) % (lowest - start)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


def refused_url() -> str:
    """Return the address of a port on which nobody listens: it is taken, but not for that."""
    return f"http://127.0.0.1:{_taken().getsockname()[1]}"


@functools.cache
def _taken() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    return taken
