"""`ai365vip check` and `models` against endpoints that are well, and ill in every way."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trustme
from langchain_core.language_models import FakeListChatModel

from langchain_ai365vip.cli.exits import MEANINGS, Exit
from langchain_ai365vip.server import LocalServer
from tests.cli.cli_kit import Ran, Run, runner
from tests.endpoint import Endpoint
from tests.ports import refused_url

KEY = "sk-right-and-secret"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@contextlib.contextmanager
def answering(
    status: int, reason: str = "", body: str = "", tls: trustme.CA | None = None, **headers: str
) -> Iterator[str]:
    """Serve one and the same answer to everything; give the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status, reason or None)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass  # a client that gave up during the TLS handshake

    with Server(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if tls is not None:
            scheme = "https"
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.issue_cert("127.0.0.1").configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"{scheme}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """Accept connections and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def closed_url() -> str:
    """A port at which nothing listens."""
    return refused_url()


def assert_found(ran: Ran, code: Exit, says: str) -> None:
    """The exit code and the finding in words are there, and no trace."""
    assert ran.code == code, ran
    assert f"result    {MEANINGS[code]}\n" in ran.out
    assert says in ran.out
    assert ran.err == ""


def test_an_endpoint_that_is_well_is_ok(run: Run) -> None:
    with LocalServer(FakeListChatModel(responses=["It is\nOK."]), model_id="fake") as server:
        ran = run("check", "--base-url", server.base_url, "--model", "fake")
        url = server.base_url
        assert server.requests == 2
    assert ran.code == Exit.OK
    endpoint, models, chat, result = ran.out.splitlines()
    assert endpoint == f"endpoint  {url}"
    assert models == "models    1: fake"
    assert re.fullmatch(r"chat      fake answered after \d+\.\d\d s: 'It is OK\.'", chat)
    assert result == "result    ok"


def test_a_model_that_the_endpoint_does_not_have_is_found(run: Run) -> None:
    with LocalServer({"llama": FakeListChatModel(responses=["OK"])}) as server:
        missing = run("check", "--base-url", server.base_url, "--model", "gpt-9")
        present = run("check", "--base-url", server.base_url, "--model", "llama")
    assert_found(missing, Exit.REFUSED, "answered 404")
    assert "note      'gpt-9' is not among the models; --model chooses another" in missing.out
    assert present.code == Exit.OK


def test_a_base_url_below_the_root_is_found(run: Run, endpoint: Endpoint) -> None:
    ran = run("check", "--base-url", f"{endpoint.base_url}/elsewhere")
    assert_found(ran, Exit.REFUSED, "base_url: /api/chat is appended to it")


def test_an_endpoint_without_a_list_of_models_is_ok_when_it_answers(run: Run) -> None:
    with answering(200, body="A reply, and no list.") as url:
        ran = run("check", "--base-url", url)
    assert ran.code == Exit.OK
    assert "models    failed: " in ran.out


def test_a_wrong_key_is_found_and_never_shown(run: Run) -> None:
    model = FakeListChatModel(responses=["OK"])
    with LocalServer(model, api_key=KEY) as server:
        wrong = run("check", "--base-url", server.base_url, "--api-key", "sk-wrong", "--debug")
        right = run("check", "--base-url", server.base_url, "--api-key", KEY, "--debug")
        none = run("check", "--base-url", server.base_url)
    assert_found(none, Exit.REFUSED, "Check api_key (or AI365VIP_API_KEY)")
    assert_found(wrong, Exit.REFUSED, "Check api_key (or AI365VIP_API_KEY)")
    assert "sk-wrong" not in wrong.out
    assert right.code == Exit.OK
    assert KEY not in right.out + right.err


def test_an_endpoint_that_lists_no_models_is_said_to(run: Run, endpoint: Endpoint) -> None:
    endpoint.models = []
    ran = run("models", "--base-url", endpoint.base_url)
    assert (ran.code, ran.out) == (Exit.OK, "")
    assert "lists no models; --model takes any id" in ran.err


def test_the_key_comes_from_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalServer(FakeListChatModel(responses=["OK"]), api_key=KEY) as server:
        monkeypatch.setenv("AI365VIP_API_KEY", KEY)
        monkeypatch.setenv("AI365VIP_BASE_URL", server.base_url)
        assert run("check").code == Exit.OK
        assert run("models").code == Exit.OK


@pytest.mark.parametrize("command", ["check", "models"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AI365VIP_BASE_URL", "http://user:PASSWORD@127.0.0.1:1"),
        ("AI365VIP_PROXY", "foo://user:PASSWORD@127.0.0.1:1"),
    ],
)
def test_a_wrong_setting_of_the_environment_is_wrong_usage(
    command: str, variable: str, value: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    ran = run(command)
    assert ran.code == Exit.USAGE
    assert f"(or {variable}) must" in ran.err
    assert "PASSWORD" not in ran.out + ran.err


def test_nothing_listening_is_found(run: Run, closed_url: str) -> None:
    assert_found(
        run("check", "--base-url", closed_url), Exit.NOT_REACHED, "the server was not reached"
    )


def test_an_unknown_host_is_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # The resolver is the network's other end: no test may ask a real one.
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    ran = run("check", "--base-url", "http://chat.invalid")
    assert_found(ran, Exit.NOT_REACHED, "the name was not found")


def test_silence_is_found(run: Run) -> None:
    with silent() as url:
        ran = run("check", "--base-url", url, "--timeout", "0.2")
    assert_found(ran, Exit.NOT_REACHED, "a time limit passed")


def test_plain_http_on_a_tls_address_is_found(run: Run) -> None:
    with answering(200, body="OK") as url:
        https = url.replace("http:", "https:")
        assert_found(run("check", "--base-url", https), Exit.NOT_REACHED, "TLS")


def test_a_certificate_of_an_unknown_authority_is_found_and_can_be_trusted(
    run: Run, tmp_path: Any
) -> None:
    authority, bundle = trustme.CA(), tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    with answering(200, body="[]", tls=authority) as url:
        assert_found(run("check", "--base-url", url), Exit.NOT_REACHED, "certificate")
        trusted = run("check", "--base-url", url, "--ca-bundle", str(bundle))
    assert trusted.code == Exit.OK


def test_a_proxy_that_is_not_there_is_found(run: Run, closed_url: str) -> None:
    ran = run("check", "--base-url", "http://chat.invalid", "--proxy", closed_url)
    assert_found(ran, Exit.NOT_REACHED, "the proxy was not reached")


@pytest.mark.parametrize(
    ("code", "says", "answer"),
    [
        pytest.param(
            Exit.REFUSED,
            "lets only browsers in",
            {"status": 403, "body": "<html>Just a moment...", "cf_mitigated": "challenge"},
            id="challenge-page",
        ),
        pytest.param(
            Exit.REFUSED, "may not do this", {"status": 403, "body": "no"}, id="forbidden"
        ),
        pytest.param(
            Exit.FAILED,
            "with an HTML page, such as for signing in",
            {"status": 200, "body": "<!doctype html><p>Log in", "content_type": "text/html"},
            id="login-page",
        ),
        pytest.param(
            Exit.REFUSED,
            "Send fewer requests",
            {"status": 429, "body": "slow down"},
            id="rate-limit",
        ),
        pytest.param(
            Exit.FAILED,
            "The server or its upstream failed",
            {"status": 500, "body": "Error"},
            id="server-failed",
        ),
        pytest.param(
            Exit.REFUSED,
            "Check api_key",
            {"status": 500, "reason": "Incorrect API key provided: sk-x", "body": "Error"},
            id="key-in-the-reason-phrase",
        ),
        pytest.param(
            Exit.REFUSED,
            "answered 404",
            {"status": 404, "body": "<!doctype html><p>404", "content_type": "text/html"},
            id="wrong-path",
        ),
        pytest.param(
            Exit.REFUSED,
            "Send a shorter conversation",
            {"status": 500, "reason": "maximum context length is 5 tokens", "body": "Error"},
            id="too-long",
        ),
    ],
)
def test_an_answer_that_is_no_reply_is_named(
    run: Run, code: Exit, says: str, answer: dict[str, Any]
) -> None:
    with answering(**answer) as url:
        assert_found(run("check", "--base-url", url), code, says)


def test_a_reply_that_breaks_off_is_found(run: Run) -> None:
    async def broken(_: Any) -> AsyncIterator[str]:
        yield "The ans"
        raise RuntimeError("the model died")

    with LocalServer(broken) as server:
        ran = run("check", "--base-url", server.base_url)
    assert_found(ran, Exit.NOT_REACHED, "after 7 characters")


def test_models_are_listed_one_a_line(run: Run, endpoint: Endpoint) -> None:
    assert run("models", "--base-url", endpoint.base_url) == Ran(0, "gpt-4o\tGPT-4o\n", "")


def test_models_of_an_endpoint_that_is_down_give_one_message(run: Run, closed_url: str) -> None:
    ran = run("models", "--base-url", closed_url)
    assert (ran.code, ran.out) == (Exit.NOT_REACHED, "")
    assert ran.err.startswith("ai365vip: ")
    assert ran.err.count("\n") == 1


HOSTILE = "a\x1b]0;PWNED\x07\x1b[31m\x9b2J\tb\nresult    ok"
SHOWN = "a␛]0;PWNED␇␛[31m\ufffd2J␉b␊result    ok"


def test_a_model_cannot_write_to_the_terminal_or_a_line_of_its_own(
    run: Run, endpoint: Endpoint
) -> None:
    endpoint.models = [{"id": HOSTILE, "name": HOSTILE}]
    assert run("models", "--base-url", endpoint.base_url).out == f"{SHOWN}\t{SHOWN}\n"
    checked = run("check", "--base-url", endpoint.base_url)
    assert checked.out.splitlines()[1] == f"models    1: {SHOWN}"
    assert "\x1b" not in checked.out


@pytest.mark.parametrize("command", [["models"], ["models", "--debug"], ["check"]])
def test_a_failing_server_cannot_write_to_the_terminal(run: Run, command: list[str]) -> None:
    body = '{"error": {"message": "no \x1b[31mway"}}'.replace("\x1b", "\\u001b")
    with answering(400, body=body, Content_Type="application/json") as url:
        ran = run(*command, "--base-url", url)
    assert ran.code != Exit.OK
    assert "way" in ran.out + ran.err
    assert "\x1b" not in ran.out + ran.err
