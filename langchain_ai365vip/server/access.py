"""Who may call the endpoint: the key, the web origin, the host name, the local address."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from aiohttp import web
from pydantic import SecretStr


class RefusedError(Exception):
    """A request that gets an error answer: status, one safe line, headers."""

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(line)
        self.status = status
        self.line = line
        self.headers = headers


class Access:
    """Who may call: the checks of one endpoint.

    Raises:
        ValueError: The key is empty, or an origin or host cannot be one.
    """

    def __init__(
        self,
        api_key: str | SecretStr | None,
        allowed_origins: Iterable[str],
        allowed_hosts: Iterable[str],
    ) -> None:
        key = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
        if not isinstance(key, str | None):
            raise TypeError(f"api_key is of type {type(key).__name__}: pass it as a string")
        if key == "":
            raise ValueError(
                "api_key is empty, which would let everybody in: pass a key, or leave it out"
            )
        self._key = None if key is None else key.encode()
        self._origins = {_origin(origin) for origin in _strings(allowed_origins, "origins")}
        self._hosts = {host.lower() for host in _strings(allowed_hosts, "hosts")}

    def check_connection(self, request: web.BaseRequest) -> None:
        """Refuse other machines where there is no key to tell friend from foe."""
        if self._key is None and not is_loopback(request.get_extra_info("sockname")):
            raise RefusedError(
                403,
                "This endpoint has no API key, so it answers only on a loopback address: "
                "set api_key",
            )

    def check_host(self, request: web.BaseRequest) -> None:
        """Refuse names that a foreign page may have pointed at this machine."""
        hosts = request.headers.getall("Host", [])
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            raise RefusedError(400, "Host: expected one header with a host and a port")
        if "*" in self._hosts or match[1].lower() in self._hosts | {"localhost"}:
            return
        # A plain address cannot be rebound: only names are looked up.
        if not is_address(match[1].strip("[]")):
            raise RefusedError(
                403, "Host is not allowed: add it to allowed_hosts (serve --allow-host)"
            )

    def check_origin(self, request: web.BaseRequest) -> None:
        """Refuse the pages of foreign sites."""
        if not self.allows_origin(request):
            raise RefusedError(
                403, "Origin is not allowed: add it to allowed_origins (serve --allow-origin)"
            )

    def allows_origin(self, request: web.BaseRequest) -> bool:
        """Say whether the page that calls, if one does, is ours or an allowed one."""
        origins = request.headers.getall("Origin", [])
        return all(self._allows(origin.lower(), request) for origin in origins)

    def _allows(self, origin: str, request: web.BaseRequest) -> bool:
        host = request.headers.get("Host", "").lower()
        if origin in (f"http://{host}", f"https://{host}") or origin in self._origins:
            return True
        # Of anything else only what can be sent back in a header.
        return "*" in self._origins and (origin == "null" or bool(_ORIGIN.fullmatch(origin)))

    def check_key(self, key: str) -> None:
        """Compare in constant time, so that the answer's delay tells nothing."""
        if self._key is not None and not hmac.compare_digest(self._key, key.encode()):
            raise RefusedError(401, "Incorrect API key provided" if key else "API key is missing")


_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9.:\[\]_-]+")


def _strings(values: Iterable[str], what: str) -> list[str]:
    if isinstance(values, str):
        raise ValueError(f"allowed_{what} must be a list of strings: write [{values!r}]")
    return list(values)


def _origin(text: str) -> str:
    origin = text.lower().rstrip("/")
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise ValueError(
            f"allowed_origins has {text!r}, which is no origin: write it like https://example.com"
        )
    return origin


def is_address(text: str) -> bool:
    """Say whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=64)  # asked at every request, of the few addresses of this machine
def is_loopback(sockname: Any) -> bool:
    """Say whether a socket's own address is of this machine alone (a Unix socket is)."""
    if isinstance(sockname, str | bytes):
        return True
    if sockname is None:  # the connection is gone, and nobody reads the answer
        return False
    address = ipaddress.ip_address(sockname[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
