"""Writes calls in the forms of the table, as models do: the other way round than the parser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_ai365vip._parsing.dialects import FORMS, Form

Calls = Sequence[tuple[str, Mapping[str, Any]]]
"""Names and arguments."""


def write(form: Form, calls: Calls) -> str:
    """Write calls as a whole reply of a model that has this form."""
    if form.shape == "json":
        return _json(form, calls)
    if form.shape == "python":
        return _python(form, calls)
    body = "".join(_one(form, name, arguments) for name, arguments in calls)
    return form.section[0] + body + form.section[1]


def _json(form: Form, calls: Calls) -> str:
    values: list[Any] = []
    for name, arguments in calls:
        keys = form.keys
        values.append({keys[0]: name, keys[1]: arguments} if keys else {name: arguments})
    texts = [json.dumps(value, ensure_ascii=False) for value in values]
    if form.lists or not form.open:
        texts = [f"[{', '.join(texts)}]"]
    if form.fence:
        texts = [f" ```json\n{text}\n```" for text in texts]
    return "\n".join(form.open + text + form.close for text in texts)


def _python(form: Form, calls: Calls) -> str:
    texts = [
        f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
        for name, arguments in calls
    ]
    if form.fenced:
        return f"```{form.fenced}\n" + "\n".join(texts) + "\n```"
    body = f"[{', '.join(texts)}]" if form.lists else "\n".join(["", *texts, ""])
    return form.open + body + form.close


def _one(form: Form, name: str, arguments: Mapping[str, Any]) -> str:
    head = form.open + form.head.format(name=name) + form.args
    close = form.close.format(name=name)
    if form.shape == "fields":
        return head + "".join(_field(form, *item) for item in arguments.items()) + close
    if form.shape == "braces":
        return head + _braces(arguments, form.quote) + close
    body = json.dumps(arguments, ensure_ascii=False)
    return head + (f"\n```json\n{body}\n```" if form.fence else body) + close


def _field(form: Form, key: str, value: Any) -> str:
    is_text = isinstance(value, str)
    text = value if is_text else json.dumps(value, ensure_ascii=False)
    slot = form.slot.format(
        key=key, text=json.dumps(is_text), type="string" if is_text else type_of(value)
    )
    return form.key + slot + form.value + text + form.end.format(key=key)


def type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", type(None): "null"}
    return names.get(type(value), "array" if isinstance(value, list) else "object")


def _braces(value: Any, quote: str) -> str:
    if isinstance(value, str):
        return quote + value + quote
    if isinstance(value, list):
        return "[" + ",".join(_braces(item, quote) for item in value) + "]"
    if isinstance(value, Mapping):
        items = (f"{key}:{_braces(item, quote)}" for key, item in value.items())
        return "{" + ",".join(items) + "}"
    return json.dumps(value)


BY_NAME = {f"{form.models}, {form.shape}": form for form in FORMS}
"""The forms, by names that tell them apart."""
