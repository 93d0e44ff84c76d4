"""How the package is built: each module knows one vocabulary, and the arrows go one way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import langchain_ai365vip
from tests.documents import blocks
from tests.generated import README

ROOT = Path(langchain_ai365vip.__file__).parent
# A module by its name in the package: `server`, `cli`, `cli.app`.
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
    if path != ROOT / "__init__.py"
}

# The layers of the README's picture: a module imports from its own layer and those below.
LAYERS: list[set[str]] = [
    {
        *{"errors", "_version", "_scan", "_json_text", "_timeouts"},
        *{"_sync", "_echoes", "_secrets"},
        *{"_parsing", "_parsing.schemas", "_parsing.coercion", "batch.files"},
    },
    {
        "_protocol",
        "_tool_prompt",
        "_tool_calls",
        "_tool_parser",
        "_call_forms",
        "_failures",
        "_pool",
        "_content",
        "_foreign",
        "_proxy",
        "_checks",
    },
    {"_tokens", "_profiles", "_structured", "_reply"},
    {"_cutter", "_messages", "_client"},
    {"_turn", "_chunks", "_tooling", "_object_parser"},
    {"_wire", "_wire.request"},
    {"chat_models", "server.models", "server.access"},
    {"server.reply", "local.llama"},
    {"server.endpoint", "local.model"},
    {"server.app"},
    {"server.local_server"},
    {"server", "local", "batch", "batch.run"},
    {"cli.terminal", "cli.exits", "cli.failures", "cli.target"},
    {"cli.endpoints", "cli.batch", "cli.chat", "cli.check"},
    {"cli.serve"},
    {"cli", "cli.app"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# Whose words a module may use at import time, besides Python's.
WITHOUT_AIOHTTP = {
    *LAYERS[0],
    *(LAYERS[1] - {"_failures", "_pool"}),
    *(LAYERS[2] - {"_reply"}),
    *{"_cutter", "_messages", "_chunks", "_tooling", "_object_parser"},
    *{"chat_models", "server.models", "batch", "batch.run"},
    *{"local", "local.llama", "local.model", "_wire", "_wire.request"},
}
WITHOUT_LANGCHAIN = {
    *(LAYERS[0] - {"errors"}),
    *{
        "_protocol",
        "_tool_calls",
        "_tool_parser",
        "_call_forms",
        "_failures",
        "_pool",
        "_reply",
        "_tokens",
    },
    *{"_cutter", "_client", "server.access", "server.endpoint", "_wire", "_wire.request"},
}


# What a part of the picture knows nothing of, by its title.
UNKNOWN = {
    "LangChain's words": {"aiohttp"},
    "aiohttp's words": {"langchain_core"},
    "text in, events out, no I/O": {"aiohttp", "asyncio", "os", "socket", "ssl", "threading"},
    "the wire's facts": {"aiohttp", "asyncio", "os", "socket", "ssl", "threading"},
}


def imported(name: str) -> set[str]:
    """The names of all modules that a module imports, in functions and for types, too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = "langchain_ai365vip" if node.level else ""
            base = ".".join(part for part in (package, node.module) if part)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def homes() -> dict[str, str]:
    """The module of each name that the package itself offers."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    return {
        alias.name: node.module.rpartition(".")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


HOMES = homes()


def own(name: str) -> set[str]:
    """The modules of this package that a module imports, itself not among them."""
    ours = {module.removeprefix("langchain_ai365vip.") for module in imported(name)}
    return ({HOMES.get(module, module) for module in ours} & MODULES.keys()) - {name}


def reached(name: str) -> set[str]:
    """A module with all that it imports, and what those import."""
    found, left = {name}, [name]
    while left:
        new = own(left.pop()) - found
        found |= new
        left += new
    return found


def test_every_module_has_its_layer() -> None:
    assert MODULES.keys() == LEVEL.keys()
    assert len(LEVEL) == sum(len(names) for names in LAYERS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_from_its_own_layer_and_those_below(name: str) -> None:
    assert {other for other in own(name) if LEVEL[other] > LEVEL[name]} == set()


@pytest.mark.parametrize("name", sorted(MODULES.keys() & WITHOUT_AIOHTTP))
def test_a_module_knows_nothing_of_aiohttp(name: str) -> None:
    assert "aiohttp" not in {module.split(".")[0] for module in imported(name)}


@pytest.mark.parametrize("name", sorted(MODULES.keys() & WITHOUT_LANGCHAIN))
def test_a_module_knows_nothing_of_langchain(name: str) -> None:
    assert "langchain_core" not in {module.split(".")[0] for module in imported(name)}


TEXT = README.read_text(encoding="utf-8")
[PICTURE] = [block.code for block in blocks(TEXT) if block.language == "mermaid"]
ARROWS = re.findall(r"^ *(\w+) --> (\w+)$", PICTURE, re.MULTILINE)
ROOMS = {room for arrow in ARROWS for room in arrow}
PARTS = {
    title: names.split()
    for title, names in re.findall(
        r"^ *subgraph \w+\[\"(.+)\"\]\n([\w\s]+?)\n *end$", PICTURE, re.MULTILINE
    )
}
SHARED = re.findall(r"`(\w+)`\s+and\s+`(\w+)`\s+share\s+((?:`\w+`(?:,\s+|\s+and\s+)?)+)", TEXT)


def of_room(room: str) -> set[str]:
    """The modules of a room: one, or all of a package."""
    return {name for name in MODULES if name == room or name.startswith(f"{room}.")}


def led_to(room: str) -> set[str]:
    """The rooms that the picture's arrows lead to."""
    direct = {target for source, target in ARROWS if source == room}
    return direct.union(*(led_to(target) for target in direct))


def between(source: str, target: str) -> set[str]:
    """What of one room another one imports."""
    return set().union(*(own(name) for name in of_room(source))) & of_room(target)


def test_every_line_of_the_picture_is_read() -> None:
    lines = len(ARROWS) + sum(2 + len(names) for names in PARTS.values())

    assert PICTURE.startswith("flowchart TD\n")
    assert PICTURE.count("\n") == 1 + lines
    assert len(ARROWS) > 20


def test_every_room_of_the_picture_is_a_module() -> None:
    named = ROOMS | {name for names in PARTS.values() for name in names}

    assert {room for room in named if not of_room(room)} == set()
    assert named == ROOMS


@pytest.mark.parametrize(("source", "target"), ARROWS)
def test_an_arrow_of_the_picture_is_an_import(source: str, target: str) -> None:
    assert between(source, target)


@pytest.mark.parametrize("source", sorted(ROOMS))
def test_no_import_between_two_rooms_is_missing_in_the_picture(source: str) -> None:
    imports = {target for target in ROOMS - {source} if between(source, target)}

    assert imports <= led_to(source)


def test_a_part_of_the_picture_knows_no_other_words_than_its_title_says() -> None:
    assert PARTS.keys() == UNKNOWN.keys()
    for title, names in PARTS.items():
        for name in names:
            words = {module.split(".")[0] for module in imported(name)}
            assert words & UNKNOWN[title] == set(), name


def test_the_readme_says_what_the_server_shares() -> None:
    said = {(one, other): set(re.findall(r"\w+", names)) - {"and"} for one, other, names in SHARED}

    assert said.keys() == {("server", "_client"), ("server", "chat_models")}
    for (one, other), names in said.items():
        assert names == reached(one) & reached(other)
