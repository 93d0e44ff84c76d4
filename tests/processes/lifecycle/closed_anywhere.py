"""Loops that are closed where asyncio's own close() has nothing to say against it."""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable

import uvloop

from langchain_ai365vip import ChatAI365VIP

model = ChatAI365VIP(base_url=sys.argv[1])
answer = sys.argv[2]
new_loops: list[Callable[[], asyncio.AbstractEventLoop]] = [
    asyncio.new_event_loop,
    uvloop.new_event_loop,
]


async def ask() -> None:
    """One call, one stream left in the middle."""
    assert (await model.ainvoke("x")).text == answer
    async for _ in model.astream("x"):
        break


def used(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> asyncio.AbstractEventLoop:
    """A loop with an open connection."""
    loop = new_loop()
    loop.run_until_complete(ask())
    return loop


async def close_inside_another(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Close a loop that was used in another thread."""
    loops = []
    thread = threading.Thread(target=lambda: loops.append(used(new_loop)))
    thread.start()
    thread.join()
    loops[0].close()
    assert loops[0].is_closed()


for new_loop in new_loops:
    asyncio.run(close_inside_another(new_loop))

    loop = used(new_loop)
    loop.stop()
    loop.close()
    assert loop.is_closed()

    # Stopped again by what is still to be done.
    loop = used(new_loop)
    for _ in range(3):
        loop.call_soon(loop.stop)
    loop.stop()
    loop.close()
    assert loop.is_closed()

    gc.collect()
