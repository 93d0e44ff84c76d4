"""The clients under comparison: how each is built and how its stream is read.

Everyone has the settings that its package is published with, apart from retries, which
nobody makes, and the peers' timeout; limits on connections are part of that, so ChatMistralAI
and ChatOllama are measured without theirs, too (`NOTES` says all of it in the report).
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import aiohttp

from langchain_ai365vip._protocol import chat_payload
from tests.benchmarks.load import TOKEN_SIZE

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

Prompt = list[tuple[str, str]]
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


class Adapter(ABC):
    """A client. One instance serves one measurement, on one event loop."""

    def __init__(self, base_url: str, options: dict[str, Any]) -> None:
        self.base_url = base_url
        self.options = options

    def prepare(self, prompt: Prompt) -> Any:
        """Turn a prompt into what the calls below take, before any clock starts."""
        return prompt

    @abstractmethod
    async def read(self, prompt: Any, reading: Reading) -> None:
        """Stream one reply into `reading`."""

    async def ainvoke(self, prompt: Any) -> str:
        """Return one reply in one piece."""
        raise NotImplementedError  # no scenario has an adapter do what it cannot

    def invoke(self, prompt: Any) -> str:
        """Return one reply in one piece, without an event loop."""
        raise NotImplementedError  # no scenario has an adapter do what it cannot

    def read_in_thread(self, prompt: Any, reading: Reading) -> None:
        """Stream one reply into `reading`, without an event loop."""
        raise NotImplementedError  # no scenario has an adapter do what it cannot

    async def aclose(self) -> None:
        """Give the connections back; nothing to do unless a subclass keeps some."""
        return


def _wire_payload(prompt: Prompt) -> dict[str, Any]:
    messages = [{"role": role, "content": content} for role, content in prompt]
    return chat_payload(model="bench", messages=messages)  # type: ignore[arg-type]  # roles are str


class BareSession(Adapter):
    """One aiohttp session, reading whatever has arrived.

    Its defaults are aiohttp's, but for the limit of 100 connections, which it has not.
    """

    _session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._session

    async def read(self, prompt: Any, reading: Reading) -> None:
        async with self._open().post(
            self.base_url + "/api/chat", json=_wire_payload(prompt)
        ) as response:
            response.raise_for_status()
            async for data in response.content.iter_any():
                reading.add(data.decode())

    async def ainvoke(self, prompt: Any) -> str:
        async with self._open().post(
            self.base_url + "/api/chat", json=_wire_payload(prompt)
        ) as response:
            response.raise_for_status()
            return (await response.read()).decode()

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class LineProvider(Adapter):
    """The source system's way: a session per call, the reply iterated by line."""

    async def read(self, prompt: Any, reading: Reading) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.base_url + "/api/chat", json=_wire_payload(prompt)) as response,
        ):
            response.raise_for_status()
            async for line in response.content:
                reading.add(line.decode())


class ModelAdapter(Adapter):
    """A LangChain chat model, read as its users read it."""

    def __init__(self, base_url: str, options: dict[str, Any]) -> None:
        super().__init__(base_url, options)
        self.base = self.build()
        self.model: Any = self.base

    @abstractmethod
    def build(self) -> BaseChatModel:
        """Return a new model for `base_url`."""

    def prepare(self, prompt: Prompt) -> list[BaseMessage]:
        from langchain_core.messages import AIMessage, HumanMessage

        return [HumanMessage(text) if role == "user" else AIMessage(text) for role, text in prompt]

    async def read(self, prompt: Any, reading: Reading) -> None:
        add = reading.add
        async for chunk in self.model.astream(prompt):
            add(chunk.content)

    def read_in_thread(self, prompt: Any, reading: Reading) -> None:
        add = reading.add
        for chunk in self.model.stream(prompt):
            add(chunk.content)

    async def ainvoke(self, prompt: Any) -> str:
        return str((await self.model.ainvoke(prompt)).content)

    def invoke(self, prompt: Any) -> str:
        return str(self.model.invoke(prompt).content)


def _tool_schema() -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    function = {"name": "weather", "description": "Weather of a city.", "parameters": parameters}
    return {"type": "function", "function": function}


class Ours(ModelAdapter):
    """`ChatAI365VIP` with its own defaults."""

    def build(self) -> BaseChatModel:
        package = importlib.import_module("langchain_ai365vip")
        model: BaseChatModel = package.ChatAI365VIP(base_url=self.base_url)
        return model

    async def aclose(self) -> None:
        await self.base.aclose()  # type: ignore[attr-defined]  # imported by name


