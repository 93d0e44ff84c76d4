"""A command run in this process: its exit code and what it wrote; and a conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from prompt_toolkit import PromptSession
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.cli.app import command
from langchain_ai365vip.cli.conversation import Conversation
from langchain_ai365vip.cli.prompt import keys
from tests.endpoint import Endpoint


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command with its arguments."""

    def run(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            command(arguments)
        return Ran(int(ended.value.code or 0), *capsys.readouterr())

    return run


def converse(endpoint: Endpoint, *typed: str) -> None:
    """Type into a conversation, and end it with Ctrl-D."""
    with create_pipe_input() as keyboard:
        keyboard.send_text("".join(typed) + "\x04")
        session: PromptSession[str] = PromptSession(
            input=keyboard, output=DummyOutput(), multiline=True, key_bindings=keys()
        )
        model = ChatAI365VIP(base_url=endpoint.base_url, max_retries=0)
        Conversation(model, session, debug=False).run()
