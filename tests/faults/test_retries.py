"""Retries: how many, after how long, who is told; and stale connections, which cost none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tenacity
from aiohttp.client_proto import ResponseHandler
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage

from langchain_ai365vip import AI365VIP, ChatAI365VIP, errors
from langchain_ai365vip._wire.payload import chat_payload
from tests.faults.calling import PROMPT, WAYS, call
from tests.faults.cases import (
    ANSWER,
    answer,
    close_before_head,
    close_between_chunks,
    replying,
    reset_before_head,
)
from tests.faults.server import PATIENCE, Exchange, FaultServer, Script
from tests.names import looked_up_as
from tests.transport.network_kit import Authority

Model = Callable[..., ChatAI365VIP]

BUSY = replying("503 Service Unavailable")
SILENT_500 = replying("500 Internal Server Error", "Error")
REFUSED = replying("401 Unauthorized")


@pytest.mark.parametrize(
    ("script", "max_retries", "requests"),
    [
        (BUSY, 0, 1),
        (BUSY, 1, 2),
        (BUSY, 5, 6),
        (SILENT_500, 0, 1),
        (SILENT_500, 5, 2),
        (REFUSED, 5, 1),
        (close_before_head, 5, 6),
        (close_between_chunks, 5, 1),
    ],
    ids=[
        "503, none",
        "503, one",
        "503, five",
        "500 without a word, none",
        "500 without a word, once at most",
        "401, never",
        "lost before the head, five",
        "lost after the first text, never",
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_max_retries_counts_retries_of_what_may_succeed_later(
    script: Script, max_retries: int, requests: int, way: str, model: Model
) -> None:
    with FaultServer(script) as server:
        assert call(model(server.url, max_retries=max_retries), way).error is not None
        assert server.requests == requests


@pytest.mark.parametrize(
    ("scripts", "max_retries", "requests", "text"),
    [
        ((BUSY, SILENT_500, answer), 2, 3, ANSWER),
        ((SILENT_500, BUSY, answer), 2, 3, ANSWER),
        ((BUSY, BUSY, SILENT_500, answer), 3, 4, ANSWER),
        ((SILENT_500, answer), 1, 2, ANSWER),
        ((SILENT_500, BUSY, SILENT_500, answer), 5, 3, ""),
        ((BUSY, SILENT_500, SILENT_500, answer), 5, 3, ""),
        ((BUSY, SILENT_500, answer), 1, 2, ""),
    ],
    ids=[
        *("503, 500", "500, 503", "503, 503, 500", "500"),
        *("500, 503, 500", "503, 500, 500", "more than max_retries"),
    ],
)
def test_a_500_without_a_word_is_retried_once_whenever_it_comes(
    scripts: tuple[Script, ...], max_retries: int, requests: int, text: str, model: Model
) -> None:
    with FaultServer(*scripts) as server:
        result = call(model(server.url, max_retries=max_retries), "invoke")
        assert (server.requests, result.text) == (requests, text)
        assert (result.error is None) is bool(text)


def test_a_call_may_set_its_own_number_of_retries(model: Model) -> None:
    with FaultServer(BUSY) as server:
        with pytest.raises(errors.AI365VIPAPIError):
            model(server.url).invoke(PROMPT, max_retries=3)
        assert server.requests == 4


class _SeenEnough(BaseException):
    """Ends a test that has seen what it wants, without the waiting."""


async def _waits(url: str, retries: int) -> list[float]:
    """Return the seconds that would be waited before each of so many retries."""
    waits: list[float] = []

    def on_retry(state: tenacity.RetryCallState) -> None:
        waits.append(state.upcoming_sleep)
        # Tenacity asks its wait function anew each time; only the attempts' number matters.
        if len(waits) == retries or state.upcoming_sleep > 1:
            raise _SeenEnough

    payload = chat_payload(model="gpt-4o", messages=[])
    with pytest.raises(_SeenEnough):
        await AI365VIP(base_url=url, max_retries=9).open(payload, on_retry=on_retry)
    return waits


def _in_an_hour() -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 7", 7.0),
        ("Retry-After: 1.5", 1.5),
        ("Retry-After: 86400", 60.0),
        ("Retry-After: 99999999999999999999", 60.0),
        (f"Retry-After: {_in_an_hour()}", 60.0),
    ],
    ids=["seconds", "fraction", "a day, bounded", "absurd, bounded", "a date, bounded"],
)
async def test_retry_after_is_honoured_within_a_bound(header: str, seconds: float) -> None:
    with FaultServer(replying("429 Too Many Requests", "Error", header)) as server:
        assert await _waits(server.url, 1) == [seconds]


@pytest.mark.parametrize("header", ["Retry-After: soon", "Retry-After: -5", "X-Other: 1"])
async def test_the_backoff_doubles_where_the_server_says_nothing_usable(
    header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        ranges.append((low, high))
        return high / 1000

    monkeypatch.setattr(random, "uniform", uniform)
    with FaultServer(replying("429 Too Many Requests", "Error", header)) as server:
        assert await _waits(server.url, 3) == [0.0005, 0.001, 0.002]
    # Full jitter: anything between nothing and a bound.
    assert list(dict.fromkeys(ranges)) == [(0, 0.5), (0, 1.0), (0, 2.0)]


async def test_the_seconds_in_the_upstreams_message_are_honoured() -> None:
    script = replying("500 Rate limit reached for gpt-4o. Please try again in 1.25s.")
    with FaultServer(script) as server:
        assert await _waits(server.url, 1) == [1.25]


class _Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.heard: list[tuple[int, type[BaseException | None]]] = []

    def on_retry(self, retry_state: tenacity.RetryCallState, **kwargs: Any) -> None:
        assert retry_state.outcome is not None
        error = retry_state.outcome.exception()
        self.heard.append((retry_state.attempt_number, type(error)))


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_callbacks_hear_of_each_retry(way: str, model: Model) -> None:
    listener = _Listener()
    with FaultServer(BUSY, BUSY, answer) as server:
        result = call(model(server.url, callbacks=[listener]), way)
    assert result.text == ANSWER
    assert listener.heard == [(1, errors.AI365VIPAPIError), (2, errors.AI365VIPAPIError)]


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_a_retry_that_no_callback_hears_of_is_logged(
    way: str, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultServer(BUSY, answer) as server, caplog.at_level(logging.WARNING):
        assert call(model(server.url), way).text == ANSWER
    [said] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "Retry 1" in said.getMessage()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stale connection take its time to fail, as on a busy machine."""
    monkeypatch.setattr("langchain_ai365vip._transport.timeouts._STALE_WITHIN", PATIENCE)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("stale", [close_before_head, reset_before_head])
