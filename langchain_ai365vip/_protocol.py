"""The wire's facts: paths, payload, model table, special strings. No I/O, no LangChain.

The protocol is that of Chatbot UI version 1 (`POST /api/chat`). Where a comment says
"measured", the fact was measured request by request on that app, not on the public site.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypedDict

PUBLIC_URL: Final = "https://chat.ai365vip.com"
CHAT_PATH: Final = "/api/chat"
MODELS_PATH: Final = "/api/models"

DEFAULT_MODEL: Final = "gpt-3.5-turbo"
DEFAULT_PROMPT: Final = "You are a helpful assistant."
DEFAULT_TEMPERATURE: Final = 1.0

# Measured: the server passes max_tokens=1000 upstream and subtracts it from tokenLimit.
REPLY_TOKENS: Final = 1000

# The server drops the oldest history silently once it exceeds the tokenLimit that the
# client itself sends. A limit that nothing reaches switches that off; the upstream then
# answers an overlong request with its own error.
NO_TOKEN_LIMIT: Final = 1_000_000_000

# Measured: any of these in the prompt or a message makes the reference server's
# tokenizer raise, and the answer a 500. `<|im_start|>` is fine.
SPECIAL_TOKENS: Final = (
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|endofprompt|>",
)
_SPECIAL_TOKEN = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))

Role = Literal["user", "assistant"]


class WireMessage(TypedDict):
    """One turn of the conversation. `content` must be a string: anything else gives 500."""

    role: Role
    content: str


class ModelInfo(NamedTuple):
    """What is known of a model: the wire's fields and the context window in tokens."""

    id: str
    name: str
    max_length: int
    context_window: int


# maxLength (characters, ignored by the server) is three per token, as in Chatbot UI.
MODELS: Final[Mapping[str, ModelInfo]] = {
    info.id: info
    for info in (
        ModelInfo("gpt-3.5-turbo", "GPT-3.5", 12_000, 4_096),
        ModelInfo("gpt-3.5-turbo-16k", "GPT-3.5-16K", 48_000, 16_385),
        ModelInfo("gpt-4o", "GPT-4o", 384_000, 128_000),
    )
}
MODEL_ALIASES: Final[Mapping[str, str]] = {"gpt-3.5-turbo": "gpt-3.5-turbo-16k"}


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
    """
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
        payload.update(extra)
    return payload


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
    return "\n\n".join(prompts) or system_prompt, turns


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


def find_special_token(text: str) -> str | None:
    """Return the first string in `text` that makes the reference server fail, if any."""
    # The cheap test first: almost no text has it, and every message passes here.
    if "<|" not in text:
        return None
    match = _SPECIAL_TOKEN.search(text)
    return match[0] if match else None


def escape_special_tokens(text: str) -> str:
    r"""Make special strings harmless by one visible character: `<|endoftext|>` -> `<\|…`."""
    if "<|" not in text:
        return text
    return _SPECIAL_TOKEN.sub(lambda match: "<\\" + match[0][1:], text)


def escape_special_tokens_in_json(text: str) -> str:
    r"""The same for JSON text, without loss: the `<` of a special string as `\u003c`."""
    if "<|" not in text:
        return text
    return _SPECIAL_TOKEN.sub(lambda match: "\\u003c" + match[0][1:], text)
