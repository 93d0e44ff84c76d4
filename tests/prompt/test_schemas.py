"""The schemas that a model is shown: whole, small, and without what LangChain injects."""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Annotated, Any, Optional

import pytest
from langchain_core.tools import BaseTool, InjectedToolArg, tool
from langgraph.prebuilt import InjectedState, ToolRuntime
from pydantic import BaseModel, Field, RootModel
from pydantic.v1 import BaseModel as BaseModelV1
from pydantic.v1 import Field as FieldV1
from typing_extensions import NotRequired, Required, TypedDict

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip._prompt.schemas import object_schema, tool_function, unwrapped

Json = dict[str, Any]
NULL_OR_INT = {"anyOf": [{"type": "integer"}, {"type": "null"}]}


class Node(BaseModel):
    """A node."""

    name: str = Field(description="Its name.")
    title: str = Field(title="What is read aloud")
    children: list[Node] = []


NODE: Json = {
    "properties": {
        "name": {"description": "Its name.", "type": "string"},
        "title": {"title": "What is read aloud", "type": "string"},
        "children": {"default": [], "items": {"$ref": "#"}, "type": "array"},
    },
    "required": ["name", "title"],
    "type": "object",
}


class NodeV1(BaseModelV1):
    """An old node."""

    name: str = FieldV1(description="Its name.")
    children: list[NodeV1] = []


NodeV1.update_forward_refs()


class Leaf(typing.TypedDict):
    weight: Annotated[Optional[int], ..., "In grams."]  # noqa: UP045 - as users write it


LEAF: Json = {
    "properties": {"weight": {**NULL_OR_INT, "description": "In grams."}},
    "required": ["weight"],
    "type": "object",
}


class Tree(TypedDict, total=False):
    """A tree.

    Args:
        name: Its name.
    """

    name: Required[str]
    height: Annotated[Optional[int], None, "In metres."]  # noqa: UP045 - as users write it
    leaf: Leaf
    branches: list[Tree]


class Form(TypedDict):
    name: str
    age: NotRequired[Annotated[int, Field(ge=0)]]


class Trip(TypedDict):
    city: Annotated[str, "Where to."]
    by: typing.Literal["train", "bus"]
    days: int | None
    stops: list[Annotated[Leaf, "Where."]]
    costs: dict[str, float | None]


@dataclasses.dataclass
class Point:
    """A point."""

    x: int
    label: str | None = None


