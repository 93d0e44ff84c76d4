"""The endpoint as clients see it: raw requests in, bytes out."""

from __future__ import annotations

import asyncio
import json
import operator
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core import exceptions as core
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph
from typing_extensions import TypedDict

from langchain_ai365vip import errors
from langchain_ai365vip.server import create_app
from tests.server.server_kit import (
    PlainModel,
    ScriptedModel,
    chat_body,
    parse_answer,
    says,
    serve,
    serve_app,
)


async def test_each_delta_is_one_chunk_written_before_the_next_is_made() -> None:
    seen: list[asyncio.Event] = [asyncio.Event() for _ in range(3)]

    async def script() -> AsyncIterator[str]:
        for index, event in enumerate(seen):
            yield f"piece{index}"
            await event.wait()

    async with serve(ScriptedModel(script=script)) as client:
        reader, writer = await client.connect()
        writer.write(client.request(chat_body()))
        await reader.readuntil(b"\r\n\r\n")
        for index, event in enumerate(seen):
            assert await reader.readuntil(b"6\r\npiece%d\r\n" % index)
            event.set()
        assert await reader.read() == b"0\r\n\r\n"
        writer.close()


async def test_the_reply_is_raw_text_and_ends_cleanly() -> None:
    async with serve(says("Grüße, ", "", "世界", " 🌍\n")) as client:
        answer = await client.ask()
    assert (answer.status, answer.reason) == (200, "OK")
    assert answer.headers["content-type"] == "text/plain;charset=UTF-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert [chunk.decode() for chunk in answer.chunks] == ["Grüße, ", "世界", " 🌍\n", ""]


async def test_put_is_as_good_as_post_and_the_content_type_is_ignored() -> None:
    async with serve(says("ok")) as client:
        answer = await client.ask(
            method="PUT", headers=["Content-Type: text/csv", "Connection: close"]
        )
    assert answer.chunks == [b"ok", b""]


async def test_a_surrogate_pair_cut_in_two_is_joined_and_half_a_one_replaced() -> None:
    async with serve(says("a\ud83d", "\ude00b", "\udc00", "c\ud83d")) as client:
        answer = await client.ask()
    assert [chunk.decode() for chunk in answer.chunks] == ["a", "😀b", "\ufffd", "c", "\ufffd", ""]


async def test_an_http_1_0_client_gets_the_text_without_chunks() -> None:
    async with serve(says("one ", "two")) as client:
        answer = await client.ask(version="1.0", headers=[])
    assert answer.body == b"one two"


REQUESTS: dict[str, tuple[dict[str, Any], list[BaseMessage]]] = {
    "prompt and turns": (
        chat_body(
            messages=[
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"},
            ]
        ),
        [SystemMessage("Be brief."), HumanMessage("a"), AIMessage("b"), HumanMessage("c")],
    ),
    "system turns join the prompt": (
        chat_body(
            messages=[
                {"role": "user", "content": "a"},
                {"role": "system", "content": "In French."},
            ]
        ),
        [SystemMessage("Be brief.\n\nIn French."), HumanMessage("a")],
    ),
    "no prompt": (chat_body(prompt=""), [HumanMessage("Hi")]),
    "null prompt": (chat_body(prompt=None), [HumanMessage("Hi")]),
    "a prompt alone": (chat_body(messages=[]), [SystemMessage("Be brief.")]),
    "whitespace and odd characters are kept": (
        chat_body(prompt=" \x00", messages=[{"role": "user", "content": "\u2028<|im_start|>"}]),
        [SystemMessage(" \x00"), HumanMessage("\u2028<|im_start|>")],
    ),
    "nothing is trimmed": (
        chat_body(model={"id": "x", "name": "y", "maxLength": 1, "tokenLimit": 1}),
        [SystemMessage("Be brief."), HumanMessage("Hi")],
    ),
}


@pytest.mark.parametrize(("body", "messages"), REQUESTS.values(), ids=REQUESTS.keys())
async def test_the_model_sees_the_conversation(
    body: dict[str, Any], messages: list[BaseMessage]
) -> None:
    model = says("ok")
    async with serve(model) as client:
        assert (await client.ask(body)).status == 200
    assert model.asked == [messages]


@pytest.mark.parametrize(
    ("temperature", "kwargs"),
    [(0, {"temperature": 0.0}), (0.7, {"temperature": 0.7}), (None, {})],
    ids=["zero", "some", "null"],
)
async def test_a_temperature_reaches_a_model_that_has_one(
    temperature: float | None, kwargs: dict[str, float]
) -> None:
    model = says("ok")
    async with serve(model.bind()) as client:
        assert (await client.ask(chat_body(temperature=temperature))).status == 200
    assert model.passed == [kwargs]


