"""A scripted endpoint: a real aiohttp.web server on loopback that imports none of our code.

It answers `POST /api/chat` with the pieces that a test has set, one HTTP chunk per piece, and
keeps what it was sent and how many connections it saw.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

Pieces = Iterable[str | bytes]


def in_turn(*replies: Pieces) -> Callable[[dict[str, Any]], Pieces]:
    """Answer each request with the next reply; one request too many is a 500."""
    left = list(replies)
    return lambda _body: left.pop(0)


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait, in the caller's thread, until something holds; say whether it came to that."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


class Endpoint:
    """A server on a thread of its own, so that sync calls can be tested too.

    Attributes:
        pieces: What a reply consists of; or a function of the request's JSON.
        bodies: The JSON of every request so far.
        headers: The headers of every request so far.
        paths: The path of every request so far.
        connections: TCP connections accepted so far.
        most_open: The most connections that were open at a time, seen at each request.
        reply_headers: Sent with every reply.
        models: The JSON that `/api/models` answers.
        response: Makes the answer to a request in place of a reply, or returns `None`.
        closed: Set when a client went away before its reply was complete.
        paced: Send a piece only after a `release()`.
        delay: Seconds before each piece.
    """

    def __init__(self, pieces: Pieces = ("Hello", " there", "!")) -> None:
        self.pieces: Pieces | Callable[[dict[str, Any]], Pieces] = pieces
        self.response: Callable[[web.Request], web.StreamResponse | None] = lambda _: None
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections = 0
        self.most_open = 0
        self.reply_headers: dict[str, str] = {}
        self.models: Any = [{"id": "gpt-4o", "name": "GPT-4o"}]
        self.closed = threading.Event()
        self.paced = False
        self.delay = 0.0
        self.base_url = ""
        self._released = threading.Semaphore(0)
        self._release_all = False
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._runner: web.AppRunner
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Endpoint:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release_all()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def release(self, count: int = 1) -> None:
        """Let the paced replies send this many more pieces."""
        self._released.release(count)

    def release_all(self) -> None:
        """Let everything through."""
        self._release_all = True

    @property
    def requests(self) -> int:
        """How many requests were made."""
        return len(self.bodies)

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        assert self._runner.server is not None
        return len(self._runner.server.connections)

    wait_until = staticmethod(wait_until)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=0)  # none
        app.router.add_post("/api/chat", self._chat)
        app.router.add_post("/api/models", self._models)
        self._runner = runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        server = await self._loop.create_server(
            self._connected(runner), "127.0.0.1", 0, backlog=512
        )
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        await runner.cleanup()

    def _connected(self, runner: web.AppRunner) -> Callable[[], asyncio.BaseProtocol]:
        def accept() -> asyncio.BaseProtocol:
            self.connections += 1
            assert runner.server is not None
            return runner.server()

        return accept

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._note(request)
        if (answer := self.response(request)) is not None:
            return answer
        pieces = self.pieces(body) if callable(self.pieces) else self.pieces
        response = web.StreamResponse(headers=self.reply_headers)
        # As the reference server: chunked, no Content-Type.
        response.enable_chunked_encoding()
        try:
            for piece in pieces:
                await self._may_send()
                if not response.prepared:
                    await response.prepare(request)
                await response.write(piece.encode() if isinstance(piece, str) else piece)
            if not response.prepared:
                await response.prepare(request)
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionResetError):
            self.closed.set()
            raise
        return response

    async def _models(self, request: web.Request) -> web.StreamResponse:
        await self._note(request)
        if (answer := self.response(request)) is not None:
            return answer
        return web.Response(text=json.dumps(self.models), headers=self.reply_headers)

    async def _note(self, request: web.Request) -> Any:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(request.path)
        self.most_open = max(self.most_open, self.open_connections)
        return body

    async def _may_send(self) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        while self.paced and not self._release_all:
            if self._released.acquire(blocking=False):
                return
            await asyncio.sleep(0.001)
