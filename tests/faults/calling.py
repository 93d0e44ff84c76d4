"""The four ways of calling a chat model, seen through one function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

from langchain_core.language_models import BaseChatModel

from tests.names import looked_up_as, not_found

PROMPT = "Tell me about it."


class Result(NamedTuple):
    """What a call gave: the text that the caller saw, and the exception that ended it."""

    text: str
    error: BaseException | None


def _invoke(model: BaseChatModel, seen: list[str]) -> None:
    seen.append(model.invoke(PROMPT).text)


def _ainvoke(model: BaseChatModel, seen: list[str]) -> None:
    async def call() -> None:
        seen.append((await model.ainvoke(PROMPT)).text)

    asyncio.run(call())


def _stream(model: BaseChatModel, seen: list[str]) -> None:
    seen.extend(chunk.text for chunk in model.stream(PROMPT))


def _astream(model: BaseChatModel, seen: list[str]) -> None:
    async def call() -> None:
        async for chunk in model.astream(PROMPT):
            seen.append(chunk.text)  # noqa: PERF401  # what came before a failure counts

    asyncio.run(call())


WAYS: Mapping[str, Callable[[BaseChatModel, list[str]], None]] = {
    "invoke": _invoke,
    "ainvoke": _ainvoke,
    "stream": _stream,
    "astream": _astream,
}


def call(model: BaseChatModel, way: str) -> Result:
    """Ask the model one question in the given way."""
    seen: list[str] = []
    try:
        WAYS[way](model, seen)
    except Exception as error:  # the error is the result
        return Result("".join(seen), error)
    return Result("".join(seen), None)


def no_such_name() -> AbstractContextManager[None]:
    """Let names under `.invalid` fail to resolve at once, without asking a name server."""

    def meant(name: str | None) -> str | None:
        if name and name.endswith(".invalid"):
            not_found()
        return name

    return looked_up_as(meant)
