"""What is measured, and the interleaved runs that measure it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.adapters import ENTRIES, PEERS, UNLIMITED, is_available
from tests.benchmarks.load import Load
from tests.benchmarks.machine import CLIENT_CORE, SERVER_CORE
from tests.benchmarks.processes import ProcessFailedError, TokenServer, Worker

Metrics = dict[str, Any]
Samples = dict[str, dict[str, list[Metrics]]]
TRIO = ("bare", "ours", "core")
MEGABYTE_TOKENS = 174_763


@dataclass(frozen=True)
class Scenario:
    """One table's worth of measurement.

    Attributes:
        name: How `--only` and the goals call it.
        title: What the report calls it.
        adapters: Who takes part; `core` after `ours`, whose chunks it counts.
        load: What the server sends.
        operation: What the worker does with it.
        operations: Operations of adapters that do something else than the others.
        fields: More for the worker's command.
        listener: The server's listener, where it is not the adapter's usual one.
        fresh: Whether every sample needs a new process.
        slow: Adapters that take minutes here and run fewer rounds.
        quick: The load of a quick run; `None` leaves the scenario out of it.
        quick_adapters: Who takes part in a quick run; empty for all.
        repeat: How many times the usual number of rounds, where single samples say little;
            for the adapters of the floor, as the peers are far away.
    """

    name: str
    title: str
    adapters: tuple[str, ...]
    load: Load
    operation: str = "streams"
    operations: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    listener: str | None = None
    fresh: bool = False
    slow: tuple[str, ...] = ()
    quick: Load | None = None
    quick_adapters: tuple[str, ...] = ()
    repeat: int = 1

    def shortened(self) -> Scenario:
        """Return the quick run's version."""
        assert self.quick is not None
        return replace(
            self, load=self.quick, adapters=self.quick_adapters or self.adapters, slow=()
        )


