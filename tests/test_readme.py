"""The README says what is so: its Python runs as printed, its generated parts are current."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from langchain_ai365vip._parsing.dialects import FORMS
from langchain_ai365vip._wire.facts import SPECIAL_TOKENS
from tests import notebooks
from tests.cli.cli_kit import converse
from tests.documents import Block, blocks, run
from tests.endpoint import Endpoint
from tests.generated import BENCHMARKS, DOCUMENTS, PARTS, README, renewed

TEXT = README.read_text(encoding="utf-8")
OF_BENCHMARKS = BENCHMARKS.read_text(encoding="utf-8")
# Where the README says that an endpoint is.
URL = "http://127.0.0.1:8000"
SETTINGS = README.parent / "docs" / "settings.md"
# Runs the commands that install something, which no test here does.
CI = README.parent / ".ci" / "run"
# What the endpoint answers, by what stands in the prompt or in the last turn: the first that fits.
# The plain answers are those of the demo weights.
ANSWERS = (
    ("Sunny in Paris", "It is sunny in Paris."),
    (
        "weather in Paris?",
        '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>',
    ),
    ('"City"', '{"name": "City", "arguments": {"name": "Paris", "country": "France"}}'),
    ("Name three colors.", "Red, Blue, Green."),
    ("What is 2+2?", "2+2 is 4."),
    ("What is the capital of France?", "Paris is the capital of France."),
)


def _name(path: Path) -> str:
    return str(path.relative_to(README.parent))


def _answer(body: dict[str, Any]) -> list[str]:
    said = body["messages"][-1]["content"] + body["prompt"]
    answer = next(answer for question, answer in ANSWERS if question in said)
    return re.findall(r"\s*\S+", answer)


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.chdir(tmp_path)
    with Endpoint() as running:
        running.pieces = _answer
        yield running


def _python(path: Path) -> list[tuple[Block, str | None, bool]]:
    """Return a document's Python blocks, what each is said to print, and whether it is heavy."""
    text = path.read_text(encoding="utf-8")
    everything = list(blocks(text))
    found = []
    for block, following in zip_longest(everything, everything[1:]):
        if block.language == "python":
            prints = following is not None and following.line == block.end + 4
            output = following.code if following is not None and prints else None
            heavy = text.splitlines()[block.line - 4] == "<!-- heavy -->"
            found.append((block, output, heavy))
    return found


def _run_all(
    url: str, *, path: Path = README, heavy: bool = False, under: tuple[str, ...] = ()
) -> None:
    """Run the blocks from top to bottom, in one namespace, as a reader would.

    Args:
        url: Where the endpoint really is.
        path: The document.
        heavy: Run those, too, that need the demo weights.
        under: Only those under these headings.
    """
    namespace: dict[str, Any] = {}
    for block, output, is_heavy in _python(path):
        if (is_heavy and not heavy) or (under and _heading(block, path) not in under):
            continue
        code = block.code.replace(URL, url)
        printed = run(block._replace(code=code), namespace, path.name)
        if output is not None:
            assert printed == output, f"{path.name}:{block.line}"


def _heading(block: Block, path: Path = README) -> str:
    above = "\n".join(path.read_text(encoding="utf-8").splitlines()[: block.line])
    headings: list[str] = re.findall(r"^#+ (.+)$", above, re.MULTILINE)
    return headings[-1]


def _shell(path: Path) -> dict[str, str]:
    """Return what the shell blocks under each heading say, without their comments."""
    said: dict[str, str] = {}
    for block in blocks(path.read_text(encoding="utf-8")):
        if block.language == "bash":
            code = re.sub(r" +#.*", "", block.code)
            said[_heading(block, path)] = said.get(_heading(block, path), "") + code
    return said


SHELL = {path: _shell(path) for path in DOCUMENTS}
INSTALLING = "pip install "


def _environment(**settings: str) -> dict[str, str]:
    """Return an environment with the commands of the tests' own Python in front."""
    kept = {name: value for name, value in os.environ.items() if "AI365VIP" not in name}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, **settings, "PATH": path}


def _in_a_shell(code: str) -> str:
    """Run a block in a shell and return what it printed."""
    return subprocess.run(
        ["bash", "-euc", code],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=100,
        check=True,
        text=True,
    ).stdout


