"""What is wrong with a value, by its JSON schema: the right verdict, in words for a model."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from langchain_ai365vip._parsing.coercion import coerce
from langchain_ai365vip._parsing.schemas import has_foreign_keys, schema_errors
from tests.endpoint import Endpoint

Json = Any
TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
INTEGER = {"type": "integer"}


# Every keyword against every value, so that each boundary is met for certain.
EDGES: list[Json] = [
    *(None, True, False, 0, 1, 2, 3, -1, 0.0, 1.0, 0.5, 1.5, 2.0, 3.5, 1e300),
    *("", "x", "xy", "xyz", "éé", "3", "null"),
    *([], [1], [1, 2], [1, 2, 3], [1, 1], [1, True], [1, 1.0], [0, False], ["x"], ["x", 1]),
    *([[1], [1]], [{}, {}], [{"a": 1}, {"a": 1.0}], [{"a": 1}, {"a": True}]),
    *({}, {"a": 1}, {"a": True}, {"a": "x"}, {"b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}),
]
KEYWORDS: list[Json] = [
    *(True, False, {}),
    *({"type": name} for name in TYPES),
    {"type": ["integer", "null"]},
    *(
        {"const": value}
        for value in (1, True, 0, False, 1.0, "x", None, [1], {"a": 1}, {"a": True})
    ),
    *({"enum": value} for value in ([1], [True], [0, "x"], [[1, True]], [{"a": 1.0}])),
    *({"minimum": 1}, {"maximum": 2}, {"exclusiveMinimum": 1}, {"exclusiveMaximum": 2}),
    *({"minimum": 1.5}, {"maximum": -1}, {"multipleOf": 2}, {"multipleOf": 0.5}),
    *({"minLength": 2}, {"maxLength": 2}, {"pattern": "^x"}, {"pattern": "y"}),
    *({"minItems": 2}, {"maxItems": 2}, {"uniqueItems": True}, {"uniqueItems": False}),
    *({"items": {"type": "integer"}}, {"items": False}, {"prefixItems": [{"const": 1}]}),
    {"prefixItems": [{"const": 1}], "items": {"const": 2}},
    *({"contains": {"const": 1}}, {"contains": {"const": 1}, "minContains": 2}),
    *({"contains": {"const": 1}, "maxContains": 1}, {"contains": {"const": 9}, "minContains": 0}),
    *({"minProperties": 2}, {"maxProperties": 1}, {"required": ["a"]}, {"required": ["a", "c"]}),
    {"properties": {"a": {"type": "integer"}}},
    {"properties": {"a": True}, "additionalProperties": False},
    {"properties": {"a": False}, "additionalProperties": {"minimum": 3}},
    {"patternProperties": {"^[ab]": {"type": "integer"}}, "additionalProperties": False},
    *({"propertyNames": {"const": "a"}}, {"dependentRequired": {"a": ["b"]}}),
    {"dependentSchemas": {"a": {"minProperties": 2}}},
    *({"not": {"type": "integer"}}, {"not": {}}),
    *({"allOf": [{"minimum": 1}, {"maximum": 2}]}, {"anyOf": [{"const": 1}, {"type": "string"}]}),
    {"oneOf": [{"type": "integer"}, {"minimum": 1}]},
    {"oneOf": [{"minimum": 1}, {"maximum": 2}, {"const": 1.5}]},
    {"if": {"type": "integer"}, "then": {"minimum": 1}, "else": {"type": "string"}},
    *({"if": {"const": 1}, "then": False}, {"if": {"const": 1}, "else": False}),
    {"$ref": "#/$defs/a", "$defs": {"a": {"minimum": 1}}, "maximum": 2},
    {"$ref": "#/$defs/a", "$defs": {"a": {"type": ["integer", "string"]}}, "type": "integer"},
    {"$ref": "#/$defs/a", "$defs": {"a": {"required": ["a"]}}, "required": ["b"]},
    {"properties": {"a": {"$ref": "#/$defs/x~1y~0z"}}, "$defs": {"x/y~z": {"const": 1}}},
    {"anyOf": [{"$ref": "#/anyOf/1"}, {"const": 1}]},
]


@pytest.mark.parametrize("schema", KEYWORDS, ids=json.dumps)
def test_every_keyword_means_what_jsonschema_says(schema: Json) -> None:
    validator = Draft202012Validator(schema)
    ours = {i: schema_errors(value, schema) == [] for i, value in enumerate(EDGES)}
    assert ours == {i: validator.is_valid(value) for i, value in enumerate(EDGES)}


# --- words ------------------------------------------------------------------------------

ANIMAL = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"kind": {"const": "cat"}, "lives": INTEGER},
            "required": ["kind", "lives"],
        },
        {
            "type": "object",
            "properties": {"kind": {"const": "dog"}, "tricks": {"type": "array"}},
            "required": ["kind", "tricks"],
        },
        {"type": "null"},
    ]
}
ERRORS = {
    "a missing field": ({}, {"required": ["city"]}, "'city' is required and missing"),
    "a wrong type": ({"days": "x"}, {"properties": {"days": INTEGER}},
                     "'days' must be an integer, not 'x'"),
    "a wrong type, deep inside": (
        {"a": [{"b": "x"}]},
        {"properties": {"a": {"items": {"properties": {"b": INTEGER}}}}},
        "'a[0].b' must be an integer, not 'x'",
    ),
    "several types": (True, {"type": ["null", "string"]},
                      "the value must be null or a string, not true"),
    "no option": ("x", {"enum": ["a", 1]}, "the value must be 'a' or 1, not 'x'"),
    "not the constant": ([], {"const": {"a": 1}}, 'the value must be {"a": 1}, not []'),
    "no option of very many": (
        "x", {"enum": [f"o{i}" for i in range(3_020)]},
        "the value must be " + ", ".join(f"'o{i}'" for i in range(20)) + " or 3,000 more, not 'x'",
    ),
    "an unknown field": (
        {"z": 1}, {"properties": {"a": True, "b": True}, "additionalProperties": False},
        "'z' is not a known field (known: a and b)",
    ),
    "an unknown field, behind a reference": (
        {"p": {"z": 1}},
        {"properties": {"p": {"$ref": "#/$defs/P"}},
         "$defs": {"P": {"properties": {"a": True}, "additionalProperties": False}}},
        "'p.z' is not a known field (known: a)",
    ),
    "a field that is forbidden": (
        {"z": 1}, {"properties": {"z": False}}, "'z' must not be given (it is 1)",
    ),
    "a limit": ({"a": [7]}, {"properties": {"a": {"items": {"maximum": 5}}}},
                "'a[0]' is greater than the maximum of 5 (it is 7)"),
    "a long text": ("x" * 500, {"maxLength": 3},
                    f"the value is longer than 3 characters (it is '{'x' * 77}...')"),
    "no branch": (3, {"anyOf": [{"type": "string"}, {"type": "null"}]},
                  "the value must be a string or null, not 3"),
    "no branch of types and options": (
        3, {"anyOf": [{"const": "a"}, {"enum": ["b", "c"]}, {"type": "null"}]},
        "the value must be 'a', 'b', 'c' or null, not 3",
    ),
    "the branch that is meant": ({"kind": "dog"}, ANIMAL, "'tricks' is required and missing"),
    "the branch that is meant, inside": (
        {"pet": {"kind": "cat", "lives": "nine"}}, {"properties": {"pet": ANIMAL}},
        "'pet.lives' must be an integer, not 'nine'",
    ),
    "more than one of just one": (
        3, {"oneOf": [INTEGER, {"minimum": 1}]},
        "the value is valid under more than one of the schemas listed in the 'oneOf' keyword "
        "(it is 3)",
    ),
    "an older draft": (
        ["x"], {"$schema": "http://json-schema.org/draft-07/schema#", "items": [INTEGER]},
        "'[0]' must be an integer, not 'x'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("value", "schema", "error"), ERRORS.values(), ids=list(ERRORS))
def test_an_error_says_where_and_what(value: Json, schema: Json, error: str) -> None:
    assert schema_errors(value, schema) == [error]


def test_errors_are_limited() -> None:
    schema = {"required": [f"field{i}" for i in range(50)]}
    assert len(schema_errors({}, schema, limit=3)) == 3


# --- what is not checked ----------------------------------------------------------------


def test_no_document_is_fetched_for_a_reference(endpoint: Endpoint) -> None:
    elsewhere = {"$ref": f"{endpoint.base_url}/schema.json#/$defs/a"}
    schema = {"$schema": f"{endpoint.base_url}/draft", "properties": {"a": elsewhere, "b": INTEGER}}
    assert schema_errors({"a": 3}, {"properties": {"a": elsewhere}}) == []
    assert coerce({"a": "3"}, schema) == {"a": "3"}
    plain = {"properties": {"a": {"$ref": f"{endpoint.base_url}/schema.json"}, "b": INTEGER}}
    assert schema_errors({"a": 3, "b": "x"}, plain) == ["'b' must be an integer, not 'x'"]
    assert endpoint.connections == 0


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"type": "integer", "exclusiveMinimum": True, "required": None},
        {"type": "any"},
        {"pattern": "("},
        {"properties": {"a": {"default": {1, 2}}}},
    ],
    ids=["itself", "a circle", "nowhere", "elsewhere", "draft 4 and null", "no type",
         "no pattern", "not JSON"],
)  # fmt: skip
def test_what_cannot_be_followed_is_not_checked(schema: Json) -> None:
    assert schema_errors(3, schema) == []
    assert coerce("3", schema) in ("3", 3)


def test_a_schema_that_is_none_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    schema = {"type": "some-day", "title": "logged once"}
    with caplog.at_level(logging.WARNING, "langchain_ai365vip"):
        assert schema_errors(1, schema) == schema_errors(2, schema) == []
    (record,) = caplog.records
    assert "some-day" in record.getMessage()


# --- whatever comes ---------------------------------------------------------------------

FORTY = "a" * 40 + "!"
PATTERNS = ["^(a+)+$", "^(a|aa)*$", r"^(?:(a+)\1*)+$", r"^(\w+\s?)*(?!x)$", "a{99999999999}"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_pattern_stalls_the_loop(pattern: str) -> None:
    # Python's own `re` takes hours for the first.
    errors = schema_errors({"a": FORTY}, {"properties": {"a": {"pattern": pattern}}})
    assert len(errors) == (0 if "{" in pattern else 1)
    keys = {"patternProperties": {pattern: INTEGER}}
    coerce({FORTY: "3"}, keys)
    has_foreign_keys({FORTY: 3}, keys)


def nested(depth: int, kind: type) -> Json:
    value: Json = 1
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize("depth", [65, 1_000, 100_000])
def test_what_is_nested_too_deeply_is_an_error_and_no_crash(depth: int, kind: type) -> None:
    deep, schema = nested(depth, kind), {"items": {"$ref": "#"}, "properties": {"a": {"$ref": "#"}}}
    assert schema_errors(deep, schema) == ["the value is nested more than 64 levels deep"]
    assert coerce(deep, schema) is deep
    assert has_foreign_keys(deep, schema)


def test_a_schema_that_is_nested_too_deeply_checks_nothing() -> None:
    assert schema_errors(3, {"not": nested(500, dict)}) == []
    assert schema_errors(3, {"not": nested(sys.getrecursionlimit() * 30, dict)}) == []


@pytest.mark.parametrize("value", [10**400, 10**400 + 1], ids=["even", "odd"])
def test_a_long_number_is_checked_exactly(value: int) -> None:
    assert schema_errors(value, {"multipleOf": 0.5}) == []
    assert bool(schema_errors(value, {"multipleOf": 2})) is bool(value % 2)
    (error,) = schema_errors(value, {"maximum": 9})
    assert error == f"the value is greater than the maximum of 9 (it is 1{'0' * 76}...)"


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")], ids=str)
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_what_json_has_no_number_for_is_no_number(kind: str, value: float) -> None:
    assert schema_errors(value, {"type": kind})
    assert schema_errors(coerce("1e999", {"type": kind}), {"type": kind})


def test_a_text_with_half_of_a_surrogate_pair_is_judged_as_text() -> None:
    schema = {"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}
    assert schema_errors({"a": "\ud83d"}, schema) == []
    (error,) = schema_errors({"a": "\ud83d", "b": "x"}, schema)
    assert error == "'b' must be an integer, not 'x'"


def test_a_decimal_fraction_is_a_multiple_of_its_parts() -> None:
    assert schema_errors(0.3, {"multipleOf": 0.1}) == []
    assert schema_errors(0.35, {"multipleOf": 0.1}) != []


def node(kind: str, **properties: Json) -> Json:
    fields = {"op": {"const": kind}, **properties}
    return {"type": "object", "properties": fields, "required": list(fields)}


FILTERS = {"type": "array", "items": {"$ref": "#/$defs/F"}}
FILTER: Json = {
    "$ref": "#/$defs/F",
    "$defs": {
        "F": {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in ("And", "Or", "Not", "Eq")]},
        "And": node("and", items=FILTERS),
        "Or": node("or", items=FILTERS),
        "Not": node("not", item={"$ref": "#/$defs/F"}),
        "Eq": node("eq", field={"type": "string"}, value={"type": "integer"}),
    },
}


def filter_of(depth: int, leaf: Json) -> Json:
    value: Json = {"op": "eq", "field": "a", "value": leaf}
    for level in range(depth):
        value = {"op": ("and", "or")[level % 2], "items": [value]}
    return value


def test_a_union_in_unions_is_coerced_and_its_error_names_the_branch_that_is_meant() -> None:
    assert coerce(filter_of(12, "3"), FILTER) == filter_of(12, 3)
    (error,) = schema_errors(filter_of(3, "x"), FILTER)
    assert error == "'items[0].items[0].items[0].value' must be an integer, not 'x'"


def test_unions_deep_in_unions_are_judged_and_not_explained() -> None:
    # The library's explanation of this one would take years.
    assert schema_errors(filter_of(30, 3), FILTER) == []
    assert schema_errors(filter_of(30, "x"), FILTER) == ["the value does not fit the schema"]


NUMBERS = [10**400, -(10**400), 10**4000, 1e308, -1e308, 5e-324, float("inf"), float("nan")]
hostile_numbers = st.sampled_from([*NUMBERS, 0, 1, 0.1, 0.5])
hostile_values: st.SearchStrategy[Json] = st.recursive(
    hostile_numbers | st.sampled_from([*map(str, NUMBERS), "1e999", "a" * 5000, None, True]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=5,
)
limits = st.dictionaries(
    st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
                     "minLength", "maxLength", "minItems", "maxProperties", "minContains"]),
    hostile_numbers,
)  # fmt: skip
rules = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(TYPES),
        "enum": st.lists(hostile_values, max_size=3),
        "pattern": st.sampled_from(["(", "(a+)+$", "(" * 5000, "a{99999999999}", "[a", r"\p{L}"]),
        "uniqueItems": st.just(value=True),
        "contains": st.just({"multipleOf": 0.5}),
        "items": st.sampled_from([{"$ref": "#"}, {"type": "integer"}]),
        "additionalProperties": st.sampled_from([{"$ref": "#"}, {"type": "number"}]),
        "anyOf": st.just([{"$ref": "#/$defs/a"}, {"$ref": "#"}]),
        "not": st.just({"$ref": "#/$defs/a"}),
        "$defs": st.sampled_from(
            [{"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, {"a": {"not": {"$ref": "#/$defs/a"}}}]
        ),
    },
)


@settings(max_examples=100)
@given(value=hostile_values, limits=limits, rules=rules)
def test_no_number_pattern_or_circle_raises_anything(
    value: Json, limits: Json, rules: Json
) -> None:
    schema = {**limits, **rules}
    schema_errors(coerce(value, schema), schema)
