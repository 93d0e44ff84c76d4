"""The four ways of calling a chat model, seen through one function."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel

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


@contextmanager
def no_such_name() -> Iterator[None]:
    """Let names under `.invalid` fail to resolve at once, without asking a name server."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
    try:
        yield
    finally:
        socket.getaddrinfo = real
