"""LangChain's middleware with this model: the requests made, and the state that results.

How a middleware words its prompts and notes, and whether its own calls show in the stream of
messages, is LangChain's to decide.
"""

from __future__ import annotations

import json
from dataclasses import replace
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
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.tools import tool

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.errors import AI365VIPAuthenticationError
from tests.agent_kit import (
    ASKED,
    CALL,
    LOOKED_UP,
    LOOKING_UP,
    PROSE,
    QUESTION,
    RESULT,
    TOLD,
    Request,
    Turn,
    answered,
    asked,
    failing,
    gist,
    parts_of,
    streamed,
    weather,
)
from tests.endpoint import Endpoint, in_turn

# One request to an agent's model, which is shown its tool.
BARE = Request(model="gpt-3.5-turbo")
REQUEST = replace(BARE, tools=["weather"])
LOOKED: list[Turn] = [*ASKED, ("assistant", f"Let me look.\n{CALL}"), ("user", RESULT)]
SUMMARY = "All was well."


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
    """Answer the question, which stands last, and else sum up."""
    last = body["messages"][-1]["content"]
    return ["Sunny", "."] if last.startswith(QUESTION) else ["All was ", "well."]


def summarizing_agent(model: ChatAI365VIP) -> Any:
    # 0.8 of 3,096 tokens: the window without the room that the server keeps for the reply.
    middleware = SummarizationMiddleware(model, trigger=("fraction", 0.8), keep=("messages", 3))
    return create_agent(model, [weather], middleware=[middleware])


def as_turns(messages: list[BaseMessage]) -> list[Turn]:
    roles = {"human": "user", "ai": "assistant"}
    return [(roles[message.type], message.text) for message in messages]


def summary_told(state: Any) -> str:
    """What took the history's place: the model's summary, introduced by LangChain."""
    told: str = state["messages"][0].text
    assert told.endswith(SUMMARY)
    return told


def is_for_a_summary(request: Request, of: list[BaseMessage]) -> bool:
    """Whether one turn, in LangChain's words, asks for a summary of all these messages."""
    [(_, written)] = request.turns
    assert request == replace(BARE, turns=[("user", written)])
    return all(message.text in written for message in of)


