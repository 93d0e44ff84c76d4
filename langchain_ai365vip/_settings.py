"""Settings: what the constructor takes, what a call may override, and names that are misspelt."""

from __future__ import annotations

import copy
import difflib
import functools
import json
import ssl
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from langchain_core.caches import BaseCache
from langchain_core.callbacks import Callbacks
from langchain_core.language_models import ModelProfile
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import AliasChoices, BaseModel, ConfigDict, SecretStr, create_model
from typing_extensions import TypedDict

from langchain_ai365vip._transport.timeouts import Timeout
from langchain_ai365vip._wire.facts import PUBLIC_URL, SpecialTokens
from langchain_ai365vip._wire.payload import check_extra_body

# What a call (`invoke(..., name=value)`, `bind(name=value)`) may override.
_PER_CALL: Final = frozenset(
    {
        "model",
        "temperature",
        "max_tokens",
        "system_prompt",
        "token_limit",
        "extra_body",
        "special_tokens",
        "timeout",
        "max_retries",
        "reasoning",
        "estimate_usage",
    }
)
# Those for which `None` means nothing, so that it means "not given", as for `stop`.
_NEVER_NONE: Final = frozenset(
    {"model", "system_prompt", "special_tokens", "max_retries", "reasoning", "estimate_usage"}
)
# What bind_tools and with_structured_output bind, read by `Tooling.of`.
_TOOLING: Final = frozenset(
    {
        "tools",
        "tools_with_class",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "output_schema",
        "partial_objects",
        "include_raw",
    }
)
# What may differ without changing the answer: no part of the cache key, nor of what is traced.
_NOT_IN_CACHE_KEY: Final = frozenset(
    {
        "name",
        "api_key",
        "proxy",
        "timeout",
        "max_retries",
        "max_connections",
        "ca_bundle",
        "streaming",
        "disable_streaming",
    }
)
# What other integrations call an argument, where the spelling leads to none of ours or to another.
_ELSEWHERE: Final = {
    name: argument
    for argument, names in (
        ("base_url", "api_base openai_api_base azure_endpoint endpoint host server_url url"),
        ("api_key", "openai_api_key key token"),
        ("model", "model_id"),
        ("timeout", "request_timeout"),
        ("max_tokens", "max_completion_tokens max_output_tokens max_new_tokens"),
        ("default_headers", "headers extra_headers"),
        ("system_prompt", "system system_message instructions"),
        ("extra_body", "model_kwargs"),
        ("proxy", "openai_proxy proxies"),
    )
    for name in names.split()
}
# What core itself passes along with a call, and expects to be ignored.
_FROM_CORE: Final = frozenset({"stream", "ls_structured_output_format", "structured_output_format"})


class Arguments(TypedDict, total=False):
    """The constructor's arguments, by every name and with every type that it takes."""

    model: str
    model_name: str
    base_url: str
    api_key: SecretStr | str | None
    proxy: SecretStr | str | None
    temperature: float | None
    system_prompt: str
    stop: list[str] | str | None
    stop_sequences: list[str] | str | None
    max_tokens: int | None
    timeout: float | Timeout | None
    max_retries: int
    streaming: bool | None
    default_headers: Mapping[str, SecretStr | str] | None
    extra_body: dict[str, Any] | None
    token_limit: int | None
    max_connections: int | None
    special_tokens: SpecialTokens
    reasoning: bool | Literal["opened"]
    estimate_usage: bool
    ca_bundle: str | None
    ssl_context: ssl.SSLContext | None
    # core's own
    name: str | None
    cache: BaseCache | bool | None
    verbose: bool
    callbacks: Callbacks
    tags: list[str] | None
    metadata: dict[str, Any] | None
    custom_get_token_ids: Callable[[str], list[int]] | None
    rate_limiter: BaseRateLimiter | None
    disable_streaming: bool | Literal["tool_calling"]
    output_version: str | None
    profile: ModelProfile | None


# -- the constructor -----------------------------------------------------------------------


def check_arguments(cls: type[BaseChatModel], values: Mapping[str, Any]) -> None:
    """Name misspelt arguments in a warning, never their values.

    Args:
        cls: The class that is constructed.
        values: Its arguments.

    Raises:
        ValueError: Two of them are the same one.
    """
    for names in _names_by_field(cls).values():
        if len(given := [name for name in names if name in values]) > 1:
            raise ValueError(f"{' and '.join(given)} are one argument: pass one of them")
    for name in values.keys() - _argument_names(cls):
        meant = _ELSEWHERE.get(str(name)) or next(
            iter(difflib.get_close_matches(str(name), _argument_names(cls), 1, 0.7)), None
        )
        hint = f" Did you mean {meant!r}?" if meant else ""
        warnings.warn(
            f"ChatAI365VIP has no argument {str(name)!r}; it is ignored.{hint} Further "
            "fields of the request, for a server that reads them, go into extra_body.",
            stacklevel=5,  # who constructs: pydantic and core are in between
        )


