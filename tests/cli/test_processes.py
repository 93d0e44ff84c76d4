"""The command as a process: streams, pipes, signals, a terminal."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import http.client
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pyte
import pytest

from langchain_ai365vip.cli.exits import Exit
from tests.endpoint import Endpoint

pytestmark = pytest.mark.processes

COMMAND = [sys.executable, "-m", "langchain_ai365vip"]
PATIENCE = 120.0


def finished(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end, with an empty standard input."""
    return subprocess.run(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        env=os.environ | environment,
        check=False,
    )


@contextlib.contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command; it is killed if the test fails before its end."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def piped(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


class Terminal:
    """The command at a terminal of its own, as a person has it."""

    # The child makes the pseudo-terminal its controlling one, so that the character ^C
    # becomes a SIGINT by the kernel's doing.
    _ATTACH = """
        import fcntl, os, sys, termios
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.execv(sys.argv[1], sys.argv[1:])
    """

    def __init__(self, *arguments: str, kind: str = "dumb", **environment: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        self._seen = ""
        # A terminal may be read in the midst of a character.
        self._decoded = codecs.getincrementaldecoder("utf-8")().decode
        attach: list[str] = [sys.executable, "-c", textwrap.dedent(self._ATTACH)]
        self.process = subprocess.Popen(
            [*attach, *COMMAND, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            # No terminal answers here where its cursor is; nor is a history of ours touched.
            env=os.environ
            | {"TERM": kind, "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": "/dev/null"}
            | environment,
        )
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> str:
        """Read until `text` has been shown; give what was shown up to its end."""
        while text not in self._seen:
            ready, _, _ = select.select([self._master], [], [], PATIENCE)
            assert ready, f"no {text!r} within {PATIENCE} s: {self._seen!r}"
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: the other end is closed
                data = b""
            assert data, f"the terminal closed before {text!r}: {self._seen!r}"
            self._seen += self._decoded(data)
        shown, found, self._seen = self._seen.partition(text)
        return shown + found

    def wait_for_prompt(self) -> None:
        """Read until keys are read: then a paste is asked to be marked as one."""
        self.wait_for("\x1b[?2004h")

    def rest(self) -> str:
        """Read to the end of the process."""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while select.select([self._master], [], [], PATIENCE)[0]:
                data = os.read(self._master, 65536)
                if not data:
                    break
                self._seen += self._decoded(data)
            else:
                raise AssertionError(f"the process does not end: {self._seen!r}")
        return self._seen

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def test_an_answer_goes_to_standard_output_and_nothing_else_anywhere(endpoint: Endpoint) -> None:
    endpoint.pieces = ["Grün", ", ", "blau \U0001f535"]
    ran = finished("chat", "Name colors.", "--base-url", endpoint.base_url)
    assert (ran.returncode, ran.stdout.decode(), ran.stderr) == (0, "Grün, blau 🔵\n", b"")
    assert endpoint.bodies[0]["messages"] == [{"role": "user", "content": "Name colors."}]


def test_an_output_that_cannot_show_a_character_gets_a_question_mark(endpoint: Endpoint) -> None:
    endpoint.pieces = ["grün"]
    ran = finished("chat", "Hi", "--base-url", endpoint.base_url, PYTHONIOENCODING="ascii")
    assert (ran.returncode, ran.stdout) == (0, b"gr?n\n")


def test_a_failure_in_a_process_shows_no_key_even_with_tracebacks(endpoint: Endpoint) -> None:
    url = f"{endpoint.base_url}/wrong"
    ran = finished("chat", "Hi", "--base-url", url, "--api-key", "sk-secret", "--debug")
    assert (ran.returncode, ran.stdout) == (Exit.REFUSED, b"")
    assert b"Traceback" in ran.stderr
    assert b"sk-secret" not in ran.stderr


def test_every_piece_is_shown_before_the_next_one_is_sent(paced: Endpoint) -> None:
    paced.pieces = pieces = ["one", "two", "three"]
    with started("chat", "Count.", "--base-url", paced.base_url) as process:
        for piece in pieces:
            paced.release()
            assert piped(process.stdout).read(len(piece)) == piece.encode()
        assert piped(process.stdout).read() == b"\n"
        assert process.wait(PATIENCE) == 0


def test_ctrl_c_in_mid_answer_ends_with_130_and_stops_the_model(paced: Endpoint) -> None:
    with started("chat", "Count.", "--base-url", paced.base_url) as process:
        paced.release()
        assert piped(process.stdout).read(5) == b"Hello"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == Exit.INTERRUPTED
        assert piped(process.stdout).read() == b"\n"
        assert piped(process.stderr).read() == b""
    assert paced.closed.wait(PATIENCE)


def test_a_reader_that_leaves_ends_the_command_quietly(paced: Endpoint) -> None:
    paced.pieces = ["one\n", "two\n", "three\n"]
    with started("chat", "Count.", "--base-url", paced.base_url) as process:
        paced.release()
        assert piped(process.stdout).readline() == b"one\n"
        piped(process.stdout).close()
        paced.release()
        assert process.wait(PATIENCE) == Exit.FAILED
        assert piped(process.stderr).read() == b""
    assert paced.closed.wait(PATIENCE)


def test_a_conversation_remembers_stops_and_starts_over(endpoint: Endpoint) -> None:
    endpoint.pieces = lambda body: [f"answer {len(body['messages'])}", " end"]
    with Terminal("chat", "--base-url", endpoint.base_url, kind="xterm") as terminal:
        terminal.wait_for_prompt()
        terminal.type("first\n")
        terminal.wait_for("answer 1 end")
        terminal.wait_for_prompt()
        terminal.type("second\n")
        terminal.wait_for("answer 3 end")
        terminal.wait_for_prompt()
        terminal.type("/clear\n")
        terminal.wait_for_prompt()
        terminal.type("third\n")
        terminal.wait_for("answer 1 end")
        terminal.wait_for_prompt()
        terminal.type("\x04")
        assert terminal.process.wait(PATIENCE) == 0
    assert endpoint.bodies[1]["messages"] == [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "answer 1 end"},
        {"role": "user", "content": "second"},
    ]
    assert endpoint.bodies[2]["messages"] == [{"role": "user", "content": "third"}]


def test_ctrl_c_stops_an_answer_and_not_the_conversation(paced: Endpoint) -> None:
    with Terminal("chat", "--base-url", paced.base_url, kind="xterm") as terminal:
        terminal.wait_for_prompt()
        terminal.type("go on\n")
        paced.release()
        terminal.wait_for("Hello")
        terminal.type("\x03")
        terminal.wait_for("[stopped]")
        assert paced.closed.wait(PATIENCE)
        terminal.wait_for_prompt()
        paced.release_all()
        terminal.type("again\n")
        terminal.wait_for("Hello there!")
        terminal.wait_for_prompt()
        terminal.type("typed\x03")
        terminal.wait_for("once more")
        terminal.wait_for_prompt()
        terminal.type("\x03")
        assert terminal.process.wait(PATIENCE) == Exit.INTERRUPTED
        assert "Traceback" not in terminal.rest()
    assert paced.bodies[1]["messages"] == [
        {"role": "user", "content": "go on"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "again"},
    ]


def test_a_terminal_gets_no_escape_sequences_from_an_answer(endpoint: Endpoint) -> None:
    endpoint.pieces = ["\x1b]0;title\x07", "\x9b31m", "done\n"]
    with Terminal("chat", "Hi", "--base-url", endpoint.base_url) as terminal:
        assert terminal.process.wait(PATIENCE) == 0
        shown = terminal.rest()
    assert "␛]0;title␇\ufffd31mdone" in shown
    assert "\x1b" not in shown


def on_screen(shown: str) -> str:
    """What somebody sees at the end, and in what was scrolled away."""
    screen = pyte.HistoryScreen(80, 24, history=1000)
    pyte.Stream(screen).feed(shown)
    scrolled = ["".join(line[at].data for at in range(80)) for line in screen.history.top]
    return "\n".join(line.rstrip() for line in [*scrolled, *screen.display])


def test_an_answer_is_drawn_as_markdown_and_nothing_of_it_is_lost_or_repeated(
    endpoint: Endpoint,
) -> None:
    code = [f"line_{at} = {at}\n" for at in range(100, 140)]
    endpoint.pieces = [
        *("# Ti", "tle\n\nSome **bo", "ld** text,\nand <b>HTML</b> ", "![i](http://h/p.png).\n\n"),
        *("- one\n", "- two\n\n", "```python\n", *code, "```\n\n\x1b]0;x\x07 the end"),
    ]
    with Terminal("chat", "Hi", "--base-url", endpoint.base_url, kind="xterm") as terminal:
        shown = on_screen(terminal.rest())
        assert terminal.process.wait(PATIENCE) == 0
    for once in ("Title", "Some bold text,\nand <b>HTML</b> ![i](http://h/p.png).\n", " • two"):
        assert shown.count(once) == 1
    assert all(shown.count(line.strip()) == 1 for line in code)
    assert "␛]0;x␇ the end" in shown
    assert "**" not in shown


def test_a_table_loses_nothing_however_narrow_the_terminal_is(endpoint: Endpoint) -> None:
    names = [f"column{at}" for at in range(24)]
    tables = [["w" * 100, "b"], names]
    endpoint.pieces = [
        "\n".join([f"| {' | '.join(row)} |", "|---" * len(row) + "|", f"| {' | '.join(row)} |\n\n"])
        for row in tables
    ]
    with Terminal("chat", "Hi", "--base-url", endpoint.base_url, kind="xterm") as terminal:
        shown = on_screen(terminal.rest())
        assert terminal.process.wait(PATIENCE) == 0
    assert "…" not in shown
    assert shown.count("w") == 2 * 100
    assert all(len(re.findall(rf"{name}\b", shown)) == 2 for name in names)


def test_what_is_typed_while_an_answer_is_drawn_does_not_disturb_it(paced: Endpoint) -> None:
    with Terminal("chat", "--base-url", paced.base_url, kind="xterm") as terminal:
        terminal.wait_for_prompt()
        terminal.type("first\n")
        paced.release()
        shown = terminal.wait_for("Hello")
        terminal.type("\n\n\x03")
        shown += terminal.wait_for("[stopped]")
        shown += terminal.wait_for("\x1b[?2004h")
        terminal.type("second\n")
        paced.release()
        shown += terminal.wait_for("Hello")
        terminal.type("third\n")
        paced.release_all()
        # An answer may be drawn several times: only what is asked next ends it for sure.
        shown += terminal.wait_for("third")
        shown += terminal.wait_for("there!")
        shown += terminal.wait_for("\x1b[?2004h")
        terminal.type("\x04")
        shown += terminal.rest()
        assert terminal.process.wait(PATIENCE) == 0
    assert re.findall(r"^(Hello.*|\[.*|> \w.*)", on_screen(shown), re.MULTILINE) == [
        *("> first", "Hello", "[stopped]", "> second", "Hello there!", "> third", "Hello there!")
    ]


def test_history_lasts_across_sessions_for_its_owner_alone_or_not_at_all(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    state = {"kind": "xterm", "XDG_STATE_HOME": str(tmp_path)}
    for arguments, typed in [((), "first\r"), ((), "\x1b[A\r"), (("--no-history",), "other\r")]:
        with Terminal("chat", "--base-url", endpoint.base_url, *arguments, **state) as terminal:
            terminal.wait_for_prompt()
            terminal.type(typed)
            terminal.wait_for("there!")
            terminal.wait_for_prompt()
            terminal.type("\x04")
            terminal.rest()
            assert terminal.process.wait(PATIENCE) == 0
    assert [body["messages"][0]["content"] for body in endpoint.bodies] == [
        *("first", "first", "other")
    ]
    path = tmp_path / "ai365vip" / "history"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "other" not in path.read_text(encoding="utf-8")


def test_help_is_coloured_on_a_terminal_and_plain_elsewhere() -> None:
    with Terminal("--help", kind="xterm-256color") as terminal:
        shown = terminal.rest()
        assert terminal.process.wait(PATIENCE) == 0
    assert "\x1b[" in shown
    assert "130  ended by Ctrl-C" in on_screen(shown)
    assert b"\x1b" not in finished("--help").stdout


@pytest.mark.parametrize("arguments", ["own:agent", "own:make --factory", "own:nested.function"])
def test_ones_own_code_is_served_and_its_address_named(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with subprocess.Popen(
        [*COMMAND, "serve", *arguments.split(), "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            url = piped(process.stdout).readline().decode().strip()
            said = piped(process.stderr).readline().decode()
            asked = finished("chat", "Hi", "--base-url", url)
        finally:
            process.terminate()
    assert f"open {url} in a browser" in said
    assert asked.stdout == b"From own code.\n"


OWN = """
from langchain_core.language_models import FakeListChatModel

agent = FakeListChatModel(responses=["From own code."])

def make():
    return agent

class nested:
    def function(messages):
        return "From own code."
"""


# A model that stops in the middle until a line comes on standard input, for longer than the
# command grants: a test may be held up. Another line is a Ctrl-C that this thread gets.
SERVING = """
import asyncio
import signal
import sys
import threading
from langchain_core.runnables import RunnableLambda
from langchain_ai365vip.cli.ending import ending
from langchain_ai365vip.cli import serve

async def answer(messages):
    yield "one "
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline() == b"Ctrl-C\\n":
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    yield "two"

with ending(debug=False):
    serve.serve(RunnableLambda(answer), host="127.0.0.1", port=0, grace=600)
"""
ASKED = b'{"model": {"id": "m"}, "messages": [{"role": "user", "content": "Hi"}], "key": ""}'


@contextlib.contextmanager
def serving() -> Iterator[tuple[subprocess.Popen[bytes], http.client.HTTPResponse]]:
    """A serving process, and the answer that it is in the middle of."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        # A line that never comes is none.
        patience = threading.Timer(PATIENCE, process.kill)
        patience.start()
        try:
            url = piped(process.stdout).readline().decode().strip()
            request = urllib.request.Request(f"{url}/api/chat", data=ASKED, method="POST")
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                assert answer.read(4) == b"one "
                assert piped(process.stderr).readline().startswith(b"Serving ")
                yield process, answer
        finally:
            patience.cancel()
            process.kill()


@pytest.mark.parametrize(
    "signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda signum: signum.name
)
def test_a_signal_ends_serving_cleanly_after_the_replies_under_way(signum: signal.Signals) -> None:
    with serving() as (process, answer):
        process.send_signal(signum)
        assert piped(process.stderr).readline().startswith(b"Stopping: ")
        piped(process.stdin).write(b"\n")
        piped(process.stdin).flush()
        assert answer.read() == b"two"
        assert process.wait(PATIENCE) == 0
        assert piped(process.stderr).read() == b""


def test_a_second_ctrl_c_cuts_the_replies_under_way() -> None:
    with serving() as (process, answer):
        process.send_signal(signal.SIGINT)
        assert piped(process.stderr).readline().startswith(b"Stopping: ")
        process.send_signal(signal.SIGINT)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()
        assert process.wait(PATIENCE) == Exit.INTERRUPTED
        assert piped(process.stderr).read() == b""


def test_ctrl_c_that_interrupts_no_wait_is_noticed() -> None:
    with serving() as (process, answer):
        piped(process.stdin).write(b"Ctrl-C\n")
        piped(process.stdin).flush()
        assert piped(process.stderr).readline().startswith(b"Stopping: ")
        piped(process.stdin).write(b"Ctrl-C\n")
        piped(process.stdin).flush()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            answer.read()
        assert process.wait(PATIENCE) == Exit.INTERRUPTED


PROVIDER = """
from langchain_core.language_models import FakeListChatModel

class ChatXAI(FakeListChatModel):
    def __init__(self, model, **_):
        super().__init__(responses=[f"This is {model}."])
"""


def test_several_models_are_served_within_bounds_and_requests_are_shown(tmp_path: Path) -> None:
    (tmp_path / "langchain_xai.py").write_text(PROVIDER)
    options = ["--model", "xai:one", "--model", "xai:two", "--default", "xai:two"]
    bounds = ["--max-body-size", "200", "--max-concurrency", "1", "--grace", "0.5"]
    with started(
        "serve", *options, *bounds, "--access-log", "--port", "0", PYTHONPATH=str(tmp_path)
    ) as process:
        url = piped(process.stdout).readline().decode().strip()
        assert piped(process.stderr).readline().startswith(b"Serving ")
        for name, status, said in [
            (b"xai:one", 200, b"This is one."),
            (b"gpt-3.5-turbo", 200, b"This is two."),
            (b"x" * 200, 413, b"The request's body is larger than 200 bytes"),
        ]:
            request = urllib.request.Request(
                f"{url}/api/chat", data=ASKED.replace(b'"m"', b'"%s"' % name), method="POST"
            )
            try:
                answer = urllib.request.urlopen(request, timeout=PATIENCE)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                assert (answer.status, answer.read()) == (status, said)
            assert (
                b' 127.0.0.1 "POST /api/chat" %d in ' % status in piped(process.stderr).readline()
            )
        process.send_signal(signal.SIGTERM)
        assert b"0.5 s to end" in piped(process.stderr).readline()
        assert process.wait(PATIENCE) == 0


def test_a_shell_is_told_how_a_command_goes_on() -> None:
    typed = {"COMP_WORDS": "ai365vip ba", "COMP_CWORD": "1"}
    ran = subprocess.run(
        [str(Path(sys.executable).with_name("ai365vip"))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        env=os.environ | typed | {"_AI365VIP_COMPLETE": "complete_bash"},
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"batch\n", b"")


@pytest.mark.parametrize("module", ["typer", "rich", "prompt_toolkit"])
def test_without_the_extra_one_line_says_what_to_install(module: str) -> None:
    script = (
        f"import sys; sys.modules['{module}'] = None\n"
        "from langchain_ai365vip.cli import main\nmain()"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert ran.stderr.count(b"\n") == 1
    assert b'pip install ".[cli]" in a checkout' in ran.stderr


@pytest.mark.parametrize("command", [["chat", "Hi"], ["chat"], ["models"], ["check"]], ids=" ".join)
def test_a_closed_standard_output_is_one_message(command: list[str], endpoint: Endpoint) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *COMMAND, *command, "--base-url", endpoint.base_url],
        input=b"Hi",
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr.startswith(b"ai365vip: Standard output is closed")
    assert (done.stderr.count(b"\n"), done.returncode) == (1, Exit.FAILED)
    if command[0] == "chat":
        assert endpoint.requests == 0


def test_a_closed_standard_error_does_not_keep_an_answer_back(endpoint: Endpoint) -> None:
    endpoint.pieces = ["The answer."]
    done = subprocess.run(
        ["sh", "-c", '"$@" 2>&-', "sh", *COMMAND, "chat", "Hi", "--base-url", endpoint.base_url],
        input=b"",
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stdout, done.returncode) == (b"The answer.\n", Exit.OK)


def test_a_second_ctrl_c_while_the_process_ends_changes_nothing() -> None:
    script = textwrap.dedent("""
        import atexit, signal, sys

        class Keyboard:
            buffer = property(lambda self: self)
            isatty = lambda self: False
            read = lambda self: signal.raise_signal(signal.SIGINT)

        atexit.register(signal.raise_signal, signal.SIGINT)
        from langchain_ai365vip.cli import main
        sys.stdin = Keyboard()
        main()
    """)
    ran = subprocess.run(
        [sys.executable, "-c", script, "chat"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (Exit.INTERRUPTED, "", "")
