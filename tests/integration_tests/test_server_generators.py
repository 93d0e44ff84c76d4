"""A plain generator function as the model: what people write first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.server import LocalServer


def test_a_generator_function_streams_and_is_closed_when_the_client_leaves() -> None:
    go_on, closed = threading.Event(), threading.Event()

    def model(conversations: Iterator[Any]) -> Iterator[str]:
        for conversation in conversations:
            try:
                yield "You said: "
                go_on.wait(30)
                yield conversation[-1].text
                yield from ("again " for _ in range(100_000))
            finally:
                closed.set()

    with LocalServer(model) as server:
        chunks = ChatAI365VIP(base_url=server.base_url).stream("Hi")
        assert next(chunks).text == "You said: "
        go_on.set()
        assert next(chunks).text.startswith("Hi")
        chunks.close()  # type: ignore[attr-defined]  # core's is a generator
        assert closed.wait(30)