def test_a_history_over_a_fraction_of_the_window_is_summarized(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = summarize_or_answer
    history = [*long_history(8), HumanMessage(QUESTION)]
    state = answered(summarizing_agent(model), history)
    told = summary_told(state)
    assert gist(state["messages"]) == [("human", told), *gist(history[-3:]), *PROSE]
    summed_up, last = asked(endpoint)
    assert is_for_a_summary(summed_up, history[:-3])
    assert last == replace(REQUEST, turns=[("user", told), *as_turns(history[-3:])])


def test_a_history_below_that_fraction_is_sent_as_it_is(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = summarize_or_answer
    history = [*long_history(5), HumanMessage(QUESTION)]
    said, _ = streamed(summarizing_agent(model), history)
    assert said == PROSE
    assert asked(endpoint) == [replace(REQUEST, turns=as_turns(history))]


@pytest.mark.parametrize("usage", [False, True], ids=["no usage", "usage"])
def test_estimated_usage_counts_towards_the_summary(
    endpoint: Endpoint, model: ChatAI365VIP, usage: bool
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
    state = answered(agent, history)
    *before, last = asked(endpoint)
    if usage:
        told = summary_told(state)
        assert gist(state["messages"]) == [("human", told), ("human", QUESTION), *PROSE]
        assert [is_for_a_summary(request, history[:2]) for request in before] == [True]
        assert last == replace(BARE, turns=[("user", told), *ASKED])
    else:
        assert gist(state["messages"]) == [*gist(history), *PROSE]
        assert [*before, last] == [replace(BARE, turns=as_turns(history))]


def test_a_summary_that_is_too_long_for_the_model_is_tried_once_more(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    """A refusal for length is a `ContextOverflowError`, which LangChain knows what to do with."""
    overflow = "This model's maximum context length is 4097 tokens."

    def respond(_request: web.Request) -> web.Response | None:
        return web.Response(status=500, reason=overflow) if endpoint.requests == 1 else None

    endpoint.response, endpoint.pieces = respond, summarize_or_answer
    middleware = SummarizationMiddleware(
        model, trigger=("fraction", 0.8), keep=("messages", 1), trim_tokens_to_summarize=None
    )
    agent = create_agent(model, [], middleware=[middleware])
    history = long_history(8)
    state = answered(agent, [*history, HumanMessage(QUESTION)])
    told = summary_told(state)
    assert gist(state["messages"]) == [("human", told), ("human", QUESTION), *PROSE]
    whole, again, last = asked(endpoint)
    assert is_for_a_summary(whole, history)
    # With how much less, if anything, depends on LangChain's version.
    assert is_for_a_summary(again, history[-2:])
    assert last == replace(BARE, turns=[("user", told), *ASKED])


# -- context editing -----------------------------------------------------------------------


def test_context_editing_counts_with_the_model_and_clears_old_results(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn([CALL], ["Sunny."])
    calls = [{"name": "weather", "args": {"city": f"City {i}"}, "id": f"c{i}"} for i in range(4)]
    history: list[BaseMessage] = [HumanMessage("All four?")]
    results = [f"Sunny. c{i} " * 50 for i in range(4)]
    for call, result in zip(calls, results, strict=True):
        history.append(AIMessage("", tool_calls=[{**call, "type": "tool_call"}]))
        history.append(ToolMessage(result, tool_call_id=str(call["id"])))
    history += [AIMessage("All sunny."), HumanMessage(QUESTION)]
    counted = model.get_num_tokens_from_messages(history, [weather])
    edit = ClearToolUsesEdit(trigger=counted - 1, keep=1, placeholder="[cleared]")
    middleware = ContextEditingMiddleware(edits=[edit], token_count_method="model")
    agent = create_agent(model, [weather], middleware=[middleware])
    said, state = streamed(agent, history)
    assert said == gist(state["messages"][len(history) :]) == [*LOOKED_UP[1:4], *PROSE]
    turns: list[Turn] = [("user", "All four?")]
    for i, result in enumerate(["[cleared]"] * 3 + results[3:]):
        told = json.dumps({"name": "weather", "content": result})
        turns.append(("assistant", CALL.replace("Paris", f"City {i}")))
        turns.append(("user", f"<tool_response>\n{told}\n</tool_response>"))
    turns += [("assistant", "All sunny."), *ASKED]
    first, second = asked(endpoint)
    assert first == replace(REQUEST, turns=turns)
    # The next time the result of the new call is the one to keep.
    cleared = [(role, text.replace(results[3], "[cleared]")) for role, text in turns]
    assert second == replace(REQUEST, turns=[*cleared, *TOLD[1:]])
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
    assert streamed(agent)[0] == LOOKED_UP
    assert asked(endpoint) == [REQUEST, replace(REQUEST, turns=LOOKED)]


# -- choosing tools ------------------------------------------------------------------------


def selection(*names: str) -> str:
    call = {"name": "ToolSelectionResponse", "arguments": {"tools": list(names)}}
    return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"


def selecting(endpoint: Endpoint) -> Request:
    """The request for a selection, whose prompt is LangChain's."""
    prompt = asked(endpoint)[0].prompt
    return replace(BARE, tools=["ToolSelectionResponse"], prompt=prompt)


def test_the_tool_selector_shows_only_what_the_model_chose(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    choose = [selection("weather", "clock")]
    endpoint.pieces = in_turn(choose, LOOKING_UP[0], choose, LOOKING_UP[1])
    middleware = LLMToolSelectorMiddleware(max_tools=1)
    agent = create_agent(model, [weather, clock], middleware=[middleware])
    assert gist(answered(agent)["messages"][1:]) == LOOKED_UP
    choosing, first, choosing_again, second = asked(endpoint)
    assert choosing == choosing_again == selecting(endpoint)
    assert [first, second] == [REQUEST, replace(REQUEST, turns=LOOKED)]


def test_a_selection_of_tools_that_do_not_exist_is_asked_for_again(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn([selection("wether")], [selection("weather")], ["Sun", "ny."])
    agent = create_agent(model, [weather, clock], middleware=[LLMToolSelectorMiddleware()])
    assert gist(answered(agent)["messages"][1:]) == PROSE
    choosing = selecting(endpoint)
    wrong = (
        "The function call in that reply cannot be carried out:\n"
        "- The arguments are not valid: 'tools[0]' must be 'weather' or 'clock', not 'wether'.\n"
        "Write it again, corrected. Reply with the call only, no other text:\n"
        '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )
    turns = [*ASKED, ("assistant", selection("wether")), ("user", wrong)]
    assert asked(endpoint) == [choosing, replace(choosing, turns=turns), REQUEST]


# -- failures ------------------------------------------------------------------------------


def test_model_retry_tries_again_what_is_worth_it(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    failing(endpoint, 2, 500, "Internal Server Error", "Sunny.")
    middleware = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    agent = create_agent(model, [weather], middleware=[middleware])
    said, state = streamed(agent)
    assert said == gist(state["messages"][1:]) == PROSE
    assert asked(endpoint) == [REQUEST] * 3
    assert endpoint.bodies[0] == endpoint.bodies[1] == endpoint.bodies[2]


def test_model_retry_does_not_try_again_what_cannot_get_better(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    failing(endpoint, 3, 401, "Incorrect API key provided", "Sunny.")
    middleware = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    agent = create_agent(model, [weather], middleware=[middleware])
    said: list[Any] = []
    with pytest.raises(AI365VIPAuthenticationError):
        said += parts_of(agent, "messages")
    assert said == []
    assert asked(endpoint) == [REQUEST]


def test_model_fallback_takes_the_next_model(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    endpoint.response = lambda _request: (
        web.Response(status=500, reason="Internal Server Error")
        if endpoint.bodies[-1]["model"]["id"] == "gpt-3.5-turbo"
        else web.Response(text="Sunny.")
    )
    other = ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, max_retries=0)
    agent = create_agent(model, [weather], middleware=[ModelFallbackMiddleware(other)])
    said, state = streamed(agent)
    assert said == gist(state["messages"][1:]) == PROSE
    assert asked(endpoint) == [REQUEST, replace(REQUEST, model="gpt-4o")]


def test_a_limit_on_model_calls_ends_a_model_that_calls_for_ever(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = [CALL]
    middleware = ModelCallLimitMiddleware(run_limit=3, exit_behavior="end")
    agent = create_agent(model, [weather], middleware=[middleware])
    said, state = streamed(agent)
    limited = ("text", state["messages"][-1].text)
    assert said == gist(state["messages"][1:]) == [*LOOKED_UP[1:4] * 3, limited]
    # The same call again has an id of its own, so it stands again, with its result.
    turns = [TOLD[:1], TOLD, [*TOLD, *TOLD[1:]]]
    assert asked(endpoint) == [replace(REQUEST, turns=each) for each in turns]


def test_a_todo_list_is_written_by_a_call(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    todos = [{"content": "Look up Paris", "status": "in_progress"}]
    call = {"name": "write_todos", "arguments": {"todos": todos}}
    written = f"<tool_call>\n{json.dumps(call)}\n</tool_call>"
    endpoint.pieces = in_turn([written], ["Done."])
    agent = create_agent(model, [weather], middleware=[TodoListMiddleware()])
    said, state = streamed(agent)
    assert state["todos"] == todos
    noted = state["messages"][-2].text
    assert said == [
        ("call", "write_todos", {"todos": todos}),
        ("end", "tool_calls"),
        ("result", "write_todos", noted),
        ("text", "Done."),
        ("end", "stop"),
    ]
    first, second = asked(endpoint)
    assert first == replace(REQUEST, tools=["write_todos", "weather"], prompt=first.prompt)
    told = json.dumps({"name": "write_todos", "content": noted})
    result = ("user", f"<tool_response>\n{told}\n</tool_response>")
    assert second == replace(first, turns=[*ASKED, ("assistant", written), result])
