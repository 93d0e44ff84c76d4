"""Text is brought to a schema's types where its meaning is clear, and nowhere else."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from langchain_ai365vip._parsing.coercion import coerce, coerce_fields
from langchain_ai365vip._parsing.schemas import schema_errors

Json = Any
NAMES = ("a", "b", "c")
TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")

numbers = st.integers(-5, 5) | st.sampled_from([0.5, 1.0, -2.0, 1e9])
leaves = st.none() | st.booleans() | numbers | st.sampled_from(["", "x", "3", "true", "null"])
values: st.SearchStrategy[Json] = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=6,
)


def keywords(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Schemas with a few of the keywords, over inner schemas."""
    several = st.lists(inner, min_size=1, max_size=3)
    names = st.lists(st.sampled_from(NAMES), max_size=2, unique=True)
    sizes = st.integers(0, 3)
    by_name = st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    types = st.sampled_from(TYPES)
    options = {
        "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "const": values,
        "properties": by_name,
        "required": names,
        "additionalProperties": inner,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b|c"]), inner, max_size=1),
        "propertyNames": st.just({"enum": ["a", "b"]}),
        "dependentRequired": st.dictionaries(st.sampled_from(NAMES), names, max_size=1),
        "dependentSchemas": st.dictionaries(st.sampled_from(NAMES), inner, max_size=1),
        "items": inner,
        "prefixItems": several,
        "contains": inner,
        "minContains": sizes,
        "maxContains": sizes,
        "uniqueItems": st.booleans(),
        **{f"{m}{what}": sizes for m in ("min", "max") for what in ("Items", "Length")},
        "minProperties": sizes,
        "maxProperties": sizes,
        "pattern": st.sampled_from(["^x", "3"]),
        "minimum": numbers,
        "maximum": numbers,
        "exclusiveMinimum": numbers,
        "exclusiveMaximum": numbers,
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "allOf": several,
        "anyOf": several,
        "oneOf": several,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
    }
    chosen = st.sets(st.sampled_from(sorted(options)), max_size=4).map(sorted)
    return chosen.flatmap(
        lambda names: st.fixed_dictionaries({name: options[name] for name in names})
    )


