"""The rooms of the package: what each may import, of ours and of others."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from langchain_core.tools import tool

import langchain_ai365vip
from langchain_ai365vip import ChatAI365VIP
from tests.endpoint import Endpoint

ROOT = Path(langchain_ai365vip.__file__).parent
# Python's own, newer ones for older Pythons among them.
PYTHON = sys.stdlib_module_names | {"typing_extensions"}


class Rule(NamedTuple):
    """What a room may import, besides Python's own, its own modules and the version."""

    ours: str = ""
    others: str = ""


_ABOVE = "errors _sync _parsing _wire _prompt _transport _turn _settings _profiles _version"
# `all` are the doors: what users import, too.
RULES = {
    "__init__": Rule("_version chat_models _transport"),
    "__main__": Rule("cli"),
    "_version": Rule(),
    "errors": Rule("", "langchain_core"),
    "_sync": Rule(),
    "_parsing": Rule("", "json_repair jsonschema_rs"),
    "_wire": Rule("errors", "pydantic pydantic_core bpe_openai"),
    "_prompt": Rule("errors _wire", "langchain_core pydantic"),
    "_transport": Rule(
        "errors _wire", "aiohttp yarl multidict async_timeout aiohttp_socks python_socks tenacity"
    ),
    "_turn": Rule("errors _wire _prompt _parsing", "langchain_core pydantic"),
    "_settings": Rule(_ABOVE, "langchain_core pydantic tenacity"),
    "_profiles": Rule(_ABOVE, "langchain_core"),
    "chat_models": Rule(_ABOVE, "langchain_core pydantic tenacity"),
    "server": Rule("errors _wire", "aiohttp langchain_core pydantic"),
    "local": Rule("errors", "langchain_core pydantic langchain_openai httpx xllamacpp"),
    "batch": Rule("_sync errors chat_models", "langchain_core ray"),
    "cli": Rule(
        "__init__ chat_models errors server local batch",
        "typer rich prompt_toolkit langchain_core langchain pydantic pydantic_core",
    ),
}


def room(module: str) -> str:
    """The room of a module of ours: the first name behind the package's."""
    return [*module.split("."), "__init__"][1]


def modules() -> Iterator[tuple[str, Path]]:
    """Each module's dotted name, and its file."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), path


def imports(path: Path) -> Iterator[str]:
    """The dotted names of what a module imports, in functions and for types, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide which room is meant"
            for alias in node.names:
                inside = ROOT.parent.joinpath(*str(node.module).split("."), alias.name)
                is_module = inside.is_dir() or inside.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if is_module else str(node.module)


FILES = dict(modules())
# Not in the picture: what everybody may import, and the names of the package itself.
_PLAIN = {"errors", "_version", "__init__", "__main__"}


def arrows() -> list[tuple[str, str]]:
    """Who imports whom, without the arrows that others make plain."""
    direct: dict[str, set[str]] = {room(name): set() for name in FILES}
    for name, path in FILES.items():
        targets = {room(target) for target in imports(path) if target in FILES}
        direct[room(name)] |= targets - _PLAIN - {room(name)}

    def reached(source: str) -> set[str]:
        return direct[source].union(*(reached(target) for target in direct[source]))

    return [
        (source, target)
        for source in sorted(direct.keys() - _PLAIN)
        for target in sorted(direct[source])
        if not any(target in reached(other) for other in direct[source] - {target})
    ]


def test_every_room_has_its_rule() -> None:
    assert {room(name) for name in FILES} - {"_settings"} == RULES.keys() - {"_settings"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_module_imports_what_its_room_may(name: str) -> None:
    rule = RULES[room(name)]
    ours = {room(name), "_version", *rule.ours.split()}
    others = set(rule.others.split())
    for imported in imports(FILES[name]):
        top = imported.split(".")[0]
        if top == "langchain_ai365vip":
            assert room(imported) in ours, f"{name} may not import {imported}"
        else:
            assert top in others | PYTHON, f"{name} may not import {imported}"


@pytest.mark.parametrize(
    "name", [name for name in FILES if room(name) in ("_parsing", "_wire", "_prompt")]
)
def test_rooms_without_io_wait_for_nothing(name: str) -> None:
    assert not {"asyncio", "socket", "ssl", "http", "subprocess"} & {
        imported.split(".")[0] for imported in imports(FILES[name])
    }


@pytest.mark.parametrize("name", [name for name in FILES if room(name) == "cli"])
def test_the_command_line_goes_through_the_doors(name: str) -> None:
    for imported in imports(FILES[name]):
        if imported.startswith("langchain_ai365vip.") and room(imported) != "cli":
            assert imported.count(".") == 1, f"{imported} is no door"


def test_no_module_imports_itself_by_way_of_others() -> None:
    left = {
        name: {target for target in imports(path) if target in FILES}
        for name, path in FILES.items()
    }
    while leaves := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in leaves:
            del left[name]
    assert not left


@contextmanager
def entered() -> Iterator[set[str]]:
    """The rooms whose functions run on this thread meanwhile."""
    seen: set[str] = set()
    files = {str(path): room(name) for name, path in FILES.items()}

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (found := files.get(frame.f_code.co_filename)):
            seen.add(found)

    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(None)


@tool
def weather(city: str) -> str:
    """Say what the weather is like in a city."""
    return f"Sunny in {city}."


async def test_a_call_enters_six_rooms(endpoint: Endpoint) -> None:
    endpoint.pieces = [
        "Let me see. ",
        '<tool_call>{"name": "weather", ',
        '"arguments": {"city": "Paris"}}</tool_call>',
    ]
    model = ChatAI365VIP(base_url=endpoint.base_url).bind_tools([weather])
    with entered() as rooms:
        message = await model.ainvoke("What is the weather in Paris?")
        assert [chunk async for chunk in model.astream("What is the weather in Paris?")]
    assert [each["args"] for each in message.tool_calls] == [{"city": "Paris"}]
    # Beside the rooms stand modules that are no rooms: errors and settings.
    assert rooms - {"errors", "_settings", "_sync"} == {
        *("chat_models", "_prompt", "_wire", "_transport", "_turn", "_parsing")
    }
