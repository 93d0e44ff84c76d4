"""Loops, threads, forks and copies: nothing is left behind, no connection is opened in vain."""

from __future__ import annotations

import asyncio
import copy
import pickle
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from blockbuster import blockbuster_ctx

from langchain_ai365vip import ChatAI365VIP
from tests.faults.cases import ANSWER, answer
from tests.faults.server import FaultServer

_SLOW_MACHINE = re.compile(r"^Executing <.* took [\d.]+ seconds\n", re.MULTILINE)
SCRIPTS = sorted((Path(__file__).parent / "lifecycle").glob("*.py"))


@pytest.mark.processes
@pytest.mark.parametrize("script", SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_a_script_ends_well_and_prints_nothing(script: Path) -> None:
    with FaultServer(answer) as server:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", script, server.url, ANSWER],
            capture_output=True,
            text=True,
            timeout=600,
        )
    # asyncio's debug mode, a part of -X dev, complains of a slow machine, too.
    said = _SLOW_MACHINE.sub("", done.stderr)
    assert (done.stdout, said, done.returncode) == ("", "", 0)


async def _ask(model: ChatAI365VIP) -> None:
    for _ in range(100):
        assert (await model.ainvoke("x")).text == ANSWER


def _in_a_loop(model: ChatAI365VIP) -> None:
    asyncio.run(_ask(model))


def _on_uvloop(model: ChatAI365VIP) -> None:
    uvloop.run(_ask(model))


def _streaming(model: ChatAI365VIP) -> None:
    for _ in range(100):
        assert "".join(chunk.text for chunk in model.stream("x")) == ANSWER


def _sync(model: ChatAI365VIP) -> None:
    for _ in range(100):
        assert model.invoke("x").text == ANSWER


def _from_threads(model: ChatAI365VIP) -> None:
    for _ in range(100):
        thread = threading.Thread(target=model.invoke, args=("x",))
        thread.start()
        thread.join()


def _with_other_keys_and_headers(model: ChatAI365VIP) -> None:
    for number in range(100):
        other = model.model_copy(update={"api_key": None, "temperature": number / 100})
        assert other.invoke("x").text == ANSWER


@pytest.mark.parametrize(
    "calls",
    [_in_a_loop, _on_uvloop, _sync, _streaming, _from_threads, _with_other_keys_and_headers],
)
def test_a_hundred_calls_in_a_row_use_one_connection(calls: Callable[[ChatAI365VIP], None]) -> None:
    with FaultServer(answer) as server:
        calls(ChatAI365VIP(base_url=server.url))
        assert (server.requests, len(server.connections)) == (100, 1)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_a_copy_of_a_model_that_was_used_works(
    copied: Callable[[ChatAI365VIP], ChatAI365VIP],
) -> None:
    with FaultServer(answer) as server:
        model = ChatAI365VIP(
            base_url=server.url, api_key="sk-1", default_headers={"X-Tag": "tag"}, timeout=30
        )
        model.invoke("x")
        other = copied(model)
        assert other == model
        assert other.invoke("x").text == ANSWER
        assert asyncio.run(other.ainvoke("x")).text == ANSWER
        assert [exchange.json()["key"] for exchange in server.exchanges] == ["sk-1"] * 3
        assert all("X-Tag: tag" in exchange.request_head for exchange in server.exchanges)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
def test_a_model_with_a_tls_context_says_why_it_cannot_be_copied(
    copied: Callable[[ChatAI365VIP], Any],
) -> None:
    model = ChatAI365VIP(ssl_context=ssl.create_default_context())
    with pytest.raises(TypeError, match="ca_bundle"):
        copied(model)


async def test_nothing_blocks_the_loop() -> None:
    with FaultServer(answer) as server, blockbuster_ctx():
        model = ChatAI365VIP(base_url=server.url, model="gpt-4o", token_limit=8_000)
        assert (await model.ainvoke("x")).text == ANSWER
        assert "".join([chunk.text async for chunk in model.astream("x")]) == ANSWER
        async with model:
            await asyncio.gather(*(model.ainvoke("x") for _ in range(10)))


async def test_max_connections_caps_what_is_open_at_a_time() -> None:
    with FaultServer(answer) as server:
        model = ChatAI365VIP(base_url=server.url, max_connections=3)
        await asyncio.gather(*(model.ainvoke("x") for _ in range(30)))
        assert (server.requests, len(server.connections)) == (30, 3)
