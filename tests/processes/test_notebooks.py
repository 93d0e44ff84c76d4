"""The notebooks run as they stand and are small enough to be read in a diff."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import notebooks
from tests.notebooks import VARIES, Cell, output_text

MAX_BYTES = 40_000
PATHS = notebooks.paths()
IDS = [path.stem for path in PATHS]


def _code(cells: list[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_a_notebook_is_committed_small_and_as_it_ran(path: Path) -> None:
    code = _code(notebooks.read(path)["cells"])
    counts = [cell["execution_count"] for cell in code]

    assert path.stat().st_size < MAX_BYTES
    assert counts == list(range(1, len(code) + 1))
    assert all(output["output_type"] != "error" for cell in code for output in cell["outputs"])


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_a_notebook_asserts_its_last_result(path: Path) -> None:
    last = _code(notebooks.read(path)["cells"])[-1]

    assert re.search(r"^assert ", "".join(last["source"]), re.MULTILINE)


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
        "Chaining",
        "API reference",
    ]


@pytest.mark.heavy
@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_a_notebook_runs_from_top_to_bottom_and_shows_what_is_committed(path: Path) -> None:
    committed = _code(notebooks.read(path)["cells"])
    ran = _code(notebooks.executed(path)["cells"])

    for before, after in zip(committed, ran, strict=True):
        if VARIES not in before["metadata"].get("tags", ()):
            assert output_text(after) == output_text(before), "".join(before["source"])
