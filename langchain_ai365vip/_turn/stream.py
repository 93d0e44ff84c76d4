"""A call's one stream: its turn, driven over the replies of the wire, as LangChain's chunks.

All that waits in this room waits here; `Turn` decides, and does not know from where its texts
come. Everything else (whole messages, sync calls) folds this stream.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.rate_limiters import BaseRateLimiter

from langchain_ai365vip._turn.chunks import ChunkWriter
from langchain_ai365vip._turn.rules import Rules
from langchain_ai365vip._turn.turn import Turn
from langchain_ai365vip._wire.tokens import Count
from langchain_ai365vip.errors import AI365VIPError

# Characters from which on tokens are counted in a thread.
_LONG: Final = 50_000


class OpenReply(Protocol):
    """A reply on the wire, as `_transport` reads it."""

    async def read(self) -> str:
        """Return the next text; an empty one at the end."""

    def close(self) -> None:
        """Stop reading: its connection is closed unless the reply was read to its end."""


@dataclass(frozen=True, slots=True)
class Run:
    """One call, ready to be made.

    Attributes:
        model: The model's id, as metadata name it.
        payload: The body of the first request.
        rules: What its reply may and must be.
        open: Sends a body, and returns once a reply has begun.
        counter: Returns what counts the model's tokens.
        estimate_usage: Whether the last chunk says what the call took.
    """

    model: str
    payload: Mapping[str, Any]
    rules: Rules
    open: Callable[[Mapping[str, Any]], Awaitable[OpenReply]]
    counter: Callable[[], Awaitable[Count]]
    estimate_usage: bool = False

    async def chunks(self) -> AsyncGenerator[ChatGenerationChunk, None]:
        """Make the call, and yield its chunks as they come.

        Raises:
            AI365VIPError: A request failed, or the model did not give what it had to.
        """
        count = None if self.rules.max_tokens is None else await self.counter()
        turn = Turn(self.payload, self.rules, count)
        writer = ChunkWriter(turn, self.rules)
        while turn.request is not None:
            try:
                with contextlib.closing(await self.open(turn.request)) as reply:
                    while not turn.is_full and (text := await reply.read()):
                        chunks = writer.feed(text)
                        if turn.is_full:
                            # Before the caller gets the last text, who may take time over it.
                            reply.close()
                        for chunk in chunks:
                            yield chunk
                chunks = writer.end()
            except AI365VIPError as error:
                chunks = writer.fail(error)
            for chunk in chunks:
                yield chunk
        usage = await self._usage(turn) if self.estimate_usage else None
        yield writer.last(self.model, usage)

    async def _usage(self, turn: Turn) -> UsageMetadata:
        count = await self.counter()
        size = sum(exchange.size for exchange in turn.exchanges)
        # Exact counting takes about 0.2 s per megabyte (measured): not on the loop.
        return turn.usage(count) if size < _LONG else await asyncio.to_thread(turn.usage, count)


async def announcing(
    chunks: AsyncGenerator[ChatGenerationChunk, None], run_manager: AsyncCallbackManagerForLLMRun
) -> AsyncGenerator[ChatGenerationChunk, None]:
    """Yield chunks, each after the callbacks have heard of it."""
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


def admission(limiter: BaseRateLimiter | None) -> Callable[[], Awaitable[None]] | None:
    """Return what lets the requests of a call through; for the first, core has asked already."""
    if limiter is None:
        return None
    further = False

    async def admit() -> None:
        nonlocal further
        if further:
            await limiter.aacquire(blocking=True)
        further = True

    return admit
