"""A host with a name is looked up in a thread; at the exit no thread can be started any more.

Python 3.12.0 and 3.12.1 refuse one then, all others this script.
"""

import atexit
import sys
import threading

from langchain_ai365vip import ChatAI365VIP

url, answer = sys.argv[1:]


def refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't create new thread at interpreter shutdown")


def at_exit() -> None:
    threading.Thread.start = refuse  # type: ignore[method-assign,assignment] # as that Python does


model = ChatAI365VIP(base_url=url.replace("127.0.0.1", "localhost"))
assert model.invoke("x").text == answer
# Exit functions run in the reverse order of their registration.
atexit.register(at_exit)
