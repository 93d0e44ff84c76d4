"""LangChain's own wrappers around this model: fallbacks, retries, caches, batches, trimming."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import ModelError
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    trim_messages,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langgraph.graph import START, MessagesState, StateGraph

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.errors import (
    AI365VIPAPIError,
    AI365VIPAuthenticationError,
    AI365VIPConnectionError,
    AI365VIPRateLimitError,
)
from tests.agent_kit import (
    CALL,
    CALLED,
    LOOKED_UP,
    LOOKING_UP,
    PROSE,
    QUESTION,
    RESULT,
    Gist,
    Request,
    Turn,
    asked,
    failing,
    gist,
    parts_of,
    said_by,
    streamed,
    tools_shown,
    weather,
)
from tests.endpoint import Endpoint


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    return ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, max_retries=0)


def breaking_off(_body: dict[str, Any]) -> Iterator[str]:
    """A reply that the connection is lost in."""
    yield "Sun"
    raise ConnectionResetError


# -- fallbacks -----------------------------------------------------------------------------


@pytest.fixture
def picky(endpoint: Endpoint) -> Endpoint:
    """Serves one model only, and calls a tool when it is shown any."""

    def respond(_request: web.Request) -> web.Response:
        body = endpoint.bodies[-1]
        if body["model"]["id"] != "gpt-4o-mini":
            return web.Response(status=500, reason="Internal Server Error")
        return web.Response(text=CALL if tools_shown(body) else "Sunny.")

    endpoint.response = respond
    return endpoint


@pytest.mark.parametrize("bound", [False, True], ids=["prose", "with tools"])
def test_a_fallback_answers_in_a_stream_and_whole(
    picky: Endpoint, model: ChatAI365VIP, bound: bool
) -> None:
    other = model.model_copy(update={"model": "gpt-4o-mini"})
    runnables: Any = [m.bind_tools([weather]) if bound else m for m in (model, other)]
    chain = runnables[0].with_fallbacks(runnables[1:])
    expected = CALLED if bound else PROSE
    assert gist(chain.stream(QUESTION)) == expected
    assert gist([chain.invoke(QUESTION)]) == expected
    first = Request(tools=["weather"] if bound else [])
    assert asked(picky) == [first, replace(first, model="gpt-4o-mini")] * 2


async def test_a_fallback_answers_asynchronously(picky: Endpoint, model: ChatAI365VIP) -> None:
    other = model.model_copy(update={"model": "gpt-4o-mini"})
    chain = model.with_fallbacks([other], exceptions_to_handle=(AI365VIPAPIError,))
    assert gist([chunk async for chunk in chain.astream(QUESTION)]) == PROSE
    assert gist([await chain.ainvoke(QUESTION)]) == PROSE
    assert asked(picky) == [Request(), Request(model="gpt-4o-mini")] * 2


@pytest.mark.parametrize("way", ["batch", "abatch"])
async def test_a_batch_falls_back_for_those_that_fail(
    picky: Endpoint, model: ChatAI365VIP, way: str
) -> None:
    other = model.model_copy(update={"model": "gpt-4o-mini"})
    chain = model.with_fallbacks([other])
    assert await said_by(chain, way) == PROSE
    assert asked(picky) == [Request(), Request(model="gpt-4o-mini")]


@pytest.mark.parametrize("wrapped", ["fallbacks", "retry"])
def test_a_stream_that_has_begun_is_not_begun_again(
    endpoint: Endpoint, model: ChatAI365VIP, wrapped: str
) -> None:
    endpoint.pieces = breaking_off
    chain: Any = model.with_retry() if wrapped == "retry" else model.with_fallbacks([model])
    said: list[Any] = []
    with pytest.raises(AI365VIPConnectionError):
        said += chain.stream(QUESTION)
    assert gist(said) == [("text", "Sun")]
    assert asked(endpoint) == [Request()]


def test_a_fallback_is_not_for_errors_that_it_was_not_given(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    failing(endpoint, 2, 401)
    chain = model.with_fallbacks([model], exceptions_to_handle=(AI365VIPAPIError,))
    with pytest.raises(AI365VIPAuthenticationError):
        chain.invoke(QUESTION)
    with pytest.raises(AI365VIPAuthenticationError):
        next(chain.stream(QUESTION))
    assert asked(endpoint) == [Request()] * 2


# -- retries -------------------------------------------------------------------------------


def test_with_retry_repeats_what_is_retryable(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    failing(endpoint, 2, 500)
    chain = model.with_retry(
        retry_if_exception_type=(AI365VIPAPIError,),
        wait_exponential_jitter=False,
        stop_after_attempt=3,
    )
    assert gist([chain.invoke(QUESTION)]) == PROSE
    assert asked(endpoint) == [Request()] * 3
    assert endpoint.bodies[0] == endpoint.bodies[1] == endpoint.bodies[2]


async def test_with_retry_repeats_a_bound_model_asynchronously(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    failing(endpoint, 1, 429, answer=CALL)
    chain = model.bind_tools([weather]).with_retry(
        retry_if_exception_type=(ModelError,), wait_exponential_jitter=False, stop_after_attempt=2
    )
    assert gist([await chain.ainvoke(QUESTION)]) == CALLED
    assert asked(endpoint) == [Request(tools=["weather"])] * 2
    assert endpoint.bodies[0] == endpoint.bodies[1]


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_with_retry_leaves_streams_to_max_retries(
    endpoint: Endpoint, model: ChatAI365VIP, way: str
) -> None:
    # LangChain retries no stream; the model itself does, as long as nothing was said.
    chain: Any = model.bind_tools([weather]).with_retry(wait_exponential_jitter=False)
    failing(endpoint, 1, 429, answer=CALL)
    with pytest.raises(AI365VIPRateLimitError):
        await said_by(chain, way)
    assert asked(endpoint) == [Request(tools=["weather"])]
    assert await said_by(chain, way) == CALLED
    failing(endpoint, 2, 429, answer=CALL)
    model.max_retries = 2
    assert await said_by(chain, way) == CALLED
    assert asked(endpoint) == [Request(tools=["weather"])] * 5


@pytest.mark.parametrize("way", ["invoke", "batch", "stream"])
async def test_with_retry_gives_up_at_once_on_what_cannot_get_better(
    endpoint: Endpoint, model: ChatAI365VIP, way: str
) -> None:
    failing(endpoint, 3, 401)
    chain = model.with_retry(
        retry_if_exception_type=(AI365VIPAPIError,), wait_exponential_jitter=False
    )
    with pytest.raises(AI365VIPAuthenticationError) as raised:
        await said_by(chain, way)
    assert not raised.value.is_retryable
    assert asked(endpoint) == [Request()]


# -- caches --------------------------------------------------------------------------------


def cached(endpoint: Endpoint) -> ChatAI365VIP:
    return ChatAI365VIP(
        model="gpt-4o", base_url=endpoint.base_url, max_retries=0, cache=InMemoryCache()
    )


def test_a_cache_answers_the_second_time_with_the_same_message(endpoint: Endpoint) -> None:
    endpoint.pieces = [CALL]
    chain = cached(endpoint).bind_tools([weather])
    first, second = chain.invoke(QUESTION), chain.invoke(QUESTION)
    assert gist([first]) == gist([second]) == CALLED
    assert first.tool_calls == second.tool_calls
    assert asked(endpoint) == [Request(tools=["weather"])]


async def test_a_cache_is_shared_by_sync_and_async_calls(endpoint: Endpoint) -> None:
    endpoint.pieces = ["Sun", "ny."]
    model = cached(endpoint)
    first = await model.ainvoke(QUESTION)
    second = await asyncio.to_thread(model.invoke, QUESTION)
    assert gist([first]) == gist([second]) == PROSE
    assert asked(endpoint) == [Request()]


SUNNY = '{"sunny": true}'
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {}}}
# What a call sets, what its request shows of it, and what it says.
DIFFERENT: dict[str, tuple[dict[str, Any], Request, Gist]] = {
    "temperature": ({"temperature": 0.1}, Request(), [("text", SUNNY), ("end", "stop")]),
    "model": (
        {"model": "gpt-4o-mini"},
        Request(model="gpt-4o-mini"),
        [("text", SUNNY), ("end", "stop")],
    ),
    "stop": ({"stop": ["u"]}, Request(), [("text", '{"s'), ("end", "stop")]),
    "max_tokens": ({"max_tokens": 1}, Request(), [("text", SUNNY[:2]), ("end", "length")]),
    "tools": ({"tools": [FUNCTION]}, Request(tools=["f"]), [("text", SUNNY), ("end", "stop")]),
    "response_format": (
        {"response_format": {"type": "json_object"}},
        Request(),
        [("text", SUNNY), ("end", "stop")],
    ),
    "system_prompt": (
        {"system_prompt": "Be brief."},
        Request(prompt="Be brief."),
        [("text", SUNNY), ("end", "stop")],
    ),
}


@pytest.mark.parametrize(
    ("settings", "request_made", "said"), DIFFERENT.values(), ids=DIFFERENT.keys()
)
def test_a_cache_tells_calls_with_other_settings_apart(
    endpoint: Endpoint, settings: dict[str, Any], request_made: Request, said: Gist
) -> None:
    endpoint.pieces = [SUNNY]
    model = cached(endpoint)
    for _ in range(2):
        assert gist([model.invoke(QUESTION)]) == [("text", SUNNY), ("end", "stop")]
        assert gist([model.invoke(QUESTION, **settings)]) == said
    assert asked(endpoint) == [Request(), request_made]
    temperature = settings.get("temperature", 1.0)
    assert [body["temperature"] for body in endpoint.bodies] == [1.0, temperature]


def test_a_stream_is_never_answered_from_the_cache(endpoint: Endpoint) -> None:
    endpoint.pieces = ["Sun", "ny."]
    model = cached(endpoint)
    assert gist([model.invoke(QUESTION)]) == PROSE
    assert gist(model.stream(QUESTION)) == PROSE
    assert asked(endpoint) == [Request()] * 2
    assert endpoint.bodies[0] == endpoint.bodies[1]


def test_an_agents_stream_is_answered_from_the_cache(endpoint: Endpoint) -> None:
    # In its nodes an agent invokes its model, which LangChain has stream for those who look.
    endpoint.pieces = ["Sun", "ny."]
    agent = create_agent(cached(endpoint), [weather])
    for _ in range(2):
        said, state = streamed(agent)
        assert said == gist(state["messages"][1:]) == PROSE
    assert asked(endpoint) == [Request(tools=["weather"])]


def test_a_failure_is_not_cached(endpoint: Endpoint) -> None:
    failing(endpoint, 1, 500)
    model = cached(endpoint)
    with pytest.raises(AI365VIPAPIError):
        model.invoke(QUESTION)
    assert gist([model.invoke(QUESTION)]) == PROSE
    assert gist([model.invoke(QUESTION)]) == PROSE
    assert asked(endpoint) == [Request()] * 2


# -- batches -------------------------------------------------------------------------------

NAMES: list[Any] = [f"name {i}" for i in range(20)]


@pytest.fixture
def echo(endpoint: Endpoint) -> Endpoint:
    """Greets by the name that it is told."""
    endpoint.pieces = lambda body: ["Hello ", body["messages"][-1]["content"]]
    return endpoint


def asked_in_any_order(endpoint: Endpoint) -> list[str]:
    """What each request of a batch asked, and that it asked nothing besides."""
    requests = asked(endpoint)
    questions = [each.turns[0][1] for each in requests]
    assert requests == [Request(turns=[("user", question)]) for question in questions]
    return sorted(questions)


def hello(name: str) -> Gist:
    return [("text", f"Hello {name}"), ("end", "stop")]


async def test_a_batch_keeps_its_order_and_asks_once_each(
    echo: Endpoint, model: ChatAI365VIP
) -> None:
    chain = ChatPromptTemplate.from_messages([("human", "{name}")]) | model | StrOutputParser()
    inputs = [{"name": name} for name in NAMES]
    expected = [f"Hello {name}" for name in NAMES]
    assert await asyncio.to_thread(chain.batch, inputs) == expected
    assert await chain.abatch(inputs) == expected
    assert asked_in_any_order(echo) == sorted(NAMES * 2)


async def test_a_batch_that_is_completed_in_any_order_says_which_is_which(
    echo: Endpoint, model: ChatAI365VIP
) -> None:
    expected = {i: hello(name) for i, name in enumerate(NAMES)}
    completed = await asyncio.to_thread(list, model.batch_as_completed(NAMES))
    assert {i: gist([message]) for i, message in completed} == expected
    found = {i: gist([message]) async for i, message in model.abatch_as_completed(NAMES)}
    assert found == expected
    assert asked_in_any_order(echo) == sorted(NAMES * 2)


async def test_a_batch_makes_no_more_requests_at_a_time_than_it_may(
    paced: Endpoint, model: ChatAI365VIP
) -> None:
    paced.pieces = ["Hello"]
    task = asyncio.create_task(model.abatch(NAMES, config={"max_concurrency": 3}))
    assert await asyncio.to_thread(paced.wait_until, lambda: paced.requests == 3)
    paced.release_all()
    said = [gist([message]) for message in await task]
    assert said == [[("text", "Hello"), ("end", "stop")]] * len(NAMES)
    assert asked_in_any_order(paced) == sorted(NAMES)
    assert paced.connections == 3


@pytest.mark.parametrize("way", ["batch", "abatch"])
async def test_one_failure_in_a_batch_does_not_take_the_others_away(
    echo: Endpoint, model: ChatAI365VIP, way: str
) -> None:
    # An empty reply is a failure of its own.
    echo.pieces = lambda body: [] if body["messages"][-1]["content"] == "name 1" else ["Hello"]
    if way == "batch":
        results: Any = await asyncio.to_thread(model.batch, NAMES[:3], return_exceptions=True)
    else:
        results = await model.abatch(NAMES[:3], return_exceptions=True)
    first, failed, last = results
    assert gist([first]) == gist([last]) == [("text", "Hello"), ("end", "stop")]
    assert isinstance(failed, AI365VIPAPIError)
    assert asked_in_any_order(echo) == NAMES[:3]


def test_a_batch_of_bound_models_gives_a_call_each(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    endpoint.pieces = lambda body: [CALL.replace("Paris", body["messages"][-1]["content"])]
    cities = ["Rome", "Oslo"]
    messages = model.bind_tools([weather]).batch([*cities])
    # A gist has no two calls of one id.
    assert gist(messages) == [
        entry
        for city in cities
        for entry in [("call", "weather", {"city": city}), ("end", "tool_calls")]
    ]
    requests = sorted(asked(endpoint), key=lambda request: request.turns)
    assert requests == [Request([("user", city)], ["weather"]) for city in sorted(cities)]


def look_up(body: dict[str, Any]) -> Any:
    """Say what the city of a question asks for: a call, and then that it is sunny there."""
    city = body["messages"][0]["content"].partition("\n")[0]
    replies = [[str(piece).replace("Paris", city) for piece in pieces] for pieces in LOOKING_UP]
    return replies[len(body["messages"]) > 1]


def looked_up(city: str) -> Gist:
    """What is said of a city."""
    call, told = ("call", "weather", {"city": city}), ("result", "weather", f"Sunny in {city}.")
    return [*LOOKED_UP[:1], call, LOOKED_UP[2], told, *LOOKED_UP[4:]]


def turns_of(city: str) -> list[Turn]:
    """What is sent with a city's result."""
    told = RESULT.replace("Paris", city)
    called = "Let me look.\n" + CALL.replace("Paris", city)
    return [("user", city), ("assistant", called), ("user", told)]


