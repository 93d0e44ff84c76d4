"""Every fault, in the four ways of calling, against the table in `cases.py`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import pytest
from langchain_core import exceptions as core

from langchain_ai365vip import ChatAI365VIP, Timeout, errors
from tests.endpoint import wait_until
from tests.faults.calling import WAYS, Result, call
from tests.faults.cases import FAULTS, Fault
from tests.faults.conftest import KEY
from tests.faults.table import Played

# Which of LangChain's classes an `except` clause, `with_retry` or a middleware must meet.
LANGCHAINS: dict[type[errors.AI365VIPError], type[core.ModelError]] = {
    errors.AI365VIPAuthenticationError: core.ModelAuthenticationError,
    errors.AI365VIPPermissionDeniedError: core.ModelPermissionDeniedError,
    errors.AI365VIPChallengeError: core.ModelPermissionDeniedError,
    errors.AI365VIPInvalidRequestError: core.ModelInvalidRequestError,
    errors.AI365VIPContentFilterError: core.ModelInvalidRequestError,
    errors.AI365VIPNotFoundError: core.ModelNotFoundError,
    errors.AI365VIPContextOverflowError: core.ContextOverflowError,
    errors.AI365VIPRateLimitError: core.ModelRateLimitError,
    errors.AI365VIPQuotaError: core.ModelRateLimitError,
    errors.AI365VIPAPIError: core.ModelAPIError,
    errors.AI365VIPResponseError: core.ModelAPIError,
    errors.AI365VIPConnectionError: core.ModelConnectionError,
    errors.AI365VIPProxyError: core.ModelConnectionError,
    errors.AI365VIPTLSError: core.ModelConnectionError,
    errors.AI365VIPTimeoutError: core.ModelTimeoutError,
}

# Long enough for a busy machine to connect and answer, short where silence is the fault.
PATIENT = Timeout(connect=60, first_byte=60, between_bytes=60)


# The other ways fold and bridge what this one reads.
@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=[] if way == "astream" else [pytest.mark.thorough]) for way in WAYS],
)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_its_one_outcome_in_every_way_of_calling(
    fault: Fault, way: str, model: Callable[..., ChatAI365VIP]
) -> None:
    with Played(fault) as played:
        result = call(model(played.url, timeout=_timeout(fault)), way)
        # A client that loses its patience does not wait until the server has read.
        assert wait_until(lambda: played.server.requests >= fault.requests)
        sent = [exchange.json() for exchange in played.server.exchanges]
    assert len(sent) == fault.requests
    assert played.elsewhere.connections == []
    assert all(body == sent[0] for body in sent), "a retry sends the same request"
    if fault.error is None:
        assert result == Result(fault.text, None)
    else:
        _check_error(fault, way, result)


def _timeout(fault: Fault) -> Timeout:
    if fault.error is not errors.AI365VIPTimeoutError or fault.status is not None:
        return PATIENT
    return PATIENT._replace(**{"between_bytes" if fault.text else "first_byte": 0.3})


def _check_error(fault: Fault, way: str, result: Result) -> None:
    error = result.error
    assert type(error) is fault.error, repr(error)
    assert isinstance(error, errors.AI365VIPError)
    assert isinstance(error, LANGCHAINS[fault.error])
    partial = error.partial_text or ""
    assert fault.text.startswith(partial) if fault.prefix else partial == fault.text
    assert result.text == (partial if way.endswith("stream") else "")
    assert error.status_code == fault.status or fault.status is None
    assert fault.says in str(error)
    _check_plain_data(error)


def _check_plain_data(error: errors.AI365VIPError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    assert all(_is_ours(link) for link in _chain(error)), "no transport exception is kept"
    text = f"{error} {vars(error)}"
    assert KEY not in text
    assert "hunter2" not in text
    str(error).encode()
    assert str(error).isprintable()
    assert len(str(error)) < 2_000
    assert len(error.reason or "") <= 500
    assert len(error.body or "") <= 2_000
    assert "set-cookie" not in error.headers


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_ours(error: BaseException) -> bool:
    return isinstance(error, errors.AI365VIPError)


def test_every_class_of_the_tree_that_a_server_can_cause_is_in_the_table() -> None:
    met = {fault.error for fault in FAULTS} - {None}
    # These need a proxy, TLS, or no server at all: other tests have them.
    elsewhere = {
        errors.AI365VIPError,
        errors.AI365VIPProxyError,
        errors.AI365VIPTLSError,
        errors.AI365VIPUnsupportedContentError,
        errors.AI365VIPOutputError,
    }
    tree = {cls for cls in vars(errors).values() if _is_class_of_the_tree(cls)}
    assert met | elsewhere == tree


def _is_class_of_the_tree(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, errors.AI365VIPError)
