"""Searches a text for a schema's `pattern` where that cannot take long."""

from __future__ import annotations

import functools
import re

_MARK = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?|\{\d*,?\d*\}|.", re.DOTALL)
_COUNTED = re.compile(r"\{(\d+|(?=,))(,?)(\d*)\}")
_FEW, _MANY = 9, 1_000_000
_REPETITIONS = {"*": (0, _MANY), "+": (1, _MANY), "?": (0, 1)}
# Python's `re` tries every way to divide a text among the repetitions of a pattern, and
# cannot be interrupted. These lengths keep the worst pattern to about a second: by how many
# of its parts may repeat more than nine times.
_LONGEST = {0: 1_000_000, 1: 10_000, 2: 1_000, 3: 250}
_LONGEST_OF_MANY = 100
_LONGEST_OF_NESTED = 20
# How many ways its other parts (`?`, `{1,3}`) may go before nobody would wait for them.
_MOST_WAYS = 4_000_000


def matches(pattern: str, text: str) -> bool:
    """Say whether a pattern is found in a text.

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
    """Return the length of the longest text that the pattern is tried on."""
    repeats, ways, nested = 0, 1, False
    open_groups, closed = [False], False  # whether something in it is repeated
    for mark in _MARK.findall(pattern):
        if mark in ("(", "(?"):
            open_groups.append(False)
        elif mark == ")" and len(open_groups) > 1:
            closed = open_groups.pop()
            open_groups[-1] = open_groups[-1] or closed
            continue
        elif mark == "|":
            open_groups[-1] = True
        else:
            least, most = _repetitions(mark)
            nested = nested or (closed and most > 1)
            if most > _FEW:
                repeats += 1
            else:
                ways *= most - least + 1
            open_groups[-1] = open_groups[-1] or most > least
        closed = False
    return _length_for(repeats, ways, nested=nested)


def _length_for(repeats: int, ways: int, *, nested: bool) -> int:
    if ways > _MOST_WAYS:
        return 0
    if nested:
        return _LONGEST_OF_NESTED
    longest = _LONGEST.get(repeats, _LONGEST_OF_MANY)
    return max(_LONGEST_OF_NESTED, int(longest / ways ** (1 / (repeats + 1))))


def _repetitions(mark: str) -> tuple[int, int]:
    """Return how often a mark lets what stands before it repeat, at least and at most."""
    if mark in _REPETITIONS:
        return _REPETITIONS[mark]
    counted = _COUNTED.fullmatch(mark)
    if counted is None:
        return 1, 1
    least, comma, most = counted.groups()
    if not comma:
        return int(least), int(least)
    # More than a few is the same as without a bound.
    return min(int(least or 0), _FEW), int(most) if most else _MANY
