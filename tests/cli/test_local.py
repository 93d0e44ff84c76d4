"""The command with the real, very small model: `--local`, `--gguf`, `serve --local`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from langchain_ai365vip.cli.exits import Exit
from langchain_ai365vip.local import demo_weights
from tests.cli.test_processes import COMMAND, PATIENCE, Terminal, finished, piped, started

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9"], ids=["plain", "proxy-in-environment"])
def test_the_readmes_first_command_answers(proxy: str) -> None:
    ran = finished("chat", "--local", "Name three colors.", AI365VIP_PROXY=proxy, HTTP_PROXY=proxy)
    assert ran.returncode == 0, ran.stderr
    assert "Red" in ran.stdout.decode()
    assert ran.stderr.decode().count("\n") == 1
    assert "a very small model" in ran.stderr.decode()


def test_the_answer_arrives_in_pieces() -> None:
    # As many tokens as take seconds: who reads may be held up for some of them.
    asked = ("Write a story about the sea.", "--max-tokens", "200")
    with started("chat", "--local", *asked) as process:
        pieces = []
        while data := os.read(piped(process.stdout).fileno(), 65536):
            pieces.append(data)
        assert process.wait(PATIENCE) == 0
    assert len(pieces) > 3
    assert b"sea" in b"".join(pieces)


def test_a_file_of_ones_own_answers_without_the_note() -> None:
    ran = finished("chat", "What is 2+2?", "--gguf", str(demo_weights()), "--max-tokens", "20")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.strip()


def test_a_damaged_file_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    ran = finished("chat", "Hi", "--gguf", str(path))
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert ran.stderr.startswith(b"ai365vip: llama.cpp cannot load ")
    assert ran.stderr.count(b"\n") == 1


def test_ctrl_c_in_mid_answer_ends_the_local_model_too() -> None:
    with started("chat", "--local", "Write a long story.", "--max-tokens", "500") as process:
        assert os.read(piped(process.stdout).fileno(), 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert b"Traceback" not in piped(process.stderr).read()


def test_a_conversation_with_the_local_model_shows_its_loading_and_remembers() -> None:
    with Terminal("chat", "--local", kind="xterm") as terminal:
        terminal.wait_for("Loading SmolLM2-135M-Instruct")
        terminal.wait_for_prompt()
        terminal.type("Name three colors.\n")
        terminal.wait_for("Green.")
        terminal.wait_for_prompt()
        terminal.type("Which one is the color of blood?\n")
        terminal.wait_for("Red")
        terminal.wait_for_prompt()
        terminal.type("\x04")
        assert terminal.process.wait(PATIENCE) == 0


def test_a_served_local_model_answers_chat_models_and_check_of_another_process() -> None:
    with started("serve", "--local", "--port", "0", "--api-key", "sk-1") as server:
        url = piped(server.stdout).readline().decode().strip()
        target = ("--base-url", url, "--api-key", "sk-1")
        answer = finished("chat", "What is the capital of France?", *target, "--temperature", "0")
        models = finished("models", *target)
        check = finished("check", *target)
        refused = finished("check", "--base-url", url)
        server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE) == 0
    assert b"Paris" in answer.stdout
    assert models.stdout.startswith(b"SmolLM2-135M-Instruct")
    assert check.returncode == 0
    assert refused.returncode == Exit.REFUSED


def test_a_pipe_that_closes_early_leaves_no_process_behind() -> None:
    command = f"{' '.join(COMMAND)} chat --local 'Write a long story.' | head -c 1"
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == Exit.FAILED
    assert len(ran.stdout) == 1
    assert b"Traceback" not in ran.stderr
