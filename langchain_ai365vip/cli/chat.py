"""`ai365vip chat`: one answer, or a conversation."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any, Final, TextIO, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.cli.failures import UserError, report
from langchain_ai365vip.cli.terminal import is_terminal, note, output, visible
from langchain_ai365vip.errors import AI365VIPError

_WELCOME: Final = "Ctrl-D or /exit ends, /new starts over, Ctrl-C stops an answer."


def read_prompt(argument: str | None, stdin: TextIO | None) -> str | None:
    """Join the prompt of the command line and what is piped in; `None`: hold a conversation.

    Raises:
        UserError: There is neither, or the input is not UTF-8.
    """
    if stdin is None or stdin.isatty():
        if argument is None and stdin is None:
            raise UserError("There is no prompt: give one as an argument, or pipe it in.")
        return argument
    try:
        piped = stdin.buffer.read().decode("utf-8").strip("\ufeff")
    except UnicodeDecodeError as exc:
        raise UserError(
            f"Standard input is not UTF-8 (byte {exc.start}): convert it before piping it in."
        ) from None
    parts = [part for part in (argument, piped) if part and part.strip()]
    if not parts:
        raise UserError("The prompt is empty: give one as an argument, or pipe it in.")
    return "\n\n".join(parts)


def answer(model: ChatAI365VIP, messages: Sequence[BaseMessage], parts: list[str]) -> None:
    """Write an answer to standard output as it arrives, and its pieces to `parts`."""
    out = output()
    harmless = out.isatty()
    stream = cast(Any, model.stream(list(messages)))
    try:
        with contextlib.closing(stream):
            for chunk in stream:
                if text := chunk.text:
                    parts.append(text)
                    out.write(visible(text) if harmless else text)
                    out.flush()
    finally:
        if parts and not parts[-1].endswith("\n"):
            out.write("\n")
            out.flush()


class Conversation:
    """A conversation at the terminal: reads a line, answers it, remembers both."""

    def __init__(self, model: ChatAI365VIP, *, debug: bool) -> None:
        self._model = model
        self._debug = debug
        self._messages: list[BaseMessage] = []

    def run(self) -> None:
        """Go on until the end of the input or `/exit`."""
        output()  # rather now than after the first question
        note(_WELCOME)
        while (line := _read_line()) is not None:
            if line == "/exit":
                break
            if line == "/new":
                self._messages.clear()
                note("[a new conversation]")
            elif line:
                self._turn(line)

    def _turn(self, text: str) -> None:
        asked = HumanMessage(text)
        parts: list[str] = []
        try:
            answer(self._model, [*self._messages, asked], parts)
        except KeyboardInterrupt:
            note("[stopped]")
        except AI365VIPError as exc:
            report(exc, debug=self._debug)
            note("[not kept in the conversation]")
            return
        if said := "".join(parts):
            self._messages += [asked, AIMessage(said)]


def _read_line() -> str | None:
    # Gives input() line editing and a history, where the interpreter has it.
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401
    prompt = "> "
    if not is_terminal(sys.stdout):  # then input() would write the prompt among the answers
        if sys.stderr is not None:
            sys.stderr.write(prompt)
            sys.stderr.flush()
        prompt = ""
    try:
        return input(prompt).strip()
    except EOFError:
        note("")
        return None
