"""LangChain's middleware with this model: the requests made, and what is streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web
from langchain.agents import create_agent
from langchain.agents.middleware import (
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
)
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.errors import AI365VIPAuthenticationError
from tests.endpoint import Endpoint, in_turn
from tests.integration_tests.agent_kit import (
    ASK,
    CALL,
    LOOKED_UP,
    LOOKING_UP,
    QUESTION,
    conversation,
    failing,
    gist,
    parts_of,
    tools_shown,
    weather,
)

SUMMARY = "Here is a summary of the conversation to date:\n\nAll was well."


@tool
def clock(zone: str) -> str:
    """Tell the time of a zone."""
    return f"Noon in {zone}."


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    # Its window of 4,096 tokens is small enough to fill.
    return ChatAI365VIP(model="gpt-3.5-turbo", base_url=endpoint.base_url, max_retries=0)


# -- summarization -------------------------------------------------------------------------


def long_history(rounds: int) -> list[BaseMessage]:
    """About 400 tokens a round, as LangChain estimates them."""
    words = "word " * 155
    pairs = [(HumanMessage(f"Q{i} {words}"), AIMessage(f"A{i} {words}")) for i in range(rounds)]
    return [message for pair in pairs for message in pair]


def summarize_or_answer(body: dict[str, Any]) -> list[str]:
    asked = body["messages"][0]["content"]
    return ["All was ", "well."] if asked.startswith("<role>") else ["Sunny", "."]


def summarizing_agent(model: ChatAI365VIP) -> Any:
    # 0.8 of 3,096 tokens: the window without the room that the server keeps for the reply.
    middleware = SummarizationMiddleware(model, trigger=("fraction", 0.8), keep=("messages", 3))
    return create_agent(model, [weather], middleware=[middleware])


def as_turns(messages: list[BaseMessage]) -> list[tuple[str, str]]:
    roles = {"human": "user", "ai": "assistant"}
    return [(roles[message.type], message.text) for message in messages]


def test_a_history_over_a_fraction_of_the_window_is_summarized(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = summarize_or_answer
    history = [*long_history(8), HumanMessage(QUESTION)]
    parts = list(parts_of(summarizing_agent(model), "messages", messages=history))
    final = [part[0] for part in parts if part[1]["langgraph_node"] == "model"]
    assert gist(final) == [("text", "Sunny."), ("end", "stop")]
    summarized, answered = endpoint.bodies
    ((_, prompt),) = conversation(summarized)
    assert [f"Q{i} word" in prompt for i in range(8)] == [True] * 7 + [False]
    assert conversation(answered) == [("user", SUMMARY), *as_turns(history[-3:])]
    assert (tools_shown(summarized), tools_shown(answered)) == ([], ["weather"])


def test_a_history_below_that_fraction_is_sent_as_it_is(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = summarize_or_answer
    history = [*long_history(5), HumanMessage(QUESTION)]
    said = gist(p[0] for p in parts_of(summarizing_agent(model), "messages", messages=history))
    assert said == [("text", "Sunny."), ("end", "stop")]
    assert [conversation(body) for body in endpoint.bodies] == [as_turns(history)]


@pytest.mark.parametrize(("usage", "requests"), [(False, 1), (True, 2)])
def test_estimated_usage_counts_towards_the_summary(
    endpoint: Endpoint, model: ChatAI365VIP, usage: bool, requests: int
) -> None:
    """Usage is believed only where the message and the model name the same provider."""
    endpoint.pieces = summarize_or_answer
    model.estimate_usage = usage
    # LangChain's own estimate does not see the system prompt; the usage does.
    first = model.invoke([("system", "word " * 2500), ("user", "Hello")])
    endpoint.bodies.clear()
    middleware = SummarizationMiddleware(model, trigger=("tokens", 2000), keep=("messages", 1))
    agent = create_agent(model, [], middleware=[middleware])
    history = [HumanMessage("Hello"), first, HumanMessage(QUESTION)]
    *_, state = parts_of(agent, "values", messages=history)
    assert state["messages"][-1].text == "Sunny."
    assert endpoint.requests == requests


def test_a_summary_that_is_too_long_for_the_model_is_tried_once_more_with_less(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    """A refusal for length is a `ContextOverflowError`, which LangChain knows what to do with."""
    seen: list[int] = []
    overflow = "This model's maximum context length is 4097 tokens."

    def respond(request: web.Request) -> web.StreamResponse:
        body = endpoint.bodies[-1]
        is_summary = body["messages"][0]["content"].startswith("<role>")
        seen.append(len(body["messages"][0]["content"]) if is_summary else 0)
        if len(seen) == 1:
            return web.Response(status=500, reason=overflow)
        return web.Response(text="All was well." if is_summary else "Sunny.")

    endpoint.response = respond
    middleware = SummarizationMiddleware(
        model, trigger=("fraction", 0.8), keep=("messages", 1), trim_tokens_to_summarize=None
    )
    agent = create_agent(model, [], middleware=[middleware])
    parts = parts_of(agent, "values", messages=[*long_history(8), HumanMessage(QUESTION)])
    *_, state = parts
    assert state["messages"][-1].text == "Sunny."
    assert endpoint.requests == 3
    assert seen[1] < seen[0]
    assert conversation(endpoint.bodies[2]) == [("user", SUMMARY), ("user", QUESTION)]


# -- context editing -----------------------------------------------------------------------


def test_context_editing_counts_with_the_model_and_clears_old_results(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn([CALL], ["Sunny."])
    calls = [{"name": "weather", "args": {"city": f"City {i}"}, "id": f"c{i}"} for i in range(4)]
    history: list[BaseMessage] = [HumanMessage("All four?")]
    for call in calls:
        history.append(AIMessage("", tool_calls=[{**call, "type": "tool_call"}]))
        history.append(ToolMessage(f"Sunny. {call['id']} " * 50, tool_call_id=str(call["id"])))
    history += [AIMessage("All sunny."), HumanMessage(QUESTION)]
    counted = model.get_num_tokens_from_messages(history, [weather])
    edit = ClearToolUsesEdit(trigger=counted - 1, keep=1, placeholder="[cleared]")
    middleware = ContextEditingMiddleware(edits=[edit], token_count_method="model")
    agent = create_agent(model, [weather], middleware=[middleware])
    said = gist(part[0] for part in parts_of(agent, "messages", messages=history))
    assert said == [*LOOKED_UP[1:4], ("text", "Sunny."), ("end", "stop")]
    assert endpoint.requests == 2
    sent = [content for _, content in conversation(endpoint.bodies[0])]
    results = [content for content in sent if "<tool_response>" in content]
    assert [("[cleared]" in result) for result in results] == [True, True, True, False]
    assert "Sunny. c3 Sunny. c3" in results[3]
    # The caller's own messages are whole: only what is sent was edited.
    assert "[cleared]" not in str(history)


def test_context_editing_leaves_alone_what_is_below_its_trigger(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn(*LOOKING_UP)
    middleware = ContextEditingMiddleware(
        edits=[ClearToolUsesEdit(trigger=1000, keep=0)], token_count_method="model"
    )
    agent = create_agent(model, [weather], middleware=[middleware])
    assert gist(part[0] for part in parts_of(agent, "messages")) == LOOKED_UP
    assert "Sunny in Paris." in endpoint.bodies[1]["messages"][-1]["content"]


# -- choosing tools ------------------------------------------------------------------------


def selection(*names: str) -> str:
    call = {"name": "ToolSelectionResponse", "arguments": {"tools": list(names)}}
    return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"


def test_the_tool_selector_shows_only_what_the_model_chose(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    choose = [selection("weather", "clock")]
    endpoint.pieces = in_turn(choose, LOOKING_UP[0], choose, LOOKING_UP[1])
    middleware = LLMToolSelectorMiddleware(max_tools=1)
    agent = create_agent(model, [weather, clock], middleware=[middleware])
    updates = list(parts_of(agent, "updates"))
    messages = [
        message for update in updates for node in update.values() for message in node["messages"]
    ]
    assert gist(messages) == LOOKED_UP
    assert endpoint.requests == 4
    assert [tools_shown(body) for body in endpoint.bodies] == [
        ["ToolSelectionResponse"],
        ["weather"],
        ["ToolSelectionResponse"],
        ["weather"],
    ]


def test_a_selection_of_tools_that_do_not_exist_is_asked_for_again(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn([selection("wether")], [selection("weather")], ["Sunny."])
    agent = create_agent(model, [weather, clock], middleware=[LLMToolSelectorMiddleware()])
    assert agent.invoke(ASK)["messages"][-1].text == "Sunny."
    assert endpoint.requests == 3
    assert tools_shown(endpoint.bodies[2]) == ["weather"]


# -- failures ------------------------------------------------------------------------------


def test_model_retry_tries_again_what_is_worth_it(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    failing(endpoint, 2, 500, "Internal Server Error", "Sunny.")
    middleware = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    agent = create_agent(model, [weather], middleware=[middleware])
    said = gist(part[0] for part in parts_of(agent, "messages"))
    assert said == [("text", "Sunny."), ("end", "stop")]
    assert endpoint.requests == 3
    assert endpoint.bodies[0] == endpoint.bodies[1] == endpoint.bodies[2]


def test_model_retry_does_not_try_again_what_cannot_get_better(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    failing(endpoint, 3, 401, "Incorrect API key provided", "Sunny.")
    middleware = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    agent = create_agent(model, [weather], middleware=[middleware])
    with pytest.raises(AI365VIPAuthenticationError):
        agent.invoke(ASK)
    assert endpoint.requests == 1


def test_model_fallback_takes_the_next_model(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    endpoint.response = lambda _request: (
        web.Response(status=500, reason="Internal Server Error")
        if endpoint.bodies[-1]["model"]["id"] == "gpt-3.5-turbo"
        else web.Response(text="Sunny.")
    )
    other = ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, max_retries=0)
    agent = create_agent(model, [weather], middleware=[ModelFallbackMiddleware(other)])
    said = gist(part[0] for part in parts_of(agent, "messages"))
    assert said == [("text", "Sunny."), ("end", "stop")]
    assert [body["model"]["id"] for body in endpoint.bodies] == ["gpt-3.5-turbo", "gpt-4o"]
    assert [tools_shown(body) for body in endpoint.bodies] == [["weather"]] * 2


def test_a_limit_on_model_calls_ends_a_model_that_calls_for_ever(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = [CALL]
    middleware = ModelCallLimitMiddleware(run_limit=3, exit_behavior="end")
    agent = create_agent(model, [weather], middleware=[middleware])
    assert "limit" in agent.invoke(ASK)["messages"][-1].text
    assert endpoint.requests == 3


def test_a_todo_list_is_written_by_a_call(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    todos = [{"content": "Look up Paris", "status": "in_progress"}]
    call = {"name": "write_todos", "arguments": {"todos": todos}}
    endpoint.pieces = in_turn([f"<tool_call>\n{json.dumps(call)}\n</tool_call>"], ["Done."])
    agent = create_agent(model, [weather], middleware=[TodoListMiddleware()])
    parts = list(parts_of(agent, "messages", "values"))
    assert parts[-1][1]["todos"] == todos
    said = gist(part[0] for mode, part in parts if mode == "messages")
    assert said[:2] == [("call", "write_todos", {"todos": todos}), ("end", "tool_calls")]
    assert said[-2:] == [("text", "Done."), ("end", "stop")]
    assert endpoint.requests == 2
    assert tools_shown(endpoint.bodies[0]) == ["write_todos", "weather"]
