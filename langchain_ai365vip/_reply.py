"""A reply as it is read from the wire: bytes to text, stalls, cuts, what is not a reply."""

from __future__ import annotations

import asyncio
import codecs

import aiohttp

from langchain_ai365vip._failures import (
    Answer,
    Redactor,
    answer_error,
    is_json_error,
    looks_like_page,
    may_be_no_reply,
    plain_headers,
    transport_error,
)
from langchain_ai365vip._pool import PooledSession
from langchain_ai365vip._timeouts import BodyWatchdog, Timeout
from langchain_ai365vip.errors import AI365VIPAPIError, AI365VIPError, AI365VIPResponseError

_READING = "reading the reply"
_MAX_ERROR_PAGE = 64 * 1024


class Reply:
    """The text of one reply, read as it arrives.

    `read()` returns the next text, never empty, and `""` at the clean end of the reply.
    `close()` may be called at any time and closes the connection unless the reply is
    complete, in which case it has gone back to the pool already.
    """

    __slots__ = (
        "_closed",
        "_content",
        "_decoder",
        "_pieces",
        "_pooled",
        "_pushed_back",
        "_redact",
        "_response",
        "_url",
        "_watchdog",
    )

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        pooled: PooledSession,
        timeout: Timeout,
        total_at: float | None,
        redact: Redactor,
    ) -> None:
        self._response = response
        self._content = response.content
        self._pooled = pooled
        self._redact = redact
        self._url = response.url
        self._decoder: codecs.IncrementalDecoder | None = None
        self._pieces: list[str] = []
        self._pushed_back: list[str] = []
        self._closed = False
        loop = asyncio.get_running_loop()
        self._watchdog = BodyWatchdog(loop, timeout.first_byte, total_at, self._stalled)
        pooled.replies.add(self)

    async def start(self, timeout: Timeout) -> None:
        """Wait for the first text and make sure that it is a reply at all.

        Raises:
            AI365VIPError: It is not, or it does not come.
        """
        text = await self.read()
        if not text:
            raise self._failed(
                AI365VIPAPIError(
                    f"{self._url} answered 200 with an empty reply. The upstream may have failed "
                    "without a word; trying again may help.",
                    status_code=200,
                    headers=plain_headers(self._response.headers, self._redact),
                )
            )
        self._watchdog.limit_to(timeout.between_bytes)
        content_type = self._response.headers.get("Content-Type")
        if content_type is not None:
            text = await self._refuse_what_is_no_reply(content_type, text)
        # A byte order mark is an encoding's mark, not text.
        self._push_back(text.removeprefix("\ufeff") or await self.read())

    async def read(self) -> str:
        """Return the next text as soon as there is any; `""` at the end.

        Raises:
            AI365VIPError: The connection was lost or stalled, or the bytes are not UTF-8;
                with `partial_text`.
        """
        if self._pushed_back:
            return self._pushed_back.pop()
        while True:
            self._watchdog.since = self._watchdog.now()
            try:
                data = await self._content.readany()
            except Exception as exc:
                error = self._translate(exc)
            else:
                self._watchdog.since = None
                if not data:
                    return self._end()
                text = self._decode(data)
                if text:
                    self._pieces.append(text)
                    return text
                continue
            raise self._failed(error)

    def close(self) -> None:
        """End the reply, whatever its state; the server sees the connection closed."""
        if not self._closed:
            self._closed = True
            self._watchdog.stop()
            self._response.close()
            self._pooled.release(self)

    @property
    def partial_text(self) -> str:
        """The text read so far."""
        return "".join(self._pieces)

    def _push_back(self, text: str) -> None:
        if text:
            self._pushed_back.append(text)

    def _end(self) -> str:
        if self._decoder is not None:
            try:
                self._decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                raise self._failed(self._not_utf8("it ends inside a character")) from None
        self.close()
        return ""

    def _decode(self, data: bytes) -> str:
        # Nearly every read is whole characters; the incremental decoder, which keeps the
        # beginning of a cut one, comes in only when it is needed, and then stays.
        if self._decoder is None:
            try:
                return data.decode()
            except UnicodeDecodeError:
                self._decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            return self._decoder.decode(data)
        except UnicodeDecodeError as exc:
            whole = exc.object[: exc.start].decode()
            reason = exc.reason
        self._pieces.append(whole)
        raise self._failed(self._not_utf8(reason))

    def _not_utf8(self, reason: str) -> AI365VIPError:
        return AI365VIPResponseError(
            f"{self._url}: the reply is not UTF-8 text ({reason}) after {len(self.partial_text)} "
            "characters. The endpoint, or something between it and here, changed its bytes.",
            status_code=200,
            partial_text=self.partial_text,
        )

    async def _refuse_what_is_no_reply(self, content_type: str, text: str) -> str:
        """Read on while an answer of a telling type may be a page or an error; return it."""
        while (
            may_be_no_reply(content_type, text)
            and len(text) < _MAX_ERROR_PAGE
            and (more := await self.read())
        ):
            text += more
        if looks_like_page(content_type, text) or is_json_error(content_type, text):
            raise self._failed(self._not_a_reply(text))
        return text

    def _not_a_reply(self, text: str) -> AI365VIPError:
        response = self._response
        answer = Answer(response.status, response.reason or "", response.headers, text)
        return answer_error(answer, self._url, self._redact)

    def _stalled(self, why: str) -> None:
        self._content.set_exception(aiohttp.SocketTimeoutError(why))

    def _translate(self, exc: BaseException) -> AI365VIPError:
        error = transport_error(
            exc, self._url, step=_READING, partial_text=self.partial_text, redact=self._redact
        )
        if error is None:
            self.close()
            raise exc
        return error

    def _failed(self, error: AI365VIPError) -> AI365VIPError:
        # For a `raise` outside any `except`, so that the transport's exception, which may
        # hold the request's headers, is not chained to it.
        self.close()
        return error