@pytest.mark.parametrize("way", ["ainvoke", "invoke"])
def test_a_stale_connection_costs_no_retry(stale: Script, way: str, model: Model) -> None:
    with FaultServer(answer, stale, answer) as server:
        _two_calls(model(server.url, max_retries=0), way)
        assert (server.requests, len(server.connections)) == (3, 2)


async def test_what_a_server_says_unasked_is_no_answer_to_the_next_request(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, received = asyncio.Event(), ResponseHandler.data_received

    def data_received(self: ResponseHandler, data: bytes) -> None:
        received(self, data)
        if data.endswith(b"smuggled"):
            read.set()

    monkeypatch.setattr(ResponseHandler, "data_received", data_received)

    def answer_and_later_more(x: Exchange) -> None:
        answer(x)
        x.server.released.wait(PATIENCE)
        x.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")
        x.server.stalled.set()

    with FaultServer(answer_and_later_more, answer) as server:
        patient = model(server.url)
        assert (await patient.ainvoke(PROMPT)).text == ANSWER
        server.released.set()
        assert await asyncio.to_thread(server.stalled.wait, PATIENCE)
        await asyncio.wait_for(read.wait(), PATIENCE)  # by the idle connection
        assert (await patient.ainvoke(PROMPT)).text == ANSWER
        assert len(server.connections) == 2


IDLE = 12


def _idle_ones() -> list[Script]:
    """Answer as many requests as there shall be idle connections, each on its own."""
    all_are_open = threading.Barrier(IDLE)

    def together(exchange: Exchange) -> None:
        all_are_open.wait(PATIENCE)
        answer(exchange)

    return [together] * IDLE


async def _all_open(model: ChatAI365VIP) -> None:
    await asyncio.gather(*(model.ainvoke(PROMPT) for _ in range(IDLE)))


@pytest.mark.usefixtures("unhurried")
async def test_several_stale_connections_cost_no_retry(model: Model) -> None:
    with FaultServer(*_idle_ones(), close_before_head, answer) as server:
        patient = model(server.url, max_retries=0)
        await _all_open(patient)
        assert (await patient.ainvoke(PROMPT)).text == ANSWER
        assert (server.requests, len(server.connections)) == (IDLE + 2, IDLE + 1)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("way", ["alone", "two at once", "TLS", "proxy", "list_models"])
@pytest.mark.parametrize("lost", [close_before_head, reset_before_head])
@pytest.mark.parametrize("max_retries", [0, 2])
async def test_a_request_that_every_connection_loses_is_sent_once_more_than_max_retries_say(
    way: str, lost: Script, max_retries: int, model: Model, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    tls = authority.server("127.0.0.1") if way == "TLS" else None
    with FaultServer(*_idle_ones(), lost, tls=tls) as server:
        fields: dict[str, Any] = {"max_retries": max_retries}
        if way == "TLS":
            fields["ca_bundle"] = authority.bundle
        if way == "proxy":
            fields |= {"base_url": "http://models.test", "proxy": server.url}
        patient = model(**{"url": server.url, **fields})
        await _all_open(patient)
        ask = patient.alist_models if way == "list_models" else partial(patient.ainvoke, PROMPT)
        calls = [ask() for _ in range(2 if way == "two at once" else 1)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(type(each) is errors.AI365VIPConnectionError for each in outcomes)
        assert server.requests == IDLE + len(calls) * (max_retries + 2)
        # All but the first time on new ones.
        assert len(server.connections) == IDLE + len(calls) * (max_retries + 1)


@pytest.mark.usefixtures("unhurried")
async def test_a_retry_that_meets_a_stale_connection_is_repeated_once(model: Model) -> None:
    busy = replying("503 Service Unavailable", "Error", "Retry-After: 0")
    with FaultServer(*_idle_ones(), busy, close_before_head) as server:
        patient = model(server.url, max_retries=2)
        await _all_open(patient)
        with pytest.raises(errors.AI365VIPConnectionError):
            await patient.ainvoke(PROMPT)
        assert server.requests == IDLE + 4


def test_a_kept_alive_connection_that_is_lost_in_the_midst_of_the_work_costs_a_retry(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langchain_ai365vip._transport.timeouts._STALE_WITHIN", 0.1)

    def works_and_fails(exchange: Exchange) -> None:
        time.sleep(0.11)  # longer than a stale connection takes to fail
        close_before_head(exchange)

    with FaultServer(answer, works_and_fails, answer) as server:
        once = model(server.url, max_retries=0)
        assert once.invoke(PROMPT).text == ANSWER
        with pytest.raises(errors.AI365VIPConnectionError):
            once.invoke(PROMPT)
        assert server.requests == 2


def _two_calls(model: ChatAI365VIP, way: str) -> None:
    async def twice() -> None:
        for _ in range(2):
            assert (await model.ainvoke(PROMPT)).text == ANSWER

    if way == "ainvoke":
        asyncio.run(twice())
    else:
        assert [model.invoke(PROMPT).text for _ in range(2)] == [ANSWER] * 2


@pytest.mark.parametrize("way", ["ainvoke", "invoke"])
def test_a_retry_looks_the_name_up_again_after_a_failed_connect(way: str, model: Model) -> None:
    addresses = ["::1", "127.0.0.1"]  # the server has moved to the second

    def meant(name: str | None) -> str | None:
        return addresses.pop(0) if name == "models.test" else name

    with FaultServer(answer) as server, looked_up_as(meant):
        moved = model(f"http://models.test:{server.port}", max_retries=1)
        assert call(moved, way).text == ANSWER
    assert addresses == []


async def test_calls_at_once_share_a_lookup(model: Model) -> None:
    lookups: list[str | None] = []

    def meant(name: str | None) -> str | None:
        lookups.append(name)
        return "127.0.0.1" if name == "models.test" else name

    with FaultServer(*_idle_ones(), answer) as server, looked_up_as(meant):
        await _all_open(model(f"http://models.test:{server.port}"))
    assert lookups == ["models.test"]


def test_a_connection_that_is_lost_when_new_does_cost_a_retry(model: Model) -> None:
    with FaultServer(answer, close_before_head, close_before_head, answer) as server:
        patient = model(server.url, max_retries=0)
        assert patient.invoke(PROMPT).text == ANSWER
        with pytest.raises(errors.AI365VIPConnectionError):
            patient.invoke(PROMPT)
        assert server.requests == 3


@pytest.mark.parametrize(("script", "requests"), [(BUSY, 2), (REFUSED, 1)], ids=["503", "401"])
def test_langchains_retry_middleware_knows_what_is_worth_retrying(
    script: Script, requests: int, model: Model
) -> None:
    with FaultServer(script) as server:
        middleware = ModelRetryMiddleware(max_retries=1, initial_delay=0)
        agent = create_agent(model(server.url, max_retries=0), middleware=[middleware])
        with contextlib.suppress(errors.AI365VIPError):
            agent.invoke({"messages": [HumanMessage(PROMPT)]})
        assert server.requests == requests
