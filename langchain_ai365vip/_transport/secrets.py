"""Secrets out of texts that repeat them: in their plain, their JSON and their URL spelling."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

_REDACTED: Final = "[redacted]"
# Texts shorter than this are no secrets: taking out every "1" of a header's value would leave
# messages unreadable.
_SHORTEST: Final = 6


class Redactor:
    """The secrets of a request, taken out of texts.

    Args:
        key: The key.
        headers: The caller's own headers.
        login: User and password of the proxy.
    """

    def __init__(
        self, key: str, headers: Mapping[str, str], login: tuple[str | None, str | None]
    ) -> None:
        # Most requests succeed: nothing is worked out before it is needed.
        self._key = key
        self._headers = headers
        self._login = login

    def __call__(self, text: str) -> str:
        """Return the text without the secrets."""
        for spelling in self._spellings():
            text = text.replace(spelling, _REDACTED)
        return text

    def end(self, text: str) -> str:
        """Return a text that was cut somewhere without a secret's beginning at its end."""
        text = text.rstrip("\N{REPLACEMENT CHARACTER}")  # the first bytes of a character
        longest = max((_common(text, each) for each in self._spellings()), default=0)
        return text[: len(text) - longest]

    def _spellings(self) -> list[str]:
        """Return what to look for, the longest first: one may be a part of another."""
        user, password = self._login
        found = {self._key, password or "", *_basic(user, password)}
        for name, value in self._headers.items():
            found.update(_in_header(name, value))
        secrets = {each.strip() for each in found if len(each.strip()) >= _SHORTEST}
        return sorted({spelt for each in secrets for spelt in _spellings(each)}, key=len)[::-1]


def _in_header(name: str, value: str) -> Iterator[str]:
    """Yield a header's secrets: all of it, and what follows a scheme or a cookie's name."""
    yield value
    scheme, _, credentials = value.strip().partition(" ")
    if "authorization" in name.lower() or scheme.lower() in ("bearer", "basic", "token"):
        yield credentials
        if scheme.lower() == "basic":
            yield from _decoded_login(credentials)
    if name.lower() == "cookie":
        for cookie in value.split(";"):
            yield cookie.partition("=")[2]


def _decoded_login(credentials: str) -> Iterator[str]:
    try:
        login = base64.b64decode(credentials).decode()
    except ValueError:
        return
    yield login
    yield login.partition(":")[2]


def _basic(user: str | None, password: str | None) -> Iterator[str]:
    """Yield what stands in Proxy-Authorization."""
    if password is not None:
        yield base64.b64encode(f"{user or ''}:{password}".encode("utf-8", "replace")).decode()


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    for as_json in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield as_json
        yield as_json.replace("/", "\\/")  # as PHP writes it
    # As Python writes a path and a parameter, and as JavaScript's encodeURIComponent does.
    for safe in ("/", "", "!'()*"):
        yield quote(secret, safe, errors="replace")
    yield quote_plus(secret, errors="replace")


def _common(text: str, secret: str) -> int:
    """Return how many characters at the end of a text are the beginning of a secret."""
    longest = min(len(text), len(secret))
    return next((n for n in range(longest, 0, -1) if text.endswith(secret[:n])), 0)
