"""Structured output: the object is found, brought to its schema, or there is a reason why not."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Annotated, Any, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypedDict

from langchain_ai365vip._turn.output_schema import Found, Schema


class Joke(BaseModel):
    """A joke."""

    setup: str
    rating: Optional[int] = Field(default=None, le=10)  # noqa: UP045 - as users write it


class JokeV1(BaseModelV1):
    """A joke."""

    setup: str
    rating: Optional[int] = None  # noqa: UP045 - pydantic v1 knows no other form


class JokeDict(TypedDict):
    """A joke."""

    setup: str
    rating: Annotated[Optional[int], None, "From 1 to 10."]  # noqa: UP045 - as users write it


class Partial(TypedDict, total=False):
    """A joke, or some of it."""

    setup: str
    rating: int


JOKE_SCHEMA: dict[str, Any] = {
    "title": "Joke",
    "description": "A joke.",
    "type": "object",
    "properties": {"setup": {"type": "string"}, "rating": {"type": "integer"}},
    "required": ["setup"],
}
PARAMETERS = {key: JOKE_SCHEMA[key] for key in ("type", "properties", "required")}
SCHEMAS: dict[str, Any] = {
    "pydantic v2": Joke,
    "pydantic v1": JokeV1,
    "JSON schema": JOKE_SCHEMA,
    "an OpenAI tool": {"type": "function", "function": {"name": "Joke", "parameters": PARAMETERS}},
    "an OpenAI function": {"name": "Joke", "description": "A joke.", "parameters": PARAMETERS},
    "an Anthropic tool": {"name": "Joke", "input_schema": PARAMETERS},
}
each_schema = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=list(SCHEMAS))


def plain(schema: Any, text: str) -> Any:
    """What the user gets of an object's text, as plain data."""
    data = json.loads(text)
    if schema is Joke:
        return Joke.model_validate(data).model_dump(exclude_none=True)
    return JokeV1.parse_obj(data).dict(exclude_none=True) if schema is JokeV1 else data


GOOD = '{"setup": "Knock", "rating": 3}'
MENDED = {
    "text for a number": '{"setup": "Knock", "rating": "3"}',
    "single quotes": "{'setup': 'Knock', 'rating': 3,}",
    "unquoted keys": '{setup: "Knock", rating: 3}',
    "as a call": '{"name": "Joke", "arguments": {"setup": "Knock", "rating": 3}}',
    "as the schema shows it": '{"properties": {"setup": "Knock", "rating": 3}}',
}
AROUND = {
    "alone": "{}",
    "fenced": "```json\n{}\n```",
    "in prose": "Sure, here it is:\n\n{}\n\nAnything else?",
    "after reasoning": '<think>{{"setup": "no"}}? No.</think>\n{}',
    "after braces in prose": "The set {{x | x > 0}} and f(x) {{ return }}: {}",
    "after another object": 'Unlike {{"x": 1}} this is one: {}',
}


@each_schema
@pytest.mark.parametrize("around", AROUND.values(), ids=list(AROUND))
def test_the_object_is_found_whatever_stands_around_it(schema: Any, around: str) -> None:
    found = Schema.of(schema).read(around.format(GOOD))
    assert (found.text, found.problem, found.cut_off) == (GOOD, None, False)


@each_schema
@pytest.mark.parametrize("reply", MENDED.values(), ids=list(MENDED))
def test_an_object_is_mended_where_its_meaning_is_clear(schema: Any, reply: str) -> None:
    found = Schema.of(schema).read(reply)
    assert found.problem is None
    assert plain(schema, found.text) == {"setup": "Knock", "rating": 3}


@each_schema
def test_what_does_not_fit_has_a_problem_that_names_the_field(schema: Any) -> None:
    wanted = Schema.of(schema)
    for reply in ('{"rating": 3}', '{"setup": "a", "rating": "high"}'):
        found = wanted.read(f"Here: {reply}")
        assert found.text == reply
        assert found.problem is not None
        assert found.problem.startswith(("setup: ", "rating: ", "'setup' ", "'rating' "))
        assert wanted.problem(json.loads(reply)) is not None
    assert wanted.problem(json.loads(GOOD)) is None


@each_schema
def test_a_reply_without_an_object_is_kept_whole(schema: Any) -> None:
    reply = "I cannot {do} that."
    assert Schema.of(schema).read(reply) == Found(reply, "The reply holds no JSON object.")


@each_schema
def test_an_object_that_was_cut_off_is_not_completed_by_guess(schema: Any) -> None:
    found = Schema.of(schema).read('Well: {"setup": "Knock kn')
    assert (found.text, found.cut_off) == ('{"setup": "Knock kn', True)
    assert found.problem == "The JSON ends before it is complete."


