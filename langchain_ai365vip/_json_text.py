"""Reads one JSON text as language models write it: exact where it can, repaired where not."""

from __future__ import annotations

import json
from typing import Any

import json_repair

REPAIR_LIMIT = 100_000
"""The longest text, in characters, that is repaired.

Repairing takes about 2 microseconds per character in pure Python, on the event loop: 0.2
seconds at this size. Correct JSON has no limit, it is read at the speed of C.
"""


def read_json(text: str) -> Any:
    """Reads a JSON text; raw line breaks in strings are accepted.

    langchain-core's `parse_partial_json` is not among the steps: it tries again
    after each character it drops, which takes minutes for a megabyte with a fault in it, and
    a text that was cut off is not completed by guess (a cut path may be another path).

    Args:
        text: The JSON text, white space around it allowed.

    Returns:
        The value.

    Raises:
        ValueError: The text is not JSON and could not be repaired; says why.
    """
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        raise ValueError("The JSON is nested too deeply to be read.") from None
    except ValueError as error:
        return _repair(text, error)


def _repair(text: str, fault: ValueError) -> Any:
    if len(text) > REPAIR_LIMIT:
        raise ValueError(
            f"The JSON is broken ({fault}) and, with {len(text)} characters, too long to be "
            f"repaired (the limit is {REPAIR_LIMIT})."
        ) from None
    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except Exception as error:  # a heuristic library on arbitrary text: any failure is "no"
        raise ValueError(f"The JSON is broken: {fault} ({error})") from None
    if not isinstance(value, dict | list):
        raise ValueError(f"The JSON is broken: {fault}")
    return value
