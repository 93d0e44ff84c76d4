"""What a client asks of the token server, and how it is written into the request."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

# Six characters each, plain prose, no newline: a reader by lines waits for the whole reply.
WORDS = (
    "lorem ipsum dolor amet, elit, magna nulla velit minim justo neque purus risus porta "
    "metus felis "
)
TOKEN_SIZE = 6
TOKENS = tuple(WORDS[at : at + TOKEN_SIZE] for at in range(0, len(WORDS), TOKEN_SIZE))

_DIRECTIVE = re.compile(rb"tokens=(\d+) every=([0-9.]+) width=(\d+) hold=([01])")


@dataclass(frozen=True)
class Load:
    """The replies of one measurement.

    Attributes:
        streams: Replies read at the same time.
        tokens: Tokens in each reply.
        every: Seconds between two tokens of a reply; 0 sends as fast as it goes.
        width: Tokens joined into one piece, to make long replies of fewer pieces.
        hold: Whether the server waits for its `/release` before the first byte.
    """

    streams: int = 1
    tokens: int = 200
    every: float = 0.0
    width: int = 1
    hold: bool = False

    @property
    def prompt(self) -> str:
        """The user message that makes the server send this reply."""
        return (
            f"tokens={self.tokens} every={self.every:.6f} width={self.width} hold={int(self.hold)}"
        )

    @property
    def reply_size(self) -> int:
        """Characters in one reply."""
        return self.tokens * self.width * TOKEN_SIZE

    def as_dict(self) -> dict[str, Any]:
        """Fields for a JSON line, the reverse of `Load(**fields)`."""
        return asdict(self)


def find_load(body: bytes) -> Load | None:
    """Return the load that a request body asks for, whatever its JSON looks like."""
    match = _DIRECTIVE.search(body)
    if match is None:
        return None
    tokens, every, width, hold = match.groups()
    return Load(1, int(tokens), float(every), int(width), hold == b"1")


def pieces(width: int) -> tuple[str, ...]:
    """Return the texts that a reply cycles through."""
    return tuple(
        "".join(TOKENS[(start + step) % len(TOKENS)] for step in range(width))
        for start in range(len(TOKENS))
    )
