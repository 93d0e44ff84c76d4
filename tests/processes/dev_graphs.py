"""Graphs that `langgraph dev` serves to a test, written as its users write them.

The model is made once, at import; its endpoint comes from the environment.
"""

from __future__ import annotations

import time
from typing import Any

from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph

from langchain_ai365vip import ChatAI365VIP
from tests.agent_kit import weather

_model = ChatAI365VIP(model="gpt-4o")


async def _ask(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    return {"messages": [await _model.ainvoke(state["messages"], config)]}


def _ask_sync(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    return {"messages": [_model.invoke(state["messages"], config)]}


async def _block(_state: MessagesState) -> dict[str, Any]:
    time.sleep(0.01)  # noqa: ASYNC251 - what the check is for
    return {"messages": []}


def _graph_of(node: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile()


asking = _graph_of(_ask)
asking_sync = _graph_of(_ask_sync)
blocking = _graph_of(_block)
agent: Any = create_agent(_model, tools=[weather], system_prompt="Be brief.")
