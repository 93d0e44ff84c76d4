"""Sentinel secrets, looked for everywhere; they are found in the request alone."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import inspect
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from langchain_core.load import dumpd, dumps
from langchain_core.runnables import ConfigurableField, RunnableConfig
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from pydantic import ValidationError

from langchain_ai365vip import AI365VIP, ChatAI365VIP, Timeout, errors
from tests.faults.calling import PROMPT, WAYS, call
from tests.faults.cases import (
    ANSWER,
    FAULTS,
    Fault,
    answer,
    empty,
    replying,
    saying,
    stall_before_head,
    stall_mid_stream,
)
from tests.faults.server import Exchange, FaultServer, Script
from tests.faults.table import Played
from tests.transport.network_kit import Proxy

KEY = "sk-sentinel-key-4711"
PASSWORD = "sentinel-proxy-password"
HEADER = "sentinel-header-value"
SECRETS = (KEY, PASSWORD, HEADER)

HI = [{"role": "user", "content": PROMPT}]

PATIENT = Timeout(connect=20, first_byte=20, between_bytes=20)
IMPATIENT = Timeout(connect=20, first_byte=0.2, between_bytes=0.2)


def _model(url: str, **fields: Any) -> ChatAI365VIP:
    given = {"api_key": KEY, "default_headers": {"X-Tenant": HEADER}, "timeout": PATIENT}
    return ChatAI365VIP(base_url=url, **{**given, **fields})


def _with_a_proxy() -> ChatAI365VIP:
    return _model("http://127.0.0.1:9", proxy=f"http://user:{PASSWORD}@127.0.0.1:9")


def _leaked(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize(
    "shown",
    [
        repr,
        str,
        lambda model: repr(model.model_dump()),
        lambda model: model.model_dump_json(),
        lambda model: repr(dumpd(model)),
        dumps,
        lambda model: dumps(model | (lambda x: x)),
        lambda model: repr(model.bind(stop=["x"])),
        lambda model: repr(model.with_retry()),
        lambda model: repr(model._identifying_params),
        lambda model: repr(model._get_ls_params()),
        lambda model: repr(model.asdict()),
        lambda model: model._get_llm_string(),
        lambda model: repr(model._client(None, 2)),
        lambda model: repr(vars(model)),
        lambda model: repr(model.get_name()),
    ],
)
def test_nothing_that_shows_a_model_shows_its_secrets(
    shown: Callable[[ChatAI365VIP], str],
) -> None:
    model = _with_a_proxy()
    assert _leaked(shown(model)) == []
    assert _leaked(shown(copy.deepcopy(model))) == []


def test_a_pickle_carries_the_secrets_all_the_same() -> None:
    model = pickle.loads(pickle.dumps(_with_a_proxy()))
    assert model == _with_a_proxy()
    assert model.api_key.get_secret_value() == KEY
    assert PASSWORD in model.proxy.get_secret_value()
    assert model.default_headers["X-Tenant"].get_secret_value() == HEADER


def _built(arguments: dict[str, Any]) -> None:
    ChatAI365VIP(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"api_key": KEY, "temperature": "hot"},
        {"proxy": f"ftp://user:{PASSWORD}@host"},
        {"proxy": f"http://user:{PASSWORD}@[::1"},
        {"default_headers": {"X-Tenant": HEADER}, "max_retries": "many"},
        {"default_headers": HEADER},
        {"base_url": f"http://user:{PASSWORD}@host"},
        {"api_key": KEY, "model": "x", "model_name": "y"},
    ],
)
def test_a_refused_argument_is_not_repeated(arguments: dict[str, Any]) -> None:
    error = _raised(functools.partial(_built, arguments))
    assert "ChatAI365VIP" in str(error)
    assert _leaked(_traceback(error)) == []


def _assigned(model: ChatAI365VIP, arguments: dict[str, Any]) -> None:
    for name in arguments:
        setattr(model, name, arguments[name])


@pytest.mark.parametrize(
    "arguments",
    [
        {"proxy": f"ftp://user:{PASSWORD}@host"},
        {"default_headers": {"X-Tenant": f"{HEADER}\n"}},
        {"base_url": f"http://user:{PASSWORD}@host"},
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("build", [_built, functools.partial(_assigned, ChatAI365VIP())])
def test_a_refused_value_is_repeated_neither_by_the_error_nor_by_its_details(
    arguments: dict[str, Any], build: Callable[[dict[str, Any]], None]
) -> None:
    error = _raised(functools.partial(build, arguments))
    assert isinstance(error, ValidationError)
    assert _leaked(_traceback(error)) == []
    (detail,) = error.errors()
    assert _leaked(_traceback(detail["ctx"]["error"])) == []


def test_a_misspelt_argument_is_named_without_its_value() -> None:
    with pytest.warns(UserWarning, match="api_key") as caught:
        ChatAI365VIP(apikey=KEY)  # type: ignore[call-arg]
    assert _leaked("".join(str(warning.message) for warning in caught)) == []


# What is sent.


@pytest.mark.parametrize("way", WAYS)
def test_a_request_holds_each_secret_once_where_it_belongs(way: str) -> None:
    with FaultServer(answer) as server:
        assert call(_model(server.url), way).text == ANSWER
        exchange = server.exchanges[0]
    body = exchange.request_body.decode()
    assert json.loads(body)["key"] == KEY
    assert body.count(KEY) == 1
    assert f"X-Tenant: {HEADER}" in exchange.request_head
    assert _leaked(exchange.request_head) == [HEADER]
    assert _leaked(body) == [KEY]


def test_the_proxys_password_goes_to_the_proxy_alone() -> None:
    with FaultServer(answer) as server, Proxy("http", user=f"user:{PASSWORD}") as proxy:
        model = _model(server.url, proxy=proxy.url("http", f"user:{PASSWORD}"))
        assert model.invoke(PROMPT).text == ANSWER
        assert PASSWORD not in server.exchanges[0].request_head


def test_a_proxy_that_is_the_server_sees_its_password_in_its_own_header_only() -> None:
    with FaultServer(answer) as proxy:
        url = proxy.url.replace("//", f"//user:{PASSWORD}@")
        assert _model("http://models.test", proxy=url).invoke(PROMPT).text == ANSWER
        head = proxy.exchanges[0].request_head
    assert "Proxy-Authorization: Basic " in head
    assert PASSWORD not in head


# What fails.


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _check_error(error: BaseException | None) -> None:
    assert isinstance(error, errors.AI365VIPError)
    assert _leaked(_traceback(error)) == []
    assert _leaked(f"{error!r} {error} {vars(error)} {error.args}") == []
    assert _leaked(pickle.dumps(error).decode("latin-1")) == []


@pytest.mark.parametrize("way", [pytest.param("invoke", marks=pytest.mark.thorough), "astream"])
@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.error], ids=lambda fault: fault.name
)
def test_no_error_holds_a_secret_nor_does_its_traceback(fault: Fault, way: str) -> None:
    silent = fault.error is errors.AI365VIPTimeoutError and fault.status is None
    with Played(fault) as played:
        model = _model(played.url, max_retries=0, timeout=IMPATIENT if silent else PATIENT)
        result = call(model, way)
    # A fault that a retry mends fails without one, and the other way round.
    if result.error is not None:
        _check_error(result.error)


@pytest.mark.parametrize("scheme", ["http", "https", "socks4", "socks5"])
@pytest.mark.parametrize("way", WAYS)
def test_no_error_of_a_proxy_holds_a_secret(scheme: str, way: str) -> None:
    with Proxy("http+socks5", user="somebody:else") as proxy:
        for address in (proxy.url(scheme, f"user:{PASSWORD}"), f"{scheme}://u:{PASSWORD}@[::1]:9"):
            for url in ("http://127.0.0.1:9", "https://127.0.0.1:9"):
                _check_error(call(_model(url, proxy=address, max_retries=0), way).error)


def test_an_environment_proxys_password_is_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:{PASSWORD}@127.0.0.1:9")
    _check_error(call(_model("http://models.test", max_retries=0), "invoke").error)
    monkeypatch.setenv("http_proxy", f"ftp://user:{PASSWORD}@127.0.0.1:9")
    _check_error(call(_model("http://models.test", max_retries=0), "invoke").error)


def test_a_socks_proxy_without_its_library_shows_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "aiohttp_socks", None)
    result = call(
        _model("http://127.0.0.1:9", proxy=f"socks5://u:{PASSWORD}@127.0.0.1:9"), "invoke"
    )
    assert isinstance(result.error, ImportError)
    assert _leaked(_traceback(result.error)) == []


@pytest.mark.parametrize("script", [replying("401 No", KEY), stall_mid_stream], ids=["401", "cut"])
def test_no_error_of_the_wire_client_holds_a_secret(script: Script) -> None:
    async def read(url: str) -> None:
        async for _ in AI365VIP.create_async_generator(
            "gpt-4o", [], base_url=url, api_key=KEY, headers={"X-Tenant": HEADER}, timeout=0.3
        ):
            pass

    with FaultServer(script) as server, pytest.raises(errors.AI365VIPError) as caught:
        asyncio.run(read(server.url))
    _check_error(caught.value)


def test_a_key_that_needs_quoting_is_redacted_in_an_address_too() -> None:
    def elsewhere(x: Exchange) -> None:
        x.reply("307 Moved", "", "Location: http://elsewhere.test/sk%2Fa%2Bb%3D%3D%C3%A9/x")

    with FaultServer(elsewhere) as server:
        error = call(_model(server.url, api_key="sk/a+b==é"), "invoke").error
    assert "http://elsewhere.test/[redacted]/x" in str(error)


def test_a_message_that_cannot_be_written_shows_no_secret() -> None:
    model = _model("http://127.0.0.1:9")
    with pytest.raises(errors.AI365VIPInvalidRequestError) as caught:
        model.invoke("a lone surrogate: \ud800")
    _check_error(caught.value)
    with pytest.raises(errors.AI365VIPInvalidRequestError) as caught:
        model.invoke("x", extra_body={"no": float("nan")})
    _check_error(caught.value)


def _echo_everywhere(status: str, content_type: str, body: str) -> Script:
    def script(x: Exchange) -> None:
        x.reply(
            status.format(KEY),
            body.format(KEY),
            f"Content-Type: {content_type}",
            f"X-Echo: {KEY} {HEADER}",
            f"Set-Cookie: session={KEY}",
            f"Location: http://elsewhere.test/{KEY}?key={KEY}",
        )

    return script


@pytest.mark.parametrize(
    "script",
    [
        _echo_everywhere("500 Incorrect API key provided: {}.", "text/plain", "Error"),
        _echo_everywhere("401 Unauthorized", "application/json", '{{"error": "bad key {}"}}'),
        _echo_everywhere("429 Slow down", "application/json", '{{"message": "{} is too fast"}}'),
        _echo_everywhere("503 Busy", "text/html", "<html><body>{}</body></html>"),
        _echo_everywhere("200 OK", "text/html", "<!doctype html><title>{}</title>"),
        _echo_everywhere("200 OK", "application/json", '{{"error": {{"message": "{}"}}}}'),
        _echo_everywhere("307 Moved", "text/plain", "{}"),
        _echo_everywhere("302 Found", "text/plain", "{}"),
    ],
    ids=["500", "401", "429", "503", "200 HTML", "200 JSON", "307", "302"],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_secret_that_the_server_echoes_is_redacted(script: Script, way: str) -> None:
    with FaultServer(script) as server:
        error = call(_model(server.url, max_retries=0), way).error
    _check_error(error)
    assert isinstance(error, errors.AI365VIPError)
    assert "set-cookie" not in error.headers


def _shown(error: BaseException | None) -> str:
    """All that an error shows: itself, its data, its traceback."""
    assert isinstance(error, errors.AI365VIPError)
    return f"{error!r} {vars(error)} {_traceback(error)}"


def _echoing(status: str, body: str, *headers: str) -> Script:
    return lambda x: x.reply(status, body, *headers)


_PAGE = "Content-Type: text/html"
_LONG_KEY = "sk-" + "long-sentinel-" * 20


@pytest.mark.parametrize(
    ("status", "body", "headers", "key"),
    [
        ("500 No", "." * 1_990 + KEY, (), KEY),
        ("500 No", "." * 2_000 + KEY, (), KEY),
        ("500 " + "." * 490 + KEY, "", (), KEY),
        ("500 No", json.dumps({"message": "." * 490 + KEY}), (), KEY),
        ("200 OK", "<html>" + "." * 1_985 + KEY, (_PAGE,), KEY),
        ("302 " + "." * 490 + KEY, "", ("Location: http://a.test/" + "." * 470 + KEY,), KEY),
        # What is read of a body is bounded, too, and less is left of it without the keys.
        ("500 No", (_LONG_KEY + "..") * 50, (), _LONG_KEY),
        ("200 OK", "<html>" + (_LONG_KEY + "..") * 500, (_PAGE,), _LONG_KEY),
        ("500 No", ("sk-" + "é" * 150 + "...") * 50, (), "sk-" + "é" * 150),
    ],
    ids=[
        *("body", "body, behind", "reason", "message", "page", "redirect"),
        *("read", "read of a page", "read, in mid-character"),
    ],
)
def test_a_secret_where_a_text_is_cut_leaves_no_part(
    status: str, body: str, headers: tuple[str, ...], key: str
) -> None:
    with FaultServer(_echoing(status, body, *headers)) as server:
        error = call(_model(server.url, max_retries=0, api_key=key), "invoke").error
    assert key[:3] not in _shown(error)


@pytest.mark.parametrize(
    ("headers", "echoed"),
    [
        ({"Authorization": "Bearer TOKEN-12345"}, "TOKEN-12345"),
        ({"authorization": "Bearer  TOKEN-12345 "}, "TOKEN-12345"),
        ({"X-Authorization": "TOKEN TOKEN-12345"}, "TOKEN-12345"),
        ({"X-Upstream": "Bearer TOKEN-12345"}, "TOKEN-12345"),
        ({"Authorization": "Basic dXNlcjpUT0tFTi0xMjM0NQ=="}, "user:TOKEN-12345"),
        ({"Authorization": "Basic dXNlcjpUT0tFTi0xMjM0NQ=="}, "TOKEN-12345"),
        ({"Authorization": "Basic dXNlcjpUT0tFTi0xMjM0NQ=="}, "dXNlcjpUT0tFTi0xMjM0NQ=="),
        ({"Authorization": "Basic no-base64-12345"}, "no-base64-12345"),
        ({"Cookie": "a=b; session=TOKEN-12345"}, "TOKEN-12345"),
    ],
)
def test_the_secret_part_of_a_header_is_redacted_by_itself(
    headers: dict[str, str], echoed: str
) -> None:
    with FaultServer(_echoing("500 No", f"bad token {echoed}!")) as server:
        error = call(_model(server.url, max_retries=0, default_headers=headers), "invoke").error
    assert echoed not in _shown(error)
    assert "bad token [redacted]!" in _shown(error)


def test_what_a_proxy_was_sent_is_redacted() -> None:
    def refuse(x: Exchange) -> None:
        header = "Proxy-Authorization: "
        sent = next(h for h in x.request_head.split("\r\n") if h.startswith(header))
        x.reply("403 No", f"not for {sent.removeprefix(header)}!")

    with FaultServer(refuse) as proxy:
        url = proxy.url.replace("//", f"//user:{PASSWORD}@")
        error = call(_model("http://models.test", proxy=url, max_retries=0), "invoke").error
    assert "not for Basic [redacted]!" in str(error)


_ODD_KEY = 'abc/def+ghi<"é">jkl=='


@pytest.mark.parametrize(
    "echoed",
    [
        _ODD_KEY,
        json.dumps(_ODD_KEY)[1:-1],
        json.dumps(_ODD_KEY, ensure_ascii=False)[1:-1],
        json.dumps(_ODD_KEY)[1:-1].replace("/", "\\/"),
        quote(_ODD_KEY),
        quote(_ODD_KEY, safe=""),
        quote_plus(_ODD_KEY),
    ],
)
def test_a_secret_is_redacted_as_it_is_and_as_json_and_urls_spell_it(echoed: str) -> None:
    with FaultServer(_echoing("500 No", f"bad key {echoed}, {echoed}!")) as server:
        error = call(_model(server.url, max_retries=0, api_key=_ODD_KEY), "invoke").error
    assert isinstance(error, errors.AI365VIPError)
    assert error.body == "bad key [redacted], [redacted]!"


def _raised(act: Callable[[], object]) -> Exception:
    # Here, so that no frame of a test is in the traceback.
    with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is the question
        act()
    return caught.value


def test_a_list_of_models_that_is_none_shows_no_secret() -> None:
    with FaultServer(saying("." * 1_990 + KEY + HEADER)) as server:
        error = _raised(_model(server.url).list_models)
    _check_error(error)
    assert KEY[:6] not in _shown(error)


@pytest.mark.parametrize(
    "script",
    [empty, replying("200 OK", b"\xff"), stall_before_head, replying("500 No")],
    ids=["empty", "not UTF-8", "silence", "500"],
)
def test_an_address_on_the_same_server_that_holds_a_secret_is_not_shown(script: Script) -> None:
    def onwards(x: Exchange) -> None:
        x.reply("307 Moved", "", f"Location: /{KEY}/chat?key={KEY}")

    # Where silence is to end it, a limit in which this machine can be redirected.
    for limit in (0.2, 2, 20) if script is stall_before_head else (20,):
        with FaultServer(onwards, script) as server:
            timeout = Timeout(connect=20, first_byte=limit, between_bytes=20)
            error = call(_model(server.url, max_retries=0, timeout=timeout), "invoke").error
        if server.requests == 2:
            break
    assert KEY in server.exchanges[1].request_head
    _check_error(error)
    assert "/[redacted]/chat" in str(error)


# What is refused before it is sent.


def _made(arguments: dict[str, Any]) -> None:
    AI365VIP(**arguments)


def _generated(arguments: dict[str, Any]) -> None:
    async def first() -> None:
        await AI365VIP.create_async_generator("gpt-4o", HI, **arguments).__anext__()

    asyncio.run(first())


_ALL_SECRETS: dict[str, Any] = {
    "api_key": KEY,
    "headers": {"X-Tenant": HEADER},
    "proxy": f"http://user:{PASSWORD}@127.0.0.1:9",
    "base_url": "http://127.0.0.1:9",
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_retries": -1},
        {"timeout": 0},
        {"max_tokens": 0},
        {"temperature": -1},
        {"headers": {"X-Tenant": f"{HEADER}\r\nX: y"}},
        {"headers": {"X-Other": "fine", "X-Tenant": f"{HEADER}\ud800"}},
        {"headers": {"X Tenant": HEADER}},
        {"headers": {"Content-Length": HEADER}},
        {"base_url": f"http://user:{PASSWORD}@127.0.0.1:9"},
        {"base_url": f"http://127.0.0.1:9/?key={KEY}"},
        {"proxy": f"foo://user:{PASSWORD}@127.0.0.1:9"},
        {"proxy": f"http://user:{PASSWORD}@"},
    ],
    ids=" ".join,
)
def test_a_refused_argument_of_the_wire_client_is_in_no_traceback(wrong: Any) -> None:
    error = _raised(functools.partial(_generated, _ALL_SECRETS | wrong))
    assert type(error) is ValueError
    assert _leaked(_traceback(error)) == []
    if wrong.keys() <= set(inspect.signature(AI365VIP).parameters):
        error = _raised(functools.partial(_made, _ALL_SECRETS | wrong))
        assert _leaked(_traceback(error)) == []


@pytest.mark.parametrize(
    "setting",
    [
        {"max_retries": -1},
        {"max_retries": "many"},
        {"timeout": 0},
        {"timeout": "long"},
        {"temperature": -1},
        {"token_limit": 0},
        {"max_tokens": 0},
        {"special_tokens": "drop"},
        {"extra_body": {"key": "other"}},
        {"tools": [{"no": "tool"}]},
    ],
    ids=str,
)
@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
def test_a_refused_setting_of_a_call_shows_no_secret(setting: dict[str, Any], way: str) -> None:
    model = _with_a_proxy().bind(**setting)
    error = call(model, way).error  # type: ignore[arg-type]  # a bound model is called alike
    assert isinstance(error, (ValueError, TypeError))
    assert _leaked(_traceback(error)) == []


@pytest.mark.parametrize("value", [f"{HEADER}\r\nX: y", f"{HEADER}\n", f"{HEADER}\0"], ids=ascii)
def test_a_header_that_cannot_be_sent_is_named_without_its_value(value: str) -> None:
    with pytest.raises(ValueError, match="X-Tenant") as caught:
        ChatAI365VIP(default_headers={"X-Tenant": value})
    assert _leaked(_traceback(caught.value)) == []


# Logs and traces.


def _busy_then_ok(server: FaultServer) -> None:
    for way in WAYS:
        call(_model(server.url), way)


@pytest.mark.filterwarnings("ignore:.*unawaited")
def test_no_log_at_debug_holds_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("aiohttp", "aiohttp.client", "asyncio", "langchain_ai365vip", "urllib3"):
        caplog.set_level(logging.DEBUG, name)
    now = replying("503 Service Unavailable", KEY, "Retry-After: 0")
    with FaultServer(now, answer) as server:
        _busy_then_ok(server)
    with FaultServer(stall_mid_stream) as server:
        call(_model(server.url, timeout=IMPATIENT), "stream")
        asyncio.run(_call_in_debug_mode(server.url), debug=True)
    with Proxy("http", user="somebody:else") as proxy:
        call(_model("http://models.test", proxy=proxy.url("http", f"u:{PASSWORD}")), "ainvoke")
    assert caplog.records, "the retry at least is logged"
    shown = [f"{record.getMessage()} {record.args} {record.exc_text}" for record in caplog.records]
    assert _leaked("\n".join(shown)) == []


async def _call_in_debug_mode(url: str) -> None:
    turn = {"role": "user", "content": PROMPT}
    stream = AI365VIP.create_async_generator(
        "gpt-4o", [turn], base_url=url, api_key=KEY, headers={"X-Tenant": HEADER}
    )
    async for _ in stream:
        break
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator it is


class _Tracer(BaseTracer):
    """Keeps what LangSmith would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: list[str] = []

    def _persist_run(self, run: Run) -> None:
        self.payloads.append(run.model_dump_json(fallback=repr))
        self.payloads.append(repr(run))


