"""The public API as users write it: read by `make types` and `make pyright`, run by nothing."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from aiohttp import web
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import StdOutCallbackHandler
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import Runnable
from pydantic import SecretStr
from typing_extensions import assert_type

from langchain_ai365vip import AI365VIP, AvailableModel, ChatAI365VIP, Timeout
from langchain_ai365vip.batch import Progress, abatch_file, batch_file
from langchain_ai365vip.errors import AI365VIPError, AI365VIPRateLimitError
from langchain_ai365vip.local import LocalModel
from langchain_ai365vip.server import LocalServer, create_app

minimal = ChatAI365VIP()
full = ChatAI365VIP(
    model="gpt-4o",
    base_url="http://127.0.0.1:3000",
    api_key=SecretStr("sk-1"),
    proxy=SecretStr("socks5://127.0.0.1:1080"),
    temperature=0,
    system_prompt="Be brief.",
    stop=["\n"],
    max_tokens=100,
    timeout=10,
    max_retries=0,
    streaming=True,
    default_headers={"X-Team": SecretStr("blue")},
    extra_body={"conversation": "42"},
    token_limit=16_000,
    max_connections=10,
    special_tokens="raise",
    ca_bundle="ca.pem",
    ssl_context=ssl.create_default_context(),
    # what core's own models take
    disable_streaming="tool_calling",
    output_version="v1",
    metadata={"team": "blue"},
    tags=["blue"],
)
# as most people write it: what pydantic converts, and the other integrations' names
plain = ChatAI365VIP(
    model_name="gpt-4o",
    api_key="sk-1",
    proxy="http://127.0.0.1:8080",
    stop="\n",
    default_headers={"X-Team": "blue"},
)
patient = ChatAI365VIP(timeout=Timeout(total=300))
stopping = ChatAI365VIP(stop_sequences=["\n"])
core = ChatAI365VIP(
    name="blue",
    cache=InMemoryCache(),
    verbose=True,
    callbacks=[StdOutCallbackHandler()],
    custom_get_token_ids=lambda text: [ord(letter) for letter in text],
    rate_limiter=InMemoryRateLimiter(requests_per_second=2),
    profile={"max_input_tokens": 16_000},
)
# what is wrong stays wrong: the checkers complain of an ignore that ignores nothing
ChatAI365VIP(temperature="hot")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ChatAI365VIP(api_key=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ChatAI365VIP(stop=[5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
ChatAI365VIP(temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
ChatAI365VIP("gpt-4o")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
anything: BaseChatModel = full


def called(model: ChatAI365VIP) -> None:
    """Call it in sync code."""
    assert_type(model.invoke("Hello"), AIMessage)
    text: str = model.invoke([SystemMessage("Be brief."), HumanMessage("Hello")]).text
    assert_type(model.invoke(text, stop=["."], temperature=0), AIMessage)
    assert_type(model.batch(["Hello", "Hi"]), list[AIMessage])
    chunks: Iterator[AIMessageChunk] = model.stream("Hello")
    for chunk in chunks:
        assert_type(chunk, AIMessageChunk)
    assert_type(model.list_models(), list[AvailableModel])
    assert_type(model.model_name, str)
    with model as same:
        assert_type(same, ChatAI365VIP)


async def acalled(model: ChatAI365VIP) -> None:
    """Call it in async code."""
    assert_type(await model.ainvoke("Hello"), AIMessage)
    chunks: AsyncIterator[AIMessageChunk] = model.astream("Hello")
    async for chunk in chunks:
        assert_type(chunk, AIMessageChunk)
    assert_type(await model.alist_models(), list[AvailableModel])
    async with model as same:
        assert_type(same, ChatAI365VIP)


def composed(model: ChatAI365VIP) -> None:
    """Put it where LangChain takes a model."""
    chain: Runnable[LanguageModelInput, str] = model | StrOutputParser()
    assert_type(chain.invoke("Hello"), str)
    model.with_retry().invoke("Hello")
    model.with_fallbacks([LocalModel()]).invoke("Hello")


async def in_bulk(model: ChatAI365VIP) -> None:
    """Answer the rows of a file; the sync function takes what the async one takes."""
    assert_type(batch_file("in.jsonl", Path("out.jsonl"), model, concurrency=2), Progress)
    assert_type(await abatch_file("in.jsonl", "out.jsonl", model, ordered=True), Progress)
    batch_file("in.jsonl", model)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    batch_file("in.jsonl", "out.jsonl", model, concurency=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def wired(client: AI365VIP) -> None:
    """Use the wire client, as its own object and as gpt4free does."""
    assert_type(AI365VIP.get_model("gpt-3.5-turbo"), str)
    assert_type(AI365VIP.working, bool)
    messages = [{"role": "user", "content": "Hello"}]
    async for text in AI365VIP.create_async_generator("gpt-4o", messages, timeout=10):
        assert_type(text, str)
    assert_type(await client.list_models(), list[AvailableModel])


def caught(model: ChatAI365VIP) -> None:
    """Handle its errors."""
    try:
        model.invoke("Hello")
    except AI365VIPRateLimitError as error:
        assert_type(error.retry_after, float | None)
    except AI365VIPError as error:
        assert_type(error.status_code, int | None)
        assert_type(error.partial_text, str | None)
        assert_type(error.headers, dict[str, str])


def last(messages: list[BaseMessage]) -> BaseMessage:
    """Answer with the question."""
    return messages[-1]


async def served(model: BaseChatModel) -> None:
    """Put a model behind the protocol."""
    assert_type(
        create_app(model, api_key="sk-1", allowed_origins=["https://a.test"]), web.Application
    )
    with LocalServer({"small": model, "echo": last}) as server:
        assert_type(server.base_url, str)
    async with LocalServer(model, port=3000, max_concurrency=8) as server:
        assert_type(server.requests, int)
