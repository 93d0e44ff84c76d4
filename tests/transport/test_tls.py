"""TLS: certificates that hold and that do not, bundles, and contexts."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from langchain_ai365vip import ChatAI365VIP, Timeout, errors
from tests.faults.calling import WAYS, call
from tests.faults.cases import ANSWER, answer, stall_mid_stream
from tests.faults.server import PATIENCE, Exchange, FaultServer, on_accept
from tests.transport.network_kit import Authority

PATIENT = Timeout(connect=20, first_byte=20, between_bytes=20)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _model(base_url: str, **fields: Any) -> ChatAI365VIP:
    return ChatAI365VIP(base_url=base_url, timeout=PATIENT, **fields)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["ca_bundle", "ssl_context"])
def test_a_private_authority_is_trusted_when_it_is_given(
    how: str, way: str, authority: Authority
) -> None:
    given = authority.bundle if how == "ca_bundle" else authority.client()
    with FaultServer(answer, tls=authority.server("127.0.0.1")) as server:
        result = call(_model(server.url, **{how: given}), way)
    assert (result.text, result.error) == (ANSWER, None)


def _expired(authority: Authority) -> ssl.SSLContext:
    return authority.server("127.0.0.1", expired=True)


def _of_another_host(authority: Authority) -> ssl.SSLContext:
    return authority.server("elsewhere.test")


def _good(authority: Authority) -> ssl.SSLContext:
    return authority.server("127.0.0.1")


@pytest.mark.parametrize(
    ("certificate", "trusting", "says"),
    [
        (_expired, True, "expired"),
        (_of_another_host, True, "127.0.0.1"),
        (_good, False, "certificate"),
    ],
    ids=["expired", "of another host", "of an unknown authority"],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_that_does_not_hold_is_a_tls_error_and_not_retried(
    certificate: Callable[[Authority], ssl.SSLContext],
    trusting: bool,
    says: str,
    way: str,
    authority: Authority,
) -> None:
    bundle = authority.bundle if trusting else None
    with FaultServer(answer, tls=certificate(authority)) as server:
        error = call(_model(server.url, ca_bundle=bundle), way).error
        assert (server.requests, len(server.connections)) == (0, 1)
    assert type(error) is errors.AI365VIPTLSError
    assert says in str(error)
    assert "ca_bundle" in str(error)
    assert error.__cause__ is None


@on_accept
def _plain_http(x: Exchange) -> None:
    x.reply("400 Bad Request", "The plain HTTP request was sent to HTTPS port")
    x.connection.wait_for_close()


def test_a_server_that_speaks_no_tls_is_a_tls_error(authority: Authority) -> None:
    with FaultServer(_plain_http) as server:
        model = _model(server.url.replace("http", "https"), ca_bundle=authority.bundle)
        with pytest.raises(errors.AI365VIPTLSError):
            model.invoke("x", max_retries=0)


def test_a_server_that_wants_tls_is_one_of_our_errors_without_it(authority: Authority) -> None:
    with FaultServer(answer, tls=authority.server("127.0.0.1")) as server:
        model = _model(server.url.replace("https", "http"))
        with pytest.raises(errors.AI365VIPError):
            model.invoke("x", max_retries=0)


def test_a_server_that_wants_a_clients_certificate_is_a_tls_error(authority: Authority) -> None:
    tls = authority.server("127.0.0.1")
    authority.trust(tls)
    with FaultServer(answer, tls=tls) as server:
        model = _model(server.url, ca_bundle=authority.bundle)
        with pytest.raises(errors.AI365VIPConnectionError):
            model.invoke("x", max_retries=0)


@on_accept
def _no_handshake(x: Exchange) -> None:
    x.stall()


def test_a_handshake_that_does_not_come_is_a_timeout() -> None:
    with FaultServer(_no_handshake) as server:
        model = ChatAI365VIP(
            base_url=server.url.replace("http", "https"), timeout=Timeout(connect=0.3)
        )
        with pytest.raises(errors.AI365VIPTimeoutError, match="connecting"):
            model.invoke("x", max_retries=0)


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "not PEM"])
@pytest.mark.parametrize("way", WAYS)
def test_a_bundle_that_cannot_be_read_is_a_tls_error_that_names_it(
    content: str | None, way: str, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    error = call(_model("https://127.0.0.1:9", ca_bundle=str(bundle)), way).error
    assert type(error) is errors.AI365VIPTLSError
    assert "bundle.pem" in str(error)


async def test_one_models_trust_is_never_anothers(authority: Authority) -> None:
    with FaultServer(answer, tls=authority.server("127.0.0.1")) as server:
        await _model(server.url, ca_bundle=authority.bundle).ainvoke("x")
        with pytest.raises(errors.AI365VIPTLSError):
            await _model(server.url).ainvoke("x")
        assert server.requests == 1


async def test_a_hundred_calls_over_tls_use_one_connection(authority: Authority) -> None:
    with FaultServer(answer, tls=authority.server("127.0.0.1")) as server:
        model = _model(server.url, ca_bundle=authority.bundle)
        for _ in range(100):
            await model.ainvoke("x")
        assert (server.requests, len(server.connections)) == (100, 1)


async def test_leaving_a_stream_over_tls_hangs_up_at_once(authority: Authority) -> None:
    with FaultServer(stall_mid_stream, tls=authority.server("127.0.0.1")) as server:
        stream = _model(server.url, ca_bundle=authority.bundle).astream("x")
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]  # core returns a generator
        for _ in range(2):
            await asyncio.sleep(0)
        assert server.connections[0].closed_by_client.wait(PATIENCE)


async def test_calls_at_once_with_a_bundle_leave_connections_for_each_other(
    authority: Authority,
) -> None:
    count = 5
    all_are_there = threading.Barrier(count)

    def together(x: Exchange) -> None:
        all_are_there.wait(PATIENCE)
        answer(x)

    with FaultServer(together, tls=authority.server("127.0.0.1")) as server:
        model = _model(server.url, ca_bundle=authority.bundle)
        for _ in range(2):
            await asyncio.gather(*(model.ainvoke("x") for _ in range(count)))
        assert len(server.connections) == count
