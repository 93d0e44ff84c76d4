"""Brings the text of an argument to a value: by its schema, as Python or in bare braces."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_ai365vip._parsing.coercion import coerce_fields

LIMIT: Final = 100_000
"""The longest text, in characters, that is read as Python or in bare braces."""

DEEPEST: Final = 64
"""How many brackets may stand in one another there."""

_WORDS: Final[Mapping[str, Any]] = {"true": True, "false": False, "null": None, "none": None}
_CONSTANTS: Final[Mapping[str, Any]] = {"true": True, "false": False, "null": None}


def from_texts(texts: Mapping[str, str], schema: Any) -> dict[str, Any]:
    """Return the values that the texts of a call's arguments mean, the text where none is clear.

    Args:
        texts: What stands between the marks, by name.
        schema: The JSON schema of the arguments.
    """
    values = coerce_fields(texts, schema)
    for name, text in texts.items():
        if values.get(name) == text and text.strip()[:1] in ("[", "{", "(", "<", "]"):
            data = from_data(text.strip())
            again = None if data is None else coerce_fields({name: json.dumps(data)}, schema)
            if again and isinstance(again.get(name), dict | list):
                values[name] = again[name]
    return values


def from_data(text: str) -> Any:
    """Read a list or an object, in JSON, in Python or as tags in tags; None if it is none."""
    for read in (json.loads, _literal, _from_tags):
        try:
            value = read(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict | list):
            return value
    return None


# --- Python -------------------------------------------------------------------------------

_CALL = re.compile(r"\s*(print\(\s*)?([\w.:/-]+)(\()")
_STRINGS = re.compile(
    r"""([rRbBuUfF]{0,2})('{3}|"{3}|'|")((?:\\.|(?!\2)[^\\])*)(\2|\Z)""", re.DOTALL
)
_ODD_ESCAPE = re.compile(r"""\\(?!["'\\abfnrtvxuUN0-7\n])|\\(.)""", re.DOTALL)


def python_call(text: str) -> tuple[str, dict[str, Any]]:
    """Read a call as Python writes it: a name, and literals by name.

    Args:
        text: `name(key=value, ...)`, `print(...)` around it perhaps.

    Raises:
        ValueError: It is anything else; says why, in words for the model.
    """
    # The name apart: a tool's may hold what is an operator to Python.
    found = _CALL.match(text)
    inner = text.rstrip().removesuffix(")") if found and found[1] else text
    node = _parse(f"call{inner[found.start(3) :]}") if found else None
    if found is None or not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise ValueError("This is no call as Python writes it.")
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        raise ValueError("Each argument needs its name: `name(key=value)`.")
    arguments = {str(each.arg): _value_of(each.value) for each in node.keywords}
    return found[2], arguments


def _literal(text: str) -> Any:
    return _value_of(_parse(text))


def _parse(text: str) -> ast.expr:
    if len(text) > LIMIT:
        raise ValueError(f"The call is longer than {LIMIT} characters.")
    if _deepest(text) > DEEPEST:
        raise ValueError("The call is nested too deeply to be read.")
    try:
        return ast.parse(_STRINGS.sub(_plain_string, text.strip()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"This is not Python: {getattr(error, 'msg', error)}.") from None


def _deepest(text: str) -> int:
    depth = deepest = 0
    for char in re.findall(r"[()\[\]{}+~-]", _STRINGS.sub("", text)):
        depth += 1 if char in "([{+-~" else -1 if char in ")]}" else 0
        deepest = max(deepest, depth)
    return deepest


def _plain_string(found: re.Match[str]) -> str:
    r"""Write a string so that Python reads it: line breaks and `\d` are what they are."""
    prefix, quote, body, end = found.groups()
    if "r" in prefix.lower():
        return found[0]
    body = _ODD_ESCAPE.sub(lambda escape: escape[0] if escape[1] else "\\\\", body)
    if len(quote) == 1:
        body = body.replace("\\\n", "").replace("\n", "\\n").replace("\r", "\\r")
    return f"{prefix}{quote}{body}{end}"


class _Words(ast.NodeTransformer):
    """Takes JSON's words for Python's."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_CONSTANTS[node.id]) if node.id in _CONSTANTS else node


def _value_of(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(_Words().visit(node))
        return json.loads(json.dumps(_jsonable(value), allow_nan=False))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise ValueError("An argument is not a plain value.") from None


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key that is no text")
        return {key: _jsonable(item) for key, item in value.items()}
    return [_jsonable(item) for item in value] if isinstance(value, list | tuple) else value


# --- bare braces --------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[{}\[\],:]|=>)|"(?P<string>(?:\\.|[^"\\])*)"|(?:--)?(?P<word>[^\s{}\[\],:"=<]+))""",
    re.DOTALL,
)


