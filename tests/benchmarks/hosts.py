"""The servers that goal 7 compares: ours around a model, and a bare aiohttp.web handler."""

from __future__ import annotations

import asyncio
import gc
import importlib
import threading
from abc import ABC, abstractmethod
from time import process_time

from aiohttp import web

from tests.benchmarks.fakes import PacedModel
from tests.benchmarks.load import Load, find_load


class Host(ABC):
    """A server under measurement, in a thread of its process."""

    @abstractmethod
    def app(self) -> web.Application:
        """Return the application to serve."""

    async def generate(self, load: Load) -> None:
        """Make one reply's tokens without serving them."""
        async for _ in PacedModel().astream(load.prompt):
            pass

    def serve(self) -> int:
        """Start serving on loopback and return the port."""
        ready = threading.Event()
        ports: list[int] = []

        async def start() -> None:
            runner = web.AppRunner(self.app())
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
            await site.start()
            ports.append(runner.addresses[0][1])
            ready.set()
            await asyncio.Event().wait()

        threading.Thread(target=lambda: asyncio.run(start()), daemon=True).start()
        if not ready.wait(60):
            raise RuntimeError("the server under measurement did not start")
        return ports[0]

    def unserved(self, load: Load) -> float:
        """Return the CPU seconds that the replies cost without any server."""

        async def together() -> float:
            await self.generate(Load(tokens=2))
            gc.collect()
            start = process_time()
            await asyncio.gather(*(self.generate(load) for _ in range(load.streams)))
            return process_time() - start

        return asyncio.run(together())


class BareHandler(Host):
    """An aiohttp.web handler that writes each token of the same model as it comes."""

    def app(self) -> web.Application:
        async def handle(request: web.Request) -> web.StreamResponse:
            load = find_load(await request.read()) or Load()
            response = web.StreamResponse()
            response.enable_chunked_encoding()
            await response.prepare(request)
            async for chunk in PacedModel().astream(load.prompt):
                await response.write(chunk.text.encode())
            await response.write_eof()
            return response

        app = web.Application()
        app.router.add_post("/api/chat", handle)
        return app


class OurServer(Host):
    """`langchain_ai365vip.server.create_app` around a fake model."""

    def app(self) -> web.Application:
        server = importlib.import_module("langchain_ai365vip.server")
        app: web.Application = server.create_app(PacedModel())
        return app


HOSTS: dict[str, type[Host]] = {
    "unserved": BareHandler,  # only asked to make its tokens
    "bare-host": BareHandler,
    "ours-host": OurServer,
}
