"""Searches a text for a schema's `pattern` where that cannot take long."""

from __future__ import annotations

import functools
import re

_MARK = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}|.", re.DOTALL)
_BOUNDED = re.compile(r"\{(?:,?\d|\d,\d)\}")
# Python's `re` tries every way to divide a text among the repetitions of a pattern, and
# cannot be interrupted. These lengths keep the worst pattern to about a second.
_LONGEST = {0: 1_000_000, 1: 10_000, 2: 1_000, 3: 250}
_LONGEST_OF_MANY = 100
_LONGEST_OF_NESTED = 20


def matches(pattern: str, text: str) -> bool:
    """Says whether a pattern is found in a text.

    Args:
        pattern: A regular expression, as JSON schema has them.
        text: The text to look in.

    Returns:
        True also where it is not looked for: the text is too long for a pattern of this
        kind (with a repetition inside a repetition, more than 20 characters), or the
        pattern is none that Python knows.
    """
    try:
        return len(text) > _longest(pattern) or re.search(pattern, text) is not None
    except (re.error, OverflowError, RecursionError):
        return True


@functools.lru_cache(maxsize=256)
def _longest(pattern: str) -> int:
    """The longest text that the pattern is tried on."""
    repeats, open_groups, closed = 0, [False], False  # whether something in it is repeated
    for mark in _MARK.findall(pattern):
        if mark == "(":
            open_groups.append(False)
        elif mark == ")" and len(open_groups) > 1:
            closed = open_groups.pop()
            open_groups[-1] = open_groups[-1] or closed
            continue
        elif mark == "|":
            open_groups[-1] = True
        elif mark in ("*", "+") or (len(mark) > 2 and mark[0] == "{" and _is_long(mark)):
            if closed:
                return _LONGEST_OF_NESTED
            repeats += 1
            open_groups[-1] = True
        closed = False
    return _LONGEST.get(repeats, _LONGEST_OF_MANY)


def _is_long(mark: str) -> bool:
    return _BOUNDED.fullmatch(mark) is None
