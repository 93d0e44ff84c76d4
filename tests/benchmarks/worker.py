"""One process that runs one client and reports what it used (run by `processes.Worker`)."""

from __future__ import annotations

import asyncio
import gc
import itertools
import traceback
from contextlib import nullcontext, suppress
from multiprocessing.connection import Connection
from time import perf_counter, process_time
from typing import Any

from tests.benchmarks.adapters import ENTRIES, Read, Reading
from tests.benchmarks.load import TOKEN_SIZE, Load
from tests.benchmarks.profile import Profile

Metrics = dict[str, Any]


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` of the sorted values lie; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def stream_metrics(load: Load, start: float, readings: list[Reading]) -> Metrics:
    """Return what the texts of streams say, in milliseconds since `start`.

    `together` says whether all streams were being read at the same time.
    """
    texts = [item.stamps for item in readings if item.stamps]
    first = [1e3 * (stamps[0] - start) for stamps in texts]
    waits = [
        1e3 * (after - before) for stamps in texts for before, after in itertools.pairwise(stamps)
    ]
    return {
        "failed": sum(item.characters != load.tokens * TOKEN_SIZE for item in readings),
        "chunks": sum(item.chunks for item in readings) / load.streams,
        "first_ms": percentile(first, 0.5),
        "wait_ms": percentile(waits, 0.5),
        "wait_p95_ms": percentile(waits, 0.95),
        "together": max((stamps[0] for stamps in texts), default=0.0)
        <= min((stamps[-1] for stamps in texts), default=0.0),
    }


async def _quietly(read: Read, prompt: str, reading: Reading) -> None:
    """Read; a failed stream is one that lacks characters, told on standard error."""
    try:
        await read(prompt, reading)
    except Exception:
        traceback.print_exc()


async def measure(name: str, url: str, load: Load, chunks: int, *, profiled: bool) -> Metrics:
    """Read the streams of a load at once with a new, warm client.

    Args:
        name: Which client.
        url: Where the token server speaks its format.
        load: The streams.
        chunks: Chunks in a reply, for a client without a wire.
        profiled: Whether to add in whose code the time goes.
    """
    readings = [Reading() for _ in range(load.streams)]
    profile = Profile()
    async with ENTRIES[name].build(url, chunks) as read:
        await read(Load(tokens=2).prompt, Reading())
        gc.collect()
        start, cpu = perf_counter(), process_time()
        with profile if profiled else nullcontext():
            await asyncio.gather(*(_quietly(read, load.prompt, item) for item in readings))
        cpu, wall = process_time() - cpu, perf_counter() - start
    tokens = load.tokens * load.streams
    metrics = stream_metrics(load, start, readings)
    metrics |= {"cpu_us_per_token": 1e6 * cpu / tokens, "wall_s": wall}
    if profiled:
        spent = profile.seconds().items()
        metrics |= {f"in_{owner}": 1e6 * seconds / tokens for owner, seconds in spent}
        metrics["collection_ms"] = 1e3 * profile.longest
    return metrics


def answer(commands: Connection, name: str) -> None:
    """Measure what is asked for, until nobody asks any more."""
    # One loop for the process's life, as in a server: a peer that keeps its connections for
    # the process fails on a second loop ("Event loop is closed").
    loop = asyncio.new_event_loop()
    with suppress(EOFError):
        while True:
            command = commands.recv()
            try:
                commands.send(loop.run_until_complete(measure(name, **command)))
            except Exception:
                commands.send({"error": traceback.format_exc()})
