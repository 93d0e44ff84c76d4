"""The token server: one program, the same tokens in each adapter's own wire format.

It speaks HTTP/1.1 over `asyncio.Protocol` because a web framework would cost more per token
than most clients do. One HTTP chunk and one `send` per token, as the real services do.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from tests.benchmarks.load import TOKENS, Load, find_load

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# Seconds after which an idle connection is closed, as the reference server does.
_IDLE = 6.0
_GOLDEN_RATIO = (5**0.5 - 1) / 2


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
def _written(name: str) -> tuple[bytes, tuple[bytes, ...], bytes]:
    """Return a reply's head, its records and its end, as they go over the wire."""
    form = FORMATS[name]
    kind = f"Content-Type: {form.content_type}\r\n" if form.content_type else ""
    head = f"HTTP/1.1 200 OK\r\n{kind}Transfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n\r\n"
    return (
        head.encode() + _chunk(form.opening),
        tuple(_chunk(form.piece(text)) for text in TOKENS),
        _chunk(form.closing) + b"0\r\n\r\n",
    )


class TokenProtocol(asyncio.Protocol):
    """One connection: requests one after the other, each answered by a stream of tokens.

    A token goes out when it is due even if the client has not read the one before: a client
    that is too slow finds several at once.
    """

    _transport: asyncio.Transport

    def __init__(self, form: str, numbers: Iterator[int]) -> None:
        self._head, self._records, self._end = _written(form)
        self._numbers = numbers
        self._loop = asyncio.get_running_loop()
        self._input = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start an idle connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop sending."""
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Collect a request; bodies are small, so joining is cheap."""
        self._input += data
        head, found, body = self._input.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or len(body) < int(length[1] if length else 0):
            return
        self._input = b""
        if self._timer is not None:
            self._timer.cancel()
        self._load = find_load(body) or Load()
        self._transport.write(self._head)
        # Replies of independent users do not tick together, however they were started.
        phase = next(self._numbers) * _GOLDEN_RATIO % 1
        self._second = self._loop.time() + phase * self._load.every
        self._sent = 0
        self._advance()

    def _advance(self) -> None:
        """Send one token and plan the next."""
        self._transport.write(self._records[self._sent % len(self._records)])
        self._sent += 1
        if self._sent == self._load.tokens:
            self._transport.write(self._end)
            self._timer = self._loop.call_later(_IDLE, self._transport.close)
        else:
            due = self._second + (self._sent - 1) * self._load.every
            self._timer = self._loop.call_at(due, self._advance)


async def _serve(parent: Connection) -> None:
    loop = asyncio.get_running_loop()
    urls = {}
    for form in FORMATS:
        factory = functools.partial(TokenProtocol, form, itertools.count())
        server = await loop.create_server(factory, "127.0.0.1", 0, backlog=4096)
        urls[form] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    parent.send(urls)
    # What is imported stays: no garbage collection need go through it while tokens are due.
    gc.freeze()
    await asyncio.Event().wait()


def serve(parent: Connection) -> None:
    """Tell where it listens, and serve until the process is killed."""
    asyncio.run(_serve(parent))
