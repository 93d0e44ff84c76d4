"""How a command ends: exit codes, and what they mean. Imports nothing heavy, for `--help`."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

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
        # The interpreter flushes standard output at its exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.BROKEN_PIPE)
    except Exception as exc:
        from langchain_ai365vip._cli.failures import exit_code, report

        report(exc, debug=debug)
        sys.exit(exit_code(exc))
