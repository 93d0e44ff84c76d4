"""What a model is told when a reply will not do: asked once more, in words that it can act on."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_ai365vip._prompt.wording import CALL_FORM


def ask_for_call(tool_names: Sequence[str]) -> str:
    """Ask again for a call that had to come and did not."""
    if len(tool_names) == 1:
        which = f"Call the function {tool_names[0]} now"
    else:
        which = f"Call one of these functions now: {', '.join(tool_names)}"
    return (
        f"That reply holds no function call, and one is needed. {which}. Reply with the "
        f"call only, no other text:\n{CALL_FORM}"
    )


def ask_for_valid_call(problems: Sequence[str]) -> str:
    """Ask again for calls that could not be carried out, by what is wrong with each."""
    listed = "\n".join(f"- {problem}" for problem in problems)
    return (
        f"The function call in that reply cannot be carried out:\n{listed}\n"
        f"Write it again, corrected. Reply with the call only, no other text:\n{CALL_FORM}"
    )


def ask_for_valid_object(problem: str) -> str:
    """Ask again for an object that does not fit its schema."""
    return (
        f"That reply is not the JSON object that was asked for: {problem}\n"
        "Write it again, corrected. Reply with the whole JSON object only, no other text."
    )
