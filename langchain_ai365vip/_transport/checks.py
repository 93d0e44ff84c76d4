"""What a user sets of a request, checked before one is made: addresses and headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from yarl import URL

from langchain_ai365vip._wire.facts import CHAT_PATH

SOCKS: Final = frozenset({"socks4", "socks4a", "socks5", "socks5h"})
_HTTP: Final = frozenset({"http", "https"})
_PROXIES: Final = SOCKS | _HTTP
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
_NOT_IN_A_HEADER = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
# They say where the body ends, which only who writes it knows.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers that HTTP cannot carry, before a request is made with them.

    Raises:
        ValueError: There is such a header. The message does not repeat its value.
    """
    problem = next(filter(None, map(_problem_with_header, headers.items())), None)
    if problem is not None:
        raise ValueError(f"headers: {problem}")


def _problem_with_header(header: tuple[object, object]) -> str | None:
    name, value = header
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        return f"{name!r} is no name of a header, which has letters, digits and hyphens"
    if not isinstance(value, str) or _NOT_IN_A_HEADER.search(value):
        return f"the value of {name!r} must be text without line ends and control characters"
    if name.lower() in _FRAMING:
        return f"leave out {name!r}, which follows from the body"
    return None


def check_base_url(value: str, name: str = "base_url") -> str:
    """Return the root of a server without trailing slashes.

    Raises:
        ValueError: It is not such an address, or holds credentials. The message does not
            repeat it.
    """
    value = value.strip().rstrip("/")
    problem = _problem_with_base_url(_parsed(value))
    if problem is not None:
        raise ValueError(f"{name} must {problem}")
    return value


def _problem_with_base_url(url: URL) -> str | None:
    if url.scheme not in _HTTP or not url.host:
        return (
            "be an http:// or https:// address, such as http://localhost:3000; left out it is "
            "the public site"
        )
    if url.user is not None or url.password is not None:
        return (
            "hold no user or password, they would show in logs; pass api_key, or an "
            "Authorization header in default_headers"
        )
    if url.query_string or url.fragment:
        return "hold no query and no fragment: leave out what follows ? or #"
    if url.path.endswith(CHAT_PATH):
        return f"be the root of the server: leave out {CHAT_PATH}, which is appended to it"
    return None


def check_proxy(value: str | None, name: str = "proxy") -> str | None:
    """Return a proxy's address; blank means none.

    Raises:
        ValueError: It is no such address. The message does not repeat it.
    """
    value = (value or "").strip()
    if not value:
        return None
    problem = _problem_with_proxy(_parsed(value))
    if problem is not None:
        raise ValueError(f"{name} must {problem}")
    return value


def _problem_with_proxy(url: URL) -> str | None:
    if url.scheme not in _PROXIES:
        return (
            "be an http://, https://, socks4:// or socks5:// address, such as http://localhost:8080"
        )
    return None if url.host else "name a host, as in http://localhost:8080"


def _parsed(value: str) -> URL:
    """Return a URL, an empty one for what cannot be read as one."""
    try:
        return URL(value)
    except ValueError:
        return URL()
