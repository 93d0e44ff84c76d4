"""Host names that are looked up as a test has it, without a name server."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


@contextmanager
def looked_up_as(meant: Callable[[str | None], str | None]) -> Iterator[None]:
    """Look each name up as the one that `meant` returns for it, in every thread."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real(meant(name), *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = real


def not_found() -> NoReturn:
    """Fail as a name server does that knows no such name."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