OBJECTS: dict[str, tuple[Any, Json]] = {
    "a recursive class": (Node, {"title": "Node", "description": "A node.", **NODE}),
    "its JSON schema": (
        Node.model_json_schema(),
        {"title": "Node", "description": "A node.", **NODE},
    ),
    "a recursive class of pydantic v1": (
        NodeV1,
        {
            "title": "NodeV1",
            "description": "An old node.",
            "type": "object",
            "properties": {
                "name": {"description": "Its name.", "type": "string"},
                "children": {"default": [], "type": "array", "items": {"$ref": "#"}},
            },
            "required": ["name"],
        },
    ),
    "a recursive TypedDict, with what may be left out or null": (
        Tree,
        {
            "title": "Tree",
            "description": "A tree.",
            "properties": {
                "name": {"description": "Its name.", "type": "string"},
                "height": {**NULL_OR_INT, "default": None, "description": "In metres."},
                "leaf": {"$ref": "#/$defs/Leaf"},
                "branches": {"items": {"$ref": "#"}, "type": "array"},
            },
            "required": ["name"],
            "type": "object",
            "$defs": {"Leaf": LEAF},
        },
    ),
    "NotRequired": (
        Form,
        {
            "title": "Form",
            "properties": {"name": {"type": "string"}, "age": {"minimum": 0, "type": "integer"}},
            "required": ["name"],
            "type": "object",
        },
    ),
    "a TypedDict of every kind of field": (
        Trip,
        {
            "title": "Trip",
            "properties": {
                "city": {"type": "string", "description": "Where to."},
                "by": {"enum": ["train", "bus"], "type": "string"},
                "days": NULL_OR_INT,
                "stops": {"type": "array", "items": {"$ref": "#/$defs/Leaf"}},
                "costs": {
                    "type": "object",
                    "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                },
            },
            "required": ["city", "by", "days", "stops", "costs"],
            "type": "object",
            "$defs": {"Leaf": LEAF},
        },
    ),
    "a dataclass": (
        Point,
        {
            "title": "Point",
            "description": "A point.",
            "properties": {
                "x": {"type": "integer"},
                "label": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            },
            "required": ["x"],
            "type": "object",
        },
    ),
}


def untitled(schema: Any) -> Any:
    """A schema without the titles that a user's own dict may have."""
    if isinstance(schema, list):
        return [untitled(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: untitled(v) for k, v in schema.items() if not (k == "title" and v in AUTOMATIC)}


AUTOMATIC = ("Name", "Children")


@pytest.mark.parametrize(("source", "schema"), OBJECTS.values(), ids=list(OBJECTS))
def test_an_object_s_schema_is_whole(source: Any, schema: Json) -> None:
    assert untitled(object_schema(source)) == schema


@pytest.mark.parametrize(("source", "schema"), OBJECTS.values(), ids=list(OBJECTS))
def test_a_tool_s_schema_is_the_same_one(source: Any, schema: Json) -> None:
    if isinstance(source, dict):
        source = {**source, "title": "Node", "description": "A node."}
    function = tool_function(source)
    told = {"title": function["name"], "description": function["description"]}
    assert untitled({**told, **function["parameters"]}) == {"description": "", **schema}


def look(node: Node, depth: int = 3, user: Annotated[str, InjectedToolArg] = "") -> str:
    """Look at a node.

    Args:
        node: Where to begin.
        depth: How far to go.
        user: Who asks.
    """
    return ""


def test_a_function_s_arguments_are_described_and_its_injected_ones_hidden() -> None:
    function = tool_function(look)
    assert (function["name"], function["description"]) == ("look", "Look at a node.")
    parameters = function["parameters"]
    assert parameters["properties"] == {
        "node": {"$ref": "#/$defs/Node", "description": "Where to begin."},
        "depth": {"default": 3, "description": "How far to go.", "type": "integer"},
    }
    children = parameters["$defs"]["Node"]["properties"]["children"]
    assert children["items"] == {"$ref": "#/$defs/Node"}


@tool
def remember(
    text: str,
    state: Annotated[dict[str, Any], InjectedState],
    user: Annotated[str, InjectedToolArg],
    runtime: ToolRuntime,
) -> str:
    """Remember something."""
    return text


def test_what_langchain_injects_is_hidden() -> None:
    assert tool_function(remember) == {
        "name": "remember",
        "description": "Remember something.",
        "parameters": {
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
            "type": "object",
        },
    }


class Served(BaseTool):
    """A tool as an MCP server's: with a JSON schema only."""

    name: str = "served"
    description: str = "Serve."
    args_schema: Any

    def _run(self, **kwargs: Any) -> str:
        return json.dumps(kwargs)


NO_ARGUMENTS = {"type": "object", "properties": {}}


def test_a_tool_without_parameters_has_none() -> None:
    assert tool_function(Served(args_schema={}))["parameters"] == NO_ARGUMENTS
    assert tool_function({"title": "ping"})["parameters"] == NO_ARGUMENTS


def test_a_served_tool_s_schema_is_shown_whole_and_without_titles_that_repeat_names() -> None:
    schema = {
        "type": "object",
        "title": "servedArguments",
        "properties": {"a_b": {"title": "A B", "type": "string"}, "c": {"$ref": "#/$defs/C"}},
        "$defs": {"C": {"title": "C", "type": "object", "properties": {"d": {"title": "Depth"}}}},
    }
    assert tool_function(Served(args_schema=schema))["parameters"] == {
        "type": "object",
        "properties": {"a_b": {"type": "string"}, "c": {"$ref": "#/$defs/C"}},
        "$defs": {"C": {"type": "object", "properties": {"d": {"title": "Depth"}}}},
    }
    assert schema["title"] == "servedArguments"


def test_strict_closes_every_object() -> None:
    parameters = tool_function(look, strict=True)["parameters"]
    assert parameters["additionalProperties"] is False
    assert parameters["required"] == ["node", "depth"]
    node = parameters["$defs"]["Node"]
    assert (node["additionalProperties"], node["required"]) == (
        False,
        ["name", "title", "children"],
    )


JOKE = {"type": "object", "properties": {"setup": {"type": "string"}}}


@pytest.mark.parametrize(
    "envelope",
    [
        {"name": "Joke", "schema": JOKE, "strict": True},
        {"type": "json_schema", "json_schema": {"name": "Joke", "schema": JOKE, "strict": True}},
        {"type": "json_schema", "name": "Joke", "schema": JOKE, "strict": True},
    ],
)
def test_openai_s_envelopes_are_unwrapped(envelope: Json) -> None:
    assert unwrapped(envelope) == ({**JOKE, "title": "Joke"}, True)
    assert tool_function(envelope)["parameters"] == JOKE


@pytest.mark.parametrize("listed", [RootModel[list[int]], {"title": "L", "type": "array"}])
def test_a_list_is_no_call_s_arguments(listed: Any) -> None:
    model = ChatAI365VIP(model="m", base_url="http://127.0.0.1:9")
    with pytest.raises(ValueError, match="method='json_schema'"):
        model.with_structured_output(listed)
    with pytest.raises(ValueError, match="array"):
        model.bind_tools([listed])
    assert model.with_structured_output(listed, method="json_schema")
