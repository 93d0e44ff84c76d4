"""What the log says of requests, most of it at level DEBUG: never a text, never a secret."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import tenacity

from langchain_ai365vip._transport.reply import Reply

logger: Final = logging.getLogger("langchain_ai365vip.requests")


def described(payload: Mapping[str, Any]) -> str:
    """Describe a conversation without its texts; empty where nobody would read it."""
    if not logger.isEnabledFor(logging.DEBUG):
        return ""
    model, turns = payload["model"], payload["messages"]
    characters = len(payload["prompt"]) + sum(len(turn["content"]) for turn in turns)
    # !a: an id is a caller's text, and must not forge log lines.
    return f"model {model.get('id')!a}, {len(turns)} turns, {characters} characters"


class AttemptLog:
    """The lines of one attempt: when it starts, and when it ends.

    Args:
        place: The address, without secrets.
        about: What is sent, in words.
        retry: Which retry it is; 0 is the first attempt.
    """

    def __init__(self, place: str, about: str, retry: int) -> None:
        self._place = place
        self._started = time.monotonic()
        self._first = ""
        what = f"retry {retry}" if retry else "first attempt"
        logger.debug("POST %s: %s, %s", place, about, what)

    def text_came(self) -> None:
        """Note that the first text is there."""
        self._first = f", first text after {time.monotonic() - self._started:.3f} s"

    def ended(self, status: int | None, characters: int, why: str) -> None:
        """Write the last line.

        Args:
            status: The HTTP status; `None` without an answer.
            characters: Length of the text that came.
            why: Why it ended.
        """
        logger.debug(
            "POST %s: status %s%s, %d characters, %s",
            *(self._place, status or "none", self._first, characters, why),
        )


async def logged(opening: Awaitable[Reply], log: AttemptLog) -> Reply:
    """Wait for a reply, and log how that, or the reply itself, ends."""
    try:
        reply = await opening
    except BaseException as exc:
        log.ended(getattr(exc, "status_code", None), 0, type(exc).__name__)
        raise
    log.text_came()
    reply.when_closed(lambda reply: log.ended(200, len(reply.partial_text), reply.ending))
    return reply


def log_retry(state: tenacity.RetryCallState) -> None:
    """Warn of a retry, where no callback hears of it."""
    error = state.outcome.exception() if state.outcome else None
    logger.warning("Retry %d in %.1f s: %s", state.attempt_number, state.upcoming_sleep, error)
