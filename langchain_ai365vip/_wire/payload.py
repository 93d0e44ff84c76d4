"""The body of `POST /api/chat`, as a client writes it, and what the server would do with it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, get_args

from langchain_ai365vip._wire.facts import (
    DEFAULT_PROMPT,
    DEFAULT_TEMPERATURE,
    MODELS,
    NO_TOKEN_LIMIT,
    REPLY_TOKENS,
    SPECIAL_TOKENS,
    SpecialTokens,
    WireMessage,
)
from langchain_ai365vip.errors import AI365VIPInvalidRequestError

_SPECIAL_TOKEN = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))


def chat_payload(
    *,
    model: str,
    messages: Sequence[WireMessage],
    prompt: str = DEFAULT_PROMPT,
    temperature: float | None = DEFAULT_TEMPERATURE,
    key: str = "",
    token_limit: int | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build the JSON body of `POST /api/chat`.

    Args:
        model: The model's id; not checked, other endpoints have other models.
        messages: The turns, without system messages.
        prompt: The system prompt. Empty makes the server use its own.
        temperature: Sampling temperature; `None` leaves it to the server (1).
        key: The API key; empty makes the server use its own.
        token_limit: The context size in tokens by which the server trims history;
            `None` sends a limit that nothing reaches.
        extra: Further top-level fields; they win over those above.

    Raises:
        ValueError: A number out of range, or a key in `extra`.
    """
    if temperature is not None:
        check_number("temperature", temperature, at_least=0)
    if token_limit is not None:
        check_number("token_limit", token_limit, at_least=1)
    known = MODELS.get(model)
    payload: dict[str, Any] = {
        "model": {
            "id": model,
            "name": known.name if known else model,
            "maxLength": known.max_length if known else NO_TOKEN_LIMIT,
            "tokenLimit": NO_TOKEN_LIMIT if token_limit is None else token_limit,
        },
        "messages": messages,
        "key": key,
        "prompt": prompt,
        "temperature": temperature,
    }
    if extra:
        check_extra_body(extra)
        payload.update(extra)
    return payload


