"""What a client asks of the token server, and how it is written into the request."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Six characters each, plain prose.
WORDS = (
    "lorem ipsum dolor amet, elit, magna nulla velit minim justo neque purus risus porta "
    "metus felis "
)
TOKEN_SIZE = 6
TOKENS = tuple(WORDS[at : at + TOKEN_SIZE] for at in range(0, len(WORDS), TOKEN_SIZE))

_DIRECTIVE = re.compile(rb"tokens=(\d+) every=([0-9.]+)")


@dataclass(frozen=True)
class Load:
    """The replies of one measurement.

    Attributes:
        streams: Replies read at the same time.
        tokens: Tokens in each reply.
        every: Seconds between two tokens of a reply.
    """

    streams: int = 1
    tokens: int = 200
    every: float = 0.01

    @property
    def prompt(self) -> str:
        """The user message that makes the server send this reply."""
        return f"tokens={self.tokens} every={self.every:.6f}"


def find_load(body: bytes) -> Load | None:
    """Return the load that a request body asks for, whatever its JSON looks like."""
    match = _DIRECTIVE.search(body)
    return Load(1, int(match[1]), float(match[2])) if match else None