async def test_a_temperature_is_kept_from_a_model_that_has_none() -> None:
    model = PlainModel(script=says("ok").script)
    async with serve(model) as client:
        assert (await client.ask()).status == 200
    assert model.passed == [{}]


# What can stand behind the endpoint, each with what its client gets.


async def _async_pieces(messages: list[BaseMessage]) -> AsyncIterator[str]:
    for message in messages:
        yield message.text


def _plain_function(messages: list[BaseMessage]) -> str:
    return messages[-1].text.upper()


def _weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


def _agent() -> Any:
    call = {"name": "_weather", "args": '{"city": "Paris"}', "id": "1", "index": 0}
    calling = AIMessageChunk(content="", tool_call_chunks=[call])
    replies: Iterator[list[Any]] = iter([["Let me ", "look.", calling], ["It is ", "sunny."]])

    async def script() -> AsyncIterator[Any]:
        for piece in next(replies):
            yield piece

    return create_agent(ScriptedModel(script=script), tools=[_weather])


class PlainState(TypedDict):
    """Messages as the nodes write them, without the reducer that gives them ids."""

    messages: Annotated[list[Any], operator.add]


def _graph(*nodes: Any, state: Any = MessagesState) -> Any:
    """Make a graph of nodes, one after the other, as LangGraph's first pages show it."""
    graph = StateGraph(state)
    for number, node in enumerate(nodes):
        graph.add_node(f"node {number}", node)
        graph.add_edge(f"node {number - 1}" if number else START, f"node {number}")
    return graph.compile()


def _writes(message: Any) -> Any:
    return lambda _: {"messages": [message]}


async def _copies(state: MessagesState) -> dict[str, Any]:
    """Ask a model, whose text streams, and write it once more."""
    answer = await says("streamed ", "once").ainvoke(state["messages"])
    return {"messages": [{"role": "assistant", "content": answer.text}]}


# Before Python 3.11 LangGraph cannot stream a model that a node calls asynchronously: each
# message comes whole.
AGENT_TEXTS = (
    ["Let me ", "look.", "\n\nIt is ", "sunny."]
    if sys.version_info >= (3, 11)
    else ["Let me look.", "\n\nIt is sunny."]
)

SERVED: dict[str, tuple[Any, list[str]]] = {
    "chat model": (lambda: says("a", "b"), ["a", "b"]),
    "text blocks, v0 and v1": (
        lambda: says(
            AIMessageChunk(content=[{"type": "text", "text": "a"}]),
            AIMessageChunk(content=[{"type": "reasoning", "reasoning": "hm"}]),
            AIMessageChunk(content=[{"type": "text", "text": "b", "index": 1}, "c"]),
        ),
        ["a", "bc"],
    ),
    "prompt | model": (
        lambda: ChatPromptTemplate([("system", "s"), ("placeholder", "{talk}")]) | says("a", "b"),
        ["a", "b"],
    ),
    "prompt | model | parser": (
        lambda: ChatPromptTemplate([("placeholder", "{messages}")]) | says("a") | StrOutputParser(),
        ["a"],
    ),
    "model | parser": (lambda: says("a", "b") | StrOutputParser(), ["a", "b"]),
    "function": (lambda: _plain_function, ["HI"]),
    "function that answers with a message": (
        lambda: RunnableLambda(lambda _: AIMessage("whole")),
        ["whole"],
    ),
    "generator": (lambda: _async_pieces, ["Be brief.", "Hi"]),
    "agent": (_agent, AGENT_TEXTS),
    "graph that writes messages in every form": (
        lambda: _graph(
            _writes({"role": "ai", "content": "a"}), _writes(("ai", "b")), _writes(AIMessage("c"))
        ),
        ["a", "\n\nb", "\n\nc"],
    ),
    "graph that writes a part of what it has said": (
        lambda: _graph(_writes(("ai", "yes, it is")), _writes(("ai", "yes"))),
        ["yes, it is", "\n\nyes"],
    ),
    "graph of a state without ids": (
        lambda: _graph(_writes(("ai", "a")), _writes(("ai", "b")), state=PlainState),
        ["a", "\n\nb"],
    ),
    "graph that writes what its model streamed": (
        lambda: _graph(_copies),
        ["streamed ", "once"] if sys.version_info >= (3, 11) else ["streamed once"],
    ),
}


