"""Attacks on the endpoint: what was tried, and what it got.

`ATTACKS` is the table. Each row is run against a real `LocalServer` and must get the
outcome that stands beside it, so the Markdown that `attack_table` makes of it is what was
measured. Print it with `python -m tests.server.test_attacks`.
"""

from __future__ import annotations

import asyncio
import gzip
import hmac
import http.client
import json
import logging
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import RequestPayloadError
from hypothesis import given

from langchain_ai365vip.server import LocalServer, create_app
from tests.server.server_kit import (
    Answer,
    Client,
    ScriptedModel,
    chat_body,
    parse_answer,
    says,
)
from tests.server.test_requests import BODIES

KEY = "s3cret"
EVIL = "Origin: https://evil.example"
CONTINUE = "Expect: 100-continue"
KEYED: dict[str, Any] = {"api_key": KEY}
CHUNKED = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


class Scene:
    """One attacked server: raw access to it, and whether its endless model was stopped."""

    def __init__(self) -> None:
        self.client = Client("", 0)
        self.stopped = threading.Event()

    def quick(self) -> ScriptedModel:
        return says("ok")

    def endless(self) -> ScriptedModel:
        async def script() -> AsyncIterator[str]:
            try:
                while True:
                    yield "x" * 65536
            finally:
                self.stopped.set()

        return ScriptedModel(script=script)


class Attack(NamedTuple):
    """One row: what is tried, how, what it gets; the server's options and model."""

    name: str
    run: Callable[[Scene], Awaitable[str]]
    outcome: str
    options: Mapping[str, Any] = MappingProxyType({})
    model: Callable[[Scene], Any] = Scene.quick


def told(answer: Answer) -> str:
    return f"{answer.status} {answer.reason}"


def ask(body: Any = None, *headers: str, **how: Any) -> Callable[[Scene], Awaitable[str]]:
    """Attack with one request that is HTTP."""

    async def run(scene: Scene) -> str:
        answer = await scene.client.ask(body, headers=[*headers, "Connection: close"], **how)
        assert "set-cookie" not in answer.headers
        return told(answer)

    return run


def oversized(*headers: str, **how: Any) -> Callable[[Scene], Awaitable[str]]:
    """Attack with a head so long that the server answers before it has read all of it.

    What it leaves unread resets the connection, now and then before the answer is read.
    """
    attack = ask(None, *headers, **how)

    async def run(scene: Scene) -> str:
        for _ in range(50):
            with suppress(ConnectionError):
                return await attack(scene)
        return "reset, 50 times"

    return run


def raw(data: bytes) -> Callable[[Scene], Awaitable[str]]:
    """Attack with bytes that need not be HTTP."""

    async def run(scene: Scene) -> str:
        answer = await scene.client.exchange(data)
        return f"{answer.status}"  # the reason is aiohttp's, in which its versions differ

    return run


async def endless_body(scene: Scene) -> str:
    reader, writer = await scene.client.connect()
    writer.write(CHUNKED)

    async def send() -> None:
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()
            # drain() returns at once while the server reads as fast as we write; without a
            # turn for the answer, it would lie unread until the server's patience ends.
            await asyncio.sleep(0)

    sending = asyncio.create_task(send())
    head = parse_answer(await reader.readuntil(b"\r\n\r\n"))
    sending.cancel()
    await asyncio.wait([sending])
    writer.close()
    return f"{head.status} {head.reason}"


async def slow_body(scene: Scene) -> str:
    request = scene.client.request(chat_body(), headers=["Connection: close"])
    return told(await scene.client.exchange(request[:-1]))


