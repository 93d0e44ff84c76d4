"""What becomes of a reply, by what must come: each outcome, and how many requests it took."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.errors import AI365VIPOutputError
from tests.endpoint import Endpoint, in_turn
from tests.turn.test_tools import merged
from tests.turn.test_turns import merged_dicts


class Add(BaseModel):
    """Add two numbers."""

    a: int
    b: int = 0


class Other(BaseModel):
    """Something else that may be called."""

    x: int = 0


# As an MCP server's tool: nobody but us checks its arguments.
PLAN = {
    "title": "Plan",
    "description": "Plan a trip.",
    "type": "object",
    "properties": {"days": {"type": "integer"}},
    "required": ["days"],
}


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


@dataclass(frozen=True)
class Row:
    """Replies in turn, as calls and as the text of an object, and what is made of them.

    Attributes:
        schema: The tool, or the object, that is asked for.
        calls: Replies where tools are bound.
        objects: Replies where the object is the text.
        outcomes: By column, what comes of it and the number of requests.
        args: The arguments of the calls that are handed out.
        value: The object that is handed out.
    """

    schema: Any
    calls: list[str]
    objects: list[str]
    outcomes: dict[str, str]
    args: list[dict[str, Any]] = field(default_factory=list)
    value: Any = None


COLUMNS = ("free", "any", "name", "function_calling", "json_schema", "json_mode")


def by_column(*outcomes: str) -> dict[str, str]:
    """Outcomes in the order of the columns; the last one stands for all that follow."""
    return dict(zip(COLUMNS, [*outcomes, *[outcomes[-1]] * 5], strict=False))


GOOD, GOOD_TEXT = call("Add", a=1), '{"a": 1}'
MISFIT, MISFIT_TEXT = call("Add", a="one"), '{"a": "one"}'
PLAN_GOOD, PLAN_MISFIT = call("Plan", days=3), call("Plan", days="few")
UNKNOWN = call("subtract", c=1)
BROKEN, BROKEN_TEXT = '<tool_call>{"name": "Add", "arguments": [1, 2]}</tool_call>', '{"a": [1, '
WORDS = "It is three, I think."

ROWS = {
    "a call that fits its class": Row(
        Add,
        [GOOD],
        [GOOD_TEXT],
        by_column("calls 1", "calls 1", "calls 1", "object 1"),
        [{"a": 1}],
        Add(a=1),
    ),
    "one that does not": Row(
        Add,
        [MISFIT] * 2,
        [MISFIT_TEXT] * 2,
        by_column("calls 1", "calls 1", "calls 1", "error 2"),
        [{"a": "one"}],
    ),
    "one that does not, corrected": Row(
        Add,
        [MISFIT, GOOD],
        [MISFIT_TEXT, GOOD_TEXT],
        by_column("calls 1", "calls 1", "calls 1", "object 2"),
        [{"a": "one"}],
        Add(a=1),
    ),
    "a call that fits its schema, after coercion": Row(
        PLAN,
        [call("Plan", days="3")],
        ['{"days": "3"}'],
        by_column("calls 1", "calls 1", "calls 1", "object 1"),
        [{"days": 3}],
        {"days": 3},
    ),
    "one that does not fit its schema": Row(
        PLAN,
        [PLAN_MISFIT] * 2,
        ['{"days": "few"}'] * 2,
        by_column("written 2", "error 2"),
    ),
    "one that does not fit its schema, corrected": Row(
        PLAN,
        [PLAN_MISFIT, PLAN_GOOD],
        ['{"days": "few"}', '{"days": 3}'],
        by_column("calls 2", "calls 2", "calls 2", "object 2"),
        [{"days": 3}],
        {"days": 3},
    ),
    "an unknown name": Row(
        Add, [UNKNOWN] * 2, [UNKNOWN] * 2, by_column("calls 1", "error 2"), [{"c": 1}]
    ),
    "an unknown name, corrected where one must come": Row(
        Add,
        [UNKNOWN, GOOD],
        [UNKNOWN, GOOD_TEXT],
        {**by_column("calls 2", "calls 2", "calls 2", "object 2"), "free": "unknown 1"},
        [{"a": 1}],
        Add(a=1),
    ),
    "another tool than must come": Row(
        Add,
        [call("Other", x=1)] * 2,
        [call("Other", x=1)] * 2,
        by_column("calls 1", "calls 1", "error 2"),
        [{"x": 1}],
    ),
    "a call that cannot be read": Row(
        Add, [BROKEN] * 2, [BROKEN_TEXT] * 2, by_column("written 2", "error 2")
    ),
    "one that cannot be read, corrected": Row(
        Add,
        [BROKEN, GOOD],
        [BROKEN_TEXT, GOOD_TEXT],
        by_column("calls 2", "calls 2", "calls 2", "object 2"),
        [{"a": 1}],
        Add(a=1),
    ),
    "one that cannot be read, then words": Row(
        Add, [BROKEN, WORDS], [BROKEN_TEXT, WORDS], by_column("words 2", "error 2")
    ),
    "one that can be read beside one that cannot": Row(
        Add,
        [GOOD + BROKEN],
        [GOOD_TEXT + BROKEN_TEXT],
        by_column("beside 1", "beside 1", "beside 1", "object 1"),
        [{"a": 1}],
        Add(a=1),
    ),
    "no call": Row(Add, [WORDS] * 2, [WORDS] * 2, by_column("words 1", "error 2")),
    "no call, corrected where one must come": Row(
        Add,
        [WORDS, GOOD],
        [WORDS, GOOD_TEXT],
        {**by_column("calls 2", "calls 2", "calls 2", "object 2"), "free": "words 1"},
        [{"a": 1}],
        Add(a=1),
    ),
}
CELLS = [
    pytest.param(row, column, id=f"{name}-{column}")
    for name, row in ROWS.items()
    for column in COLUMNS
]
STRUCTURED = [
    pytest.param(row, column, id=f"{name}-{column}")
    for name, row in ROWS.items()
    for column in COLUMNS[3:]
]


def bound(model: ChatAI365VIP, row: Row, column: str, **settings: Any) -> Any:
    if column in COLUMNS[3:]:
        method: Any = column
        return model.with_structured_output(row.schema, method=method, **settings)
    name = "Add" if row.schema is Add else "Plan"
    choice = {"free": None, "any": "any", "name": name}[column]
    return model.bind_tools([row.schema, Other], tool_choice=choice)


def said(row: Row, column: str) -> list[str]:
    return row.objects if column.startswith("json") else row.calls


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    with Endpoint() as running:
        yield running


@pytest.fixture(params=["invoke", "stream"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("row", "column"), CELLS)
def test_a_reply_has_this_outcome_after_so_many_requests(
    server: Endpoint, row: Row, column: str, way: str
) -> None:
    model = asking(server, row, column)
    replies = said(row, column)
    chain = bound(model, row, column)
    kind, requests = row.outcomes[column].split()
    if kind == "error":
        with pytest.raises((AI365VIPOutputError, OutputParserException)) as raised:
            chain.invoke("x") if way == "invoke" else list(chain.stream("x"))
        assert said_last(replies) in str(raised.value).replace("\\", "")
    elif kind == "object":
        found = chain.invoke("x") if way == "invoke" else list(chain.stream("x"))[-1]
        assert found == row.value
    else:
        message = chain.invoke("x") if way == "invoke" else merged(chain.stream("x"))
        assert handed_out(message) == expected(kind, row)
    assert server.requests == int(requests)


def asking(server: Endpoint, row: Row, column: str) -> ChatAI365VIP:
    """A model of a server that says the row's replies, in pieces, and no more."""
    server.bodies.clear()
    server.pieces = in_turn(*[[reply[:9], reply[9:]] for reply in said(row, column)])
    return ChatAI365VIP(base_url=server.base_url, max_retries=0)


