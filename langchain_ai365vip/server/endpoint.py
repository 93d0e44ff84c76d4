"""The endpoint's handlers: a request is checked, its model run, the text sent as it comes."""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import Callable
from contextlib import aclosing
from hashlib import sha256
from importlib import resources
from typing import Any, Final, NamedTuple, cast

from aiohttp import web

from langchain_ai365vip._wire.facts import CHAT_PATH, MODELS_PATH
from langchain_ai365vip._wire.request import (
    ChatRequest,
    MalformedRequest,
    parse_chat_request,
    parse_models_request,
)
from langchain_ai365vip.server.access import Access, RefusedError
from langchain_ai365vip.server.models import Failure, TextSource, failure_of
from langchain_ai365vip.server.reply import TEXT, Reply, refusal

# The public module's name: users know no other.
logger = logging.getLogger("langchain_ai365vip.server")

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
        any_id: The one source answers whatever id is asked for.
        access: Who may call.
        limits: What one request may take.
        debug: Tell clients the exception's own message, and log its traceback.
    """

    def __init__(
        self,
        sources: dict[str, TextSource],
        *,
        any_id: bool,
        access: Access,
        limits: RequestLimits,
        debug: bool,
    ) -> None:
        self._sources = sources
        self._any_id = any_id
        self._access = access
        self._limits = limits
        self._debug = debug
        self._running = 0

    def application(self, *, page: bool) -> web.Application:
        """Make the application, with or without the page at `/`."""
        app = web.Application(middlewares=[self._guard])
        app[SOURCES] = self._sources
        app.on_response_prepare.append(self._add_headers)
        app.router.add_post(CHAT_PATH, self._chat)
        app.router.add_put(CHAT_PATH, self._chat)
        app.router.add_post(MODELS_PATH, self._models)
        for path in (CHAT_PATH, MODELS_PATH):
            app.router.add_options(path, self._preflight)
            app.router.add_route("*", path + "/", _redirect(path))
        if page:
            app.router.add_get("/", _page())
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:
        """Check the caller, and make one kind of answer of everything that goes wrong."""
        try:
            self._access.check_connection(request)
            self._access.check_host(request)
            if not self._access.allows_origin(request):
                raise RefusedError(403, "Origin is not allowed: add it to allowed_origins")
            return cast(web.StreamResponse, await handler(request))
        except RefusedError as error:
            return refusal(error.status, error.line, error.headers)
        except MalformedRequest as error:
            return refusal(400, str(error))
        except web.HTTPException as error:  # the router's 404 and 405
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
        """Let pages of allowed origins send JSON; `_guard` has refused all others."""
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
        source = next(iter(self._sources.values())) if self._any_id else self._sources.get(name)
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
                return reply.response
            self._log(chat.model, error)
            return reply.cut() if reply.started else self._failed(failure_of(error), error)
        finally:
            reply.finish()
        return reply.response

    def _log(self, name: str, error: BaseException) -> None:
        # %a and the bound: what a client or a provider sent must not forge log lines.
        logger.warning("model %a failed: %.1000a", name, error, exc_info=self._debug)

    def _failed(self, failure: Failure, error: BaseException) -> web.Response:
        headers = {}
        if failure.retry_after is not None:
            headers["Retry-After"] = str(failure.retry_after)
        if self._debug:
            return refusal(failure.status, f"{type(error).__name__}: {error}", headers)
        return refusal(failure.status, failure.reason, headers)


_CLOSE = {"Connection": "close"}


def _page() -> Callable[[web.Request], Any]:
    """Make the handler of `/`: a page that may run its own script and talk to us alone."""
    html = (resources.files(__package__) / "page.html").read_text("utf-8")
    script, style = (_source_hash(html, tag) for tag in ("script", "style"))
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": (
            f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        ),
        "Referrer-Policy": "no-referrer",
    }

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=html, headers=headers)

    return page


def _source_hash(html: str, tag: str) -> str:
    """Make the CSP source that allows exactly the text of the page's one such element."""
    text = html.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _redirect(path: str) -> Callable[[web.Request], Any]:
    async def redirect(_: web.Request) -> web.Response:
        # To a fixed path that is served, so it can neither loop nor lead elsewhere.
        return web.Response(status=308, headers={"Location": path})

    return redirect
