"""The wire's facts: paths, payload, model table, special strings. No I/O, no LangChain.

The protocol is that of Chatbot UI version 1 (`POST /api/chat`). Where a comment says
"measured", the fact was measured request by request on that app, not on the public site.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypedDict

PUBLIC_URL: Final = "https://chat.ai365vip.com"
CHAT_PATH: Final = "/api/chat"
MODELS_PATH: Final = "/api/models"

DEFAULT_MODEL: Final = "gpt-3.5-turbo"
DEFAULT_PROMPT: Final = "You are a helpful assistant."
DEFAULT_TEMPERATURE: Final = 1.0
# What Chatbot UI's browser code sends until its user writes another prompt.
CHATBOT_UI_PROMPT: Final = (
    "You are ChatGPT, a large language model trained by OpenAI. "
    "Follow the user's instructions carefully. Respond using markdown."
)

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

# What to do with them: make them harmless by one visible character, refuse them, or send
# them to an endpoint that accepts them.
SpecialTokens = Literal["escape", "raise", "send"]
ESCAPED: Final = (
    "A text holds a string such as <|endoftext|>, with which the reference server fails; a "
    'visible backslash was put into it. special_tokens="send" sends it as it is, "raise" '
    "refuses it."
)

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
