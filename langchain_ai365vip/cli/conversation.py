"""A conversation at the terminal, and its commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from prompt_toolkit import PromptSession

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.cli.chat import answer
from langchain_ai365vip.cli.failures import message, report
from langchain_ai365vip.cli.prompt import message_of, session
from langchain_ai365vip.cli.terminal import note, output
from langchain_ai365vip.errors import AI365VIPError

_COMMAND: Final = re.compile(r"/(\w+)(?:\s+|$)")
_HELP: Final = '''\
/system [TEXT]  show or set the system prompt
/model [ID]     show or choose the model
/save FILE      write the conversation to a new file
/clear          start over
/exit           end, as Ctrl-D does
Enter sends, Alt-Enter breaks the line, and so does Enter between """ and """.
Ctrl-C stops an answer. A space in front sends a text that begins with /word.'''


def converse(model: ChatAI365VIP, *, history: bool, debug: bool) -> None:
    """Hold a conversation at the terminal, and keep a history of what is typed, or none."""
    Conversation(model, session(history=history), debug=debug).run()


class Conversation:
    """A conversation at the terminal: reads a message, answers it, remembers both."""

    def __init__(self, model: ChatAI365VIP, session: PromptSession[str], *, debug: bool) -> None:
        self._model = model
        self._session = session
        self._debug = debug
        self._messages: list[BaseMessage] = []
        self._settings: dict[str, Any] = {
            "model": model.model,
            "system_prompt": model.system_prompt,
        }
        self._commands: dict[str, Callable[[str], None]] = {
            "help": lambda _: note(_HELP),
            "system": self._system,
            "model": self._choose,
            "save": self._save,
            "clear": self._clear,
            "exit": self._exit,
        }

    def run(self) -> None:
        """Go on until the end of the input or `/exit`.

        Raises:
            KeyboardInterrupt: Ctrl-C twice while nothing was being answered.
        """
        output()  # rather now than after the first question
        note(f"{self._model.model} at {self._model.base_url}. /help helps, Ctrl-D ends.")
        try:
            while True:
                self._take(self._read())
        except EOFError:
            return

    def _read(self) -> str:
        """Read a message; Ctrl-C clears what is typed, and once more ends."""
        interrupted = False
        while (typed := self._typed()) is None:
            if interrupted and not self._session.default_buffer.text:
                raise KeyboardInterrupt
            interrupted = True
            note("[Ctrl-C once more, or Ctrl-D, ends]")
        return typed

    def _typed(self) -> str | None:
        try:
            return self._session.prompt()
        except KeyboardInterrupt:
            return None

    def _take(self, typed: str) -> None:
        if command := _COMMAND.match(typed):
            carry_out = self._commands.get(command[1], self._unknown)
            carry_out(typed if carry_out == self._unknown else typed[command.end() :].strip())
        elif (text := message_of(typed)).strip():
            self._turn(text)

    def _turn(self, text: str) -> None:
        asked = HumanMessage(text)
        parts: list[str] = []
        try:
            answer(self._model, [*self._messages, asked], parts, **self._settings)
        except KeyboardInterrupt:
            note("[stopped]")
        except AI365VIPError as exc:
            report(exc, debug=self._debug)
            note("[not kept in the conversation]")
            return
        if said := "".join(parts):
            self._messages += [asked, AIMessage(said)]

    def _system(self, text: str) -> None:
        self._settings["system_prompt"] = message_of(text) or self._settings["system_prompt"]
        note(f"[system prompt: {self._settings['system_prompt']}]")

    def _choose(self, model: str) -> None:
        self._settings["model"] = model or self._settings["model"]
        note(f"[model: {self._settings['model']}]")

    def _clear(self, _: str) -> None:
        self._messages.clear()
        note("[a new conversation]")

    def _exit(self, _: str) -> None:
        raise EOFError

    def _unknown(self, typed: str) -> None:
        note(f"[no command {typed.split()[0]}, and nothing was sent: /help shows the commands]")

    def _save(self, name: str) -> None:
        if not name:
            note("[/save FILE: say where to]")
            return
        path = os.path.expanduser(name)
        try:
            with open(path, "x", encoding="utf-8", opener=_private) as file:
                file.write(self._written())
        except FileExistsError:
            note(f"[{path} exists, and nothing is overwritten: give another name]")
        except OSError as exc:
            note(f"[not saved: {message(exc)}]")
        else:
            note(f"[saved to {path}]")

    def _written(self) -> str:
        """Return the conversation as Markdown."""
        titles = {"human": "User", "ai": "Assistant"}
        parts = [("System", self._settings["system_prompt"])]
        parts += [(titles[each.type], each.text) for each in self._messages]
        head = f"# {self._settings['model']} at {self._model.base_url}\n"
        return head + "".join(f"\n## {title}\n\n{text.strip()}\n" for title, text in parts)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
