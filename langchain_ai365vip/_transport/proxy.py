"""Proxies: the one that is given, those of the environment, and the hosts that need none."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import socket
import sys
from dataclasses import dataclass
from typing import Any, Final
from urllib.request import getproxies_environment

import aiohttp
from yarl import URL

from langchain_ai365vip._transport.checks import SOCKS, check_proxy
from langchain_ai365vip._version import installing
from langchain_ai365vip.errors import AI365VIPProxyError

_SOCKS_PORT: Final = 1080
_TLS_IN_TLS: Final = sys.version_info >= (3, 11)


@dataclass(frozen=True, repr=False)
class Proxy:
    """A proxy's address, which does not show itself: it may hold a password."""

    url: URL

    @property
    def is_socks(self) -> bool:
        """Whether it is a part of the connector; an HTTP proxy is named per request."""
        return self.url.scheme in SOCKS


def environment_proxy(url: URL) -> Proxy | None:
    """Return the proxy that the environment names for a request, if any.

    Raises:
        AI365VIPProxyError: What it names is no address.
    """
    proxy = None if _is_loopback(url.host or "") else _from_environment(url)
    if proxy is not None and not proxy.url.host:
        raise AI365VIPProxyError(
            f"The environment's {url.scheme}_proxy or all_proxy is not an http://, https://, "
            "socks4:// or socks5:// address. Correct it, or set `proxy`, or put the host into "
            "no_proxy."
        )
    return proxy


def socks_connector(proxy: Proxy, **limits: Any) -> aiohttp.BaseConnector:
    """Build a connector for a SOCKS proxy.

    Raises:
        ImportError: `aiohttp-socks` is not installed.
    """
    try:
        from aiohttp_socks import ProxyConnector, ProxyType
    except ImportError as exc:
        raise ImportError(
            f"A SOCKS proxy needs the package aiohttp-socks: {installing('socks')}"
        ) from exc
    url = proxy.url
    connector: aiohttp.BaseConnector = ProxyConnector(
        proxy_type=ProxyType.SOCKS4 if url.scheme.startswith("socks4") else ProxyType.SOCKS5,
        host=url.host or "",
        port=url.port or _SOCKS_PORT,
        username=url.user,
        password=url.password,
        # The proxy resolves the name, so that it does not leak to the local resolver. Plain
        # SOCKS4 cannot; its extension, 4a, can.
        rdns=url.scheme != "socks4",
        **limits,
    )
    return connector


def refuse_tls_in_tls(proxy: Proxy, url: URL) -> None:
    """Say so where Python cannot do what is asked, which aiohttp does less clearly.

    Raises:
        AI365VIPProxyError: Proxy and endpoint both want TLS, and Python is 3.10.
    """
    if not _TLS_IN_TLS and proxy.url.scheme == url.scheme == "https":
        raise AI365VIPProxyError(
            "An https:// endpoint behind an https:// proxy needs Python 3.11 or later: TLS "
            "inside TLS. Use an http:// or socks5:// proxy; the endpoint's TLS goes through it."
        )


def _from_environment(url: URL) -> Proxy | None:
    # Environment variables only: urllib's getproxies() would read the system's settings.
    proxies = getproxies_environment()
    value = (proxies.get(url.scheme) or proxies.get("all") or "").strip()
    if not value or _goes_without(url, proxies.get("no", "")):
        return None
    return _read(value)


def _goes_without(url: URL, no_proxy: str) -> bool:
    """Say whether NO_PROXY leaves a request out.

    Names, suffixes and ports are those of urllib and httpx, networks curl's, and a wildcard
    before a suffix Go's: no library here reads all of them.
    """
    if no_proxy.strip() == "*":
        return True
    host = (url.host or "").rstrip(".").lower()
    entries = re.split(r"[,\s]+", no_proxy.lower())
    return any(_leaves_out(entry, host, url.port) for entry in entries if entry)


def _leaves_out(entry: str, host: str, port: int | None) -> bool:
    name, _, its_port = entry.rpartition(":")
    if its_port.isdigit() and name and (":" not in name or name.endswith("]")):
        return int(its_port) == port and _leaves_out(name, host, None)
    if (network := _network(entry)) is not None:
        return (address := _address(host)) is not None and address in network
    if entry.startswith("*."):
        return host.endswith(entry[1:])
    name = entry.strip(".")
    return bool(name) and f".{host}".endswith(f".{name}")


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    return None


@functools.lru_cache(maxsize=16)
def _read(value: str) -> Proxy:
    try:
        return Proxy(URL(check_proxy(value if "://" in value else f"http://{value}") or ""))
    except ValueError:
        return Proxy(URL())


@functools.lru_cache(maxsize=64)
def _is_loopback(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    if address is None:
        return False
    # 0.0.0.0 and :: are addresses to listen on; connecting to them reaches this machine.
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host)
    # Short forms that every resolver knows: 127.1, 0x7f.1, 2130706433.
    with contextlib.suppress(OSError, UnicodeError):
        return ipaddress.IPv4Address(socket.inet_aton(host))
    return None
