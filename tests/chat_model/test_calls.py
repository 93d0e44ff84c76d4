"""`ChatAI365VIP` over a real loopback server: LangChain's contract in every way of calling."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk, LLMResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda
from langchain_core.tracers.context import collect_runs
from pydantic import BaseModel, ValidationError

from langchain_ai365vip import AvailableModel, ChatAI365VIP, Timeout, _sync
from langchain_ai365vip.errors import (
    AI365VIPAPIError,
    AI365VIPConnectionError,
    AI365VIPContextOverflowError,
    AI365VIPInvalidRequestError,
    AI365VIPTimeoutError,
    AI365VIPUnsupportedContentError,
)
from tests.agent_kit import Gist, Request, asked, gist
from tests.endpoint import Endpoint, in_turn

pytestmark = pytest.mark.filterwarnings(
    # stream_events and astream_events with version="v3".
    "ignore:.* is in beta:langchain_core._api.beta_decorator.LangChainBetaWarning"
)

Chunks = list[AIMessageChunk]
Way = Callable[..., Awaitable[AIMessage]]


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    return ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url)


@pytest.fixture
def nothing_may_block() -> Iterator[BlockBuster]:
    with blockbuster_ctx() as blocking:
        yield blocking


# -- every way of calling ----------------------------------------------------------------------


def merged(chunks: Chunks) -> AIMessage:
    message = reduce(add, chunks)
    assert isinstance(message, AIMessageChunk)
    return message


async def by_invoke(model: Any, text: Any = "Hi", /, **kwargs: Any) -> AIMessage:
    message: AIMessage = model.invoke(text, **kwargs)  # inside a running loop, as in Jupyter
    return message


async def by_ainvoke(model: Any, text: Any = "Hi", /, **kwargs: Any) -> AIMessage:
    message: AIMessage = await model.ainvoke(text, **kwargs)
    return message


async def by_stream(model: Any, text: Any = "Hi", /, **kwargs: Any) -> AIMessage:
    return merged(list(model.stream(text, **kwargs)))


async def by_astream(model: Any, text: Any = "Hi", /, **kwargs: Any) -> AIMessage:
    return merged([chunk async for chunk in model.astream(text, **kwargs)])


async def by_invoke_streaming(model: Any, text: Any = "Hi", /, **kwargs: Any) -> AIMessage:
    return await by_invoke(model, text, stream=True, **kwargs)


async def by_ainvoke_streaming(model: Any, text: Any = "Hi", /, **kwargs: Any) -> AIMessage:
    return await by_ainvoke(model, text, stream=True, **kwargs)


async def by_batch(model: Any, text: Any = "Hi", /, **kwargs: Any) -> AIMessage:
    messages: list[AIMessage] = model.batch([text], **kwargs)
    return messages[0]


async def by_abatch(model: Any, text: Any = "Hi", /, **kwargs: Any) -> AIMessage:
    messages: list[AIMessage] = await model.abatch([text], **kwargs)
    return messages[0]


async def by_events(model: Any, text: Any = "Hi", /, **kwargs: Any) -> AIMessage:
    message: AIMessage = model.stream_events(text, version="v3", **kwargs).output
    return message


async def by_aevents(model: Any, text: Any = "Hi", /, **kwargs: Any) -> AIMessage:
    message: AIMessage = await (await model.astream_events(text, version="v3", **kwargs))
    return message


WAYS: dict[str, Way] = {
    "invoke": by_invoke,
    "ainvoke": by_ainvoke,
    "stream": by_stream,
    "astream": by_astream,
    "invoke-streaming": by_invoke_streaming,
    "ainvoke-streaming": by_ainvoke_streaming,
    "batch": by_batch,
    "abatch": by_abatch,
    "stream_events-v3": by_events,
    "astream_events-v3": by_aevents,
}
every_way = pytest.mark.parametrize("call", WAYS.values(), ids=WAYS)
# What is judged before a way of calling matters: in two of them, and in the others thoroughly.
two_ways = pytest.mark.parametrize(
    "call",
    [
        pytest.param(
            way, id=name, marks=[] if name in ("invoke", "astream") else [pytest.mark.thorough]
        )
        for name, way in WAYS.items()
    ],
)
HI = Request([("user", "Hi")])
UNNAMED = replace(HI, model="gpt-3.5-turbo")  # of a model that was given no name
HELLO: Gist = [("text", "Hello there!"), ("end", "stop")]
METADATA = {"model_name": "gpt-4o", "model_provider": "ai365vip", "finish_reason": "stop"}


# -- results -----------------------------------------------------------------------------------


@every_way
async def test_a_reply_is_one_message_with_its_metadata_once(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    message = await call(model)
    assert message.text == "Hello there!"
    metadata = {k: v for k, v in message.response_metadata.items() if k != "output_version"}
    assert metadata == METADATA
    assert message.id is not None
    assert message.id.startswith("lc_run-")
    assert message.usage_metadata is None
    assert not message.tool_calls
    assert not message.invalid_tool_calls
    assert endpoint.requests == 1


async def streamed(model: ChatAI365VIP, how: str) -> Chunks:
    chunks = (
        list(model.stream("Hi"))
        if how == "stream"
        else [chunk async for chunk in model.astream("Hi")]
    )
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    return chunks


@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_metadata_stands_on_the_last_chunk_and_nowhere_else(
    model: ChatAI365VIP, how: str
) -> None:
    *texts, last = await streamed(model, how)
    assert "".join(chunk.text for chunk in texts) == "Hello there!"
    assert all(chunk.response_metadata == {} for chunk in texts)
    assert all(chunk.chunk_position is None for chunk in texts)
    assert (last.content, last.chunk_position) == ("", "last")
    assert last.response_metadata == METADATA
    assert len({chunk.id for chunk in (*texts, last)}) == 1
    assert all(chunk.usage_metadata is None for chunk in (*texts, last))


async def test_no_two_chunks_share_what_can_be_changed(model: ChatAI365VIP) -> None:
    chunks = await streamed(model, "astream")
    for chunk in chunks:
        chunk.response_metadata["mine"] = 1
        chunk.additional_kwargs["mine"] = 1
        chunk.tool_call_chunks.append({"name": "n", "args": "", "id": "", "index": 0})
    again = await streamed(model, "astream")
    assert all("mine" not in chunk.response_metadata for chunk in again)
    assert all(len(chunk.tool_call_chunks) == 1 for chunk in chunks)
    assert len({id(chunk.response_metadata) for chunk in chunks}) == len(chunks)


@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_output_version_v1_makes_one_growing_text_block(endpoint: Endpoint, how: str) -> None:
    model = ChatAI365VIP(base_url=endpoint.base_url, output_version="v1")
    chunks = await streamed(model, how)
    assert chunks[0].content == [{"type": "text", "text": chunks[0].text, "index": 0}]
    message = merged(chunks)
    assert message.content == [{"type": "text", "text": "Hello there!", "index": 0}]
    assert message.content_blocks == message.content
    assert message.response_metadata["output_version"] == "v1"
    assert message.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize("call", [by_invoke, by_ainvoke], ids=["invoke", "ainvoke"])
async def test_output_version_v1_makes_a_text_block_of_a_whole_reply(
    endpoint: Endpoint, call: Way
) -> None:
    message = await call(ChatAI365VIP(base_url=endpoint.base_url, output_version="v1"))
    assert message.content == [{"type": "text", "text": "Hello there!"}]
    assert message.response_metadata["output_version"] == "v1"


@every_way
async def test_text_beyond_ascii_and_a_megabyte_on_one_line_arrive_unchanged(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    text = "Grüße, 世界! 😀 " + "x" * 1_000_000
    encoded = text.encode()
    endpoint.pieces = [encoded[at : at + 40_007] for at in range(0, len(encoded), 40_007)]
    assert (await call(model)).text == text


# -- events and callbacks ----------------------------------------------------------------------


async def test_astream_events_v2_tells_each_chunk_once(paced: Endpoint) -> None:
    model = ChatAI365VIP(model="gpt-4o", base_url=paced.base_url)
    paced.release()
    seen = []
    async for event in model.astream_events("Hi", version="v2"):
        seen.append(event)
        if event["event"] == "on_chat_model_stream":
            paced.release()
    names = [event["event"] for event in seen]
    assert names == ["on_chat_model_start", *["on_chat_model_stream"] * 4, "on_chat_model_end"]
    chunks = [event["data"]["chunk"] for event in seen[1:-1]]
    assert [chunk.text for chunk in chunks] == ["Hello", " there", "!", ""]
    assert seen[-1]["data"]["output"].text == "Hello there!"
    assert seen[-1]["data"]["output"].response_metadata == {**METADATA, "finish_reason": "stop"}
    assert seen[0]["metadata"]["ls_model_name"] == "gpt-4o"
    assert gist(chunks) == gist([seen[-1]["data"]["output"]]) == HELLO
    assert asked(paced) == [HI]


EVENTS_V3 = [
    "message-start",
    "content-block-start",
    *["content-block-delta"] * 3,
    "content-block-finish",
    "message-finish",
]


async def test_astream_events_v3_follows_the_lifecycle(paced: Endpoint) -> None:
    model = ChatAI365VIP(model="gpt-4o", base_url=paced.base_url)
    paced.release()
    seen: list[Any] = []
    async for event in await model.astream_events("Hi", version="v3"):
        seen.append(event)
        if event["event"] == "content-block-delta":
            paced.release()
    assert [event["event"] for event in seen] == EVENTS_V3
    assert [event["delta"]["text"] for event in seen[2:5]] == ["Hello", " there", "!"]
    assert seen[5]["content"]["text"] == "Hello there!"
    assert asked(paced) == [HI]


def test_stream_events_v3_follows_the_lifecycle(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    endpoint.paced = True
    endpoint.release()
    seen: list[Any] = []
    for event in model.stream_events("Hi", version="v3"):
        seen.append(event)
        if event["event"] == "content-block-delta":
            endpoint.release()
    assert [event["event"] for event in seen] == EVENTS_V3
    assert [event["delta"]["text"] for event in seen[2:5]] == ["Hello", " there", "!"]
    assert seen[5]["content"]["text"] == "Hello there!"
    assert asked(endpoint) == [HI]


class Recorder(BaseCallbackHandler):
    """Notes what core tells about a run; as a sync handler it is told in async runs, too."""

    def __init__(self) -> None:
        self.starts = 0
        self.tokens: list[str] = []
        self.chunks: list[object] = []
        self.ends: list[LLMResult] = []
        self.errors: list[BaseException] = []
        self.told: Callable[[], object] = lambda: None

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.starts += 1

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        self.tokens.append(token)
        self.chunks.append(chunk)
        self.told()

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        self.ends.append(response)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.errors.append(error)


class AsyncRecorder(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def on_llm_new_token(
        self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any
    ) -> None:
        assert isinstance(chunk, ChatGenerationChunk)
        self.tokens.append(token)


TOKENS = ["Hello", " there", "!", ""]


@pytest.mark.parametrize(
    ("call", "tokens"),
    [
        pytest.param(by_stream, TOKENS, id="stream"),
        pytest.param(by_astream, TOKENS, id="astream"),
        pytest.param(by_invoke_streaming, TOKENS, id="invoke-streaming"),
        pytest.param(by_ainvoke_streaming, TOKENS, id="ainvoke-streaming"),
        pytest.param(by_events, TOKENS, id="stream_events-v3"),
        pytest.param(by_aevents, TOKENS, id="astream_events-v3"),
        pytest.param(by_invoke, [], id="invoke"),
        pytest.param(by_ainvoke, [], id="ainvoke"),
    ],
)
async def test_a_callback_is_told_of_each_chunk_once(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way, tokens: list[str]
) -> None:
    recorder = Recorder()
    # One network read a piece: the next is sent once the one before has been seen.
    endpoint.paced = bool(tokens)
    endpoint.release()
    recorder.told = endpoint.release
    await call(model, config={"callbacks": [recorder]})
    assert recorder.tokens == tokens
    assert all(isinstance(chunk, ChatGenerationChunk) for chunk in recorder.chunks)
    assert (recorder.starts, len(recorder.ends), recorder.errors) == (1, 1, [])
    [[generation]] = recorder.ends[0].generations
    assert generation.text == "Hello there!"


async def test_an_async_callback_is_told_of_each_chunk_once(model: ChatAI365VIP) -> None:
    for call in (by_astream, by_ainvoke_streaming, by_aevents):
        recorder = AsyncRecorder()
        await call(model, config={"callbacks": [recorder]})
        assert "".join(recorder.tokens) == "Hello there!"
        assert recorder.tokens[-1] == ""


async def test_a_streaming_callback_makes_invoke_stream(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    chain: Runnable[str, AIMessage] = RunnableLambda(lambda text: model.invoke(text))
    seen = [
        event["data"]["chunk"].text
        async for event in chain.astream_events("Hi", version="v2")
        if event["event"] == "on_chat_model_stream"
    ]
    assert "".join(seen) == "Hello there!"
    assert seen[-1] == ""
    assert endpoint.requests == 1


async def test_streaming_true_makes_invoke_stream_and_false_makes_stream_one_message(
    endpoint: Endpoint,
) -> None:
    recorder = Recorder()
    streaming = ChatAI365VIP(base_url=endpoint.base_url, streaming=True, callbacks=[recorder])
    assert streaming.invoke("Hi").text == (await streaming.ainvoke("Hi")).text == "Hello there!"
    assert "".join(recorder.tokens) == "Hello there!" * 2

    whole = ChatAI365VIP(base_url=endpoint.base_url, streaming=False)
    assert [message.text for message in whole.stream("Hi")] == ["Hello there!"]
    assert [message.text async for message in whole.astream("Hi")] == ["Hello there!"]
    assert endpoint.requests == 4


async def test_disable_streaming_gives_one_message(endpoint: Endpoint) -> None:
    model = ChatAI365VIP(base_url=endpoint.base_url, disable_streaming=True)
    messages = [*model.stream("Hi"), *[message async for message in model.astream("Hi")]]
    assert [message.text for message in messages] == ["Hello there!"] * 2
    assert not any(isinstance(message, AIMessageChunk) for message in messages)


async def test_a_trace_holds_the_model_the_settings_and_the_reply(model: ChatAI365VIP) -> None:
    with collect_runs() as runs:
        model.invoke("Hi", temperature=0, stop=["END"])
    [run] = runs.traced_runs
    assert run.extra is not None
    assert run.extra["metadata"]["ls_provider"] == METADATA["model_provider"]
    assert run.extra["metadata"]["ls_temperature"] == 0
    assert run.extra["metadata"]["ls_stop"] == ["END"]
    assert run.extra["invocation_params"]["model"] == "gpt-4o"
    assert run.outputs is not None
    [[generation]] = run.outputs["generations"]
    assert generation["text"] == "Hello there!"


def broken_off(_: dict[str, Any]) -> Iterator[str]:
    """A reply whose connection is lost after its first piece."""
    yield "Hello"
    raise ConnectionResetError


@pytest.mark.parametrize(
    "call",
    [by_stream, by_astream, by_events, by_aevents],
    ids=["stream", "astream", "stream_events-v3", "astream_events-v3"],
)
async def test_a_callback_is_told_the_error_with_what_was_streamed_before(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    endpoint.pieces = broken_off
    recorder = Recorder()
    with pytest.raises(AI365VIPConnectionError) as raised:
        await call(model, config={"callbacks": [recorder]})
    assert raised.value.partial_text == "Hello"
    for _ in range(6000):  # a v3 stream fails first and tells its callbacks then, in a thread
        if recorder.errors:
            break
        await asyncio.sleep(0.01)
    assert recorder.errors == [raised.value]
    assert recorder.tokens == ["Hello"]
    assert (recorder.starts, recorder.ends, endpoint.requests) == (1, [], 1)


# -- messages ----------------------------------------------------------------------------------


@every_way
async def test_messages_reach_the_wire_as_a_prompt_and_turns(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    conversation: Any = [
        SystemMessage("One."),
        HumanMessage("a"),
        HumanMessage([{"type": "text", "text": "b"}]),
        AIMessage("c"),
        SystemMessage("Two."),
        HumanMessage("d"),
    ]
    await call(model, conversation)
    [body] = endpoint.bodies
    assert body["prompt"] == "One.\n\nTwo."
    assert body["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]


@every_way
async def test_without_a_system_message_the_models_own_prompt_is_sent(
    endpoint: Endpoint, call: Way
) -> None:
    await call(ChatAI365VIP(base_url=endpoint.base_url))
    await call(ChatAI365VIP(base_url=endpoint.base_url, system_prompt="Be brief."))
    assert [body["prompt"] for body in endpoint.bodies] == [
        "You are a helpful assistant.",
        "Be brief.",
    ]


@every_way
async def test_an_image_is_refused_before_anything_is_sent(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    image: Any = [HumanMessage([{"type": "image_url", "image_url": {"url": "http://i.test/"}}])]
    with pytest.raises(AI365VIPUnsupportedContentError, match='block of type "image'):
        await call(model, image)
    assert endpoint.connections == 0


# -- stop and max_tokens -----------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("given", ["constructor", "call", "bind"])
async def test_stop_cuts_the_reply_across_chunks(endpoint: Endpoint, call: Way, given: str) -> None:
    endpoint.pieces = ["one ", "two EN", "D three"]
    if given == "constructor":
        model: Any = ChatAI365VIP(base_url=endpoint.base_url, stop=["END"])
    else:
        model = ChatAI365VIP(base_url=endpoint.base_url, stop=["one"])
    if given == "bind":
        model = model.bind(stop=["END"])
    message = await call(model, **({"stop": ["END"]} if given == "call" else {}))
    assert message.text == "one two "
    assert message.response_metadata["finish_reason"] == "stop"
    assert "stop" not in endpoint.bodies[0]


@every_way
async def test_max_tokens_cuts_the_reply_approximately(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    endpoint.pieces = ["word "] * 1_000
    message = await call(model, max_tokens=100)
    assert 50 < len(message.text.split()) < 200
    assert message.response_metadata["finish_reason"] == "length"
    assert "max_tokens" not in endpoint.bodies[0]


@every_way
async def test_a_reply_that_is_all_stop_is_an_empty_message_and_no_error(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    endpoint.pieces = ["END", " more"]
    message = await call(model, stop=["END"])
    assert message.text == ""
    assert message.response_metadata["finish_reason"] == "stop"
    assert endpoint.requests == 1


@pytest.mark.parametrize(
    "limits", [{"stop": ["END"]}, {"max_tokens": 1}], ids=["stop", "max_tokens"]
)
async def test_the_connection_is_closed_at_the_hit_while_the_consumer_holds_the_last_text(
    paced: Endpoint, limits: dict[str, Any]
) -> None:
    model = ChatAI365VIP(base_url=paced.base_url, **limits)
    paced.pieces = ["one END two three", "never"]
    paced.release()
    stream = model.astream("Hi")
    first = await stream.__anext__()
    assert "one END two three".startswith(first.text)
    assert await asyncio.to_thread(paced.closed.wait, 30)
    rest = [chunk.text async for chunk in stream]
    assert rest == [""]


@pytest.mark.parametrize(
    "limits", [{"stop": ["END"]}, {"max_tokens": 1}], ids=["stop", "max_tokens"]
)
def test_the_connection_is_closed_at_the_hit_in_sync_streams(
    endpoint: Endpoint, limits: dict[str, Any]
) -> None:
    endpoint.paced = True
    endpoint.pieces = ["one END two three", "never"]
    endpoint.release()
    stream = ChatAI365VIP(base_url=endpoint.base_url, **limits).stream("Hi")
    assert "one END two three".startswith(next(stream).text)
    assert endpoint.closed.wait(30)
    assert [chunk.text for chunk in stream] == [""]


@settings(max_examples=60)
@given(data=st.data())
def test_what_is_shown_does_not_depend_on_how_the_reply_was_cut(
    endpoint: Endpoint, data: st.DataObject
) -> None:
    text = data.draw(st.text(alphabet="ab€\n", min_size=1, max_size=20))
    encoded = text.encode()
    places = data.draw(st.sets(st.integers(0, len(encoded))))
    edges = sorted({0, *places, len(encoded)})
    endpoint.pieces = [encoded[a:b] for a, b in pairwise(edges)]
    stop = data.draw(st.lists(st.text(alphabet="ab€\n", min_size=1, max_size=4), max_size=2))
    model = ChatAI365VIP(base_url=endpoint.base_url, stop=stop)
    hits = [at + len(each) for each in stop if (at := text.find(each)) >= 0]
    seen = text[: min(hits)] if hits else text
    expected = min((seen.removesuffix(each) for each in stop), key=len, default=seen)
    assert "".join(chunk.text for chunk in model.stream("Hi")) == expected
    assert model.invoke("Hi").text == expected


# -- a call's own settings -----------------------------------------------------------------------


@every_way
@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        pytest.param({"model": "other"}, ("model", "id"), "other", id="model"),
        pytest.param({"temperature": 0}, ("temperature",), 0, id="temperature-zero"),
        pytest.param({"temperature": None}, ("temperature",), None, id="temperature-none"),
        pytest.param({"system_prompt": "Be brief."}, ("prompt",), "Be brief.", id="system_prompt"),
        pytest.param({"token_limit": 5_000}, ("model", "tokenLimit"), 5_000, id="token_limit"),
        pytest.param({"extra_body": {"top_p": 0}}, ("top_p",), 0, id="extra_body"),
    ],
)
async def test_a_calls_own_setting_wins_in_every_way_of_calling(
    endpoint: Endpoint,
    model: ChatAI365VIP,
    call: Way,
    setting: dict[str, Any],
    path: tuple[str, ...],
    value: object,
) -> None:
    message = await call(model, **setting)
    await call(model.bind(**setting))
    for body in endpoint.bodies:
        assert reduce(lambda place, name: place[name], path, body) == value
    assert message.response_metadata["model_name"] == setting.get("model", "gpt-4o")
    # The model itself is as it was.
    await call(model)
    assert reduce(lambda place, name: place.get(name, ...), path, endpoint.bodies[-1]) != value


@every_way
@pytest.mark.parametrize(
    "name",
    ["model", "system_prompt", "special_tokens", "max_retries", "reasoning", "estimate_usage"],
)
async def test_none_for_what_cannot_be_none_leaves_the_models_own(
    endpoint: Endpoint, call: Way, name: str
) -> None:
    model = ChatAI365VIP(
        model="gpt-4o",
        base_url=endpoint.base_url,
        system_prompt="Be brief.",
        special_tokens="raise",
        max_retries=0,
        reasoning=True,
        estimate_usage=True,
    )
    endpoint.pieces = ["<think>Hm.</think>Hello"]
    own, message = await call(model), await call(model, **{name: None})
    assert endpoint.bodies[0] == endpoint.bodies[1]
    assert message.content_blocks == own.content_blocks
    assert message.usage_metadata == own.usage_metadata is not None
    assert message.response_metadata == own.response_metadata
    with pytest.raises(AI365VIPInvalidRequestError, match="endoftext"):
        await call(model, "<|endoftext|>", **{name: None})
    endpoint.response = lambda _: web.Response(status=503)
    with pytest.raises(AI365VIPAPIError):
        await call(model, **{name: None})
    assert endpoint.requests == 3


async def test_a_calls_special_tokens_timeout_and_retries_win(
    paced: Endpoint, model: ChatAI365VIP
) -> None:
    with pytest.raises(AI365VIPInvalidRequestError, match="endoftext"):
        await model.ainvoke("<|endoftext|>", special_tokens="raise")
    assert paced.requests == 0
    with pytest.raises(AI365VIPTimeoutError, match=r"first_byte is 0\.05 s"):
        await model.ainvoke("Hi", timeout=Timeout(first_byte=0.05), max_retries=0)
    # Whether a busy machine's server has heard of that one by now is not known.
    paced.response = lambda _: web.Response(status=503)
    with pytest.raises(AI365VIPAPIError):
        await model.ainvoke("Ho", max_retries=0)
    assert [body["messages"][0]["content"] for body in paced.bodies].count("Ho") == 1


@every_way
@pytest.mark.parametrize(
    ("setting", "says"),
    [
        pytest.param({"tools": [{"name": "t"}]}, r"tools\[0\] .* bind_tools", id="tools"),
        pytest.param({"tool_choice": "any"}, "no tools are bound. Bind some", id="tool_choice"),
        pytest.param({"response_format": "json"}, "'json' is not understood. Use", id="format"),
    ],
)
async def test_a_calls_setting_out_of_range_is_a_clear_error(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way, setting: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        await call(model, **setting)
    assert endpoint.connections == 0


@two_ways
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("model", value) for value in ("", 5)),
        *(("temperature", value) for value in (-1, "hot", math.inf)),
        *(("max_tokens", value) for value in (0, 1.5)),
        *(("token_limit", value) for value in (0, "many")),
        *(("max_retries", value) for value in (-1, 1.5)),
        ("system_prompt", 5),
        *(("timeout", value) for value in (0, "long", (1, "long"), Timeout(total=-1))),
        *(("stop", value) for value in (5, [5])),
        ("special_tokens", "drop"),
        ("reasoning", "closed"),
        ("estimate_usage", "perhaps"),
        ("extra_body", "top_p"),
        ("extra_body", {"key": "k"}),
        *(("extra_body", {"prompt": value}) for value in (None, 5)),
        ("extra_body", {"messages": None}),
        ("extra_body", {"messages": ["a"]}),
        ("extra_body", {"messages": [{"role": "user", "content": []}]}),
        *(("extra_body", {"model": value}) for value in ("gpt", {"tokenLimit": "5"})),
    ],
)
async def test_a_calls_setting_is_refused_in_the_constructors_words(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way, setting: str, value: Any
) -> None:
    with pytest.raises(ValidationError) as refused:
        ChatAI365VIP(**{setting: value})
    with pytest.raises(ValidationError) as raised:
        await call(model, **{setting: value})
    assert str(raised.value) == str(refused.value)
    assert endpoint.connections == 0


@every_way
async def test_what_the_constructor_converts_is_converted_for_a_call(
    paced: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    paced.response = lambda _: web.Response(status=503)
    with pytest.raises(AI365VIPAPIError):
        await call(model, max_retries="0", temperature="0.5")
    assert [body["temperature"] for body in paced.bodies] == [0.5]
    # By itself: a busy machine's server may hear of this one too late.
    paced.response = lambda _: None
    with pytest.raises(AI365VIPTimeoutError, match=r"first_byte is 0\.05 s"):
        await call(model, timeout=(60, "0.05", 60, None), max_retries="0")


@every_way
async def test_an_unknown_setting_of_a_call_is_named_in_a_warning_and_not_sent(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    with pytest.warns(UserWarning, match="does not know these settings .*: top_q") as warned:
        await call(model, top_q="sentinel-of-a-secret")
    assert len(warned) == 1
    assert "sentinel" not in str(warned[0].message) + str(endpoint.bodies)


@every_way
async def test_special_strings_are_escaped_with_one_warning_a_call(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    with pytest.warns(UserWarning, match="a visible backslash was put into it") as warned:
        await call(model, "a <|endoftext|> b <|fim_prefix|>")
    assert len(warned) == 1
    assert endpoint.bodies[0]["messages"][0]["content"] == "a <\\|endoftext|> b <\\|fim_prefix|>"


@every_way
async def test_a_conversation_that_the_server_would_trim_is_refused_before_it_is_sent(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    with pytest.raises(AI365VIPContextOverflowError, match="token_limit=1500"):
        await call(model, "word " * 600, token_limit=1_500)
    assert endpoint.connections == 0


# -- configuration -----------------------------------------------------------------------------


@every_way
async def test_configurable_fields_reach_the_wire_secrets_included(
    endpoint: Endpoint, model: ChatAI365VIP, call: Way
) -> None:
    configurable = model.configurable_fields(
        api_key=ConfigurableField(id="api_key"),
        model=ConfigurableField(id="model"),
        temperature=ConfigurableField(id="temperature"),
    )
    if call in (by_events, by_aevents):  # not offered by core for configurable models
        call = by_ainvoke
    config = {"configurable": {"api_key": "k", "model": "other", "temperature": 0}}
    message = await call(configurable, config=config)
    assert gist([message]) == HELLO
    assert message.response_metadata["model_name"] == "other"
    [body] = endpoint.bodies
    assert (body["key"], body["model"]["id"], body["temperature"]) == ("k", "other", 0)
    assert gist([await call(configurable)]) == HELLO
    assert asked(endpoint) == [replace(HI, model="other"), HI]
    assert endpoint.bodies[1]["key"] == ""
    assert endpoint.connections == 1


async def test_a_configured_key_is_not_in_the_trace(model: ChatAI365VIP) -> None:
    configurable = model.configurable_fields(api_key=ConfigurableField(id="api_key"))
    with collect_runs() as runs:
        await configurable.ainvoke("Hi", config={"configurable": {"api_key": "sentinel"}})
    assert runs.traced_runs
    assert "sentinel" not in str(
        [run.model_dump(exclude={"parent_run"}) for run in runs.traced_runs]
    )


async def test_configurable_alternatives_choose_the_model(endpoint: Endpoint) -> None:
    one, two = (
        ChatAI365VIP(model=name, base_url=endpoint.base_url, temperature=0) for name in ("1", "2")
    )
    chosen = one.configurable_alternatives(ConfigurableField(id="llm"), default_key="one", two=two)
    second: Any = {"configurable": {"llm": "two"}}
    messages = [
        await chosen.ainvoke("Hi"),
        await chosen.with_config(second).ainvoke("Hi"),
        await asyncio.to_thread(chosen.invoke, "Hi", second),
    ]
    assert [gist([message]) for message in messages] == [HELLO] * 3
    assert [message.response_metadata["model_name"] for message in messages] == ["1", "2", "2"]
    assert gist([chunk async for chunk in chosen.astream("Hi", second)]) == HELLO
    assert gist(chosen.stream("Hi", second)) == HELLO
    assert asked(endpoint) == [replace(HI, model=name) for name in ("1", "2", "2", "2", "2")]


# -- batch, cache, chains -------------------------------------------------------------------------


def echo(body: dict[str, Any]) -> list[str]:
    return ["<", body["messages"][-1]["content"], ">"]


async def test_batches_answer_in_order_and_as_completed(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = echo
    texts: list[Any] = [str(number) for number in range(20)]
    expected = [[("text", f"<{text}>"), ("end", "stop")] for text in texts]
    assert [gist([message]) for message in model.batch(texts)] == expected
    assert [gist([message]) for message in await model.abatch(texts)] == expected
    completed = {index: gist([message]) for index, message in model.batch_as_completed(texts)}
    assert completed == dict(enumerate(expected))
    acompleted = {index: gist([m]) async for index, m in model.abatch_as_completed(texts)}
    assert acompleted == dict(enumerate(expected))
    made = sorted(asked(endpoint), key=lambda request: int(request.turns[0][1]))
    assert made == [Request([("user", text)]) for text in texts for _ in range(4)]


async def test_max_concurrency_bounds_the_requests_of_a_batch(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    messages = await model.abatch(["Hi"] * 12, config={"max_concurrency": 3})
    assert [gist([message]) for message in messages] == [HELLO] * 12
    assert asked(endpoint) == [HI] * 12
    assert endpoint.most_open <= 3


async def test_a_batch_can_return_its_errors(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    endpoint.pieces = echo
    texts: list[Any] = ["one", "<|endoftext|>", "three"]
    results = await model.abatch(texts, return_exceptions=True, special_tokens="raise")
    assert [getattr(result, "text", type(result)) for result in results] == [
        "<one>",
        AI365VIPInvalidRequestError,
        "<three>",
    ]
    made = sorted(request.turns for request in asked(endpoint))
    assert made == [[("user", "one")], [("user", "three")]]


@pytest.mark.parametrize("call", [by_invoke, by_ainvoke], ids=["invoke", "ainvoke"])
async def test_a_cache_answers_the_second_time_until_a_field_changes(
    endpoint: Endpoint, call: Way
) -> None:
    model = ChatAI365VIP(base_url=endpoint.base_url, cache=InMemoryCache(), api_key="one")
    first, second = await call(model), await call(model)
    assert asked(endpoint) == [UNNAMED]
    assert gist([first]) == gist([second]) == HELLO
    assert second.response_metadata == first.response_metadata
    model.timeout, model.api_key = 5.0, None  # no matter for the answer
    assert gist([await call(model)]) == HELLO
    assert endpoint.requests == 1
    model.temperature = 0
    assert gist([await call(model)]) == HELLO
    assert [body["temperature"] for body in endpoint.bodies] == [1, 0]
    cut = [("text", "Hello there"), ("end", "stop")]
    assert gist([await call(model, stop=["!"])]) == cut
    assert gist([await call(model, model="other")]) == HELLO
    assert gist([await call(model, "Ho")]) == HELLO
    others = [UNNAMED, replace(HI, model="other"), replace(UNNAMED, turns=[("user", "Ho")])]
    assert asked(endpoint) == [UNNAMED, UNNAMED, *others]
    assert gist([await call(model, stop=["!"])]) == cut
    assert endpoint.requests == 5


class Answer(BaseModel):
    number: int


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
async def test_a_cache_answers_for_objects_too(endpoint: Endpoint, method: Any) -> None:
    called = '<tool_call>{"name": "Answer", "arguments": {"number": 7}}</tool_call>'
    endpoint.pieces = [called if method == "function_calling" else '{"number": 7}']
    cache = InMemoryCache()
    for _ in range(2):  # a model made anew has the same key
        model = ChatAI365VIP(base_url=endpoint.base_url, cache=cache)
        chain = model.with_structured_output(Answer, method=method)
        assert chain.invoke("Hi") == await chain.ainvoke("Hi") == Answer(number=7)
    [request] = asked(endpoint)
    # The schema is shown as a tool or as such.
    shown = replace(UNNAMED, tools=["Answer"])
    assert request == (shown if method == "function_calling" else replace(UNNAMED, schema="Answer"))
    assert (await model.ainvoke("Hi")).text == endpoint.pieces[0]
    assert asked(endpoint) == [request, UNNAMED]


async def test_streams_do_not_use_the_cache(endpoint: Endpoint) -> None:
    model = ChatAI365VIP(base_url=endpoint.base_url, cache=InMemoryCache())
    for call in (by_stream, by_astream, by_events, by_aevents):
        assert gist([await call(model)]) == gist([await call(model)]) == HELLO
    assert asked(endpoint) == [UNNAMED] * 8


async def test_a_chain_streams_as_the_model_does(paced: Endpoint) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "You are {who}."), ("human", "{text}")])
    chain = prompt | ChatAI365VIP(base_url=paced.base_url) | StrOutputParser()
    paced.release()
    seen = []
    async for text in chain.astream({"who": "kind", "text": "Hi"}):
        seen.append(text)
        paced.release()
    assert seen == ["Hello", " there", "!", ""]
    paced.release_all()
    assert chain.invoke({"who": "kind", "text": "Hi"}) == "Hello there!"
    assert asked(paced) == [replace(UNNAMED, prompt="You are kind.")] * 2


class CountingLimiter(BaseRateLimiter):
    def __init__(self) -> None:
        self.acquired = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.acquired += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.acquired += 1
        return True


@every_way
async def test_a_rate_limiter_is_asked_once_a_call(endpoint: Endpoint, call: Way) -> None:
    limiter = CountingLimiter()
    model = ChatAI365VIP(base_url=endpoint.base_url, rate_limiter=limiter)
    assert gist([await call(model)]) == HELLO
    assert (limiter.acquired, asked(endpoint)) == (1, [UNNAMED])


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_a_rate_limiter_is_asked_for_retries_and_corrections_too(
    endpoint: Endpoint, way: str
) -> None:
    limiter = CountingLimiter()
    failing = [web.Response(status=503, headers={"Retry-After": "0"})]
    endpoint.response = lambda _: failing.pop() if failing else None
    endpoint.pieces = in_turn(["No object."], ['{"n": 3}'])
    model = ChatAI365VIP(base_url=endpoint.base_url, rate_limiter=limiter)
    schema = {"title": "N", "type": "object", "properties": {"n": {"type": "integer"}}}
    structured = model.with_structured_output(schema, method="json_schema")
    if way == "invoke":
        answer = await asyncio.to_thread(structured.invoke, "How many?")
    else:
        answer = await structured.ainvoke("How many?")
    assert answer == {"n": 3}
    assert (limiter.acquired, endpoint.requests) == (3, 3)


# -- closing and connections -----------------------------------------------------------------------


async def test_closing_a_model_never_cuts_a_siblings_stream(paced: Endpoint) -> None:
    one, two = (ChatAI365VIP(base_url=paced.base_url) for _ in range(2))
    paced.release()
    seen = []
    async for chunk in one.astream("Hi"):
        seen.append(chunk.text)
        await two.aclose()
        async with two:
            pass
        two.close()
        await one.aclose()
        paced.release()
    assert seen == ["Hello", " there", "!", ""]
    paced.release_all()
    assert (await one.ainvoke("Hi")).text == "Hello there!"


def test_closing_a_model_never_cuts_a_siblings_sync_stream(endpoint: Endpoint) -> None:
    one, two = (ChatAI365VIP(base_url=endpoint.base_url) for _ in range(2))
    endpoint.paced = True
    endpoint.release()
    seen = []
    for chunk in one.stream("Hi"):
        seen.append(chunk.text)
        with two:
            pass
        one.close()
        endpoint.release()
    assert seen == ["Hello", " there", "!", ""]


async def test_aclose_closes_the_idle_connections_of_both_loops(endpoint: Endpoint) -> None:
    async with ChatAI365VIP(base_url=endpoint.base_url) as model:
        await model.ainvoke("Hi")
        model.invoke("Hi")
        assert endpoint.open_connections == 2
    assert await asyncio.to_thread(endpoint.wait_until, lambda: endpoint.open_connections == 0)


def test_close_closes_the_idle_connections_of_the_sync_methods(endpoint: Endpoint) -> None:
    with ChatAI365VIP(base_url=endpoint.base_url) as model:
        model.invoke("Hi")
        assert endpoint.open_connections == 1
    assert endpoint.wait_until(lambda: endpoint.open_connections == 0)
    model.close()
    assert model.invoke("Hi").text == "Hello there!"


async def test_max_connections_caps_what_the_server_sees(endpoint: Endpoint) -> None:
    model = ChatAI365VIP(base_url=endpoint.base_url, max_connections=2)
    messages = await asyncio.gather(*(model.ainvoke("Hi") for _ in range(20)))
    assert [message.text for message in messages] == ["Hello there!"] * 20
    assert (endpoint.most_open, endpoint.connections, endpoint.requests) == (2, 2, 20)


async def test_models_with_different_keys_and_headers_share_a_connection(
    endpoint: Endpoint,
) -> None:
    for number in range(5):
        await ChatAI365VIP(
            base_url=endpoint.base_url, api_key=str(number), default_headers={"X-N": str(number)}
        ).ainvoke("Hi")
    assert endpoint.connections == 1
    assert [body["key"] for body in endpoint.bodies] == list("01234")
    assert [headers["X-N"] for headers in endpoint.headers] == list("01234")


def test_threads_share_the_sync_methods_connections(endpoint: Endpoint) -> None:
    model = ChatAI365VIP(base_url=endpoint.base_url, max_connections=1)
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(model.invoke("Hi").text)) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["Hello there!"] * 20
    assert endpoint.connections == 1


async def test_the_endpoints_models_can_be_listed(endpoint: Endpoint) -> None:
    endpoint.models = [{"id": "a", "name": "A"}, {"id": "b", "name": "B"}]
    model = ChatAI365VIP(base_url=endpoint.base_url, api_key="k")
    assert await model.alist_models() == [AvailableModel("a", "A"), AvailableModel("b", "B")]
    assert model.list_models() == [AvailableModel("a", "A"), AvailableModel("b", "B")]
    assert endpoint.paths == ["/api/models"] * 2
    assert endpoint.bodies == [{"key": "k"}] * 2


async def test_nothing_blocks_the_loop(endpoint: Endpoint, nothing_may_block: BlockBuster) -> None:
    model = ChatAI365VIP(
        model="gpt-4o",
        base_url=endpoint.base_url,
        api_key="k",
        stop=["END"],
        max_tokens=1000,
        token_limit=4096,
    )
    assert (await model.ainvoke("Hi")).text == "Hello there!"
    assert merged([c async for c in model.astream("Hi")]).text == "Hello there!"
    assert (await by_aevents(model)).text == "Hello there!"
    assert len(await model.abatch(["Hi", "Ho"])) == 2
    assert len(await model.alist_models()) == 1
    await model.aclose()


def test_ctrl_c_ends_a_call_that_has_no_thread_but_its_own(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the interpreter's exit, when none can be started."""

    def interrupt(_body: object) -> list[str]:
        os.kill(os.getpid(), signal.SIGINT)
        return ["late"]

    monkeypatch.setattr(_sync, "_loop_thread", lambda: None)
    endpoint.paced, endpoint.pieces = True, interrupt
    with pytest.raises(KeyboardInterrupt):
        ChatAI365VIP(base_url=endpoint.base_url).invoke("Hi")
    assert endpoint.closed.wait(30)
    endpoint.release_all()
    # What the interrupted tasks leave to say is said here, and not in the middle of another test.
    gc.collect()
