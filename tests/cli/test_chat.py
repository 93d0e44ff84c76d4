"""`ai365vip chat` in this process: what goes out, what is shown, what is remembered."""

from __future__ import annotations

import io
import json
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import web
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda
from pydantic import BaseModel, ValidationError

from langchain_ai365vip import ChatAI365VIP, __version__
from langchain_ai365vip.cli.chat import answer
from langchain_ai365vip.cli.ending import ending
from langchain_ai365vip.cli.exits import Exit
from langchain_ai365vip.cli.serve import serve
from langchain_ai365vip.cli.terminal import warnings_as_notes
from langchain_ai365vip.server import LocalServer
from tests.cli.cli_kit import Ran, Run, converse, runner
from tests.endpoint import Endpoint
from tests.ports import refused_url


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set what is piped into the command."""

    def piped(text: str) -> None:
        stdin = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", stdin)

    piped("")
    return piped


@pytest.fixture
def run(piped: object, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def test_options_reach_the_wire(run: Run, endpoint: Endpoint) -> None:
    endpoint.pieces = ["a b c d e f g h i j k l m n o p"]
    ran = run(
        *("chat", "Hi", "--base-url", endpoint.base_url, "--model", "m", "--system", "Be brief."),
        *("--temperature", "0", "--max-tokens", "2", "--api-key", "sk-1"),
    )
    body = endpoint.bodies[0]
    assert ran.code == 0
    assert 0 < len(ran.out) < 20
    assert (body["model"]["id"], body["prompt"]) == ("m", "Be brief.")
    assert (body["temperature"], body["key"]) == (0, "sk-1")


def test_what_is_piped_in_is_part_of_the_prompt(
    run: Run, piped: Callable[[str], None], endpoint: Endpoint
) -> None:
    piped("Größe\n")
    assert run("chat", "Sum up:", "--base-url", endpoint.base_url).code == 0
    assert endpoint.bodies[0]["messages"] == [{"role": "user", "content": "Sum up:\n\nGröße\n"}]


def test_serving_ends_as_a_failure_when_a_model_ends_its_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exits(_: object) -> str:
        raise SystemExit("no more")

    quietly = {"return_exceptions": True}

    def ask(url: str) -> None:
        model = ChatAI365VIP(base_url=url, max_retries=0)
        asking.append(threading.Thread(target=model.batch, args=(["Hi"],), kwargs=quietly))
        asking[0].start()

    asking: list[threading.Thread] = []
    monkeypatch.setattr("langchain_ai365vip.cli.serve.say", ask)
    with pytest.raises(SystemExit) as ended, ending(debug=False):
        serve(RunnableLambda(exits), host="127.0.0.1", port=0)
    assert ended.value.code == Exit.FAILED
    assert "The server has ended" in capsys.readouterr().err
    asking[0].join(60)


def test_the_public_site_is_named_where_nothing_says_whom_to_ask(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        proxy = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ran = run("models", "--proxy", proxy)
    assert ran.code == Exit.NOT_REACHED
    first, error = ran.err.splitlines()
    assert first == (
        "Asking the public site, https://chat.ai365vip.com: --base-url names another endpoint."
    )
    assert error.startswith("ai365vip: ")


def test_the_environment_says_where_to_ask(
    run: Run, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI365VIP_BASE_URL", endpoint.base_url)
    monkeypatch.setenv("AI365VIP_API_KEY", "sk-2")
    assert run("chat", "Hi") == Ran(0, "Hello there!\n", "")
    assert endpoint.bodies[0]["key"] == "sk-2"


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        pytest.param(["a", "b"], "ab\n", id="a-line-end-is-added"),
        pytest.param(["a\n"], "a\n", id="and-not-doubled"),
        pytest.param(["\x1b[31mred"], "␛[31mred\n", id="escape-sequences-are-visible"),
        pytest.param(["a\r\nb"], "a\r\nb\n", id="line-ends-stay"),
    ],
)
def test_an_answer_is_shown_as_it_is(
    run: Run, endpoint: Endpoint, pieces: list[str], shown: str
) -> None:
    endpoint.pieces = pieces
    assert run("chat", "Hi", "--base-url", endpoint.base_url).out == shown


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        pytest.param("\x1b[200~one\ntwo\n\x1b[201~\r", "one\ntwo", id="a-paste"),
        pytest.param("one\x1b\rtwo\r", "one\ntwo", id="alt-enter"),
        pytest.param('"""one\r  two\r"""\r', "one\n  two", id="quotes"),
        pytest.param("first\x01\x0bsecond\r", "second", id="editing"),
        pytest.param("/usr/bin is what?\r", "/usr/bin is what?", id="a-path"),
        pytest.param(" /help\r", " /help", id="a-commands-name-after-a-space"),
    ],
)
def test_what_is_typed_is_one_message(endpoint: Endpoint, typed: str, sent: str) -> None:
    converse(endpoint, typed)
    (body,) = endpoint.bodies
    assert body["messages"] == [{"role": "user", "content": sent}]


def test_a_conversation_says_whom_it_asks_and_takes_commands(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    converse(
        endpoint,
        *("/help\r", "/nonsense now\r", "/system Be brief.\r", "/model m-2\r", "one\r"),
        *("/clear\r", "two\r", "/system\r", "/model\r", "/exit\r", "never\r"),
    )
    shown = capsys.readouterr().err
    assert shown.startswith(f"gpt-3.5-turbo at {endpoint.base_url}. ")
    assert all(len(line) < 80 for line in shown.splitlines())
    for said in ("/save FILE ", "[no command /nonsense, and nothing was sent", "[model: m-2]"):
        assert said in shown
    assert [body["messages"][0]["content"] for body in endpoint.bodies] == ["one", "two"]
    assert {(body["model"]["id"], body["prompt"]) for body in endpoint.bodies} == {
        ("m-2", "Be brief.")
    }


def test_a_system_prompt_may_have_several_lines(endpoint: Endpoint) -> None:
    converse(endpoint, '/system """Be\rbrief."""\r', "one\r")
    assert endpoint.bodies[0]["prompt"] == "Be\nbrief."


def test_a_conversation_is_saved_for_its_owner_and_overwrites_nothing(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "talk.md"
    converse(endpoint, "Hi\r", f"/save {path}\r", f"/save {path}\r", f"/save {tmp_path}/no/x\r")
    assert "## User\n\nHi\n\n## Assistant\n\nHello there!\n" in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o600
    shown = capsys.readouterr().err
    assert f"[saved to {path}]" in shown
    assert f"[{path} exists, and nothing is overwritten" in shown
    assert "[not saved: " in shown


def test_scripts_get_json(run: Run, endpoint: Endpoint) -> None:
    endpoint.pieces = ["Grün", "\x1b"]
    ran = run("chat", "Hi", "--json", "--base-url", endpoint.base_url)
    assert json.loads(ran.out) == {
        "content": "Grün\x1b",
        "model": "gpt-3.5-turbo",
        "finish_reason": "stop",
    }
    endpoint.models = [{"id": "m", "name": "M"}]
    ran = run("models", "--json", "--base-url", endpoint.base_url)
    assert json.loads(ran.out) == [{"id": "m", "name": "M"}]


OWN = """
from langchain_core.language_models import FakeListChatModel
agent = FakeListChatModel(responses=["hi"])
value = 3
def make(): return agent
def fails(): raise RuntimeError("not\\nnow")
"""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("chta", 2, "No such command 'chta'"),
        ("chat Hi --modle m", 2, "--modle"),
        ("chat Hi --ca-bundle none.pem", 2, "none.pem"),
        ("chat Hi there", 2, "unexpected extra argument"),
        ("chat Hi --temperature hot", 2, "--temperature"),
        ("chat Hi --base-url nowhere", 2, "must be an http:// or https:// address"),
        ("chat Hi --base-url {refused}", 3, "was not reached"),
        ("chat Hi --base-url {url}/wrong", 4, "/api/chat is appended to it"),
        ("chat Hi --base-url {served}", 4, "Check api_key"),
        ("chat --gguf missing.gguf Hi", 2, "missing.gguf"),
        ("serve", 2, "Say what to serve"),
        ("serve own", 2, "expected MODULE:OBJECT"),
        ("serve own.py:agent", 2, "has no .py"),
        ("serve openai:gpt-9", 2, "--model PROVIDER:NAME"),
        ("serve own:agnt", 2, "no attribute 'agnt'"),
        ("serve json:gpt-9", 2, "--model PROVIDER:NAME"),
        ("serve own:make", 2, "add --factory"),
        ("serve own:fails --factory", 2, "RuntimeError: not now (--debug shows"),
        ("serve own:value", 2, "cannot answer: pass a chat model"),
        ("serve --local --factory", 2, "--factory is for MODULE:OBJECT"),
        ("serve own:agent --local", 2, "Say what to serve"),
    ],
)
def test_what_a_newcomer_gets_wrong_is_said_in_three_lines(
    run: Run,
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    code: int,
    says: str,
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own", raising=False)
    with LocalServer(FakeListChatModel(responses=["x"]), api_key="sk-1") as served:
        urls = {"url": endpoint.base_url, "refused": refused_url(), "served": served.base_url}
        ran = run(*arguments.format(**urls).split())
    assert (ran.code, ran.out) == (code, "")
    assert says in ran.err
    assert ran.err.count("\n") <= 3


@pytest.mark.parametrize(("seconds", "noted"), [(0, False), (1, True)])
def test_only_a_retry_that_takes_a_while_is_noted(
    run: Run, endpoint: Endpoint, caplog: pytest.LogCaptureFixture, seconds: int, noted: bool
) -> None:
    busy = web.Response(status=503, headers={"Retry-After": str(seconds)})
    endpoint.response = lambda _: busy if endpoint.requests == 1 else None
    assert run("chat", "Hi", "--base-url", endpoint.base_url).out == "Hello there!\n"
    assert ("Retry 1 in " in caplog.text) is noted


def test_an_image_that_is_piped_in_is_refused_in_words(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = io.TextIOWrapper(io.BytesIO(b"\x89PNG\r\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", image)
    ran = run("chat", "What is this?")
    assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1)
    assert "the protocol carries text only" in ran.err


@pytest.mark.parametrize("debug", [True, False])
def test_a_failure_is_one_message_without_the_key(
    run: Run, endpoint: Endpoint, debug: bool
) -> None:
    arguments = ["chat", "Hi", "--base-url", f"{endpoint.base_url}/wrong", "--api-key", "sk-secret"]
    ran = run(*arguments, *(["--debug"] if debug else []))
    assert (ran.code, ran.out) == (Exit.REFUSED, "")
    assert "sk-secret" not in ran.err
    assert ran.err.splitlines()[-1].startswith("ai365vip: http://127.0.0.1:")
    assert ("Traceback" in ran.err) is debug
    assert debug or ran.err.count("\n") == 1


def test_a_warning_is_a_note_without_source_lines(run: Run, endpoint: Endpoint) -> None:
    warnings_as_notes()  # undone by pytest, which keeps each test's warnings apart
    ran = run("chat", "What is <|endoftext|>?", "--base-url", endpoint.base_url)
    assert ran.code == 0
    assert ran.err.startswith("Note: A text holds a string such as <|endoftext|>")
    assert ran.err.count("\n") == 1


def test_a_failed_turn_is_reported_and_leaves_the_conversation_as_it_was(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.pieces = lambda body: [] if "bad" in str(body["messages"][-1]) else ["fine"]
    converse(endpoint, "good\r", "bad\r", "third\r")
    assert [turn["content"] for turn in endpoint.bodies[-1]["messages"]] == [
        *("good", "fine"),
        "third",
    ]
    shown = capsys.readouterr()
    assert shown.out == "fine\nfine\n"
    assert "[not kept in the conversation]" in shown.err


def test_an_interrupt_that_does_not_wake_the_waiting_thread_still_ends_the_wait(
    paced: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ChatAI365VIP(base_url=paced.base_url, max_retries=0)
    parts: list[str] = []
    missed = threading.Event()

    def interrupt() -> None:
        while "".join(parts) != "Hello":
            paced.closed.wait(0.01)
        # To this thread: the main one has the signal to handle and is not woken by it, as
        # when a Ctrl-C comes in the instant before its wait begins.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        if not paced.closed.wait(60):
            missed.set()
            paced.release_all()

    thread = threading.Thread(target=interrupt)
    thread.start()
    paced.release()
    with pytest.raises(KeyboardInterrupt):
        answer(model, [HumanMessage("Hi")], parts)
    thread.join()
    assert "".join(parts) == "Hello"
    assert not missed.is_set()


def test_serving_on_a_port_in_use_is_explained(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    port = int(endpoint.base_url.rpartition(":")[2])
    with pytest.raises(SystemExit) as ended, ending(debug=False):
        serve(FakeListChatModel(responses=["x"]), host="127.0.0.1", port=port)
    assert ended.value.code == Exit.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"host='127.0.0.1', port={port}: Address already in use" in shown.err
    assert "(port=0 takes a free one)" in shown.err


class Provider:
    """A provider's class, in the place of its package's."""

    fault: Exception

    def __init__(self, **_: object) -> None:
        raise self.fault


class OtherError(Exception):
    """As providers' packages have their own."""


