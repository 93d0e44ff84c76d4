"""Secrets inside a pickle: there, because the copy must work, but in no readable form.

This is no encryption: whoever can load the pickle has the secrets. It keeps them out of what
shows a pickle's bytes by accident: logs, caches on disk, a search over files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr


class Sealed:
    """A secret, masked with random bytes."""

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
