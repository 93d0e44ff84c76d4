"""`ai365vip check`: make the real requests, and say in plain words what is wrong."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Final, cast

from langchain_ai365vip import AvailableModel, ChatAI365VIP
from langchain_ai365vip.cli.exits import MEANINGS, Exit
from langchain_ai365vip.cli.failures import exit_code, message
from langchain_ai365vip.cli.terminal import say
from langchain_ai365vip.errors import AI365VIPError

_QUESTION: Final = "Say OK."
_SHOWN: Final = 60


def check(model: ChatAI365VIP) -> Exit:
    """Ask an endpoint for its models and for an answer, and report on both.

    Returns:
        The exit code: `Exit.OK` when an answer came.
    """
    say(f"endpoint  {model.base_url}")
    listed, code = _check_models(model)
    if code is not Exit.NOT_REACHED:  # else nor would the other request get there
        code = _check_chat(model, listed)
    say(f"result    {'ok' if code is Exit.OK else MEANINGS[code]}")
    return code


def _check_models(model: ChatAI365VIP) -> tuple[list[AvailableModel], Exit]:
    try:
        listed = model.list_models()
    except AI365VIPError as exc:
        say(f"models    failed: {message(exc)}")
        return [], exit_code(exc)
    names = ", ".join(each.id for each in listed)
    say(f"models    {len(listed)}: {names}" if listed else "models    none listed")
    return listed, Exit.OK


def _check_chat(model: ChatAI365VIP, listed: list[AvailableModel]) -> Exit:
    started = time.perf_counter()
    first, parts = 0.0, []
    try:
        with contextlib.closing(cast(Any, model.stream(_QUESTION))) as stream:
            for chunk in stream:
                if chunk.text:
                    first = first or time.perf_counter() - started
                    parts.append(chunk.text)
    except AI365VIPError as exc:
        say(f"chat      failed: {message(exc)}")
        # Only now: many endpoints answer to ids that they do not list.
        if listed and model.model not in {each.id for each in listed}:
            say(f"note      {model.model!r} is not among the models; --model chooses another")
        return exit_code(exc)
    text = " ".join("".join(parts).split())
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    say(f"chat      {model.model} answered after {first:.2f} s: {shown!r}")
    return Exit.OK