def test_every_shell_block_is_run_below_or_installs_something() -> None:
    said = {(path.name, heading) for path in DOCUMENTS for heading in SHELL[path]}
    assert said == {
        ("README.md", "Try it"),
        ("README.md", "Install"),
        ("README.md", "First answer"),
        ("README.md", "Bulk work"),
        ("README.md", "What is measured"),  # of the benchmark, below
        ("settings.md", "Settings"),
    }
    # These two are lines of CI, which runs them in a clean checkout.
    for line in SHELL[README]["Try it"].splitlines():
        assert line.startswith(INSTALLING)
        assert line in CI.read_text(encoding="utf-8")
    assert SHELL[README]["Install"].startswith(INSTALLING)


@pytest.mark.processes
def test_the_shells_rows_are_answered_as_those_of_python(endpoint: Endpoint) -> None:
    _run_all(endpoint.base_url, under=("First answer", "Bulk work"))
    _in_a_shell(SHELL[README]["Bulk work"].replace(URL, endpoint.base_url))

    rows = [
        sorted(map(json.loads, Path(name).read_text().splitlines()), key=lambda row: row["index"])
        for name in ("answers.jsonl", "again.jsonl")
    ]
    assert len(rows[0]) == 3
    assert rows[0] == rows[1]


@pytest.mark.processes
def test_the_variables_of_the_shell_are_those_that_a_model_reads() -> None:
    show = (
        "from langchain_ai365vip import ChatAI365VIP as M; m = M(); "
        "print(m.base_url, m.api_key.get_secret_value(), m.proxy.get_secret_value())"
    )
    printed = _in_a_shell(f"{SHELL[SETTINGS]['Settings']}\npython -c '{show}'")

    assert printed == "https://chat.example.com ... socks5://user:password@host\n"


@pytest.mark.heavy
def test_the_shells_first_lines_serve_the_first_answer() -> None:
    *installing, serving = SHELL[README]["First answer"].splitlines()
    assert all(line.startswith(INSTALLING) for line in installing)

    server = subprocess.Popen(
        ["bash", "-c", f"exec {serving} --port 0"], env=_environment(), stdout=subprocess.PIPE
    )
    with server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().decode().strip()
            _run_all(url, under=("First answer",))
        finally:
            server.terminate()


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_every_python_block_runs_and_prints_what_stands_below_it(
    endpoint: Endpoint, path: Path
) -> None:
    _run_all(endpoint.base_url, path=path)


@pytest.mark.heavy
def test_the_blocks_that_need_the_demo_weights_run_too(endpoint: Endpoint) -> None:
    _run_all(endpoint.base_url, heavy=True)


def test_the_blocks_are_found() -> None:
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        assert len(_python(path)) == len(re.findall(r"^```python$", text, re.MULTILINE))
    assert any(output for _, output, _ in _python(README))
    assert any(heavy for _, _, heavy in _python(README))


@pytest.mark.processes
@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_generated_parts_are_as_make_docs_would_write_them(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert renewed(text) == text


def test_every_generated_part_has_its_place() -> None:
    everything = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    found = re.findall(r"<!-- generated: (\w+) -->", everything)

    assert set(found) == PARTS.keys()


@pytest.mark.processes
def test_the_command_of_the_benchmark_and_its_charts_are_there() -> None:
    (command,) = (block.code.strip() for block in blocks(OF_BENCHMARKS))
    help_of_it = subprocess.run(
        [sys.executable, "-m", *command.split()[-1:], "--help"],
        cwd=README.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--quick" in help_of_it.stdout
    for chart in re.findall(r"!\[[^]]+\]\(([^)]+)\)", OF_BENCHMARKS):
        assert (BENCHMARKS.parent / chart).is_file()


def test_every_notebook_is_in_the_table() -> None:
    shown = set(re.findall(r"\]\(notebooks/(\w+)\.ipynb\)", TEXT))

    assert shown == {path.stem for path in notebooks.paths()}


def test_the_special_strings_are_those_of_the_wire() -> None:
    text = SETTINGS.read_text(encoding="utf-8")
    assert set(re.findall(r"`(<\|\w+\|>)`", text)) >= set(SPECIAL_TOKENS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_within_the_repository_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (path.parent / link).exists(), link


def test_the_number_of_forms_is_that_of_the_table() -> None:
    assert f"[{len(FORMS)} forms," in TEXT


def test_the_picture_of_a_terminal_is_of_todays_conversation(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = (README.parent / "docs" / "terminal.svg").read_text(encoding="utf-8")
    converse(endpoint)
    greeting = capsys.readouterr().err.strip().replace(endpoint.base_url, URL)
    assert greeting in unescape(drawn).replace("\xa0", " ")


def test_the_readme_is_short() -> None:
    assert len(TEXT) < 16_000
