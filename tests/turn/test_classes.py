"""The class judges an object: what it takes is taken, whatever its JSON schema says."""

from __future__ import annotations

import json
import typing
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Optional

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, StructuredTool, tool
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from pydantic.v1 import BaseModel as BaseModelV1
from pydantic.v1 import validator
from typing_extensions import NotRequired, TypedDict

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.errors import AI365VIPOutputError
from tests.agent_kit import Tags
from tests.endpoint import Endpoint, in_turn

METHODS = ("function_calling", "json_schema", "json_mode")


@pytest.fixture
def model(endpoint: Endpoint) -> ChatAI365VIP:
    return ChatAI365VIP(model="m", base_url=endpoint.base_url)


class City(BaseModel):
    """Has other names, too."""

    model_config = ConfigDict(populate_by_name=True)
    name: str = Field(validation_alias=AliasChoices("cityName", "city"))


class Colours(BaseModel):
    names: set[str]


class Renamed(BaseModel):
    """Takes the name that models write."""

    total: int

    @model_validator(mode="before")
    @classmethod
    def rename(cls, data: Any) -> Any:
        return {"total": data["sum"]} if "sum" in data else data


class Lax(BaseModel):
    yes: bool
    count: int


class Kind(Enum):
    TRIP = "trip"


class Strict(BaseModel):
    """Converts nothing, and knows what has no form of its own in JSON."""

    model_config = ConfigDict(strict=True, val_json_bytes="base64")
    day: date
    kind: Kind
    stops: tuple[int, ...]
    price: Decimal
    ticket: bytes


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Old(BaseModelV1):
    tags: list[str]
    note: Optional[str] = None  # noqa: UP045 - pydantic v1 knows no other form

    @validator("tags", pre=True)
    def split(cls, value: Any) -> Any:  # noqa: N805 - as pydantic v1 has it
        return value.split(",") if isinstance(value, str) else value


class Trip(typing.TypedDict):
    day: date
    days: int
    note: Optional[str]  # noqa: UP045 - as users write it


class Short(TypedDict, total=False):
    days: int
    note: NotRequired[str]


TAKEN: dict[str, tuple[Any, Any, Any]] = {
    "a before-validator": (Tags, {"tags": "a,b"}, Tags(tags=["a", "b"])),
    "another name": (City, {"city": "Rome"}, City(name="Rome")),
    "the field's own name": (City, {"name": "Rome"}, City(name="Rome")),
    "a set, with an item twice": (Colours, {"names": ["a", "a"]}, Colours(names={"a"})),
    "a renaming validator": (Renamed, {"sum": 3}, Renamed(total=3)),
    "pydantic's own reading": (Lax, {"yes": "yes", "count": "3"}, Lax(yes=True, count=3)),
    "a strict class": (
        Strict,
        {"day": "2026-11-28", "kind": "trip", "stops": [1], "price": "9.50", "ticket": "aGk="},
        Strict(
            day=date(2026, 11, 28), kind=Kind.TRIP, stops=(1,), price=Decimal("9.50"), ticket=b"hi"
        ),
    ),
    "a recursive class": (
        Node,
        {"name": "a", "children": [{"name": "b", "children": []}]},
        Node(name="a", children=[Node(name="b")]),
    ),
    "pydantic v1": (Old, {"tags": "a,b"}, Old(tags=["a", "b"])),
    "a TypedDict": (
        Trip,
        {"day": "2026-11-28", "days": "3", "note": None},
        {"day": date(2026, 11, 28), "days": 3, "note": None},
    ),
    "a TypedDict of what may be left out": (Short, {"days": 3}, {"days": 3}),
    "an integer for a text, which only coercion reads": (Node, {"name": 3}, Node(name="3")),
}


def reply(method: str, name: str, value: Any) -> str:
    """What a model writes for an object, by the method."""
    if method != "function_calling":
        return json.dumps(value)
    return f"<tool_call>{json.dumps({'name': name, 'arguments': value})}</tool_call>"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("cls", "value", "read"), TAKEN.values(), ids=list(TAKEN))
def test_what_the_class_takes_is_taken_at_once(
    endpoint: Endpoint, model: ChatAI365VIP, method: Any, cls: Any, value: Any, read: Any
) -> None:
    endpoint.pieces = [reply(method, cls.__name__, value)]
    assert model.with_structured_output(cls, method=method).invoke("x") == read
    assert endpoint.requests == 1


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "a class": (Lax, {"yes": True, "count": "few"}, "count: Input should be a valid integer"),
    "pydantic v1": (Old, {"tags": 3}, "tags: value is not a valid list"),
    "a TypedDict": (Trip, {"day": "2026-11-28", "days": 3}, "note: Field required"),
    "a validator that expects another value": (Renamed, {"sum": [1]}, "total: Input should be"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("cls", "value", "says"), REFUSED.values(), ids=list(REFUSED))
