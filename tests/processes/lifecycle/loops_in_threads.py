"""One model, several loops in several threads, and sync calls among them."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from langchain_ai365vip import ChatAI365VIP

model = ChatAI365VIP(base_url=sys.argv[1])
answer = sys.argv[2]
# All six threads are in their loops at the same time.
together = threading.Barrier(6)


async def several() -> None:
    """Call it a few times at once."""
    together.wait(30)
    for _ in range(3):
        messages = await asyncio.gather(*(model.ainvoke("x") for _ in range(5)))
        assert {message.text for message in messages} == {answer}


def run(_: int) -> None:
    """A loop of this thread's own, twice, with sync calls between."""
    asyncio.run(several())
    assert model.invoke("x").text == answer
    asyncio.run(several())


with ThreadPoolExecutor(6) as pool:
    list(pool.map(run, range(6)))
