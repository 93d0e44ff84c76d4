"""What ends a command becomes a message and an exit code.

A module of its own, because it is there from the start: `failures`, which knows LangChain's errors
and pydantic's, is imported only when there is one, so that `--help` comes at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from langchain_ai365vip.cli.exits import Exit
from langchain_ai365vip.cli.terminal import is_terminal, note


@contextmanager
def ending(*, debug: bool) -> Iterator[None]:
    """Run a command: whatever ends it becomes one readable message and an exit code.

    Args:
        debug: Show tracebacks, too.

    Raises:
        SystemExit: The command did not end well.
    """
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
