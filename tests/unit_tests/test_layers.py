"""How the package is built: each module knows one vocabulary, and the arrows go one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import langchain_ai365vip

ROOT = Path(langchain_ai365vip.__file__).parent
MODULES = {path.stem: path for path in ROOT.glob("*.py") if path.stem != "__init__"}

# The layers of the README's picture: a module imports from its own layer and those below.
LAYERS: list[set[str]] = [
    {
        *{"errors", "_version", "_scan", "_json_text", "_json_schema", "_coding", "_timeouts"},
        *{"_caller", "_sync", "_threads", "_pacing", "_echoes", "_redaction"},
        *{"_json_check", "_json_coerce", "_repairs", "_patterns"},
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
        "_proxy",
    },
    {"_tokens", "_profiles", "_structured", "_reply", "_sealing"},
    {"_cutter", "_messages", "_client"},
    {"_turn", "_chunks", "_tooling", "_object_parser", "_binding"},
    {"chat_models", "_served", "_access"},
    {"_endpoint", "_llama"},
    {"server", "local", "batch"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# Whose words a module may use at import time, besides Python's.
WITHOUT_AIOHTTP = {
    *LAYERS[0],
    *(LAYERS[1] - {"_failures", "_pool"}),
    *(LAYERS[2] - {"_reply"}),
    *{"_cutter", "_messages", "_chunks", "_tooling", "_object_parser"},
    *{"chat_models", "_served", "batch", "local"},
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
    *{"_cutter", "_client", "_access", "_endpoint"},
}


def imported(name: str) -> set[str]:
    """The names of all modules that a module imports, in functions too, but not for types."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = "langchain_ai365vip" if node.level else ""
            base = ".".join(part for part in (package, node.module) if part)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def own(name: str) -> set[str]:
    parts = [module.split(".") for module in imported(name)]
    return {
        part[1]
        for part in parts
        if len(part) > 1 and part[0] == "langchain_ai365vip" and part[1] in MODULES
    } - {name}


def test_every_module_has_its_layer() -> None:
    assert MODULES.keys() <= LEVEL.keys()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_from_its_own_layer_and_those_below(name: str) -> None:
    assert {other for other in own(name) if LEVEL[other] > LEVEL[name]} == set()


@pytest.mark.parametrize("name", sorted(MODULES.keys() & WITHOUT_AIOHTTP))
def test_a_module_knows_nothing_of_aiohttp(name: str) -> None:
    assert "aiohttp" not in {module.split(".")[0] for module in imported(name)}


@pytest.mark.parametrize("name", sorted(MODULES.keys() & WITHOUT_LANGCHAIN))
def test_a_module_knows_nothing_of_langchain(name: str) -> None:
    assert "langchain_core" not in {module.split(".")[0] for module in imported(name)}


def test_the_server_shares_with_the_client_what_the_readme_says() -> None:
    server = {"server", "_endpoint", "_access", "_served"}

    assert set().union(*map(own, server)) - server == {"_protocol", "errors", "_threads"}
