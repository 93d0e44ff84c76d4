"""How the package is written: short functions, and nothing twice."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import defaultdict
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple, TypeAlias

from langchain_core.language_models import BaseChatModel

import langchain_ai365vip

ROOT = Path(langchain_ai365vip.__file__).parent
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
# A run of so many equal lines is a copy.
COPY = 6
# Methods whose signatures LangChain's core dictates to every chat model: these may stand twice.
DICTATED = {"_generate", "_agenerate", "_stream", "_astream"}


class Line(NamedTuple):
    """A line of code, without its indentation and comment.

    Attributes:
        module: The file that it is in.
        number: Its number in the file.
        text: What it says.
    """

    module: str
    number: int
    text: str


def trees() -> dict[str, ast.Module]:
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(ROOT.rglob("*.py"))
    }


def functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def lines_of(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def docstring(node: ast.AST) -> range:
    """The lines of a docstring, if there is one."""
    body = getattr(node, "body", None)
    first = body[0] if isinstance(body, list) and body else None
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return lines_of(first) if is_text and isinstance(first, ast.Expr) else range(0)


def signature(function: Function) -> range:
    return range(function.lineno, function.body[0].lineno)


def length(function: Function) -> int:
    """The lines of a function with its signature, without its docstring and decorators."""
    return len(lines_of(function)) - len(docstring(function))


def left_out(tree: ast.Module) -> set[int]:
    """The numbers of the lines that are no code of ours: docstrings, imports, signatures given."""
    found: set[int] = set()
    for node in ast.walk(tree):
        found.update(docstring(node))
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(lines_of(node))
        if isinstance(node, Function) and node.name in DICTATED:
            found.update(signature(node))
    return found


def code(module: str, tree: ast.Module) -> list[Line]:
    """The lines of code of a module, without those left out."""
    source = (ROOT / module).read_text(encoding="utf-8")
    skip = left_out(tree)
    words: dict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (tokenize.COMMENT, tokenize.NL) and token.string.strip():
            words[token.start[0]].append(token.string)
    return [
        Line(module, number, " ".join(texts))
        for number, texts in sorted(words.items())
        if number not in skip
    ]


def copies(lines: list[list[Line]]) -> list[str]:
    """Where runs of equal lines are, each at its first six lines."""
    seen: dict[tuple[str, ...], Line] = {}
    found = []
    for module in lines:
        for start in range(len(module) - COPY + 1):
            run = module[start : start + COPY]
            first = seen.setdefault(tuple(line.text for line in run), run[0])
            if first != run[0]:
                found.append(
                    f"{first.module}:{first.number} = {run[0].module}:{run[0].number} {run[0].text}"
                )
    return found


def test_functions_are_short() -> None:
    lengths = [length(function) for tree in trees().values() for function in functions(tree)]

    assert len(lengths) > 500
    assert median(lengths) <= 8
    assert quantiles(lengths, n=10)[-1] <= 30


def test_a_copy_is_found_within_a_module_and_in_another_one() -> None:
    texts = [*"abcdef", "x", *"abcdef"]
    lines = [Line("one.py", number, text) for number, text in enumerate(texts)]

    assert copies([lines[:12]]) == []
    assert copies([lines]) == ["one.py:0 = one.py:7 a"]
    assert len(copies([lines[:7], [line._replace(module="two.py") for line in lines[:7]]])) == 2


def test_what_may_stand_twice_is_cores() -> None:
    assert vars(BaseChatModel).keys() >= DICTATED


def test_no_six_lines_stand_twice() -> None:
    assert copies([code(module, tree) for module, tree in trees().items()]) == []