class OursUncollected(Ours):
    """The same with Python's garbage collector off, to see what it has to do with delays."""

    def build(self) -> BaseChatModel:
        gc.disable()
        return super().build()

    async def aclose(self) -> None:
        await super().aclose()
        gc.enable()


class OursWithTools(Ours):
    """The same with a tool bound and a stop sequence set, so that every text is searched."""

    def __init__(self, base_url: str, options: dict[str, Any]) -> None:
        super().__init__(base_url, options)
        self.model = self.base.bind_tools([_tool_schema()]).bind(stop=["\nObservation:"])


class OursWithRegression(Ours):
    """The seeded regression: every token goes through JSON and validation three times more.

    By the token, because a busy client merges tokens into fewer chunks.
    """

    def build(self) -> BaseChatModel:
        package = importlib.import_module("langchain_ai365vip")
        messages = importlib.import_module("langchain_core.messages")
        parent: Any = package.ChatAI365VIP

        class Wasteful(parent):  # type: ignore[misc]  # imported by name
            async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
                async for chunk in super()._astream(*args, **kwargs):
                    for _ in range(3 * (1 + len(chunk.text) // TOKEN_SIZE)):
                        fields = json.loads(chunk.message.model_dump_json())
                        messages.AIMessageChunk.model_validate(fields)
                    yield chunk

        model: BaseChatModel = Wasteful(base_url=self.base_url)
        return model


class CoreFloor(ModelAdapter):
    """What core's own `astream` costs: a fake model without any wire.

    `options["chunks"]` is how many chunks a reply has.
    """

    def build(self) -> BaseChatModel:
        from tests.benchmarks.fakes import fixed_chunks_model

        return fixed_chunks_model(round(self.options["chunks"]))


class Peer(ModelAdapter):
    """A published LangChain model on httpx.

    Its timeout is `PEER_TIMEOUT` seconds, and it makes no retries. It has its own limit on
    connections, as its users have, unless `options["unlimited"]` lifts it: httpx allows 100
    connections, the openai package 1,000.
    """

    _http: Any = None

    def client(self, module: str, **settings: Any) -> Any:
        """Return an async client without a limit on connections, closed by `aclose`."""
        httpx = importlib.import_module(module)
        self._http = httpx.AsyncClient(limits=httpx.Limits(), timeout=PEER_TIMEOUT, **settings)
        return self._http

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()


class OpenAI(Peer):
    """`langchain_openai.ChatOpenAI`."""

    # The package keeps its clients for the life of the process, by their settings. A
    # timeout of its own gives every run a client that starts cold, like everyone's.
    _built = itertools.count()

    def build(self) -> BaseChatModel:
        package = importlib.import_module("langchain_openai")
        more = {}
        if self.options.get("unlimited"):
            # Which httpx the openai package is built on depends on its version.
            openai = importlib.import_module("openai")
            parents = openai.DefaultAsyncHttpxClient.__mro__
            module = next(p.__module__ for p in parents if p.__name__ == "AsyncClient")
            more["http_async_client"] = self.client(module.partition(".")[0])
        model: BaseChatModel = package.ChatOpenAI(
            model="bench",
            base_url=self.base_url + "/v1",
            api_key="key",
            timeout=PEER_TIMEOUT + next(self._built) / 1000,
            max_retries=0,
            **more,
        )
        return model


class Mistral(Peer):
    """`langchain_mistralai.ChatMistralAI`."""

    def build(self) -> BaseChatModel:
        package = importlib.import_module("langchain_mistralai")
        url = self.base_url + "/v1"
        more = {}
        if self.options.get("unlimited"):
            headers = {"Authorization": "Bearer key"}
            more["async_client"] = self.client("httpx", base_url=url, headers=headers)
        model: BaseChatModel = package.ChatMistralAI(
            model_name="bench",
            api_key="key",
            base_url=url,
            timeout=PEER_TIMEOUT,
            max_retries=1,
            **more,
        )
        return model


class Ollama(Peer):
    """`langchain_ollama.ChatOllama`."""

    def build(self) -> BaseChatModel:
        package = importlib.import_module("langchain_ollama")
        settings: dict[str, Any] = {"timeout": PEER_TIMEOUT}
        if self.options.get("unlimited"):
            settings["limits"] = importlib.import_module("httpx").Limits()
        model: BaseChatModel = package.ChatOllama(
            model="bench", base_url=self.base_url, client_kwargs=settings
        )
        return model


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        label: Its name in the report.
        listener: Which of the token server's formats it reads.
        build: Makes the adapter from a base URL and options.
    """

    label: str
    listener: str
    build: Callable[[str, dict[str, Any]], Adapter]


def _unlimited(build: type[Peer]) -> Callable[[str, dict[str, Any]], Adapter]:
    return lambda base_url, options: build(base_url, {**options, "unlimited": True})


ENTRIES: dict[str, Entry] = {
    "bare": Entry("bare aiohttp session, no LangChain", "text", BareSession),
    "lines": Entry("line-iterating provider, session per call", "text", LineProvider),
    "ours": Entry("ChatAI365VIP", "text", Ours),
    "ours-async": Entry("ChatAI365VIP, astream in one thread", "text", Ours),
    "ours-ainvoke": Entry("ChatAI365VIP, ainvoke", "text", Ours),
    "ours-invoke": Entry("ChatAI365VIP, invoke", "text", Ours),
    "ours-uncollected": Entry("ChatAI365VIP, garbage collector off", "text", OursUncollected),
    "bare-ainvoke": Entry("bare aiohttp session, read in one piece", "text", BareSession),
    "core": Entry("core's astream over a fake model", "text", CoreFloor),
    "mistral": Entry("ChatMistralAI", "openai", Mistral),
    "ollama": Entry("ChatOllama", "ollama", Ollama),
    "openai": Entry("ChatOpenAI", "openai", OpenAI),
    "mistral-unlimited": Entry("ChatMistralAI, no connection limit", "openai", _unlimited(Mistral)),
    "ollama-unlimited": Entry("ChatOllama, no connection limit", "ollama", _unlimited(Ollama)),
    "tools": Entry("ChatAI365VIP, tools bound and stop set", "text", OursWithTools),
    "regression": Entry("ChatAI365VIP, seeded regression", "text", OursWithRegression),
}
PEERS = ("mistral", "ollama", "openai")
UNLIMITED = ("mistral-unlimited", "ollama-unlimited")

NOTES = (
    "Every adapter is a process of its own, pinned to one core, the token server to another; "
    "CPU is user + system time of the client process as the OS counts it.",
    "One server program sends the same six-character tokens, one HTTP chunk each: raw text to "
    "ChatAI365VIP and the bare clients, SSE to ChatOpenAI and ChatMistralAI, NDJSON to "
    "ChatOllama. Streams start together and then tick each in its own phase.",
    "All models are read with `async for chunk in model.astream(messages)`; a new model per "
    "run, warmed up by one short call.",
    f"Peers: timeout {PEER_TIMEOUT} s, no retries, otherwise as published. That includes their "
    "limits on connections: httpx's 100 for ChatMistralAI and ChatOllama (more streams than "
    "that wait in line), 1,000 for ChatOpenAI. The rows `no connection limit` lift them by "
    "`httpx.Limits()`.",
    "The bare session is `ClientSession(connector=TCPConnector(limit=0))` with aiohttp's default "
    "timeouts; the line-iterating provider `ClientSession()`; ChatAI365VIP its own defaults.",
    "The floor = the bare session reading the same streams + core's `astream` over a fake model "
    "that yields as many chunks as ChatAI365VIP did, both measured in the same round.",
    "Ratios are taken within a round, in which everyone is measured once, one after the other; "
    "the median of the rounds counts. The exception is what a server adds: it is a difference, "
    "which only medians keep from being noise.",
)


_NEEDS = {
    "ours": "langchain_ai365vip.chat_models",
    "tools": "langchain_ai365vip.chat_models",
    "regression": "langchain_ai365vip.chat_models",
    "ours-host": "langchain_ai365vip.server",
    "mistral": "langchain_mistralai",
    "ollama": "langchain_ollama",
    "openai": "langchain_openai",
}


def is_available(name: str) -> bool:
    """Say whether what an adapter needs is installed (the peers come with a group)."""
    module = _NEEDS.get(name) or _NEEDS.get(name.partition("-")[0])
    return module is None or importlib.util.find_spec(module) is not None


def prompt_of(directive: str, history: int = 1) -> Prompt:
    """Return a conversation of `history` messages whose last one is the directive."""
    turns: Iterator[tuple[str, str]] = (
        ("user" if (history - at) % 2 else "assistant", f"message {at}: " + "lorem ipsum " * 8)
        for at in range(history - 1)
    )
    return [*turns, ("user", directive)]
