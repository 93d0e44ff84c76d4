"""The demo model for real: llama.cpp loads it, answers, is stopped, closed, forked."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage

from langchain_ai365vip.errors import AI365VIPConnectionError
from langchain_ai365vip.local import LocalModel

pytestmark = pytest.mark.heavy

COLORS = "Name three colors."
# Goes on until it is stopped or the slot's 2,048 tokens are full: 25 s at 80 tokens/s.
ENDLESS: dict[str, Any] = {"max_tokens": 1900, "extra_body": {"ignore_eos": True}}


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    with LocalModel() as model:
        yield model


def merged(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def key_of(model: LocalModel) -> str:
    client: Any = model._llama.load()
    return str(client.openai_api_key.get_secret_value())


def busy_slots(model: LocalModel) -> int:
    """Ask llama.cpp how many requests it is working on."""
    request = urllib.request.Request(
        f"{model._llama._address}/slots", headers={"Authorization": f"Bearer {key_of(model)}"}
    )
    with urllib.request.urlopen(request) as response:
        return sum(slot["is_processing"] for slot in json.load(response))


def wait_until_idle(model: LocalModel) -> None:
    deadline = time.monotonic() + 60
    while busy_slots(model):
        assert time.monotonic() < deadline, "llama.cpp goes on generating for nobody"
        time.sleep(0.01)


def run_script(script: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter; a deadlock fails the test by its timeout."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_it_answers_in_pieces_that_add_up_with_usage_once(model: LocalModel) -> None:
    chunks = [chunk for chunk in model.stream(COLORS) if isinstance(chunk, AIMessageChunk)]
    assert sum(bool(chunk.text) for chunk in chunks) > 3
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1
    whole = merged(chunks)
    assert "Red" in whole.text
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.response_metadata["model_provider"] == "llama.cpp"
    assert whole.response_metadata["model_name"] == model.model_name


def test_all_four_ways_of_calling_give_the_same_answer_in_several_event_loops(
    model: LocalModel,
) -> None:
    async def both() -> tuple[str, str]:
        pieces = [chunk async for chunk in model.astream(COLORS)]
        return (await model.ainvoke(COLORS)).text, "".join(piece.text for piece in pieces)

    expected = model.invoke(COLORS).text
    assert "".join(chunk.text for chunk in model.stream(COLORS)) == expected
    for _ in range(3):
        assert asyncio.run(both()) == (expected, expected)


def test_an_answer_depends_on_the_conversation_before_it(model: LocalModel) -> None:
    conversation = [
        SystemMessage("You are a helpful assistant."),
        HumanMessage(COLORS),
        AIMessage("Red, Blue, Green."),
        HumanMessage("Which one is the color of blood?"),
    ]
    assert "red" in model.invoke(conversation).text.lower()


def test_limits_stops_and_grammars_of_one_call_are_honoured(model: LocalModel) -> None:
    short = model.invoke(COLORS, max_tokens=2)
    assert short.response_metadata["finish_reason"] == "length"
    assert short.usage_metadata is not None
    assert short.usage_metadata["output_tokens"] == 2
    assert "," not in model.invoke(COLORS, stop=[","]).text
    assert model.invoke(COLORS, grammar='root ::= "yes" | "no"').text in {"yes", "no"}


def test_a_seed_makes_sampling_repeatable_whatever_was_asked_before(model: LocalModel) -> None:
    def sample(seed: int) -> str:
        return model.invoke("Tell me something.", temperature=2.0, min_p=0.0, seed=seed).text

    first = sample(1)
    assert sample(1) == first
    assert sample(2) != first
    model.invoke(COLORS)
    assert sample(1) == first


def test_a_conversation_longer_than_a_slot_is_refused_with_both_numbers(model: LocalModel) -> None:
    with pytest.raises(ContextOverflowError, match=r"exceeds .* context size \(2048 tokens\)"):
        model.invoke("word " * 3000)


def test_breaking_out_of_a_stream_stops_the_generation(model: LocalModel) -> None:
    for chunk in model.stream("Tell me a story.", **ENDLESS):
        if chunk.text:
            break
    gc.collect()
    wait_until_idle(model)


async def test_cancelling_a_call_stops_the_generation(model: LocalModel) -> None:
    started = asyncio.Event()

    async def read(stream: AsyncIterator[AIMessageChunk]) -> None:
        async for _ in stream:
            started.set()

    task = asyncio.create_task(read(model.astream("Tell me a story.", **ENDLESS)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    wait_until_idle(model)


def test_more_requests_than_slots_wait_for_their_turn(model: LocalModel) -> None:
    answers = model.batch([COLORS] * 6)
    assert all(answer.response_metadata["finish_reason"] == "stop" for answer in answers)


def test_the_port_asks_for_the_key(model: LocalModel) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{model._llama._address}/v1/models")
    assert key_of(model) not in repr(model)


def test_a_proxy_in_the_environment_gets_no_loopback_traffic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "OPENAI_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with LocalModel() as model:
        assert model.invoke(COLORS).text


@pytest.mark.parametrize("begun", [True, False], ids=["mid-answer", "just-sending"])
def test_closing_fails_requests_of_other_threads_at_once_without_a_deadlock(begun: bool) -> None:
    model = LocalModel().load()
    errors: list[BaseException] = []
    ready = threading.Barrier(4)

    def read() -> None:
        stream = model.stream("Tell me a story.", **ENDLESS)
        try:
            if begun:
                next(stream)
            ready.wait()
            for _ in stream:
                pass
        # RuntimeError: this thread found the model closed when it began.
        except (AI365VIPConnectionError, RuntimeError) as exc:
            errors.append(exc)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    model.close()
    for thread in threads:
        thread.join(timeout=60)
    assert len(errors) == 3
    if begun:
        assert all("closed while it was answering" in str(error) for error in errors)


async def test_closing_inside_the_loop_that_is_streaming_does_not_deadlock() -> None:
    model = LocalModel().load()
    streams = [model.astream("Tell me a story.", **ENDLESS) for _ in range(6)]
    # Four have a slot and have begun; two wait in llama.cpp's queue.
    for stream in streams[:4]:
        await anext(stream)
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams[4:]]
    await asyncio.sleep(0)
    model.close()
    for stream in streams[:4]:
        with pytest.raises(AI365VIPConnectionError, match="closed while it was answering"):
            [chunk async for chunk in stream]
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, (RuntimeError, AI365VIPConnectionError)) for outcome in outcomes)


async def test_aclose_lets_the_loop_run_while_requests_are_cut() -> None:
    async with LocalModel() as model:
        stream = model.astream("Tell me a story.", **ENDLESS)
        await anext(stream)
    with pytest.raises(AI365VIPConnectionError):
        [chunk async for chunk in stream]


def test_dropping_the_last_reference_in_mid_answer_frees_the_model() -> None:
    process = run_script(
        """
        import gc, threading
        from langchain_ai365vip.local import LocalModel

        model = LocalModel().load()
        stream = model.stream("Tell me a story.", max_tokens=1900)
        next(stream)
        del stream, model
        gc.collect()
        left = [t for t in threading.enumerate() if t is not threading.main_thread()]
        print("alive", left)
        """
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "alive []\n", "")


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "raise KeyboardInterrupt"])
def test_the_interpreter_ends_cleanly_with_an_answer_in_flight(ending: str) -> None:
    process = run_script(
        f"""
        import sys, threading
        from langchain_ai365vip.local import LocalModel

        model = LocalModel().load()
        begun = threading.Event()
        endless = {{"max_tokens": 1900, "extra_body": {{"ignore_eos": True}}}}

        def read():
            for chunk in model.stream("A story.", **endless):
                begun.set()

        threading.Thread(target=read, daemon=True).start()
        begun.wait()
        held = model.stream("Another.", **endless)
        next(held)
        print("begun", flush=True)
        {ending}
        """
    )
    assert process.stdout == "begun\n"
    assert process.returncode == {"pass": 0, "sys.exit(3)": 3}.get(ending, -signal.SIGINT)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_in_mid_answer_ends_the_process(signum: signal.Signals) -> None:
    script = """if True:
        from langchain_ai365vip.local import LocalModel
        with LocalModel() as model:
            for chunk in model.stream("A story.", max_tokens=1900, extra_body={"ignore_eos": True}):
                print("begun", flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signum)
        process.communicate(timeout=60)
    assert process.returncode == -signum


