"""`ai365vip serve`: a model behind `/api/chat`, until a signal ends it."""

from __future__ import annotations

import importlib
import inspect
import logging
import operator
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from langchain_ai365vip.cli.endpoints import loaded
from langchain_ai365vip.cli.exits import ending_signals
from langchain_ai365vip.cli.failures import UserError
from langchain_ai365vip.cli.terminal import note, say
from langchain_ai365vip.server import LocalServer

_PROVIDERS = "(A model of a provider is given with --model PROVIDER:NAME.)"


@contextmanager
def chosen(
    source: str | None, *, factory: bool, local: bool, gguf: Path | None, models: Sequence[str]
) -> Iterator[Any]:
    """Give the model that the arguments name, or several by their names.

    Raises:
        UserError: None or several are named, or the one that is named cannot be made.
        ImportError: A package is missing; the message says which to install.
    """
    if (source is not None) + local + (gguf is not None) + bool(models) != 1:
        raise UserError(
            "Say what to serve, one of: MODULE:OBJECT (of your own code), --local, --gguf FILE, "
            "--model PROVIDER:NAME (repeatable)."
        )
    if factory and source is None:
        raise UserError("--factory is for MODULE:OBJECT, and none is given.")
    if source is not None:
        yield _of_module(source, factory=factory)
    elif not models:
        with loaded(gguf) as loaded_model:
            yield loaded_model
    elif len(models) == 1:
        yield _by_name(models[0])
    else:
        yield {name: _by_name(name) for name in models}


def _of_module(source: str, *, factory: bool) -> Any:
    module, _, path = source.partition(":")
    if not (module and path):
        raise UserError(f"{source}: expected MODULE:OBJECT, as in app:agent for agent of app.py.")
    sys.path.insert(0, os.getcwd())
    with _own_code(source):
        try:
            found = operator.attrgetter(path)(importlib.import_module(module))
        except ModuleNotFoundError as exc:
            if exc.name not in (module, module.partition(".")[0]):
                raise  # a package that the module needs
            raise UserError(
                f"{source}: there is no module {module!r} in {os.getcwd()} or among the installed "
                f"packages. (A module's name has no .py.) {_PROVIDERS}"
            ) from exc
        except AttributeError as exc:
            if not hasattr(exc, "obj") or not inspect.ismodule(exc.obj):
                raise
            raise UserError(f"{source}: {exc}: correct the name. {_PROVIDERS}") from exc
        if inspect.isfunction(found) and not factory and not inspect.signature(found).parameters:
            raise UserError(f"{source} takes no messages: if it makes a model, add --factory.")
        return found() if factory else found


@contextmanager
def _own_code(source: str) -> Iterator[None]:
    """Say in one line what failed in the user's own code."""
    try:
        yield
    except UserError:
        raise
    except Exception as exc:
        said = _without_keys(" ".join(f"{type(exc).__name__}: {exc}".split()))
        raise UserError(f"{source}: your code says {said} (--debug shows where).") from exc


def _by_name(name: str) -> Any:
    provider, colon, model = name.partition(":")
    if not (colon and model):
        raise UserError(
            f"--model {name}: expected PROVIDER:NAME, as in openai:gpt-4o or ollama:qwen3."
        )
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as exc:
        raise ImportError(
            f"Models by name need LangChain and the provider's package: pip install langchain "
            f"langchain-{provider.replace('_', '-')}"
        ) from exc
    try:
        return init_chat_model(model, model_provider=provider)
    except ImportError:
        raise
    except Exception as exc:  # a provider's own, such as for a missing key
        raise UserError(
            f"--model {name}: LangChain or the provider's package says: {_said(exc)}. "
            "Correct the name, or set what is missing in the environment (for openai: "
            "OPENAI_API_KEY)."
        ) from exc


def _said(error: Exception) -> str:
    """Return in a line what another package says of a model that it does not make."""
    # A validation error's own text shows values.
    faults = error.errors() if isinstance(error, ValidationError) else [{"msg": str(error)}]
    said = "; ".join(": ".join((*map(str, each.get("loc", ())), each["msg"])) for each in faults)
    return _without_keys(" ".join(said.split())).rstrip(".")


def _without_keys(text: str) -> str:
    """Return a text of other packages without the keys that the environment holds."""
    for name, value in os.environ.items():
        if len(value) > 5 and name.endswith(("KEY", "TOKEN", "SECRET", "PASSWORD")):
            text = text.replace(value, "[redacted]")
    return text


def key(option: str | None) -> str | None:
    """Return the key to ask for: the option's, or that of `AI365VIP_API_KEY`."""
    return option or os.environ.get("AI365VIP_API_KEY") or None


def serve(model: Any, *, grace: float = 5, access_log: bool = False, **options: Any) -> None:
    """Serve a model until SIGINT, SIGTERM or SIGHUP; a second signal cuts the replies under way.

    Args:
        model: What answers.
        grace: Seconds that replies under way have to end.
        access_log: Show a line for each request on standard error.
        **options: Those of `LocalServer`.

    Raises:
        UserError: An option is wrong, or the address cannot be had.
        RuntimeError: A model has ended the server.
    """
    if access_log:
        _show_requests()
    try:
        server = LocalServer(model, **options)
    except (TypeError, ValueError) as exc:
        raise UserError(str(exc)) from exc
    stop = threading.Event()
    with _on_signals(stop):
        try:
            server.start()
        except OSError as exc:
            raise UserError(str(exc.strerror)) from exc
        try:
            say(server.base_url)
            where = f"open {server.base_url} in a browser"
            note(f"Serving /api/chat and /api/models: {where}. Ctrl-C stops it.")
            # One that another thread gets, or that comes just before the wait, does not end it.
            while not stop.wait(1):
                if not server.is_running:
                    raise RuntimeError("The server has ended, as the log above says.")
            note(f"Stopping: replies under way have {grace:g} s to end, Ctrl-C cuts them.")
            server.stop(grace)
        finally:
            server.stop()


def _show_requests() -> None:
    """Show a line for each request on standard error."""
    shown = logging.StreamHandler()
    shown.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    access = logging.getLogger("langchain_ai365vip.server.access")
    access.setLevel(logging.INFO)
    access.addHandler(shown)


@contextmanager
def _on_signals(stop: threading.Event) -> Iterator[None]:
    """Set an event at the first signal to end; a second one acts as usual."""

    def handle(*_: Any) -> None:
        stop.set()
        restore()

    def restore() -> None:
        for signum, handler in before.items():
            signal.signal(signum, handler)

    ending = (signal.SIGINT, *ending_signals())
    before = {signum: signal.signal(signum, handle) for signum in ending}
    try:
        yield
    finally:
        restore()
