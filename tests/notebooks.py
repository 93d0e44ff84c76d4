"""Runs notebooks; `python -m tests.notebooks [NAME ...]` writes their outputs into them."""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent.parent / "notebooks"
TIMEOUT: Final = 300  # seconds for a cell: loading a model, or Ray, on two busy cores
VARIES: Final = "varies"  # tag of a cell whose output need not be the same on every machine
# Tag of a cell that needs what tests do not have; nbclient leaves these out by itself.
NOT_RUN: Final = "skip-execution"

Cell = dict[str, Any]


def paths() -> list[Path]:
    """Return the notebooks there are."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> dict[str, Any]:
    """Return a notebook's JSON."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def executed(path: Path) -> dict[str, Any]:
    """Run a notebook in a kernel of its own and an empty folder; return it with its outputs.

    Args:
        path: The notebook.

    Raises:
        CellExecutionError: A cell raised.
    """
    nbclient, nbformat = map(importlib.import_module, ("nbclient", "nbformat"))
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(
            notebook,
            timeout=TIMEOUT,
            startup_timeout=TIMEOUT,
            resources=resources,
            coalesce_streams=True,
        ).execute()
    tidied: dict[str, Any] = json.loads(nbformat.writes(notebook))
    for cell in tidied["cells"]:
        cell["metadata"].pop("execution", None)  # when it ran
    tidied["metadata"] = {"language_info": {"name": "python"}}
    return tidied


def output_text(cell: Cell) -> str:
    """Return what a cell printed and its value, as text; not what it logged.

    Args:
        cell: A code cell.
    """
    parts: list[str] = []
    for output in cell["outputs"]:
        if output.get("name") != "stderr":
            parts += output["text"] if "text" in output else output["data"]["text/plain"]
    return "".join(parts)


def main(names: list[str]) -> None:
    """Run the named notebooks, or all, and write their outputs into them.

    Args:
        names: Names without `.ipynb`.
    """
    for path in paths():
        if not names or path.stem in names:
            text = json.dumps(executed(path), indent=1, ensure_ascii=False, sort_keys=True)
            path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