def check_number(name: str, value: float, *, at_least: int) -> None:
    """Raise a `ValueError` that names the argument unless its value is in range."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not at_least <= value < math.inf:
        raise ValueError(f"{name} must be {at_least} or more, not {value!r}.")


def check_extra_body(extra: Mapping[str, Any]) -> None:
    """Refuse further fields that this package could not mask, count or read.

    Raises:
        ValueError: There is a key, or another form of one of the wire's own fields. The
            message does not repeat its value.
    """
    if not isinstance(extra, Mapping):
        kind = type(extra).__name__
        raise ValueError(f"extra_body must be a dict of the request's fields, not of type {kind}.")
    if "key" in extra:
        raise ValueError("extra_body must not hold the key; pass api_key instead.")
    for name, (fits, expected) in _OWN_FIELDS.items():
        if name in extra and not fits(extra[name]):
            raise ValueError(f"extra_body: {name} must be {expected}.")


def _is_model(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    limit = value.get("tokenLimit")
    return limit is None or (isinstance(limit, int | float) and not isinstance(limit, bool))


def _are_turns(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(turn, Mapping) and isinstance(turn.get("content"), str) for turn in value
    )


_OWN_FIELDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "model": (
        _is_model,
        "an object, as on the wire, and its tokenLimit, if any, a number; an id goes into model=",
    ),
    "messages": (_are_turns, "a list of turns, each with a text as its content"),
    "prompt": (
        lambda value: isinstance(value, str),
        'text; "" lets the server use its own, and system_prompt= is the usual way',
    ),
}


def token_limit_of(payload: Mapping[str, Any]) -> int | None:
    """Return the limit by which the server trims this request; `None` if it trims nothing.

    Measured: a missing tokenLimit trims nothing, null counts as 0.
    """
    model = payload["model"]
    limit = model.get("tokenLimit", NO_TOKEN_LIMIT) if isinstance(model, Mapping) else None
    return None if limit == NO_TOKEN_LIMIT else limit or 0


def split_conversation(
    messages: Iterable[Mapping[str, Any]], system_prompt: str
) -> tuple[str, list[WireMessage]]:
    """Part `{"role", "content"}` dicts into the prompt and the turns.

    Raises:
        ValueError: A role or a content that the wire cannot carry.
    """
    prompts: list[str] = []
    turns: list[WireMessage] = []
    for position, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise ValueError(
                f"messages[{position}] is a {type(message).__name__}: pass "
                '{"role": "user", "content": "Hello"} and the like.'
            )
        role, content = message.get("role"), message.get("content")
        if not isinstance(content, str):
            raise ValueError(
                f"messages[{position}]: content must be a string, not {type(content).__name__}; "
                "the wire carries text only."
            )
        if role in ("system", "developer"):
            prompts.append(content)
        elif role in ("user", "assistant"):
            turns.append({"role": role, "content": content})
        else:
            raise ValueError(
                f"messages[{position}]: role must be system, user or assistant, not {role!r}."
            )
    return "\n\n".join(filter(None, prompts)) or system_prompt, turns


def trims_history(
    prompt: str,
    messages: Iterable[WireMessage],
    token_limit: int,
    count: Callable[[str], int],
) -> bool:
    """Say whether the server would drop a message of this conversation (measured rule).

    From the newest message back it stops at the first for which
    `tokens(prompt) + tokens(kept) + tokens(message) + 1000 > tokenLimit`; so it keeps
    all of them exactly when the whole sum fits.
    """
    total = count(prompt) + sum(count(message["content"]) for message in messages)
    return total + REPLY_TOKENS > token_limit


def check_special_tokens(
    prompt: str, turns: list[WireMessage], mode: SpecialTokens = "escape"
) -> tuple[str, list[WireMessage], bool]:
    """Deal with the strings that make the reference server fail with a 500.

    Args:
        prompt: The system prompt.
        turns: The turns; not changed.
        mode: "escape" adds one visible character to each such string, "raise" refuses
            them, "send" leaves them alone.

    Returns:
        The prompt and turns to send, and whether anything was escaped.

    Raises:
        AI365VIPInvalidRequestError: In mode "raise", if there is such a string.
        ValueError: There is no such mode.
    """
    if mode not in get_args(SpecialTokens):
        raise ValueError(f"special_tokens must be 'escape', 'raise' or 'send', not {mode!r}.")
    if mode == "send":
        return prompt, turns, False
    found = [
        (place, token)
        for place, text in enumerate((prompt, *(turn["content"] for turn in turns)), start=-1)
        if (token := find_special_token(text)) is not None
    ]
    if not found:
        return prompt, turns, False
    if mode == "raise":
        raise _special_token_error(*found[0])
    escaped = [
        WireMessage(role=turn["role"], content=escape_special_tokens(turn["content"]))
        for turn in turns
    ]
    return escape_special_tokens(prompt), escaped, True


def _special_token_error(place: int, token: str) -> AI365VIPInvalidRequestError:
    where = "the system prompt" if place < 0 else f"turn {place} of the conversation"
    return AI365VIPInvalidRequestError(
        f'The string "{token}" in {where} makes the reference server fail with a 500. Take it '
        'out, or set special_tokens="escape" to have it made harmless by one visible character, '
        'or special_tokens="send" for an endpoint that accepts it.'
    )


def find_special_token(text: str) -> str | None:
    """Return the first string in `text` that makes the reference server fail, if any."""
    match = _SPECIAL_TOKEN.search(text)
    return match[0] if match else None


def escape_special_tokens(text: str) -> str:
    r"""Make special strings harmless by one visible character: `<|endoftext|>` -> `<\|…`."""
    return _SPECIAL_TOKEN.sub(lambda match: "<\\" + match[0][1:], text)
