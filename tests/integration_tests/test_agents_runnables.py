"""LangChain's own wrappers around this model: fallbacks, retries, caches, batches, trimming."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
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

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.errors import AI365VIPAPIError, AI365VIPAuthenticationError
from tests.endpoint import Endpoint
from tests.integration_tests.agent_kit import (
    CALL,
    QUESTION,
    conversation,
    failing,
    gist,
    tools_shown,
    weather,
)

PROSE = [("text", "Sunny."), ("end", "stop")]
CALLED = [("call", "weather", {"city": "Paris"}), ("end", "tool_calls")]


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    return ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, max_retries=0)


def models_asked(endpoint: Endpoint) -> list[str]:
    return [body["model"]["id"] for body in endpoint.bodies]


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
    assert models_asked(picky) == ["gpt-4o", "gpt-4o-mini"] * 2
    assert [tools_shown(body) for body in picky.bodies] == [["weather"] if bound else []] * 4


async def test_a_fallback_answers_asynchronously(picky: Endpoint, model: ChatAI365VIP) -> None:
    other = model.model_copy(update={"model": "gpt-4o-mini"})
    chain = model.with_fallbacks([other], exceptions_to_handle=(AI365VIPAPIError,))
    assert gist([chunk async for chunk in chain.astream(QUESTION)]) == PROSE
    assert gist([await chain.ainvoke(QUESTION)]) == PROSE
    assert models_asked(picky) == ["gpt-4o", "gpt-4o-mini"] * 2


def test_a_fallback_is_not_for_errors_that_it_was_not_given(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    failing(endpoint, 1, 401)
    chain = model.with_fallbacks([model], exceptions_to_handle=(AI365VIPAPIError,))
    with pytest.raises(AI365VIPAuthenticationError):
        chain.invoke(QUESTION)
    assert endpoint.requests == 1


# -- retries -------------------------------------------------------------------------------


def test_with_retry_repeats_what_is_retryable(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    failing(endpoint, 2, 500)
    chain = model.with_retry(
        retry_if_exception_type=(AI365VIPAPIError,),
        wait_exponential_jitter=False,
        stop_after_attempt=3,
    )
    assert gist([chain.invoke(QUESTION)]) == PROSE
    assert endpoint.requests == 3
    assert endpoint.bodies[0] == endpoint.bodies[1] == endpoint.bodies[2]


async def test_with_retry_repeats_a_bound_model_asynchronously(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    failing(endpoint, 1, 429, answer=CALL)
    chain = model.bind_tools([weather]).with_retry(
        retry_if_exception_type=(ModelError,), wait_exponential_jitter=False, stop_after_attempt=2
    )
    assert gist([await chain.ainvoke(QUESTION)]) == CALLED
    assert endpoint.requests == 2


def test_with_retry_gives_up_at_once_on_what_cannot_get_better(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    failing(endpoint, 3, 401)
    chain = model.with_retry(
        retry_if_exception_type=(AI365VIPAPIError,), wait_exponential_jitter=False
    )
    with pytest.raises(AI365VIPAuthenticationError) as raised:
        chain.invoke(QUESTION)
    assert not raised.value.is_retryable
    assert endpoint.requests == 1


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
    assert endpoint.requests == 1


async def test_a_cache_is_shared_by_sync_and_async_calls(endpoint: Endpoint) -> None:
    endpoint.pieces = ["Sun", "ny."]
    model = cached(endpoint)
    first = await model.ainvoke(QUESTION)
    second = await asyncio.to_thread(model.invoke, QUESTION)
    assert gist([first]) == gist([second]) == PROSE
    assert endpoint.requests == 1


DIFFERENT: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.1},
    "model": {"model": "gpt-4o-mini"},
    "stop": {"stop": ["u"]},
    "max_tokens": {"max_tokens": 1},
    "tools": {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    "response_format": {"response_format": {"type": "json_object"}},
    "system_prompt": {"system_prompt": "Be brief."},
}


@pytest.mark.parametrize("settings", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_a_cache_tells_calls_with_other_settings_apart(
    endpoint: Endpoint, settings: dict[str, Any]
) -> None:
    endpoint.pieces = ['{"sunny": true}']
    model = cached(endpoint)
    for _ in range(2):
        model.invoke(QUESTION)
        model.invoke(QUESTION, **settings)
    assert endpoint.requests == 2


def test_a_stream_is_never_answered_from_the_cache(endpoint: Endpoint) -> None:
    endpoint.pieces = ["Sunny."]
    model = cached(endpoint)
    model.invoke(QUESTION)
    assert gist(model.stream(QUESTION)) == PROSE
    assert endpoint.requests == 2


def test_a_failure_is_not_cached(endpoint: Endpoint) -> None:
    failing(endpoint, 1, 500)
    model = cached(endpoint)
    with pytest.raises(AI365VIPAPIError):
        model.invoke(QUESTION)
    assert gist([model.invoke(QUESTION)]) == PROSE
    assert endpoint.requests == 2


# -- batches -------------------------------------------------------------------------------

NAMES: list[Any] = [f"name {i}" for i in range(20)]


@pytest.fixture
def echo(endpoint: Endpoint) -> Endpoint:
    """Greets by the name that it is told."""
    endpoint.pieces = lambda body: ["Hello ", body["messages"][-1]["content"]]
    return endpoint


async def test_a_batch_keeps_its_order_and_asks_once_each(
    echo: Endpoint, model: ChatAI365VIP
) -> None:
    chain = ChatPromptTemplate.from_messages([("human", "{name}")]) | model | StrOutputParser()
    inputs = [{"name": name} for name in NAMES]
    expected = [f"Hello {name}" for name in NAMES]
    assert await asyncio.to_thread(chain.batch, inputs) == expected
    assert await chain.abatch(inputs) == expected
    asked = sorted(body["messages"][-1]["content"] for body in echo.bodies)
    assert asked == sorted(NAMES * 2)


async def test_a_batch_that_is_completed_in_any_order_says_which_is_which(
    echo: Endpoint, model: ChatAI365VIP
) -> None:
    found = {i: message.text async for i, message in model.abatch_as_completed(NAMES)}
    assert found == {i: f"Hello {name}" for i, name in enumerate(NAMES)}
    assert echo.requests == len(NAMES)


async def test_a_batch_makes_no_more_requests_at_a_time_than_it_may(
    paced: Endpoint, model: ChatAI365VIP
) -> None:
    paced.pieces = ["Hello"]
    task = asyncio.create_task(model.abatch(NAMES, config={"max_concurrency": 3}))
    assert await asyncio.to_thread(paced.wait_until, lambda: paced.requests == 3)
    paced.release_all()
    assert [message.text for message in await task] == ["Hello"] * len(NAMES)
    assert paced.requests == len(NAMES)
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
    assert [getattr(result, "text", None) for result in results] == ["Hello", None, "Hello"]
    assert isinstance(results[1], AI365VIPAPIError)
    assert echo.requests == 3


def test_a_batch_of_bound_models_gives_a_call_each(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    endpoint.pieces = lambda body: [CALL.replace("Paris", body["messages"][-1]["content"])]
    messages = model.bind_tools([weather]).batch(["Rome", "Oslo"])
    assert [message.tool_calls[0]["args"]["city"] for message in messages] == ["Rome", "Oslo"]
    assert len({message.tool_calls[0]["id"] for message in messages}) == 2
    assert endpoint.requests == 2


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
    (body,) = endpoint.bodies
    assert body["prompt"] == "Be brief."
    assert conversation(body) == [
        ("user", "Question 9: 天気は?"),
        ("assistant", str(history[-2].content)),
        ("user", QUESTION),
    ]
    shorter = trim_messages(
        history, max_tokens=limit - 1, token_counter=model, include_system=True, start_on="human"
    )
    assert shorter == [history[0], history[-1]]
