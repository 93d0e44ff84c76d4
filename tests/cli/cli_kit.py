"""A command run in this process: its exit code and what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from langchain_ai365vip.cli.app import command


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
