"""One attempt at a request: sent, redirected where that is harmless; its reply, or its error."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from langchain_ai365vip._transport.failures import (
    MAX_BODY,
    Answer,
    answer_error,
    redirect_error,
    transport_error,
)
from langchain_ai365vip._transport.pool import ConnectionSettings, PooledSession, sessions_of
from langchain_ai365vip._transport.proxy import Proxy
from langchain_ai365vip._transport.reply import Reply
from langchain_ai365vip._transport.secrets import Redactor
from langchain_ai365vip._transport.timeouts import HeadDeadline, IdleConnectionError, Timeout
from langchain_ai365vip.errors import AI365VIPResponseError

MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LARGE_BODY: Final = 2**20
_FOR_AN_ERRORS_BODY: Final = 10.0
# How a connection ends that the server had closed.
_STALE: Final = (
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientOSError,
    ConnectionResetError,
    BrokenPipeError,
)


@dataclass(slots=True)
class Connections:
    """Which connections a request may go out on, its retries and redirects included."""

    only_new: bool = False


@dataclass(frozen=True, repr=False, slots=True)
class Request:
    """A request ready to be sent. No repr: it holds the key."""

    url: URL
    body: bytes
    headers: Mapping[str, str]
    about: str = ""
    """What is sent, in words for the log."""
    connections: Connections = field(default_factory=Connections)


class Attempt:
    """One attempt, redirects included, which stay with one origin and so with one proxy.

    Args:
        timeout: The limits; `total` begins now.
        settings: Which of the loop's sessions it uses.
        proxy: The proxy that it goes through.
        tls: How a certificate is verified; `True` as the system does.
        redact: Takes the request's secrets out of errors.
    """

    def __init__(
        self,
        timeout: Timeout,
        *,
        settings: ConnectionSettings,
        proxy: Proxy | None,
        tls: ssl.SSLContext | bool,
        redact: Redactor,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._total_at = None if timeout.total is None else self._loop.time() + timeout.total
        self._settings = settings
        self._proxy = None if proxy is None or proxy.is_socks else proxy.url
        self._tls = tls
        self._redact = redact

    async def reply(self, request: Request) -> Reply:
        """Send, and return the reply once its first text is there.

        Raises:
            AI365VIPError: There is none.
        """
        next_request = request
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._post(next_request)
            if isinstance(answer, Reply):
                return answer
            next_request = answer
        raise AI365VIPResponseError(
            f"{request.url} redirects more than {MAX_REDIRECTS} times. Set base_url to the "
            "address that answers.",
            status_code=307,
        )

    async def _post(self, request: Request) -> Reply | Request:
        """Send once; return the reply, or the request to where a harmless redirect points."""
        pooled = sessions_of(self._loop).get(self._settings)
        only_new = request.connections.only_new
        deadline = HeadDeadline(self._loop, self._timeout, self._total_at, only_new)
        # From before its head on: a sibling's aclose() must not cut it.
        with pooled:
            response = await self._head(request, pooled, deadline)
            if response.status == 200:
                limits = self._timeout, deadline.step_at, self._total_at
                reply = Reply(response, pooled, *limits, self._redact)
        if response.status != 200:
            return await self._no_reply(request, response)
        try:
            await reply.start()
        except BaseException:
            reply.close()
            raise
        return reply

    async def _no_reply(self, request: Request, response: aiohttp.ClientResponse) -> Request:
        """Return the request to where a harmless redirect points; raise what else there is."""
        if response.status in _REDIRECTS:
            following, why_not = _redirected(request, response)
            if following is not None:
                return following
            raise redirect_error(_without_body(response), request.url, why_not, self._redact)
        answer = await _answer(response, self._timeout, self._total_at)
        raise answer_error(answer, request.url, self._redact)

    async def _head(
        self, request: Request, pooled: PooledSession, deadline: HeadDeadline
    ) -> aiohttp.ClientResponse:
        while True:
            try:
                async with deadline.running():
                    return await self._sent(request, pooled, deadline)
            except IdleConnectionError:
                continue  # given up before anything was sent on it
            except Exception as exc:
                # A kept-alive connection that the server closed as the request was on its
                # way says nothing about the server. But it may have read the request, so it
                # gets it once more at most: from now on on new connections only.
                if deadline.was_stale and isinstance(exc, _STALE):
                    request.connections.only_new = deadline.only_new = True
                    continue
                error = transport_error(
                    exc,
                    request.url,
                    step=deadline.step,
                    limit=deadline.limit,
                    partial_text=None,
                    redact=self._redact,
                )
                if error is None:
                    raise
            # Outside the `except`: see Reply._failed.
            raise error

    async def _sent(
        self, request: Request, pooled: PooledSession, deadline: HeadDeadline
    ) -> aiohttp.ClientResponse:
        return await pooled.session.post(
            request.url,
            data=_in_pieces(request.body),
            headers=request.headers,
            proxy=self._proxy,
            ssl=self._tls,
            # Ours to follow: the key and the conversation are in the body.
            allow_redirects=False,
            trace_request_ctx=deadline,
        )


def _redirected(request: Request, response: aiohttp.ClientResponse) -> tuple[Request | None, str]:
    """Return the request that follows a redirect; or why there is none."""
    response.close()
    if response.status not in (307, 308):
        return None, "which turns a POST into a GET"
    try:
        target = response.url.join(URL(response.headers["Location"]))
        same = target.origin() == response.url.origin()
    except (KeyError, ValueError):
        return None, "which cannot be read"
    if not same:
        return None, "which is another server"
    if target.user is not None or target.password is not None:
        return None, "as a user whom the redirect names"
    return replace(request, url=target), ""


def _without_body(response: aiohttp.ClientResponse) -> Answer:
    return Answer(response.status, response.reason or "", response.headers, "")


def _in_pieces(body: bytes) -> bytes | io.BytesIO:
    # aiohttp writes bytes in one go, and warns that a large body then holds up the loop.
    return body if len(body) < _LARGE_BODY else io.BytesIO(body)


async def _answer(
    response: aiohttp.ClientResponse, timeout: Timeout, total_at: float | None
) -> Answer:
    """Read the beginning of an error's body; without it the status still counts."""
    body = bytearray()
    limit = min(timeout.between_bytes or _FOR_AN_ERRORS_BODY, _FOR_AN_ERRORS_BODY)
    if total_at is not None:
        limit = min(limit, total_at - asyncio.get_running_loop().time())
    try:
        await asyncio.wait_for(_read_beginning(response, body), limit)
    except (aiohttp.ClientError, HttpProcessingError, asyncio.TimeoutError, OSError):
        pass
    finally:
        response.close()
    return _without_body(response)._replace(body=body.decode("utf-8", "replace"))


async def _read_beginning(response: aiohttp.ClientResponse, body: bytearray) -> None:
    while (left := 4 * MAX_BODY - len(body)) > 0 and (data := await response.content.read(left)):
        body += data
