"""The package's own client against its own endpoint: errors keep their meaning on the way."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core import exceptions as core

from langchain_ai365vip import ChatAI365VIP, errors
from langchain_ai365vip.server import LocalServer
from tests.server.server_kit import says

MEANINGS: dict[type[Exception], type[errors.AI365VIPError]] = {
    core.ModelAuthenticationError: errors.AI365VIPAuthenticationError,
    core.ModelPermissionDeniedError: errors.AI365VIPPermissionDeniedError,
    core.ModelInvalidRequestError: errors.AI365VIPInvalidRequestError,
    core.ContextOverflowError: errors.AI365VIPContextOverflowError,
    core.ModelNotFoundError: errors.AI365VIPNotFoundError,
    core.ModelRateLimitError: errors.AI365VIPRateLimitError,
    core.ModelAPIError: errors.AI365VIPAPIError,
    # Here it was the endpoint's own upstream that was not reached.
    core.ModelConnectionError: errors.AI365VIPAPIError,
    core.ModelTimeoutError: errors.AI365VIPTimeoutError,
    errors.AI365VIPQuotaError: errors.AI365VIPQuotaError,
    errors.AI365VIPContentFilterError: errors.AI365VIPContentFilterError,
    RuntimeError: errors.AI365VIPAPIError,
}


@pytest.mark.parametrize(
    ("raised", "caught"), MEANINGS.items(), ids=[kind.__name__ for kind in MEANINGS]
)
def test_a_models_error_means_the_same_behind_the_endpoint(
    raised: type[Exception], caught: type[errors.AI365VIPError]
) -> None:
    with LocalServer(says(raised("x"))) as server:
        model = ChatAI365VIP(base_url=server.base_url, max_retries=0)
        with pytest.raises(errors.AI365VIPError) as error:
            model.invoke("Hi")
    assert type(error.value) is caught


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], type[errors.AI365VIPError]]] = {
    "no key": ({"api_key": "k"}, {}, errors.AI365VIPAuthenticationError),
    "wrong key": ({"api_key": "k"}, {"api_key": "x"}, errors.AI365VIPAuthenticationError),
    "large body": ({"max_body_size": 99}, {}, errors.AI365VIPInvalidRequestError),
}


@pytest.mark.parametrize(("served", "asked", "caught"), OPTIONS.values(), ids=OPTIONS.keys())
def test_the_endpoints_own_refusals_are_understood(
    served: dict[str, Any], asked: dict[str, Any], caught: type[errors.AI365VIPError]
) -> None:
    with LocalServer(says("ok"), **served) as server:
        model = ChatAI365VIP(base_url=server.base_url, max_retries=0, **asked)
        with pytest.raises(errors.AI365VIPError) as error:
            model.invoke("Hi")
    assert type(error.value) is caught


def test_a_model_that_the_endpoint_does_not_have_is_not_found() -> None:
    with LocalServer({"small": says("ok")}) as server:
        model = ChatAI365VIP(base_url=server.base_url, model="large", max_retries=0)
        with pytest.raises(errors.AI365VIPNotFoundError, match="there are: small"):
            model.invoke("Hi")
        assert [one.id for one in model.list_models()] == ["small"]


@pytest.mark.parametrize("front_end", [False, True], ids=["as-it-is", "with-a-front-end"])
def test_a_reply_that_breaks_off_keeps_its_text(front_end: bool) -> None:
    failing = says("half", RuntimeError("x"))
    with LocalServer(failing, plain_http_front_end=front_end) as server:
        model = ChatAI365VIP(base_url=server.base_url, max_retries=0)
        with pytest.raises(errors.AI365VIPConnectionError) as error:
            model.invoke("Hi")
    assert error.value.partial_text == "half"
