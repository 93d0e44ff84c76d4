"""`ai365vip chat`: one answer, or a conversation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TextIO, cast

from langchain_core.messages import BaseMessage

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.cli.failures import UserError
from langchain_ai365vip.cli.terminal import output, typing_unseen, visible

_NO_PROMPT: Final = "There is no prompt: give one as an argument, or pipe it in."


def read_prompt(
    argument: str | None, stdin: TextIO | None, *, conversation: bool = True
) -> str | None:
    """Join the prompt of the command line and what is piped in; `None`: hold a conversation.

    Raises:
        UserError: There is neither, and no conversation can be held, or the input is no text.
    """
    if stdin is None or stdin.isatty():
        if argument is None and (stdin is None or not conversation):
            raise UserError(_NO_PROMPT)
        return argument
    try:
        piped = stdin.buffer.read().decode("utf-8").strip("\ufeff")
    except UnicodeDecodeError as exc:
        raise UserError(
            f"Standard input is not UTF-8 (byte {exc.start}): convert the text before piping it "
            "in. Images and other files cannot be sent, the protocol carries text only."
        ) from None
    parts = [part for part in (argument, piped) if part and part.strip()]
    if not parts:
        raise UserError("The prompt is empty: give one as an argument, or pipe it in.")
    return "\n\n".join(parts)


def reply(model: ChatAI365VIP, question: str) -> dict[str, Any]:
    """Return an answer as scripts want it: the text, what wrote it, and how it ended."""
    message = model.invoke(question)
    return {
        "content": message.text,
        "model": model.model,
        "finish_reason": message.response_metadata.get("finish_reason"),
    }


def answer(
    model: ChatAI365VIP, messages: Sequence[BaseMessage], parts: list[str], /, **settings: Any
) -> None:
    """Write an answer to standard output as it arrives.

    Args:
        model: Who is asked.
        messages: The conversation.
        parts: Receives the pieces, so that they are there when this is interrupted.
        **settings: Settings of the call.
    """
    piped = not output().isatty()
    stream = cast(Any, model.stream(list(messages), **settings))
    with _writing() as write, contextlib.closing(stream):
        for chunk in stream:
            if text := chunk.text:
                parts.append(text)
                write(visible(text, piped=piped))


@contextlib.contextmanager
def _writing() -> Iterator[Callable[[str], None]]:
    """Give what writes a piece of an answer: as Markdown where somebody looks at it."""
    from rich.console import Console

    console = Console(file=output())
    if console.is_terminal and not console.is_dumb_terminal:
        from langchain_ai365vip.cli.markdown import Drawing

        with typing_unseen(), Drawing(console) as drawing:
            yield drawing.write
    else:
        with _plain() as write:
            yield write


@contextlib.contextmanager
def _plain() -> Iterator[Callable[[str], None]]:
    out = output()
    last = "\n"

    def write(text: str) -> None:
        nonlocal last
        last = text
        out.write(text)
        out.flush()

    try:
        yield write
    finally:
        if not last.endswith("\n"):
            write("\n")
