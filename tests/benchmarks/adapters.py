"""The clients under comparison: how each is built and how its stream is read.

All have the settings that their package is published with, but for three: the peers' timeout is
two minutes, nobody makes a retry, and nobody has a limit on connections.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import aiohttp
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from langchain_ai365vip import ChatAI365VIP
from tests.benchmarks.load import TOKEN_SIZE, TOKENS

PEER_TIMEOUT = 120


class Reading:
    """What one stream brought: chunks, characters, and when each text came."""

    __slots__ = ("characters", "chunks", "stamps")

    def __init__(self) -> None:
        self.chunks = 0
        self.characters = 0
        self.stamps: list[float] = []

    def add(self, text: str) -> None:
        """Note one chunk; empty ones count as chunks but are no text."""
        self.chunks += 1
        if text:
            self.stamps.append(perf_counter())
            self.characters += len(text)


Read = Callable[[str, Reading], Awaitable[None]]
Adapter = AbstractAsyncContextManager[Read]


@asynccontextmanager
async def _bare(base_url: str, chunks: int) -> AsyncIterator[Read]:
    """One aiohttp session, reading whatever has arrived, with its own default timeouts."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(base_url, connector=connector) as session:

        async def read(prompt: str, reading: Reading) -> None:
            payload = {
                "model": {"id": "bench", "name": "bench", "maxLength": 10**9, "tokenLimit": 10**9},
                "messages": [{"role": "user", "content": prompt}],
                "key": "",
                "prompt": "",
                "temperature": 1.0,
            }
            async with session.post("/api/chat", json=payload) as response:
                response.raise_for_status()
                async for data in response.content.iter_any():
                    reading.add(data.decode())

        yield read


def _by(model: BaseChatModel) -> Read:
    """Read a LangChain chat model as its users read it."""

    async def read(prompt: str, reading: Reading) -> None:
        add = reading.add
        async for chunk in model.astream([HumanMessage(prompt)]):
            add(chunk.content)  # type: ignore[arg-type]  # no model here sends blocks

    return read


class Wasteful(ChatAI365VIP):
    """The seeded regression: every token goes through JSON and validation three times more.

    By the token, because a busy client merges tokens into fewer chunks.
    """

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        async for chunk in super()._astream(*args, **kwargs):
            for _ in range(3 * (1 + len(chunk.text) // TOKEN_SIZE)):
                AIMessageChunk.model_validate(json.loads(chunk.message.model_dump_json()))
            yield chunk


@asynccontextmanager
async def _ours(
    base_url: str, chunks: int, kind: type[ChatAI365VIP] = ChatAI365VIP
) -> AsyncIterator[Read]:
    async with kind(base_url=base_url) as model:
        yield _by(model)


class FixedChunksModel(BaseChatModel):
    """Yields `count` chunks at once, without any wire, the last one marked as last."""

    count: int

    @property
    def _llm_type(self) -> str:
        return "fixed-chunks"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError  # abstract in core; only astream is measured

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for index in range(self.count - 1):
            message = AIMessageChunk(content=TOKENS[index % len(TOKENS)])
            yield ChatGenerationChunk(message=message)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))


@asynccontextmanager
async def _core(base_url: str, chunks: int) -> AsyncIterator[Read]:
    yield _by(FixedChunksModel(count=chunks))


def _http(module: str, **settings: Any) -> Any:
    """Return an async client without a limit on connections."""
    httpx = importlib.import_module(module)
    return httpx.AsyncClient(limits=httpx.Limits(), timeout=PEER_TIMEOUT, **settings)


# langchain_openai keeps its clients for the life of the process, by their settings. A timeout
# of its own gives every run a client that starts cold, like everyone's.
_openai_runs = itertools.count()


@asynccontextmanager
async def _openai(base_url: str, chunks: int) -> AsyncIterator[Read]:
    package = importlib.import_module("langchain_openai")
    # Which httpx the openai package is built on depends on its version.
    parents = importlib.import_module("openai").DefaultAsyncHttpxClient.__mro__
    module = next(parent.__module__ for parent in parents if parent.__name__ == "AsyncClient")
    async with _http(module.partition(".")[0]) as client:
        yield _by(
            package.ChatOpenAI(
                model="bench",
                base_url=base_url + "/v1",
                api_key="key",
                timeout=PEER_TIMEOUT + next(_openai_runs) / 1000,
                max_retries=0,
                http_async_client=client,
            )
        )


@asynccontextmanager
async def _mistral(base_url: str, chunks: int) -> AsyncIterator[Read]:
    package = importlib.import_module("langchain_mistralai")
    url, headers = base_url + "/v1", {"Authorization": "Bearer key"}
    async with _http("httpx", base_url=url, headers=headers) as client:
        yield _by(
            package.ChatMistralAI(
                model_name="bench",
                base_url=url,
                api_key="key",
                timeout=PEER_TIMEOUT,
                max_retries=1,  # its word for one attempt
                async_client=client,
            )
        )


@asynccontextmanager
async def _ollama(base_url: str, chunks: int) -> AsyncIterator[Read]:
    package = importlib.import_module("langchain_ollama")
    limits = importlib.import_module("httpx").Limits()
    settings = {"timeout": PEER_TIMEOUT, "limits": limits}
    yield _by(package.ChatOllama(model="bench", base_url=base_url, client_kwargs=settings))


@dataclass(frozen=True)
class Entry:
    """One client.

    Attributes:
        label: Its name in the report.
        form: Which of the token server's formats it reads.
        build: Makes it, for one measurement, from a base URL and, for a client without a wire,
            the number of chunks in a reply.
    """

    label: str
    form: str
    build: Callable[[str, int], Adapter]


ENTRIES: dict[str, Entry] = {
    "bare": Entry("bare aiohttp session, no LangChain", "text", _bare),
    "ours": Entry("ChatAI365VIP", "text", _ours),
    "core": Entry("core's astream over a fake model", "text", _core),
    "mistral": Entry("ChatMistralAI", "openai", _mistral),
    "ollama": Entry("ChatOllama", "ollama", _ollama),
    "openai": Entry("ChatOpenAI", "openai", _openai),
    "regression": Entry(
        "ChatAI365VIP, seeded regression", "text", functools.partial(_ours, kind=Wasteful)
    ),
}
# `core` comes after `ours`, whose chunks it counts.
TRIO = ("bare", "ours", "core")
PEERS = ("mistral", "ollama", "openai")
