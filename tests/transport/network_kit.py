"""Real proxies and certificates on loopback, and a name that only the proxies can resolve."""

from __future__ import annotations

import asyncio
import functools
import ssl
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import trustme

from tests.names import looked_up_as, not_found

with warnings.catch_warnings():
    # Its regular expressions are no raw strings, which compiling them complains of.
    warnings.filterwarnings("ignore", "invalid escape sequence")
    import pproxy.server  # type: ignore[import-untyped]  # has no stubs

# No loopback name, so that environment proxies apply; it resolves in a proxy's thread alone,
# so that an answer proves that the proxy was used, and that names do not leak to the resolver.
NAME = "models.test"
_EXECUTOR = "proxy-resolver"


class Proxy:
    """A pproxy server on a thread of its own.

    Args:
        protocols: What it speaks: "http", "socks4", "socks5", joined by "+".
        user: "name:password" that it wants, if any.
        tls: A server-side context, for an HTTPS proxy.
        host: Where it listens.
    """

    def __init__(
        self,
        protocols: str = "http",
        *,
        user: str = "",
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        bind = f"[{host}]:0" if ":" in host else f"{host}:0"
        self._server = pproxy.Server(f"{protocols}://{bind}#{user}")
        self._host, self._tls = host, tls
        self.port = 0
        # One line per connection that it made for somebody, and per one that it refused.
        self.log: list[str] = []
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy")

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def url(self, scheme: str = "http", user: str = "") -> str:
        """Return its address under a scheme, with credentials."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{user + '@' if user else ''}{host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections it made for clients."""
        return sum(" -> " in line for line in self.log)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_task_factory(self._keep)
        self._loop.set_default_executor(ThreadPoolExecutor(2, thread_name_prefix=_EXECUTOR))
        self._stop = asyncio.Event()
        # Without authtime one good login would admit this address for 30 days.
        settings = {"rserver": [], "verbose": self.log.append, "authtime": -1}
        relay = functools.partial(pproxy.server.stream_handler, **vars(self._server), **settings)
        writers: list[asyncio.StreamWriter] = []

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            await relay(reader, writer)

        server = await asyncio.start_server(handler, self._host, 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        while tasks := {task for task in self._tasks if task is not asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for writer in writers:  # pproxy does not close them all
            writer.transport.abort()
        for _ in range(3):  # an aborted transport closes its socket a turn later
            await asyncio.sleep(0)

    def _keep(self, loop: Any, coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
        # pproxy does not keep the tasks that relay, so that a garbage collection ends them.
        task = asyncio.Task(coroutine, loop=loop, **kwargs)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def proxies_resolve_the_name() -> AbstractContextManager[None]:
    """Let `NAME` be this machine, but only for the proxies."""

    def meant(name: str | None) -> str | None:
        if name != NAME:
            return name
        if not threading.current_thread().name.startswith(_EXECUTOR):
            not_found()
        return "127.0.0.1"

    return looked_up_as(meant)


class Authority:
    """A certificate authority that nobody trusts but who is told to.

    Attributes:
        bundle: The path of its PEM file, as `ca_bundle` takes it.
    """

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self.bundle = str(directory / "authority.pem")
        self._ca.cert_pem.write_to_path(self.bundle)

    def server(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """Return a server's context with a certificate for these names."""
        until = datetime.now(timezone.utc) - timedelta(days=1) if expired else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names, not_after=until).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        """Return a client's context that trusts it."""
        return ssl.create_default_context(cafile=self.bundle)

    def trust(self, context: ssl.SSLContext) -> None:
        """Let a server's context want clients' certificates of this authority."""
        self._ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
