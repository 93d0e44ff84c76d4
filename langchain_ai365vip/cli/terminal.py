"""Lines for people: answers go to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Final, TextIO

# Escape sequences of a server's or a model's text must not reach a terminal.
_MARKS: Final = {
    **{code: 0x2400 + code for code in range(0x20)},
    **dict.fromkeys(range(0x7F, 0xA0), 0xFFFD),
}
_MARKS_IN_TEXT: Final = {code: mark for code, mark in _MARKS.items() if chr(code) not in "\n\t"}
# A pipe's reader may be a terminal, too, but takes "\r\n" for the line end that it is.
_MARKS_IN_PIPE: Final = {code: mark for code, mark in _MARKS_IN_TEXT.items() if chr(code) != "\r"}


def visible(text: str, *, piped: bool = False) -> str:
    """Show control characters as what they are; tabs and line ends stay."""
    return text.translate(_MARKS_IN_PIPE if piped else _MARKS_IN_TEXT)


def visible_field(text: str) -> str:
    """Show tabs and line ends, too: for what is one part of a line."""
    return text.translate(_MARKS)


def is_terminal(stream: TextIO | None) -> bool:
    """Say whether a person is at the other end; a closed stream is `None`."""
    return stream is not None and stream.isatty()


def output() -> TextIO:
    """Return standard output.

    Raises:
        OSError: It was closed before this process began.
    """
    if sys.stdout is None:
        raise OSError(
            "Standard output is closed, and the answer has nowhere to go: redirect it to a file, "
            "or to /dev/null."
        )
    return sys.stdout


@contextlib.contextmanager
def typing_unseen() -> Iterator[None]:
    """Keep a terminal from showing what is typed, Ctrl-C as `^C`, in the midst of a drawing."""
    with contextlib.suppress(ImportError):  # there is none on Windows
        import termios
    try:
        keyboard = sys.stdin.fileno()
        in_front = os.tcgetpgrp(keyboard) == os.getpgrp()  # another process may not change it
    except (AttributeError, OSError, ValueError):
        in_front = False  # no terminal
    if not in_front:
        yield
        return
    before = termios.tcgetattr(keyboard)
    # Nor does Ctrl-C drop what is on its way to the screen.
    local = before[3] & ~termios.ECHO | termios.NOFLSH
    termios.tcsetattr(keyboard, termios.TCSANOW, [*before[:3], local, *before[4:]])
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)


def say(*fields: str) -> None:
    """Write a line to standard output, its fields parted by tabs."""
    out = output()
    out.write("\t".join(map(visible_field, fields)) + "\n")
    out.flush()


def say_json(value: Any) -> None:
    """Write a value to standard output as JSON, in ASCII, so that any encoding carries it."""
    out = output()
    out.write(json.dumps(value) + "\n")
    out.flush()


def note(text: str) -> None:
    """Write a line to standard error, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"{visible(text)}\n")
        sys.stderr.flush()


def warnings_as_notes() -> None:
    """Show the package's warnings without file names and source lines."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        note(f"Note: {message}")

    warnings.simplefilter("ignore")
    warnings.simplefilter("default", UserWarning)
    warnings.showwarning = show
