"""What a model is told when a reply will not do: asked once more, in words that it can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_ai365vip._prompt.tools import _CALL_FORM, to_json

# ---------------------------------------------------------------- asking once more


def ask_for_call(tool_names: Sequence[str]) -> str:
    """Ask again for a call that had to come and did not."""
    if len(tool_names) == 1:
        which = f"Call the function {tool_names[0]} now"
    else:
        which = f"Call one of these functions now: {', '.join(tool_names)}"
    return (
        f"That reply holds no function call, and one is needed. {which}. Reply with the "
        f"call only, no other text:\n{_CALL_FORM}"
    )


def ask_for_valid_call(
    problems: Sequence[str], standing: Sequence[tuple[str, Mapping[str, Any]]] = ()
) -> str:
    """Ask again for calls that could not be executed.

    Args:
        problems: What is wrong with each.
        standing: The names and arguments of the calls of the same reply that could be.
    """
    listed = "\n".join(f"- {problem}" for problem in problems)
    rest = ""
    if standing:
        good = "\n".join(to_json({"name": name, "arguments": args}) for name, args in standing)
        rest = f"These calls in it stand; do not repeat them:\n{good}\n"
    return (
        f"The function call in that reply cannot be carried out:\n{listed}\n{rest}"
        f"Write it again, corrected. Reply with the call only, no other text:\n{_CALL_FORM}"
    )


def ask_for_valid_object(problem: str) -> str:
    """Ask again for an object that does not fit its schema."""
    return (
        f"That reply is not the JSON object that was asked for: {problem}\n"
        "Write it again, corrected. Reply with the whole JSON object only, no other text."
    )