async def broken_chunks(scene: Scene) -> str:
    reader, writer = await scene.client.connect()
    writer.write(CHUNKED.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") + b"1\r\n{\r\n")
    await reader.readuntil(b"100 Continue\r\n\r\n")  # the request is being read
    writer.write(b"zz\r\n")
    answer = parse_answer(await reader.read())
    writer.close()
    return told(answer)


async def expects_and_leaves(scene: Scene) -> str:
    request = scene.client.request(b"x" * 9, headers=[CONTINUE])[:-9]
    for waiting in (True, False):
        reader, writer = await scene.client.connect()
        writer.write(request)
        if waiting:
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.transport.abort()
    return "nothing more"


async def half_body(scene: Scene) -> str:
    reader, writer = await scene.client.connect()
    writer.write(scene.client.request(chat_body())[:-1])
    writer.write_eof()
    data = await reader.read()
    writer.close()
    return data.decode() or "nothing"


async def slow_headers(scene: Scene) -> str:
    reader, writer = await scene.client.connect()
    writer.write(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\n")
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        writer.write(b"X: y\r\n")
        await asyncio.wait([ended], timeout=0.1)
    # A line that comes after the close is answered by a reset.
    got = ended.result() if ended.exception() is None else b""
    writer.close()
    return "answered" if got else "closed without an answer"


async def thousand_idle(scene: Scene) -> str:
    connections = [await scene.client.connect() for _ in range(1000)]
    served = told(await scene.client.ask())
    ends = [await reader.read() for reader, _ in connections]
    for _, writer in connections:
        writer.close()
    return f"{served} for others; {ends.count(b'')} closed at the idle limit"


async def never_reads(scene: Scene) -> str:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect((scene.client.host, scene.client.port))
        sock.sendall(scene.client.request(chat_body()))
        await asyncio.to_thread(scene.stopped.wait)
    return "cut off, its model cancelled"


async def too_many(scene: Scene) -> str:
    reader, writer = await scene.client.connect()
    writer.write(scene.client.request(chat_body()))
    await reader.readuntil(b"\r\n\r\n")
    answer = await scene.client.ask()
    writer.close()
    return f"{told(answer)}; Retry-After: {answer.headers['retry-after']}"


def smuggled() -> bytes:
    inner = b"POST /api/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    return CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + b"0\r\n\r\n" + inner


def turns(content: Any) -> dict[str, Any]:
    return chat_body(messages=[{"role": "user", "content": content}])


BAD_PATHS = ["/api/chat/../chat", "//evil.example/api/chat/", "/api/chat//", "/api/%2e%2e/secrets"]
WRONG_KEY = "401 Incorrect API key provided"
FOREIGN = "403 Origin is not allowed: add it to allowed_origins (serve --allow-origin)"
REBOUND = "403 Host is not allowed: add it to allowed_hosts (serve --allow-host)"
NOT_FOUND = "404 Not Found"

ATTACKS = [
    Attack("no key", ask(), "401 API key is missing", KEYED),
    Attack("wrong key", ask(chat_body(key="s3creT")), WRONG_KEY, KEYED),
    Attack("key with a NUL at its end", ask(chat_body(key=KEY + "\0")), WRONG_KEY, KEYED),
    Attack(
        "no key for the list of models",
        ask({}, path="/api/models"),
        "401 API key is missing",
        KEYED,
    ),
    Attack("key in the URL", ask(path=f"/api/chat?key={KEY}"), "401 API key is missing", KEYED),
    Attack("a foreign page's fetch", ask(None, EVIL), FOREIGN),
    Attack("a foreign page's form", ask(b"{}=", EVIL, "Content-Type: text/plain"), FOREIGN),
    Attack("a foreign page's preflight", ask(b"", EVIL, method="OPTIONS"), FOREIGN),
    Attack("a sandboxed page", ask(None, "Origin: null"), FOREIGN),
    Attack("a page of another local port", ask(None, "Origin: http://127.0.0.1:1"), FOREIGN),
    Attack(
        "an allowed and a foreign origin at once",
        ask(None, "Origin: https://good.example", EVIL),
        FOREIGN,
        {"allowed_origins": ["https://good.example"]},
    ),
    Attack(
        "an origin that begins as an allowed one",
        ask(None, "Origin: https://good.example.evil.example"),
        FOREIGN,
        {"allowed_origins": ["https://good.example"]},
    ),
    Attack("DNS rebinding", ask(host="evil.example:80"), REBOUND),
    Attack(
        "DNS rebinding with a matching Origin",
        ask(None, "Origin: http://evil.example", host="evil.example"),
        REBOUND,
    ),
    Attack("a host that begins as localhost", ask(host="localhost.evil.example"), REBOUND),
    Attack("a host that looks like an address", ask(host="127.0.0.1.evil.example"), REBOUND),
    Attack(
        "two Host headers",
        raw(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"),
        "400",
    ),
    Attack(
        "no Host header",
        raw(b"POST /api/chat HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}"),
        "400",
    ),
    *(Attack(f"path `{path}`", ask(path=path), NOT_FOUND) for path in BAD_PATHS),
    Attack("GET, as an image or script would", ask(b"", method="GET"), "405 Method Not Allowed"),
    Attack("DELETE", ask(b"", method="DELETE"), "405 Method Not Allowed"),
    Attack("a method of its own", ask(b"", method="DEBUG"), "400 Bad Request"),
    Attack(
        "a body that is announced too large",
        ask(b"x" * 2048),
        "413 The request's body is larger than 1024 bytes",
        {"max_body_size": 1024},
    ),
    Attack(
        "a body that does not end",
        endless_body,
        "413 The request's body is larger than 1024 bytes",
        {"max_body_size": 1024},
    ),
    Attack(
        "a compressed body that unpacks to 100 MB",
        ask(gzip.compress(b"[" * 100_000_000), "Content-Encoding: gzip"),
        "415 Content-Encoding: expected none, compressed bodies are not read",
    ),
    Attack(
        "a body whose last byte does not come",
        slow_body,
        "408 The request's body did not arrive within 0.2 seconds",
        {"body_timeout": 0.2},
    ),
    Attack(
        "headers that do not end",
        slow_headers,
        "closed without an answer",
        {"idle_timeout": 2.0},
    ),
    Attack(
        "1,000 idle connections",
        thousand_idle,
        "200 OK for others; 1000 closed at the idle limit",
        {"idle_timeout": 2.0},
    ),
    Attack(
        "a client that does not read its reply",
        never_reads,
        "cut off, its model cancelled",
        {"send_timeout": 0.2},
        Scene.endless,
    ),
    Attack(
        "more replies at once than allowed",
        too_many,
        "503 The server is busy with 1 replies, try again; Retry-After: 1",
        {"max_concurrency": 1},
        Scene.endless,
    ),
    Attack("1,000 headers", oversized(*(f"X{i}: y" for i in range(1000))), "400 Bad Request"),
    Attack("a header of 100 KB", oversized("X: " + "y" * 100_000), "400 Bad Request"),
    Attack("a path of 100 KB", oversized(path="/" + "y" * 100_000), "400 Bad Request"),
    Attack("no HTTP at all", raw(b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\r\n\r\n"), "400"),
    Attack("two lengths (request smuggling)", raw(smuggled()), "400"),
    Attack("a chunk of no size", raw(CHUNKED + b"zz\r\n{}\r\n"), "400"),
    Attack(
        "a second chunk of no size",
        broken_chunks,
        "408 The request's body did not arrive within 0.2 seconds",
        {"body_timeout": 0.2},
    ),
    Attack("going away in the middle of the body", half_body, "nothing"),
    Attack(
        "`Expect` with a byte outside UTF-8",
        ask(None, "Expect: \xe9"),
        "417 Expect: expected 100-continue or nothing",
    ),
    Attack(
        "`Expect` with a byte outside UTF-8, elsewhere",
        ask(None, "Expect: \xe9", path="/nothing"),
        "417 Expect: expected 100-continue or nothing",
    ),
    Attack("`Expect: 100-continue` from a foreign page", ask(None, EVIL, CONTINUE), FOREIGN),
    Attack(
        "`Expect: 100-continue` under a foreign name",
        ask(None, CONTINUE, host="evil.example"),
        REBOUND,
    ),
    Attack(
        "`Expect: 100-continue` for a body that is announced too large",
        ask(b"x" * 2048, CONTINUE),
        "413 The request's body is larger than 1024 bytes",
        {"max_body_size": 1024},
    ),
    Attack("`Expect: 100-continue` elsewhere", ask(None, CONTINUE, path="/nothing"), NOT_FOUND),
    Attack("`Expect: 100-continue`, and then gone", expects_and_leaves, "nothing more"),
    Attack("control characters in a header", ask(None, "X: a\x0bb"), "400 Bad Request"),
    Attack(
        "control characters in a model's name",
        ask(chat_body(model={"id": "x\r\nSet-Cookie: a=b\r\n\r\n\x1b[31m"})),
        "404 The model does not exist, there are: small",
        {},
        lambda _: {"small": says("ok")},
    ),
    Attack(
        "control characters in a role",
        ask(chat_body(messages=[{"role": "x\r\nSet-Cookie: a=b", "content": ""}])),
        '400 messages[0].role: expected "user", "assistant" or "system", found another string',
    ),
    Attack(
        "JSON of 500,000 open brackets",
        ask(b"[" * 500_000),
        "400 body: expected a JSON object, found JSON that is nested too deeply",
    ),
    Attack(
        "a number of 100,000 digits",
        ask(b'{"temperature": ' + b"9" * 100_000 + b"}"),
        "400 body: expected a JSON object, found a number out of range",
    ),
    Attack(
        "half a character",
        ask(json.dumps(turns("\ud800")).encode()),
        "400 messages[0].content: expected whole characters, found a lone surrogate "
        "(half a character)",
    ),
    Attack(
        "a prototype's name as a field",
        ask(b'{"__proto__": {"id": "x"}}'),
        "400 model: expected an object with an id, found null or nothing",
    ),
]


def attack_table() -> str:
    """The table in Markdown, for the README; the last rows have tests of their own below."""
    outcomes = [(attack.name, attack.outcome) for attack in ATTACKS]
    rows = [f"| {name} | {outcome} |\n" for name, outcome in (*outcomes, *PROVED_BELOW.values())]
    return "| attack | what it gets |\n|---|---|\n" + "".join(rows)


def besides_requests(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was logged, without the line that every request gets."""
    return [
        record for record in caplog.records if record.name != "langchain_ai365vip.server.access"
    ]


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
async def test_an_attack_gets_what_the_table_says(
    attack: Attack, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    if "body_timeout" not in attack.options:
        # A busy machine may take its time to send what the server has refused already; only
        # who sends too slowly has to wait until the server no longer reads.
        monkeypatch.setattr("langchain_ai365vip.server.local_server.LINGERING_TIME", 60.0)
    scene = Scene()
    async with LocalServer(attack.model(scene), **attack.options) as server:
        scene.client = Client.of(server.base_url)
        assert await attack.run(scene) == attack.outcome
        ours = await scene.client.ask({"key": KEY}, path="/api/models")
        assert ours.status == 200  # and the server serves on
    assert besides_requests(caplog) == []


@pytest.mark.parametrize(
    "key", [KEY, "", "s", "S3CRET", KEY + "x", "\N{SNOWMAN}"], ids=lambda key: repr(key)
)
async def test_the_key_is_compared_in_constant_time(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(expected: bytes, given: bytes) -> bool:
        compared.append((expected, given))
        return real(expected, given)

    real = hmac.compare_digest
    monkeypatch.setattr("langchain_ai365vip.server.access.hmac.compare_digest", compare)
    scene = Scene()
    async with LocalServer(scene.quick(), api_key=KEY) as server:
        answer = await Client.of(server.base_url).ask(chat_body(key=key))
    assert answer.status == (200 if key == KEY else 401)
    assert compared == [(KEY.encode(), key.encode())]


ADDRESSES: dict[str, tuple[Any, bool]] = {
    "IPv4 loopback": (("127.0.0.1", 80), True),
    "IPv6 loopback": (("::1", 80, 0, 0), True),
    "mapped loopback": (("::ffff:127.0.0.1", 80, 0, 0), True),
    "Unix socket": ("/run/x.sock", True),
    "IPv4": (("192.0.2.1", 80), False),
    "IPv6 with a zone": (("fe80::1%eth0", 80, 0, 2), False),
    "mapped": (("::ffff:192.0.2.1", 80, 0, 0), False),
    "gone": (None, False),
}


class FakeTransport:
    """A connection that came in at some address of this machine."""

    def __init__(self, sockname: Any) -> None:
        self._sockname = sockname

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._sockname if name == "sockname" else default

    def is_closing(self) -> bool:
        return True


@pytest.mark.parametrize(("sockname", "served"), ADDRESSES.values(), ids=ADDRESSES.keys())
async def test_without_a_key_other_machines_are_refused_wherever_the_app_was_bound(
    sockname: Any, served: bool
) -> None:
    app = create_app(says("ok"))
    app.pre_freeze()
    request = make_mocked_request(
        "GET", "/nothing", {"Host": "localhost"}, transport=FakeTransport(sockname), app=app
    )
    answer = await app._handle(request)
    assert (answer.status, answer.reason) == (
        (404, "Not Found")
        if served
        else (
            403,
            "This endpoint has no API key, so it answers only on a loopback address: set api_key",
        )
    )


async def test_a_body_that_breaks_in_the_parser_gets_a_400() -> None:
    app = create_app(says("ok"))
    app.pre_freeze()
    payload = StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)
    payload.set_exception(RequestPayloadError("Not enough data to satisfy transfer length"))
    request = make_mocked_request(
        "POST",
        "/api/chat",
        {"Host": "localhost"},
        transport=FakeTransport(("127.0.0.1", 80)),
        app=app,
        payload=payload,
    )
    answer = await app._handle(request)
    assert (answer.status, answer.reason) == (400, "body: expected valid HTTP, to its end")


async def test_an_allowed_origin_may_preflight_and_read_the_answer() -> None:
    scene = Scene()
    async with LocalServer(scene.quick(), allowed_origins=["https://Good.example/"]) as server:
        client = Client.of(server.base_url)
        good = ["Origin: https://good.example", "Connection: close"]
        preflight = await client.ask(b"", method="OPTIONS", headers=good)
        answer = await client.ask(headers=good)
        error = await client.ask(b"{", headers=good)
        own = await client.ask(headers=[f"Origin: {server.base_url}", "Connection: close"])
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-headers"] == "content-type"
    for one in (preflight, answer, error):
        assert one.headers["access-control-allow-origin"] == "https://good.example"
        assert one.headers["vary"] == "Origin"
    assert (answer.status, error.status, own.status) == (200, 400, 200)


@pytest.mark.parametrize("origin", ["null", "https://any.example", "HTTP://[::1]:8"])
async def test_any_origin_is_allowed_by_a_star(origin: str) -> None:
    async with LocalServer(says("ok"), allowed_origins=["*"]) as server:
        answer = await Client.of(server.base_url).ask(
            headers=[f"Origin: {origin}", "Connection: close"]
        )
    assert answer.headers["access-control-allow-origin"] == origin


HOSTS: dict[str, tuple[str, dict[str, Any]]] = {
    "localhost": ("localhost", {}),
    "LOCALHOST with a port": ("LOCALHOST:1", {}),
    "address": ("192.0.2.1:80", {}),
    "IPv6 address": ("[::1]:80", {}),
    "allowed": ("Chat.example:80", {"allowed_hosts": ["chat.example"]}),
    "any": ("chat.example", {"allowed_hosts": ["*"]}),
}


@pytest.mark.parametrize(("host", "options"), HOSTS.values(), ids=HOSTS.keys())
async def test_a_host_that_cannot_be_rebound_or_is_allowed_is_served(
    host: str, options: dict[str, Any]
) -> None:
    async with LocalServer(says("ok"), **options) as server:
        assert (await Client.of(server.base_url).ask(host=host)).status == 200


async def test_what_is_logged_of_a_failure_forges_no_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = RuntimeError("first\nWARNING root: forged\x1b[31m" + "x" * 5000)
    async with LocalServer(says(error)) as server:
        await Client.of(server.base_url).ask(
            chat_body(model={"id": "a\r\nINFO forged \x1b[0m\u202e"})
        )
    (record,) = caplog.records
    first, *traceback = record.getMessage().split("\n")
    assert first.isascii()
    assert first.isprintable()
    assert len(first) < 1200
    assert traceback[0] == "    Traceback (most recent call last):"
    for line in traceback:
        assert line.startswith("    ")
        assert line.isprintable()
        assert len(line) < 1200
    assert not record.exc_info


@pytest.fixture(scope="module")
def quiet_server() -> Iterator[LocalServer]:
    with LocalServer(says("ok")) as server:
        yield server


@given(body=BODIES)
def test_any_body_gets_a_reply_or_a_400_and_leaves_no_trace_in_the_log(
    body: bytes, quiet_server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    connection = http.client.HTTPConnection(quiet_server.base_url.removeprefix("http://"))
    try:
        connection.request("POST", "/api/chat", body)
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    assert (answer.status, text) == (200, "ok") or (answer.status, text) == (400, answer.reason)
    assert besides_requests(caplog) == []


PROVED_BELOW: dict[Callable[..., Any], tuple[str, str]] = {
    test_the_key_is_compared_in_constant_time: (
        "guessing the key by how long the refusal takes",
        "compared in constant time",
    ),
    test_without_a_key_other_machines_are_refused_wherever_the_app_was_bound: (
        "another machine, where no key is set",
        "403 This endpoint has no API key, so it answers only on a loopback address: set api_key",
    ),
    test_what_is_logged_of_a_failure_forges_no_line: (
        "line breaks and terminal codes for the log",
        "escaped; of a failure every line but the first is indented, and all are cut to a bound",
    ),
    test_any_body_gets_a_reply_or_a_400_and_leaves_no_trace_in_the_log: (
        "random bytes and random JSON of nearly the right shape",
        "200, or 400 that names the field; never a 500, a traceback or a warning in the log",
    ),
}


if __name__ == "__main__":
    sys.stdout.write(attack_table())
