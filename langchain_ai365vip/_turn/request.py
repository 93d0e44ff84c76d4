"""What a call sends, and what its reply must be: messages, settings and tools in one. Pure.

A call's settings come checked, with the model's own laid under them (`_settings`); what was bound
to it (`Tooling`) stands among its keyword arguments.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_ai365vip._prompt.messages import REMIND_AFTER, to_wire
from langchain_ai365vip._turn.rules import Rules
from langchain_ai365vip._turn.tooling import Tooling, said_by_others
from langchain_ai365vip._wire.cutter import stop_texts
from langchain_ai365vip._wire.facts import ESCAPED, WireMessage
from langchain_ai365vip._wire.payload import chat_payload, check_special_tokens

_logger = logging.getLogger("langchain_ai365vip")


def request_of(
    messages: Sequence[BaseMessage], settings: Mapping[str, Any], bound: Mapping[str, Any]
) -> tuple[dict[str, Any], Rules]:
    """Write a call's first request, and the rules for its reply.

    Args:
        messages: The conversation.
        settings: The call's settings, by the names of the model's fields.
        bound: The call's keyword arguments, with what `bind_tools` and
            `with_structured_output` bound.

    Returns:
        The request's body, without the key, and what its reply may and must be.

    Raises:
        ValueError: Messages that the wire cannot carry, tools that cannot be shown, a setting
            out of range.
        AI365VIPInvalidRequestError: A special string, where `special_tokens` refuses them.
    """
    tooling = Tooling.of(bound)
    prompt, turns = _conversation(messages, settings, tooling)
    payload = chat_payload(
        model=settings["model"],
        messages=turns,
        prompt=prompt,
        temperature=settings["temperature"],
        token_limit=settings["token_limit"],
        extra=settings["extra_body"],
    )
    rules = tooling.rules(
        echoed=said_by_others(turns) if tooling.tools else (),
        reasoning=settings["reasoning"],
        stop=stop_texts(settings["stop"] or ()),
        max_tokens=settings["max_tokens"],
    )
    return payload, rules


def _conversation(
    messages: Sequence[BaseMessage], settings: Mapping[str, Any], tooling: Tooling
) -> tuple[str, list[WireMessage]]:
    prompt, turns = to_wire(
        messages,
        system_prompt=settings["system_prompt"],
        instructions=tooling.instructions(),
        reminder=tooling.reminder(),
        remind_after=0 if tooling.has_form else REMIND_AFTER,
        note=functools.partial(_log_not_shown, settings["model"]),
    )
    prompt, turns, escaped = check_special_tokens(prompt, turns, settings["special_tokens"])
    if escaped:
        warnings.warn(ESCAPED, stacklevel=4)  # the call's own method
    return prompt, turns


@functools.lru_cache(maxsize=1_000)
def _log_not_shown(model: str, kind: str) -> None:
    """Log, once for a model and a kind, that a line stands for a block of the history."""
    _logger.warning(
        "A block of type %r in the history is not shown to %s, whose wire carries text only; a "
        "line stands in its place",
        kind,
        model,
    )
