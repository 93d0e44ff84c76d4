"""LangChain messages -> the wire's prompt and turns. Pure functions.

- System and developer messages, wherever they stand, make the prompt.
- Every other message stays a turn of its own, an empty one too; only tool results in a
  row share one user turn.
- The wire has no name field: a human's, system's or chat user's `name` goes before the
  text (`Alice: …`), a tool's into its response. The name of an AI message is the
  application's label for the agent that wrote it and is not sent: a model that sees
  labels in its own turns starts to write them.
- Texts within one human, system or tool message are joined by a newline, those of an AI
  message as they are (providers cut an AI text into blocks anywhere).
- A tool call's or result's id is not shown; results name their tool.
- What the wire cannot carry is refused where the caller can do something about it: in the
  last human message and in system messages. Elsewhere a line stands in its place, so that no
  history makes a conversation unusable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_ai365vip._prompt.content import (
    CALL_TYPES,
    RESULT_TYPES,
    Note,
    read_content,
    read_texts,
    spoken,
)
from langchain_ai365vip._prompt.foreign import Block, unwrapped
from langchain_ai365vip._prompt.tools import Tool, to_openai_tools
from langchain_ai365vip._prompt.wording import (
    describe_tools,
    read_invalid_call_args,
    to_json,
    tool_call_text,
    tool_reminder,
    tool_response_text,
)
from langchain_ai365vip._wire.facts import (
    DEFAULT_PROMPT,
    Role,
    WireMessage,
)
from langchain_ai365vip._wire.tokens import Count, count_wire_tokens
from langchain_ai365vip.errors import AI365VIPInvalidRequestError

# Characters of conversation after which the prompt's rules are repeated: some 1,500 tokens.
REMIND_AFTER: Final = 6_000

_PROMPT_ROLES: Final = frozenset(("system", "developer"))
_CHAT_ROLES: Final[Mapping[str, Role]] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
}


def to_wire(
    messages: Sequence[BaseMessage],
    *,
    system_prompt: str = DEFAULT_PROMPT,
    instructions: str = "",
    reminder: str = "",
    remind_after: int = REMIND_AFTER,
    note: Note | None = None,
    refuses_images: bool = True,
) -> tuple[str, list[WireMessage]]:
    """Turn a conversation into the wire's system prompt and turns.

    Args:
        messages: The conversation; not changed.
        system_prompt: The prompt where no system message says anything.
        instructions: Appended to the prompt: how to call tools, which schema to fit.
        reminder: The instructions in brief, appended to the last user turn of a long
            conversation.
        remind_after: From how many characters of turns on a conversation is long; 0
            always appends the reminder.
        note: Told the type of each block of the history for which a line stands.
        refuses_images: Whether the last human message is refused if it is not all text.

    Returns:
        The prompt, and the turns. There are none if all messages are system messages:
        the server then answers the prompt alone.

    Raises:
        AI365VIPUnsupportedContentError: The last human message, or a system message, holds
            something that is not text.
        AI365VIPInvalidRequestError: No messages, or one of a kind or role that has no
            place in a conversation.
    """
    if not messages:
        raise AI365VIPInvalidRequestError(
            "There are no messages to answer. Pass at least one, such as HumanMessage('Hello')."
        )
    last = _last_human(messages) if refuses_images else None
    conversation = _Conversation(note or _ignore, last)
    for index, message in enumerate(messages):
        conversation.add(message, f"messages[{index}]")
    turns = conversation.close()
    if reminder and sum(len(turn["content"]) for turn in turns) >= remind_after:
        _remind(turns, reminder)
    prompt = "\n\n".join(text for text in conversation.system if text) or system_prompt
    return "\n\n".join(part for part in (prompt, instructions) if part), turns


def count_message_tokens(
    messages: Sequence[BaseMessage],
    tools: Sequence[Tool] | None = None,
    *,
    count: Count,
    system_prompt: str = DEFAULT_PROMPT,
) -> int:
    """Count what the model gets for these messages and tools, once they are on the wire.

    Args:
        messages: The conversation; an empty one counts as nothing.
        tools: What would be bound.
        count: Counts the tokens of a text.
        system_prompt: As in `to_wire`.
    """
    if not messages:
        return 0
    instructions = describe_tools(to_openai_tools(tools or ()))
    prompt, turns = to_wire(
        messages,
        system_prompt=system_prompt,
        instructions=instructions,
        reminder=tool_reminder() if tools else "",
        refuses_images=False,  # trim_messages counts pieces of a history, which may end anywhere
    )
    return count_wire_tokens(prompt, turns, count)


def _ignore(kind: str) -> None:
    """Take note of nothing."""


def _last_human(messages: Sequence[BaseMessage]) -> BaseMessage | None:
    humans = (message for message in reversed(messages) if _is_human(message))
    return next(humans, None)


def _is_human(message: BaseMessage) -> bool:
    if isinstance(message, ChatMessage):
        return _CHAT_ROLES.get(message.role.lower()) == "user"
    return isinstance(message, HumanMessage)


def _remind(turns: list[WireMessage], reminder: str) -> None:
    for turn in reversed(turns):
        if turn["role"] == "user":
            turn["content"] += "\n\n" + reminder
            return


class _Call(NamedTuple):
    """A tool call of an AI message; `args` is text where that is all there is."""

    id: str | None
    name: str | None
    args: Mapping[str, Any] | str


class _Asked(NamedTuple):
    """What a result must say to be recognised: the tool, and which of several calls."""

    name: str | None
    number: int | None


class _Conversation:
    """Messages added one by one: the prompt's parts, the turns, the calls to answer.

    Args:
        note: Told the type of each block for which a line stands.
        last: The human message in which there is none of these: such a block is refused.
    """

    def __init__(self, note: Note, last: BaseMessage | None) -> None:
        self._note = note
        self._last = last
        self.system: list[str] = []
        self._turns: list[WireMessage] = []
        self._results: list[str] = []  # of the user turn under construction
        self._asked: dict[str, _Asked] = {}

    def add(self, message: BaseMessage, where: str) -> None:
        for cls, handle in _HANDLERS:
            if isinstance(message, cls):
                return handle(self, message, where)
        raise AI365VIPInvalidRequestError(
            f"{where} is a {type(message).__name__}, which is not part of a conversation with a "
            "model. Apply or remove it before the call (in LangGraph, add_messages applies "
            "RemoveMessage)."
        )

    def close(self) -> list[WireMessage]:
        """End the tool results' turn, if one is open, and return all turns."""
        if self._results:
            self._turns.append(WireMessage(role="user", content="\n".join(self._results)))
            self._results = []
        return self._turns

    def _turn(self, role: Role, text: str) -> None:
        self.close().append(WireMessage(role=role, content=text))

    def _system(self, message: BaseMessage, where: str) -> None:
        texts = read_texts(message.content, f"{where}.content")
        self.system.append(_named(message, "\n".join(texts)))

    def _human(self, message: BaseMessage, where: str) -> None:
        if isinstance(message.content, str):
            return self._turn("user", _named(message, message.content))
        note = None if message is self._last else self._note
        parts = list(
            read_content(message.content, f"{where}.content", accept=RESULT_TYPES, note=note)
        )
        texts = [
            part if isinstance(part, str) else self._result_block(part, where) for part in parts
        ]
        if parts and not message.name and not any(isinstance(part, str) for part in parts):
            self._results += texts
        else:
            self._turn("user", _named(message, "\n".join(texts)))
        return None

    def _ai(self, message: BaseMessage, where: str) -> None:
        parts = list(read_content(message.content, where, accept=CALL_TYPES, note=self._note))
        text = "".join(part for part in parts if isinstance(part, str))
        text = text or _beside_content(message, self._note)
        calls = _calls(message, [part for part in parts if not isinstance(part, str)])
        self._remember(calls)
        # The text of an invalid call may stand in the message's own text already.
        shown = [call for call in calls if not _stands_in(text, call)]
        written = [tool_call_text(call.name, call.args) for call in shown]
        self._turn("assistant", "\n".join([text, *written] if text else written))

    def _remember(self, calls: Sequence[_Call]) -> None:
        names = Counter(call.name for call in calls)
        for number, call in enumerate(calls, start=1):
            if call.id is not None:
                several = names[call.name] > 1
                self._asked[call.id] = _Asked(call.name, number if several else None)

    def _tool(self, message: BaseMessage, where: str) -> None:
        call_id = getattr(message, "tool_call_id", None)
        error = getattr(message, "status", None) == "error"
        text = _result_text(message.content, where, self._note)
        self._results.append(self._response(message.name, call_id, text, error))

    def _result_block(self, block: Block, where: str) -> str:
        content = block.get("content", block.get("output"))
        text = _result_text("" if content is None else content, where, self._note)
        call_id = block.get("tool_use_id") or block.get("call_id")
        return self._response(None, call_id, text, bool(block.get("is_error")))

    def _response(self, name: str | None, call_id: str | None, text: str, error: bool) -> str:
        asked = self._asked.get(call_id or "", _Asked(None, None))
        return tool_response_text(name or asked.name, text, error=error, call=asked.number)

    def _chat(self, message: BaseMessage, where: str) -> None:
        role = getattr(message, "role", "")
        if role.lower() in _PROMPT_ROLES:
            return self._system(message, where)
        wire_role = _CHAT_ROLES.get(role.lower())
        if wire_role is None:
            raise AI365VIPInvalidRequestError(
                f'{where} is a ChatMessage with the role "{role}", which this wire does not know. '
                f"Use one of {', '.join(sorted(_PROMPT_ROLES | _CHAT_ROLES.keys()))}, or "
                "ToolMessage for a tool's result."
            )
        return self._human(message, where) if wire_role == "user" else self._ai(message, where)


