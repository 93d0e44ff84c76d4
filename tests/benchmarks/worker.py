"""One process that runs one adapter (or hosts one server) and reports what it used.

It takes commands as JSON lines on standard input and answers each with one line. Run by
`processes.Worker` as `python -m tests.benchmarks.worker ADAPTER CORE`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from time import perf_counter, process_time
from types import FrameType
from typing import Any

from tests.benchmarks.adapters import ENTRIES, Adapter, Prompt, Reading, prompt_of
from tests.benchmarks.hosts import HOSTS, Host
from tests.benchmarks.load import Load
from tests.benchmarks.machine import pin, prefer, raise_file_limit, resident_bytes
from tests.benchmarks.profile import Profile

Command = dict[str, Any]
Metrics = dict[str, Any]
_WARM_UP = Load(tokens=2)
# One loop for the process's life, as in a server: a peer that keeps its connections for
# the process fails on a second loop ("Event loop is closed").
_LOOP = asyncio.new_event_loop()


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` of the sorted values lie; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Clock:
    """CPU and wall time of this process since the last garbage was cleared."""

    def __init__(self) -> None:
        gc.collect()
        self.wall_start = perf_counter()
        self._cpu_start = process_time()

    def stop(self) -> None:
        """Take the times."""
        self.cpu = process_time() - self._cpu_start
        self.wall = perf_counter() - self.wall_start


def _stream_metrics(load: Load, clock: Clock, readings: list[Reading]) -> Metrics:
    tokens = load.tokens * load.streams
    first = [1e3 * (item.stamps[0] - clock.wall_start) for item in readings if item.stamps]
    gaps = [
        1e3 * (after - before)
        for item in readings
        for before, after in zip(item.stamps, item.stamps[1:], strict=False)
    ]
    return {
        "cpu_us_per_token": 1e6 * clock.cpu / tokens,
        "wall_s": clock.wall,
        "failed": sum(item.characters != load.reply_size for item in readings),
        "chunks": sum(item.chunks for item in readings) / load.streams,
        "first_p50_ms": percentile(first, 0.5),
        "first_p95_ms": percentile(first, 0.95),
        "gap_p50_ms": percentile(gaps, 0.5),
        "gap_p95_ms": percentile(gaps, 0.95),
    }


def _adapter(name: str, command: Command) -> Adapter:
    return ENTRIES[name].build(command["base_url"], command.get("options", {}))


async def _quietly(adapter: Adapter, prompt: Any, reading: Reading) -> None:
    """Read; a failed stream is one that lacks characters, told on standard error."""
    try:
        await adapter.read(prompt, reading)
    except Exception:
        traceback.print_exc()


async def _streams(
    name: str, command: Command, watch: AbstractContextManager[Any] | None = None
) -> Metrics:
    load = Load(**command["load"])
    adapter = _adapter(name, command)
    prompt = adapter.prepare(prompt_of(load.prompt, command.get("history", 1)))
    await adapter.read(adapter.prepare(prompt_of(_WARM_UP.prompt)), Reading())
    readings = [Reading() for _ in range(load.streams)]
    clock = Clock()
    with watch or nullcontext():
        await asyncio.gather(*(_quietly(adapter, prompt, reading) for reading in readings))
    clock.stop()
    await adapter.aclose()
    return _stream_metrics(load, clock, readings)


async def _profile(name: str, command: Command) -> Metrics:
    """Say in whose code the CPU of a run of streams went, in microseconds per token."""
    load = Load(**command["load"])
    profile = Profile()
    await _streams(name, command, profile)
    return {f"in_{owner}": 1e6 * cpu / load.tokens / load.streams for owner, cpu in profile}


def _threads(name: str, command: Command) -> Metrics:
    load = Load(**command["load"])
    adapter = _adapter(name, command)
    prompt = adapter.prepare(prompt_of(load.prompt))
    adapter.read_in_thread(adapter.prepare(prompt_of(_WARM_UP.prompt)), Reading())
    readings = [Reading() for _ in range(load.streams)]
    threads = [
        threading.Thread(target=adapter.read_in_thread, args=(prompt, reading))
        for reading in readings
    ]
    clock = Clock()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.stop()
    _LOOP.run_until_complete(adapter.aclose())
    return _stream_metrics(load, clock, readings)


async def _calls(name: str, command: Command) -> Metrics:
    """Make calls one after the other on one model."""
    load = Load(**command["load"])
    adapter = _adapter(name, command)
    prompt = adapter.prepare(prompt_of(load.prompt, command.get("history", 1)))
    calls: int = command["calls"]
    readings = [Reading() for _ in range(calls)]
    starts = []
    if command.get("warm", True):
        await adapter.read(prompt, Reading())
    clock = Clock()
    for reading in readings:
        # A process that waited has cold caches, as one has that a person talks to.
        await asyncio.sleep(command.get("pause", 0))
        starts.append(perf_counter())
        await _quietly(adapter, prompt, reading)
    clock.stop()
    await adapter.aclose()
    first = [
        1e3 * (item.stamps[0] - start)
        for item, start in zip(readings, starts, strict=True)
        if item.stamps
    ]
    return {
        "first_p50_ms": percentile(first, 0.5),
        "cpu_us_per_call": 1e6 * clock.cpu / calls,
        "calls_per_s": calls / clock.wall,
        "failed": sum(item.characters != load.reply_size for item in readings),
        "chunks": sum(item.chunks for item in readings) / calls,
    }


def _reply_metrics(load: Load, clock: Clock, text: str) -> Metrics:
    return {
        "cpu_us_per_token": 1e6 * clock.cpu / load.tokens,
        "wall_s": clock.wall,
        "failed": int(len(text) != load.reply_size),
    }


async def _ainvoke(name: str, command: Command) -> Metrics:
    load = Load(**command["load"])
    adapter = _adapter(name, command)
    prompt = adapter.prepare(prompt_of(load.prompt))
    await adapter.read(adapter.prepare(prompt_of(_WARM_UP.prompt)), Reading())
    clock = Clock()
    text = await adapter.ainvoke(prompt)
    clock.stop()
    await adapter.aclose()
    return _reply_metrics(load, clock, text)


def _invoke(name: str, command: Command) -> Metrics:
    load = Load(**command["load"])
    adapter = _adapter(name, command)
    prompt = adapter.prepare(prompt_of(load.prompt))
    adapter.invoke(adapter.prepare(prompt_of(_WARM_UP.prompt)))
    clock = Clock()
    text = adapter.invoke(prompt)
    clock.stop()
    _LOOP.run_until_complete(adapter.aclose())
    return _reply_metrics(load, clock, text)


_IO_EVENTS = frozenset({"open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen"})


def _is_importing() -> bool:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _construct(name: str, command: Command) -> Metrics:
    """Build models; count files and sockets opened by it, but for those of modules."""
    events: list[str] = []

    def note(event: str, _: object) -> None:
        if event in _IO_EVENTS and not _is_importing():
            events.append(event)

    sys.addaudithook(note)
    _adapter(name, command)  # not timed: it imports
    times = []
    built = []  # kept: taking a model apart is not what is measured
    gc.disable()
    for _ in range(command["calls"]):
        start = process_time()
        built.append(_adapter(name, command))
        times.append(1e6 * (process_time() - start))
    gc.enable()
    return {"cpu_us": median(times), "io_events": len(events)}


async def _control(base_url: str, path: str) -> Metrics:
    """Ask the token server, without a client library's memory."""
    host, _, port = base_url.rpartition("/")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    line = (await reader.readuntil(b"}")).partition(b"\r\n\r\n")[2]
    writer.close()
    answer: Metrics = json.loads(line)
    return answer


