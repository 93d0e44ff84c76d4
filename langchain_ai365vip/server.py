"""A local endpoint that speaks the protocol: any LangChain model behind `POST /api/chat`.

`create_app` makes an aiohttp application, `LocalServer` runs it on a thread of its own:

```python
from langchain_ai365vip.server import LocalServer

with LocalServer(model) as server:
    print(server.base_url)
```
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import re
import socket
import struct
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import aclosing, suppress
from functools import lru_cache, partial
from hashlib import sha256
from http import HTTPStatus
from importlib import resources
from typing import Any, Final, NamedTuple, TypeAlias, cast

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError
from langchain_core.runnables.base import RunnableLike
from pydantic import SecretStr

from langchain_ai365vip._protocol import (
    CHAT_PATH,
    MODELS_PATH,
    ChatRequest,
    DeltaEncoder,
    MalformedRequest,
    parse_chat_request,
    parse_models_request,
    reason_phrase,
)
from langchain_ai365vip._served import (
    Failure,
    TextSource,
    UnsupportedOutputError,
    failure_of,
    has_tool_calls,
)

__all__ = ["LocalServer", "create_app"]

logger = logging.getLogger(__name__)

Model: TypeAlias = RunnableLike[Any, Any] | Mapping[str, RunnableLike[Any, Any]]

MAX_BODY_SIZE: Final = 4 * 1024 * 1024
MAX_CONCURRENCY: Final = 100
BODY_TIMEOUT: Final = 30.0
SEND_TIMEOUT: Final = 60.0
# How long a connection may stay without a complete request: it bounds slow headers, too.
IDLE_TIMEOUT: Final = 30.0
BUSY_RETRY_AFTER: Final = 1
# Seconds for which the rest of a refused body is read, so that its sender gets the answer.
LINGERING_TIME: Final = 1.0


def create_app(
    model: Model,
    *,
    model_id: str | None = None,
    api_key: str | SecretStr | None = None,
    allowed_origins: Iterable[str] = (),
    allowed_hosts: Iterable[str] = (),
    max_body_size: int = MAX_BODY_SIZE,
    max_concurrency: int = MAX_CONCURRENCY,
    body_timeout: float = BODY_TIMEOUT,
    send_timeout: float = SEND_TIMEOUT,
    page: bool = True,
    debug: bool = False,
) -> web.Application:
    """Put a LangChain model behind `POST /api/chat` and `POST /api/models`.

    The reply streams token by token as plain UTF-8. A model that fails before its first
    text gets its true status; one that fails later has its connection cut, so that no
    client takes half an answer for a whole one.

    Run the application with `handler_cancellation=True` (`LocalServer` does), or a client
    that goes away is noticed only when the model yields the next token:
    `web.run_app(create_app(model), host="127.0.0.1", handler_cancellation=True)`.

    Args:
        model: What answers: a chat model, a chain that takes the list of messages or
            starts with a prompt that has one messages placeholder, a function or
            generator of messages, or a LangGraph graph with `messages` in its state (an
            agent). Its output is AI messages or strings. It answers whatever model id a
            client asks for. A mapping of ids to such models answers 404 to other ids.
        model_id: The id that `/api/models` lists for a single model; by default the
            model's own name, or "langchain".
        api_key: The key that requests must carry. Without one any key is accepted, and
            only connections that reach this machine by a loopback address are served.
        allowed_origins: Web origins besides the endpoint's own, as `https://example.com`,
            whose pages may call it; `"*"` for any.
        allowed_hosts: Names besides `localhost` and plain IP addresses that the `Host`
            header may hold; `"*"` for any. Others are refused, against DNS rebinding.
        max_body_size: Bytes that a request's body may have (413).
        max_concurrency: Replies that may be under way at once (503 with `Retry-After`).
        body_timeout: Seconds for a request's body to arrive (408).
        send_timeout: Seconds without progress after which a client that does not read its
            reply is cut off.
        page: Serve a small page at `/` on which a person can try the model.
        debug: Send the exception's own message to clients and log its traceback. Both may
            hold secrets of the model's provider.

    Raises:
        ValueError: An option cannot be what it is; the message says why.
    """
    endpoint = _Endpoint(
        model,
        model_id=model_id,
        access=_Access(api_key, allowed_origins, allowed_hosts),
        max_body_size=_positive(max_body_size, "max_body_size"),
        max_concurrency=_positive(max_concurrency, "max_concurrency"),
        body_timeout=_positive(body_timeout, "body_timeout"),
        send_timeout=_positive(send_timeout, "send_timeout"),
        debug=debug,
    )
    app = endpoint.application()
    if page:
        app.router.add_get("/", _page())
    return app


def _positive(value: Any, option: str) -> Any:
    if not value > 0:
        raise ValueError(f"{option} is {value!r}; it must be greater than 0")
    return value


class _RefusedError(Exception):
    """A request that gets an error answer: status, one safe line, headers."""

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(line)
        self.status = status
        self.line = line
        self.headers = headers


class _Access:
    """Who may call: the key, the web origin, the host name, the local address."""

    def __init__(
        self,
        api_key: str | SecretStr | None,
        allowed_origins: Iterable[str],
        allowed_hosts: Iterable[str],
    ) -> None:
        key = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
        if key == "":
            raise ValueError("api_key is empty, which would let everybody in; leave it out")
        self._key = None if key is None else key.encode()
        self._origins = {_origin(origin) for origin in _strings(allowed_origins, "origins")}
        self._hosts = {host.lower() for host in _strings(allowed_hosts, "hosts")}

    def check_connection(self, request: web.BaseRequest) -> None:
        """Refuse other machines where there is no key to tell friend from foe."""
        if self._key is None and not _is_loopback(request.get_extra_info("sockname")):
            raise _RefusedError(
                403, "This endpoint has no API key, so it answers only on a loopback address"
            )

    def check_host(self, request: web.BaseRequest) -> None:
        """Refuse names that a foreign page may have pointed at this machine."""
        hosts = request.headers.getall("Host", [])
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            raise _RefusedError(400, "Host: expected one header with a host and a port")
        if "*" in self._hosts or match[1].lower() in self._hosts | {"localhost"}:
            return
        # A plain address cannot be rebound: only names are looked up.
        if not _is_address(match[1].strip("[]")):
            raise _RefusedError(403, "Host is not allowed: add it to allowed_hosts")

    def allows_origin(self, request: web.BaseRequest) -> bool:
        """Say whether the page that calls, if one does, is ours or an allowed one."""
        origins = request.headers.getall("Origin", [])
        return all(self._allows(origin.lower(), request) for origin in origins)

    def _allows(self, origin: str, request: web.BaseRequest) -> bool:
        host = request.headers.get("Host", "").lower()
        if origin in (f"http://{host}", f"https://{host}") or origin in self._origins:
            return True
        # Of anything else only what can be sent back in a header.
        return "*" in self._origins and (origin == "null" or bool(_ORIGIN.fullmatch(origin)))

    def check_key(self, key: str) -> None:
        """Compare in constant time, so that the answer's delay tells nothing."""
        if self._key is not None and not hmac.compare_digest(self._key, key.encode()):
            raise _RefusedError(401, "Incorrect API key provided" if key else "API key is missing")


