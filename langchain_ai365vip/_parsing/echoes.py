"""Says whether a call only repeats what a user or a tool wrote: then it is a quotation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape

# A page in a JSON text in a tool's result, which is JSON too, is escaped three times.
_ROUNDS = 5
# From the first backslash of a row on: at each of them, many would take very long.
_UNICODE = re.compile(r"(?<!\\)\\+u([0-9a-f]{4})")
_ESCAPES = re.compile(r"\\+[bfnrt]?|\s+")
# What a call goes on with whose arguments stand in tags.
_MORE = re.compile(r"<[^<>]{0,20}(?:arg_?key|param|tool_arg:|\|open\|>argument)")


def plain(text: str) -> str:
    r"""Take away what a quotation may change: case, white space, backslashes, `\u003c`, `&lt;`."""
    text = text.casefold()
    for _ in range(_ROUNDS):
        decoded = _decoded(text)
        if decoded == text:
            break
        text = decoded
    return _ESCAPES.sub("", text)


def _decoded(text: str) -> str:
    text = _UNICODE.sub(lambda found: chr(int(found[1], 16)), text) if "\\" in text else text
    return unescape(text) if "&" in text else text


def _joined(text: str) -> str:
    """Join halves: JSON writes a character beyond the first 65,536 as two escapes."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


class Echoes:
    """What others wrote in a conversation.

    Args:
        texts: Their words as the model saw them; read only when there is a call.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._plain: list[str] | None = None

    def hold(self, call: str) -> bool:
        """Say whether a call, with its tag where it has one, stands in one of the texts."""
        if self._plain is None:
            self._plain = [_joined(plain(text)) for text in self._texts]
        wanted = _joined(plain(call))
        return any(_stands_in(wanted, text) for text in self._plain)


def _stands_in(call: str, text: str) -> bool:
    """Say whether the call stands there, and not only as the beginning of another."""
    at = text.find(call)
    while at >= 0:
        end = at + len(call)
        last, following = call[-1:], text[end : end + 1]
        in_word = last.isalnum() and following.isalnum()
        if not (in_word or last + following == ">{" or _MORE.match(text, end)):
            return True
        at = text.find(call, end)
    return False
