"""The endpoint's handlers: a request is checked, its model run, the text sent as it comes."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final, NamedTuple, cast

from aiohttp import HttpVersion11, web

from langchain_ai365vip._wire.facts import CHAT_PATH, MODELS_PATH
from langchain_ai365vip._wire.request import (
    ChatRequest,
    MalformedRequest,
    parse_chat_request,
    parse_models_request,
)
from langchain_ai365vip.server.access import Access, RefusedError
from langchain_ai365vip.server.failures import Failure, failure_of
from langchain_ai365vip.server.models import TextSource
from langchain_ai365vip.server.page import PAGE_HEADER, pages
from langchain_ai365vip.server.reply import TEXT, Reply, printable, refusal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# The public module's name: users know no other.
logger = logging.getLogger("langchain_ai365vip.server")
access_logger = logging.getLogger(f"{logger.name}.access")

HEALTH_PATH: Final = "/healthz"
# Seconds: what a busy endpoint says in Retry-After.
BUSY_RETRY_AFTER: Final = 1
SOURCES: Final = web.AppKey("sources", dict[str, TextSource])


class RequestLimits(NamedTuple):
    """What one request may take; see `create_app`."""

    max_body_size: int
    max_concurrency: int
    body_timeout: float
    send_timeout: float


class Endpoint:
    """The handlers of one application.

    Args:
        sources: What answers, by model id.
        default: The id whose source answers ids that are not there; `None` refuses them.
        access: Who may call.
        limits: What one request may take.
        plain_http_front_end: Every browser is a front end's page, even if it does not say so.
        debug: Tell clients the exception's own message.
    """

    def __init__(
        self,
        sources: dict[str, TextSource],
        *,
        default: str | None,
        access: Access,
        limits: RequestLimits,
        plain_http_front_end: bool,
        debug: bool,
    ) -> None:
        self._sources = sources
        self._default = default
        self._access = access
        self._limits = limits
        self._plain_http_front_end = plain_http_front_end
        self._debug = debug
        self._running = 0

    def application(self, *, page: bool) -> web.Application:
        """Make the application, with or without the page at `/`."""
        app = web.Application(middlewares=[self._logged])
        app[SOURCES] = self._sources
        app.on_response_prepare.append(self._add_headers)
        for path, handlers in self._routes(page=page).items():
            for method, handler in ({**handlers, "*": _wrong_method(handlers)}).items():
                app.router.add_route(method, path, handler, expect_handler=_later)
        for path in (CHAT_PATH, MODELS_PATH):
            app.router.add_route("*", path + "/", _redirect(path), expect_handler=_later)
        # aiohttp's own 404 would ask for the body of a request with `Expect` first.
        app.router.add_route("*", "/{path:.*}", _not_found, expect_handler=_later)
        return app

    def _routes(self, *, page: bool) -> dict[str, dict[str, Handler]]:
        routes: dict[str, dict[str, Handler]] = {
            CHAT_PATH: {"POST": self._chat, "PUT": self._chat, "OPTIONS": self._preflight},
            MODELS_PATH: {"POST": self._models, "OPTIONS": self._preflight},
            HEALTH_PATH: {"GET": _health, "HEAD": _health},
        }
        if page:
            routes.update((path, {"GET": show, "HEAD": show}) for path, show in pages().items())
        return routes

    @web.middleware
    async def _logged(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Write one line into the access log for each request, without its texts."""
        started, outcome = time.monotonic(), _GONE
        try:
            response = await self._checked(request, handler)
            outcome = request.get(_OUTCOME, str(response.status))
            return response
        finally:
            # The path alone: a query may hold a key by mistake.
            access_logger.info(
                '%s "%s %s" %s in %.3f s',
                request.remote or "-",
                request.method,
                request.rel_url.raw_path[:_LONGEST_LINE],
                outcome,
                time.monotonic() - started,
            )

    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the caller, and make one kind of answer of everything that goes wrong."""
        try:
            self._access.check_connection(request)
            self._access.check_host(request)
            self._access.check_origin(request)
            _check_expectation(request)
            return await handler(request)
        except RefusedError as error:
            return refusal(error.status, error.line, error.headers)
        except MalformedRequest as error:
            return refusal(400, str(error))
        except web.HTTPException as error:  # our own 404 and 405
            allow = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
            return refusal(error.status, error.reason, allow)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        headers["Server"] = "ai365vip"
        headers["Cache-Control"] = "no-store"
        headers["X-Content-Type-Options"] = "nosniff"
        if "Origin" in request.headers and self._access.allows_origin(request):
            headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            headers["Vary"] = "Origin"

    async def _preflight(self, _: web.Request) -> web.Response:
        """Let pages of allowed origins send JSON; `_checked` has refused all others."""
        headers = {
            "Access-Control-Allow-Methods": "POST, PUT",
            "Access-Control-Allow-Headers": "content-type",
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=headers)

    async def _models(self, request: web.Request) -> web.Response:
        self._access.check_key(parse_models_request(await self._body(request)))
        listing = [{"id": name, "name": name} for name in self._sources]
        return web.Response(text=json.dumps(listing), headers=TEXT)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        chat = parse_chat_request(await self._body(request))
        self._access.check_key(chat.key)
        source = self._source(chat.model)
        if self._running >= self._limits.max_concurrency:
            raise RefusedError(
                503,
                f"The server is busy with {self._running} replies, try again",
                {"Retry-After": str(BUSY_RETRY_AFTER)},
            )
        self._running += 1
        try:
            return await self._answer(request, source, chat)
        finally:
            self._running -= 1

    def _source(self, name: str) -> TextSource:
        source = self._sources.get(name if name in self._sources else self._default or name)
        if source is None:
            known = ", ".join(self._sources)
            raise RefusedError(404, f"The model does not exist, there are: {known}")
        return source

    async def _body(self, request: web.Request) -> bytes:
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise RefusedError(
                415, "Content-Encoding: expected none, compressed bodies are not read"
            )
        if (request.content_length or 0) > self._limits.max_body_size:
            raise self._too_large()
        try:
            if _EXPECTATION in request.headers and request.version >= HttpVersion11:
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # of what belongs to the answer
            return await asyncio.wait_for(self._collect(request), self._limits.body_timeout)
        except asyncio.TimeoutError:
            line = f"The request's body did not arrive within {self._limits.body_timeout:g} seconds"
            raise RefusedError(408, line, _CLOSE) from None
        except (web.RequestPayloadError, ConnectionError):  # broken encoding, or cut off
            raise RefusedError(400, "body: expected valid HTTP, to its end", _CLOSE) from None

    async def _collect(self, request: web.Request) -> bytes:
        parts, size = [], 0
        async for part in request.content.iter_any():
            size += len(part)
            if size > self._limits.max_body_size:
                raise self._too_large()
            parts.append(part)
        return b"".join(parts)

    def _too_large(self) -> RefusedError:
        line = f"The request's body is larger than {self._limits.max_body_size} bytes"
        return RefusedError(413, line, _CLOSE)

    async def _answer(
        self, request: web.Request, source: TextSource, chat: ChatRequest
    ) -> web.StreamResponse:
        """Run the model; the head goes out with its first text, so that a failure has a status."""
        if request.transport is None:
            return refusal(400, "The client went away")  # which nobody reads
        reply = Reply(request, request.transport, self._limits.send_timeout)
        try:
            stream, text_of = source.stream(chat)
            async with aclosing(cast(Any, stream)):
                await reply.send_all(stream, text_of)
        except Exception as error:
            if reply.client_is_gone:
                request[_OUTCOME] = _GONE
                return reply.response
            _log(chat.model, error)
            if not reply.started:
                return self._failed(failure_of(error), error)
            return await self._break_off(request, reply, error)
        finally:
            reply.finish()
        return reply.response

    def _failed(self, failure: Failure, error: Exception) -> web.Response:
        headers = {}
        if failure.retry_after is not None:
            headers["Retry-After"] = str(failure.retry_after)
        return refusal(failure.status, self._why(error) or failure.reason, headers)

    def _why(self, error: Exception) -> str:
        return f"{type(error).__name__}: {error}" if self._debug else ""

    async def _break_off(
        self, request: web.Request, reply: Reply, error: Exception
    ) -> web.StreamResponse:
        """End a reply that failed half-way as its client can bear it; in doubt, cut it."""
        request[_OUTCOME] = "200, broken off"
        if self._is_front_end(request):
            return await reply.break_off(printable(" ".join(self._why(error).split())))
        return reply.cut()

    def _is_front_end(self, request: web.Request) -> bool:
        """Say whether a browser's page asks that may not notice a cut, as Chatbot UI's does not.

        Browsers say so on HTTPS and on this machine. Node's `fetch` says it as well, but
        calls itself no Mozilla, as every browser does.
        """
        if PAGE_HEADER in request.headers:
            return False
        agent = request.headers.get("User-Agent", "")
        if "Sec-Fetch-Mode" in request.headers:
            return not agent or agent.startswith("Mozilla/")
        return self._plain_http_front_end and agent.startswith("Mozilla/")


_CLOSE = {"Connection": "close"}
_EXPECTATION: Final = "Expect"
# Where a request keeps what the access log says of it instead of the status.
_OUTCOME: Final = web.RequestKey("outcome", str)
_GONE: Final = "client gone"


async def _later(_: web.Request) -> None:
    """Leave a request's `Expect` for later, when nothing else refuses it."""


def _check_expectation(request: web.Request) -> None:
    if request.version < HttpVersion11:
        return
    if any(value.lower() != "100-continue" for value in request.headers.getall(_EXPECTATION, [])):
        raise RefusedError(417, "Expect: expected 100-continue or nothing", _CLOSE)


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok\n", headers=TEXT)


async def _not_found(_: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


def _wrong_method(allowed: Iterable[str]) -> Handler:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


def _log(name: str, error: Exception) -> None:
    """Log a failure with its traceback, which shows the owner's own code to the owner.

    What a client or a provider sent must not forge log lines: hence %a, the bounds, and the
    indentation.
    """
    lines = "".join(traceback.format_exception(error)).splitlines()[-_MOST_LINES:]
    shown = "\n".join(f"    {printable(line[:_LONGEST_LINE])}" for line in lines)
    logger.warning("model %a failed: %.1000a\n%s", name, error, shown)


_MOST_LINES: Final = 200
_LONGEST_LINE: Final = 500


def _redirect(path: str) -> Handler:
    async def redirect(_: web.Request) -> web.StreamResponse:
        # To a fixed path that is served, so it can neither loop nor lead elsewhere.
        return web.Response(status=308, headers={"Location": path})

    return redirect
