"""A raw-socket HTTP server that does to a connection exactly what a script says.

A script is a function of an `Exchange`: one request, read, and the socket it came on. It
sends bytes, closes, resets or stalls. What is sent goes through a `Wire`, so that one
script plays the same fault to clients of different protocols.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tests.faults.wires import CHAT_UI, Wire

Script = Callable[["Exchange"], None]
_S = TypeVar("_S", bound=Script)

# Joins and accepts end by events; the bound only keeps a broken test from hanging.
PATIENCE = 60.0


class Exchange:
    """One request and the connection on which it is answered, badly or well."""

    def __init__(self, connection: Connection, head: str, body: bytes) -> None:
        self.connection = connection
        self.server = connection.server
        self.request_head = head
        self.request_body = body
        self.wire: Wire = connection.server.wire.for_request(body)
        self.keep_alive = True

    def json(self) -> Any:
        """Return the request's body, parsed."""
        return json.loads(self.request_body)

    def send(self, data: bytes | str) -> None:
        """Send bytes as they are, or text as Latin-1, the encoding of HTTP heads."""
        raw = data.encode("latin-1") if isinstance(data, str) else data
        # The client may have left: that is its right, and tests look at it elsewhere.
        with contextlib.suppress(OSError):
            self.connection.socket.sendall(raw)

    def head(self, status: str = "200 OK", *headers: str) -> None:
        """Send a status line and headers, those given and the wire's own for a reply."""
        own = self.wire.headers if status.startswith("200") else ()
        lines = (f"HTTP/1.1 {status}", "Transfer-Encoding: chunked", *own, *headers)
        self.send("\r\n".join(lines) + "\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        """Send one whole HTTP chunk."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def text(self, text: str) -> None:
        """Send a piece of the answer as one HTTP chunk."""
        self.chunk(self.wire.piece(text))

    def end(self, then: bytes = b"") -> None:
        """End the answer as a healthy server does, and send more in the same packet."""
        last = self.wire.last()
        if last:
            self.chunk(last)
        self.send(b"0\r\n\r\n" + then)

    def reply(self, status: str, body: bytes | str, *headers: str) -> None:
        """Send a whole answer with a Content-Length."""
        raw = body.encode() if isinstance(body, str) else body
        lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(raw)}", *headers)
        self.send("\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + raw)

    def close(self) -> None:
        """Close the connection in order (FIN), whatever was announced."""
        self.keep_alive = False
        self.connection.close()

    def reset(self) -> None:
        """Close the connection so that the client gets a reset (RST)."""
        self.keep_alive = False
        self.connection.reset()

    def stall(self) -> None:
        """Say nothing until the client goes away."""
        self.keep_alive = False
        self.server.stalled.set()
        self.connection.wait_for_close()


class Connection(threading.Thread):
    """One accepted socket; runs a script for each request that arrives on it."""

    def __init__(self, server: FaultServer, sock: socket.socket) -> None:
        super().__init__(name=f"connection of {server.url}")
        self.server = server
        self.socket = sock
        # Each send is a packet of its own, and none waits 40 ms for an acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.closed_by_client = threading.Event()

    def run(self) -> None:
        """Serve until either side closes."""
        with contextlib.closing(self), contextlib.suppress(OSError):
            if self.server.tls is not None:
                self.socket = self.server.tls.wrap_socket(self.socket, server_side=True)
            if getattr(self.server.scripts[0], "on_accept", False):
                self.server.next_script()(Exchange(self, "", b""))
            else:
                self._serve()

    def _serve(self) -> None:
        while (exchange := self._read_request()) is not None:
            self.server.exchanges.append(exchange)
            self.server.next_script()(exchange)
            if not exchange.keep_alive:
                return
        self.closed_by_client.set()

    def _read_request(self) -> Exchange | None:
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            if not (more := self._receive()):
                return None
            data += more
        head, body = data[:end].decode("latin-1"), data[end + 4 :]
        while len(body) < _content_length(head):
            if not (more := self._receive()):
                return None
            body += more
        return Exchange(self, head, bytes(body))

    def _receive(self) -> bytes:
        try:
            return self.socket.recv(65536)
        except OSError:  # a reset is an end, too
            return b""

    def wait_for_close(self) -> None:
        """Block until the client closes its end."""
        while self._receive():
            pass
        self.closed_by_client.set()

    def reset(self) -> None:
        """Close without lingering: the peer gets a reset."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close in order."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class FaultServer(threading.Thread):
    """Listens on a free loopback port and plays its scripts, one a request, the last for ever.

    Args:
        scripts: What happens to the first, second, ... request.
        wire: The protocol that the client expects.
        tls: A server-side context, for an `https` endpoint.
        host: The loopback address, "127.0.0.1" or "::1".
    """

    def __init__(
        self,
        *scripts: Script,
        wire: Wire = CHAT_UI,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(name="fault server")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.tls = tls
        self.url = f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{self.port}"
        self.wire = wire
        self.scripts = list(scripts)
        self.connections: list[Connection] = []
        self.exchanges: list[Exchange] = []
        # Where a redirect may point; a test that gives one sees whether it was followed.
        self.elsewhere: FaultServer | None = None
        # For tests that act at a certain point of a script, and scripts that wait for it.
        self.stalled = threading.Event()
        self.released = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> FaultServer:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def requests(self) -> int:
        """How many requests arrived whole."""
        return len(self.exchanges)

    def next_script(self) -> Script:
        """Take the next request's script."""
        with self._lock:
            return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

    def run(self) -> None:
        """Accept until stopped."""
        with contextlib.suppress(OSError):
            for sock in self._accepted():
                connection = Connection(self, sock)
                self.connections.append(connection)
                connection.start()

    def _accepted(self) -> Iterator[socket.socket]:
        while True:
            yield self._listener.accept()[0]

    def stop(self) -> None:
        """Close everything and wait for the threads."""
        # shutdown() wakes accept() on Linux; close() alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.released.set()
        self.join(PATIENCE)
        for connection in self.connections:
            connection.close()
        for connection in self.connections:
            connection.join(PATIENCE)


def on_accept(script: _S) -> _S:
    """Mark a script that acts as soon as the connection is there, before any request."""
    script.on_accept = True  # type: ignore[attr-defined]  # a mark on a function
    return script


def _content_length(head: str) -> int:
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0
