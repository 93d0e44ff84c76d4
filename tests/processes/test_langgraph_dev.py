"""`langgraph dev` serves graphs that ask this model; its blocking check has nothing to say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

from tests.agent_kit import CALL, RESULT, Request, asked
from tests.endpoint import Endpoint, in_turn
from tests.ports import free_port
from tests.processes import dev_graphs

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[2]
GRAPHS = ["asking", "asking_sync", "agent", "blocking"]
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}

# The server would count its users, look for newer versions, and trace.
ALONE = {
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
    "LANGSMITH_TRACING": "false",
}
# What else it might try ends here, and in the log.
NO_WAY_OUT = """
import sys

def stay(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in ("127.0.0.1", "::1", "localhost"):
        print("LEFT THIS MACHINE:", host, file=sys.stderr, flush=True)
        raise PermissionError(host)

sys.addaudithook(stay)
"""


class DevServer:
    """A running `langgraph dev`: its client, and what it has logged."""

    def __init__(self, home: Path, endpoint: Endpoint) -> None:
        self._home, self._log = home, home / "log"
        graphs = {name: f"{dev_graphs.__file__}:{name}" for name in GRAPHS}
        config = {"dependencies": ["."], "disable_persistence": True, "graphs": graphs}
        (home / "langgraph.json").write_text(json.dumps(config))
        (home / "sitecustomize.py").write_text(NO_WAY_OUT)
        self.url = f"http://127.0.0.1:{free_port()}"
        self._environment = {
            **ALONE,
            "AI365VIP_BASE_URL": endpoint.base_url,
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{home}{os.pathsep}{ROOT}",
        }

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def start(self) -> None:
        port = self.url.rpartition(":")[2]
        command = ["langgraph_cli", "dev", "--no-browser", "--no-reload", "--port", port]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self._home,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + 300
        while not self._is_up():
            assert time.monotonic() < end, self.log()
            time.sleep(0.05)

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self.log()
        try:
            with urllib.request.urlopen(f"{self.url}/ok", timeout=60) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> str:
        """End it; return all that it has logged."""
        self._process.terminate()
        self._process.wait(timeout=60)
        return self.log()


@pytest.fixture
def dev(endpoint: Endpoint, tmp_path: Path) -> Iterator[DevServer]:
    server = DevServer(tmp_path, endpoint)
    try:
        server.start()
        yield server
    finally:
        assert "LEFT THIS MACHINE" not in server.stop()


@asynccontextmanager
async def running(dev: DevServer, graph: str, thread: str | None = None) -> AsyncIterator[Any]:
    """Run a graph on "Hi" through the server's HTTP interface, as its front ends do."""
    async with get_client(url=dev.url) as client:
        thread = thread or (await client.threads.create())["thread_id"]
        yield client.runs.stream(thread, graph, input=HI, stream_mode="messages-tuple")


async def texts_of(run: Any) -> list[str]:
    """The texts of the messages in a stream that has no error in it."""
    parts = [part async for part in run]
    assert {part.event for part in parts} == {"metadata", "messages"}
    return [part.data[0]["content"] for part in parts if part.event == "messages"]


@pytest.mark.parametrize("graph", ["asking", "asking_sync"])
async def test_a_node_streams_through_the_server_as_the_text_arrives(
    paced: Endpoint, dev: DevServer, graph: str
) -> None:
    paced.release()
    seen = []
    async with running(dev, graph) as run:
        async for part in run:
            if part.event == "messages":
                seen.append(part.data[0]["content"])
                paced.release()
    assert seen == ["Hello", " there", "!", ""]
    assert asked(paced) == [Request([("user", "Hi")])]
    log = dev.stop()
    assert "Background run succeeded" in log
    assert "Blocking" not in log


async def test_a_thread_of_the_server_is_sent_as_turns(endpoint: Endpoint, dev: DevServer) -> None:
    async with get_client(url=dev.url) as client:
        thread = (await client.threads.create())["thread_id"]
    for _ in range(2):
        async with running(dev, "asking", thread) as run:
            assert "".join(await texts_of(run)) == "Hello there!"
    turns = [("user", "Hi"), ("assistant", "Hello there!"), ("user", "Hi")]
    assert asked(endpoint) == [Request(turns[:1]), Request(turns)]
    assert "Blocking" not in dev.stop()


async def test_an_agent_calls_its_tool_on_the_server(endpoint: Endpoint, dev: DevServer) -> None:
    endpoint.pieces = in_turn([CALL], ["It is", " sunny."])
    async with running(dev, "agent") as run:
        texts = await texts_of(run)
    result, *said = filter(None, texts)
    # In as many pieces as the network makes of it.
    assert (result, "".join(said)) == ("Sunny in Paris.", "It is sunny.")
    turns = [("user", "Hi"), ("assistant", CALL), ("user", RESULT)]
    assert asked(endpoint) == [
        Request(asked_so_far, ["weather"], prompt="Be brief.")
        for asked_so_far in (turns[:1], turns)
    ]
    assert "Blocking" not in dev.stop()


async def test_a_node_that_blocks_is_refused_so_the_check_is_on(
    endpoint: Endpoint, dev: DevServer
) -> None:
    async with running(dev, "blocking") as run:
        parts = [part async for part in run]
    assert (parts[-1].event, parts[-1].data["error"]) == ("error", "BlockingError")
    assert "Blocking call to time.sleep" in dev.stop()
    assert endpoint.requests == 0
