"""What goes back to a client: an error answer in one line, or a model's text as it comes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from aiohttp import HttpVersion11, web

from langchain_ai365vip.server.models import UnsupportedOutputError, has_tool_calls

TEXT: Final = {"Content-Type": "text/plain;charset=UTF-8"}


def refusal(status: int, line: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Make an error answer: the line in the reason phrase, where browsers' clients read it."""
    response = web.Response(
        status=status,
        reason=reason_phrase(line) or HTTPStatus(status).phrase,
        text=line,
        headers={**TEXT, **(headers or {})},
    )
    if headers and "Connection" in headers:
        response.force_close()
    return response


def reason_phrase(text: str) -> str:
    r"""Make a line that is safe as an HTTP reason phrase: printable characters, bounded.

    They go out in UTF-8, which `ChatAI365VIP`, curl and requests read. Control characters
    come out escaped (`\x1b`).
    """
    return printable(" ".join(text.split()))[:MAX_REASON]


def printable(text: str) -> str:
    r"""Escape what is not printable (`\x1b`, `\u202e`, half a character)."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# Far below the 8,190 bytes at which aiohttp's client refuses a status line.
MAX_REASON: Final = 500


class DeltaEncoder:
    r"""A model's deltas in UTF-8, one chunk each, never cut inside a character.

    A delta may end in the first half of a surrogate pair (a provider that cuts JSON
    strings like `"\ud83d"`); it is held until the other half comes. A half that stays
    alone has no UTF-8 form and becomes U+FFFD.
    """

    def __init__(self) -> None:
        self._held = ""

    def encode(self, text: str) -> bytes:
        """Return the bytes to send for this delta; may be empty."""
        if not self._held:
            try:
                return text.encode()
            except UnicodeEncodeError:
                pass  # rare, and the slow way below mends it
        text = self._held + text
        self._held = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return _join_surrogates(text[:-1] if self._held else text)

    def flush(self) -> bytes:
        """Return what is left once the last delta has come."""
        held, self._held = self._held, ""
        return _join_surrogates(held)


def _join_surrogates(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


class Reply:
    """One streamed 200: opened by the first text, ended cleanly or cut."""

    def __init__(
        self, request: web.Request, transport: asyncio.Transport, send_timeout: float
    ) -> None:
        self.response = web.StreamResponse(headers=_REPLY_HEADERS)
        self._request = request
        self._transport = transport
        self._timeout = send_timeout
        self._delivered = -1
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(send_timeout, self._look)
        self._done = False

    @property
    def started(self) -> bool:
        """Whether the head has gone out, so that no status can be told any more."""
        return self.response.prepared

    @property
    def client_is_gone(self) -> bool:
        """Whether nobody reads any more."""
        return self._transport.is_closing()

    async def send_all(self, stream: AsyncIterator[Any], text_of: Callable[[Any], str]) -> None:
        """Send each output's text at once, and the end. Every token passes here: keep it lean."""
        encoder = DeltaEncoder()
        encode, write = encoder.encode, self.response.write
        calls = False
        async for output in stream:
            data = encode(text_of(output))
            if data:
                if not self.started:
                    await self.response.prepare(self._request)
                await write(data)
            else:
                calls = calls or has_tool_calls(output)
        await self._end(encoder.flush(), calls)

    async def _end(self, rest: bytes, calls: bool) -> None:
        if not self.started:
            if calls and not rest:
                raise UnsupportedOutputError(
                    "The model answered with tool calls and no text, and this endpoint can "
                    "send only text: put an agent behind it, which makes the calls itself."
                )
            await self.response.prepare(self._request)
        if rest:
            await self.response.write(rest)
        await self.response.write_eof()

    async def break_off(self, why: str) -> web.StreamResponse:
        """End cleanly, for a page that would wait for ever, with a last line that says so."""
        with suppress(ConnectionError):  # nobody reads it
            await self.response.write(f"\n\n[The reply broke off{why and ': '}{why}]".encode())
            await self.response.write_eof()
        return self.response

    def cut(self) -> web.StreamResponse:
        """Close without the end mark: HTTP's way to say that a reply is not whole."""
        if self._request.version < HttpVersion11:
            # HTTP/1.0 has no end mark but the close itself; a reset tells the difference.
            self._transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self._transport.abort()
        else:
            self._transport.close()
        return self.response

    def finish(self) -> None:
        """Stop watching once what was written has gone out."""
        self._done = True
        if not self._transport.get_write_buffer_size():
            self._timer.cancel()

    def _look(self) -> None:
        """End the connection of a client that takes nothing. Costs nothing per token."""
        pending = self._transport.get_write_buffer_size()
        delivered = self._request.writer.output_size - pending
        if pending and delivered == self._delivered:
            self._transport.abort()
            return
        self._delivered = delivered if pending else -1
        if pending or not self._done:
            self._timer = self._loop.call_later(self._timeout, self._look)


# With a Content-Type, which the reference does not send, and nosniff, a browser never takes
# a model's text for a page. The last asks nginx not to collect the reply.
_REPLY_HEADERS = {"Content-Type": "text/plain;charset=UTF-8", "X-Accel-Buffering": "no"}
