"""The interfaces that LangChain's users expect work: requests made and exact results."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
import uvloop
from aiohttp import web
from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain.agents.middleware import (
    LLMToolEmulator,
    LLMToolSelectorMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
)
from langchain_core.caches import BaseCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.errors import (
    AI365VIPAuthenticationError,
    AI365VIPConnectionError,
    AI365VIPRateLimitError,
)
from tests.agent_kit import (
    CALL,
    CALLED,
    RESULT,
    TOLD_SO,
    Gist,
    Request,
    Turn,
    answered,
    asked,
    gist,
    said_by,
    streamed,
    weather,
)
from tests.endpoint import Endpoint, in_turn


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    return ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url)


@pytest.fixture
def other() -> Iterator[Endpoint]:
    with Endpoint(["from ", "the other"]) as running:
        yield running


def failing(times: int, status: int, reason: str) -> Callable[[web.Request], web.Response | None]:
    """The first requests fail."""
    left = [times]

    def answer(_: web.Request) -> web.Response | None:
        left[0] -= 1
        return web.Response(status=status, reason=reason) if left[0] >= 0 else None

    return answer


def said(text: str) -> Gist:
    return [("text", text), ("end", "stop")]


async def both_ways(agent: Any) -> tuple[Gist, Gist]:
    """What an agent answers "Hi" with, invoked asynchronously and streamed."""
    state = await agent.ainvoke(HI)
    stream, _ = await asyncio.to_thread(streamed, agent, HI["messages"])
    return gist(state["messages"][1:]), stream


async def both_states(agent: Any) -> tuple[Gist, Gist]:
    """The same, but for how a middleware streams its own calls, which is LangChain's to decide."""
    state = await agent.ainvoke(HI)
    again = await asyncio.to_thread(answered, agent, HI["messages"])
    return gist(state["messages"][1:]), gist(again["messages"][1:])


# -- LangGraph ---------------------------------------------------------------------------------


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def graph_of(model: ChatAI365VIP, *, sync: bool = False) -> Any:
    # LangGraph on Python 3.10 needs the config to be passed on in async nodes.
    async def answer(state: State, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"], config)]}

    def answer_sync(state: State) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(State)
    graph.add_node("answer", answer_sync if sync else answer)
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=InMemorySaver())


def thread(number: int) -> dict[str, Any]:
    return {"configurable": {"thread_id": str(number)}}


HI = {"messages": [HumanMessage("Hi")]}
HI_TURN: list[Turn] = [("user", "Hi")]
ASKED_HI = Request(HI_TURN)
UNNAMED = replace(ASKED_HI, model="gpt-3.5-turbo")  # of a model that was given no name
HELLO = said("Hello there!")
THE_OTHER = said("from the other")


async def test_a_graph_streams_the_messages_of_a_node_that_invokes(
    paced: Endpoint, model: ChatAI365VIP
) -> None:
    paced.release()
    seen = []
    async for chunk, metadata in graph_of(model).astream(HI, thread(1), stream_mode="messages"):
        seen.append((chunk.text, metadata["langgraph_node"]))
        paced.release()
    assert seen == [(text, "answer") for text in ("Hello", " there", "!", "")]
    assert asked(paced) == [ASKED_HI]