_Handler = Callable[[_Conversation, BaseMessage, str], None]
_HANDLERS: Final[tuple[tuple[type[BaseMessage], _Handler], ...]] = (
    (HumanMessage, _Conversation._human),
    (AIMessage, _Conversation._ai),
    (ToolMessage, _Conversation._tool),
    (SystemMessage, _Conversation._system),
    (FunctionMessage, _Conversation._tool),
    (ChatMessage, _Conversation._chat),
)


def _named(message: BaseMessage, text: str) -> str:
    return f"{message.name}: {text}" if message.name else text


def _beside_content(message: BaseMessage, note: Note) -> str:
    """Read what OpenAI's models put beside an empty content: spoken words, or a refusal."""
    if audio := message.additional_kwargs.get("audio"):
        return spoken(audio, note)
    return message.additional_kwargs.get("refusal") or ""


def _result_text(content: Any, where: str, note: Note) -> str:
    """Read a tool's result; data that is not a content block (no type) is shown as JSON."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return to_json(content)
    return "\n".join(read_texts([_as_block(part) for part in content], where, note))


def _as_block(part: Any) -> str | Block:
    if isinstance(part, Mapping):
        block = unwrapped(part)
        return block if "type" in block else to_json(part)
    return part if isinstance(part, str) else to_json(part)


def _calls(message: BaseMessage, blocks: Iterable[Block]) -> list[_Call]:
    """Collect an AI message's calls, each once: its content may repeat `tool_calls`."""
    calls = [_call(call) for call in getattr(message, "tool_calls", ())]
    calls += [_call(call) for call in getattr(message, "invalid_tool_calls", ())]
    legacy = message.additional_kwargs.get("function_call")
    if legacy and not calls:
        calls.append(_call(legacy))
    ids = {call.id for call in calls if call.id is not None}
    names = {call.name for call in calls}
    for block in blocks:
        call = _call(block)
        if call.id not in ids if call.id is not None else call.name not in names:
            calls.append(call)
    return calls


def _stands_in(text: str, call: _Call) -> bool:
    written = read_invalid_call_args(call.args) if isinstance(call.args, str) else None
    return written is not None and written[0] in text


def _call(raw: Mapping[str, Any]) -> _Call:
    """Read a call in LangChain's ("args"), Anthropic's ("input") or OpenAI's form."""
    args = raw.get("args", raw.get("input", raw.get("arguments")))
    return _Call(raw.get("call_id") or raw.get("id"), raw.get("name"), {} if args is None else args)
