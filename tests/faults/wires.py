"""How an answer is written on the wire: Chatbot UI's raw text, and OpenAI's for the peer."""

from __future__ import annotations

import json
from typing import Protocol


class Wire(Protocol):
    """What a script needs to know of a protocol to play a fault in it."""

    headers: tuple[str, ...]

    def for_request(self, body: bytes) -> Wire:
        """Return the wire that answers this request."""

    def piece(self, text: str) -> bytes:
        """Return the bytes that carry a piece of the answer."""

    def last(self) -> bytes:
        """Return what a whole answer ends with, before the end of the body."""


class ChatUIWire:
    """Raw UTF-8 text, no Content-Type, no framing, no terminator."""

    headers: tuple[str, ...] = ("Keep-Alive: timeout=5",)

    def for_request(self, body: bytes) -> Wire:
        """Every request is answered alike."""
        return self

    def piece(self, text: str) -> bytes:
        """The text itself."""
        return text.encode()

    def last(self) -> bytes:
        """Nothing: the end of the body is the end of the answer."""
        return b""


class OpenAIStreamWire:
    """Server-sent events of `POST /v1/chat/completions` with `stream: true`."""

    headers: tuple[str, ...] = ("Content-Type: text/event-stream",)

    def for_request(self, body: bytes) -> Wire:
        """Choose between a stream and one JSON object, as the request asks."""
        return self if json.loads(body or b"{}").get("stream") else OpenAIObjectWire()

    def piece(self, text: str) -> bytes:
        """One event with a content delta."""
        return self._event({"content": text}, None)

    def last(self) -> bytes:
        """The finishing event and `[DONE]`."""
        return self._event({}, "stop") + b"data: [DONE]\n\n"

    def _event(self, delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return b"data: " + json.dumps({**event, "choices": [choice]}).encode() + b"\n\n"


class OpenAIObjectWire:
    """One JSON object, its content string cut into pieces."""

    headers: tuple[str, ...] = ("Content-Type: application/json",)
    _OPENING = (
        b'{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": '
        b'[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "'
    )

    def __init__(self) -> None:
        self._opened = False

    def for_request(self, body: bytes) -> Wire:
        """Chosen already."""
        return self

    def piece(self, text: str) -> bytes:
        """The text inside the JSON string, after the object's opening the first time."""
        opening = b"" if self._opened else self._OPENING
        self._opened = True
        return opening + json.dumps(text)[1:-1].encode()

    def last(self) -> bytes:
        """What closes the object."""
        return self.piece("") + b'"}}]}'


CHAT_UI: Wire = ChatUIWire()
OPENAI: Wire = OpenAIStreamWire()
