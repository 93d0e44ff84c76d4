"""Lines for people: answers go to standard output, everything else to standard error."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def say(text: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def warnings_as_notes() -> None:
    """Show the package's warnings without file names and source lines."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        note(f"Note: {message}")

    warnings.simplefilter("ignore")
    warnings.simplefilter("default", UserWarning)
    warnings.showwarning = show
