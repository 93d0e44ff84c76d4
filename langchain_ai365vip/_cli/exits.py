"""How a command ends: exit codes, and the one sentence that says why."""

from __future__ import annotations

import enum
import os
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from langchain_ai365vip import errors
from langchain_ai365vip._cli.terminal import is_terminal, note


class Exit(enum.IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NAME = 10
    REFUSED = 11
    TLS = 12
    TIMEOUT = 13
    PROXY = 14
    CHALLENGE = 15
    NOT_FOUND = 16
    KEY = 17
    NO_REPLY = 18
    LIMIT = 19
    SERVER = 20
    REQUEST = 21
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class Meaning(NamedTuple):
    """What an exit code says, in `--help` and in `check`."""

    headline: str
    next_step: str = ""


MEANINGS: Final[dict[Exit, Meaning]] = {
    Exit.OK: Meaning("all went well"),
    Exit.FAILED: Meaning("another failure; the message says which"),
    Exit.USAGE: Meaning("wrong options or arguments"),
    Exit.NAME: Meaning(
        "the host's name is not found",
        "Check the spelling of the host in --base-url (or AI365VIP_BASE_URL), and your DNS.",
    ),
    Exit.REFUSED: Meaning(
        "nothing answers at that address, or the connection broke",
        "Check the port, that the server runs, and that no firewall is in between.",
    ),
    Exit.TLS: Meaning(
        "TLS failed",
        "Check whether the server speaks https at all on this port, the date of this machine "
        "and the server's certificate; a private authority needs --ca-bundle.",
    ),
    Exit.TIMEOUT: Meaning(
        "the server did not answer in time",
        "Try again, or allow more time with --timeout.",
    ),
    Exit.PROXY: Meaning(
        "the proxy failed or refused",
        "Check --proxy, AI365VIP_PROXY and HTTPS_PROXY, user and password included.",
    ),
    Exit.CHALLENGE: Meaning(
        "a challenge page: only browsers are let in",
        "Use an endpoint of your own with --base-url, or try `ai365vip chat --local`.",
    ),
    Exit.NOT_FOUND: Meaning(
        "no such path, or no such model",
        "--base-url must be the root of the server, without /api/chat; `ai365vip models` lists "
        "the models.",
    ),
    Exit.KEY: Meaning(
        "the key is missing, wrong, or not allowed to do this",
        "Set AI365VIP_API_KEY to the endpoint's key.",
    ),
    Exit.NO_REPLY: Meaning(
        "something answers, but not with a chat reply",
        "Check that --base-url is the root of a server that speaks the AI365VIP (Chatbot UI "
        "v1) protocol.",
    ),
    Exit.LIMIT: Meaning(
        "too many requests, or no credit left",
        "Wait, or look at the account behind the key.",
    ),
    Exit.SERVER: Meaning(
        "the server or the model behind it failed",
        "Try again; if it stays, look at the server's own log.",
    ),
    Exit.REQUEST: Meaning(
        "the request was refused: too long, or not allowed",
        "Send something shorter, or something else.",
    ),
    Exit.INTERRUPTED: Meaning("ended by Ctrl-C"),
    Exit.BROKEN_PIPE: Meaning("the reader of the output went away"),
}

# What our own code and the operating system raise with a message meant for the user.
_PLAIN: Final = (errors.AI365VIPError, ImportError, OSError, ValueError)


class UserError(Exception):
    """Wrong options or arguments, found by a command itself."""


class UnknownHostError(errors.AI365VIPConnectionError):
    """Nothing was reached because the host has no address."""


def refined(error: errors.AI365VIPError, base_url: str) -> errors.AI365VIPError:
    """Tell an unknown host from one that is down; other errors stay as they are.

    Args:
        error: What a request raised.
        base_url: Where it went.
    """
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
    (UserError, Exit.USAGE),
)


def exit_code(error: Exception) -> Exit:
    """Say with which code a command ends that met this error."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.FAILED)


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
    except KeyboardInterrupt:
        if is_terminal(sys.stderr):
            note("")  # the terminal's own ^C stands on this line
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The interpreter flushes standard output at its exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.BROKEN_PIPE)
    except Exception as exc:
        report(exc, debug=debug)
        sys.exit(exit_code(exc))


def _problem(detail: ErrorDetails) -> str:
    setting = ".".join(map(str, detail["loc"]))
    text = detail["msg"].removeprefix("Value error, ")
    return f"Wrong setting: {text if text.startswith(setting) else f'{setting}: {text}'}"


def message(error: Exception) -> str:
    """Put an error into words for somebody who typed a command."""
    if isinstance(error, ValidationError):
        return "; ".join(_problem(each) for each in error.errors())
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"There is no file or directory {str(error.filename)!r}: check the path."
    if isinstance(error, (UserError, *_PLAIN)) and str(error):
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
