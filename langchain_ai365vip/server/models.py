"""Any LangChain runnable as a stream of text. No HTTP here.

A `TextSource` is what stands behind one model id of the endpoint (`endpoint.py`).
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from typing import Any, Final, Literal, get_origin

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    convert_to_messages,
)
from langchain_core.prompts import BasePromptTemplate
from langchain_core.runnables import (
    Runnable,
    RunnableGenerator,
    RunnableLambda,
    RunnableSequence,
)
from langchain_core.runnables.base import RunnableBindingBase, RunnableLike, coerce_to_runnable

from langchain_ai365vip._wire.facts import CHATBOT_UI_PROMPT
from langchain_ai365vip._wire.request import ChatRequest

ClientPrompt = Literal["auto", "use", "drop"]


class UnsupportedOutputError(TypeError):
    """The runnable yields something that is not text."""


class TextSource:
    """A runnable that answers a conversation with text.

    Served are chat models, sequences that start with a prompt template (the conversation
    goes to its messages placeholder) or take a list of messages, functions and generators
    of the same, and LangGraph graphs whose state has `messages`, `create_agent`'s among
    them (the text of every AI message, a blank line between two; before Python 3.11
    LangGraph gives each message whole).

    Args:
        runnable: What answers.
        client_prompt: Whether to "use" or "drop" clients' system prompts; "auto" uses them,
            except that a graph, which has its own, does not get Chatbot UI's default text.

    Raises:
        ValueError: A prompt template does not take the conversation.
    """

    def __init__(
        self, runnable: RunnableLike[Any, Any], client_prompt: ClientPrompt = "auto"
    ) -> None:
        self._runnable: Runnable[Any, Any] = _as_runnable(runnable)
        self._is_graph = _is_graph(self._runnable)
        self._client_prompt = client_prompt
        self._is_sync_only = _is_sync_only(self._runnable)
        self._takes_temperature = _takes_temperature(self._runnable)
        self._placeholder = "messages" if self._is_graph else _placeholder(self._runnable)

    @property
    def name(self) -> str | None:
        """The model's own name for itself, where it has one."""
        model = _innermost(self._runnable)
        for attribute in ("model_name", "model"):
            name = getattr(model, attribute, None)
            if isinstance(name, str) and name:
                return name
        return None

    def stream(self, request: ChatRequest) -> tuple[AsyncIterator[Any], Callable[[Any], str]]:
        """Start answering: an async generator of outputs, and what makes text of each.

        Two parts, not one generator of text: each layer of async generators costs every
        token about as much as all of this module.
        """
        messages: Any = self._messages(request)
        if self._placeholder is not None:
            messages = {self._placeholder: messages}
        if self._is_graph:
            # Every request brings the whole conversation, so each is a new thread to a
            # graph that has a checkpointer.
            config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
            stream = self._runnable.astream(messages, config, stream_mode=["messages", "values"])
            return stream, _GraphText()
        if self._is_sync_only:
            return _in_threads(self._runnable.stream(messages)), text_of
        if self._takes_temperature and request.temperature is not None:
            return self._runnable.astream(messages, temperature=request.temperature), text_of
        return self._runnable.astream(messages), text_of

    def _messages(self, request: ChatRequest) -> list[BaseMessage]:
        """Make LangChain's messages of a request: one system message, if there is a prompt."""
        prompts = [] if self._client_prompt == "drop" else request.prompts
        if self._client_prompt == "auto" and self._is_graph:
            prompts = [text for text in prompts if text.strip() != CHATBOT_UI_PROMPT]
        messages: list[BaseMessage] = [SystemMessage("\n\n".join(prompts))] if prompts else []
        for turn in request.messages:
            kind = HumanMessage if turn["role"] == "user" else AIMessage
            messages.append(kind(turn["content"]))
        return messages


def _as_runnable(model: Any) -> Runnable[Any, Any]:
    """Take what core takes, except a class: it is callable, and answers nothing.

    A generator function gets the conversation, as any other function. (Core would hand it an
    iterator of inputs; who wants that passes a `RunnableGenerator`.)
    """
    generator = None if isinstance(model, type | Runnable) else _generator_function(model)
    if generator is not None:
        return RunnableLambda(generator)
    if not isinstance(model, type):
        with suppress(TypeError):
            runnable: Runnable[Any, Any] = coerce_to_runnable(model)
            return runnable
        what = f"a {type(model).__name__}"
    else:
        what = f"the class {model.__name__}, not an instance"
    raise TypeError(
        f"model is {what}, which cannot answer: pass a chat model, such as "
        'init_chat_model("openai:gpt-4o"), a chain, a function of messages, or a graph'
    )


def _generator_function(model: Any) -> Any:
    """Return the function or method that makes a generator when the model is called, if so."""
    for call in (model, getattr(model, "__call__", None)):  # noqa: B004 - it is looked at
        if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
            return call
    return None