def test_what_the_class_refuses_is_asked_for_once_more_in_its_words(
    endpoint: Endpoint, model: ChatAI365VIP, method: Any, cls: Any, value: Any, says: str
) -> None:
    said = reply(method, cls.__name__, value)
    endpoint.pieces = in_turn([said], [said], [said], [said])
    bound = model.with_structured_output(cls, method=method)
    with pytest.raises(Exception, match=says):
        bound.invoke("x")
    assert says in endpoint.bodies[1]["messages"][-1]["content"]
    raw = model.with_structured_output(cls, method=method, include_raw=True).invoke("x")
    assert isinstance(raw, dict)
    assert (raw["parsed"], says in str(raw["parsing_error"])) == (None, True)
    assert endpoint.requests == 4


# -- tools ---------------------------------------------------------------------------------


@tool
def plan(tags: list[str], days: int = 1) -> str:
    """Plan a trip."""
    return ""


class Served(BaseTool):
    """A tool as an MCP server's: with a JSON schema only."""

    name: str = "plan"
    description: str = "Plan."
    args_schema: Any

    def _run(self, **kwargs: Any) -> str:
        return json.dumps(kwargs)


SCHEMA = {
    "type": "object",
    "properties": {
        "tags": {"type": "array", "items": {"type": "string"}},
        "days": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
}
WRITTEN = {"tags": "a,b", "days": "3"}


def plan_trip(tags: list[str], days: int = 1) -> str:
    """Plan a trip."""
    return ""


plan_trip.__name__ = "plan"
with_class: list[Any] = [plan, StructuredTool.from_function(plan_trip), plan_trip]


@pytest.mark.parametrize("bound", with_class, ids=["tool", "StructuredTool", "function"])
def test_a_tool_with_a_class_gets_the_arguments_as_the_model_wrote_them(
    endpoint: Endpoint, model: ChatAI365VIP, bound: Any
) -> None:
    endpoint.pieces = [reply("function_calling", "plan", WRITTEN)]
    message = model.bind_tools([bound]).invoke("x")
    assert [call["args"] for call in message.tool_calls] == [WRITTEN]
    assert endpoint.requests == 1


def between_tags(**texts: str) -> str:
    """A call whose arguments stand as text, as Qwen3-Coder writes it."""
    fields = "".join(f"<parameter={name}>\n{text}\n</parameter>\n" for name, text in texts.items())
    return f"<tool_call>\n<function=plan>\n{fields}</function>\n</tool_call>"


def test_text_between_tags_is_brought_to_the_types_of_the_schema(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = [between_tags(tags='["a"]', days="3")]
    message = model.bind_tools([plan]).invoke("x")
    assert [call["args"] for call in message.tool_calls] == [{"tags": ["a"], "days": 3}]


make_served: list[Callable[[], Any]] = [
    lambda: Served(args_schema=SCHEMA),
    lambda: {"type": "function", "function": {"name": "plan", "parameters": SCHEMA}},
    lambda: {"title": "plan", **SCHEMA},
]
served = pytest.mark.parametrize("make", make_served, ids=["BaseTool", "OpenAI", "JSON schema"])


@served
def test_a_tool_that_has_only_a_schema_gets_arguments_that_fit_it(
    endpoint: Endpoint, model: ChatAI365VIP, make: Callable[[], Any]
) -> None:
    texts = {"tags": '["a"]', "days": "null"}
    endpoint.pieces = [reply("function_calling", "plan", texts)]
    message = model.bind_tools([make()]).invoke("x")
    assert [call["args"] for call in message.tool_calls] == [{"tags": ["a"], "days": None}]
    assert endpoint.requests == 1


@served
def test_and_what_does_not_fit_it_is_asked_for_once_more(
    endpoint: Endpoint, model: ChatAI365VIP, make: Callable[[], Any]
) -> None:
    good = {"tags": ["a", "b"], "days": 3}
    endpoint.pieces = in_turn(
        [reply("function_calling", "plan", WRITTEN)], [reply("function_calling", "plan", good)]
    )
    message = model.bind_tools([make()]).invoke("x")
    assert [call["args"] for call in message.tool_calls] == [good]
    asked = endpoint.bodies[1]["messages"][-1]["content"]
    assert "'tags' must be a list, not 'a,b'" in asked


def test_a_tool_without_parameters_takes_an_empty_object(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = [reply("function_calling", "plan", {})]
    message = model.bind_tools([Served(args_schema={})]).invoke("x")
    assert [call["args"] for call in message.tool_calls] == [{}]
    assert endpoint.requests == 1


@pytest.mark.parametrize("method", METHODS)
def test_openai_s_envelope_is_a_schema_for_every_method(
    endpoint: Endpoint, model: ChatAI365VIP, method: Any
) -> None:
    envelope = {"type": "json_schema", "json_schema": {"name": "plan", "schema": SCHEMA}}
    endpoint.pieces = [reply(method, "plan", {"tags": ["a"]})]
    assert model.with_structured_output(envelope, method=method).invoke("x") == {"tags": ["a"]}


def test_a_class_that_refuses_a_forced_call_is_quoted_in_the_error(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = [reply("function_calling", "Lax", {"yes": 1})]
    with pytest.raises(AI365VIPOutputError, match="count: Field required"):
        model.with_structured_output(Lax).invoke("x")


def test_a_schema_that_langchain_cannot_convert_is_traced_as_it_is_shown(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    with pytest.raises(Exception, match="NotRequired"):
        convert_to_json_schema(Short)
    structured: Any = model.with_structured_output(Short, method="json_schema")
    traced = structured.first.kwargs["ls_structured_output_format"]["schema"]
    assert traced["properties"].keys() == {"days", "note"}
    endpoint.pieces = ['{"days": 3}']
    assert structured.invoke("x") == {"days": 3}


@dataclass
class Route:
    """A route."""

    start: str
    stops: list[str] = field(default_factory=list)


@pytest.mark.parametrize("method", METHODS)
def test_a_dataclass_is_shown_and_read_without_a_warning(
    endpoint: Endpoint, model: ChatAI365VIP, method: Any
) -> None:
    endpoint.pieces = [reply(method, "Route", {"start": "Oslo"})]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")  # an error would be caught on the way
        found = model.with_structured_output(Route, method=method).invoke("x")
    assert (found, seen) == ({"start": "Oslo", "stops": []}, [])


def test_a_list_that_only_a_schema_describes_comes_whole(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    schema = {"title": "Days", "type": "array", "items": {"type": "integer"}}
    endpoint.pieces = ["Sure: [1, ", "2]"]
    structured: Any = model.with_structured_output(schema, method="json_schema")
    assert structured.invoke("x") == [1, 2]
    assert endpoint.requests == 1


class Report(BaseModel):
    """A report."""

    air_temperature: int
    title: str = Field(title="What is read aloud")


REPORT: dict[str, Any] = Report.model_json_schema()
ARGUMENTS = {"name": "Report", "parameters": REPORT}
shown_by: dict[str, Callable[[ChatAI365VIP], Any]] = {
    "a tool's class": lambda model: model.bind_tools([Report]),
    "a tool's dict": lambda model: model.bind_tools([{"type": "function", "function": ARGUMENTS}]),
    "a tool's schema": lambda model: model.bind_tools([REPORT]),
    "a dict": lambda model: model.with_structured_output(REPORT, include_raw=True),
    "a dict as text": lambda model: model.with_structured_output(
        REPORT, method="json_schema", include_raw=True
    ),
    "an agent's format": lambda model: model.bind(
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "Report", "schema": REPORT},
        }
    ),
}


@pytest.mark.parametrize("bound", shown_by.values(), ids=list(shown_by))
def test_no_title_that_repeats_a_name_is_shown_wherever_the_schema_comes_from(
    endpoint: Endpoint, model: ChatAI365VIP, bound: Callable[[ChatAI365VIP], Any]
) -> None:
    bound(model).invoke("x")
    prompt = endpoint.bodies[0]["prompt"]
    assert '"air_temperature": {"type": "integer"}' in prompt
    assert '"title": {"title": "What is read aloud", "type": "string"}' in prompt
    assert REPORT["properties"]["air_temperature"]["title"] == "Air Temperature"


NODE: dict[str, Any] = Node.model_json_schema()  # whose root is a reference
NODE_ARGUMENTS = {"name": "Node", "parameters": NODE}
NODE_FORMAT = {"name": "Node", "schema": NODE}
recursive_by: dict[str, Callable[[ChatAI365VIP], Any]] = {
    "a tool's schema": lambda model: model.bind_tools([NODE]),
    "a tool's dict": lambda model: model.bind_tools(
        [{"type": "function", "function": NODE_ARGUMENTS}]
    ),
    "a BaseTool": lambda model: model.bind_tools([Served(name="Node", args_schema=NODE)]),
    "a dict": lambda model: model.with_structured_output(NODE),
    "a dict as text": lambda model: model.with_structured_output(NODE, method="json_schema"),
    "an agent's format": lambda model: model.bind(
        response_format={"type": "json_schema", "json_schema": NODE_FORMAT}
    ),
}


@pytest.mark.parametrize("bound", recursive_by.values(), ids=list(recursive_by))
def test_a_reference_at_the_root_shows_its_properties_wherever_the_schema_comes_from(
    endpoint: Endpoint, model: ChatAI365VIP, bound: Callable[[ChatAI365VIP], Any]
) -> None:
    value = {"name": "a", "children": [{"name": "b"}]}
    endpoint.pieces = lambda body: [
        reply("function_calling" if "<tools>" in body["prompt"] else "json_schema", "Node", value)
    ]
    found = bound(model).invoke("x")
    if isinstance(found, AIMessage):
        found = found.tool_calls[0]["args"] if found.tool_calls else json.loads(found.text)
    assert found == value
    prompt = endpoint.bodies[0]["prompt"]
    assert '"items": {"$ref": "#"}' in prompt
    assert "$defs" not in prompt
    assert endpoint.requests == 1
