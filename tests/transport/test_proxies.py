"""Proxies of every kind, real ones on loopback: with them, around them, and when they fail."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from langchain_ai365vip import ChatAI365VIP, Timeout, errors
from langchain_ai365vip._transport.proxy import environment_proxy
from tests.faults.cases import ANSWER, answer, replying
from tests.faults.server import FaultServer
from tests.names import looked_up_as
from tests.ports import refused_url
from tests.transport.network_kit import NAME, Authority, Proxy, proxies_resolve_the_name

PATIENT = Timeout(connect=20, first_byte=20, between_bytes=20)


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with proxies_resolve_the_name():
        yield


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(answer) as running:
        yield running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _named(server: FaultServer, scheme: str = "http") -> str:
    return f"{scheme}://{NAME}:{server.port}"


def _model(base_url: str, **fields: Any) -> ChatAI365VIP:
    return ChatAI365VIP(base_url=base_url, max_retries=0, timeout=PATIENT, **fields)


@pytest.mark.parametrize("user", ["", "me:s%40same"], ids=["open", "with a password"])
@pytest.mark.parametrize(
    ("protocol", "scheme"),
    [("http", "http"), ("socks5", "socks5"), ("socks5", "socks5h")],
)
def test_a_proxy_carries_the_call_and_resolves_the_name(
    protocol: str, scheme: str, user: str, server: FaultServer
) -> None:
    with Proxy(protocol, user=user.replace("%40", "@")) as proxy:
        model = _model(_named(server), proxy=proxy.url(scheme, user))
        assert model.invoke("x").text == ANSWER
        assert asyncio.run(model.ainvoke("x")).text == ANSWER
        assert proxy.connections == 2


@pytest.mark.parametrize("user", ["", "me"])
def test_a_socks4_proxy_carries_the_call_to_an_address(user: str, server: FaultServer) -> None:
    with Proxy("socks4", user=user) as proxy:
        model = _model(server.url, proxy=proxy.url("socks4", user))
        assert model.invoke("x").text == ANSWER
        assert proxy.connections == 1


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_on_ipv6_carries_the_call(scheme: str, server: FaultServer) -> None:
    with Proxy(scheme, host="::1") as proxy:
        assert _model(_named(server), proxy=proxy.url(scheme)).invoke("x").text == ANSWER
        assert proxy.connections == 1


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_carries_tls_through_a_tunnel(scheme: str, authority: Authority) -> None:
    with FaultServer(answer, tls=authority.server(NAME)) as server, Proxy(scheme) as proxy:
        model = _model(_named(server, "https"), proxy=proxy.url(scheme), ca_bundle=authority.bundle)
        assert model.invoke("x").text == ANSWER
        assert proxy.connections == 1


def test_the_proxy_itself_may_be_reached_by_tls(server: FaultServer, authority: Authority) -> None:
    with Proxy("http", tls=authority.server("127.0.0.1"), user="me:sesame") as proxy:
        model = _model(
            _named(server), proxy=proxy.url("https", "me:sesame"), ca_bundle=authority.bundle
        )
        assert model.invoke("x").text == ANSWER
        assert proxy.connections == 1


def test_tls_inside_tls_works_where_python_can(authority: Authority) -> None:
    tls = authority.server("127.0.0.1", NAME)
    with FaultServer(answer, tls=tls) as server, Proxy("http", tls=tls) as proxy:
        model = _model(
            _named(server, "https"), proxy=proxy.url("https"), ca_bundle=authority.bundle
        )
        if sys.version_info >= (3, 11):
            assert model.invoke("x").text == ANSWER
        else:
            with pytest.raises(errors.AI365VIPProxyError, match=r"Python 3\.11"):
                model.invoke("x")


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_calls_through_a_proxy_share_a_connection(scheme: str, server: FaultServer) -> None:
    with Proxy(scheme) as proxy:
        model = _model(_named(server), proxy=proxy.url(scheme))
        for _ in range(5):
            await model.ainvoke("x")
        assert (len(server.connections), proxy.connections) == (1, 1)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_one_users_connection_is_never_anothers(scheme: str, server: FaultServer) -> None:
    with Proxy(scheme, user="me:sesame") as proxy:
        await _model(_named(server), proxy=proxy.url(scheme, "me:sesame")).ainvoke("x")
        with pytest.raises(errors.AI365VIPConnectionError):
            await _model(_named(server), proxy=proxy.url(scheme, "me:guess")).ainvoke("x")
        with pytest.raises(errors.AI365VIPConnectionError):
            await _model(_named(server), proxy=proxy.url(scheme)).ainvoke("x")
        assert server.requests == 1


def _refused(scheme: str) -> str:
    return refused_url().replace("http", scheme)


@pytest.mark.parametrize("scheme", ["http", "https", "socks4", "socks5"])
def test_a_dead_proxy_is_a_proxy_error(scheme: str) -> None:
    with pytest.raises(errors.AI365VIPProxyError, match="proxy was not reached"):
        _model("http://127.0.0.1:9", proxy=_refused(scheme)).invoke("x")


@pytest.mark.parametrize("user", ["", "me:wrong"], ids=["no password", "wrong password"])
@pytest.mark.parametrize(
    ("proxy_scheme", "scheme"),
    [("http", "http"), ("http", "https"), ("socks5", "http"), ("socks5", "https")],
)
def test_a_proxy_that_wants_another_password_is_a_proxy_error(
    proxy_scheme: str, scheme: str, user: str, server: FaultServer
) -> None:
    with Proxy(proxy_scheme, user="me:sesame") as proxy:
        model = _model(_named(server, scheme), proxy=proxy.url(proxy_scheme, user))
        with pytest.raises(errors.AI365VIPConnectionError) as caught:
            model.invoke("x")
    # A SOCKS proxy just closes; when that is a reset, nothing tells why.
    reset = proxy_scheme == "socks5" and "reset" in str(caught.value)
    assert reset or type(caught.value) is errors.AI365VIPProxyError
    assert reset or "password" in str(caught.value)
    assert "wrong" not in f"{caught.value} {vars(caught.value)}"
    assert caught.value.status_code == (407 if proxy_scheme == "http" else None)
    assert server.requests == 0


@pytest.mark.parametrize(
    ("speaks", "scheme"),
    [("socks5", "http"), ("http", "socks5"), ("http", "socks4"), ("http", "https")],
)
def test_a_proxy_of_another_kind_is_a_connection_error(
    speaks: str, scheme: str, server: FaultServer
) -> None:
    with Proxy(speaks) as proxy, pytest.raises(errors.AI365VIPConnectionError):
        _model(server.url, proxy=proxy.url(scheme)).invoke("x")
    assert server.requests == 0


@pytest.mark.parametrize("proxy_scheme", ["http", "socks5"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_the_proxy_does_not_reach_is_a_connection_error(
    scheme: str, proxy_scheme: str
) -> None:
    expected: set[type[errors.AI365VIPError]] = {errors.AI365VIPConnectionError}
    timeout = PATIENT
    if (scheme, proxy_scheme) == ("https", "socks5"):
        # The end of a connection does not always end a TLS handshake in asyncio (seen on 3.10
        # and 3.13); a reset does, and which of the two comes is a race in the proxy.
        expected, timeout = {*expected, errors.AI365VIPTimeoutError}, Timeout(connect=1)
    with Proxy(proxy_scheme) as proxy:
        model = _model(_refused(scheme), proxy=proxy.url(proxy_scheme))
        with pytest.raises(errors.AI365VIPError) as caught:
            model.invoke("x", timeout=timeout)
    assert type(caught.value) in expected


def test_a_gateways_error_in_place_of_a_tunnel_is_a_connection_error() -> None:
    with FaultServer(replying("502 Bad Gateway")) as proxy:
        model = _model("https://127.0.0.1:9", proxy=proxy.url)
        with pytest.raises(errors.AI365VIPConnectionError, match="did not reach the server"):
            model.invoke("x")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_environments_proxy_is_used(
    variable: str, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy("http") as proxy:
        monkeypatch.setenv(variable, proxy.url())
        assert _model(_named(server)).invoke("x").text == ANSWER
        assert proxy.connections == 1


def test_the_environments_proxy_for_https_may_be_a_socks_proxy(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(answer, tls=authority.server(NAME)) as server, Proxy("socks5") as proxy:
        monkeypatch.setenv("https_proxy", proxy.url("socks5"))
        monkeypatch.setenv("http_proxy", _refused("http"))
        model = _model(_named(server, "https"), ca_bundle=authority.bundle)
        assert model.invoke("x").text == ANSWER
        assert proxy.connections == 1


@pytest.mark.parametrize("value", [NAME, ".test", "*.test", "other.example, models.test", "*"])
def test_no_proxy_leaves_a_host_out(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", value)
    with Proxy("http") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        # Without the proxy the name does not resolve.
        with pytest.raises(errors.AI365VIPConnectionError, match="name was not found"):
            _model(f"http://{NAME}:9").invoke("x")
        assert proxy.log == []


@pytest.mark.parametrize(
    ("no_proxy", "host", "proxied"),
    [
        # A name, and all below it, with a dot before it or without.
        ("example.com", "example.com", False),
        ("example.com", "chat.example.com", False),
        ("example.com", "notexample.com", True),
        ("example.com", "example.com.test", True),
        (".example.com", "chat.example.com", False),
        (".example.com", "example.com", False),  # httpx: with the proxy; curl: without
        (".example.com", "notexample.com", True),
        ("example.com.", "example.com", False),
        ("example.com", "example.com.", False),
        # A wildcard.
        ("*.example.com", "chat.example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("*.example.com", "example.com", True),
        ("*.example.com", "notexample.com", True),
        ("*", "example.com", False),
        (" * ", "10.1.2.3", False),
        ("other.test, *", "example.com", True),  # httpx: without the proxy; curl: with it
        # Networks and addresses.
        ("10.0.0.0/8", "10.1.2.3", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("10.9.9.9/8", "10.1.2.3", False),
        ("10.0.0.0/8", "ten.example.com", True),
        ("10.0.0.0/8", "[fd00::1]", True),
        ("fd00::/8", "[fd12::1]", False),
        ("[fd00::]/8", "[fd12::1]", False),
        ("fd00::/8", "[fe80::1]", True),
        ("10.1.2.3", "10.1.2.3", False),
        ("10.1.2.3", "10.1.2.33", True),
        ("fd12::1", "[fd12::1]", False),
        ("[fd12::1]", "[fd12:0::1]", False),
        ("fd12::1", "[fd12::2]", True),
        # A port.
        ("example.com:3000", "example.com", False),
        ("example.com:3000", "chat.example.com", False),
        ("example.com:80", "example.com", True),
        ("10.1.2.3:3000", "10.1.2.3", False),
        ("10.0.0.0/8:3000", "10.1.2.3", False),
        ("10.1.2.3:80", "10.1.2.3", True),
        ("[fd12::1]:3000", "[fd12::1]", False),
        ("[fd12::1]:80", "[fd12::1]", True),
        # Case, blanks, several, none.
        ("EXAMPLE.com", "Example.COM", False),
        ("*.EXAMPLE.com", "chat.example.com", False),
        (" a.test ,  example.com ", "example.com", False),
        ("a.test example.com", "example.com", False),
        ("a.test,,", "example.com", True),
        (".", "example.com", True),
        ("", "example.com", True),
    ],
)
@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
def test_a_pattern_of_no_proxy_leaves_these_hosts_out_and_no_others(
    variable: str, no_proxy: str, host: str, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No names that the tests could reach; what is sent through a proxy is tested above.
    monkeypatch.setenv("http_proxy", "http://proxy.test:1")
    monkeypatch.setenv(variable, no_proxy)
    assert (environment_proxy(URL(f"http://{host}:3000")) is not None) is proxied


def test_no_proxy_of_another_host_changes_nothing(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "example.com,del.test,10.0.0.0/8")
    with Proxy("http") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        assert _model(_named(server)).invoke("x").text == ANSWER
        assert proxy.connections == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_the_environments_proxy_is_never_used_for_loopback(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Proxy("http") as proxy,
        FaultServer(answer, host="::1" if "[" in host else "") as server,
    ):
        monkeypatch.setenv("http_proxy", proxy.url())
        monkeypatch.setenv("all_proxy", proxy.url())
        assert _model(f"http://{host}:{server.port}").invoke("x").text == ANSWER
        assert proxy.log == []


@pytest.mark.parametrize("host", ["localhost.", "models.localhost"])
def test_other_names_of_loopback_do_not_go_through_the_proxy_either(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As most systems resolve them: without it a name server would be asked, which may not answer.
    here = looked_up_as(lambda name: "127.0.0.1" if name == host else name)
    with Proxy("http") as proxy, here:
        monkeypatch.setenv("http_proxy", proxy.url())
        with pytest.raises(errors.AI365VIPConnectionError):
            _model(refused_url().replace("127.0.0.1", host)).invoke("x")
        assert proxy.log == []


@pytest.mark.parametrize(
    ("host", "proxied"),
    [
        *((host, False) for host in ("[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f.1")),
        *((host, False) for host in ("0.0.0.0", "0", "[::]", "[::ffff:0.0.0.0]")),
        *((host, True) for host in ("128.1", "[::ffff:10.0.0.1]", "127.example", "localhost.test")),
    ],
)
def test_every_way_to_write_a_loopback_address_is_known(
    host: str, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may not connect to some of these.
    monkeypatch.setenv("http_proxy", "http://proxy.test:1")
    assert (environment_proxy(URL(f"http://{host}:3000")) is not None) is proxied


@pytest.mark.parametrize(
    "value",
    ["ftp://proxy.test:1", "http://", "http://[::1", "socks9://x", "http://me:hunter2@x:99999"],
)
def test_a_proxy_variable_that_is_no_address_is_an_error_without_its_value(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", value)
    with pytest.raises(errors.AI365VIPProxyError, match="http_proxy") as caught:
        _model(f"http://{NAME}:9").invoke("x")
    assert "hunter2" not in str(caught.value)


def test_a_given_proxy_goes_before_the_environments_and_counts_for_loopback(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", _refused("http"))
    monkeypatch.setenv("no_proxy", "*")
    with Proxy("http") as proxy:
        assert _model(server.url, proxy=proxy.url()).invoke("x").text == ANSWER
        assert proxy.connections == 1


def test_the_packages_own_variable_is_the_proxys_default(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy("socks5") as proxy:
        monkeypatch.setenv("AI365VIP_PROXY", proxy.url("socks5"))
        assert _model(_named(server)).invoke("x").text == ANSWER
        assert proxy.connections == 1


def test_a_socks_proxy_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    with pytest.raises(ImportError, match=r"pip install .+\[socks\]"):
        _model("http://127.0.0.1:9", proxy="socks5://127.0.0.1:1080").invoke("x")
