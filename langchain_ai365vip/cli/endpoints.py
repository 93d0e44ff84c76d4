"""What a command talks to: an endpoint, or a local model behind an endpoint of our own."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, cast

from langchain_ai365vip import AI365VIP, ChatAI365VIP
from langchain_ai365vip.cli.failures import UserError
from langchain_ai365vip.cli.target import Target
from langchain_ai365vip.cli.terminal import is_terminal, note

_SEEN_WAIT: Final = 1.0  # seconds before a retry
_log: Final = logging.getLogger("langchain_ai365vip.requests")
_SMALL_MODEL: Final = (
    "This is SmolLM2-135M-Instruct, a very small model: for trying out, often wrong."
)


@contextmanager
def opened(target: Target, **more: Any) -> Iterator[ChatAI365VIP]:
    """Give the client for a target; a local model is served while it is in use.

    Args:
        target: What the options say.
        **more: Further arguments of `ChatAI365VIP`.

    Raises:
        UserError: Several places to ask are named.
    """
    in_process = target.local or target.gguf is not None
    if in_process + (target.base_url is not None) + (target.local and target.gguf is not None) > 1:
        raise UserError(
            "--local, --gguf and --base-url name three different places: give one of them."
        )
    with _served(target) if in_process else nullcontext(target.settings()) as settings:
        if "base_url" not in settings:
            settings["base_url"] = base_url = ChatAI365VIP().base_url
            if base_url == AI365VIP.url:
                note(f"Asking the public site, {base_url}: --base-url names another endpoint.")
        with _only_long_waits_noted():
            yield ChatAI365VIP(**settings, **more)


@contextmanager
def _only_long_waits_noted() -> Iterator[None]:
    """Let the log tell of retries that take a while; what came of the others is seen at once."""

    def is_worth_a_line(record: logging.LogRecord) -> bool:
        return record.levelno != logging.WARNING or float(cast(Any, record.args)[1]) >= _SEEN_WAIT

    _log.addFilter(is_worth_a_line)
    try:
        yield
    finally:
        _log.removeFilter(is_worth_a_line)


@contextmanager
def _served(target: Target) -> Iterator[dict[str, Any]]:
    from langchain_ai365vip.server import LocalServer

    key = secrets.token_urlsafe(32)
    with (
        loaded(target.gguf) as local,
        LocalServer(local, api_key=key) as server,
    ):
        own: dict[str, Any] = {"model": local.model_name}
        if local.system_prompt is not None:
            own["system_prompt"] = local.system_prompt
        yield {
            # Otherwise the local model's own: the wire's default of 1 is too hot for it.
            "temperature": None,
            **own,
            **target.settings(),
            "base_url": server.base_url,
            "api_key": key,
            "proxy": "",  # not the one of the environment, on the way to this process
        }


@contextmanager
def loaded(gguf: Path | None) -> Iterator[Any]:
    """Load a GGUF file, or the demo model, as a `LocalModel`."""
    from langchain_ai365vip.local import LocalModel

    model = LocalModel(gguf_path=gguf)
    if gguf is None:
        note(_SMALL_MODEL)
    if is_terminal(sys.stderr):
        note(f"Loading {Path(str(model.gguf_path)).name}.")
    with model:
        yield model