_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]_-]+")


def _strings(values: Iterable[str], what: str) -> list[str]:
    if isinstance(values, str):
        raise ValueError(f"allowed_{what} is a string; it must be a list of strings")
    return list(values)


def _origin(text: str) -> str:
    origin = text.lower().rstrip("/")
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise ValueError(f"allowed_origins has {text!r}; an origin looks like https://example.com")
    return origin


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=64)  # asked at every request, of the few addresses of this machine
def _is_loopback(sockname: Any) -> bool:
    """Say whether a socket's own address is of this machine alone (a Unix socket is)."""
    if isinstance(sockname, str | bytes):
        return True
    if sockname is None:  # the connection is gone, and nobody reads the answer
        return False
    address = ipaddress.ip_address(sockname[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


class _Endpoint:
    """The handlers of one application."""

    def __init__(
        self,
        model: Model,
        *,
        model_id: str | None,
        access: _Access,
        max_body_size: int,
        max_concurrency: int,
        body_timeout: float,
        send_timeout: float,
        debug: bool,
    ) -> None:
        self._sources = _sources(model, model_id)
        self._only = None if isinstance(model, Mapping) else next(iter(self._sources.values()))
        self._access = access
        self._max_body_size = max_body_size
        self._max_concurrency = max_concurrency
        self._body_timeout = body_timeout
        self._send_timeout = send_timeout
        self._debug = debug
        self._running = 0

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(self._add_headers)
        app.router.add_post(CHAT_PATH, self._chat)
        app.router.add_put(CHAT_PATH, self._chat)
        app.router.add_post(MODELS_PATH, self._models)
        for path in (CHAT_PATH, MODELS_PATH):
            app.router.add_options(path, self._preflight)
            app.router.add_route("*", path + "/", _redirect(path))
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
                raise _RefusedError(403, "Origin is not allowed: add it to allowed_origins")
            return cast(web.StreamResponse, await handler(request))
        except _RefusedError as error:
            return _refusal(error.status, error.line, error.headers)
        except MalformedRequest as error:
            return _refusal(400, str(error))
        except web.HTTPException as error:  # the router's 404 and 405
            allow = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
            return _refusal(error.status, error.reason, allow)

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
        return web.Response(text=json.dumps(listing), headers=_TEXT)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        chat = parse_chat_request(await self._body(request))
        self._access.check_key(chat.key)
        source = self._source(chat.model)
        if self._running >= self._max_concurrency:
            raise _RefusedError(
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
        source = self._only or self._sources.get(name)
        if source is None:
            known = ", ".join(self._sources)
            raise _RefusedError(404, f"The model does not exist, there are: {known}")
        return source

    async def _body(self, request: web.Request) -> bytes:
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _RefusedError(
                415, "Content-Encoding: expected none, compressed bodies are not read"
            )
        if (request.content_length or 0) > self._max_body_size:
            raise self._too_large()
        try:
            return await asyncio.wait_for(self._collect(request), self._body_timeout)
        except asyncio.TimeoutError:
            line = f"The request's body did not arrive within {self._body_timeout:g} seconds"
            raise _RefusedError(408, line, _CLOSE) from None
        except (web.RequestPayloadError, ConnectionError):  # broken encoding, or cut off
            raise _RefusedError(400, "body: expected valid HTTP, to its end", _CLOSE) from None

    async def _collect(self, request: web.Request) -> bytes:
        parts, size = [], 0
        async for part in request.content.iter_any():
            size += len(part)
            if size > self._max_body_size:
                raise self._too_large()
            parts.append(part)
        return b"".join(parts)

    def _too_large(self) -> _RefusedError:
        line = f"The request's body is larger than {self._max_body_size} bytes"
        return _RefusedError(413, line, _CLOSE)

    async def _answer(
        self, request: web.Request, source: TextSource, chat: ChatRequest
    ) -> web.StreamResponse:
        """Run the model; the head goes out with its first text, so that a failure has a status."""
        reply = _Reply(request, self._send_timeout)
        try:
            stream, text_of = source.stream(chat)
            async with aclosing(cast(Any, stream)):
                await reply.send_all(stream, text_of)
        except Exception as error:
            if reply.client_is_gone:
                logger.debug("client went away during a reply of model %a", chat.model)
                return reply.cut()
            self._log(chat.model, error)
            return reply.cut() if reply.started else self._failed(failure_of(error), error)
        finally:
            reply.finish()
        return reply.response

    def _log(self, name: str, error: Exception) -> None:
        # %a and the bound: what a client or a provider sent must not forge log lines.
        logger.warning("model %a failed: %.1000a", name, error, exc_info=self._debug)

    def _failed(self, failure: Failure, error: Exception) -> web.Response:
        headers = {}
        if failure.retry_after is not None:
            headers["Retry-After"] = str(failure.retry_after)
        if self._debug:
            return _refusal(failure.status, f"{type(error).__name__}: {error}", headers)
        return _refusal(failure.status, failure.reason, headers)


_TEXT = {"Content-Type": "text/plain;charset=UTF-8"}
_CLOSE = {"Connection": "close"}


def _sources(model: Model, model_id: str | None) -> dict[str, TextSource]:
    if isinstance(model, Mapping):
        if not model or model_id is not None:
            raise ValueError("a mapping of models needs at least one, and takes no model_id")
        return {name: TextSource(one) for name, one in model.items()}
    source = TextSource(model)
    return {model_id or source.name or "langchain": source}


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


def _refusal(status: int, line: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """Make an error answer: the line in the reason phrase, where browsers' clients read it."""
    response = web.Response(
        status=status,
        reason=reason_phrase(line) or HTTPStatus(status).phrase,
        text=line,
        headers={**_TEXT, **(headers or {})},
    )
    if headers and "Connection" in headers:
        response.force_close()
    return response


class _Reply:
    """One streamed 200: opened by the first text, ended cleanly or cut."""

    def __init__(self, request: web.Request, send_timeout: float) -> None:
        self.response = web.StreamResponse(headers=_REPLY_HEADERS)
        self._request = request
        self._transport = cast(asyncio.Transport, request.transport)
        self._timeout = send_timeout
        self._delivered = -1
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(send_timeout, self._look)
        self._done = False

    @property
    def started(self) -> bool:
        return self.response.prepared

    @property
    def client_is_gone(self) -> bool:
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


# The reference sends no Content-Type. With one, and nosniff, a browser never takes a
# model's text for a page; clients of the protocol do not look at it. The last asks
# nginx not to collect the reply.
_REPLY_HEADERS = {"Content-Type": "text/plain;charset=UTF-8", "X-Accel-Buffering": "no"}


class LocalServer:
    """The endpoint on a thread of its own, for tests, notebooks and the command line.

    ```python
    with LocalServer(model) as server:  # or: async with
        print(server.base_url)
    ```

    It has its own event loop, so it works inside a running one, and can be started again
    after it was stopped (with `port=0` on another port).

    Args:
        model: What answers, as for `create_app`.
        host: The address to listen on. Any but a loopback address needs an `api_key`.
        port: The port; 0 takes a free one.
        idle_timeout: Seconds that a connection may stay without a complete request.
        **options: The other options of `create_app`.

    Raises:
        ValueError: `host` is reachable from other machines and there is no `api_key`, or
            an option is wrong.
    """

    def __init__(
        self,
        model: Model,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        idle_timeout: float = IDLE_TIMEOUT,
        **options: Any,
    ) -> None:
        local = host == "localhost" or (_is_address(host) and _is_loopback((host,)))
        if not local and options.get("api_key") is None:
            raise ValueError(
                f"host {host!r} is reachable from other machines, and without api_key anybody "
                'there could use the model: pass api_key, or host="127.0.0.1"'
            )
        if host and not local and not _is_address(host):
            options["allowed_hosts"] = (*options.get("allowed_hosts", ()), host)
        self._make_app = partial(create_app, model, **options)
        self._make_app()  # a wrong option is the caller's error, now and not on the thread
        self._host, self._port = host, port
        self._idle_timeout = _positive(idle_timeout, "idle_timeout")
        self._running: _Running | None = None
        self._requests = 0
        self.connections = 0

    @property
    def base_url(self) -> str:
        """The URL to give to clients, without a trailing slash.

        Raises:
            RuntimeError: The server does not run.
        """
        if self._running is None:
            raise RuntimeError("The server does not run: use it in `with`, or call start()")
        return self._running.base_url

    @property
    def requests(self) -> int:
        """How many HTTP requests came in so far, refused ones included."""
        return self._requests + (self._running.server.requests_count if self._running else 0)

    def start(self) -> LocalServer:
        """Start, and return once it listens.

        Raises:
            OSError: The address cannot be had, for example because the port is in use.
            RuntimeError: It runs already.
        """
        if self._running is not None:
            raise RuntimeError(f"The server runs already, at {self.base_url}")
        ready: Future[_Running] = Future()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="ai365vip-server", daemon=True
        )
        thread.start()
        try:
            self._running = ready.result()
        except OSError:
            thread.join()
            raise
        return self

    def stop(self) -> None:
        """Stop; replies under way are cut. Stopping twice does no harm."""
        running, self._running = self._running, None
        if running is not None:
            running.loop.call_soon_threadsafe(running.stopping.set)
            running.thread.join()
            self._requests += running.server.requests_count

    async def _serve(self, ready: Future[_Running]) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        silent = _SilentConnections(loop, self._idle_timeout)
        app = self._make_app()
        app.middlewares.insert(0, silent.heard)
        # handler_cancellation is what stops the model when its client goes away.
        runner = web.AppRunner(
            app,
            handler_cancellation=True,
            access_log=None,
            logger=_http_logger,
            keepalive_timeout=self._idle_timeout,
            lingering_time=LINGERING_TIME,
            shutdown_timeout=1.0,
            auto_decompress=False,
        )
        await runner.setup()
        server = cast(web.Server, runner.server)

        def connected() -> asyncio.BaseProtocol:
            self.connections += 1
            return silent.watch(server())

        try:
            listener = await loop.create_server(connected, self._host, self._port, backlog=1024)
        except OSError as error:
            await runner.cleanup()
            ready.set_exception(error)
            return
        url = _base_url(listener.sockets[0].getsockname())
        ready.set_result(_Running(url, server, loop, stopping, threading.current_thread()))
        await stopping.wait()
        await _stop_accepting(listener)
        for connection in server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0)  # the transports tell their protocols that they are gone
        await runner.cleanup()

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> LocalServer:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)


async def _stop_accepting(listener: asyncio.Server) -> None:
    """Close a listener, but not under a connection that asyncio is just taking in.

    asyncio takes one in in two turns of the loop; a close between them is an
    AssertionError in its log and a socket left open.
    """
    loop = asyncio.get_running_loop()
    for listening in listener.sockets:
        with suppress(NotImplementedError):  # the loop of Windows has no readers
            loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    listener.close()


class _SilentConnections:
    """Closes connections whose first request does not come; only newer aiohttp does."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self._loop = loop
        self._timeout = timeout
        self._timers: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def watch(self, connection: web.RequestHandler) -> web.RequestHandler:
        self._timers[connection] = self._loop.call_later(self._timeout, self._close, connection)
        return connection

    def _close(self, connection: web.RequestHandler) -> None:
        del self._timers[connection]
        connection.force_close()

    @web.middleware
    async def heard(
        self, request: web.Request, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:
        timer = self._timers.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        return cast(web.StreamResponse, await handler(request))


def _is_worth_logging(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


# aiohttp logs a traceback for each request that is not valid HTTP, which anybody can send.
_http_logger = logging.getLogger(f"{__name__}.http")
_http_logger.addFilter(_is_worth_logging)


class _Running(NamedTuple):
    """What a started server is made of."""

    base_url: str
    server: web.Server
    loop: asyncio.AbstractEventLoop
    stopping: asyncio.Event
    thread: threading.Thread


def _base_url(sockname: tuple[Any, ...]) -> str:
    """Make the URL at which this machine reaches a listening socket."""
    host, port = sockname[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
