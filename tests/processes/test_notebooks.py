"""The notebooks run as they stand, show what they tell of, and are small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import notebooks
from tests.notebooks import NOT_RUN, VARIES, Cell, output_text

MAX_BYTES = 200_000
# What each tells of, in the order in which its outputs have it.
SHOWS = {
    "agents": (
        "model  Let me look. \n    -> weather {'city': 'Paris'}\ntools  21 degrees and sunny",
        "Let me look. \n-> weather {'city': 'Paris'}\n",
        "ask   Let me look. \ntools 21 degrees and sunny in Paris.\nask   The service says: 21",
        "on_chat_model_start\non_chat_model_stream\non_chat_model_end\n{'city': 'Oslo'}",
        "Report(city='Paris', degrees=21)\nReport(city='Paris', degrees=21)",
        "They spoke of the weather in Paris.\nhuman  Thanks!\nai     Hello, how can I help?",
        "{'city': 'Rome'}\n{'city': 'Oslo'}",
        "Hello, how can I help?\nHello, how can I help?\n1 request\n['Paris', 'Rome', 'Oslo']",
    ),
    "bulk": (
        "93 answered, 7 failed",
        "q13 q26 q39 q52 q65 q78 q91\n('AI365VIPAPIError', 500, True)",
        "56 were there, 44 answered, 0 failed\n44 requests for 100 rows",
        "<Figure",
        '"output": "42"',
        '"output": "56"',
        "<Figure",
    ),
    "local_endpoint": (
        "IS ANYBODY THERE?",
        "one two three four five six seven eight",
        "<Figure",
        "add is called with 20 and 22\nIt is 42.",
        "['poet', 'echo']\nYou are a poet. / Be brief. / Hello\nHello\n404",
        "Grüße",
        "HELLO\n401 Incorrect API key provided",
        "pass api_key",
        "'Once upon a '",
    ),
    "quickstart": (
        "2+2 is 4.",
        "Paris is the capital of France.",
        "Red, Blue, Green.",
        "<Figure",
        "Tokyo is the capital of Japan.",
        "weather {'city': 'Paris'}",
        "City(name='Paris', country='France')",
        "['input_tokens', 'output_tokens', 'total_tokens']",
        "['Paris is the capital of France.', 'Tokyo is the capital of Japan.']",
    ),
    "structured_output_and_tools": (
        "{'city': 'Paris'}",
        "It is sunny in Paris, at 21 degrees.",
        "{'city': 'Paris'}",
        "({'city': 'Rome'}, 2)",
        "I would rather not.",
        "City(name='Paris', country='France', population=2103)",
        "(City(name='Tokyo', country='Japan', population=14178), 2)",
        "{'colors': ['red', 'blue', 'green']}",
    ),
}
PATHS = notebooks.paths()
IDS = [path.stem for path in PATHS]


def _code(cells: list[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell["cell_type"] == "code"]


def _tagged(cell: Cell, tag: str) -> bool:
    return tag in cell["metadata"].get("tags", ())


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_a_notebook_is_committed_small_and_as_it_ran(path: Path) -> None:
    code = _code(notebooks.read(path)["cells"])
    ran = [cell for cell in code if not _tagged(cell, NOT_RUN)]

    assert path.stat().st_size < MAX_BYTES
    assert [cell["execution_count"] for cell in ran] == list(range(1, len(ran) + 1))
    assert all(output["output_type"] != "error" for cell in ran for output in cell["outputs"])


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_a_cell_that_is_not_run_has_no_output(path: Path) -> None:
    code = _code(notebooks.read(path)["cells"])
    left = [cell for cell in code if _tagged(cell, NOT_RUN)]

    assert bool(left) == (path.stem == "agents")
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in left)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_a_notebook_shows_what_it_tells_of_and_logs_nothing(path: Path) -> None:
    code = _code(notebooks.read(path)["cells"])

    _check_shown(path.stem, code)
    assert all(output.get("name") != "stderr" for cell in code for output in cell["outputs"])


def _check_shown(name: str, code: list[Cell]) -> None:
    shown = "".join(map(output_text, code))
    at = 0
    for text in SHOWS[name]:
        assert text in shown[at:], f"after {shown[:at][-200:]!r}"
        at = shown.index(text, at) + len(text)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_a_notebook_asserts_nothing(path: Path) -> None:
    code = _code(notebooks.read(path)["cells"])

    assert not any(re.search(r"^\s*assert ", "".join(cell["source"]), re.M) for cell in code)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_a_notebook_names_no_path_and_no_person_of_a_machine(path: Path) -> None:
    assert re.findall(r"/(?:root|home|tmp|work|Users)/\S*", path.read_text(encoding="utf-8")) == []


def test_the_quickstart_follows_langchains_integration_pages() -> None:
    cells = notebooks.read(notebooks.FOLDER / "quickstart.ipynb")["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")

    assert re.findall(r"^##+ (.+)$", text, re.MULTILINE) == [
        "Overview",
        "Integration details",
        "Model features",
        "Setup",
        "Credentials",
        "Installation",
        "Instantiation",
        "Invocation",
        "Streaming",
        "Native async",
        "Tool calling",
        "Structured output",
        "Token usage",
        "Chaining",
        "API reference",
    ]


@pytest.mark.heavy
@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_a_notebook_runs_from_top_to_bottom_and_shows_what_is_committed(path: Path) -> None:
    committed = _code(notebooks.read(path)["cells"])
    ran = _code(notebooks.executed(path)["cells"])

    _check_shown(path.stem, ran)
    for before, after in zip(committed, ran, strict=True):
        if not _tagged(before, VARIES):
            assert output_text(after) == output_text(before), "".join(before["source"])