ALL = (*TRIO, "lines", *PEERS)
STREAMS = (
    Scenario("burst", "1 stream of 5,000 tokens, burst", ALL, Load(1, 5000), quick=Load(1, 5000)),
    Scenario(
        "first",
        "first text of calls one after the other, with pauses",
        ALL,
        Load(1, 2, 0.01),
        "calls",
        fields={"calls": 50, "pause": 0.01},
        quick=Load(1, 2, 0.01),
    ),
    Scenario(
        "one",
        "1 stream, a token every 10 ms",
        ALL,
        Load(1, 200, 0.01),
        quick=Load(1, 60, 0.01),
        repeat=2,
    ),
    Scenario(
        "fifty",
        "50 streams, a token every 10 ms",
        ALL,
        Load(50, 200, 0.01),
        quick=Load(50, 100, 0.01),
        repeat=2,
    ),
    Scenario(
        "two-hundred",
        "200 streams, a token every 10 ms",
        (*ALL, *UNLIMITED),
        Load(200, 200, 0.01),
        quick=Load(200, 50, 0.01),
        quick_adapters=ALL,
    ),
    Scenario(
        "thousand",
        "1,000 streams of 100 tokens, one every 50 ms",
        (*ALL, "ours-uncollected", *UNLIMITED),
        Load(1000, 100, 0.05),
        slow=(*PEERS, *UNLIMITED),
        quick=Load(1000, 30, 0.05),
        quick_adapters=(*TRIO, "lines"),
    ),
)
OTHERS = (
    Scenario(
        "threads",
        "sync .stream(), 50 threads, a token every 10 ms",
        ("ours", "ours-async", *PEERS),
        Load(50, 200, 0.01),
        "threads",
        {"ours-async": "streams"},
        quick=Load(50, 100, 0.01),
    ),
    Scenario(
        "calls",
        "200 short calls, one after the other",
        (*TRIO, "lines", *PEERS),
        Load(1, 5),
        "calls",
        fields={"calls": 200},
        quick=Load(1, 5),
        quick_adapters=(*TRIO, "lines"),
    ),
    Scenario(
        "calls-tls",
        "the same over TLS",
        ("bare", "ours", "lines"),
        Load(1, 5),
        "calls",
        fields={"calls": 200},
        listener="text-tls",
        quick=Load(1, 5),
    ),
    Scenario(
        "megabyte",
        "a reply of 1 MB, streamed unless said otherwise",
        (*TRIO, "bare-ainvoke", "ours-ainvoke", "ours-invoke"),
        Load(1, MEGABYTE_TOKENS),
        operations={
            "bare-ainvoke": "ainvoke",
            "ours-ainvoke": "ainvoke",
            "ours-invoke": "invoke",
        },
        quick=Load(1, MEGABYTE_TOKENS // 4),
    ),
    Scenario(
        "construct",
        "building a model",
        ("ours", *PEERS),
        Load(),
        "construct",
        fields={"calls": 50},
        quick=Load(),
    ),
    Scenario(
        "memory",
        "1,000 open streams before first text",
        ("bare", "ours", "openai"),
        Load(1000, 5, hold=True),
        "memory",
        fields={"repeats": 3},
        fresh=True,
        quick=Load(500, 5, hold=True),
        quick_adapters=("bare", "ours"),
    ),
    Scenario(
        "profile-fifty",
        "CPU by package, 50 streams",
        TRIO,
        Load(50, 200, 0.01),
        "profile",
        quick=Load(50, 50, 0.01),
    ),
    Scenario(
        "profile-two-hundred",
        "CPU by package, 200 streams",
        ("ours", "mistral-unlimited"),
        Load(200, 200, 0.01),
        "profile",
        quick=Load(200, 50, 0.01),
        quick_adapters=("ours",),
    ),
    Scenario(
        "profile-thousand",
        "CPU by package, 1,000 streams",
        ("ours",),
        Load(1000, 100, 0.05),
        "profile",
    ),
    Scenario(
        "tools",
        "50 streams with tools bound and stop set",
        ("ours", "tools"),
        Load(50, 200, 0.01),
        quick=Load(50, 100, 0.01),
    ),
)
GROWTH_STREAMS = (1, 10, 50, 100, 200, 500, 1000, 2000)
GROWTH_REPLY = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
GROWTH_HISTORY = (1, 10, 100, 1000)
_REPLY_WIDTH = 10


def growth() -> Iterator[Scenario]:
    """Yield the points of the growth curves, named `streams-N`, `reply-N`, `history-N`."""
    for count in GROWTH_STREAMS:
        load = Load(count, 40, 0.05)
        yield Scenario(f"streams-{count}", f"{count} streams of 40 tokens", TRIO, load)
    for size in GROWTH_REPLY:
        load = Load(1, size // (6 * _REPLY_WIDTH), width=_REPLY_WIDTH)
        yield Scenario(f"reply-{size}", f"a reply of {size:,} characters", TRIO, load)
        yield Scenario(f"ainvoke-{size}", "the same by ainvoke", ("bare", "ours"), load, "ainvoke")
    for messages in GROWTH_HISTORY:
        fields = {"calls": 20, "history": messages}
        title = f"{messages} messages of history"
        yield Scenario(f"history-{messages}", title, TRIO, Load(1, 5), "calls", fields=fields)


@dataclass
class Settings:
    """How a run is made."""

    quick: bool = False
    rounds: int = 5
    slow_rounds: int = 5
    growth_rounds: int = 3
    only: Sequence[str] = ()
    adapters: Sequence[str] = ()
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)

    def wants(self, scenario: str) -> bool:
        """Say whether `--only` lets this scenario through (by the start of its name)."""
        return not self.only or any(scenario.startswith(start) for start in self.only)

    def takes(self, adapter: str) -> bool:
        """Say whether `--adapters` lets this adapter through, and its package is here."""
        return (not self.adapters or adapter in self.adapters) and is_available(adapter)


class Runner:
    """Starts the processes and collects the samples."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.samples: Samples = defaultdict(lambda: defaultdict(list))
        self.failures: dict[tuple[str, str], str] = {}
        self._stack = ExitStack()
        self._workers: dict[str, Worker] = {}
        self._environment: dict[str, str] = {}

    def run(self) -> Samples:
        """Run everything that was asked for."""
        with self._stack:
            self._server = self._start_server()
            for scenario in self._chosen(STREAMS + OTHERS):
                self._interleave(scenario, self.settings.rounds)
            if not self.settings.quick:
                for scenario in self._chosen(growth()):
                    self._interleave(scenario, self.settings.growth_rounds)
            if self.settings.wants("server"):
                self._hosts()
            if self.settings.wants("import"):
                self._imports()
        return {name: dict(rows) for name, rows in self.samples.items()}

    def _chosen(self, scenarios: Sequence[Scenario] | Iterator[Scenario]) -> Iterator[Scenario]:
        for scenario in scenarios:
            if not self.settings.wants(scenario.name):
                continue
            if not self.settings.quick:
                yield scenario
            elif scenario.quick is not None:
                yield scenario.shortened()

    def _start_server(self) -> TokenServer:
        import trustme

        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        authority = trustme.CA()
        certificate = directory / "server.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
        authority.cert_pem.write_to_path(directory / "ca.pem")
        self._environment = {"SSL_CERT_FILE": str(directory / "ca.pem")}
        return self._stack.enter_context(TokenServer(SERVER_CORE, certificate))

    def _worker(self, adapter: str) -> Worker:
        if adapter not in self._workers:
            worker = Worker(adapter, CLIENT_CORE, self._environment)
            self._workers[adapter] = self._stack.enter_context(worker)
        return self._workers[adapter]

    def rounds_of(self, scenario: Scenario, adapter: str, rounds: int) -> int:
        """Return how often an adapter is measured in a scenario."""
        if adapter in scenario.slow:
            return min(rounds, self.settings.slow_rounds)
        return rounds * scenario.repeat if adapter in TRIO else rounds

    def _interleave(self, scenario: Scenario, rounds: int) -> None:
        adapters = {
            name: self.rounds_of(scenario, name, rounds)
            for name in scenario.adapters
            if self.settings.takes(name)
        }
        for number in range(max(adapters.values(), default=0)):
            chunks = float(scenario.load.tokens)
            for adapter, wanted in adapters.items():
                if number >= wanted or (scenario.name, adapter) in self.failures:
                    continue
                sample = self._try(scenario, adapter, chunks)
                if sample is None:
                    continue
                if adapter in ("bare", "ours"):
                    chunks = sample.get("chunks", chunks)
                self.samples[scenario.name][adapter].append(sample)
                self.settings.tell(f"{scenario.name} {number + 1}/{wanted} {adapter}")

    def _try(self, scenario: Scenario, adapter: str, chunks: float) -> Metrics | None:
        """Take a sample; an adapter that cannot do it is out of this scenario, not of the run."""
        try:
            return self._sample(scenario, adapter, chunks)
        except ProcessFailedError as exc:
            self.failures[scenario.name, adapter] = str(exc).strip().rpartition("\n")[2]
            self.settings.tell(f"{scenario.name} {adapter} FAILED: {exc}")
            # It may still be at work, and its next answer would be to this question.
            if worker := self._workers.pop(adapter, None):
                worker.process.kill()
            return None

    def _sample(self, scenario: Scenario, adapter: str, chunks: float) -> Metrics:
        listener = scenario.listener or ENTRIES[adapter].listener
        command = {
            "base_url": self._server.url(listener),
            "load": scenario.load.as_dict(),
            "options": {"chunks": chunks},
            **scenario.fields,
        }
        operation = scenario.operations.get(adapter, scenario.operation)
        before = self._server.stats()
        if scenario.fresh:
            with Worker(adapter, CLIENT_CORE, self._environment) as worker:
                sample = worker.call(operation, **command)
        else:
            sample = self._worker(adapter).call(operation, **command)
        sample["connections"] = self._server.stats()["connections"] - before["connections"]
        return sample

    def _hosts(self) -> None:
        """Compare servers around one model, and that model without a server."""
        load = Load(50, 100 if self.settings.quick else 200, 0.01)
        names = [
            name for name in ("unserved", "bare-host", "ours-host") if self.settings.takes(name)
        ]
        with ExitStack() as stack:
            hosts = {
                name: stack.enter_context(Worker(name, CLIENT_CORE, self._environment))
                for name in names
            }
            client = stack.enter_context(Worker("bare", SERVER_CORE, self._environment))
            urls = {
                name: f"http://127.0.0.1:{host.call('serve')['port']}"
                for name, host in hosts.items()
                if name != "unserved"
            }
            # What is added is the difference of two measurements, so it takes more of them.
            for number in range(2 * self.settings.rounds):
                for name, host in hosts.items():
                    sample = _hosted(host, client, urls.get(name), load)
                    self.samples["server"][name].append(sample)
                    self.settings.tell(f"server {number + 1} {name}")

    def _imports(self) -> None:
        statements = {
            "package": "import langchain_ai365vip",
            "ours": "from langchain_ai365vip import ChatAI365VIP",
            "core": "import langchain_core.language_models.chat_models, aiohttp",
            "openai": "import langchain_openai",
            "mistral": "import langchain_mistralai",
            "ollama": "import langchain_ollama",
        }
        if self.settings.quick:
            statements = {name: statements[name] for name in ("package", "ours", "core")}
        taken = {name: text for name, text in statements.items() if self.settings.takes(name)}
        for statement in taken.values():
            _import_seconds(statement)
        # The peers are only shown, and ours is close to its limit.
        for number in range(2 * self.settings.rounds):
            start_up = _import_seconds("pass")
            for name, statement in taken.items():
                if name in PEERS and number >= self.settings.rounds:
                    continue
                seconds = _import_seconds(statement) - start_up
                self.samples["import"][name].append({"cpu_ms": 1e3 * seconds})
        self.settings.tell("import")


def _hosted(host: Worker, client: Worker, url: str | None, load: Load) -> Metrics:
    """Return what a host spends on replies that are sent, or only made if it has no URL."""
    if url is None:
        spent, failed = host.call("unserved", load=load.as_dict())["cpu_s"], 0
    else:
        client.call("streams", base_url=url, load=Load(2, 5).as_dict())
        before = host.call("cpu")["cpu_s"]
        failed = client.call("streams", base_url=url, load=load.as_dict())["failed"]
        spent = host.call("cpu")["cpu_s"] - before
    return {"cpu_us_per_token": 1e6 * spent / load.streams / load.tokens, "failed": failed}


def _import_seconds(statement: str) -> float:
    """Return the CPU seconds of a Python that runs one statement.

    An installed package has its bytecode: so it may be written here, by the first run, which
    nobody counts. Otherwise each run compiles what was changed since, and only that is timed.
    """
    writing = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen([sys.executable, "-c", statement], env=writing)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ProcessFailedError(statement)
    return usage.ru_utime + usage.ru_stime