@pytest.mark.parametrize(("make", "texts"), SERVED.values(), ids=SERVED.keys())
async def test_models_chains_functions_and_agents_are_served(make: Any, texts: list[str]) -> None:
    async with serve(make()) as client:
        answer = await client.ask()
    assert [chunk.decode() for chunk in answer.chunks] == [*texts, ""]


async def test_a_prompt_that_takes_no_conversation_is_refused_at_once() -> None:
    chain = ChatPromptTemplate.from_template("About {topic}") | says("a")
    with pytest.raises(ValueError, match=r"no other variable, but it has \['topic'\]"):
        async with serve(chain):
            pass


@pytest.mark.parametrize(
    "model",
    [
        RunnableLambda(lambda _: {"answer": "a"}),
        RunnableLambda(lambda _: HumanMessage("a")),
        says(AIMessageChunk(content="", tool_calls=[{"name": "f", "args": {}, "id": "1"}])),
    ],
    ids=["dict", "human message", "tool call without text"],
)
async def test_output_that_is_not_text_is_an_error_that_says_so(model: Any) -> None:
    async with serve(model) as client:
        answer = await client.ask()
    assert (answer.status, answer.reason) == (500, "The model's output is not text")


# Failures.


class ForeignError(Exception):
    """An exception of another library, with the attributes that those have."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__("secret sk-123\r\nSet-Cookie: x")
        vars(self).update(attributes)


class Response:
    def __init__(self, status_code: int, **headers: str) -> None:
        self.status_code = status_code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


FAILURES: dict[str, tuple[Exception, int, str, str | None]] = {
    "authentication": (core.ModelAuthenticationError(), 401, "Incorrect API key", None),
    "permission": (core.ModelPermissionDeniedError(), 403, "permission", None),
    "invalid": (core.ModelInvalidRequestError(), 400, "invalid", None),
    "context": (core.ContextOverflowError(), 400, "maximum context length", None),
    "not found": (core.ModelNotFoundError(), 404, "does not exist", None),
    "rate limit": (core.ModelRateLimitError(), 429, "Rate limit", None),
    "retry after": (
        errors.AI365VIPRateLimitError("x", retry_after=2.5),
        429,
        "Rate limit",
        "3",
    ),
    "quota": (errors.AI365VIPQuotaError("x"), 429, "quota", None),
    "api": (core.ModelAPIError(), 502, "failed", None),
    "api with a status": (errors.AI365VIPAPIError("x", status_code=503), 503, "failed", None),
    "connection": (core.ModelConnectionError(), 502, "could not be reached", None),
    "timeout": (core.ModelTimeoutError(), 504, "in time", None),
    "asyncio timeout": (asyncio.TimeoutError(), 504, "in time", None),
    "socket": (ConnectionRefusedError("x"), 502, "could not be reached", None),
    "foreign status": (ForeignError(status_code=409), 409, "Conflict", None),
    "foreign response": (
        ForeignError(response=Response(429, retry_after="7")),
        429,
        "Rate limit",
        "7",
    ),
    "foreign nonsense": (ForeignError(status_code="200", retry_after="soon"), 500, "failed", None),
    "anything else": (
        RuntimeError("secret sk-123"),
        500,
        "The model failed: the server's log says why",
        None,
    ),
}


@pytest.mark.parametrize(
    ("error", "status", "reason", "retry_after"), FAILURES.values(), ids=FAILURES.keys()
)
async def test_a_failure_before_the_first_text_has_its_true_status(
    error: Exception, status: int, reason: str, retry_after: str | None
) -> None:
    async with serve(says("", error)) as client:
        answer = await client.ask()
    assert answer.status == status
    assert reason in answer.reason
    assert answer.headers.get("retry-after") == retry_after
    assert answer.body.decode() == answer.reason
    assert "sk-123" not in answer.reason


async def test_debug_sends_the_exceptions_own_words_made_safe() -> None:
    async with serve(says(ForeignError(status_code=418)), debug=True) as client:
        answer = await client.ask()
    assert answer.status == 418
    assert answer.reason == "ForeignError: secret sk-123 Set-Cookie: x"
    assert "set-cookie" not in answer.headers


async def test_a_failure_after_the_first_text_cuts_the_connection() -> None:
    async with serve(says("half", RuntimeError("x"))) as client:
        answer = await client.ask()
    assert answer.status == 200
    assert answer.chunks == [b"half"]


async def test_a_failure_resets_the_connection_of_an_http_1_0_client() -> None:
    first_seen = asyncio.Event()

    async def script() -> AsyncIterator[str]:
        yield "half"
        await first_seen.wait()
        raise RuntimeError("x")

    async with serve(ScriptedModel(script=script)) as client:
        reader, writer = await client.connect()
        writer.write(client.request(chat_body(), version="1.0"))
        assert await reader.readuntil(b"half")
        first_seen.set()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


@pytest.mark.parametrize("texts", [["a"], []], ids=["mid-stream", "before the first text"])
async def test_the_model_is_cancelled_when_the_client_goes_away(texts: list[str]) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def script() -> AsyncIterator[str]:
        for text in texts:
            yield text
        if started.is_set():
            yield "again"
            return
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with serve(ScriptedModel(script=script), max_concurrency=1) as client:
        _, writer = await client.connect()
        writer.write(client.request(chat_body()))
        await started.wait()
        writer.close()
        await cancelled.wait()
        assert (await client.ask()).status == 200  # and its place is free again


async def test_without_handler_cancellation_the_model_ends_at_its_next_token() -> None:
    started, gone, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script() -> AsyncIterator[str]:
        try:
            yield "a"
            started.set()
            await gone.wait()
            while True:
                yield "b"
                await asyncio.sleep(0)
        finally:
            ended.set()

    app = create_app(ScriptedModel(script=script))
    async with serve_app(app, handler_cancellation=False) as client:
        _, writer = await client.connect()
        writer.write(client.request(chat_body()))
        await started.wait()
        writer.close()
        await writer.wait_closed()
        gone.set()
        await ended.wait()


async def test_an_empty_reply_is_an_empty_200() -> None:
    async with serve(says("")) as client:
        assert (await client.ask()).chunks == [b""]


async def test_a_client_that_leaves_its_reply_unread_is_let_go_after_the_model_has_ended() -> None:
    ended = asyncio.Event()

    async def script() -> AsyncIterator[str]:
        # More than the kernel takes in, so that a rest stays in the server's own buffer.
        while not full():
            yield "x" * 20_000
        ended.set()

    def full() -> bool:
        return any(
            connection.transport is not None and connection.transport.get_write_buffer_size()
            for connection in (client.server.connections if client.server else ())
        )

    app = create_app(ScriptedModel(script=script), send_timeout=0.1)
    async with serve_app(app) as client:
        server = client.server
        assert server is not None
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((client.host, client.port))
        sock.sendall(client.request(chat_body()))
        await ended.wait()
        while server.connections:  # noqa: ASYNC110 - aiohttp has no event for it
            await asyncio.sleep(0.01)
        sock.close()


# A failure in mid-reply, and the log.


PAGE = "Sec-Fetch-Mode: cors"
FIREFOX = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
BREAKS: dict[str, tuple[list[str], dict[str, Any], list[bytes]]] = {
    "API client": ([], {}, [b"half"]),
    "browser on HTTPS or this machine": (
        [PAGE, FIREFOX],
        {},
        [b"half", b"\n\n[The reply broke off]", b""],
    ),
    "the same with debug": (
        [PAGE, FIREFOX],
        {"debug": True},
        [b"half", "\n\n[The reply broke off: RuntimeError: Ошибка \\x1b[31m]".encode(), b""],
    ),
    "the endpoint's own page": ([PAGE, FIREFOX, "X-AI365VIP-Page: 1"], {}, [b"half"]),
    "Node's fetch": ([PAGE, "User-Agent: node"], {}, [b"half"]),
    "browser on plain HTTP elsewhere": ([FIREFOX], {}, [b"half"]),
    "the same where it is said to be a front end": (
        [FIREFOX],
        {"plain_http_front_end": True},
        [b"half", b"\n\n[The reply broke off]", b""],
    ),
    "API client of such an endpoint": ([], {"plain_http_front_end": True}, [b"half"]),
}


@pytest.mark.parametrize(("headers", "options", "chunks"), BREAKS.values(), ids=BREAKS.keys())
async def test_a_browsers_page_sees_that_a_reply_broke_off_and_others_are_cut(
    headers: list[str], options: dict[str, Any], chunks: list[bytes]
) -> None:
    failing = says("half", RuntimeError("Ошибка\n\x1b[31m"))
    async with serve(failing, **options) as client:
        answer = await client.ask(headers=[*headers, "Connection: close"])
    assert answer.status == 200
    assert answer.chunks == chunks


async def test_the_reason_is_readable_in_any_script() -> None:
    async with serve(says(RuntimeError("Ошибка: 失败")), debug=True) as client:
        answer = await client.ask()
    assert answer.reason.encode("latin-1").decode() == "RuntimeError: Ошибка: 失败"
    assert answer.body.decode() == "RuntimeError: Ошибка: 失败"


@pytest.mark.parametrize("debug", [False, True], ids=["quiet", "debug"])
async def test_the_log_has_the_traceback_of_a_failure(
    debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def asks_a_provider(_: Any) -> str:
        try:
            raise ConnectionError("no route")
        except ConnectionError as error:
            raise RuntimeError("the provider is gone") from error

    async with serve(asks_a_provider, debug=debug) as client:
        answer = await client.ask()
    (record,) = [one for one in caplog.records if one.levelname == "WARNING"]
    said = record.getMessage()
    assert said.startswith("model 'gpt-3.5-turbo' failed: RuntimeError('the provider is gone')\n")
    assert "in asks_a_provider" in said
    assert "ConnectionError: no route" in said
    assert ("provider is gone" in answer.reason) is debug


async def test_the_access_log_has_one_line_for_each_request_and_no_texts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="langchain_ai365vip.server.access")
    started = asyncio.Event()

    async def script() -> AsyncIterator[str]:
        yield "half"
        started.set()
        await asyncio.Event().wait()

    models = {"fine": says("ok"), "failing": says("half", RuntimeError("x"))}
    async with serve({**models, "endless": ScriptedModel(script=script)}) as client:
        await client.ask(chat_body(model={"id": "fine"}), path="/api/chat?key=s3cret")
        await client.ask(chat_body(model={"id": "failing"}))
        await client.ask(chat_body(model={"id": "other"}))
        await client.ask(b"", method="GET", path="/%1b%0aforged")
        _, writer = await client.connect()
        writer.write(client.request(chat_body(model={"id": "endless"})))
        await started.wait()
        writer.close()
        while client.server is not None and client.server.connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    lines = [one.getMessage() for one in caplog.records if one.name.endswith("server.access")]
    assert [re.sub(r" in \d+\.\d{3} s$", "", line) for line in lines] == [
        '127.0.0.1 "POST /api/chat" 200',
        '127.0.0.1 "POST /api/chat" 200, broken off',
        '127.0.0.1 "POST /api/chat" 404',
        '127.0.0.1 "GET /%1b%0aforged" 404',
        '127.0.0.1 "POST /api/chat" client gone',
    ]
    assert {one.levelname for one in caplog.records if one.name.endswith("access")} == {"INFO"}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_health_check_needs_no_key_and_tells_nothing(method: str) -> None:
    async with serve(says("ok"), api_key="s3cret") as client:
        answer = await client.ask(b"", method=method, path="/healthz")
    assert answer.status == 200
    assert answer.body == (b"ok\n" if method == "GET" else b"")


# `Expect`: who is refused is not asked for the body first.


REFUSED_FIRST: dict[str, tuple[dict[str, Any], int]] = {
    "foreign origin": ({"headers": ["Origin: https://evil.example"]}, 403),
    "foreign host": ({"host": "evil.example"}, 403),
    "too large": ({"body": b"x" * 2048}, 413),
    "no such path": ({"path": "/nothing"}, 404),
    "wrong method": ({"method": "DELETE"}, 405),
    "another expectation": ({"headers": ["Expect: \xe9"]}, 417),
}


@pytest.mark.parametrize(("how", "status"), REFUSED_FIRST.values(), ids=REFUSED_FIRST.keys())
async def test_who_is_refused_is_not_told_to_continue(how: dict[str, Any], status: int) -> None:
    body = how.pop("body", chat_body())
    headers = [*how.pop("headers", []), "Expect: 100-continue", "Connection: close"]
    async with serve(says("ok"), max_body_size=1024) as client:
        answer = await client.ask(body, headers=headers, **how)
    assert answer.status == status


async def test_a_client_that_waits_to_continue_is_told_and_answered() -> None:
    async with serve(says("ok")) as client:
        reader, writer = await client.connect()
        head, body = client.request(
            chat_body(), headers=["Expect: 100-Continue", "Connection: close"]
        ).split(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        answer = parse_answer(await reader.read())
        writer.close()
    assert (answer.status, answer.chunks) == (200, [b"ok", b""])


# Clients' system prompts.


CHATBOT_UI = (
    "You are ChatGPT, a large language model trained by OpenAI. "
    "Follow the user's instructions carefully. Respond using markdown."
)
PROMPTS: dict[str, tuple[str, str | None, list[str], list[str]]] = {
    # The option, the prompt of the client, what an agent and what a model is told.
    "the front end's default": ("auto", CHATBOT_UI, ["Own."], [CHATBOT_UI]),
    "another prompt": ("auto", "Be brief.", ["Own.", "Be brief."], ["Be brief."]),
    "the default and more": ("auto", f"{CHATBOT_UI} In French.",
        ["Own.", f"{CHATBOT_UI} In French."], [f"{CHATBOT_UI} In French."]),
    "no prompt": ("auto", None, ["Own."], []),
    "all used": ("use", CHATBOT_UI, ["Own.", CHATBOT_UI], [CHATBOT_UI]),
    "all dropped": ("drop", "Be brief.", ["Own."], []),
}  # fmt: skip


@pytest.mark.parametrize(
    ("option", "prompt", "agents", "models"), PROMPTS.values(), ids=PROMPTS.keys()
)
async def test_an_agents_own_prompt_is_not_followed_by_a_front_ends_default(
    option: Any, prompt: str | None, agents: list[str], models: list[str]
) -> None:
    inner, plain = says("a"), says("b")
    served = {"agent": create_agent(inner, tools=[], system_prompt="Own."), "model": plain}
    async with serve(served, client_prompt=option) as client:
        for name in served:
            answer = await client.ask(chat_body(model={"id": name}, prompt=prompt))
            assert answer.status == 200
    told = [
        [message.text for message in model.asked[0] if isinstance(message, SystemMessage)]
        for model in (inner, plain)
    ]
    assert told == [agents, models]


async def test_system_turns_are_used_where_the_default_prompt_is_not() -> None:
    inner = says("a")
    agent = create_agent(inner, tools=[], system_prompt="Own.")
    body = chat_body(
        prompt=CHATBOT_UI,
        messages=[
            {"role": "system", "content": "In French."},
            {"role": "user", "content": "Hi"},
        ],
    )
    async with serve(agent) as client:
        assert (await client.ask(body)).status == 200
    assert [message.text for message in inner.asked[0]] == ["Own.", "In French.", "Hi"]


# The model's id.


async def test_the_default_model_answers_to_ids_that_are_not_listed() -> None:
    models = {"small": says("s"), "large": says("l")}
    async with serve(models, default="large") as client:
        unlisted = await client.ask(chat_body(model={"id": "gpt-3.5-turbo"}))
        small = await client.ask(chat_body(model={"id": "small"}))
        listing = await client.ask({"key": ""}, path="/api/models")
    assert [unlisted.chunks[0], small.chunks[0]] == [b"l", b"s"]
    assert [one["id"] for one in json.loads(listing.body)] == ["small", "large"]


async def test_a_single_model_answers_to_any_id() -> None:
    async with serve(says("ok")) as client:
        answer = await client.ask(chat_body(model={"id": "made-up\r\n\x1b[31m"}))
    assert answer.status == 200


async def test_a_mapping_of_models_answers_to_its_ids_alone() -> None:
    async with serve({"small": says("s"), "large": says("l")}) as client:
        small = await client.ask(chat_body(model={"id": "small"}))
        large = await client.ask(chat_body(model={"id": "large", "name": "Large"}))
        other = await client.ask(chat_body(model={"id": "gpt-4"}))
    assert [small.chunks[0], large.chunks[0]] == [b"s", b"l"]
    assert (other.status, other.reason) == (
        404,
        "The model does not exist, there are: small, large",
    )


LISTINGS: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "mapping": ({"small": says("s"), "large": says("l")}, {}, ["small", "large"]),
    "given": (says("s"), {"model_id": "mine"}, ["mine"]),
    "nameless": (says("s"), {}, ["langchain"]),
}


@pytest.mark.parametrize(("model", "options", "ids"), LISTINGS.values(), ids=LISTINGS.keys())
async def test_models_are_listed(model: Any, options: dict[str, Any], ids: list[str]) -> None:
    async with serve(model, **options) as client:
        answer = await client.ask({"key": ""}, path="/api/models")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain;charset=UTF-8"
    assert json.loads(answer.body) == [{"id": name, "name": name} for name in ids]


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with serve(says("ok")) as client:
        reader, writer = await client.connect()
        for _ in range(3):
            writer.write(client.request(chat_body(), headers=[]))
            answer = parse_answer(await reader.readuntil(b"0\r\n\r\n"))
            assert answer.chunks == [b"ok", b""]
        writer.close()
