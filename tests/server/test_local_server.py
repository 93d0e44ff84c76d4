"""`LocalServer`: the endpoint on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import http.client
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.request
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.errors import AI365VIPConnectionError, AI365VIPError
from langchain_ai365vip.server import LocalServer, create_app
from tests.endpoint import wait_until
from tests.server.server_kit import (
    Client,
    ScriptedModel,
    chat_body,
    read_up_to,
    says,
)


async def test_it_works_inside_a_running_loop_in_both_ways() -> None:
    with LocalServer(says("a")) as server:
        assert (await Client.of(server.base_url).ask()).chunks == [b"a", b""]
    async with LocalServer(says("b")) as server:
        assert (await Client.of(server.base_url).ask()).chunks == [b"b", b""]


def test_it_works_without_a_loop_from_blocking_code() -> None:
    with LocalServer(says("a")) as server:
        request = urllib.request.Request(
            server.base_url + "/api/models", data=b'{"key": ""}', method="POST"
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.read() == b'[{"id": "langchain", "name": "langchain"}]'


async def test_it_counts_requests_and_connections_and_starts_again() -> None:
    server = LocalServer(says("a"))
    for round_ in (1, 2):
        with server:
            for _ in range(3):
                await Client.of(server.base_url).ask()
            assert (server.requests, server.connections) == (3 * round_, 3 * round_)
    assert (server.requests, server.connections) == (6, 6)


def test_a_model_is_let_go_when_its_server_has_stopped() -> None:
    def served() -> weakref.ref[ScriptedModel]:
        model = says("a")
        with LocalServer(model) as server:
            assert ChatAI365VIP(base_url=server.base_url).invoke("x").content == "a"
        return weakref.ref(model)

    model = served()
    gc.collect()
    assert model() is None


def test_its_url_is_an_error_before_and_after() -> None:
    server = LocalServer(says("a"))
    with pytest.raises(RuntimeError, match="does not run"):
        _ = server.base_url
    with server, pytest.raises(RuntimeError, match="runs already"):
        server.start()
    server.stop()
    with pytest.raises(RuntimeError, match="does not run"):
        _ = server.base_url


def test_a_port_in_use_is_an_error_of_start() -> None:
    before = set(threading.enumerate())
    with LocalServer(says("a")) as server:
        port = Client.of(server.base_url).port
        other = LocalServer(says("b"), port=port)
        says_what = f"host='127.0.0.1', port={port}: Address already in use.*port=0 takes a free"
        with pytest.raises(OSError, match=says_what) as raised:
            other.start()
    assert raised.value.errno == errno.EADDRINUSE
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    "where",
    [
        pytest.param({"port": 70_000}, id="no-port"),
        pytest.param({"host": "192.0.2.1"}, id="the-address-of-another-machine"),
    ],
)
def test_where_it_cannot_listen_is_an_error_of_start_that_says_what_to_pass(
    where: dict[str, Any],
) -> None:
    before = set(threading.enumerate())
    (name, value), *_ = where.items()
    server = LocalServer(says("a"), api_key="k", **where)
    with pytest.raises(
        OSError, match=f"{name}={value!r}.*[^.]\\. Pass .*host an address of this machine"
    ):
        server.start()
    assert set(threading.enumerate()) <= before


_ELSEWHERE = " Pass another port (port=0 takes a free one), or as host an address of this machine."


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("no address fits."), f"no address fits.{_ELSEWHERE}"),
        (OSError(), f"OSError.{_ELSEWHERE}"),
        (OSError(errno.EACCES, "no"), f"{os.strerror(errno.EACCES)}.{_ELSEWHERE}"),
        (OSError(errno.EMFILE, "no"), f"{os.strerror(errno.EMFILE)}."),
    ],
    ids=["words-only", "nothing", "no-right", "no-files-left"],
)
def test_another_address_is_advised_only_where_it_may_help(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_server", refuse)
    with pytest.raises(OSError, match=f"port=80: {re.escape(said)}$"):
        LocalServer(says("a"), port=80).start()


def test_a_host_without_an_address_is_told_what_to_pass() -> None:
    server = LocalServer(says("a"), api_key="k", host="no-such-host.invalid")
    with pytest.raises(OSError, match=r"Pass another port .*host an address of this machine"):
        server.start()


@pytest.mark.parametrize(
    "where",
    [{"host": 5}, {"host": None}, {"port": True}, {"port": 1.5}, {"port": "80"}, {"port": None}],
    ids=str,
)
def test_what_can_be_no_host_or_port_is_refused_in_words(where: dict[str, Any]) -> None:
    (value,) = where.values()
    with pytest.raises(TypeError, match=f"{value!r}.*: pass .*, such as host=") as raised:
        LocalServer(says("a"), **where)
    assert next(iter(where)) in str(raised.value)


async def test_stopping_cuts_replies_and_cancels_their_models() -> None:
    cancelled = threading.Event()

    async def script() -> AsyncIterator[str]:
        yield "half"
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with LocalServer(ScriptedModel(script=script)) as server:
        client = Client.of(server.base_url)
        reader, writer = await client.connect()
        writer.write(client.request(chat_body()))
        assert await reader.readuntil(b"half\r\n")
    assert cancelled.is_set()
    assert await reader.read() == b""
    writer.close()


def test_stopping_leaves_no_connection_behind_that_came_in_just_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(50):
        with LocalServer(says("a")) as server:
            client = Client.of(server.base_url)
            connection = socket.create_connection((client.host, client.port))
        connection.close()
    gc.collect()  # a socket left open would warn now
    assert caplog.records == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.9.10"])
async def test_loopback_addresses_need_no_key(host: str) -> None:
    LocalServer(says("a"), host=host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.0.2.1", "example.com", "::ffff:192.0.2.1"]
)
def test_other_addresses_need_a_key(host: str) -> None:
    with pytest.raises(ValueError, match="reachable from other machines"):
        LocalServer(says("a"), host=host)
    LocalServer(says("a"), host=host, api_key="k")


async def test_all_interfaces_are_reached_by_loopback() -> None:
    async with LocalServer(says("a"), host="0.0.0.0", api_key="k") as server:
        assert server.base_url.startswith("http://127.0.0.1:")
        assert (await Client.of(server.base_url).ask(chat_body(key="k"))).status == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_all_interfaces_take_both_kinds_of_addresses(address: str) -> None:
    async with LocalServer(says("a"), host="::", api_key="k") as server:
        client = Client(address, Client.of(server.base_url).port)
        answer = await client.ask(chat_body(key="k"), host="localhost")
    assert answer.status == 200


def test_its_repr_has_its_url() -> None:
    server = LocalServer(says("a"), api_key="s3cret")
    assert repr(server) == "<LocalServer stopped>"
    with server:
        assert repr(server) == f"<LocalServer {server.base_url}>"


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "empty key": ({"api_key": ""}, "api_key is empty"),
    "a string of origins": ({"allowed_origins": "https://a"}, "list of strings"),
    "a bare name as origin": ({"allowed_origins": ["example.com"]}, "write it like"),
    "no concurrency": ({"max_concurrency": 0}, "max_concurrency is 0"),
    "no body": ({"max_body_size": -1}, "max_body_size is -1"),
    "no time": ({"idle_timeout": 0}, "idle_timeout is 0"),
    "a default that is no id": ({"default": "large"}, "default is 'large', which is no model's"),
    "a prompt's fate": ({"client_prompt": "keep"}, "client_prompt is 'keep'; it must be"),
    "a text as number": ({"max_concurrency": "9"}, "is '9'; it must be a number"),
}


@pytest.mark.parametrize(("options", "message"), OPTIONS.values(), ids=OPTIONS.keys())
def test_a_wrong_option_is_an_error_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LocalServer(says("a"), **options)


def test_a_key_that_is_no_text_is_refused_without_showing_it() -> None:
    with pytest.raises(TypeError, match="api_key is of type int: pass it as a string"):
        LocalServer(says("a"), api_key=123456)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [LocalServer, create_app])
@pytest.mark.parametrize(
    ("model", "what"),
    [
        pytest.param("gpt-4o", "a str", id="a-name"),
        pytest.param({"gpt-4o": "gpt-4o"}, "a str", id="a-name-for-an-id"),
        pytest.param(None, "a NoneType", id="none"),
        pytest.param([says], "a list", id="a-list"),
        pytest.param(ScriptedModel, "the class ScriptedModel, not an instance", id="a-class"),
    ],
)
def test_what_cannot_answer_is_refused_with_what_to_pass(
    make: Callable[[Any], Any], model: Any, what: str
) -> None:
    with pytest.raises(TypeError, match=f"model is {what}, which cannot answer: pass a chat"):
        make(model)


def test_a_misspelt_option_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match="api_kye"):
        LocalServer(says("a"), api_kye="k")  # type: ignore[call-arg]


class Stopping:
    """A server with one reply under way, which another thread stops with much patience."""

    def __init__(self) -> None:
        self.cut = False
        self.server = LocalServer(ScriptedModel(script=self._script)).start()
        self.reply = ChatAI365VIP(base_url=self.server.base_url).stream("Hi")
        read_up_to("one", self.reply)
        self.stopper = threading.Thread(target=self.server.stop, kwargs={"grace": 600})

    async def _script(self) -> AsyncIterator[str]:
        self._loop, self._go_on = asyncio.get_running_loop(), asyncio.Event()
        yield "one"
        try:
            await self._go_on.wait()
        except asyncio.CancelledError:
            self.cut = True
            raise
        yield "two"

    def go_on(self) -> None:
        """Let the model say the rest."""
        self._loop.call_soon_threadsafe(self._go_on.set)

    def stop(self) -> None:
        """Begin to stop; return once no further connection is taken."""
        port = Client.of(self.server.base_url).port
        self.stopper.start()
        with contextlib.suppress(OSError):
            while True:
                socket.create_connection(("127.0.0.1", port), timeout=10).close()


def test_with_grace_a_reply_under_way_comes_to_its_end() -> None:
    stopping = Stopping()
    stopping.stop()
    assert stopping.stopper.is_alive()
    stopping.go_on()
    assert "".join(chunk.text for chunk in stopping.reply) == "two"
    stopping.stopper.join(30)
    assert not stopping.stopper.is_alive()


def test_stopping_again_cuts_what_had_grace() -> None:
    stopping = Stopping()
    stopping.stop()
    stopping.server.stop()
    assert stopping.cut
    with pytest.raises(AI365VIPConnectionError):
        next(stopping.reply)
    stopping.stopper.join(30)
    assert not stopping.stopper.is_alive()


@pytest.mark.parametrize("requests", [0, 1], ids=["before-a-request", "kept-alive"])
def test_an_idle_connection_needs_no_grace(requests: int) -> None:
    server = LocalServer(says("a")).start()
    client = http.client.HTTPConnection("127.0.0.1", Client.of(server.base_url).port, timeout=30)
    client.connect()
    for _ in range(requests):
        client.request("POST", "/api/models", body='{"key": ""}')
        assert client.getresponse().read() != b""
    stopper = threading.Thread(target=server.stop, kwargs={"grace": 600})
    stopper.start()
    assert client.sock.recv(1) == b""
    stopper.join(30)
    assert not stopper.is_alive()
    client.close()


def waits_in_a_function(begun: threading.Event, release: threading.Event) -> Any:
    def model(_: Any) -> str:
        begun.set()
        release.wait()
        return "late"

    return model


def waits_in_a_generator(begun: threading.Event, release: threading.Event) -> Any:
    def model(_: Any) -> Iterator[str]:
        begun.set()
        release.wait()
        yield "late"

    return model


@pytest.mark.parametrize("waiting", [waits_in_a_function, waits_in_a_generator])
def test_stopping_does_not_wait_for_a_synchronous_model(waiting: Callable[..., Any]) -> None:
    begun, release = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with LocalServer(waiting(begun, release)) as server:
            model = ChatAI365VIP(base_url=server.base_url, max_retries=0)
            asked = pool.submit(model.invoke, "Hi")
            assert begun.wait(30)
        # Only now can the model end.
        release.set()
        assert isinstance(asked.exception(30), AI365VIPConnectionError)


async def test_clients_that_leave_a_synchronous_model_do_not_pile_up_its_calls() -> None:
    begun, release = threading.Semaphore(0), threading.Event()
    counting, running, most = threading.Lock(), 0, 0

    def model(_: Any) -> str:
        nonlocal running, most
        with counting:
            running += 1
            most = max(most, running)
        begun.release()
        release.wait()
        with counting:
            running -= 1
        return "late"

    with LocalServer(model) as server:
        client = Client.of(server.base_url)

        try:
            for _ in range(32):
                _, writer = await client.connect()
                writer.write(client.request(chat_body()))
                assert await asyncio.to_thread(begun.acquire, timeout=30)
                writer.close()
            patient = [asyncio.create_task(client.ask()) for _ in range(8)]
            assert await asyncio.to_thread(wait_until, lambda: server.requests == 40)
            for _ in range(8):  # rounds of its loop, in which they would begin
                await client.ask(path="/healthz", method="GET")
        finally:
            release.set()
        assert [(await each).chunks for each in patient] == [[b"late", b""]] * 8
    assert most == 32


@pytest.mark.processes
def test_a_synchronous_model_does_not_keep_the_interpreter_from_ending() -> None:
    script = """
        import threading
        from langchain_ai365vip import ChatAI365VIP, errors
        from langchain_ai365vip.server import LocalServer, create_app

        begun = threading.Event()

        def model(messages):
            begun.set()
            threading.Event().wait()

        def ask(url):
            try:
                ChatAI365VIP(base_url=url, max_retries=0).invoke("Hi")
            except errors.AI365VIPConnectionError:
                pass

        with LocalServer(model) as server:
            asking = threading.Thread(target=ask, args=(server.base_url,))
            asking.start()
            begun.wait()
        asking.join()
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = re.sub(r"Executing <.* took [\d.]+ seconds\n", "", done.stderr)
    assert (done.stdout, said, done.returncode) == ("", "", 0)


