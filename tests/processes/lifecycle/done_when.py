"""Three asyncio.run, a thread pool, a fork, an early break and a last collection."""

import asyncio
import gc
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

from langchain_ai365vip import ChatAI365VIP

# Python 3.12 says so of any process with threads; the child is what is tested here.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

model = ChatAI365VIP(base_url=sys.argv[1])
answer = sys.argv[2]

for _ in range(3):
    assert asyncio.run(model.ainvoke("x")).text == answer

with ThreadPoolExecutor(4) as pool:
    assert {message.text for message in pool.map(model.invoke, ["x"] * 8)} == {answer}

if (pid := os.fork()) == 0:
    assert model.invoke("x").text == answer
    assert asyncio.run(model.ainvoke("x")).text == answer
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
assert model.invoke("x").text == answer

for _chunk in model.stream("x"):
    break


async def leave_early() -> None:
    """Break out of a stream and leave it to the loop's end."""
    async for _ in model.astream("x"):
        break


asyncio.run(leave_early())
gc.collect()
