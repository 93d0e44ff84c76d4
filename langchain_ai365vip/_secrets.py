"""Secrets: out of texts that repeat them, however they are spelt; unreadable in a pickle."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from html import unescape
from typing import Any, Final
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

_REDACTED: Final = "[redacted]"
# Texts shorter than this are no secrets: taking out every "1" of a header's value would leave
# messages unreadable.
_SHORTEST: Final = 6

# How JSON, URLs, HTML and Python's bytes may spell a character; backslashes count as nothing.
_ESCAPE = re.compile(
    r"((?:\\x[0-9a-fA-F]{2})+|(?:%[0-9a-fA-F]{2})+)"
    r"|\\+(?:u([0-9a-fA-F]{4}))?"
    r"|&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,6});"
)
_CUT_ESCAPE = re.compile(r"(?:\\(?:u[0-9a-fA-F]{0,3}|x[0-9a-fA-F]?)?|%[0-9a-fA-F]?|&#?\w{0,7})$")
_LONGEST_ESCAPE: Final = 10


class Redactor:
    """The secrets of a request, taken out of texts; it does not show them itself.

    Args:
        key: The key.
        headers: The caller's own headers.
        login: User and password of the proxy.
    """

    __slots__ = ("_headers", "_key", "_login")

    def __init__(
        self, key: str, headers: Mapping[str, str], login: tuple[str | None, str | None]
    ) -> None:
        # Most requests succeed: nothing is worked out before it is needed.
        self._key = key
        self._headers = headers
        self._login = login

    def __call__(self, text: str) -> str:
        """Return the text without the secrets."""
        secrets = self._secrets()
        # The longest first: one may be a part of another.
        for spelling in sorted({s for each in secrets for s in _spellings(each)}, key=len)[::-1]:
            text = text.replace(spelling, _REDACTED)
        return _without_spans(text, _escaped_spans(text, secrets))

    def end(self, text: str) -> str:
        """Return a text that was cut somewhere without a secret's beginning at its end."""
        text = text.rstrip("\N{REPLACEMENT CHARACTER}")  # the first bytes of a character
        tail = max(0, len(text) - _LONGEST_ESCAPE)
        if found := _CUT_ESCAPE.search(text, tail):
            text = text[: found.start()]
        plain, places = _unescaped(text)
        beginnings = (_common(plain, _unescaped(each)[0]) for each in self._secrets())
        return text[: places[len(plain) - max(beginnings, default=0)]]

    def _secrets(self) -> list[str]:
        user, password = self._login
        found = {self._key, password or "", *_login(user, password)}
        for name, value in self._headers.items():
            found.update(_in_header(name, value))
        return [each for each in {each.strip() for each in found} if len(each) >= _SHORTEST]


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


def _login(user: str | None, password: str | None) -> Iterator[str]:
    """Yield what stands in Proxy-Authorization."""
    if password is not None:
        yield base64.b64encode(f"{user or ''}:{password}".encode("utf-8", "replace")).decode()


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="", errors="replace")
    yield quote_plus(secret, errors="replace")
    yield json.dumps(secret)[1:-1]


def _unescaped(text: str) -> tuple[str, list[int]]:
    """Return the text without escapes, and where each character of it begins, and the end."""
    pieces: list[str] = []
    places: list[int] = []
    end = 0
    for found in _ESCAPE.finditer(text):
        pieces.append(text[end : found.start()])
        places.extend(range(end, found.start()))
        pieces.append(meant := _meant(found))
        places.extend([found.start()] * len(meant))
        end = found.end()
    pieces.append(text[end:])
    return "".join(pieces), [*places, *range(end, len(text) + 1)]


def _meant(escape: re.Match[str]) -> str:
    encoded, code = escape.groups()
    if encoded:
        digits = encoded.replace("\\x", "").replace("%", "")
        return bytes.fromhex(digits).decode("utf-8", "replace")
    if code:
        return chr(int(code, 16))
    return unescape(escape[0]) if escape[0].startswith("&") else ""


def _escaped_spans(text: str, secrets: Iterable[str]) -> list[tuple[int, int]]:
    """Find where secrets stand in a text in other spellings."""
    if not any(sign in text for sign in "\\%&"):
        return []
    plain, places = _unescaped(text)
    spans = []
    for secret in {_unescaped(each)[0] for each in secrets}:
        at = plain.find(secret) if len(secret) >= _SHORTEST else -1
        while at >= 0:
            spans.append((places[at], places[at + len(secret)]))
            at = plain.find(secret, at + len(secret))
    return sorted(spans)


def _without_spans(text: str, spans: Iterable[tuple[int, int]]) -> str:
    pieces = []
    end = 0
    for start, stop in spans:
        if start >= end:
            pieces += [text[end:start], _REDACTED]
        end = max(end, stop)
    return "".join([*pieces, text[end:]])


def _common(text: str, secret: str) -> int:
    """Return how many characters at the end of a text are the beginning of a secret."""
    longest = min(len(text), len(secret))
    return next((n for n in range(longest, 0, -1) if text.endswith(secret[:n])), 0)


class Sealed:
    """A secret in a pickle, masked with random bytes: there, because the copy must work.

    This is no encryption: whoever can load the pickle has the secret. It keeps it out of what
    shows a pickle's bytes by accident: logs, caches on disk, a search over files.
    """

    def __init__(self, secret: SecretStr) -> None:
        plain = secret.get_secret_value().encode("utf-8", "surrogatepass")
        self._mask = os.urandom(len(plain))
        self._masked = _xor(plain, self._mask)

    def open(self) -> SecretStr:
        """Return the secret."""
        return SecretStr(_xor(self._masked, self._mask).decode("utf-8", "surrogatepass"))


def seal(value: Any) -> Any:
    """Return a value with each secret in it sealed; a mapping of secrets as well."""
    if isinstance(value, SecretStr):
        return Sealed(value)
    if isinstance(value, Mapping) and any(isinstance(each, SecretStr) for each in value.values()):
        return {key: seal(each) for key, each in value.items()}
    return value


def unseal(value: Any) -> Any:
    """Undo `seal`."""
    if isinstance(value, Sealed):
        return value.open()
    if isinstance(value, Mapping) and any(isinstance(each, Sealed) for each in value.values()):
        return {key: unseal(each) for key, each in value.items()}
    return value


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