def test_a_forked_child_gets_a_clear_error_and_ends_and_the_parent_goes_on() -> None:
    process = run_script(
        """
        import multiprocessing, warnings
        from langchain_ai365vip.local import LocalModel

        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork with threads
        model = LocalModel().load()

        def child():
            global model
            try:
                model.invoke("Hi")
            except RuntimeError as exc:
                print(exc, flush=True)
            model.close()
            model = None

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(60)
        print("exit", process.exitcode, flush=True)
        print(model.invoke("Name three colors.").text)
        """
    )
    assert process.returncode == 0, process.stderr
    error, ended, answer = process.stdout.splitlines()
    assert "before the process was forked" in error
    assert ended == "exit 0"
    assert "Red" in answer


def test_a_model_that_was_closed_leaves_no_file_open() -> None:
    before = set(os.listdir("/dev/fd"))
    for _ in range(2):
        with LocalModel() as model:
            model.invoke(COLORS)
        # Fewer may be open: an earlier test's connection is closed by llama.cpp's own threads.
        assert set(os.listdir("/dev/fd")) <= before


def test_loading_a_damaged_file_says_what_can_be_wrong(tmp_path: Path) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ValueError, match=r"cannot load .*damaged\.gguf: the file is damaged"):
        LocalModel(gguf_path=path).load()
