"""A thousand short-lived loops, after which nothing has grown."""

import asyncio
import gc
import os
import sys
import threading
from collections import Counter

from langchain_ai365vip import ChatAI365VIP

model = ChatAI365VIP(base_url=sys.argv[1])


def count() -> Counter[str]:
    """What a leak would show in: objects by class, descriptors, threads."""
    gc.collect()
    found = Counter(type(each).__qualname__ for each in gc.get_objects())
    found["descriptors"] = len(os.listdir("/proc/self/fd"))
    found["threads"] = threading.active_count()
    return found


def one(number: int) -> None:
    """One loop: by asyncio.run, or closed by hand."""
    if number % 2:
        asyncio.run(model.ainvoke("x"))
        return
    loop = asyncio.new_event_loop()
    loop.run_until_complete(model.ainvoke("x"))
    loop.close()


for number in range(200):
    one(number)
before = count()
for number in range(800):
    one(number)
# A leak would add one a loop; caches of fixed size may still fill up a little.
grown = {name: more for name, more in (count() - before).items() if more > 100}
assert not grown, grown
