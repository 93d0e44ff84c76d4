"""The wire's facts: what is sent, and what the server would do with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_ai365vip._wire.facts import SPECIAL_TOKENS, WireMessage
from langchain_ai365vip._wire.payload import (
    chat_payload,
    escape_special_tokens,
    find_special_token,
    split_conversation,
    trims_history,
)


def test_the_payload_is_that_of_the_source_system() -> None:
    turns = [WireMessage(role="user", content="Hi")]
    assert chat_payload(model="gpt-3.5-turbo", messages=turns) == {
        "model": {
            "id": "gpt-3.5-turbo",
            "name": "GPT-3.5",
            "maxLength": 12_000,
            "tokenLimit": 1_000_000_000,
        },
        "messages": [{"role": "user", "content": "Hi"}],
        "key": "",
        "prompt": "You are a helpful assistant.",
        "temperature": 1,
    }


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        pytest.param({"key": "k"}, "key", "k", id="key"),
        pytest.param({"prompt": "Be brief."}, "prompt", "Be brief.", id="prompt"),
        pytest.param({"temperature": 0}, "temperature", 0, id="temperature-zero"),
        pytest.param({"temperature": None}, "temperature", None, id="no-temperature"),
        pytest.param({"extra": {"top_p": 0.5}}, "top_p", 0.5, id="a-further-field"),
        pytest.param({"extra": {"temperature": 2}}, "temperature", 2, id="extra-wins"),
    ],
)
def test_each_field_reaches_the_payload(arguments: Any, field: str, value: object) -> None:
    assert chat_payload(model="gpt-4o", messages=[], **arguments)[field] == value


def test_a_model_that_is_not_in_the_table_is_sent_as_it_is() -> None:
    model = chat_payload(model="llama-3", messages=[], token_limit=4_096)["model"]
    assert model == {
        "id": "llama-3",
        "name": "llama-3",
        "maxLength": 1_000_000_000,
        "tokenLimit": 4_096,
    }


def test_dicts_become_a_prompt_and_turns_that_stay_turns() -> None:
    messages = [
        {"role": "system", "content": "One."},
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "developer", "content": "Two."},
        {"role": "assistant", "content": "c"},
    ]
    assert split_conversation(messages, "unused") == (
        "One.\n\nTwo.",
        [
            {"role": "user", "content": "a"},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "c"},
        ],
    )
    assert split_conversation(messages[1:2], "Be brief.")[0] == "Be brief."


@pytest.mark.parametrize(
    ("message", "says"),
    [
        pytest.param({"role": "tool", "content": "x"}, "role must be .*'tool'", id="role"),
        pytest.param({"content": "x"}, "role must be .*None", id="no-role"),
        pytest.param({"role": "user"}, "content must be a string, not NoneType", id="no-content"),
        pytest.param({"role": "user", "content": [{"type": "text"}]}, "not list", id="blocks"),
    ],
)
def test_what_the_wire_cannot_carry_is_named_by_its_place(message: Any, says: str) -> None:
    with pytest.raises(ValueError, match=rf"messages\[1\].*{says}"):
        split_conversation([{"role": "user", "content": "Hi"}, message], "")


@given(
    st.lists(st.integers(0, 40), max_size=6),
    st.integers(0, 40),
    st.integers(900, 1_200),
)
def test_history_is_trimmed_exactly_when_the_measured_rule_drops_a_message(
    sizes: list[int], prompt: int, limit: int
) -> None:
    # The server's loop, as PROTOCOL.md gives it: from the newest message back.
    kept = prompt
    for size in reversed(sizes):
        if kept + size + 1_000 > limit:
            dropped = True
            break
        kept += size
    else:
        # Without messages nothing can be dropped, but a prompt that leaves no room is
        # refused all the same.
        dropped = prompt + 1_000 > limit and not sizes
    turns = [WireMessage(role="user", content="x" * size) for size in sizes]
    assert trims_history("x" * prompt, turns, limit, len) == dropped


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_special_tokens_are_found_and_made_harmless(token: str) -> None:
    text = f"before {token} after"
    assert find_special_token(text) == token
    escaped = escape_special_tokens(text)
    assert escaped == f"before <\\{token[1:]} after"
    assert find_special_token(escaped) is None


@pytest.mark.parametrize("text", ["", "<|im_start|>", "<|endoftext", "a < b | c > d"])
def test_other_texts_are_left_alone(text: str) -> None:
    assert find_special_token(text) is None
    assert escape_special_tokens(text) is text


@given(st.lists(st.sampled_from([*SPECIAL_TOKENS, "<|endof", "text|>", "<\\", "<"])).map("".join))
def test_escaping_leaves_no_special_token_and_only_adds(text: str) -> None:
    escaped = escape_special_tokens(text)
    assert find_special_token(escaped) is None
    assert escaped.replace("<\\|", "<|") == text.replace("<\\|", "<|")
