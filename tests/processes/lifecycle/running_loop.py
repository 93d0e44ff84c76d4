"""Sync calls inside a running loop, as in a notebook's cell."""

import asyncio
import sys

from langchain_ai365vip import ChatAI365VIP

model = ChatAI365VIP(base_url=sys.argv[1])
answer = sys.argv[2]


async def cell() -> None:
    """What a notebook's user writes, without a thought for the loop underneath."""
    assert model.invoke("x").text == answer
    assert "".join(chunk.text for chunk in model.stream("x")) == answer
    assert (await model.ainvoke("x")).text == answer
    for _ in model.stream("x"):
        break
    assert [message.text for message in model.batch(["x"] * 5)] == [answer] * 5


asyncio.run(cell())
asyncio.run(cell())
