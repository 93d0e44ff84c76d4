"""Replies in the forms of many models, over the wire: the calls that come out of the model."""

from __future__ import annotations

import json
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_ai365vip import ChatAI365VIP
from tests.endpoint import Endpoint

FILE = json.loads((Path(__file__).parent.parent / "parsing/cases.json").read_text(encoding="utf-8"))
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": schema}}
    for name, schema in FILE["tools"].items()
]
SAMPLE = {
    case["dialect"]: case
    for case in FILE["cases"]
    if case["case"] == "two" and not case.get("optional")
}


def seen(message: Any) -> tuple[list[Any], list[Any], list[str]]:
    assert isinstance(message, AIMessage)
    calls = [[call["name"], call["args"]] for call in message.tool_calls]
    return calls, message.invalid_tool_calls, message.text.split()


@pytest.mark.parametrize("case", SAMPLE.values(), ids=list(SAMPLE))
async def test_calls_in_every_form_come_out_of_invoke_and_stream(
    endpoint: Endpoint, case: dict[str, Any]
) -> None:
    reply = case["reply"]
    endpoint.pieces = [reply[at : at + 7] for at in range(0, len(reply), 7)]
    model = ChatAI365VIP(model="gpt-4o", base_url=endpoint.base_url, max_retries=0)
    bound = model.bind_tools(TOOLS)
    wanted: tuple[list[Any], list[Any], list[str]] = (
        case["expected_calls"],
        [],
        case["expected_text"].split(),
    )
    assert seen(await bound.ainvoke("x")) == wanted
    chunks = [chunk async for chunk in bound.astream("x")]
    assert seen(reduce(add, chunks[1:], chunks[0])) == wanted
    assert endpoint.requests == 2
