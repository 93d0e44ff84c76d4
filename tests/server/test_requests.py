"""Reading requests on the server's side: what is taken, what is refused, in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_ai365vip._wire.payload import chat_payload
from langchain_ai365vip._wire.request import (
    ChatRequest,
    MalformedRequest,
    parse_chat_request,
    parse_models_request,
)
from langchain_ai365vip.server.reply import MAX_REASON, DeltaEncoder, reason_phrase

BODY: dict[str, Any] = {
    "model": {"id": "gpt-4o", "name": "GPT-4o", "maxLength": 12000, "tokenLimit": 4000},
    "messages": [{"role": "user", "content": "Hi"}],
    "key": "k",
    "prompt": "p",
    "temperature": 0.5,
}


def _body(**changes: Any) -> bytes:
    return json.dumps({**BODY, **changes}).encode()


def test_a_request_is_read() -> None:
    assert parse_chat_request(_body()) == ChatRequest(
        "gpt-4o", [{"role": "user", "content": "Hi"}], ["p"], 0.5, "k"
    )


def test_the_clients_own_payload_is_read_back() -> None:
    payload = chat_payload(model="m", messages=[{"role": "user", "content": "é"}], key="k")
    request = parse_chat_request(json.dumps(payload).encode())
    assert request.messages == payload["messages"]
    assert (request.model, request.prompts, request.temperature, request.key) == (
        "m",
        [payload["prompt"]],
        1.0,
        "k",
    )


@pytest.mark.parametrize(
    "body",
    [_body(key=None, extra=[1], stream=True), b"\xef\xbb\xbf" + _body(), b" \n" + _body() + b"\n"],
    ids=["null key, unknown fields", "byte order mark", "white space"],
)
def test_what_does_no_harm_is_taken(body: bytes) -> None:
    assert parse_chat_request(body).messages == BODY["messages"]


MALFORMED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "body: expected a JSON object, found an error at line 1 column 1"),
    "no JSON": (b"model=x", "body: expected a JSON object, found an error at line 1 column 1"),
    "cut": (_body()[:-3], "body: expected a JSON object, found an error at line 1 column 179"),
    "array": (b"[]", "body: expected a JSON object, found an array"),
    "null": (b"null", "body: expected a JSON object, found null or nothing"),
    "latin-1": (b'{"a": "\xe9"}', "body: expected JSON in UTF-8, found bytes that are not UTF-8"),
    "utf-16": ('{"a": 1}'.encode("utf-16"), "body: expected JSON in UTF-8, found bytes that"),
    "deep": (b"[" * 200_000, "body: expected a JSON object, found JSON that is nested too deeply"),
    "NaN": (b'{"temperature": NaN}', "body: expected a JSON object, found a number out of range"),
    "5000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "found a number out of range"),
    "no model": (b"{}", "model: expected an object with an id, found null or nothing"),
    "model string": (_body(model="gpt-4o"), "model: expected an object with an id, found a string"),
    "no id": (_body(model={}), "model.id: expected a string, found null or nothing"),
    "empty id": (_body(model={"id": ""}), "model.id: expected a model's id, found an empty string"),
    "id number": (_body(model={"id": 4}), "model.id: expected a string, found a number"),
    "no messages": (_body(messages=None), "messages: expected an array of messages, found null"),
    "messages text": (_body(messages="Hi"), "messages: expected an array of messages, found a st"),
    "message text": (_body(messages=["Hi"]), "messages[0]: expected an object with role and cont"),
    "role": (
        _body(messages=[BODY["messages"][0], {"role": "to\x1bol", "content": ""}]),
        'messages[1].role: expected "user", "assistant" or "system", found another string',
    ),
    "role object": (_body(messages=[{"role": {}}]), "found an object"),
    "content parts": (
        _body(messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]),
        "messages[0].content: expected a string, found an array",
    ),
    "content missing": (
        _body(messages=[{"role": "user"}]),
        "messages[0].content: expected a string, found null or nothing",
    ),
    "lone surrogate": (
        _body(messages=[{"role": "user", "content": "a\ud83d"}]),
        "messages[0].content: expected whole characters, found a lone surrogate",
    ),
    "key": (_body(key=1), "key: expected a string, found a number"),
    "key surrogate": (_body(key="\udc00"), "key: expected whole characters"),
    "prompt": (_body(prompt=["p"]), "prompt: expected a string, found an array"),
    "nothing said": (
        _body(prompt="", messages=[]),
        "messages: expected at least one message, found neither one nor a prompt",
    ),
    "temperature text": (_body(temperature="1"), "temperature: expected a number, found a string"),
    "temperature bool": (_body(temperature=True), "temperature: expected a number, found a boole"),
    "temperature huge": (_body(temperature=10**400), "temperature: expected a finite number"),
    "temperature 1e999": (
        _body().replace(b"0.5", b"1e999"),
        "temperature: expected a finite number, found one that is out of range",
    ),
}


@pytest.mark.parametrize(("body", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_refused_by_field(body: bytes, message: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        parse_chat_request(body)
    assert str(caught.value).startswith(message) or message in str(caught.value)


def test_the_models_request_is_its_key() -> None:
    assert parse_models_request(b'{"key": "k"}') == "k"
    assert parse_models_request(b"{}") == ""
    with pytest.raises(MalformedRequest, match="key: expected a string, found an array"):
        parse_models_request(b'{"key": []}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
TURN = st.dictionaries(
    st.sampled_from(["role", "content", "name"]),
    st.sampled_from(["user", "assistant", "system", "tool"]) | JSON,
)
# Nearly right: the fields have their names, and often their kinds.
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "model": st.fixed_dictionaries({}, optional={"id": st.text() | JSON}) | JSON,
        "messages": st.lists(TURN | JSON) | JSON,
        "key": st.text() | JSON,
        "prompt": st.text() | JSON,
        "temperature": st.floats() | JSON,
    },
)
BODIES = st.binary() | NEARLY.map(lambda body: json.dumps(body).encode())


@given(BODIES)
def test_any_body_is_read_or_refused_in_one_safe_line(body: bytes) -> None:
    refusal = ""
    try:
        request = parse_chat_request(body)
    except MalformedRequest as error:
        refusal = str(error)
    else:
        assert request.model
        assert request.messages or request.prompts
        "".join(request.prompts).encode()  # no lone surrogates anywhere
        "".join(turn["content"] for turn in request.messages).encode()
    assert reason_phrase(refusal) == refusal


@given(st.text(alphabet=st.characters()))
def test_a_reason_is_printable_and_bounded(text: str) -> None:
    reason = reason_phrase(text)
    assert reason.isprintable()
    assert len(reason) <= MAX_REASON


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\r\nSet-Cookie: b", "a Set-Cookie: b"),
        ("\x1b[31m\x00\ud800\u202e", r"\x1b[31m\x00\ud800\u202e"),
        ("é, Ошибка, 失败", "é, Ошибка, 失败"),
        ("x" * 10_000, "x" * MAX_REASON),
        (" \n ", ""),
    ],
    ids=["lines", "escaped", "readable", "long", "blank"],
)
def test_a_reason_keeps_what_is_safe(text: str, reason: str) -> None:
    assert reason_phrase(text) == reason


SURROGATES = st.text(
    alphabet=st.characters(categories=["Cs", "L"]) | st.sampled_from("\ud83d\ude00")
)


@given(st.lists(SURROGATES))
def test_deltas_are_whole_characters_and_lose_nothing(deltas: list[str]) -> None:
    encoder = DeltaEncoder()
    sent = [encoder.encode(delta).decode() for delta in deltas] + [encoder.flush().decode()]
    whole = "".join(deltas).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert "".join(sent) == whole
