"""Chat models without a wire: what core costs alone, and what a server is built around."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from tests.benchmarks.load import TOKENS, Load, find_load


class FixedChunksModel(BaseChatModel):
    """Yields `count` chunks at once, the last one marked as last."""

    count: int

    @property
    def _llm_type(self) -> str:
        return "fixed-chunks"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError  # abstract in core; only astream is measured

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for index in range(self.count - 1):
            message = AIMessageChunk(content=TOKENS[index % len(TOKENS)])
            yield ChatGenerationChunk(message=message)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for index in range(self.count - 1):
            message = AIMessageChunk(content=TOKENS[index % len(TOKENS)])
            yield ChatGenerationChunk(message=message)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))


class PacedModel(BaseChatModel):
    """Yields the tokens that its last message asks for, at their pace."""

    @property
    def _llm_type(self) -> str:
        return "paced"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError  # abstract in core; only astream is measured

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        load = find_load(str(messages[-1].content).encode()) or Load()
        async for text in paced_tokens(load):
            yield ChatGenerationChunk(message=AIMessageChunk(content=text))


async def paced_tokens(load: Load) -> AsyncIterator[str]:
    """Yield the tokens of one reply at their pace."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for index in range(load.tokens):
        wait = started + index * load.every - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        yield TOKENS[index % len(TOKENS)]


def fixed_chunks_model(count: int) -> FixedChunksModel:
    """Return a model whose replies have `count` chunks."""
    return FixedChunksModel(count=count)
