r"""How tools, calls, results and schemas are written into text. Pure functions.

The form is the Hermes/Qwen convention, which many open models were trained on and
others follow when told: calls as JSON inside `<tool_call>`, results inside
`<tool_response>`. Whatever a page, a user or a tool puts into that JSON cannot end its
tag or start another: `<` before one of our tags, or before a model's control token
(`<|`), is written as `\u003c`, which JSON reads back as `<`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_TAG_OPENING = re.compile(r"<(?=\||\s*/?\s*(?:tools?|tool_calls?|tool_responses?|think)\b)", re.I)


def _safe(json_text: str) -> str:
    """Escape what could be read as a tag or a control token in a JSON text, losslessly."""
    if "<" not in json_text:
        return json_text
    return _TAG_OPENING.sub(r"\\u003c", json_text)


def to_json(value: Any) -> str:
    """Write `value` as one line of JSON with real Unicode, safe inside our tags.

    What JSON does not know (dates, decimals) is written as its `str`.
    """
    return _safe(json.dumps(value, ensure_ascii=False, default=str))


def tool_call_text(name: str | None, args: Mapping[str, Any] | str) -> str:
    """Write a tool call as the model would have written it.

    Args:
        name: The tool's name; `None` when a broken call did not say.
        args: The arguments, or their JSON text as the model wrote it (which may be
            broken: it is shown as it was).
    """
    arguments = (_safe(args) or '""') if isinstance(args, str) else to_json(args)
    call = arguments if name is None else f'{{"name": {to_json(name)}, "arguments": {arguments}}}'
    return f"<tool_call>\n{call}\n</tool_call>"


def tool_response_text(
    name: str | None, content: str, *, error: bool = False, call: int | None = None
) -> str:
    """Write a tool's result for the model to read.

    A JSON object or array stands as such, letter by letter; any other text as a JSON
    string.

    Args:
        name: The tool's name, if known.
        content: What the tool returned.
        error: Whether the tool failed.
        call: Which call of the turn this answers (1, 2, …), where the name alone does
            not tell.
    """
    fields = []
    if name is not None:
        fields.append(f'"name": {to_json(name)}')
    if call is not None:
        fields.append(f'"call": {call}')
    if error:
        fields.append('"status": "error"')
    fields.append(f'"content": {_safe(content) if _is_json(content) else to_json(content)}')
    return "<tool_response>\n{" + ", ".join(fields) + "}\n</tool_response>"


def _is_json(text: str) -> bool:
    """Say whether `text` is one JSON object or array."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
