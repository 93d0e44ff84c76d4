"""The Python blocks of documents (README, docstrings), found and run as a reader would."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

_FENCE = re.compile(
    r"^(?P<indent>[ ]*)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        language: What stands behind the fence.
        code: The text inside, without the fence's indentation.
        line: Number of its first line in the document.
        end: Number of its last line.
    """

    language: str
    code: str
    line: int
    end: int


def blocks(document: str) -> Iterator[Block]:
    """Yield the fenced blocks of a document in order."""
    for match in _FENCE.finditer(document):
        line = document.count("\n", 0, match.start("code")) + 1
        end = line + match["code"].count("\n") - 1
        yield Block(match["language"], textwrap.dedent(match["code"]), line, end)


def run(block: Block, namespace: dict[str, Any], filename: str) -> str:
    """Run a block, `await` at its top level included, and return what it printed.

    Args:
        block: A Python block.
        namespace: Its globals; keeps what it defines.
        filename: For tracebacks, which show the document's own lines.
    """
    source = "\n" * (block.line - 1) + block.code
    code = compile(source, filename, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = eval(code, namespace)
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(result)
    return printed.getvalue()