class Settings(BaseModel):
    temperature: float


def a_fault_of_validation() -> Exception:
    with pytest.raises(ValidationError) as raised:
        Settings(temperature="sk-of-the-provider")
    return raised.value


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        pytest.param(
            OtherError("Missing credentials.\n\nPass an `api_key`, or set XAI_API_KEY."),
            "Missing credentials. Pass an `api_key`, or set XAI_API_KEY.",
            id="of-its-own",
        ),
        pytest.param(ValueError("Did not find xai_api_key."), "Did not find xai_", id="value"),
        pytest.param(OtherError("Bad sk-of-the-provider!"), "Bad [redacted]!", id="with-a-key"),
        pytest.param(a_fault_of_validation(), "temperature: Input should be", id="validation"),
    ],
)
def test_a_provider_that_refuses_to_be_made_is_explained_in_a_line_without_secrets(
    run: Run, monkeypatch: pytest.MonkeyPatch, fault: Exception, says: str
) -> None:
    package = ModuleType("langchain_xai")
    package.ChatXAI = Provider  # type: ignore[attr-defined]  # what a package is made of
    monkeypatch.setitem(sys.modules, "langchain_xai", package)
    monkeypatch.setenv("XAI_API_KEY", "sk-of-the-provider")
    monkeypatch.setattr(Provider, "fault", fault, raising=False)
    ran = run("serve", "--model", "xai:grok")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert ran.err.startswith("ai365vip: --model xai:grok: LangChain or the provider's package")
    assert says in ran.err
    assert "set what is missing in the environment" in ran.err
    assert ran.err.count("\n") == 1
    assert "sk-of-the-provider" not in ran.err
    assert "report" not in ran.err


def test_serving_a_model_of_an_unknown_provider_lists_the_known_ones(run: Run) -> None:
    ran = run("serve", "--model", "nobody:gpt-4o")
    assert ran.code == Exit.USAGE
    assert "nobody" in ran.err
    assert "openai" in ran.err
    assert "model_provider" not in ran.err
    assert ran.err.count("\n") == 1


def test_serving_beyond_this_machine_without_a_key_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended, ending(debug=False):
        serve(FakeListChatModel(responses=["x"]), host="192.0.2.1", port=0)
    assert ended.value.code == Exit.USAGE
    assert "reachable from other machines" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version") == Ran(0, f"ai365vip {__version__}\n", "")
