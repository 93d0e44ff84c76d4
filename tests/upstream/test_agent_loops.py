"""LangChain's loop answers calls that do not do, and no run of an agent ends without a word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import Field, field_validator

from langchain_ai365vip import ChatAI365VIP
from tests.agent_kit import ASK, CALL, OBJECT, REPORT, Report, Tags, weather
from tests.endpoint import Endpoint, in_turn

UNKNOWN = CALL.replace('"weather"', '"get_weather"')
MISFIT = CALL.replace('"city"', '"town"')
BROKEN = CALL.replace('{"city": "Paris"}', "Paris, I think")
SUNNY = "It is sunny."


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    return ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, max_retries=0)


def told(messages: list[BaseMessage]) -> list[tuple[str, str]]:
    """The results of calls, and how LangChain marks each."""
    return [(each.status, each.text) for each in messages if isinstance(each, ToolMessage)]


FIRST = {
    "an unknown tool": (UNKNOWN, "get_weather is not a valid tool, try one of [weather]."),
    "arguments that do not fit": (MISFIT, "city: Field required"),
}


@pytest.mark.parametrize(("said", "says"), FIRST.values(), ids=list(FIRST))
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_the_model_is_told_what_is_wrong_with_a_call_and_tries_again(
    endpoint: Endpoint, model: ChatAI365VIP, said: str, says: str, way: str
) -> None:
    endpoint.pieces = in_turn([said], [CALL], [SUNNY])
    agent: Any = create_agent(model, [weather])
    if way == "invoke":
        messages = agent.invoke(ASK)["messages"]
    else:
        messages = list(agent.stream(ASK, stream_mode="values"))[-1]["messages"]
    (status, error), result = told(messages)
    assert (status, says in error) == ("error", True)
    assert result == ("success", "Sunny in Paris.")
    assert messages[-1].text == SUNNY
    assert says in json.dumps(endpoint.bodies[1]["messages"][-1]["content"])
    assert endpoint.requests == 3


END: dict[str, tuple[list[str], str, int]] = {
    "broken twice": (["Let me look. " + BROKEN, BROKEN], "Let me look. " + BROKEN, 1),
    "broken, then words": (["Let me look. " + BROKEN, SUNNY], f"Let me look. \n\n{SUNNY}", 0),
    "broken, then words alone": ([BROKEN, SUNNY], SUNNY, 0),
    "broken, then nothing": ([BROKEN, ""], BROKEN, 1),
}


@pytest.mark.parametrize(("replies", "answer", "invalid"), END.values(), ids=list(END))
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_call_that_cannot_be_read_ends_the_run_with_an_answer(
    endpoint: Endpoint,
    model: ChatAI365VIP,
    replies: list[str],
    answer: str,
    invalid: int,
    way: str,
) -> None:
    endpoint.pieces = in_turn(*[[reply] for reply in replies], ["Of course."])
    agent: Any = create_agent(model, [weather])
    if way == "invoke":
        messages = agent.invoke(ASK)["messages"]
        text = messages[-1].text
    else:
        streamed = list(agent.stream(ASK, stream_mode=["messages", "values"]))
        text = "".join(part[0].text for mode, part in streamed if mode == "messages")
        messages = streamed[-1][1]["messages"]
    assert (text, messages[-1].text, len(messages)) == (answer, answer, 2)
    assert len(messages[-1].invalid_tool_calls) == invalid
    assert endpoint.requests == 2
    # The thread goes on, and what the model wrote stands in it once.
    again = agent.invoke({"messages": [*messages, ("user", "Really?")]})["messages"]
    assert again[-1].text == "Of course."
    assert json.dumps(endpoint.bodies[2]["messages"]).count("Paris, I think") == invalid
    assert endpoint.requests == 3


class Strict(Report):
    """A weather report that knows what is too cold."""

    degrees: int = Field(ge=-90)

    @field_validator("city")
    @classmethod
    def capital(cls, city: str) -> str:
        if not city[:1].isupper():
            raise ValueError("a city begins with a capital letter")
        return city


GOOD = REPORT.replace("Report", "Strict")
LOWER = GOOD.replace("Paris", "paris")
HOT = GOOD.replace("21", '"hot"')
HANDLED: dict[str, tuple[str, Any, str]] = {
    "by LangChain's words": (LOWER, True, "a city begins with a capital letter"),
    "by words of one's own": (LOWER, "Write it anew.", "Write it anew."),
    "by a function": (LOWER, lambda e: f"No: {type(e).__name__}", "No: StructuredOutputVal"),
    "where the schema says it, too": (HOT, True, "Input should be a valid integer"),
}


@pytest.mark.parametrize(("said", "handle_errors", "says"), HANDLED.values(), ids=list(HANDLED))
def test_handle_errors_tells_the_model_what_the_class_says(
    endpoint: Endpoint, model: ChatAI365VIP, said: str, handle_errors: Any, says: str
) -> None:
    endpoint.pieces = in_turn([said], [GOOD])
    strategy = ToolStrategy(Strict, handle_errors=handle_errors)
    state = create_agent(model, [weather], response_format=strategy).invoke(ASK)
    assert state["structured_response"] == Strict(city="Paris", degrees=21)
    assert says in told(state["messages"])[0][1]
    assert (
        says in json.loads(endpoint.bodies[1]["messages"][-1]["content"].splitlines()[1])["content"]
    )
    assert endpoint.requests == 2


@pytest.mark.parametrize(
    ("said", "says"), [(LOWER, "begins with a capital letter"), (HOT, "valid integer")]
)
def test_without_handle_errors_the_class_s_refusal_is_an_error(
    endpoint: Endpoint, model: ChatAI365VIP, said: str, says: str
) -> None:
    endpoint.pieces = [said]
    agent = create_agent(model, [], response_format=ToolStrategy(Strict, handle_errors=False))
    with pytest.raises(Exception, match=says):
        agent.invoke(ASK)
    assert endpoint.requests == 1


def test_two_objects_where_one_is_wanted_are_answered_by_langchain(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn([REPORT, "\n", REPORT], [REPORT])
    state = create_agent(model, [weather], response_format=ToolStrategy(Report)).invoke(ASK)
    assert state["structured_response"] == Report(city="Paris", degrees=21)
    assert "multiple structured responses" in told(state["messages"])[0][1]
    assert endpoint.requests == 2


def test_a_tool_and_an_object_may_be_called_in_any_order(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn([UNKNOWN], [CALL], [REPORT])
    state = create_agent(model, [weather], response_format=ToolStrategy(Report)).invoke(ASK)
    assert state["structured_response"] == Report(city="Paris", degrees=21)
    # A call must come, so the unknown name is corrected within the model's run.
    assert [status for status, _ in told(state["messages"])] == ["success", "success"]
    assert "get_weather may not be called here" in endpoint.bodies[1]["messages"][-1]["content"]
    assert endpoint.requests == 3


@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("said", [OBJECT, REPORT], ids=["text", "a call of its name"])
def test_with_the_provider_strategy_an_object_is_one_as_text_or_as_a_call(
    endpoint: Endpoint, model: ChatAI365VIP, said: str, way: str
) -> None:
    endpoint.pieces = in_turn([CALL], [said])
    agent = create_agent(model, [weather], response_format=ProviderStrategy(Report))
    if way == "invoke":
        state: Any = agent.invoke(ASK)
    else:
        state = list(agent.stream(ASK, stream_mode="values"))[-1]
    assert state["structured_response"] == Report(city="Paris", degrees=21)
    last = state["messages"][-1]
    assert (json.loads(last.text), last.tool_calls) == (json.loads(OBJECT), [])
    assert endpoint.requests == 2


def test_the_class_of_a_tool_strategy_judges_what_the_model_wrote(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = ['<tool_call>{"name": "Tags", "arguments": {"tags": "a,b"}}</tool_call>']
    state = create_agent(model, [weather], response_format=ToolStrategy(Tags)).invoke(ASK)
    assert state["structured_response"] == Tags(tags=["a", "b"])
    assert endpoint.requests == 1


def test_a_tool_s_class_judges_what_the_model_wrote(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    @tool(args_schema=Tags)
    def keep(tags: list[str]) -> str:
        """Keep tags."""
        return " and ".join(tags)

    said = '<tool_call>{"name": "keep", "arguments": {"tags": "a,b"}}</tool_call>'
    endpoint.pieces = in_turn([said], ["Kept."])
    messages = create_agent(model, [keep]).invoke(ASK)["messages"]
    assert told(messages) == [("success", "a and b")]
    assert isinstance(messages[-1], AIMessage)
    assert messages[-1].text == "Kept."
    assert endpoint.requests == 2