def test_a_model_that_blocks_the_event_loop_is_left_behind_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("langchain_ai365vip.server.local_server._STOPPING_TIME", 0.01)
    begun, release = threading.Event(), threading.Event()

    async def blocks() -> AsyncIterator[str]:
        begun.set()
        release.wait()
        yield "late"

    with ThreadPoolExecutor(1) as pool:
        with LocalServer(ScriptedModel(script=blocks)) as server:
            model = ChatAI365VIP(base_url=server.base_url, max_retries=0)
            asked = pool.submit(model.invoke, "Hi")
            assert begun.wait(30)
        assert "a model blocks its event loop" in caplog.text
        release.set()
        assert asked.exception(30) is None or isinstance(asked.exception(), AI365VIPError)
    for thread in threading.enumerate():
        if thread.name == "ai365vip-server":
            thread.join(30)


def exits(_: Any) -> str:
    raise SystemExit("no more")


async def exits_in_the_model() -> AsyncIterator[str]:
    raise SystemExit("no more")
    yield ""


@pytest.mark.parametrize(
    "model", [exits, ScriptedModel(script=exits_in_the_model)], ids=["function", "chat-model"]
)
def test_a_model_that_exits_ends_its_server_and_the_log_says_so(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with LocalServer(model) as server:
        assert server.is_running
        client = ChatAI365VIP(base_url=server.base_url, max_retries=0)
        with pytest.raises(AI365VIPConnectionError):
            client.invoke("Hi")
        assert wait_until(lambda: not server.is_running)
    assert "The server has ended: a model raised SystemExit." in caplog.text
