"""Streams left in the middle, and loops closed by hand without a word to their generators."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator

from langchain_core.messages import AIMessageChunk

from langchain_ai365vip import ChatAI365VIP

model = ChatAI365VIP(base_url=sys.argv[1])
kept: list[AsyncIterator[AIMessageChunk]] = []


async def leave_early(*, keep: bool) -> None:
    """Read one chunk; drop the stream, or keep it beyond the end of its loop."""
    stream = model.astream("x")
    async for _ in stream:
        break
    if keep:
        kept.append(stream)


for keep in (False, True):
    asyncio.run(leave_early(keep=keep))

    # Neither shutdown_asyncgens() nor shutdown_default_executor().
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_early(keep=keep))
    loop.close()

    stream = model.stream("x")
    next(stream)
    if not keep:
        del stream
    gc.collect()

# The last sync stream is still open when the interpreter ends.
kept.clear()
gc.collect()
