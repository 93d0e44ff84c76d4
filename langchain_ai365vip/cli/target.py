"""Where to ask, and how: the options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer

Command = Callable[..., None]

# Of any request; the other fields are about a conversation.
REQUEST: Final = ("api_key", "proxy", "ca_bundle", "timeout")


@dataclass(repr=False)
class Target:
    """What a command talks to; each field is an option, and `None` is not given.

    No repr: it holds the key.
    """

    local: Annotated[
        bool,
        typer.Option(
            "--local", help="A very small model in this process, behind a real /api/chat."
        ),
    ] = False
    gguf: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same with a GGUF file.")
    ] = None
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Root of the endpoint. Default: AI365VIP_BASE_URL, or the public site.",
        ),
    ] = None
    model: Annotated[
        str | None, typer.Option(metavar="ID", help="Id of the model. Default: gpt-3.5-turbo.")
    ] = None
    system_prompt: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="System prompt.")
    ] = None
    temperature: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Sampling temperature.")
    ] = None
    max_tokens: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Bound on an answer's length, about.")
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="The endpoint's key. Better in AI365VIP_API_KEY: others on this machine can see "
            "a command's arguments.",
        ),
    ] = None
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="http://, https://, socks4:// or socks5:// proxy. Default: AI365VIP_PROXY.",
        ),
    ] = None
    ca_bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="PEM file of authorities to trust."
        ),
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Silence allowed in each step of a request."),
    ] = None

    def settings(self) -> dict[str, Any]:
        """Return the arguments of `ChatAI365VIP` that were given."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(self).items()
            if value is not None and name not in ("local", "gguf")
        }


def with_target(*names: str) -> Callable[[Command], Command]:
    """Give a command options in place of its parameter `target`: these fields, or all.

    Typer reads a command's options from its signature, so that is what this changes.
    """
    names = names or tuple(field.name for field in fields(Target))
    hints = get_type_hints(Target, include_extras=True)
    options = [
        Parameter(
            name, Parameter.KEYWORD_ONLY, default=getattr(Target, name), annotation=hints[name]
        )
        for name in names
    ]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            target = Target(**{name: given.pop(name) for name in names})
            command(target=target, **given)

        parameters: list[Parameter] = []
        for parameter in signature(command, eval_str=True).parameters.values():
            parameters += options if parameter.name == "target" else [parameter]
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate
