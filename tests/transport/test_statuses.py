"""Which status, reason and body become which error: aioresponses in place of a server."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from langchain_core import exceptions as core

from langchain_ai365vip import AI365VIP, errors
from langchain_ai365vip._wire.payload import chat_payload

BASE = "http://endpoint.test"


class Response(aiohttp.ClientResponse):
    """aioresponses 0.7 does not know an argument that aiohttp 3.14 requires."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in inspect.signature(aiohttp.ClientResponse).parameters:
            kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture
def server() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


async def failure(server: aioresponses, **answer: Any) -> errors.AI365VIPError:
    server.post(f"{BASE}/api/chat", response_class=Response, **answer)
    client = AI365VIP(base_url=BASE, api_key="sentinel", max_retries=0)
    with pytest.raises(errors.AI365VIPError) as raised:
        await client.open(chat_payload(model="gpt-4o", messages=[]))
    assert raised.value.status_code == answer.get("status", 200)
    return raised.value


BY_STATUS: dict[int, tuple[type[errors.AI365VIPError], type[core.ModelError], bool]] = {
    400: (errors.AI365VIPInvalidRequestError, core.ModelInvalidRequestError, False),
    401: (errors.AI365VIPAuthenticationError, core.ModelAuthenticationError, False),
    402: (errors.AI365VIPQuotaError, core.ModelRateLimitError, False),
    403: (errors.AI365VIPPermissionDeniedError, core.ModelPermissionDeniedError, False),
    404: (errors.AI365VIPNotFoundError, core.ModelNotFoundError, False),
    405: (errors.AI365VIPNotFoundError, core.ModelNotFoundError, False),
    408: (errors.AI365VIPTimeoutError, core.ModelTimeoutError, True),
    413: (errors.AI365VIPInvalidRequestError, core.ModelInvalidRequestError, False),
    418: (errors.AI365VIPInvalidRequestError, core.ModelInvalidRequestError, False),
    422: (errors.AI365VIPInvalidRequestError, core.ModelInvalidRequestError, False),
    429: (errors.AI365VIPRateLimitError, core.ModelRateLimitError, True),
    500: (errors.AI365VIPAPIError, core.ModelAPIError, True),
    502: (errors.AI365VIPAPIError, core.ModelAPIError, True),
    503: (errors.AI365VIPAPIError, core.ModelAPIError, True),
    504: (errors.AI365VIPTimeoutError, core.ModelTimeoutError, True),
    599: (errors.AI365VIPAPIError, core.ModelAPIError, True),
}


@pytest.mark.parametrize("status", BY_STATUS)
async def test_a_status_is_the_matching_error_of_langchain(
    server: aioresponses, status: int
) -> None:
    ours, cores, retryable = BY_STATUS[status]
    error = await failure(server, status=status, body="Error")
    assert type(error) is ours
    assert isinstance(error, cores)
    assert error.is_retryable is retryable
    assert str(error).startswith(f"{BASE}/api/chat answered {status}")


# What the reference server's upstream said, which is all that is left of its error.
REASONS: dict[str, type[errors.AI365VIPError]] = {
    "Incorrect API key provided: sk-1***2. You can find your API key at …": (
        errors.AI365VIPAuthenticationError
    ),
    "You didn't provide an API key.": errors.AI365VIPAuthenticationError,
    "Rate limit reached for gpt-4o in organization org-1 on tokens per min": (
        errors.AI365VIPRateLimitError
    ),
    "The engine is currently overloaded, please try again later": errors.AI365VIPRateLimitError,
    "You exceeded your current quota, please check your plan and billing details.": (
        errors.AI365VIPQuotaError
    ),
    "This model's maximum context length is 4097 tokens. However, you requested 5000 tokens": (
        errors.AI365VIPContextOverflowError
    ),
    "The model `gpt-9` does not exist or you do not have access to it.": (
        errors.AI365VIPNotFoundError
    ),
    "The response was filtered due to the prompt triggering the content management policy": (
        errors.AI365VIPContentFilterError
    ),
    "Something nobody has seen before": errors.AI365VIPAPIError,
}


@pytest.mark.parametrize("reason", REASONS)
async def test_the_reason_phrase_of_a_500_says_what_the_upstream_meant(
    server: aioresponses, reason: str
) -> None:
    error = await failure(server, status=500, reason=reason, body="Error")
    assert type(error) is REASONS[reason]
    assert error.reason == reason
    assert error.body == "Error"
    assert reason.rstrip(".") in str(error)


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
@pytest.mark.parametrize("reason", list(REASONS)[:8])
async def test_a_message_in_a_json_body_says_the_same(
    server: aioresponses, status: int, reason: str
) -> None:
    error = await failure(server, status=status, payload={"error": {"message": reason}})
    assert type(error) is REASONS[reason]


@pytest.mark.parametrize(
    ("headers", "reason", "seconds"),
    [
        ({"Retry-After": "7"}, "", 7),
        ({"Retry-After": "0"}, "", 0),
        ({"Retry-After": "soon"}, "", None),
        ({"Retry-After": "Mon, 01 Jan 2024 00:00:00 +99999999999999"}, "", None),
        ({}, "Rate limit reached. Please try again in 6.5s.", 6.5),
        ({}, "Rate limit reached. Please try again in 250ms.", 0.25),
        ({}, "Rate limit reached. Please try again in 20 seconds.", 20),
        ({}, "Rate limit reached. Please try again in 1 second.", 1),
        ({}, "Rate limit reached. Please try again in 6m0s.", 360),
        ({}, "Rate limit reached. Please try again in 1h2m3.5s, or pay.", 3723.5),
        ({}, "Rate limit reached. Please try again in 7m12ms. Visit 3 sites.", 420.012),
        ({}, "Rate limit reached. Please Try Again In 1 minute and 5 seconds", 65),
        ({}, "Rate limit reached. Try again in 2 hours, 30 min", 9000),
        ({}, "Rate limit reached. Try again in 2 days", 86400),
        ({}, "Too many requests. Please retry after 9 seconds.", 9),
        ({}, "Too many requests. Please retry after 500 milliseconds.", 0.5),
        ({}, "Rate limit reached. Please try again in 5 melons.", None),
        ({}, "Rate limit reached. Please try again in a second life.", None),
        ({"Retry-After": "3"}, "Rate limit reached. Please try again in 6s.", 3),
        ({}, "", None),
    ],
)
async def test_the_time_to_wait_is_read_from_the_header_or_else_from_the_words(
    server: aioresponses, headers: dict[str, str], reason: str, seconds: float | None
) -> None:
    error = await failure(server, status=429, reason=reason or None, headers=headers)
    assert error.retry_after == seconds


LIMIT = "Rate limit reached for gpt-4. Please try again in 20 seconds."
VAGUE = "Something went wrong upstream."


@pytest.mark.parametrize("status", [400, 500, 503])
@pytest.mark.parametrize(
    ("reason", "body"),
    [(LIMIT, VAGUE), (VAGUE, LIMIT), (LIMIT, f'{{"message": "{VAGUE}"}}'), (LIMIT, LIMIT)],
    ids=["reason", "body", "reason beside a JSON body", "both"],
)
async def test_whichever_of_reason_and_body_says_more_decides(
    server: aioresponses, status: int, reason: str, body: str
) -> None:
    error = await failure(server, status=status, reason=reason, body=body)
    assert type(error) is errors.AI365VIPRateLimitError
    assert error.retry_after == 20
    assert LIMIT in str(error)


async def test_where_neither_says_more_the_body_is_shown(server: aioresponses) -> None:
    error = await failure(server, status=500, reason="Oh no", body=VAGUE)
    assert type(error) is errors.AI365VIPAPIError
    assert VAGUE in str(error)


async def test_an_error_keeps_plain_data_without_cookies_or_the_key(server: aioresponses) -> None:
    error = await failure(
        server,
        status=400,
        payload={"message": "bad key sentinel"},
        headers={"X-Request-Id": "1", "Set-Cookie": "a=b", "X-Echo": "sentinel"},
    )
    assert error.headers["x-request-id"] == "1"
    assert "set-cookie" not in error.headers
    assert "sentinel" not in str(error) + str(vars(error))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(
            {"status": 200, "content_type": "text/html", "body": "<!doctype html><html>Log in"},
            errors.AI365VIPResponseError,
            id="login-page",
        ),
        pytest.param(
            {"status": 200, "payload": {"error": "no"}},
            errors.AI365VIPResponseError,
            id="json-error",
        ),
        pytest.param(
            {
                "status": 403,
                "content_type": "text/html",
                "body": "<html><script src='https://challenges.cloudflare.com/turnstile'>",
            },
            errors.AI365VIPChallengeError,
            id="challenge",
        ),
        pytest.param({"status": 200, "body": ""}, errors.AI365VIPAPIError, id="empty"),
    ],
)
async def test_what_is_no_reply_is_an_error(
    server: aioresponses, answer: dict[str, Any], kind: type[errors.AI365VIPError]
) -> None:
    assert type(await failure(server, **answer)) is kind


DEEP = "[" * 7_900
COMMENTS = "<!-- -->" * 100


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param({"status": 500, "body": DEEP}, errors.AI365VIPAPIError, id="error"),
        pytest.param(
            {"status": 500, "body": '{"message":' + DEEP}, errors.AI365VIPAPIError, id="object"
        ),
        pytest.param(
            {"status": 502, "content_type": "text/html", "body": f"{COMMENTS}<html>x"},
            errors.AI365VIPAPIError,
            id="page behind comments",
        ),
        pytest.param(
            {"status": 200, "content_type": "text/html", "body": f" {COMMENTS}\n<HTML lang=en>"},
            errors.AI365VIPResponseError,
            id="page behind comments, 200",
        ),
    ],
)
async def test_no_answer_is_too_much_for_its_reader(
    server: aioresponses, answer: dict[str, Any], kind: type[errors.AI365VIPError]
) -> None:
    assert type(await failure(server, **answer)) is kind


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        # A regular expression for these comments took time that doubles with each one.
        pytest.param("text/html", f"{COMMENTS}no page", id="comments"),
        pytest.param("text/html", f"{COMMENTS}<!-- no end", id="open comment"),
        pytest.param("application/json", '{"error":' + "[" * 20_000, id="deep JSON"),
        pytest.param("application/json", "[" * 20_000, id="deep list"),
    ],
)
async def test_what_only_begins_like_an_error_is_a_reply(
    server: aioresponses, content_type: str, body: str
) -> None:
    server.post(f"{BASE}/api/chat", response_class=Response, content_type=content_type, body=body)
    reply = await AI365VIP(base_url=BASE).open(chat_payload(model="gpt-4o", messages=[]))
    assert await reply.read() == body


async def test_a_good_status_is_a_reply(server: aioresponses) -> None:
    server.post(f"{BASE}/api/chat", response_class=Response, body="Hello there!")
    reply = await AI365VIP(base_url=BASE).open(chat_payload(model="gpt-4o", messages=[]))
    assert (await reply.read(), await reply.read()) == ("Hello there!", "")
