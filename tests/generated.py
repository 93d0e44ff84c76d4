"""The parts of the README that are generated: `python -m tests.generated` writes them anew.

A part stands between `<!-- generated: NAME -->` and `<!-- /generated -->`; a test compares it
with what its function here returns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from langchain_ai365vip import errors

README: Final = Path(__file__).parent.parent / "README.md"
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def _error_tree() -> str:
    """Return the tree as `errors` draws it in its docstring."""
    tree = (errors.__doc__ or "").split("```")[1].strip("\n")
    return f"```text\n{tree}\n```\n"


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "errors": _error_tree,
}


def renewed(document: str) -> str:
    """Return the document with every generated part as it should be.

    Args:
        document: The document's text.

    Raises:
        KeyError: It names a part that nothing here generates.
    """
    return _PART.sub(lambda match: match[1] + PARTS[match[2]]() + match[3], document)


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