@pytest.mark.parametrize("way", ["batch", "abatch"])
async def test_a_batch_through_an_agent_has_a_run_each(
    endpoint: Endpoint, model: ChatAI365VIP, way: str
) -> None:
    endpoint.pieces = look_up
    agent: Any = create_agent(model, [weather])
    cities = NAMES[:5]
    questions = [{"messages": [("user", city)]} for city in cities]
    if way == "batch":
        states = await asyncio.to_thread(agent.batch, questions)
    else:
        states = await agent.abatch(questions)
    assert [gist(state["messages"][1:]) for state in states] == [looked_up(city) for city in cities]
    firsts = [Request([("user", city)], ["weather"]) for city in cities]
    seconds = [Request(turns_of(city), ["weather"]) for city in cities]
    made = sorted(asked(endpoint), key=lambda request: (len(request.turns), request.turns))
    assert made == [*firsts, *seconds]


def test_a_batch_within_a_graphs_node_is_streamed_reply_by_reply(
    echo: Endpoint, model: ChatAI365VIP
) -> None:
    def talk(state: MessagesState) -> dict[str, Any]:
        return {"messages": model.batch([state["messages"][-1].text, "name 1"])}

    graph = StateGraph(MessagesState)
    graph.add_node("talk", talk)
    graph.add_edge(START, "talk")
    said: dict[str | None, list[BaseMessage]] = {}
    for message, _ in parts_of(graph.compile(), "messages", messages=[HumanMessage("name 0")]):
        said.setdefault(message.id, []).append(message)
    assert sorted(map(gist, said.values())) == [hello("name 0"), hello("name 1")]
    assert asked_in_any_order(echo) == NAMES[:2]


# -- trimming ------------------------------------------------------------------------------


def test_trim_messages_counts_with_the_model(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    history: list[BaseMessage] = [SystemMessage("Be brief.")]
    for i in range(10):
        history += [HumanMessage(f"Question {i}: 天気は?"), AIMessage(f"Answer {i}: " + "so " * 20)]
    history.append(HumanMessage(QUESTION))
    kept = [history[0], *history[-3:]]
    # LangChain counts the system message on its own and leaves room for both parts.
    limit = sum(model.get_num_tokens_from_messages(part) for part in (kept[:1], kept[1:]))
    trimmer = trim_messages(
        max_tokens=limit, token_counter=model, include_system=True, start_on="human"
    )
    endpoint.pieces = ["Sunny."]
    assert gist((trimmer | model).stream(history)) == PROSE
    turns = [
        ("user", "Question 9: 天気は?"),
        ("assistant", str(history[-2].content)),
        ("user", QUESTION),
    ]
    assert asked(endpoint) == [Request(turns, prompt="Be brief.")]
    shorter = trim_messages(
        history, max_tokens=limit - 1, token_counter=model, include_system=True, start_on="human"
    )
    assert shorter == [history[0], history[-1]]
