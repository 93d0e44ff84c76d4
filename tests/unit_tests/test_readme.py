"""The README says what is so: its Python runs as printed, its generated parts are current."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_ai365vip._protocol import SPECIAL_TOKENS
from tests import notebooks
from tests.documents import Block, blocks, run
from tests.endpoint import Endpoint
from tests.generated import PARTS, README, renewed

TEXT = README.read_text(encoding="utf-8")
# Where the README says that an endpoint is.
URL = "http://127.0.0.1:8000"
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


def _python() -> list[tuple[Block, str | None, bool]]:
    """Return the Python blocks, what each is said to print, and whether it needs weights."""
    everything = list(blocks(TEXT))
    found = []
    for block, following in zip(everything, [*everything[1:], None], strict=True):
        if block.language == "python":
            prints = following is not None and following.line == block.end + 4
            output = following.code if following is not None and prints else None
            heavy = TEXT.splitlines()[block.line - 4] == "<!-- heavy -->"
            found.append((block, output, heavy))
    return found


def _run_all(endpoint: Endpoint, *, heavy: bool) -> None:
    """Run the blocks from top to bottom, in one namespace, as a reader would."""
    namespace: dict[str, Any] = {}
    for block, output, is_heavy in _python():
        if is_heavy and not heavy:
            continue
        code = block.code.replace(URL, endpoint.base_url)
        printed = run(block._replace(code=code), namespace, "README.md")
        if output is not None:
            assert printed == output, f"README.md:{block.line}"


def test_every_python_block_runs_and_prints_what_stands_below_it(endpoint: Endpoint) -> None:
    _run_all(endpoint, heavy=False)


@pytest.mark.heavy
def test_the_blocks_that_need_the_demo_weights_run_too(endpoint: Endpoint) -> None:
    _run_all(endpoint, heavy=True)


def test_the_blocks_are_found() -> None:
    found = _python()

    assert len(found) == len(re.findall(r"^```python$", TEXT, re.MULTILINE))
    assert any(output for _, output, _ in found)
    assert any(heavy for _, _, heavy in found)


def test_generated_parts_are_as_make_docs_would_write_them() -> None:
    assert renewed(TEXT) == TEXT


def test_every_generated_part_has_its_place() -> None:
    assert set(re.findall(r"<!-- generated: (\w+) -->", TEXT)) == PARTS.keys()


def test_every_notebook_is_in_the_table() -> None:
    shown = set(re.findall(r"\]\(notebooks/(\w+)\.ipynb\)", TEXT))

    assert shown == {path.stem for path in notebooks.paths()}


def test_the_special_strings_are_those_of_the_wire() -> None:
    assert set(re.findall(r"`(<\|\w+\|>)`", TEXT)) >= set(SPECIAL_TOKENS)


def test_links_within_the_page_lead_to_a_heading() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    }

    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors
