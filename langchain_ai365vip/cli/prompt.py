"""Where a person types: lines, pasted texts, and what was typed before."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output

from langchain_ai365vip.cli.terminal import is_terminal, note

_QUOTES: Final = '"""'
# A message, or what a command is given.
_QUOTED: Final = re.compile(rf"\s*(/\w+\s+)?{_QUOTES}")
_keys = KeyBindings()


@_keys.add("enter", filter=has_focus(DEFAULT_BUFFER))
def _send(event: KeyPressEvent) -> None:
    buffer = event.current_buffer
    if _QUOTED.match(buffer.text) and buffer.text.count(_QUOTES) % 2:
        buffer.newline(copy_margin=False)
    else:
        buffer.validate_and_handle()


@_keys.add("escape", "enter", filter=has_focus(DEFAULT_BUFFER))
def _break_line(event: KeyPressEvent) -> None:
    event.current_buffer.newline(copy_margin=False)


def keys() -> KeyBindings:
    """Return what keys do: Enter sends, Alt-Enter breaks the line, as Enter does within quotes."""
    return _keys


def message_of(typed: str) -> str:
    '''Return what was meant: the text between `"""` and `"""`, or all of it.'''
    text = typed.strip()
    quoted = len(text) >= 6 and text.count(_QUOTES) == 2
    if quoted and text.startswith(_QUOTES) and text.endswith(_QUOTES):
        return text[3:-3].strip("\n")
    return typed.strip("\n")


def session(*, history: bool) -> PromptSession[str]:
    """Return the prompt of a conversation.

    Args:
        history: Whether the arrow keys find what was typed in earlier sessions.
    """
    # The prompt does not belong among answers that go to a file.
    elsewhere = None if is_terminal(sys.stdout) else create_output(stdout=sys.stderr)
    return PromptSession(
        "> ",
        multiline=True,
        prompt_continuation="  ",
        key_bindings=keys(),
        enable_suspend=True,
        history=_kept() if history else InMemoryHistory(),
        output=elsewhere,
    )


def _kept() -> History:
    path = _state() / "history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError as exc:
        note(f"[what is typed is not kept for the next time: {path}: {exc.strerror}]")
        return InMemoryHistory()
    return FileHistory(path)


def _state() -> Path:
    """Return the folder for what a user's programs keep (XDG Base Directory)."""
    named = os.environ.get("XDG_STATE_HOME", "")
    base = Path(named) if os.path.isabs(named) else Path("~/.local/state").expanduser()
    return base / "ai365vip"
