"""What `logging.DEBUG` shows of requests: a line for the start, one for the end, no texts."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest
from aiohttp import web

from langchain_ai365vip import ChatAI365VIP, errors
from tests.endpoint import Endpoint

KEY = "sk-s3cret"


@pytest.fixture
def lines(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.DEBUG, logger="langchain_ai365vip")

    def said() -> list[str]:
        ours = [one for one in caplog.records if one.name == "langchain_ai365vip.requests"]
        assert {one.levelname for one in ours} <= {"DEBUG"}
        text = "\n".join(one.getMessage() for one in ours)
        assert "ask" not in text
        assert "Hello" not in text
        assert KEY not in text
        text = text.replace(endpoint.base_url, "URL")
        return re.sub(r"\d+\.\d{3} s", "… s", text).splitlines()

    return said


def asking(endpoint: Endpoint, **settings: object) -> ChatAI365VIP:
    return ChatAI365VIP(
        base_url=endpoint.base_url,
        api_key=KEY,
        system_prompt="ask.",
        **settings,  # type: ignore[arg-type]
    )


def test_a_call_is_two_lines(endpoint: Endpoint, lines: Callable[[], list[str]]) -> None:
    asking(endpoint, model="gpt-4o\n\x1b").invoke([("user", "ask"), ("ai", "ask"), ("user", "ask")])
    assert lines() == [
        r"POST URL/api/chat: model 'gpt-4o\n\x1b', 3 turns, 13 characters, first attempt",
        "POST URL/api/chat: status 200, first text after … s, 12 characters, whole",
    ]


def test_a_retry_is_counted_and_a_failure_named(
    endpoint: Endpoint, lines: Callable[[], list[str]]
) -> None:
    endpoint.response = lambda _: (
        web.Response(status=503, text=f"Hello {KEY}") if endpoint.requests == 1 else None
    )
    asking(endpoint).invoke("ask")
    assert lines() == [
        "POST URL/api/chat: model 'gpt-3.5-turbo', 1 turns, 7 characters, first attempt",
        "POST URL/api/chat: status 503, 0 characters, AI365VIPAPIError",
        "POST URL/api/chat: model 'gpt-3.5-turbo', 1 turns, 7 characters, retry 1",
        "POST URL/api/chat: status 200, first text after … s, 12 characters, whole",
    ]


def test_a_reply_that_its_reader_leaves_says_so(
    paced: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="langchain_ai365vip.requests")
    paced.release()
    stream = asking(paced).stream("ask")
    assert next(stream).text == "Hello"
    stream.close()  # type: ignore[attr-defined]  # core's is a generator
    paced.wait_until(lambda: len(caplog.messages) == 2)
    assert caplog.messages[-1].endswith("5 characters, left by its reader")


def test_a_reply_that_is_cut_names_the_error(
    endpoint: Endpoint, lines: Callable[[], list[str]]
) -> None:
    endpoint.pieces = ["Hello", b"\xff"]
    with pytest.raises(errors.AI365VIPResponseError):
        asking(endpoint).invoke("ask")
    assert lines()[-1] == (
        "POST URL/api/chat: status 200, first text after … s, 5 characters, AI365VIPResponseError"
    )


async def test_the_list_of_models_is_named(
    endpoint: Endpoint, lines: Callable[[], list[str]]
) -> None:
    await asking(endpoint).alist_models()
    first, last = lines()
    assert first == "POST URL/api/models: list of models, first attempt"
    assert last.endswith("characters, whole")
