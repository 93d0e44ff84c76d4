"""Docstrings are the API reference: complete, and their examples run."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from pydantic import BaseModel

import langchain_ai365vip
from langchain_ai365vip import ChatAI365VIP
from tests.documents import Block, blocks, run
from tests.endpoint import Endpoint
from tests.test_public_api import PUBLIC

# Where the examples say that an endpoint is.
EXAMPLE_URLS = ("https://chat.example.com", "http://127.0.0.1:3000")


class Documented(NamedTuple):
    """A public thing and the text that documents its arguments.

    Attributes:
        name: The qualified name.
        value: The class, function or method.
        doc: Its docstring.
        namespace: The globals of its module, as for a doctest.
    """

    name: str
    value: Any
    doc: str
    namespace: dict[str, Any]


def _modules() -> Iterator[Any]:
    yield langchain_ai365vip
    for module in pkgutil.walk_packages(langchain_ai365vip.__path__, "langchain_ai365vip."):
        yield importlib.import_module(module.name)


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).startswith("langchain_ai365vip")


def _unwrapped(member: Any) -> Any:
    if isinstance(member, classmethod | staticmethod):
        return member.__func__
    return member.fget if isinstance(member, property) else member


def _things() -> Iterator[Documented]:
    """Yield every public module, class, function and method that this package defines."""
    for module in _modules():
        namespace = vars(module)
        yield Documented(module.__name__, module, inspect.getdoc(module) or "", namespace)
        for name, value in namespace.items():
            is_code = inspect.isclass(value) or inspect.isfunction(value)
            # Only where it is defined, so once.
            if name.startswith("_") or not is_code or value.__module__ != module.__name__:
                continue
            yield Documented(f"{module.__name__}.{name}", value, value.__doc__ or "", namespace)
            if inspect.isclass(value):
                yield from _methods(f"{module.__name__}.{name}", value, namespace)


def _methods(owner: str, cls: type, namespace: dict[str, Any]) -> Iterator[Documented]:
    for name, member in vars(cls).items():
        function = _unwrapped(member)
        if not name.startswith("_") and inspect.isfunction(function) and _is_ours(function):
            yield Documented(f"{owner}.{name}", function, function.__doc__ or "", namespace)


def _described(doc: str) -> set[str]:
    """Return the names described in Google style: `name: …` under a heading."""
    return set(re.findall(r"^\s+\*{0,2}(\w+)(?: \([^)]*\))?:", doc, re.MULTILINE))


def _arguments(value: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(value).parameters
    return {name for name in parameters if name not in ("self", "cls")}


def _offered() -> set[str]:
    """Where the names are defined that the public modules offer."""
    things = (
        getattr(importlib.import_module(module), name)
        for module, names in PUBLIC.items()
        for name in names
    )
    return {
        f"{getattr(thing, '__module__', '')}.{getattr(thing, '__name__', '')}" for thing in things
    }


def _is_public(thing: Documented) -> bool:
    """Say whether users may import it, or what it is a method of: see `test_public_api.py`."""
    return any(thing.name == name or thing.name.startswith(f"{name}.") for name in OFFERED)


def _takes_arguments(value: Any) -> bool:
    """Say whether a thing is a function, or a class with a signature of its own.

    A pydantic model's signature is every inherited field; the fields have a test of their own.
    """
    if inspect.isclass(value):
        is_model = issubclass(value, BaseModel)
        return not is_model and bool({"__init__", "_fields"} & vars(value).keys())
    return inspect.isfunction(value)


OFFERED = _offered()
THINGS = list(_things())
NAMED = [thing for thing in THINGS if inspect.ismodule(thing.value) or _is_public(thing)]
CALLABLES = [thing for thing in NAMED if _takes_arguments(thing.value)]
EXAMPLES = [thing for thing in THINGS if "```python" in thing.doc]
# Run on a real Ray cluster, by `test_batch_ray.py`.
ON_RAY = "langchain_ai365vip.batch.run.RayRows"
# Blocks that are no examples: the tree of errors, and what is installed and exported first.
OTHER_BLOCKS = {
    ("langchain_ai365vip.errors", ""),
    ("langchain_ai365vip.chat_models.ChatAI365VIP", "bash"),
}


def _ids(things: list[Documented]) -> list[str]:
    return [thing.name.removeprefix("langchain_ai365vip.") for thing in things]


@pytest.mark.parametrize("thing", CALLABLES, ids=_ids(CALLABLES))
def test_every_argument_of_a_public_name_is_described(thing: Documented) -> None:
    assert _arguments(thing.value) - _described(thing.doc) == set()


def test_every_field_of_the_chat_model_is_described() -> None:
    own = ChatAI365VIP.model_fields.keys() - BaseChatModel.model_fields.keys()

    assert own - _described(ChatAI365VIP.__doc__ or "") == set()


def test_every_block_of_a_docstring_is_python_that_runs() -> None:
    found = {
        (thing.name, block.language)
        for thing in THINGS
        for block in blocks(inspect.cleandoc(thing.doc))
    }
    has_example = {
        thing.name for thing in THINGS if re.search(r"^ *Examples?:", thing.doc, re.MULTILINE)
    }

    assert found - {(thing.name, "python") for thing in EXAMPLES} == OTHER_BLOCKS
    assert has_example <= {thing.name for thing in EXAMPLES}
    # Each of the other ways to write one, which would not be run.
    assert [thing.name for thing in THINGS if re.search(r">>> |::$", thing.doc, re.MULTILINE)] == []


def run_examples(thing: Documented, url: str) -> None:
    """Run a docstring's examples, in order, against an endpoint."""
    # As for a doctest, the module's names are there; `model` is what the reader has.
    namespace = {"model": FakeListChatModel(responses=["Hello"]), **thing.namespace}
    for block in blocks(inspect.cleandoc(thing.doc)):
        if block.language == "python":
            run(_against(url, block), namespace, f"<docstring of {thing.name}>")


def _against(url: str, block: Block) -> Block:
    code = block.code
    for example in EXAMPLE_URLS:
        code = code.replace(example, url)
    return block._replace(code=code)


def _marked(thing: Documented) -> Any:
    # The local model's examples load the demo weights.
    needs_weights = thing.name.startswith("langchain_ai365vip.local")
    return pytest.param(thing, marks=[pytest.mark.heavy] if needs_weights else [])


def _answer(body: dict[str, Any]) -> list[str]:
    """Answer as a model that calls the first tool it is shown, with plausible arguments."""
    tools = re.search(r"<tools>\n(.*)", body["prompt"])
    if tools is None:
        return ["Red, ", "blue, ", "green."]
    function = json.loads(tools[1])["function"]
    examples = {"integer": 1, "string": "text"}
    properties = function["parameters"]["properties"]
    arguments = {name: examples[schema["type"]] for name, schema in properties.items()}
    call = json.dumps({"name": function["name"], "arguments": arguments})
    return [f"<tool_call>\n{call}\n</tool_call>"]


HERE = [thing for thing in EXAMPLES if thing.name != ON_RAY]


@pytest.mark.parametrize("thing", [_marked(thing) for thing in HERE], ids=_ids(HERE))
def test_the_examples_of_a_docstring_run(thing: Documented, endpoint: Endpoint) -> None:
    endpoint.pieces = _answer

    run_examples(thing, endpoint.base_url)
