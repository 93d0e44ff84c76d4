"""A reply as it is read from the wire: bytes to text, stalls, cuts, what is not a reply."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable

import aiohttp
from aiohttp.http_exceptions import TransferEncodingError

from langchain_ai365vip._transport.failures import (
    Answer,
    answer_error,
    place,
    plain_headers,
    transport_error,
)
from langchain_ai365vip._transport.pages import (
    begins_like_no_reply,
    is_json_error,
    looks_like_page,
)
from langchain_ai365vip._transport.pool import PooledSession
from langchain_ai365vip._transport.secrets import Redactor
from langchain_ai365vip._transport.timeouts import ReadTimer, Timeout
from langchain_ai365vip.errors import AI365VIPAPIError, AI365VIPError, AI365VIPResponseError

_READING = "reading the reply"
_MAX_ERROR_PAGE = 64 * 1024


class Reply:
    """The text of one reply, read as it arrives.

    `read()` returns the next text, never empty, and `""` at the clean end of the reply.
    `close()` may be called at any time and closes the connection unless the reply is
    complete, in which case it has gone back to the pool already.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        pooled: PooledSession,
        timeout: Timeout,
        first_at: float | None,
        total_at: float | None,
        redact: Redactor,
    ) -> None:
        self._response = response
        self._content = response.content
        self._pooled = pooled
        self._redact = redact
        self._url = response.url
        # A byte order mark is an encoding's mark, not text.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._pieces: list[str] = []
        self._pushed_back: list[str] = []
        # What came before a failure is handed out first; the next read raises it.
        self._failure: AI365VIPError | None = None
        self._ended = False
        self._closed = False
        self._closing: Callable[[Reply], None] | None = None
        self._now = asyncio.get_running_loop().time
        self._timer = ReadTimer(
            *(asyncio.get_running_loop(), timeout, first_at, total_at),
            *(self._stalled, self._look_for_a_broken_body),
        )
        pooled.admit(self)

    async def start(self) -> None:
        """Wait for the first text and make sure that it is a reply at all.

        Raises:
            AI365VIPError: It is not, or it does not come.
        """
        text = await self.read()
        if not text:
            raise self._failed(
                AI365VIPAPIError(
                    f"{self._place()} answered 200 with an empty reply. The upstream may have "
                    "failed without a word; trying again may help.",
                    status_code=200,
                    headers=plain_headers(self._response.headers, self._redact),
                )
            )
        self._timer.text_came()
        content_type = self._response.headers.get("Content-Type")
        error: AI365VIPError | None = None
        if begins_like_no_reply(content_type, text):
            while len(text) < _MAX_ERROR_PAGE and (more := await self.read()):
                text += more
            error = self._no_reply(content_type, text)
        self._pushed_back.append(text)
        if error is not None:
            raise self._failed(error)

    async def read(self) -> str:
        """Return the next text as soon as there is any; `""` at the end.

        Raises:
            AI365VIPError: The connection was lost or stalled, or the bytes are not UTF-8;
                with `partial_text`, all of which was returned before.
        """
        if self._pushed_back:
            return self._pushed_back.pop()
        while self._failure is None and not self._ended:
            self._timer.since = self._now()
            try:
                data = await self._content.readany()
            except Exception as exc:
                text = self._decode(self._rest())
                self._note(exc)
            else:
                self._timer.since = None
                text = self._decode(data) if data else self._end()
            if text:
                return text
        if self._failure is None:
            return ""
        self._failure.partial_text = self.partial_text
        raise self._failed(self._failure)

    def close(self) -> None:
        """End the reply, whatever its state; the server sees the connection closed."""
        if not self._closed:
            self._closed = True
            self._timer.stop()
            self._response.close()
            self._pooled.release(self)
            if self._closing is not None:
                self._closing(self)

    def when_closed(self, tell: Callable[[Reply], None]) -> None:
        """Call a function once the reply is closed, now if it is already."""
        if self._closed:
            tell(self)
        else:
            self._closing = tell

    @property
    def ending(self) -> str:
        """Why a closed reply ended: whole, failed, or left by its reader."""
        if self._failure is not None:
            return type(self._failure).__name__
        return "whole" if self._ended else "left by its reader"

    @property
    def partial_text(self) -> str:
        """The text read so far."""
        return "".join(self._pieces)

    def _rest(self) -> bytes:
        """Return what had arrived before the exception that keeps it from being read."""
        self._content.set_exception(None)  # type: ignore[arg-type]  # that is its initial value
        return self._content.read_nowait()

    def _end(self) -> str:
        self._ended = True
        if self._decoder.getstate()[0]:
            self._failure = self._not_utf8("it ends inside a character")
        self.close()
        return ""

    def _decode(self, data: bytes) -> str:
        try:
            text = self._decoder.decode(data)
        except UnicodeDecodeError as exc:
            self._failure = self._not_utf8(exc.reason)
            text = exc.object[: exc.start].decode()
        if text:
            self._pieces.append(text)
        return text

    def _place(self) -> str:
        return place(self._url, self._redact)

    def _not_utf8(self, reason: str) -> AI365VIPError:
        return self._unreadable(f"the reply is not UTF-8 text ({reason})")

    def _unreadable(self, why: str) -> AI365VIPError:
        return AI365VIPResponseError(
            f"{self._place()}: {why}. The endpoint, or a proxy on the way, sends broken bytes: "
            "check what runs there.",
            status_code=200,
        )

    def _no_reply(self, content_type: str | None, text: str) -> AI365VIPError | None:
        if not looks_like_page(content_type, text) and not is_json_error(content_type, text):
            return None
        response = self._response
        answer = Answer(response.status, response.reason or "", response.headers, text)
        return answer_error(answer, self._url, self._redact)

    def _stalled(self, why: str) -> None:
        self._content.set_exception(aiohttp.SocketTimeoutError(why))

    def _look_for_a_broken_body(self) -> None:
        # Measured: on a chunk size that is no number aiohttp closes the connection and
        # leaves the reader waiting.
        connection, content = self._response.connection, self._content
        if connection is None or connection.transport is not None or content.is_eof():
            return
        if content.exception() is None:
            content.set_exception(TransferEncodingError("the chunks of the body are broken"))

    def _note(self, exc: Exception) -> None:
        """Keep a transport's exception as ours, unless something failed before."""
        if self._failure is None:
            self._failure = transport_error(
                exc, self._url, step=_READING, partial_text=self.partial_text, redact=self._redact
            )
        if self._failure is None:
            self.close()
            raise exc

    def _failed(self, error: AI365VIPError) -> AI365VIPError:
        # For a `raise` outside any `except`, so that the transport's exception, which may
        # hold the request's headers, is not chained to it.
        self.close()
        return error
