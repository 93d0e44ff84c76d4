"""The public API as users write it: read by `make types` and `make pyright`, run by nothing."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

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
    ToolCall,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr
from typing_extensions import assert_type

from langchain_ai365vip import AI365VIP, AvailableModel, ChatAI365VIP, Timeout
from langchain_ai365vip.batch import Progress, RayRows, abatch_file, batch_file
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
    reasoning="opened",
    estimate_usage=True,
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
thinking = ChatAI365VIP(reasoning=True)
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
ChatAI365VIP(reasoning="closed")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ChatAI365VIP(estimate_usage="some")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
anything: BaseChatModel = full


@tool
def weather(city: str) -> str:
    """Say what the weather is like in a city."""
    return f"Sunny in {city}"


class City(BaseModel):
    """A city."""

    name: str


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
    assert_type(await model.abatch(["Hello", "Hi"]), list[AIMessage])
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


async def bound(model: ChatAI365VIP) -> None:
    """Bind settings and tools to it."""
    brief = model.bind(stop=["."], max_tokens=10)
    assert_type(brief.invoke("Hello"), AIMessage)
    assert_type(await brief.ainvoke("Hello"), AIMessage)
    tooled = model.bind_tools(
        [weather, City, last, {"name": "now", "description": "The time.", "parameters": {}}],
        tool_choice="any",
        strict=True,
        parallel_tool_calls=False,
    )
    assert_type(tooled, Runnable[LanguageModelInput, AIMessage])
    message = tooled.invoke("Hello")
    assert_type(message.tool_calls, list[ToolCall])
    assert_type(await tooled.abatch(["Hello"]), list[AIMessage])
    model.bind_tools([weather], parallel_tool_calls="no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def structured(model: ChatAI365VIP) -> None:
    """Ask for objects: as with every LangChain model, of which type is known at run time."""
    of_class = model.with_structured_output(City)
    assert_type(of_class, Runnable[LanguageModelInput, dict[str, Any] | BaseModel])
    answer = of_class.invoke("Hello")
    if isinstance(answer, City):
        assert_type(answer.name, str)
    of_schema = model.with_structured_output({"title": "City", "type": "object"}, strict=True)
    assert_type(await of_schema.ainvoke("Hello"), dict[str, Any] | BaseModel)
    raw = model.with_structured_output(City, method="json_schema", include_raw=True)
    both = raw.invoke("Hello")
    if isinstance(both, dict):
        assert_type(both, dict[str, Any])
    async for part in model.with_structured_output(City, partial_objects=True).astream("Hello"):
        assert_type(part, dict[str, Any] | BaseModel)
    model.with_structured_output(City, method="grammar")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def in_bulk(model: ChatAI365VIP) -> None:
    """Answer the rows of a file; the sync function takes what the async one takes."""
    assert_type(batch_file("in.jsonl", Path("out.jsonl"), model, concurrency=2), Progress)
    assert_type(await abatch_file("in.jsonl", "out.jsonl", model, ordered=True), Progress)
    rows = RayRows({"model": "gpt-4o"}, schema={"title": "City", "type": "object"})
    assert_type(rows({"id": [1], "prompt": ["Hello"]}), dict[str, list[Any]])
    RayRows(model)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
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
    LocalServer({"small": model}, default="small", api_key="sk-1", page=False, debug=True)
    LocalServer(model, client_prompt="drop", allowed_hosts=["chat.test"], send_timeout=2.5)
    LocalServer(model, client_prompt="keep")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    LocalServer(model, api_key=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    LocalServer(model, api_kye="sk-1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    async with LocalServer(model, port=3000, max_concurrency=8) as server:
        assert_type(server.requests, int)