def said_last(replies: list[str]) -> str:
    """What an error must quote of the last reply: a word of it that no message has by itself."""
    return replies[-1].removeprefix("<tool_call>")[:24]


def handed_out(message: AIMessage) -> tuple[Any, ...]:
    args = [each["args"] for each in message.tool_calls]
    return message.text, args, len(message.invalid_tool_calls)


def expected(kind: str, row: Row) -> tuple[Any, ...]:
    """Text, arguments of calls, and how many calls could not be read."""
    return {
        "calls": ("", row.args, 0),
        "unknown": ("", [{"c": 1}], 0),
        "beside": ("", row.args, 1),
        "written": (row.calls[0], [], 1),
        "words": (WORDS, [], 0),
    }[kind]


@pytest.mark.parametrize(("row", "column"), STRUCTURED)
def test_with_include_raw_it_has_the_same_outcome_and_never_raises(
    server: Endpoint, row: Row, column: str, way: str
) -> None:
    model = asking(server, row, column)
    chain = bound(model, row, column, include_raw=True)
    kind, requests = row.outcomes[column].split()
    result = chain.invoke("x") if way == "invoke" else merged_dicts(chain.stream("x"))
    assert result.keys() == {"raw", "parsed", "parsing_error"}
    assert isinstance(result["raw"], AIMessage)
    assert result["parsed"] == row.value
    if kind == "error":
        assert isinstance(result["parsing_error"], (AI365VIPOutputError, OutputParserException))
        assert result["raw"].text
    else:
        assert result["parsing_error"] is None
    assert server.requests == int(requests)
