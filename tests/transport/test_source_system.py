"""`AI365VIP` has the source system's surface."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from langchain_ai365vip import AI365VIP
from langchain_ai365vip._wire.facts import MODELS


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("url", "https://chat.ai365vip.com"),
        ("api_endpoint", "/api/chat"),
        ("working", False),
        ("default_model", "gpt-3.5-turbo"),
        ("models", ["gpt-3.5-turbo", "gpt-3.5-turbo-16k", "gpt-4o"]),
        ("model_aliases", {"gpt-3.5-turbo": "gpt-3.5-turbo-16k"}),
    ],
)
def test_the_class_attributes_are_the_source_systems(member: str, value: object) -> None:
    assert getattr(AI365VIP, member) == value
    assert getattr(AI365VIP(), member) == value


def test_get_models_returns_a_list_of_its_own() -> None:
    AI365VIP.get_models().clear()
    assert AI365VIP.get_models() == AI365VIP.models == list(MODELS)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        pytest.param("gpt-3.5-turbo", "gpt-3.5-turbo-16k", id="alias"),
        pytest.param("gpt-4o", "gpt-4o", id="known"),
        pytest.param("llama-3", "llama-3", id="another-endpoints"),
        pytest.param("", "gpt-3.5-turbo-16k", id="the-default"),
        pytest.param(None, "gpt-3.5-turbo-16k", id="none-is-the-default"),
    ],
)
def test_get_model_resolves_aliases_and_passes_others_through(name: Any, sent: str) -> None:
    assert AI365VIP.get_model(name) == sent


def test_create_async_generator_is_called_as_in_the_source_system() -> None:
    assert inspect.isasyncgenfunction(AI365VIP.create_async_generator)
    parameters = list(inspect.signature(AI365VIP.create_async_generator).parameters.values())
    assert [parameter.name for parameter in parameters[:3]] == ["model", "messages", "proxy"]
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters[:3])
    assert parameters[2].default is None
    assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} >= {
        *("base_url", "api_key", "temperature", "system_prompt", "timeout", "headers"),
        *("stream", "max_tokens", "stop", "response_format"),
    }


@pytest.mark.parametrize("name", ["tools", "conversation", "top_p", "api_kee"])
def test_an_argument_that_the_wire_cannot_carry_is_an_error(name: str) -> None:
    unknown: dict[str, Any] = {name: "secret"}
    with pytest.raises(TypeError, match=name):
        AI365VIP.create_async_generator("gpt-4o", [], **unknown)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        pytest.param({"timeout": 0}, "timeout must be a number of seconds", id="timeout"),
        pytest.param({"max_tokens": 0}, "max_tokens must be 1 or more", id="max-tokens"),
        pytest.param({"temperature": -1.0}, "temperature must be 0 or more", id="temperature"),
        pytest.param({"temperature": float("nan")}, "temperature must be 0 or more", id="nan"),
        pytest.param({"token_limit": 0}, "token_limit must be 1 or more", id="token-limit"),
        pytest.param({"max_retries": -1}, "max_retries must be 0 or more", id="retries"),
        pytest.param({"base_url": "ftp://host"}, "base_url must be an http", id="scheme"),
        pytest.param({"base_url": ""}, "base_url must be an http.*left out", id="empty"),
        pytest.param({"base_url": "http://me:pw@host"}, "base_url must hold no user", id="user"),
        pytest.param({"proxy": "gopher://host"}, "proxy must be an http", id="proxy-scheme"),
        pytest.param({"proxy": "http://"}, "proxy must", id="proxy-host"),
        pytest.param({"headers": {"X": "a\r\nY: b"}}, "the value of 'X' must", id="header"),
        pytest.param({"special_tokens": "drop"}, "special_tokens must be", id="special-tokens"),
    ],
)
async def test_an_argument_out_of_range_is_a_clear_error(
    argument: dict[str, Any], says: str
) -> None:
    replies = AI365VIP.create_async_generator(
        "gpt-4o",
        [{"role": "user", "content": "Hi"}],
        **{"base_url": "http://127.0.0.1:9"} | argument,
    )
    with pytest.raises(ValueError, match=says) as raised:
        await replies.__anext__()
    assert "pw" not in str(raised.value)


@pytest.mark.parametrize("messages", ["Hello", ["Hello"]], ids=["a-text", "a-list-of-texts"])
async def test_messages_that_are_no_dicts_are_refused_with_an_example(messages: Any) -> None:
    replies = AI365VIP.create_async_generator("gpt-4o", messages, base_url="http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r'messages\[0\] is a str: pass {"role": "user"'):
        await replies.__anext__()


def test_a_client_shows_no_secret() -> None:
    client = AI365VIP(
        api_key="sentinel", proxy="http://me:sentinel@127.0.0.1:1", headers={"X": "sentinel"}
    )
    assert "sentinel" not in repr(client) + str(client)
