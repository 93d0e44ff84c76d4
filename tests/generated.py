"""The generated parts of documents: `python -m tests.generated` writes them anew.

A part stands between `<!-- generated: NAME -->` and `<!-- /generated -->`; a test compares it
with what its function here returns.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from langchain_ai365vip import errors

README: Final = Path(__file__).parent.parent / "README.md"
_PACKAGE: Final = README.parent / "langchain_ai365vip"
BENCHMARKS: Final = Path(__file__).parent / "benchmarks" / "README.md"
# Every document that has generated parts.
DOCUMENTS: Final = (
    README,
    BENCHMARKS,
    Path(__file__).parent / "faults" / "README.md",
    _PACKAGE / "README.md",
    _PACKAGE / "server" / "README.md",
)
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def _error_tree() -> str:
    """Return the tree as `errors` draws it in its docstring."""
    tree = (errors.__doc__ or "").split("```")[1].strip("\n")
    return f"```text\n{tree}\n```\n"


# What the console script does, for one command after the other.
_SCRIPT: Final = """
import sys
from langchain_ai365vip.cli import main
for command in sys.argv[1:]:
    sys.argv = ["ai365vip", *command.split(), "--help"]
    print("$", *sys.argv, flush=True)
    try:
        main()
    except SystemExit as exit:
        assert not exit.code
"""


def _help(*commands: str) -> str:
    """Return what commands say about themselves on a terminal of 80 columns."""
    shown = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *(commands or [""])],
        env={**os.environ, "COLUMNS": "80", "TERM": "dumb"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = "\n".join(line.rstrip() for line in shown.splitlines())
    each = re.split(r"^(?=\$ )", lines, flags=re.MULTILINE)[1:]
    return "\n".join(f"```text\n{text.strip()}\n```\n" for text in each)


def _commands() -> str:
    names = re.findall(r"^  (\w+)  ", _help().partition("Commands:")[2], re.MULTILINE)
    return _help(*names)


def _rooms() -> str:
    """Return the picture of the rooms: who imports whom."""
    from tests.test_rooms import arrows

    lines = [f"    {source} --> {target}" for source, target in arrows()]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```"]) + "\n"


def _modules() -> str:
    """Return the first line of every module, which says what it is for."""
    rows = ["| module | what it is for |", "|---|---|"]
    for path in sorted(_PACKAGE.rglob("*.py"), key=_by_room):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        name = path.relative_to(_PACKAGE).as_posix().removesuffix("__init__.py")
        shown = f"**`{name}`**" if name.endswith("/") else f"`{name}`"
        if name:
            rows.append(f"| {shown} | {' '.join(doc.partition(chr(10) * 2)[0].split())} |")
    return "\n".join(rows) + "\n"


def _by_room(path: Path) -> tuple[bool, Path, bool, Path]:
    """Order modules by room, single ones first, each room's own line at its head."""
    return path.parent != _PACKAGE, path.parent, path.name != "__init__.py", path


def _attacks() -> str:
    """Return the attacks on the endpoint that the tests try, and what they get."""
    from tests.server.test_attacks import attack_table

    return attack_table().strip() + "\n"


def _faults() -> str:
    """Return the faults of the wire that the tests play, and what comes of each."""
    from tests.faults.table import markdown

    return markdown()


def _ray() -> str:
    """Return the figures of the last `test_batch_ray --measure`."""
    from tests.batch.test_ray import workers_table

    return workers_table()


def _benchmarks() -> str:
    """Return the figures of the last full run of `python -m tests.benchmarks`."""
    from tests.benchmarks import report

    return report.summary(report.read(report.LATEST))


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "help": _help,
    "commands": _commands,
    "errors": _error_tree,
    "rooms": _rooms,
    "modules": _modules,
    "attacks": _attacks,
    "faults": _faults,
    "ray": _ray,
    "benchmarks": _benchmarks,
}


def renewed(document: str) -> str:
    """Return the document with every generated part as it should be.

    Args:
        document: The document's text.

    Raises:
        KeyError: It names a part that nothing here generates.
    """
    return _PART.sub(lambda match: match[1] + PARTS[match[2]]() + match[3], document)


def write(path: Path) -> None:
    """Write a document's generated parts anew."""
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    for path in DOCUMENTS:
        write(path)