def as_list(value: Any) -> Any:
    """Take one text for a list of one."""
    return [value] if isinstance(value, str) else value


def checked_extra_body(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return further fields of the request, or raise a `ValueError`."""
    check_extra_body(value or {})
    return value


def checked_timeout(value: float | Timeout | None) -> float | Timeout | None:
    """Return time limits as they are, or raise a `ValueError`."""
    Timeout.of(value)
    return value


@functools.cache  # once in a process: Python's own way to say so is undone by each catch_warnings
def warn_of_the_public_site() -> None:
    """Warn once in a process that conversations go to the public site."""
    warnings.warn(
        f"The conversation goes to {PUBLIC_URL}, the public site, which is known to refuse clients "
        "other than browsers: set base_url, or AI365VIP_BASE_URL in the environment, to the "
        f'address of your endpoint, or base_url="{PUBLIC_URL}" if that is meant.',
        stacklevel=4,
    )


# -- a call -----------------------------------------------------------------------------------


def settings_of_call(
    model: BaseChatModel, stop: list[str] | None, kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Lay a call's settings over the model's, checked as the constructor checks its own.

    Args:
        model: A `ChatAI365VIP`.
        stop: The call's stop texts; `None` leaves the model's.
        kwargs: The call's keyword arguments; one that is not known is named in a warning.
    """
    _warn_of_unknown_settings(kwargs)
    settings = {name: getattr(model, name) for name in ("stop", *_PER_CALL)}
    given = {name: value for name, value in given_settings(kwargs).items() if name in _PER_CALL}
    if stop is not None:
        given["stop"] = stop
    if given:
        checked = _settings_model(type(model)).model_validate(given)
        settings.update((name, getattr(checked, name)) for name in given)
    return settings


def _warn_of_unknown_settings(kwargs: Mapping[str, Any]) -> None:
    for name in ("functions", "function_call"):
        if kwargs.get(name) is not None:
            raise ValueError(
                f"{name}= is OpenAI's old way of binding tools, which this model does not know: "
                "use bind_tools(tools, tool_choice=...)."
            )
    unknown = sorted(kwargs.keys() - _PER_CALL - _TOOLING - _FROM_CORE)
    if unknown:
        warnings.warn(
            "ChatAI365VIP does not know these settings of a call and does not send them: "
            f"{', '.join(unknown)}. Fields that your endpoint understands go into extra_body.",
            stacklevel=2,
        )


@functools.cache
def _settings_model(cls: type[BaseChatModel]) -> type[BaseModel]:
    """Make a model of what a call may set, by the fields of `cls` and under its name."""
    fields: dict[str, Any] = {
        name: (field.annotation, copy.copy(field))
        for name, field in cls.model_fields.items()
        if name == "stop" or name in _PER_CALL
    }
    return create_model(cls.__name__, __config__=ConfigDict(hide_input_in_errors=True), **fields)


@functools.cache
def _names_by_field(cls: type[BaseChatModel]) -> Mapping[str, Sequence[str]]:
    """Return the names under which each field may be passed."""
    names = {}
    for name, field in cls.model_fields.items():
        alias = field.validation_alias
        others = alias.choices if isinstance(alias, AliasChoices) else [alias]
        names[name] = sorted({name, *(each for each in others if isinstance(each, str))})
    return names


@functools.cache
def _argument_names(cls: type[BaseChatModel]) -> frozenset[str]:
    return frozenset(name for names in _names_by_field(cls).values() for name in names)


def given_settings(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a call sets, without the settings that are `None` and may not be."""
    return {
        name: value
        for name, value in kwargs.items()
        if value is not None or name not in _NEVER_NONE
    }


def identifying_params(model: BaseChatModel) -> dict[str, Any]:
    """Return what the answer of a `ChatAI365VIP` depends on, as traces show it."""
    names = {"base_url", "stop", *_PER_CALL} - _NOT_IN_CACHE_KEY
    return {name: getattr(model, name) for name in sorted(names)}


def cache_key(
    serialized: Mapping[str, Any], stop: list[str] | None, kwargs: Mapping[str, Any]
) -> str:
    """Write what a cached answer depends on: the model's settings and the call's.

    Args:
        serialized: The model as `dumpd` writes it.
        stop: The call's stop texts.
        kwargs: The call's keyword arguments.
    """
    settings = {
        name: value for name, value in serialized["kwargs"].items() if name not in _NOT_IN_CACHE_KEY
    }
    kwargs = given_settings(kwargs)
    call = {name: kwargs[name] for name in sorted(kwargs.keys() - _NOT_IN_CACHE_KEY)}
    return f"{json.dumps([serialized['id'], settings], sort_keys=True)}---{call}---{stop}"