async def until_held(base_url: str, tasks: list[asyncio.Task[None]]) -> None:
    """Wait until the server holds all streams back.

    Raises:
        ConnectionError: Some ended before, so that they will never all be held.
    """
    held = 0
    while held < len(tasks):
        await asyncio.sleep(0.05)
        if ended := sum(task.done() for task in tasks):
            raise ConnectionError(f"{ended} of {len(tasks)} streams ended before their first text")
        held = (await _control(base_url, "/stats"))["held"]


async def _held_round(
    adapter: Adapter, command: Command, prompt: Any, streams: int
) -> tuple[int, int]:
    """Return resident bytes and allocated blocks while `streams` wait for first text."""
    readings = [Reading() for _ in range(streams)]
    tasks = [asyncio.create_task(_quietly(adapter, prompt, item)) for item in readings]
    await until_held(command["base_url"], tasks)
    gc.collect()
    seen = resident_bytes(), sys.getallocatedblocks()
    await _control(command["base_url"], "/release")
    await asyncio.gather(*tasks)
    return seen


async def _memory(name: str, command: Command) -> Metrics:
    load = Load(**command["load"])
    adapter = _adapter(name, command)
    prompt: Prompt = adapter.prepare(prompt_of(load.prompt))
    await adapter.read(adapter.prepare(prompt_of(_WARM_UP.prompt)), Reading())
    gc.collect()
    before = resident_bytes(), sys.getallocatedblocks()
    held = await _held_round(adapter, command, prompt, load.streams)
    left = []
    for _ in range(command["repeats"]):
        await _held_round(adapter, command, prompt, load.streams)
        gc.collect()
        left.append(sys.getallocatedblocks())
    await adapter.aclose()
    return {
        "open_kb_per_stream": (held[0] - before[0]) / 1024 / load.streams,
        "open_blocks_per_stream": (held[1] - before[1]) / load.streams,
        "left_blocks_per_stream": (left[-1] - left[0]) / load.streams / (len(left) - 1),
    }


_ASYNC: dict[str, Callable[[str, Command], Any]] = {
    "streams": _streams,
    "profile": _profile,
    "calls": _calls,
    "ainvoke": _ainvoke,
    "memory": _memory,
}
_SYNC: dict[str, Callable[[str, Command], Metrics]] = {
    "threads": _threads,
    "invoke": _invoke,
    "construct": _construct,
}


def _host_commands(name: str) -> dict[str, Callable[[Command], Metrics]]:
    host: Host = HOSTS[name]()
    return {
        "serve": lambda _: {"port": host.serve()},
        "cpu": lambda _: {"cpu_s": process_time()},
        "unserved": lambda command: {"cpu_s": host.unserved(Load(**command["load"]))},
    }


def run(name: str, command: Command) -> Metrics:
    """Carry out one command and return its figures."""
    operation = command["operation"]
    if operation in _ASYNC:
        metrics: Metrics = _LOOP.run_until_complete(_ASYNC[operation](name, command))
        return metrics
    return _SYNC[operation](name, command)


def main() -> None:
    """Answer commands until standard input closes."""
    name, core = sys.argv[1], int(sys.argv[2])
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    pin(core)
    prefer()
    raise_file_limit()
    hosted = _host_commands(name) if name in HOSTS else {}
    for line in sys.stdin:
        try:
            command = json.loads(line)
            carry_out = hosted.get(command["operation"])
            answer: Metrics = {"metrics": carry_out(command) if carry_out else run(name, command)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers)
    _LOOP.close()


if __name__ == "__main__":
    main()
