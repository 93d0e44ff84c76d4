"""Each dialect gives the same calls and objects in every way of asking; and the fake is honest."""

from __future__ import annotations

import ast
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import dialects
from .dialects import DIALECTS, DialectServer

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
    tree = ast.parse(Path(dialects.__file__).read_text(encoding="utf-8"))
    imported = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported
    assert not any(str(name).startswith(("langchain", "tests", ".")) for name in imported)


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
