"""Each dialect gives the same calls and objects in every way of asking; and the fake is honest."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from langchain_ai365vip import ChatAI365VIP
from tests import dialects
from tests.dialects import DIALECTS, DialectServer

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather at a location.",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["location", "days"],
        },
    },
}
QUESTION = "What is the weather in San Francisco for 3 days?"
ARGUMENTS = {"location": "San Francisco", "days": 3}


@pytest.fixture(scope="module")
def running() -> Iterator[DialectServer]:
    with DialectServer() as server:
        yield server


@pytest.fixture
def server(running: DialectServer) -> DialectServer:
    running.dialect = "tag"
    running.requests.clear()
    return running


def ask(server: DialectServer, prompt: str, *turns: str) -> str:
    """A raw request: nothing of the package in between."""
    roles = ("user", "assistant")
    payload = {
        "model": {"id": "m", "name": "M", "maxLength": 1, "tokenLimit": 9},
        "messages": [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)],
        "key": "",
        "prompt": prompt,
        "temperature": 1,
    }
    request = urllib.request.Request(f"{server.url}/api/chat", json.dumps(payload).encode())
    with urllib.request.urlopen(request, timeout=30) as response:
        text: str = response.read().decode()
        return text


WITH_TOOL = f"Be brief.\n<tools>\n{json.dumps(TOOL)}\n</tools>"


def test_the_fake_model_shares_no_code_with_the_package() -> None:
    source = Path(dialects.__file__).read_text(encoding="utf-8")
    imported = re.findall(r"^ *(?:from|import) +([\w.]+)", source, re.MULTILINE)
    assert imported
    assert not any(name.startswith(("langchain", "tests", ".")) for name in imported)


def test_the_fake_model_calls_what_the_prompt_describes(server: DialectServer) -> None:
    call = json.dumps({"name": "get_weather", "arguments": ARGUMENTS})
    assert ask(server, WITH_TOOL, QUESTION) == f"<tool_call>\n{call}\n</tool_call>"
    assert ask(server, WITH_TOOL, "Hello") == dialects.GREETING


def test_the_fake_model_uses_the_names_that_it_was_given(server: DialectServer) -> None:
    other = WITH_TOOL.replace("get_weather", "weather_for").replace("location", "place")
    assert json.loads(ask(server, other, QUESTION).split("\n")[1]) == {
        "name": "weather_for",
        "arguments": {"place": "San Francisco", "days": 3},
    }


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("Be brief.", QUESTION),
        ("Be brief. Tools: get_weather(location)", QUESTION),
        (WITH_TOOL.replace("<tools>", "[tools]"), QUESTION),
        ("Be brief.", "Tell me a joke."),
    ],
    ids=["nothing", "in words", "another tag", "no schema"],
)
def test_the_fake_model_fails_without_its_instructions(
    server: DialectServer, prompt: str, question: str
) -> None:
    with pytest.raises(urllib.error.HTTPError, match=r"needs a tool or a schema"):
        ask(server, prompt, question)


def test_a_dialect_that_fails_obeys_only_when_it_is_corrected(server: DialectServer) -> None:
    forced = f"{WITH_TOOL}\nYou must call a function."
    for name in ("unwilling", "mistaken"):
        server.dialect = name
        first = ask(server, forced, QUESTION)
        assert "get_weather" not in first
        assert "get_weather" in ask(server, forced, QUESTION, first, "Do it.")


def test_every_dialect_writes_something_else() -> None:
    call: dict[str, Any] = {"name": "get_weather", "arguments": ARGUMENTS}
    written = [dialect.refuses or dialect.call(call) for dialect in DIALECTS.values()]
    assert len(set(written)) == len(written)


# --- through the model --------------------------------------------------------------------

each_dialect = pytest.mark.parametrize("name", DIALECTS)


def one_by_one(model: Any, question: str) -> Any:
    """Streamed and put together again, as a reader of the stream would."""
    pieces = list(model.stream(question))
    return reduce(add, pieces[1:], pieces[0])


async def one_by_one_async(model: Any, question: str) -> Any:
    pieces = [piece async for piece in model.astream(question)]
    return reduce(add, pieces[1:], pieces[0])


async def in_every_way(model: Any, question: str) -> list[Any]:
    return [
        model.invoke(question),
        await model.ainvoke(question),
        one_by_one(model, question),
        await one_by_one_async(model, question),
    ]


def chat(server: DialectServer, **settings: Any) -> ChatAI365VIP:
    return ChatAI365VIP(base_url=server.url, model="gpt-4o", max_retries=0, **settings)


def seen(message: Any) -> tuple[Any, ...]:
    calls = [(call["name"], call["args"]) for call in message.tool_calls]
    return message.text, calls, message.invalid_tool_calls, message.response_metadata


WANTED = [("get_weather", ARGUMENTS)]


@each_dialect
async def test_a_forced_call_is_the_same_in_every_dialect_and_way(
    server: DialectServer, name: str
) -> None:
    server.dialect = name
    model = chat(server).bind_tools([TOOL], tool_choice="any")
    for message in await in_every_way(model, QUESTION):
        _, calls, invalid, metadata = seen(message)
        assert (calls, invalid) == (WANTED, [])
        assert metadata["finish_reason"] == "tool_calls"
    again = 2 if DIALECTS[name].refuses else 1
    assert len(server.requests) == 4 * again
    if again == 2:
        own, correction = server.requests[1]["messages"][-2:]
        assert own == {"role": "assistant", "content": DIALECTS[name].refuses}
        assert correction["role"] == "user"


# What a dialect says beside its call stays, and nothing of the call is left in the text.
BESIDE = {
    "prose before": "I'll use `get_weather` for that.\n\n",
    "prose around": "Let me see.\n\n\nOne moment.",
    "thinking first": "<think>\nIs it <tool_call>\n"
    + json.dumps({"name": "get_weather", "arguments": ARGUMENTS})
    + "\n</tool_call>? No {x}.\n</think>",
}


@each_dialect
async def test_a_call_of_the_models_own_choice_is_the_same_in_every_dialect_and_way(
    server: DialectServer, name: str
) -> None:
    server.dialect = name
    model = chat(server).bind_tools([TOOL])
    for message in await in_every_way(model, QUESTION):
        text, calls, invalid, metadata = seen(message)
        assert (text, calls, invalid) == (BESIDE.get(name, ""), WANTED, [])
        assert metadata["finish_reason"] == "tool_calls"
    assert len(server.requests) == 4


@each_dialect
async def test_prose_comes_through_whole_with_tools_bound(server: DialectServer, name: str) -> None:
    server.dialect = name
    model = chat(server).bind_tools([TOOL])
    for message in await in_every_way(model, "Hello"):
        text, calls, invalid, metadata = seen(message)
        assert (text, calls, invalid) == (dialects.GREETING, [], [])
        assert metadata["finish_reason"] == "stop"


class Trip(BaseModel):
    """A trip."""

    place: str
    days: int


@each_dialect
@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
async def test_an_object_is_the_same_in_every_dialect_and_way(
    server: DialectServer, name: str, method: Literal["function_calling", "json_schema"]
) -> None:
    server.dialect = name
    model = chat(server).with_structured_output(Trip, method=method)
    question = "Plan a trip to 'São Paulo' for 4 days."
    results = [
        model.invoke(question),
        await model.ainvoke(question),
        *model.stream(question),
        *[piece async for piece in model.astream(question)],
    ]
    assert results == [Trip(place="São Paulo", days=4)] * 4
    assert len(server.requests) == 4 * (2 if DIALECTS[name].refuses else 1)


# Where there is no schema, any object will do, and these dialects give another one.
OTHER_KEYS = {"arguments as text": {"name", "arguments"}, "mistaken": {"wrong"}}


@each_dialect
async def test_json_mode_gives_the_object_alone(server: DialectServer, name: str) -> None:
    server.dialect = name
    question = "Tell me of Rome. Return a JSON with 'city' and 'country' keys."
    for message in await in_every_way(
        chat(server).bind(response_format={"type": "json_object"}), question
    ):
        assert json.loads(message.text).keys() == OTHER_KEYS.get(name, {"city", "country"})


async def test_thoughts_are_reasoning_blocks_when_they_are_asked_for(
    server: DialectServer,
) -> None:
    server.dialect = "thinking first"
    model = chat(server, reasoning=True).bind_tools([TOOL])
    for message in await in_every_way(model, QUESTION):
        text, calls, invalid, _ = seen(message)
        assert (text, calls, invalid) == ("", WANTED, [])
        thoughts = [b["reasoning"] for b in message.content_blocks if b["type"] == "reasoning"]
        assert "".join(thoughts).startswith("Is it <tool_call>\n")
        assert "".join(thoughts).endswith("? No {x}.\n")