references = st.sampled_from([{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b", "title": "B"}])
inner_schemas: st.SearchStrategy[Json] = st.recursive(
    st.booleans() | references | keywords(st.booleans()), keywords, max_leaves=5
)
# What is defined refers to nothing, so that no reference runs in a circle.
schemas = st.builds(
    lambda schema, first, second: {**schema, "$defs": {"a": first, "b": second}},
    keywords(inner_schemas),
    keywords(st.booleans()),
    keywords(st.booleans()),
)


@settings(max_examples=100)
@given(schema=schemas, value=values)
def test_coercing_leaves_valid_values_equal_and_never_changes_its_input(
    schema: Json, value: Json
) -> None:
    before = copy.deepcopy(value)
    coerced = coerce(value, schema)
    assert json.dumps(value) == json.dumps(before)
    if Draft202012Validator(schema).is_valid(value):
        assert coerced == value
        assert Draft202012Validator(schema).is_valid(coerced)


@settings(max_examples=100)
@given(
    schema=st.dictionaries(
        st.sampled_from(["type", "enum", "properties", "required", "items", "anyOf", "$ref",
                         "minimum", "exclusiveMinimum", "multipleOf", "pattern", "allOf",
                         "dependentRequired", "patternProperties", "maxLength", "not", "const"]),
        values,
    ),
    value=values,
)  # fmt: skip
def test_a_schema_that_is_none_raises_nothing(schema: Json, value: Json) -> None:
    schema_errors(coerce(value, schema), schema)
    coerce_fields({"a": json.dumps(value)}, schema)


INTEGER = {"type": "integer"}
COERCED = {
    "text to integer": ("3", INTEGER, 3),
    "text with .0 to integer": (" 3.0 ", INTEGER, 3),
    "text to number": ("2.5e3", {"type": "number"}, 2500.0),
    "a whole text to number": ("7", {"type": "number"}, 7),
    "text to boolean": ("True", {"type": "boolean"}, True),
    "text to null": ("None", {"type": "null"}, None),
    "number to string": (75001, {"type": "string"}, "75001"),
    "JSON text to a list": ("[1, 2]", {"type": "array"}, [1, 2]),
    "JSON text to an object": ('{"a": "1"}', {"type": "object", "properties": {"a": INTEGER}},
                               {"a": 1}),
    "an optional integer": ("3", {"anyOf": [INTEGER, {"type": "null"}]}, 3),
    "null for an optional integer, as text": ("null", {"anyOf": [INTEGER, {"type": "null"}]}, None),
    "null among types, as text": ("null", {"type": ["integer", "null"]}, None),
    "an optional reference": (
        {"at": '{"x": "1"}'},
        {"properties": {"at": {"anyOf": [{"$ref": "#/$defs/P"}, {"type": "null"}]}},
         "$defs": {"P": {"type": "object", "properties": {"x": INTEGER}, "required": ["x"]}}},
        {"at": {"x": 1}},
    ),
    "the branch that takes it": (
        {"lives": "9"},
        {"anyOf": [
            {"type": "object", "properties": {"lives": INTEGER}, "required": ["lives"]},
            {"type": "object", "properties": {"tricks": INTEGER}, "required": ["tricks"]}]},
        {"lives": 9},
    ),
    "parts of a whole": (
        {"a": "1", "b": "true"},
        {"allOf": [{"properties": {"a": INTEGER}}, {"properties": {"b": {"type": "boolean"}}}]},
        {"a": 1, "b": True},
    ),
    "a tuple": (["1", "2"], {"prefixItems": [INTEGER], "items": {"type": "string"}}, [1, "2"]),
    "values of any name": ({"x": "1"}, {"additionalProperties": INTEGER}, {"x": 1}),
    "values of names by pattern": ({"n1": "1", "t": "1"}, {"patternProperties": {"^n": INTEGER}},
                                   {"n1": 1, "t": "1"}),
    "a name with a slash": ({"a/b ~": "1"}, {"properties": {"a/b ~": INTEGER}}, {"a/b ~": 1}),
    "an optional object, as text": ('{"a": 1}', {"anyOf": [{"type": "object"}, {"type": "null"}]},
                                    {"a": 1}),
    "null for a field not given": ({"a": None}, {"properties": {"a": INTEGER}}, {}),
    "null for a field that may be null": ({"a": None}, {"properties": {"a": {"type": "null"}}},
                                          {"a": None}),
    "a number of an enum as text": ("2", {"enum": [1, 2]}, 2),
    "inside lists and references": (
        {"a": ["1"]},
        {
            "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/n"}}},
            "$defs": {"n": INTEGER},
        },
        {"a": [1]},
    ),
    "a recursive schema": (
        {"next": {"next": {"v": "1"}}},
        {
            "$ref": "#/$defs/node",
            "$defs": {
                "node": {"properties": {"v": INTEGER, "next": {"$ref": "#/$defs/node"}}}
            },
        },
        {"next": {"next": {"v": 1}}},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("value", "schema", "result"), COERCED.values(), ids=list(COERCED))
def test_a_value_with_one_reading_is_coerced(value: Json, schema: Json, result: Json) -> None:
    coerced = coerce(value, schema)
    assert (coerced, type(coerced)) == (result, type(result))
    assert schema_errors(coerced, schema) == []


UNTOUCHED = {
    "a text for a list": ("x", {"type": "array", "items": {"type": "string"}}),
    "texts with commas for a list": ("a,b", {"type": "array", "items": {"type": "string"}}),
    "a number for a list": (3, {"type": "array", "items": INTEGER}),
    "a fraction for a text": (1.10, {"type": "string"}),
    "a boolean for a text": (True, {"type": "string"}),
    "an object for a text": ({"a": 1}, {"type": "string"}),
    "an option in another case": ("RED", {"enum": ["red", "green"]}),
    "a list as text, for an object": ("[1]", {"type": "object"}),
    "no number": ("three", INTEGER),
    "a fraction": ("3.5", INTEGER),
    "a float with a fraction": (3.5, INTEGER),
    "too many digits": ("9" * 5000, INTEGER),
    "a list for a text": (["x", "y"], {"type": "string"}),
    "yes": ("yes", {"type": "boolean"}),
    "one": (1, {"type": "boolean"}),
    "not a number": ("nan", {"type": "number"}),
    "several cases": ("Ab", {"enum": ["ab", "AB"]}),
    "two readings": (
        {"a": "1", "b": "2"},
        {
            "anyOf": [
                {"properties": {"a": INTEGER, "b": {"type": "string"}}},
                {"properties": {"a": {"type": "string"}, "b": INTEGER}},
            ],
            "required": ["c"],
        },
    ),
    "a required null": ({"a": None}, {"properties": {"a": INTEGER}, "required": ["a"]}),
    "broken JSON": ("{a", {"type": "object"}),
}


@pytest.mark.parametrize(("value", "schema"), UNTOUCHED.values(), ids=list(UNTOUCHED))
def test_a_value_without_one_reading_stays_and_is_an_error(value: Json, schema: Json) -> None:
    assert coerce(value, schema) == value
    assert schema_errors(value, schema)


def test_text_that_is_valid_as_text_is_not_made_a_number() -> None:
    assert coerce("3", {"anyOf": [{"type": "string"}, INTEGER]}) == "3"
    assert coerce({"zip": "07030"}, {"properties": {"zip": {"type": "string"}}}) == {"zip": "07030"}


PLACE = {
    "$ref": "#/$defs/Place",
    "$defs": {
        "Place": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "country": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "days": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "sunny": {"type": "boolean"},
            },
            "required": ["city"],
        }
    },
}


