"""What went wrong in a command: its exit code, and its message."""

from __future__ import annotations

import traceback
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from langchain_ai365vip import errors
from langchain_ai365vip.cli.exits import Exit
from langchain_ai365vip.cli.terminal import note


class UserError(Exception):
    """Wrong options or arguments, found by a command itself."""


_BY_ERROR: Final[tuple[tuple[type[Exception], Exit], ...]] = (
    (errors.AI365VIPConnectionError, Exit.NOT_REACHED),
    (errors.AI365VIPTimeoutError, Exit.NOT_REACHED),
    (errors.AI365VIPAuthenticationError, Exit.REFUSED),
    (errors.AI365VIPPermissionDeniedError, Exit.REFUSED),
    (errors.AI365VIPNotFoundError, Exit.REFUSED),
    (errors.AI365VIPRateLimitError, Exit.REFUSED),
    (errors.AI365VIPInvalidRequestError, Exit.REFUSED),
    (errors.AI365VIPContextOverflowError, Exit.REFUSED),
    (ValidationError, Exit.USAGE),
    (FileNotFoundError, Exit.USAGE),
    (UserError, Exit.USAGE),
)
# What says by itself what to do.
_PLAIN: Final = (errors.AI365VIPError, UserError, ImportError, OSError, ValueError)


def exit_code(error: Exception) -> Exit:
    """Say with which code a command ends that met this error."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.FAILED)


def _problem(detail: ErrorDetails) -> str:
    setting = ".".join(map(str, detail["loc"]))
    text = detail["msg"].removeprefix("Value error, ")
    return f"Wrong setting: {text if text.startswith(setting) else f'{setting}: {text}'}"


def message(error: Exception) -> str:
    """Put an error into words for somebody who typed a command."""
    if isinstance(error, ValidationError):
        return "; ".join(_problem(each) for each in error.errors())
    if isinstance(error, OSError) and error.filename:
        return f"{str(error.filename)!r}: {error.strerror}. Check the path, and who may use it."
    if isinstance(error, _PLAIN) and str(error):
        return str(error)
    return (
        f"Something unexpected happened, {type(error).__name__}: {error} (--debug shows where; "
        "please report it)"
    )


def report(error: Exception, *, debug: bool) -> None:
    """Write to standard error what happened: one message, or everything with `debug`."""
    if debug:
        note("".join(traceback.format_exception(error)).rstrip("\n"))
    note(f"ai365vip: {message(error)}")
