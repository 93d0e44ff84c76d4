"""The strings that make the reference server fail: escaped, refused or sent, as one chooses."""

from __future__ import annotations

import pytest

from langchain_ai365vip._wire.facts import SPECIAL_TOKENS, WireMessage
from langchain_ai365vip._wire.payload import check_special_tokens
from langchain_ai365vip.errors import AI365VIPInvalidRequestError

TOKEN = SPECIAL_TOKENS[0]


def wire(*contents: str) -> list[WireMessage]:
    return [{"role": "user", "content": content} for content in contents]


def test_text_without_special_tokens_is_passed_on_as_it_is() -> None:
    turns = wire("a <|im_start|> b")
    assert check_special_tokens("p", turns) == ("p", turns, False)
    assert check_special_tokens("p", turns)[1] is turns


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_special_tokens_are_escaped_visibly_and_the_turns_not_changed(token: str) -> None:
    turns = wire("a", f"see {token}!")
    escaped = f"see <\\{token[1:]}!"
    assert check_special_tokens(token, turns) == (f"<\\{token[1:]}", wire("a", escaped), True)
    assert turns == wire("a", f"see {token}!")


@pytest.mark.parametrize(
    ("prompt", "contents", "where"),
    [(TOKEN, ["a"], "the system prompt"), ("p", ["a", TOKEN], "turn 1 of the conversation")],
)
def test_special_tokens_are_refused_by_place(prompt: str, contents: list[str], where: str) -> None:
    with pytest.raises(AI365VIPInvalidRequestError, match=where) as caught:
        check_special_tokens(prompt, wire(*contents), "raise")
    assert TOKEN in str(caught.value)


def test_special_tokens_are_sent_where_asked() -> None:
    assert check_special_tokens(TOKEN, wire(TOKEN), "send") == (TOKEN, wire(TOKEN), False)