def test_texts_between_tags_are_read_by_the_schema() -> None:
    texts = {"city": "75", "days": "3", "tags": '["null", "b"]', "sunny": "true"}
    read = coerce_fields(texts, PLACE)
    assert read == {"city": "75", "days": 3, "tags": ["null", "b"], "sunny": True}


def test_null_between_tags_is_null_where_the_field_may_be_null() -> None:
    read = coerce_fields({"city": "null", "country": "null", "days": "None"}, PLACE)
    assert read == {"city": "null", "country": None, "days": None}
    # In JSON, a text is a text: null is written without quotation marks there.
    assert coerce({"country": "null"}, PLACE) == {"country": "null"}


def test_json_between_tags_is_a_list_or_an_object_where_the_field_may_be_that() -> None:
    either = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    schema = {"properties": {"urls": either, "text": {"type": "string"}}}
    assert coerce_fields({"urls": '["a"]', "text": '["a"]'}, schema) == {
        "urls": ["a"],
        "text": '["a"]',
    }
    assert coerce_fields({"urls": "[1]"}, schema) == {"urls": "[1]"}
    # In JSON, a text is a text here, too.
    assert coerce({"urls": '["a"]'}, schema) == {"urls": '["a"]'}


def test_a_number_between_tags_is_text_where_the_field_may_be_text() -> None:
    either = {"anyOf": [{"type": "string"}, INTEGER]}
    assert coerce_fields({"a": "12", "b": "true"}, {"properties": {"a": either, "b": {}}}) == {
        "a": "12",
        "b": "true",
    }


@pytest.mark.parametrize("schema", [True, None, {"$ref": "#/$defs/a"}, {"$ref": "#"}])
def test_texts_without_a_schema_stay_as_they_are(schema: Json) -> None:
    assert coerce_fields({"a": "null", "b": "[1]"}, schema) == {"a": "null", "b": "[1]"}


def test_texts_between_tags_that_do_not_fit_stay_as_they_are() -> None:
    texts = {"city": "Rome", "days": "soon", "tags": "a,b", "other": "1"}
    assert coerce_fields(texts, PLACE) == texts
