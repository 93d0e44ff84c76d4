"""Compressed replies: the content codings that are asked for, undone as the bytes arrive.

aiohttp can do this by itself, but takes a gzip body that was cut for a whole one.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol


def _installed(*modules: str) -> Any:
    for name in modules:
        with suppress(ImportError):
            return importlib.import_module(name)
    return None


brotli: Final = _installed("brotli", "brotlicffi")


class CodingError(ValueError):
    """The bytes are not what their Content-Encoding says."""


class Coding(Protocol):
    """What undoes one content coding."""

    def feed(self, data: bytes) -> bytes:
        """Return what can be said now; raises `CodingError`."""

    def is_whole(self) -> bool:
        """Say whether the bytes so far are a whole body."""


class _Zlib:
    """gzip and deflate; a body may consist of several members."""

    def __init__(self, wbits: int | None) -> None:
        self._wbits = wbits
        self._member: Any = None

    def feed(self, data: bytes) -> bytes:
        parts = []
        while data:
            if self._member is None or self._member.eof:
                self._member = zlib.decompressobj(self._wbits or _deflate_wbits(data))
            try:
                parts.append(self._member.decompress(data))
            except zlib.error as exc:
                raise CodingError(str(exc)) from None
            data = self._member.unused_data
        return b"".join(parts)

    def is_whole(self) -> bool:
        return self._member is None or self._member.eof


def _deflate_wbits(data: bytes) -> int:
    # "deflate" means zlib's format, but some servers send the bare one; zlib's first byte
    # has an 8 in its low half.
    return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS


class _Brotli:
    def __init__(self) -> None:
        self._decompressor = brotli.Decompressor()
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        self._begun = True
        try:
            text: bytes = self._decompressor.process(data)
        except brotli.error as exc:
            raise CodingError(str(exc) or "not brotli") from None
        return text

    def is_whole(self) -> bool:
        return not self._begun or bool(self._decompressor.is_finished())


class _Unknown:
    def __init__(self, name: str) -> None:
        self._name = name

    def feed(self, data: bytes) -> bytes:
        raise CodingError(f"{self._name!r} was not asked for, only {ACCEPT_ENCODING}")

    def is_whole(self) -> bool:
        return True


_CODINGS: Final[Mapping[str, Callable[[], Coding]]] = {
    "gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "deflate": lambda: _Zlib(None),
    **({} if brotli is None else {"br": _Brotli}),
}

ACCEPT_ENCODING: Final = ", ".join(_CODINGS)


def coding_of(content_encoding: str | None) -> Coding | None:
    """Return what undoes a Content-Encoding; `None` when there is nothing to undo."""
    name = (content_encoding or "identity").strip().lower().removeprefix("x-")
    if name in ("identity", ""):
        return None
    make = _CODINGS.get(name)
    return make() if make else _Unknown(name)
