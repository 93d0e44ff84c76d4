"""The parts of the README that are generated: `python -m tests.generated` writes them anew.

A part stands between `<!-- generated: NAME -->` and `<!-- /generated -->`; a test compares it
with what its function here returns.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from langchain_ai365vip import errors

README: Final = Path(__file__).parent.parent / "README.md"
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def _error_tree() -> str:
    """Return the tree as `errors` draws it in its docstring."""
    tree = (errors.__doc__ or "").split("```")[1].strip("\n")
    return f"```text\n{tree}\n```\n"


# What the console script does, wherever that was installed.
_SCRIPT: Final = "import sys, langchain_ai365vip.cli as c; sys.argv[0] = 'ai365vip'; c.main()"


@functools.cache
def _help(*command: str) -> str:
    """Return what the command line says about itself, on a terminal of 80 columns."""
    shown = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *command, "--help"],
        env={**os.environ, "COLUMNS": "80", "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = (line.rstrip() for line in shown.strip("\n").splitlines())
    return "\n".join(["```text", f"$ ai365vip {' '.join([*command, '--help'])}", *lines, "```", ""])


def _commands() -> str:
    names = re.findall(r"^  (\w+)  ", _help().partition("Commands:")[2], re.MULTILINE)
    return "\n".join(_help(name) for name in names)


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "help": _help,
    "commands": _commands,
    "errors": _error_tree,
}


def renewed(document: str) -> str:
    """Return the document with every generated part as it should be.

    Args:
        document: The document's text.

    Raises:
        KeyError: It names a part that nothing here generates.
    """
    return _PART.sub(lambda match: match[1] + PARTS[match[2]]() + match[3], document)


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