@pytest.fixture
def tracer() -> _Tracer:
    return _Tracer()


def _traced(tracer: _Tracer, **configurable: str) -> RunnableConfig:
    return {
        "callbacks": [tracer],
        "metadata": {"tenant": "a"},
        "tags": ["t"],
        "configurable": configurable,
    }


@pytest.mark.parametrize("script", [answer, replying("401 No", KEY)], ids=["answer", "error"])
def test_no_traced_run_holds_a_secret(script: Script, tracer: _Tracer) -> None:
    with FaultServer(script) as server:
        model = _model(server.url, max_retries=0)
        chain = model | (lambda message: message.text)
        for runnable in (model, chain, model.with_retry(stop_after_attempt=1)):
            with contextlib.suppress(errors.AI365VIPAuthenticationError):
                runnable.invoke(PROMPT, _traced(tracer))
    assert len(tracer.payloads) == 6
    assert PROMPT in tracer.payloads[0]
    assert _leaked("\n".join(tracer.payloads)) == []


def test_a_key_that_is_configured_per_call_is_in_no_traced_run(tracer: _Tracer) -> None:
    with FaultServer(answer) as server:
        model = _model(server.url, api_key="sk-other").configurable_fields(
            api_key=ConfigurableField(id="api_key")
        )
        model.invoke(PROMPT, _traced(tracer, api_key=KEY))
        assert server.exchanges[0].json()["key"] == KEY
    assert tracer.payloads
    assert _leaked("\n".join(tracer.payloads)) == []
