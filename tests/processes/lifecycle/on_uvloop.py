"""uvloop, several times, with a stream that is left in the middle."""

import asyncio
import gc
import sys

import uvloop

from langchain_ai365vip import ChatAI365VIP

model = ChatAI365VIP(base_url=sys.argv[1])
answer = sys.argv[2]


async def main() -> None:
    """Answers whole, and one left early."""
    assert (await model.ainvoke("x")).text == answer
    messages = await asyncio.gather(*(model.ainvoke("x") for _ in range(5)))
    assert {message.text for message in messages} == {answer}
    assert model.invoke("x").text == answer
    async for _ in model.astream("x"):
        break


for _ in range(3):
    uvloop.run(main())
gc.collect()
