"""What went wrong in a command: its exit code, and one sentence in the words of a terminal."""

from __future__ import annotations

import logging
import re
import socket
import traceback
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from langchain_ai365vip import errors
from langchain_ai365vip._cli.exits import Exit
from langchain_ai365vip._cli.terminal import note

# What our own code raises about settings.
_OURS: Final = (errors.AI365VIPError, ImportError)

# What messages call a setting in Python, and what it is here; a plain word only in quotes.
_OPTIONS: Final = {
    **{f"`{name}`": f"--{name}" for name in ("model", "proxy", "timeout", "temperature")},
    **{name: f"--{name.replace('_', '-')}" for name in ("base_url", "api_key", "ca_bundle")},
    "max_tokens": "--max-tokens",
    "system_prompt": "--system",
    "gguf_path": "--gguf",
    "allowed_origins": "--allow-origin",
    "allowed_hosts": "--allow-host",
    'host="127.0.0.1"': "--host 127.0.0.1",
    "port=0": "--port 0",
    "list_models()": "`ai365vip models`",
    "the error's partial_text": "the output",
    # There is no option for these.
    "the messages and extra_body": "the messages",
    "api_key, or an Authorization header in default_headers": "--api-key",
}
_NAMES: Final = re.compile(
    rf"(?<![\w/.-])(?:{'|'.join(map(re.escape, sorted(_OPTIONS, reverse=True)))})(?!\w)"
)


def in_options(text: str, theirs: str = "") -> str:
    """Name settings as the command line does, but for names in the words of others."""
    return _NAMES.sub(lambda name: name[0] if name[0] in theirs else _OPTIONS[name[0]], text)


def log_in_options(record: logging.LogRecord) -> bool:
    """Be a filter that does the same with what is logged, such as a retry."""
    record.msg, record.args = in_options(record.getMessage()), None
    return True


class UserError(Exception):
    """Wrong options or arguments, found by a command itself."""


class UnknownHostError(errors.AI365VIPConnectionError):
    """Nothing was reached because the host has no address."""


def refined(error: errors.AI365VIPError, base_url: str) -> errors.AI365VIPError:
    """Tell an unknown host from one that is down; other errors stay as they are."""
    if type(error) is not errors.AI365VIPConnectionError:
        return error
    try:
        socket.getaddrinfo(urlsplit(base_url).hostname, None)
    except (OSError, UnicodeError):
        return UnknownHostError(error.message)
    return error


# The first match counts, so subclasses come before their base.
_BY_ERROR: Final[tuple[tuple[type[Exception], Exit], ...]] = (
    (errors.AI365VIPChallengeError, Exit.CHALLENGE),
    (errors.AI365VIPAuthenticationError, Exit.KEY),
    (errors.AI365VIPPermissionDeniedError, Exit.KEY),
    (errors.AI365VIPTLSError, Exit.TLS),
    (errors.AI365VIPProxyError, Exit.PROXY),
    (UnknownHostError, Exit.NAME),
    (errors.AI365VIPConnectionError, Exit.REFUSED),
    (errors.AI365VIPTimeoutError, Exit.TIMEOUT),
    (errors.AI365VIPNotFoundError, Exit.NOT_FOUND),
    (errors.AI365VIPResponseError, Exit.NO_REPLY),
    (errors.AI365VIPRateLimitError, Exit.LIMIT),
    (errors.AI365VIPAPIError, Exit.SERVER),
    (errors.AI365VIPInvalidRequestError, Exit.REQUEST),
    (errors.AI365VIPContextOverflowError, Exit.REQUEST),
    (ValidationError, Exit.USAGE),
    (FileNotFoundError, Exit.USAGE),
    (UserError, Exit.USAGE),
)


def exit_code(error: Exception) -> Exit:
    """Say with which code a command ends that met this error."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.FAILED)


def _problem(detail: ErrorDetails) -> str:
    setting = ".".join(map(str, detail["loc"]))
    text = detail["msg"].removeprefix("Value error, ")
    said = text.removeprefix(setting) if text.startswith(setting) else f": {text}"
    return f"Wrong setting: {in_options(f'`{setting}`').strip('`')}{in_options(said)}"


def message(error: Exception) -> str:
    """Put an error into words for somebody who typed a command."""
    if isinstance(error, ValidationError):
        return "; ".join(_problem(each) for each in error.errors())
    if isinstance(error, OSError) and error.filename:
        why = in_options(str(error.strerror))
        return f"{str(error.filename)!r}: {why}. Check the path, and who may use it."
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, _OURS) and str(error):
        theirs = (getattr(error, name, "") for name in ("reason", "body"))
        return in_options(str(error), "".join(each or "" for each in theirs))
    if isinstance(error, OSError | ValueError) and str(error):
        # Of bulk work: names of files and ids stay as they are.
        return str(error).replace("retry the failed rows", "add --retry-failed")
    return (
        f"Something unexpected happened, {type(error).__name__}: {error} (--debug shows where; "
        "please report it)"
    )


def report(error: Exception, *, debug: bool) -> None:
    """Write to standard error what happened: one message, or everything with `debug`."""
    if debug:
        note("".join(traceback.format_exception(error)).rstrip("\n"))
    note(f"ai365vip: {message(error)}")