def test_a_graph_streams_the_messages_of_a_sync_node(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.paced = True
    endpoint.release()
    seen = []
    graph = graph_of(model, sync=True)
    for chunk, _ in graph.stream(HI, thread(1), stream_mode="messages"):
        seen.append(chunk.text)
        endpoint.release()
    assert seen == ["Hello", " there", "!", ""]
    assert asked(endpoint) == [ASKED_HI]


async def test_a_graph_with_a_checkpointer_sends_the_conversation_as_turns(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    graph = graph_of(model)
    await graph.ainvoke(HI, thread(1))
    state = await graph.ainvoke({"messages": [HumanMessage("And?")]}, thread(1))
    assert gist(state["messages"]) == [("human", "Hi"), *HELLO, ("human", "And?"), *HELLO]
    last = {"messages": [HumanMessage("So?")]}
    stream = graph.astream(last, thread(1), stream_mode="messages")
    assert gist([chunk async for chunk, _ in stream]) == HELLO
    answer = ("assistant", "Hello there!")
    turns = [*HI_TURN, answer, ("user", "And?"), answer, ("user", "So?")]
    assert asked(endpoint) == [Request(turns[:length]) for length in (1, 3, 5)]


async def test_a_graph_passes_the_blocking_check_of_langgraph_dev(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    graph = graph_of(model)
    # What `langgraph dev` runs a graph under.
    with blockbuster_ctx():
        state = await graph.ainvoke(HI, thread(1))
        chunks = [chunk async for chunk, _ in graph.astream(HI, thread(2), stream_mode="messages")]
    assert gist(state["messages"][1:]) == gist(chunks) == HELLO
    assert asked(endpoint) == [ASKED_HI] * 2


# -- where init_chat_model's strings are usual, an instance is passed ----------------------------


async def test_an_agent_takes_the_instance(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    agent: Any = create_agent(model=model, system_prompt="Be brief.")
    assert await both_ways(agent) == (HELLO, HELLO)
    stream = agent.astream(HI, stream_mode="messages")
    assert gist([chunk async for chunk, _ in stream]) == HELLO
    assert asked(endpoint) == [Request(HI_TURN, prompt="Be brief.")] * 3


async def test_middleware_takes_instances(
    endpoint: Endpoint, other: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.response = failing(2, 401, "Unauthorized")
    spare = ChatAI365VIP(base_url=other.base_url)
    agent = create_agent(model=model, middleware=[ModelFallbackMiddleware(spare)])
    assert await both_ways(agent) == (THE_OTHER, THE_OTHER)
    assert (asked(endpoint), asked(other)) == ([ASKED_HI] * 2, [UNNAMED] * 2)


async def test_retry_middleware_retries_what_is_retryable_and_nothing_else(
    endpoint: Endpoint,
) -> None:
    model = ChatAI365VIP(base_url=endpoint.base_url, max_retries=0)
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False, on_failure="error")
    agent: Any = create_agent(model=model, middleware=[retry])
    endpoint.response = failing(2, 429, "Too Many Requests")
    state = await agent.ainvoke(HI)
    assert gist(state["messages"][1:]) == HELLO
    endpoint.response = failing(2, 429, "Too Many Requests")
    assert (await asyncio.to_thread(streamed, agent, HI["messages"]))[0] == HELLO
    assert asked(endpoint) == [UNNAMED] * 6
    endpoint.response = failing(3, 401, "Unauthorized")
    with pytest.raises(AI365VIPAuthenticationError):
        await agent.ainvoke(HI)
    with pytest.raises(AI365VIPAuthenticationError):
        await asyncio.to_thread(streamed, agent, HI["messages"])
    assert asked(endpoint) == [UNNAMED] * 8


async def test_summarization_takes_the_instance(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    summarize = SummarizationMiddleware(model=model, trigger=("messages", 3), keep=("messages", 1))
    agent: Any = create_agent(model=model, middleware=[summarize])
    history: list[AnyMessage] = [HumanMessage("One"), AIMessage("Two"), HumanMessage("Three")]
    endpoint.pieces = lambda body: (
        ["a summary"] if "Two" in body["messages"][-1]["content"] else ["an answer"]
    )
    state = await agent.ainvoke({"messages": history})
    told = state["messages"][0].text
    assert told.endswith("a summary")  # introduced by LangChain
    assert gist(state["messages"]) == [("human", told), ("human", "Three"), *said("an answer")]
    again = await asyncio.to_thread(answered, agent, history)
    assert gist(again["messages"]) == gist(state["messages"])
    summary, answer = asked(endpoint)[:2]
    [(_, written)] = summary.turns  # in LangChain's words
    assert [word in written for word in ("One", "Two", "Three")] == [True, True, False]
    assert summary == Request([("user", written)])
    assert answer == Request([("user", told), ("user", "Three")])
    assert asked(endpoint)[2:] == [summary, answer]


async def test_a_tool_emulator_takes_the_instance(
    endpoint: Endpoint, other: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn(*[[CALL], ["It rains."]] * 2)
    emulator = LLMToolEmulator(model=ChatAI365VIP(base_url=other.base_url))
    agent: Any = create_agent(model, [weather], middleware=[emulator])
    made_up = ("result", "weather", "from the other")
    told = [*CALLED, made_up, *said("It rains.")]
    assert await both_states(agent) == (told, told)
    result = ("user", RESULT.replace("Sunny in Paris.", "from the other"))
    first = Request(HI_TURN, ["weather"])
    second = Request([*HI_TURN, ("assistant", CALL), result], ["weather"])
    assert asked(endpoint) == [first, second] * 2
    [(role, order)] = asked(other)[0].turns  # in LangChain's words
    assert "weather" in order
    assert "Paris" in order
    assert asked(other) == [replace(UNNAMED, turns=[(role, order)])] * 2


async def test_a_tool_selector_takes_the_instance(
    endpoint: Endpoint, other: Endpoint, model: ChatAI365VIP
) -> None:
    other.pieces = [
        '<tool_call>{"name": "ToolSelectionResponse", "arguments": {"tools": ["weather"]}}'
        "</tool_call>"
    ]
    selector = LLMToolSelectorMiddleware(model=ChatAI365VIP(base_url=other.base_url))
    agent: Any = create_agent(model, [weather], middleware=[selector])
    assert await both_states(agent) == (HELLO, HELLO)
    assert asked(endpoint) == [Request(HI_TURN, ["weather"])] * 2
    choosing = asked(other)[0]
    assert choosing == replace(UNNAMED, tools=["ToolSelectionResponse"], prompt=choosing.prompt)
    assert asked(other) == [choosing] * 2


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved:DeprecationWarning")
async def test_the_agent_of_langgraph_itself_takes_the_instance(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    from langgraph.prebuilt import create_react_agent

    endpoint.pieces = in_turn(*[[CALL], ["It is sunny."]] * 2)
    looked_up = [*CALLED, TOLD_SO, *said("It is sunny.")]
    assert await both_ways(create_react_agent(model, [weather])) == (looked_up, looked_up)
    first = Request(HI_TURN, ["weather"])
    second = Request([*HI_TURN, ("assistant", CALL), ("user", RESULT)], ["weather"])
    assert asked(endpoint) == [first, second] * 2


# -- runnables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
async def test_fallbacks_answer_where_the_first_model_fails(
    endpoint: Endpoint, other: Endpoint, how: str
) -> None:
    endpoint.response = failing(1, 401, "Unauthorized")
    first, second = (ChatAI365VIP(base_url=each.base_url) for each in (endpoint, other))
    chain = first.with_fallbacks([second])
    assert await said_by(chain, how, "Hi") == THE_OTHER
    assert asked(endpoint) == asked(other) == [UNNAMED]


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "batch", "abatch"])
async def test_with_retry_tries_again(endpoint: Endpoint, how: str) -> None:
    endpoint.response = failing(2, 429, "Too Many Requests")
    model = ChatAI365VIP(base_url=endpoint.base_url, max_retries=0)
    chain = model.with_retry(
        retry_if_exception_type=(AI365VIPRateLimitError,), wait_exponential_jitter=False
    )
    assert await said_by(chain, how, "Hi") == HELLO
    assert asked(endpoint) == [UNNAMED] * 3


async def test_with_retry_does_not_try_again_what_it_was_not_told_to(endpoint: Endpoint) -> None:
    endpoint.response = failing(9, 401, "Unauthorized")
    model = ChatAI365VIP(base_url=endpoint.base_url)
    chain = model.with_retry(retry_if_exception_type=(AI365VIPRateLimitError,))
    with pytest.raises(AI365VIPAuthenticationError):
        await chain.ainvoke("Hi")
    assert asked(endpoint) == [UNNAMED]


class CountingLimiter(InMemoryRateLimiter):
    """Core's limiter, with a count of what it has let through."""

    def __init__(self, **limits: float) -> None:
        super().__init__(**limits)
        # A list: it counts in several threads at a time.
        self.grants: list[bool] = []

    def _consume(self) -> bool:
        granted = super()._consume()
        if granted:
            self.grants.append(granted)
        return granted


async def test_an_in_memory_rate_limiter_lets_each_call_through_once(endpoint: Endpoint) -> None:
    limiter = CountingLimiter(
        requests_per_second=500, check_every_n_seconds=0.001, max_bucket_size=1
    )
    early: list[int] = []

    def too_early(_: web.Request) -> None:
        if len(limiter.grants) < endpoint.requests:
            early.append(endpoint.requests)

    endpoint.response = too_early
    model = ChatAI365VIP(base_url=endpoint.base_url, rate_limiter=limiter)
    messages = await model.abatch(["Hi"] * 5)
    messages += model.batch(["Hi"] * 5)
    assert [gist([message]) for message in messages] == [HELLO] * 10
    assert await said_by(model, "astream", "Hi") == HELLO
    assert await said_by(model, "stream", "Hi") == HELLO
    assert (len(limiter.grants), asked(endpoint), early) == (12, [UNNAMED] * 12, [])


# -- caches --------------------------------------------------------------------------------------


@pytest.fixture
def use_cache() -> Iterator[Callable[[BaseCache], None]]:
    yield set_llm_cache
    set_llm_cache(None)


@pytest.mark.filterwarnings("ignore:`langchain-community` is being sunset:DeprecationWarning")
# langchain-community's: it reads what it wrote without saying which classes it allows.
@pytest.mark.filterwarnings("ignore:.*`allowed_objects` will change:PendingDeprecationWarning")
async def test_a_sqlite_cache_answers_the_second_time_also_a_new_process_would(
    endpoint: Endpoint, use_cache: Callable[[BaseCache], None], tmp_path: Path
) -> None:
    from langchain_community.cache import SQLiteCache

    messages = []
    for _ in range(2):  # as two processes would, one after the other
        cache = SQLiteCache(database_path=str(tmp_path / "cache.db"))
        use_cache(cache)
        model = ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, api_key="sentinel")
        messages += [model.invoke("Hi"), await model.ainvoke("Hi")]
        cache.engine.dispose()
    assert [gist([message]) for message in messages] == [HELLO] * 4
    assert all(message.response_metadata == messages[0].response_metadata for message in messages)
    assert asked(endpoint) == [ASKED_HI]
    assert b"sentinel" not in (tmp_path / "cache.db").read_bytes()


# -- LangSmith -----------------------------------------------------------------------------------


class Collector(ThreadingHTTPServer):
    """Takes what the LangSmith client sends, as its server would."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _CollectorHandler)
        self.payloads: list[bytes] = []

    def __enter__(self) -> Collector:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()
        self.server_close()

    def runs(self) -> list[dict[str, Any]]:
        """Each run once, what was posted at its start and patched at its end together."""
        runs: dict[str, dict[str, Any]] = {}
        for payload in self.payloads:
            batch = json.loads(payload)
            for run in (*batch.get("post", ()), *batch.get("patch", ())):
                known = runs.setdefault(run["id"], {})
                known |= {name: value for name, value in run.items() if value is not None}
        return list(runs.values())


class _CollectorHandler(BaseHTTPRequestHandler):
    server: Collector

    def do_GET(self) -> None:
        # No multipart: plain JSON is easier to read in a test.
        config = {
            "use_multipart_endpoint": False,
            "size_limit": 100,
            "size_limit_bytes": 20_971_520,
            "scale_up_nthreads_limit": 1,
            "scale_up_qsize_trigger": 1000,
            "scale_down_nempty_trigger": 4,
        }
        self._answer({"version": "0.0.0", "batch_ingest_config": config})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/runs/batch"):
            self.server.payloads.append(body)
        self._answer({})

    def _answer(self, data: object) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


TRACED = """
import sys
from langchain_core.tracers.langchain import wait_for_all_tracers
from langchain_ai365vip import ChatAI365VIP

model = ChatAI365VIP(
    model="gpt-4o",
    base_url=sys.argv[1],
    api_key="sentinel-key",
    default_headers={"X-Secret": "sentinel-header"},
    temperature=0,
    stop=["END"],
)
print("".join(chunk.text for chunk in model.stream("Hi")))
print(model.invoke("Hi", model="other", max_tokens=50).text)
try:
    model.invoke("Hi", max_retries=0, model="fails")
except Exception as exc:
    print(type(exc).__name__)
wait_for_all_tracers()
"""


@pytest.mark.processes
def test_langsmith_is_told_the_model_the_settings_the_reply_and_no_secret(
    endpoint: Endpoint,
) -> None:
    def answer(_: web.Request) -> web.Response | None:
        failed = endpoint.bodies[-1]["model"]["id"] == "fails"
        return web.Response(status=429, reason="Too Many Requests") if failed else None

    endpoint.response = answer
    with Collector() as collector:
        environment = {
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "LANGSMITH_API_KEY": "lsv2_pt_0",
            "LANGSMITH_PROJECT": "test",
            "AI365VIP_PROXY": "",
            "PATH": "",
        }
        command = [sys.executable, "-W", "error", "-c", TRACED, endpoint.base_url]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "Hello there!",
        "Hello there!",
        "AI365VIPRateLimitError",
    ]
    runs = {run["extra"]["invocation_params"]["model"]: run for run in collector.runs()}
    assert len(collector.runs()) == len(runs) == 3
    traced, invoked, failed = (runs[model] for model in ("gpt-4o", "other", "fails"))
    first, second, third = asked(endpoint)
    assert first == ASKED_HI
    assert (second, third) == (replace(first, model="other"), replace(first, model="fails"))

    assert (traced["name"], traced["run_type"]) == ("ChatAI365VIP", "llm")
    [[question]] = traced["inputs"]["messages"]
    assert question["kwargs"]["content"] == "Hi"
    [[generation]] = traced["outputs"]["generations"]
    assert generation["text"] == "Hello there!"
    assert generation["message"]["kwargs"]["response_metadata"] == {
        "model_name": "gpt-4o",
        "model_provider": "ai365vip",
        "finish_reason": "stop",
    }
    metadata = traced["extra"]["metadata"]
    expected = {
        "ls_provider": "ai365vip",
        "ls_model_name": "gpt-4o",
        "ls_model_type": "chat",
        "ls_temperature": 0,
        "ls_stop": ["END"],
        "ls_integration": "langchain_chat_model",
    }
    assert {name: metadata.get(name) for name in expected} == expected
    assert "langchain-ai365vip" in metadata["lc_versions"]
    assert [event["name"] for event in traced["events"]].count("new_token") >= 1

    metadata = invoked["extra"]["metadata"]
    assert (metadata["ls_model_name"], metadata["ls_max_tokens"]) == ("other", 50)
    assert invoked["extra"]["invocation_params"]["model"] == "other"

    assert "AI365VIPRateLimitError" in failed["error"]
    assert not any(b"sentinel" in payload for payload in collector.payloads)


# -- event loops -----------------------------------------------------------------------------------


def on_uvloop(main: Any) -> Any:
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def test_uvloop_runs_calls_and_streams_over_one_connection(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    async def main() -> list[Any]:
        streamed = await said_by(model, "astream", "Hi")
        return [streamed, *[await said_by(model, "ainvoke", "Hi") for _ in range(10)]]

    assert on_uvloop(main()) == [HELLO] * 11
    assert (asked(endpoint), endpoint.connections) == ([ASKED_HI] * 11, 1)
    assert on_uvloop(main()) == [HELLO] * 11
    assert (asked(endpoint), endpoint.connections) == ([ASKED_HI] * 22, 2)
    gc.collect()
    assert endpoint.wait_until(lambda: endpoint.open_connections == 0)


def test_breaking_off_on_uvloop_closes_the_connection(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.paced = True
    endpoint.release()

    async def main() -> bool:
        async for _ in model.astream("Hi"):
            break
        return await asyncio.to_thread(endpoint.closed.wait, 30)

    assert on_uvloop(main())
    # The server's handler ends a moment before its connection.
    assert endpoint.wait_until(lambda: endpoint.open_connections == 0)
    assert asked(endpoint) == [ASKED_HI]


def test_a_connection_lost_on_uvloop_is_our_error(endpoint: Endpoint) -> None:
    def lose(request: web.Request) -> None:
        assert request.transport is not None
        request.transport.abort()

    endpoint.response = lose
    model = ChatAI365VIP(base_url=endpoint.base_url, max_retries=0)
    with pytest.raises(AI365VIPConnectionError):
        on_uvloop(model.ainvoke("Hi"))
    assert asked(endpoint) == [UNNAMED]