def from_braces(text: str, quotes: Mapping[str, str]) -> Any:
    """Read an object of bare keys: Gemma's `{key:<|"|>text<|"|>}`, or `{key => "text"}`.

    Args:
        text: The object.
        quotes: By the strings' own placeholder, what stands in them.

    Raises:
        ValueError: It is anything else.
    """
    tokens = list(_TOKEN.finditer(text))
    if len(text) > LIMIT or "".join(found[0] for found in tokens) != text.rstrip():
        raise ValueError("The object is broken.")
    written = [_as_json(found, tokens[i + 1 : i + 2], quotes) for i, found in enumerate(tokens)]
    try:
        return json.loads("".join(_with_commas(written)), strict=False)
    except (ValueError, RecursionError):
        raise ValueError("The object is broken.") from None


def _as_json(
    found: re.Match[str], following: list[re.Match[str]], quotes: Mapping[str, str]
) -> str:
    mark, string, word = found["mark"], found["string"], found["word"]
    if mark:
        return ":" if mark == "=>" else str(mark)
    if string is not None:
        return f'"{string}"'
    if word in quotes:
        return json.dumps(quotes[word])
    is_key = found[0].lstrip().startswith("--") or (
        bool(following) and following[0]["mark"] in (":", "=>")
    )
    if is_key:
        return json.dumps(word) + (":" if found[0].lstrip().startswith("--") else "")
    lower = str(word).lower()
    return json.dumps(_WORDS[lower]) if lower in _WORDS else str(word)


def _with_commas(tokens: list[str]) -> Iterator[str]:
    """Put commas between values that have none."""
    last = ""
    for token in tokens:
        if last and last[-1] not in "{[,:" and token[0] not in "}],:":
            yield ","
        yield token
        last = token


# --- tags in tags -------------------------------------------------------------------------

_TAGS = re.compile(r"(?:\]<\]minimax\[>\[)?<(/?)([\w.-]+)>|(?:(?!\]<\]minimax\[>\[)[^<])+")


def _from_tags(text: str) -> Any:
    """Read `<item>a</item><item>b</item>` as a list, other tags as an object."""
    stack: list[_Tag] = [_Tag("")]
    end = 0
    for found in _TAGS.finditer(text):
        if found.start() != end or len(stack) > DEEPEST:
            return None
        end = found.end()
        if not found[2]:
            stack[-1].words += found[0]
        elif not found[1]:
            stack.append(_Tag(found[2]))
        elif stack[-1].name != found[2]:
            return None
        else:
            tag = stack.pop()
            stack[-1].items.append((tag.name, tag.value))
    whole = end == len(text) and len(stack) == 1 and not stack[0].words.strip()
    return stack[0].value if whole else None


@dataclass(slots=True)
class _Tag:
    name: str
    items: list[tuple[str, Any]] = field(default_factory=list)
    words: str = ""

    @property
    def value(self) -> Any:
        if not self.items:
            return self.words
        if all(name == "item" for name, _ in self.items):
            return [value for _, value in self.items]
        return dict(self.items)
