"""What the tests of agents share: a tool, what a model says about it, and what was sent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aiohttp import web
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from tests.endpoint import Endpoint, Pieces

QUESTION = "What is the weather in Paris?"
ASK: Any = {"messages": [("user", QUESTION)]}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
CALL_LYON = CALL.replace("Paris", "Lyon")
RESULT = '<tool_response>\n{"name": "weather", "content": "Sunny in Paris."}\n</tool_response>'
OBJECT = '{"city": "Paris", "degrees": 21}'
REPORT = f'<tool_call>\n{{"name": "Report", "arguments": {OBJECT}}}\n</tool_call>'
# What the user sees of a run that looks the weather up and then says it.
LOOKED_UP = [
    ("text", "Let me look."),
    ("call", "weather", {"city": "Paris"}),
    ("end", "tool_calls"),
    ("result", "weather", "Sunny in Paris."),
    ("text", "It is sunny."),
    ("end", "stop"),
]
LOOKING_UP: tuple[Pieces, Pieces] = (
    ["Let me", " look.", CALL[:7], CALL[7:20], CALL[20:]],
    ["It is", " sunny."],
)


@tool
def weather(city: str) -> str:
    """Look up the weather of a city."""
    return f"Sunny in {city}."


class Report(BaseModel):
    """A weather report."""

    city: str
    degrees: int


def gist(messages: Iterable[BaseMessage]) -> list[tuple[Any, ...]]:
    """What a stream of messages or chunks says, wherever the wire happened to cut it."""
    found: list[tuple[Any, ...]] = []
    for message in messages:
        if message.type == "tool":
            found.append(("result", message.name, message.text))
            continue
        if message.text and found and found[-1][0] == "text":
            found[-1] = ("text", found[-1][1] + message.text)
        elif message.text:
            found.append(("text", message.text))
        assert isinstance(message, AIMessage)
        found += [("call", call["name"], call["args"]) for call in message.tool_calls]
        if "finish_reason" in message.response_metadata:
            found.append(("end", message.response_metadata["finish_reason"]))
    return found


def conversation(body: dict[str, Any]) -> list[tuple[str, str]]:
    """A request's turns, without the reminder of the rules after the last one."""
    turns = [(turn["role"], turn["content"]) for turn in body["messages"]]
    role, last = turns[-1]
    return [*turns[:-1], (role, last.partition("\n\n[")[0])]


def parts_of(
    agent: Any, *modes: str, messages: Sequence[BaseMessage] | None = None
) -> Iterator[Any]:
    """Stream an agent's answer to `ASK`, or to messages; langgraph's types know no modes."""
    asked = ASK if messages is None else {"messages": list(messages)}
    yield from agent.stream(asked, stream_mode=modes[0] if len(modes) == 1 else list(modes))


def tools_shown(body: dict[str, Any]) -> list[str]:
    """The names of the tools that a request's prompt describes."""
    _, _, section = body["prompt"].partition("\n<tools>\n{")
    lines = ("{" + section.partition("\n</tools>\n")[0]).splitlines() if section else []
    return [json.loads(line)["function"]["name"] for line in lines]


def failing(
    endpoint: Endpoint, failures: int, status: int, reason: str = "No", answer: str = "Sunny."
) -> None:
    """Have an endpoint fail so many times, and then answer."""
    left = [web.Response(status=status, reason=reason) for _ in range(failures)]
    endpoint.response = lambda _request: left.pop() if left else web.Response(text=answer)