@each_schema
def test_a_broken_object_with_a_key_of_no_field_is_not_believed(schema: Any) -> None:
    broken = """{'setup': 'He said', 'b': 'and left',}"""  # the key may be a part of the text
    assert Schema.of(schema).read(broken) == Found(broken, "The JSON is broken.")
    whole = '{"setup": "He said", "b": "and left"}'
    assert Schema.of(schema).read(whole) == Found(whole)


@each_schema
def test_a_schema_has_a_name_and_travels(schema: Any) -> None:
    wanted = Schema.of(schema)
    assert wanted.name in ("Joke", "JokeV1")
    assert repr(wanted) == repr(Schema.of(schema))
    assert pickle.loads(pickle.dumps(wanted)) == wanted


def test_a_typed_dict_is_checked() -> None:
    wanted = Schema.of(JokeDict)
    assert wanted.read('{"setup": 3}') == Found('{"setup": "3"}')
    assert wanted.read('{"setup": "a", "rating": "3"}').problem is None
    assert Schema.of(Partial).read('{"rating": 3}').problem is None
    assert wanted.problem({"rating": 3}) == "setup: Field required"


def test_the_class_has_the_last_word() -> None:
    problem = Schema.of(Joke).problem({"setup": "a", "rating": 11})
    assert problem == "rating: Input should be less than or equal to 10"


def test_a_root_model_may_be_a_list() -> None:
    wanted = Schema.of(RootModel[list[int]])
    assert wanted.read('Well: ```\n[1, "2"]\n```') == Found('[1, "2"]')
    assert wanted.read("[1, 2]") == Found("[1, 2]")


def test_a_schema_is_copied() -> None:
    given = copy.deepcopy(JOKE_SCHEMA)
    wanted = Schema.of(given)
    given["properties"].clear()
    assert wanted.json_schema == JOKE_SCHEMA


def test_a_schema_without_a_title_is_kept_as_it_is() -> None:
    given = {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    wanted = Schema.of(given)
    assert (wanted.name, wanted.json_schema) == ("output", {"title": "output", **given})
    assert wanted.read('{"b": 1}').problem is None
    assert wanted.read('{"c": 1}').problem is not None


def test_a_thing_that_is_no_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="Unsupported"):
        Schema.of(3)  # type: ignore[arg-type]  # that is the point


def test_a_response_format_is_a_schema() -> None:
    strict = {"name": "joke", "schema": JOKE_SCHEMA, "strict": True}
    wanted = Schema.of_response_format({"type": "json_schema", "json_schema": strict})
    assert (wanted.name, wanted.json_schema) == ("joke", JOKE_SCHEMA)
    assert wanted.read("{}").problem == "'setup' is required and missing"


def test_a_response_format_may_want_any_object() -> None:
    wanted = Schema.of_response_format({"type": "json_object"})
    assert wanted.json_schema is None
    assert wanted.read('So: {"x": [1]}') == Found('{"x": [1]}')
    assert wanted.read("[1]").problem == "The reply holds no JSON object."


@pytest.mark.parametrize(
    "response_format",
    [{}, {"type": "text"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": 3}],
    ids=str,
)
def test_another_response_format_is_refused(response_format: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not understood"):
        Schema.of_response_format(response_format)


def test_nesting_that_cannot_be_followed_is_a_problem_not_an_exception() -> None:
    for depth in (400, 100_000):
        reply = '{"setup": ' + "[" * depth + "]" * depth + "}"
        for schema in (Joke, JOKE_SCHEMA):
            assert Schema.of(schema).read(reply).problem


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(["{", "}", '"', "'", ":", ",", "[", "]", "<think>", "</think>", "\\",
                              "<", "`", " ", "\n", '{"setup": "a"}', '"setup"', "x", "3"]),
             max_size=25).map("".join)
)  # fmt: skip
def test_any_text_is_read_without_an_exception(reply: str) -> None:
    for schema in (Schema.of(Joke), Schema.of(JOKE_SCHEMA), Schema()):
        found = schema.read(reply)
        assert (found.problem is None) or found.text in reply
        if found.problem is None:
            json.loads(found.text)


# --- lists --------------------------------------------------------------------------------


class Jokes(RootModel[list[Joke]]):
    """Jokes."""


LISTS: dict[str, Any] = {
    "a root model": Jokes,
    "a JSON schema": {"title": "Jokes", "type": "array", "items": JOKE_SCHEMA},
    "a reference": {"$ref": "#/$defs/L", "$defs": {"L": {"type": "array"}}},
}


@pytest.mark.parametrize("schema", LISTS.values(), ids=list(LISTS))
def test_a_schema_knows_whether_it_begins_as_a_list(schema: Any) -> None:
    assert Schema.of(schema).opening == "["
    assert Schema.of(Joke).opening == Schema().opening == "{"
