"""What the tests of agents share: a tool, what a model says about it, and what was sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, field_validator

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
CALLED, TOLD_SO = LOOKED_UP[1:3], LOOKED_UP[3]
PROSE = [("text", "Sunny."), ("end", "stop")]
LOOKING_UP: tuple[Pieces, Pieces] = (
    ["Let me", " look.", CALL[:7], CALL[7:20], CALL[20:]],
    ["It is", " sunny."],
)


@tool
def weather(city: str) -> str:
    """Look up the weather of a city."""
    return f"Sunny in {city}."


class Tags(BaseModel):
    """Tags, in a list or in one text with commas."""

    tags: list[str]

    @field_validator("tags", mode="before")
    @classmethod
    def split(cls, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else value


class Report(BaseModel):
    """A weather report."""

    city: str
    degrees: int


Gist = list[tuple[Any, ...]]


def gist(messages: Iterable[BaseMessage]) -> Gist:
    """What a stream of messages or chunks says, wherever the wire happened to cut it."""
    found: Gist = []
    ids: list[str | None] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            found.append(("result", message.name, message.text))
            assert message.tool_call_id in ids or not ids
            continue
        if not isinstance(message, AIMessage):
            found.append((message.type, message.text))
            continue
        if message.text and found and found[-1][0] == "text":
            found[-1] = ("text", found[-1][1] + message.text)
        elif message.text:
            found.append(("text", message.text))
        found += [("call", call["name"], call["args"]) for call in message.tool_calls]
        ids += [call["id"] for call in message.tool_calls]
        assert not message.invalid_tool_calls
        if "finish_reason" in message.response_metadata:
            found.append(("end", message.response_metadata["finish_reason"]))
    # No call is without an id of its own, and no result without a call that was seen.
    assert all(ids)
    assert len(set(ids)) == len(ids)
    return found


Turn = tuple[str, str]
ASKED: list[Turn] = [("user", QUESTION)]
# The question, the call of a tool, and its result.
TOLD: list[Turn] = [*ASKED, ("assistant", CALL), ("user", RESULT)]


@dataclass(frozen=True)
class Request:
    """What one request told a model; the defaults are the question, and nothing besides."""

    turns: list[Turn] = field(default_factory=lambda: ASKED)
    tools: list[str] = field(default_factory=list)
    model: str = "gpt-4o"
    prompt: str = "You are a helpful assistant."
    schema: str = ""


def asked(endpoint: Endpoint) -> list[Request]:
    """What each request of an endpoint said, in order."""
    return [
        Request(
            conversation(body),
            tools_shown(body),
            body["model"]["id"],
            _ADDED_TO_PROMPTS.split(body["prompt"])[0],
            _schema_shown(body["prompt"]),
        )
        for body in endpoint.bodies
    ]


_ADDED_TO_PROMPTS = re.compile(r"\n\n(?:# Tools\n|Answer with one JSON)")
_REMINDER = re.compile(
    r"\n\n\[(?:To call a function|Answer with one JSON)[^\]]*\](?:\n\[[^\]]*\])?\Z"
)


def _schema_shown(prompt: str) -> str:
    """The title of the schema that objects are to follow."""
    _, _, schema = prompt.partition("\n<schema>\n")
    title: str = json.loads(schema.partition("\n</schema>")[0])["title"] if schema else ""
    return title


def conversation(body: dict[str, Any]) -> list[Turn]:
    """A request's turns, without the reminders of the rules."""
    return [(turn["role"], _REMINDER.sub("", turn["content"])) for turn in body["messages"]]


def parts_of(
    agent: Any, *modes: str, messages: Sequence[BaseMessage] | None = None
) -> Iterator[Any]:
    """Stream an agent's answer to `ASK`, or to messages; langgraph's types know no modes."""
    asked = ASK if messages is None else {"messages": list(messages)}
    yield from agent.stream(asked, stream_mode=modes[0] if len(modes) == 1 else list(modes))


def streamed(agent: Any, messages: Sequence[BaseMessage] | None = None) -> tuple[Gist, Any]:
    """What an agent streams, message by message, and the state that it ends with."""
    said, state = [], None
    for mode, part in parts_of(agent, "messages", "values", messages=messages):
        if mode == "messages":
            said.append(part[0])
        else:
            state = part
    return gist(said), state


def answered(agent: Any, messages: Sequence[BaseMessage] | None = None) -> Any:
    """The state that an agent ends with, streamed, whatever its middleware shows on the way."""
    return list(parts_of(agent, "values", messages=messages))[-1]


async def said_by(chain: Any, way: str, question: Any = QUESTION) -> Gist:
    """What a model or chain says, called in one of the usual ways, on an event loop."""
    match way:
        case "invoke":
            return gist([chain.invoke(question)])
        case "ainvoke":
            return gist([await chain.ainvoke(question)])
        case "batch":
            return gist(chain.batch([question]))
        case "abatch":
            return gist(await chain.abatch([question]))
        case "stream":
            return gist(chain.stream(question))
        case _:
            return gist([chunk async for chunk in chain.astream(question)])


def tools_shown(body: dict[str, Any]) -> list[str]:
    """The names of the tools that a request's prompt describes."""
    _, _, section = body["prompt"].partition("\n<tools>\n{")
    lines = ("{" + section.partition("\n</tools>\n")[0]).splitlines() if section else []
    return [json.loads(line)["function"]["name"] for line in lines]


def failing(
    endpoint: Endpoint, failures: int, status: int, reason: str = "No", answer: str = "Sunny."
) -> None:
    """Have an endpoint fail so many times, and then answer."""
    left = [
        # Whoever is to wait need not.
        web.Response(status=status, reason=reason, headers={"Retry-After": "0"})
        for _ in range(failures)
    ]
    endpoint.response = lambda _request: left.pop() if left else web.Response(text=answer)
