"""What the endpoint's tests share: scripted models, an app on the test's loop, raw requests.

Requests are written out byte by byte, without the package's own `_protocol`, so that
client and server cannot be wrong together unnoticed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import Field

from langchain_ai365vip.server import create_app

Script = Callable[[], AsyncIterator[Any]]


class ScriptedModel(BaseChatModel):
    """A chat model that streams what a function yields and notes what it was asked."""

    script: Script
    temperature: float = 0.5
    asked: list[list[BaseMessage]] = Field(default_factory=list)
    passed: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise AssertionError("the endpoint is asynchronous")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.asked.append(messages)
        self.passed.append(kwargs)
        async for piece in self.script():
            chunk = piece if isinstance(piece, AIMessageChunk) else AIMessageChunk(content=piece)
            yield ChatGenerationChunk(message=chunk)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Stay as it is: the script knows which tools it calls."""
        return self


class PlainModel(ScriptedModel):
    """The same without a temperature."""

    temperature: None = None  # type: ignore[assignment] # shadowed so that it can be removed


del PlainModel.model_fields["temperature"]


def says(*pieces: Any) -> ScriptedModel:
    """Make a model that yields these pieces; an exception among them is raised."""

    async def script() -> AsyncIterator[Any]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    return ScriptedModel(script=script)


class Answer(NamedTuple):
    """A raw HTTP answer, taken apart."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    """The body as it was on the wire, chunk sizes included."""

    @property
    def chunks(self) -> list[bytes]:
        """The HTTP chunks; `b""` comes last when the reply ended cleanly."""
        chunks, rest = [], self.body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            chunks.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return chunks


def parse_answer(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    _, status, reason = status_line.split(" ", 2)
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(status), reason, headers, body)


def chat_body(**changes: Any) -> dict[str, Any]:
    """The browser client's body, as it was measured."""
    body = {
        "model": {"id": "gpt-3.5-turbo", "name": "GPT-3.5"},
        "messages": [{"role": "user", "content": "Hi"}],
        "key": "",
        "prompt": "Be brief.",
        "temperature": 1,
    }
    return {**body, **changes}


class Client:
    """Speaks raw HTTP to one address; `server` is at hand where it runs on this loop."""

    def __init__(self, host: str, port: int, server: web.Server | None = None) -> None:
        self.host, self.port = host, port
        self.server = server

    @classmethod
    def of(cls, base_url: str) -> Client:
        host, _, port = base_url.removeprefix("http://").rpartition(":")
        return cls(host.strip("[]"), int(port))

    def request(
        self,
        body: Any = None,
        *,
        method: str = "POST",
        path: str = "/api/chat",
        headers: Sequence[str] = ("Connection: close",),
        host: str | None = None,
        version: str = "1.1",
    ) -> bytes:
        """Write a request out; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [
            f"{method} {path} HTTP/{version}",
            f"Host: {host or f'{self.host}:{self.port}'}",
            f"Content-Length: {len(data)}",
            *headers,
        ]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port)

    async def exchange(self, data: bytes) -> Answer:
        """Send bytes and read until the server closes."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            await writer.drain()
            return parse_answer(await reader.read())
        finally:
            writer.close()

    async def ask(self, body: Any = None, **how: Any) -> Answer:
        return await self.exchange(self.request(chat_body() if body is None else body, **how))


def read_up_to(text: str, chunks: Iterator[AIMessageChunk]) -> None:
    """Read what a reply begins with, in as many pieces as the network makes of it."""
    seen = ""
    while seen != text:
        seen += next(chunks).text
        assert text.startswith(seen)


@asynccontextmanager
async def serve(model: Any, **options: Any) -> AsyncIterator[Client]:
    """Run `create_app` on the test's own loop, so that tests and model share events."""
    async with serve_app(create_app(model, **options)) as client:
        yield client


@asynccontextmanager
async def serve_app(app: web.Application, **runner_options: Any) -> AsyncIterator[Client]:
    options = {"handler_cancellation": True, "access_log": None, "shutdown_timeout": 1.0}
    runner = web.AppRunner(app, **{**options, **runner_options})
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield Client(host, port, runner.server)
    finally:
        await runner.cleanup()
