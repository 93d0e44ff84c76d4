"""The lines for nginx in the endpoint's README put it behind a web front end's address."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableLambda

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.errors import AI365VIPConnectionError
from langchain_ai365vip.server import LocalServer
from tests.documents import blocks
from tests.generated import ENDPOINT
from tests.ports import free_port

pytestmark = pytest.mark.heavy

FRONT_END = "the front end's own page"
# A front end on one port, with the README's lines in it.
CONFIG = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 "{front_end}"; }}
{lines}
    }}
}}
"""


class Paced:
    """A model that says its next piece when it is told to, and notes that it was stopped."""

    def __init__(self) -> None:
        self.go = asyncio.Semaphore(0)
        self.loop: asyncio.AbstractEventLoop
        self.stopped = asyncio.Event()

    async def answer(self, messages: list[BaseMessage]) -> AsyncIterator[str]:
        self.loop = asyncio.get_running_loop()
        try:
            for piece in ("one", "two", "three"):
                yield piece
                await self.go.acquire()
            if messages[-1].text == "Fail":
                raise RuntimeError("out of ideas")
        except asyncio.CancelledError:
            self.stopped.set()
            raise

    def release(self) -> None:
        """Let one piece go."""
        self.loop.call_soon_threadsafe(self.go.release)


def _wait_for(port: int) -> None:
    for _ in range(1200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nginx does not listen")


@pytest.fixture
def model() -> Paced:
    return Paced()


@pytest.fixture
def site(model: Paced, tmp_path: Path) -> Iterator[str]:
    nginx = shutil.which("nginx")
    assert nginx is not None, "nginx is missing: apt-get install nginx"
    lines = next(b.code for b in blocks(ENDPOINT.read_text("utf-8")) if b.language == "nginx")
    port = free_port()
    with LocalServer(RunnableLambda(model.answer)) as server:
        config = tmp_path / "nginx.conf"
        lines = lines.replace("http://127.0.0.1:8000", server.base_url)
        config.write_text(
            CONFIG.format(folder=tmp_path, port=port, lines=lines, front_end=FRONT_END)
        )
        process = subprocess.Popen([nginx, "-c", str(config), "-p", str(tmp_path)])
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


async def test_a_reply_streams_through_and_the_front_end_keeps_its_pages(
    site: str, model: Paced
) -> None:
    seen, texts = "", ["one", "onetwo", "onetwothree"]
    async for chunk in ChatAI365VIP(base_url=site).astream("Count."):
        seen += chunk.text
        # The next piece is not made before this one was seen.
        if texts and seen == texts[0]:
            texts.pop(0)
            model.release()
    async with ClientSession() as session, session.get(f"{site}/en") as page:
        assert await page.text() == FRONT_END

    assert (seen, texts) == ("onetwothree", [])


async def test_a_model_that_breaks_off_is_seen_behind_nginx_too(site: str, model: Paced) -> None:
    model.go = asyncio.Semaphore(3)
    with pytest.raises(AI365VIPConnectionError) as raised:
        await ChatAI365VIP(base_url=site).ainvoke("Fail")

    assert raised.value.partial_text == "onetwothree"


async def test_a_client_that_leaves_stops_the_model(site: str, model: Paced) -> None:
    async for _ in ChatAI365VIP(base_url=site).astream("Count."):
        break

    stopped = asyncio.run_coroutine_threadsafe(model.stopped.wait(), model.loop)
    assert await asyncio.wait_for(asyncio.wrap_future(stopped), 30)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        pytest.param("{site}", 200, id="the front end's own"),
        pytest.param("https://evil.example", 403, id="a foreign one"),
    ],
)
async def test_only_the_front_ends_own_pages_may_call(site: str, origin: str, status: int) -> None:
    headers = {"Origin": origin.format(site=site)}
    models = f"{site}/api/models"
    async with (
        ClientSession(headers=headers) as session,
        session.post(models, json={"key": ""}) as answer,
    ):
        assert answer.status == status