async def _in_threads(outputs: Iterator[Any]) -> AsyncIterator[Any]:
    """Iterate over what may block, each step in a thread."""
    try:
        while (output := await asyncio.to_thread(next, outputs, _END)) is not _END:
            yield output
    finally:
        if isinstance(outputs, Generator):
            # ValueError: its thread is still in it, and closes it by dropping it at the end.
            with suppress(ValueError):
                outputs.close()


_END: Final = object()


def text_of(output: Any) -> str:
    """Return the text of one output: text blocks only, reasoning and tool calls left out.

    Raises:
        UnsupportedOutputError: The output is neither a string nor an AI message.
    """
    if isinstance(output, AIMessage):  # AIMessageChunk is one, too
        content = output.content
        return content if isinstance(content, str) else str(output.text)
    if isinstance(output, str):
        return output
    raise UnsupportedOutputError(
        f"The model yields {type(output).__name__}, and this endpoint can send only text: "
        "end the chain in a chat model or in text, for example with .pick('answer') for "
        "dictionaries."
    )


def has_tool_calls(output: Any) -> bool:
    """Say whether an output without text asks for tools, which nobody here would run."""
    return bool(getattr(output, "tool_calls", None) or getattr(output, "tool_call_chunks", None))


class _GraphText:
    """Text of a graph's "messages" and "values": AI messages, a blank line between two.

    LangGraph streams only what is a message object. What a node wrote as a dict or a pair is in
    the state.
    """

    def __init__(self) -> None:
        self._said: defaultdict[object, str] = defaultdict(str)  # by the message's id
        self._last: object = None
        self._begun = False

    def __call__(self, output: tuple[str, Any]) -> str:
        mode, value = output
        if mode == "messages":
            message = value[0]
            # Tool results and the user's own messages are none of the answer.
            return self._say(message.id, message) if isinstance(message, AIMessage) else ""
        state = value.get("messages") if isinstance(value, dict) else None
        answers = _answers(state) if isinstance(state, list) else []
        begun, self._begun = self._begun, True
        return "".join(self._unsaid(answers)) if begun else ""

    def _unsaid(self, answers: list[AIMessage]) -> Iterator[str]:
        """Yield what was not said yet: a node may write what it streamed, with another id."""
        written = {each.id for each in answers if each.id}
        said = Counter(text for name, text in self._said.items() if name not in written)
        for each in answers:
            if each.id and each.id in self._said:
                continue
            text = text_of(each)
            if said[text]:
                said[text] -= 1
            else:
                yield self._say(each.id or object(), each)

    def _say(self, name: object, message: AIMessage) -> str:
        text = text_of(message)
        if not text:
            return ""
        begins = not self._said or name == self._last
        self._last = name
        self._said[name] += text
        return text if begins else "\n\n" + text


def _answers(state: list[Any]) -> list[AIMessage]:
    """Return what a graph's state holds of AI messages behind the last message of the user."""
    messages = convert_to_messages(state)
    asked = [at for at, message in enumerate(messages) if isinstance(message, HumanMessage)]
    behind = messages[asked[-1] + 1 :] if asked else messages
    return [each for each in behind if isinstance(each, AIMessage)]


def _is_graph(runnable: Runnable[Any, Any]) -> bool:
    # A graph can only have been made where LangGraph is already imported.
    module = sys.modules.get("langgraph.pregel.protocol")
    return module is not None and isinstance(runnable, module.PregelProtocol)


def _is_sync_only(runnable: Runnable[Any, Any]) -> bool:
    """Say whether it holds a plain generator function: core runs those, but never in async."""
    inner = _innermost(runnable)
    if isinstance(inner, RunnableSequence):
        return any(map(_is_sync_only, inner.steps))
    if isinstance(inner, RunnableGenerator):
        return not hasattr(inner, "_atransform")
    if isinstance(inner, RunnableLambda) and not hasattr(inner, "afunc"):
        return inspect.isgeneratorfunction(inner.func)
    return False


def _innermost(runnable: Runnable[Any, Any]) -> Runnable[Any, Any]:
    while isinstance(runnable, RunnableBindingBase):
        runnable = runnable.bound
    return runnable


def _takes_temperature(runnable: Runnable[Any, Any]) -> bool:
    model = _innermost(runnable)
    return isinstance(model, BaseChatModel) and "temperature" in type(model).model_fields


def _placeholder(runnable: Runnable[Any, Any]) -> str | None:
    """Name the placeholder of a leading prompt template; `None` without a template."""
    first = _innermost(runnable)
    if isinstance(first, RunnableSequence):
        first = _innermost(first.first)
    if not isinstance(first, BasePromptTemplate):
        return None
    names = [name for name, kind in first.input_types.items() if get_origin(kind) is list]
    others = [name for name in first.input_variables if name not in names]
    if len(names) == 1 and not others:
        return names[0]
    raise ValueError(
        "The chain starts with a prompt that does not take a conversation: it needs exactly "
        'one messages placeholder, as ("placeholder", "{messages}") is, and no other '
        f"variable, but it has {sorted(first.input_types) + others}. Put a function in front "
        "that makes its input of the list of messages: "
        "(lambda messages: {...}) | prompt | model."
    )
