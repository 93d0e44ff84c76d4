"""Reads one JSON text as language models write it: exact where it can, repaired where not."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import json_repair

from langchain_ai365vip._repairs import shows

REPAIR_LIMIT = 100_000
"""The longest text, in characters, that is repaired.

Repairing takes about 2 microseconds per character in pure Python, on the event loop: 0.2
seconds at this size. Correct JSON has no limit, it is read at the speed of C.
"""


class Json(NamedTuple):
    """A JSON value, and whether its text had to be repaired: then some of it is a guess."""

    value: Any
    repaired: bool


def read_json(text: str, escaped: str = "") -> Json:
    """Read a JSON text; raw line breaks in strings are accepted.

    langchain-core's `parse_partial_json` is not among the steps: it tries again
    after each character it drops, which takes minutes for a megabyte with a fault in it, and
    a text that was cut off is not completed by guess.

    Args:
        text: The JSON text, white space around it allowed.
        escaped: The same with what seem to be unescaped quotation marks escaped, if any.

    Raises:
        ValueError: The text is not JSON and could not be repaired without losing some of
            it; says why.
    """
    try:
        return Json(json.loads(text, strict=False), repaired=False)
    except RecursionError:
        raise ValueError("The JSON is nested too deeply to be read.") from None
    except ValueError as error:
        fault = error
    try:
        return Json(json.loads(escaped, strict=False), repaired=True)
    except (ValueError, RecursionError):
        return Json(_repair(text, fault), repaired=True)


def is_json(text: str) -> bool:
    """Say whether a text can be read as it is."""
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _repair(text: str, fault: ValueError) -> Any:
    if len(text) > REPAIR_LIMIT:
        raise ValueError(
            f"The JSON is broken ({fault}) and, with {len(text)} characters, too long to be "
            f"repaired (the limit is {REPAIR_LIMIT})."
        ) from None
    try:
        value = json_repair.loads(text, skip_json_loads=True)
        # It drops what it cannot place, and takes brackets into a text whose end it misses.
        kept = isinstance(value, dict | list) and shows(text, value)
    except Exception as error:  # a heuristic library on arbitrary text: any failure is "no"
        raise ValueError(f"The JSON is broken: {fault} ({error})") from None
    if not kept:
        raise ValueError(f"The JSON is broken: {fault}")
    return value
