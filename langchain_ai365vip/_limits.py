"""Where a reply is cut here, because the wire has no field for it: `stop` and `max_tokens`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal

_WHITE_SPACE: Final = re.compile(r"\s")


class Limits:
    """Cuts a stream of text before a stop text and after a number of tokens.

    `feed(text)` returns what may be shown: everything but the longest end that may still
    become a stop text. `flush()` returns the rest when the reply has ended by itself.

    Attributes:
        finish_reason: `"stop"` or `"length"` once the reply has been cut, else `None`.
    """

    def __init__(
        self,
        stop: Sequence[str] = (),
        max_tokens: int | None = None,
        count: Callable[[str], int] | None = None,
    ) -> None:
        self.finish_reason: Literal["stop", "length"] | None = None
        self._stop = tuple(text for text in stop if text)
        self._longest = max(map(len, self._stop), default=0)
        self._held = ""
        self._budget = _Budget(max_tokens, count or approximate_tokens) if max_tokens else None

    def feed(self, text: str) -> str:
        """Take the next text of the reply and return what may be shown."""
        if self.finish_reason:
            return ""
        if self._stop:
            text = self._before_stop(text)
        return self._within_budget(text)

    def flush(self) -> str:
        """Return what was held back, at the end of the reply."""
        if self.finish_reason:
            return ""
        text, self._held = self._held, ""
        return self._within_budget(text)

    def _before_stop(self, text: str) -> str:
        text = self._held + text
        hits = [at for at in map(text.find, self._stop) if at >= 0]
        if hits:
            self.finish_reason, self._held = "stop", ""
            return text[: min(hits)]
        shown = len(text) - self._undecided(text)
        self._held = text[shown:]
        return text[:shown]

    def _undecided(self, text: str) -> int:
        """Length of the longest end of `text` with which a stop text begins."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stop):
                return length
        return 0

    def _within_budget(self, text: str) -> str:
        if self._budget is None or not text:
            return text
        kept = self._budget.take(text)
        if self._budget.spent:
            self.finish_reason, self._held = "length", ""
        return kept


class _Budget:
    """A number of tokens, spent as text comes in.

    Tokens do not end where a network read does, so the text since the last checkpoint is
    counted anew each time; checkpoints lie at white space, every few hundred characters, so
    that the cost stays linear and does not depend on how the text was cut.
    """

    _STRIDE = 200

    def __init__(self, tokens: int, count: Callable[[str], int]) -> None:
        self._left = tokens
        self._count = count
        self._open = ""
        self.spent = False

    def take(self, text: str) -> str:
        """Return as much of the text as the budget pays for."""
        kept = []
        while text:
            part, text = self._until_checkpoint(text)
            kept.append(self._take(part))
            if self.spent:
                break
        return "".join(kept)

    def _until_checkpoint(self, text: str) -> tuple[str, str]:
        start = max(0, self._STRIDE - len(self._open))
        space = _WHITE_SPACE.search(text, start)
        return (text[: space.end()], text[space.end() :]) if space else (text, "")

    def _take(self, text: str) -> str:
        whole = self._open + text
        cost = self._count(whole)
        if cost > self._left:
            self.spent = True
            return whole[: self._affordable(whole)][len(self._open) :]
        if len(whole) > self._STRIDE and whole[-1].isspace():
            self._left -= cost
            whole = ""
        self._open = whole
        return text

    def _affordable(self, text: str) -> int:
        low, high = len(self._open), len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self._count(text[:middle]) <= self._left:
                low = middle
            else:
                high = middle - 1
        return low


def approximate_tokens(text: str) -> int:
    """Estimate tokens at four UTF-8 bytes each, rounded up."""
    return (len(text.encode("utf-8", "surrogatepass")) + 3) // 4
