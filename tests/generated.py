"""The generated parts of documents: `python -m tests.generated` writes them anew.

A part stands between `<!-- generated: NAME -->` and `<!-- /generated -->`; a test compares it
with what its function here returns.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from langchain_ai365vip import errors

README: Final = Path(__file__).parent.parent / "README.md"
_PACKAGE: Final = README.parent / "langchain_ai365vip"
BENCHMARKS: Final = Path(__file__).parent / "benchmarks" / "README.md"
ENDPOINT: Final = _PACKAGE / "server" / "README.md"
# Every document: its blocks are run, its generated parts renewed.
DOCUMENTS: Final = (
    README,
    BENCHMARKS,
    Path(__file__).parent / "faults" / "README.md",
    *sorted((README.parent / "docs").glob("*.md")),
    _PACKAGE / "README.md",
    ENDPOINT,
)
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def _error_tree() -> str:
    """Return the tree as `errors` draws it in its docstring."""
    tree = (errors.__doc__ or "").split("```")[1].strip("\n")
    return f"```text\n{tree}\n```\n"


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
