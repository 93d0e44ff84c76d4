"""Sync calls from a function that was registered to run at the interpreter's exit."""

import atexit
import sys

url, answer = sys.argv[1:3]


def call() -> None:
    """A call, a stream, and one that is left in the middle, to a number and to a name."""
    for host in ("127.0.0.1", "localhost"):
        model = ChatAI365VIP(base_url=url.replace("127.0.0.1", host))
        for _ in range(2):
            assert model.invoke("x").text == answer
        assert "".join(chunk.text for chunk in model.stream("x")) == answer
        next(model.stream("x"))
        model.close()


# The last registered is the first to run: this one after the package's own end.
atexit.register(call)

from langchain_ai365vip import ChatAI365VIP  # noqa: E402 - registered before it on purpose

# And this one before it.
atexit.register(call)
