"""The fault table as Markdown, and the same faults played to a peer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from langchain_core.exceptions import ModelError

from tests.faults.calling import WAYS, Result, call, no_such_name
from tests.faults.cases import FAULTS, GROUPS, PIECES, Fault, answer
from tests.faults.server import FaultServer
from tests.faults.wires import CHAT_UI, Wire

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


_BEGUN_ONLY = PIECES[0]


def markdown() -> str:
    """Return the table: fault, outcome, requests made."""
    lines = ["| fault | outcome | requests |", "|---|---|--:|"]
    for title, faults in GROUPS.items():
        lines.append(f"| **{title}** | | |")
        lines += [f"| {fault.name} | {_outcome(fault)} | {fault.requests} |" for fault in faults]
    return "\n".join(lines) + "\n"


def _outcome(fault: Fault) -> str:
    if fault.error is None:
        said = "the text that came" if fault.text == _BEGUN_ONLY else "the answer"
    else:
        said = f"`{fault.error.__name__}`"
        said += " with `partial_text`" if fault.text else ""
    return f"{said}: {fault.note}" if fault.note else said


class Played:
    """A fault server with its second host, set up for one fault."""

    def __init__(self, fault: Fault, wire: Wire = CHAT_UI) -> None:
        self._stack = ExitStack()
        self._fault, self._wire = fault, wire

    def __enter__(self) -> Played:
        """Start both servers."""
        enter = self._stack.enter_context
        enter(no_such_name())
        self.server = enter(FaultServer(*self._fault.scripts, wire=self._wire))
        self.server.elsewhere = self.elsewhere = enter(FaultServer(answer, wire=self._wire))
        self.url = self._fault.url() if self._fault.url else self.server.url
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()


def _chat_openai(url: str) -> BaseChatModel:
    from langchain_openai import ChatOpenAI

    peer: BaseChatModel = ChatOpenAI(
        model="m", base_url=f"{url}/v1", api_key="sk-test", timeout=0.5, max_retries=2
    )
    return peer


def kept(fault: Fault, result: Result, followed: int) -> bool:
    """Say whether a peer kept the promise: the exact answer, or a `ModelError`.

    Which `ModelError` is left to the peer; showing text that is not the beginning of the
    answer, or sending the conversation to another host, breaks it.
    """
    if followed or not fault.text.startswith(result.text):
        return False
    if fault.error is None:
        return result.error is None and result.text == fault.text
    return isinstance(result.error, ModelError)


def _where(played: Played) -> str:
    bodies = [exchange.request_body for exchange in played.elsewhere.exchanges]
    if not bodies:
        return ""
    return ", the conversation sent to another host" if any(bodies) else ", from another host"


def peer_rows(wire: Wire) -> Iterator[tuple[str, str, str, int, bool]]:
    """Play the shared faults to ChatOpenAI: fault, way, outcome, requests, promise kept."""
    for fault in (fault for fault in FAULTS if fault.shared):
        for way in WAYS:
            with Played(fault, wire) as played:
                result = call(_chat_openai(played.url), way)
                error = type(result.error).__name__ if result.error else "answer"
                followed = played.elsewhere.requests
                said = error + _where(played)
                ok = kept(fault, result, followed)
                yield fault.name, way, said, played.server.requests, ok
