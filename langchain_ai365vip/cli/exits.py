"""How a command ends: exit codes, and what they mean. Imports nothing heavy, for `--help`."""

from __future__ import annotations

import enum
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from langchain_ai365vip.cli.terminal import is_terminal, note


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


@contextmanager
def ending(*, debug: bool) -> Iterator[None]:
    """Run a command: whatever ends it becomes one readable message and an exit code."""
    try:
        yield
    except KeyboardInterrupt as exc:
        if is_terminal(sys.stderr):
            note("")  # the terminal's own ^C stands on this line
        if exc.args:
            note(str(exc))
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        raise  # the reader of the output went away: typer ends quietly with 1
    except Exception as exc:
        from langchain_ai365vip.cli.failures import exit_code, report

        report(exc, debug=debug)
        sys.exit(exit_code(exc))
