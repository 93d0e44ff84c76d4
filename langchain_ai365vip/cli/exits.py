"""The exit codes of every command, and what they mean."""

from __future__ import annotations

import enum
import signal
from typing import Final


class Exit(enum.IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_REACHED = 3
    REFUSED = 4
    INTERRUPTED = 130


MEANINGS: Final[dict[Exit, str]] = {
    Exit.OK: "all went well",
    Exit.FAILED: "it failed; the message says why",
    Exit.USAGE: "wrong options or arguments",
    Exit.NOT_REACHED: "the endpoint was not reached, broke off, or took too long",
    Exit.REFUSED: "the endpoint refused: the key, the model, the request, or its number",
    Exit.INTERRUPTED: "ended by Ctrl-C, SIGTERM or SIGHUP",
}


def ending_signals() -> list[signal.Signals]:
    """Return what ends a command besides Ctrl-C, but for what it was told to ignore."""
    found = [each for each in signal.Signals if each.name in ("SIGTERM", "SIGHUP")]
    return [each for each in found if signal.getsignal(each) is not signal.SIG_IGN]
