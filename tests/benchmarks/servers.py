"""The token server: one program, the same tokens in each adapter's own wire format.

It speaks HTTP/1.1 over `asyncio.Protocol` because a web framework would cost more per
token than most clients do. One HTTP chunk and one `send` per token, as the real
services do. Run as `python -m tests.benchmarks.servers [--certificate DIR]`; it prints
its ports as one JSON line and ends when its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import re
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.load import Load, find_load, pieces
from tests.benchmarks.machine import SERVER_CORE, pin, prefer, raise_file_limit

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# Seconds after which an idle connection is closed, as the reference server does.
_IDLE = 6.0
_GOLDEN_RATIO = (5**0.5 - 1) / 2
_END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Format:
    """How one service writes a reply.

    Attributes:
        content_type: Header of the response; empty for none.
        opening: What precedes the text, if anything.
        piece: Turns one text into its record.
        closing: What follows the text.
    """

    content_type: str
    opening: str
    piece: Callable[[str], str]
    closing: str


def _openai(delta: dict[str, str], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    record = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "bench",
        "choices": [choice],
    }
    return f"data: {json.dumps(record)}\n\n"


def _ollama(text: str, **more: object) -> str:
    record = {
        "model": "bench",
        "created_at": "2026-01-01T00:00:00.000000Z",
        "message": {"role": "assistant", "content": text},
        "done": False,
        **more,
    }
    return json.dumps(record) + "\n"


FORMATS = {
    "text": Format("", "", lambda text: text, ""),
    "openai": Format(
        "text/event-stream",
        _openai({"role": "assistant", "content": ""}),
        lambda text: _openai({"content": text}),
        _openai({}, "stop") + "data: [DONE]\n\n",
    ),
    "ollama": Format(
        "application/x-ndjson",
        "",
        _ollama,
        _ollama("", done=True, done_reason="stop", eval_count=1, prompt_eval_count=1),
    ),
}


def _chunk(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


@functools.cache
def _records(name: str, width: int) -> tuple[bytes, ...]:
    return tuple(_chunk(FORMATS[name].piece(text)) for text in pieces(width))


@functools.cache
def _head(name: str) -> bytes:
    form = FORMATS[name]
    kind = f"Content-Type: {form.content_type}\r\n" if form.content_type else ""
    head = f"HTTP/1.1 200 OK\r\n{kind}Transfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n\r\n"
    return head.encode() + _chunk(form.opening)


class Tally:
    """What all connections of the process have in common."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.held: list[TokenProtocol] = []

    def release(self) -> None:
        """Let the held replies begin."""
        held, self.held = self.held, []
        for protocol in held:
            protocol.begin()

    def answer(self, path: bytes) -> bytes:
        """Serve the control paths: `/stats` counts, `/release` lets held replies go."""
        if path == b"/release":
            self.release()
        stats = {
            "connections": self.connections,
            "requests": self.requests,
            "held": len(self.held),
        }
        body = json.dumps(stats).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class TokenProtocol(asyncio.Protocol):
    """One connection: requests one after the other, each answered by a stream of tokens."""

    _transport: asyncio.Transport

    def __init__(self, form: str, tally: Tally) -> None:
        self._form = form
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._input = b""
        self._load = Load()
        self._sent = 0
        self._second = 0.0
        self._writable = True
        self._stalled = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start an idle connection. Only requests for tokens make it count."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._counted = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop sending."""
        if self._timer is not None:
            self._timer.cancel()
        if self in self._tally.held:
            self._tally.held.remove(self)

    def data_received(self, data: bytes) -> None:
        """Collect a request; bodies are small, so joining is cheap."""
        self._input += data
        head, found, body = self._input.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if len(body) >= size:
            self._input = body[size:]
            self._request(head.split(b" ", 2)[1], body[:size])

    def _request(self, path: bytes, body: bytes) -> None:
        load = find_load(body)
        if load is None:
            self._transport.write(self._tally.answer(path))
            return
        if self._timer is not None:
            self._timer.cancel()
        self._tally.requests += 1
        self._tally.connections += not self._counted
        self._counted = True
        self._load = load
        if load.hold:
            self._tally.held.append(self)
        else:
            self.begin()

    def begin(self) -> None:
        """Send the head and the first token, and plan the rest."""
        self._transport.write(_head(self._form))
        self._sent = 0
        # Replies of independent users do not tick together, however they were started.
        phase = self._tally.requests * _GOLDEN_RATIO % 1
        self._second = self._loop.time() + phase * self._load.every
        self._records = _records(self._form, self._load.width)
        self._advance()

    def _advance(self) -> None:
        """Send one token and plan the next; a burst, too, sends one per turn of the loop."""
        self._timer = None
        if not self._writable:
            self._stalled = True
            return
        self._transport.write(self._records[self._sent % len(self._records)])
        self._sent += 1
        if self._sent == self._load.tokens:
            self._transport.write(_chunk(FORMATS[self._form].closing) + _END)
            self._timer = self._loop.call_later(_IDLE, self._transport.close)
        elif self._load.every:
            due = self._second + (self._sent - 1) * self._load.every
            self._timer = self._loop.call_at(due, self._advance)
        else:
            self._loop.call_soon(self._advance)

    def pause_writing(self) -> None:
        """Wait for a slow reader."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on when the reader has caught up."""
        self._writable = True
        if self._stalled:
            self._stalled = False
            self._advance()


async def _serve(certificate: Path | None) -> None:
    loop = asyncio.get_running_loop()
    tally = Tally()
    listeners: dict[str, tuple[str, ssl.SSLContext | None]] = {
        name: (name, None) for name in FORMATS
    }
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        listeners["text-tls"] = ("text", context)
    ports: dict[str, int] = {}
    for name, (form, secure) in listeners.items():
        factory = functools.partial(TokenProtocol, form, tally)
        server = await loop.create_server(factory, "127.0.0.1", 0, backlog=4096, ssl=secure)
        ports[name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificate", type=Path, help="PEM with key and chain")
    parser.add_argument("--core", type=int, default=SERVER_CORE, help="core to stay on")
    arguments = parser.parse_args()
    pin(arguments.core)
    prefer()
    raise_file_limit()
    asyncio.run(_serve(arguments.certificate))


if __name__ == "__main__":
    main()
