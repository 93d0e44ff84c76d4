"""The command `ai365vip`: its commands, what they say to people, and how they end.

It uses the package as its users do, through public names. `app` has the commands and their
options, `target` the options that several share, which say where to ask; `endpoints` opens what
they name. Each command's work is in the module of its name (`conversation`, with `prompt` to type
at and `markdown` to draw answers, is what `chat` does without a question). `exits` are the exit
codes, `ending` and `failures` what becomes of an error, `terminal` how lines are written. Without
the extra `cli`, `main` says in one line what to install.
"""

from __future__ import annotations

import importlib
import signal
import sys

from langchain_ai365vip._version import installing
from langchain_ai365vip.cli.exits import Exit, ending_signals

_EXTRA = ("typer", "rich", "prompt_toolkit")
_MISSING = f"The command line is an extra of the package: {installing('cli')}\n"


def main() -> None:
    """Run the command with the arguments of this process, and exit with its code."""
    _end_by_signals()
    try:
        for module in _EXTRA:
            importlib.import_module(module)
    except ImportError:
        sys.stderr.write(_MISSING)
        sys.exit(1)
    try:
        from langchain_ai365vip.cli.app import run

        run()
    except (KeyboardInterrupt, SystemExit) as end:  # the former before a command had begun
        if isinstance(end, SystemExit) and end.code != Exit.INTERRUPTED:
            raise
        # One more Ctrl-C while the interpreter ends would end it otherwise.
        for each in (signal.SIGINT, *ending_signals()):
            signal.signal(each, signal.SIG_IGN)
        sys.exit(Exit.INTERRUPTED)


def _end_by_signals() -> None:
    """Let signals end the process as Ctrl-C does.

    Left alone, they do not end a process 1, as a container's command is.
    """

    def end(*_: object) -> None:
        sys.exit(Exit.INTERRUPTED)

    for each in ending_signals():
        signal.signal(each, end)
