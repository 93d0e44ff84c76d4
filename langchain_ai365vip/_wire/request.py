"""A request's body, as a server reads it: checked, and refused by field in safe words."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, Literal, NamedTuple, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, FiniteFloat, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from langchain_ai365vip._wire.facts import WireMessage


class MalformedRequest(ValueError):  # noqa: N818 - it names the request, as HTTP does
    """A request body that is not what the protocol asks for.

    The message names the field and what was expected. It never repeats what the client
    sent, so it is safe in a log and in a reason phrase.
    """

    def __init__(self, field: str, expected: str, found: str) -> None:
        super().__init__(f"{field}: expected {expected}, found {found}")


class ChatRequest(NamedTuple):
    """The body of `POST /api/chat`, checked, as a server reads it.

    `prompts` are the client's system prompt, if it sent one, and the system messages that
    stood among the turns. `temperature` is `None` when the client left it to the server.
    """

    model: str
    messages: list[WireMessage]
    prompts: list[str]
    temperature: float | None
    key: str


def _whole(text: str) -> str:
    if not text.isascii() and _LONE_SURROGATE.search(text):
        raise PydanticCustomError("surrogate", "a lone surrogate")
    return text


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
Text = Annotated[str, AfterValidator(_whole)]


class _Object(BaseModel):
    """JSON's kinds are not converted, and unknown fields are ignored, as by the reference."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Model(_Object):
    id: Text


class _Turn(_Object):
    role: Literal["user", "assistant", "system"]
    content: Text


class _Keyed(_Object):
    key: Text | None = None


class _Chat(_Object):
    model: _Model
    messages: list[_Turn]
    prompt: Text | None = None
    temperature: FiniteFloat | None = None
    key: Text | None = None


def parse_chat_request(body: bytes) -> ChatRequest:
    """Read the body of `POST /api/chat`.

    Unknown fields are ignored, as the reference server does; so is `tokenLimit`, since
    nothing is ever trimmed here.

    Raises:
        MalformedRequest: The body is not JSON, or a field is not what it must be.
    """
    chat = _read(_Chat, body)
    if not chat.model.id:
        raise MalformedRequest("model.id", "a model's id", "an empty string")
    system = [chat.prompt, *(turn.content for turn in chat.messages if turn.role == "system")]
    prompts = [text for text in system if text]
    turns: list[WireMessage] = [
        {"role": turn.role, "content": turn.content}
        for turn in chat.messages
        if turn.role != "system"
    ]
    if not turns and not prompts:
        raise MalformedRequest("messages", "at least one message", "neither one nor a prompt")
    return ChatRequest(chat.model.id, turns, prompts, chat.temperature, chat.key or "")


def parse_models_request(body: bytes) -> str:
    """Read the body of `POST /api/models` and return its key.

    Raises:
        MalformedRequest: The body is not JSON, or the key is not a string.
    """
    return _read(_Keyed, body).key or ""


M = TypeVar("M", bound=_Object)


def _read(kind: type[M], body: bytes) -> M:
    try:
        return kind.model_validate(_json(body))
    except ValidationError as error:
        raise _malformed(error.errors(include_url=False)[0]) from None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise MalformedRequest("body", "JSON in UTF-8", "bytes that are not UTF-8") from None
    except RecursionError:
        raise MalformedRequest("body", "a JSON object", "JSON that is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise MalformedRequest(
            "body", "a JSON object", f"an error at line {error.lineno} column {error.colno}"
        ) from None
    except ValueError:  # an integer of thousands of digits, or NaN
        raise MalformedRequest("body", "a JSON object", "a number out of range") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _malformed(fault: ErrorDetails) -> MalformedRequest:
    """Tell what pydantic found in the protocol's words, without what the client sent."""
    *_, name = fault["loc"] or ("body",)
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    expected = _EXPECTED[name] if isinstance(name, str) else "an object with role and content"
    found = "null or nothing" if fault["type"] == "missing" else _kind(fault["input"])
    if fault["type"] == "literal_error" and found == "a string":
        found = "another string"
    elif fault["type"] == "surrogate":
        expected, found = "whole characters", "a lone surrogate (half a character)"
    elif name == "temperature" and found == "a number":
        expected, found = "a finite number", "one that is out of range"
    return MalformedRequest(field.lstrip(".") or "body", expected, found)


_EXPECTED: Final = {
    "body": "a JSON object",
    "model": "an object with an id",
    "id": "a string",
    "messages": "an array of messages",
    "role": '"user", "assistant" or "system"',
    "content": "a string",
    "prompt": "a string",
    "temperature": "a number",
    "key": "a string",
}


def _kind(value: object) -> str:
    """Name a JSON value by its kind, never by what it holds."""
    if value is None:
        return "null or nothing"
    names = {bool: "a boolean", str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), "a number")
