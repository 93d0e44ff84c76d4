"""What others build agents with: AgentExecutor, deepagents, trustcall, supervisor, swarm, MCP."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, field_validator

from langchain_ai365vip import ChatAI365VIP
from tests.agent_kit import ASK, CALL, QUESTION, asked, tools_shown, weather
from tests.endpoint import Endpoint, in_turn
from tests.turn.test_turns import call

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.filterwarnings("ignore:`langchain-community` is being sunset:DeprecationWarning"),
    # What the packages import of LangGraph by its old names.
    pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecationWarning"),
]
SUNNY = "It is sunny."
UNKNOWN = call("get_weather", city="Paris")
MISFIT = call("weather", town="Paris")
BROKEN = CALL.replace('{"city": "Paris"}', "Paris, I think")
INVALID = "not a valid tool, try one of"


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    return ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, max_retries=0)


def results(messages: list[BaseMessage]) -> list[str]:
    return [each.text for each in messages if isinstance(each, ToolMessage)]


# -- AgentExecutor -------------------------------------------------------------------------


def executor(model: ChatAI365VIP) -> Any:
    from langchain_classic.agents import AgentExecutor, create_tool_calling_agent

    prompt = ChatPromptTemplate.from_messages(
        [("user", "{input}"), ("placeholder", "{agent_scratchpad}")]
    )
    agent = create_tool_calling_agent(model, [weather], prompt)
    return AgentExecutor(agent=agent, tools=[weather], return_intermediate_steps=True)


@pytest.mark.parametrize(
    ("replies", "observed", "answer"),
    [
        pytest.param([CALL, SUNNY], ["Sunny in Paris."], SUNNY, id="a call"),
        pytest.param(
            [UNKNOWN, CALL, SUNNY],
            ["get_weather is not a valid tool, try one of [weather].", "Sunny in Paris."],
            SUNNY,
            id="an unknown tool",
        ),
        pytest.param([BROKEN, CALL, SUNNY], ["Sunny in Paris."], SUNNY, id="a broken call"),
        pytest.param([BROKEN, BROKEN], [], BROKEN, id="broken twice"),
        pytest.param([BROKEN, SUNNY], [], SUNNY, id="broken, then words"),
    ],
)
def test_an_agent_executor_ends_with_an_answer(
    endpoint: Endpoint, model: ChatAI365VIP, replies: list[str], observed: list[str], answer: str
) -> None:
    endpoint.pieces = in_turn(*[[reply] for reply in replies])
    state = executor(model).invoke({"input": QUESTION})
    assert [result for _, result in state["intermediate_steps"]] == observed
    assert state["output"] == answer
    assert endpoint.requests == len(replies)


# -- deepagents ----------------------------------------------------------------------------


def test_a_deep_agent_writes_a_file_asks_a_subagent_and_answers(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    from deepagents import create_deep_agent

    endpoint.pieces = in_turn(
        [call("write_file", file_path="/note.md", content="Paris?\n</tool_call>\n")],
        [call("write_file", path="/note.md")],
        [call("read_it", file="/note.md")],
        [call("task", description="The weather in Paris?", subagent_type="forecaster")],
        [CALL],  # the subagent's
        ["Sunny, it says."],
        [BROKEN],
        [SUNNY],
    )
    forecaster: Any = {
        "name": "forecaster",
        "description": "Knows the weather.",
        "system_prompt": "You forecast.",
        "tools": [weather],
    }
    agent = create_deep_agent(model, tools=[weather], subagents=[forecaster])
    state = agent.invoke(ASK)
    told = results(state["messages"])
    assert state["files"]["/note.md"]["content"] == "Paris?\n</tool_call>\n"
    assert "file_path: Field required" in told[1]
    assert INVALID in told[2]
    assert told[3] == "Sunny, it says."
    assert state["messages"][-1].text == SUNNY
    assert endpoint.requests == 8
    assert "You forecast." in endpoint.bodies[4]["prompt"]


# -- trustcall -----------------------------------------------------------------------------


class Order(BaseModel):
    """An order."""

    item: str
    count: int

    @field_validator("count")
    @classmethod
    def positive(cls, count: int) -> int:
        if count < 1:
            raise ValueError("order at least one")
        return count


def patch(document: str, path: str, value: Any) -> str:
    operation = {"op": "replace", "path": path, "value": value}
    return call(
        "PatchFunctionErrors", json_doc_id=document, planned_edits="Mend it.", patches=[operation]
    )


def test_trustcall_patches_arguments_that_the_class_refuses(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    from trustcall import create_extractor

    def mend(body: dict[str, Any]) -> list[str]:
        if endpoint.requests == 1:
            return [call("Order", item="tea", count=0)]
        # What is to be patched goes by the id that trustcall shows with the refusal.
        return [patch(_id_in(json.dumps(body["messages"])), "/count", 2)]

    endpoint.pieces = mend
    extractor = create_extractor(model, tools=[Order], tool_choice="Order")
    result = extractor.invoke({"messages": [("user", "Two teas.")]})
    assert result["responses"] == [Order(item="tea", count=2)]
    assert result["attempts"] == 2
    assert "order at least one" in json.dumps(endpoint.bodies[1]["messages"])
    assert tools_shown(endpoint.bodies[1])[0] == "PatchFunctionErrors"
    assert endpoint.requests == 2


def test_what_trustcall_s_schema_refuses_is_asked_for_once_more(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    from trustcall import create_extractor

    # It binds the schema of the class as a dict, which is judged where a call is read.
    endpoint.pieces = in_turn(
        [call("Order", item="tea", count="few")], [call("Order", item="tea", count="2")]
    )
    extractor = create_extractor(model, tools=[Order], tool_choice="Order")
    result = extractor.invoke({"messages": [("user", "Two teas.")]})
    assert result["responses"] == [Order(item="tea", count=2)]
    assert endpoint.requests == 2


def test_trustcall_patches_an_object_that_there_is(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    from trustcall import create_extractor

    operations = [{"op": "replace", "path": "/count", "value": 3}]
    said = call("PatchDoc", json_doc_id="Order", planned_edits="More.", patches=operations)
    endpoint.pieces = in_turn([said])
    extractor = create_extractor(model, tools=[Order], tool_choice="Order")
    known = {"Order": {"item": "tea", "count": 2}}
    result = extractor.invoke({"messages": [("user", "One more.")], "existing": known})
    assert result["responses"] == [Order(item="tea", count=3)]
    assert endpoint.requests == 1


def _id_in(text: str) -> str:
    start = text.index("call_")
    return text[start : start + 37]


# -- supervisor and swarm ------------------------------------------------------------------


def test_a_supervisor_hands_over_and_hears_back(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    from langgraph_supervisor import create_supervisor

    endpoint.pieces = in_turn(
        [call("transfer_to_nobody")],
        [call("transfer_to_forecaster")],
        [MISFIT],  # the forecaster's
        [CALL],
        ["Sunny, it says."],
        [BROKEN],
        [SUNNY],
    )
    forecaster = create_agent(model, [weather], name="forecaster", system_prompt="You forecast.")
    team = create_supervisor([forecaster], model=model, output_mode="full_history").compile()
    messages = team.invoke(ASK)["messages"]
    told = results(messages)
    assert INVALID in told[0]
    assert "city: Field required" in told[2]
    assert told[3] == "Sunny in Paris."
    assert messages[-1].text == SUNNY
    assert [request.prompt for request in asked(endpoint)[2:5]] == ["You forecast."] * 3
    assert endpoint.requests == 7


def test_agents_of_a_swarm_hand_over_to_one_another(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    from langgraph_swarm import create_handoff_tool, create_swarm

    endpoint.pieces = in_turn(
        [call("transfer_to_bob", to="Bob")], [UNKNOWN], [CALL], [BROKEN], [BROKEN], ["Bob still."]
    )
    to_bob: Any = create_handoff_tool(agent_name="bob")
    alice = create_agent(model, [to_bob], name="alice", system_prompt="You are Alice.")
    bob = create_agent(model, [weather], name="bob", system_prompt="You are Bob.")
    swarm = create_swarm([alice, bob], default_active_agent="alice").compile()
    state = swarm.invoke(ASK)
    assert state["active_agent"] == "bob"
    told = results(state["messages"])
    assert told[0] == "Successfully transferred to bob"
    assert INVALID in told[1]
    assert told[2] == "Sunny in Paris."
    assert state["messages"][-1].text == BROKEN
    assert endpoint.requests == 5
    again = swarm.invoke({**state, "messages": [*state["messages"], ("user", "Who is it?")]})
    assert again["messages"][-1].text == "Bob still."
    assert [request.prompt for request in asked(endpoint)[1:]] == ["You are Bob."] * 5


# -- MCP -----------------------------------------------------------------------------------


@asynccontextmanager
async def mcp_tools() -> AsyncIterator[list[Any]]:
    """The tools of a server that runs as long as this is open."""
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_mcp_adapters.tools import load_mcp_tools

    client = MultiServerMCPClient(
        {
            "trips": {
                "transport": "stdio",
                "command": sys.executable,
                "args": [str(Path(__file__).with_name("mcp_server.py"))],
            }
        }
    )
    async with client.session("trips") as session:
        yield await load_mcp_tools(session)


PLAN = {"trip": {"stops": [{"name": "Pont Neuf", "inside": {"name": "Paris"}}], "days": 3}}
MCP: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "nested classes": ([call("plan", **PLAN)], PLAN, "3 days: Pont Neuf, Paris. Have fun!"),
    "texts that mean a number, an object and a boolean": (
        [call("plan", trip=json.dumps({**PLAN["trip"], "days": "3"}), brief="true")],
        {**PLAN, "brief": True},
        "3 days: Pont Neuf, Paris.",
    ),
    "null where it may be": (
        [call("nights", count="2", guests="null")],
        {"count": 2, "guests": None},
        "2 nights for None",
    ),
    "what does not fit, deep inside, corrected": (
        [
            call("plan", trip={"stops": [{"inside": {"name": "Paris"}}], "days": 3}),
            call("plan", **PLAN),
        ],
        PLAN,
        "3 days: Pont Neuf, Paris. Have fun!",
    ),
    "what does not fit, corrected": (
        [call("nights", count="two"), call("nights", count=2)],
        {"count": 2},
        "2 nights for None",
    ),
    "no schema": ([call("now")], {}, "It is noon. {}"),
    "an error of the server": ([call("fail")], {}, "the server's own words"),
}


@pytest.mark.parametrize(("said", "args", "result"), MCP.values(), ids=list(MCP))
async def test_tools_of_an_mcp_server_get_arguments_that_fit_their_schema(
    endpoint: Endpoint,
    model: ChatAI365VIP,
    said: list[str],
    args: dict[str, Any],
    result: str,
) -> None:
    endpoint.pieces = in_turn(*[[reply] for reply in said], [SUNNY])
    async with mcp_tools() as tools:
        state = await create_agent(model, tools).ainvoke(ASK)
    [called] = [m for m in state["messages"] if isinstance(m, AIMessage) and m.tool_calls]
    assert [each["args"] for each in called.tool_calls] == [args]
    assert result in results(state["messages"])[0]
    assert state["messages"][-1].text == SUNNY
    assert endpoint.requests == len(said) + 1


async def test_a_call_that_never_fits_an_mcp_server_s_schema_is_told_as_text(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    wrong = call("nights", count="two")
    endpoint.pieces = in_turn([wrong], [wrong])
    async with mcp_tools() as tools:
        state = await create_agent(model, tools).ainvoke(ASK)
    assert state["messages"][-1].text == wrong
    assert "count" in state["messages"][-1].invalid_tool_calls[0]["args"]
    assert endpoint.requests == 2


async def test_the_model_is_shown_an_mcp_server_s_schemas_whole(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = [SUNNY]
    async with mcp_tools() as tools:
        await create_agent(model, tools).ainvoke(ASK)
    assert tools_shown(endpoint.bodies[0]) == ["plan", "nights", "fail", "now"]
    shown = endpoint.bodies[0]["prompt"].partition("<tools>\n")[2].partition("\n</tools>")[0]
    plan, *_, now = [json.loads(line)["function"] for line in shown.splitlines()]
    assert plan["parameters"]["$defs"]["Place"]["properties"]["inside"]["anyOf"][0] == {
        "$ref": "#/$defs/Place"
    }
    assert now["parameters"].get("properties", {}) == {}
    assert endpoint.requests == 1
