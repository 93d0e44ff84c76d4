"""Forks in every state: before, during and after calls; every way a child can end."""

import asyncio
import multiprocessing
import os
import sys
import warnings

from langchain_ai365vip import ChatAI365VIP

warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

model = ChatAI365VIP(base_url=sys.argv[1])
answer = sys.argv[2]


def check(_: object = None) -> None:
    """Call it in every way."""
    assert model.invoke("x").text == answer
    assert "".join(chunk.text for chunk in model.stream("x")) == answer
    assert asyncio.run(model.ainvoke("x")).text == answer


def fork_and_check(*, hard: bool) -> None:
    """Fork; the child checks and ends by `sys.exit` or, hard, by `os._exit`."""
    if (pid := os.fork()) == 0:
        check()
        if hard:
            os._exit(0)
        sys.exit()
    assert os.waitpid(pid, 0)[1] == 0


fork_and_check(hard=True)
check()
fork_and_check(hard=True)
fork_and_check(hard=False)
check()

# In the middle of a sync stream, which goes on in the parent.
stream = model.stream("x")
text = next(stream).text
fork_and_check(hard=True)
assert text + "".join(chunk.text for chunk in stream) == answer


async def fork_in_a_loop() -> None:
    """With connections of the running loop open, which the child inherits."""
    assert (await model.ainvoke("x")).text == answer
    if (pid := os.fork()) == 0:
        assert model.invoke("x").text == answer
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0  # noqa: ASYNC222  # there is nothing else to do
    assert (await model.ainvoke("x")).text == answer


asyncio.run(fork_in_a_loop())

with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(check, range(4))
    pool.close()
    pool.join()
check()
