"""Where a reply is cut here, because the wire has no field for it: `stop` and `max_tokens`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, Literal

from langchain_ai365vip._wire.payload import check_number
from langchain_ai365vip._wire.tokens import estimate_tokens

_WHITE_SPACE: Final = re.compile(r"\s")


def stop_texts(stop: str | Sequence[str]) -> tuple[str, ...]:
    """Return the stop texts that were given, without blank ones.

    Raises:
        ValueError: It is no text and no list of texts.
    """
    texts = (stop,) if isinstance(stop, str) else stop
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"stop must be a text or a list of texts, not {stop!r}.")
    return tuple(filter(None, texts))


class ReplyCutter:
    """A cut through a reply, before a stop text or after a number of tokens.

    `feed` returns everything but the longest end that may still become a stop text, `flush` the
    rest when the reply has ended by itself.

    Args:
        stop: Texts before which the reply is cut.
        max_tokens: Bound on its tokens.
        count: Counts the tokens of a text. Default: an estimate.

    Attributes:
        finish_reason: `"stop"` or `"length"` once the reply has been cut, else `None`.

    Raises:
        ValueError: `max_tokens` is below 1, or `stop` is no text and no list of texts.
    """

    def __init__(
        self,
        stop: str | Sequence[str] = (),
        max_tokens: int | None = None,
        count: Callable[[str], int] | None = None,
    ) -> None:
        self.finish_reason: Literal["stop", "length"] | None = None
        self._stop = stop_texts(stop)
        self._held = ""
        self._budget: _Budget | None = None
        if max_tokens is not None:
            check_number("max_tokens", max_tokens, at_least=1)
            self._budget = _Budget(max_tokens, count or estimate_tokens)

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
        hits = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if hits:
            self.finish_reason, self._held = "stop", ""
            # The one that is complete first, as a model that writes letter by letter would
            # meet it: which one comes first must not depend on how the network cut the text.
            return text[: min(hits)[1]]
        shown = len(text) - self._undecided(text)
        self._held = text[shown:]
        return text[:shown]

    def _undecided(self, text: str) -> int:
        """Return the length of the longest end of `text` with which a stop text begins."""
        longest = 0
        for stop in self._stop:
            # From one first letter to the next: nearly always there is none.
            at = text.find(stop[0], max(0, len(text) - len(stop) + 1))
            while at >= 0 and not stop.startswith(text[at:]):
                at = text.find(stop[0], at + 1)
            if at >= 0:
                longest = max(longest, len(text) - at)
        return longest

    def _within_budget(self, text: str) -> str:
        if self._budget is None or not text:
            return text
        kept = self._budget.take(text)
        if self._budget.spent:
            self.finish_reason, self._held = "length", ""
        return kept


class _Budget:
    """A number of tokens, spent as text comes in.

    Where the text is cut must not depend on how the network cut it, and a count may fall as a
    word grows ("babaababa" is more tokens of gpt-4o than "babaababaab"). So a position is judged
    by the text before it alone, in order, and the first that costs too much ends the text.

    It is counted since the last checkpoint: white space where there is any, every few hundred
    characters, so that the cost stays linear. Positions that cannot cost too much, judged by
    the last count, are passed over.
    """

    _SOFT, _HARD = 200, 400
    # The tokens that one more character may add; in UTF-8 it has as many bytes.
    _MOST = 4

    def __init__(self, tokens: int, count: Callable[[str], int]) -> None:
        self._left = tokens
        self._count = count
        self._open = ""
        self._due = self._safe(0)  # the length of the open text that is judged next
        self.spent = False

    def take(self, text: str) -> str:
        """Return as much of the text as the budget pays for."""
        kept = []
        while text and not self.spent:
            part, text = self._until_checkpoint(text)
            kept.append(self._take(part))
        return "".join(kept)

    def _until_checkpoint(self, text: str) -> tuple[str, str]:
        soft, hard = self._SOFT - len(self._open), self._HARD - len(self._open)
        space = _WHITE_SPACE.search(text, max(0, soft), hard)
        end = space.end() if space else hard
        return text[:end], text[end:]

    def _take(self, text: str) -> str:
        start, self._open = len(self._open), self._open + text
        end = len(self._open)
        complete = end >= self._HARD or (end > self._SOFT and self._open[-1].isspace())
        while self._due <= end or complete:
            at = min(self._due, end)
            cost = self._count(self._open[:at])
            if cost > self._left:
                self.spent = True
                return self._open[start : at - 1]
            if complete and at == end:
                self._left -= cost
                self._open = ""
                self._due = self._safe(0)
                break
            self._due = at + self._safe(cost)
        return text

    def _safe(self, cost: int) -> int:
        """Return how many characters further it can first cost too much."""
        return (self._left - cost) // self._MOST + 1
