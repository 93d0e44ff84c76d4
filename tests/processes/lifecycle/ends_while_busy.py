"""The interpreter ends while a thread is in the middle of a call, and another of a stream."""

import sys
import threading

from langchain_ai365vip import ChatAI365VIP

model = ChatAI365VIP(base_url=sys.argv[1])
begun = threading.Event()


def read() -> None:
    """Hold a stream open for ever."""
    for _ in model.stream("x"):
        begun.set()
        threading.Event().wait()


threading.Thread(target=read, daemon=True).start()
assert begun.wait(30)
