"""`ChatAI365VIP`: any endpoint of the AI365VIP protocol as a LangChain chat model."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import functools
import json
import logging
import ssl
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from warnings import warn

import tenacity
from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel, generate_from_stream
from langchain_core.load import dumpd
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.utils import from_env, secret_from_env
from pydantic import (
    AliasChoices,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from langchain_ai365vip import _sync
from langchain_ai365vip._client import (
    AI365VIP,
    AvailableModel,
    OnRetry,
    check_base_url,
    check_proxy,
)
from langchain_ai365vip._limits import Limits
from langchain_ai365vip._messages import to_wire
from langchain_ai365vip._protocol import (
    DEFAULT_MODEL,
    DEFAULT_PROMPT,
    DEFAULT_TEMPERATURE,
    ESCAPED,
    PUBLIC_URL,
    SpecialTokens,
    chat_payload,
    check_extra_body,
    check_special_tokens,
)
from langchain_ai365vip._reply import Reply
from langchain_ai365vip._timeouts import Timeout
from langchain_ai365vip._version import __version__

PROVIDER: Final = "ai365vip"
_logger = logging.getLogger("langchain_ai365vip")

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
    }
)
# What may differ without changing the answer: no part of the cache key.
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
# What core itself passes along and expects to be ignored.
_FROM_CORE: Final = frozenset(
    {"stream", "ls_structured_output_format", "structured_output_format", "config"}
)


@dataclass(frozen=True)
class _Call:
    """One call's settings, after its own were laid over the model's."""

    client: AI365VIP
    model: str
    payload: Mapping[str, Any]
    stop: Sequence[str]
    max_tokens: int | None

    def limits(self) -> Limits | None:
        """What cuts the reply here, if anything does."""
        if self.stop or self.max_tokens is not None:
            return Limits(self.stop, self.max_tokens)
        return None


class _Opened:
    """The reply that a stream reads, once there is one."""

    reply: Reply | None = None

    def drop(self) -> None:
        if self.reply is not None:
            self.reply.drop()


class ChatAI365VIP(BaseChatModel):
    """Chat model for endpoints that speak the AI365VIP (Chatbot UI v1) protocol.

    Setup:
        Install `langchain-ai365vip`, and set `AI365VIP_BASE_URL` to your endpoint and, if it
        wants a key, `AI365VIP_API_KEY`. The public site turns API clients away (403).

        ```bash
        pip install -U langchain-ai365vip
        export AI365VIP_BASE_URL="https://chat.example.com"
        ```

    Key init args — completion params:
        model: str
            Id of the model, sent as it is. Default `gpt-3.5-turbo`. Also `model_name`.
        temperature: float | None
            Sampling temperature, 0 or more. Default 1; `None` leaves it to the server.
        max_tokens: int | None
            Approximate bound on the reply's tokens, enforced on this side: the wire has
            no such field (measured: the server asks its upstream for at most 1000).
        stop: list[str] | None
            Texts before which the reply is cut, on this side.
        system_prompt: str
            Sent when a conversation has no system message.
        token_limit: int | None
            Context size in tokens by which the server would drop old messages in silence;
            a longer conversation is refused before it is sent. Default: none is sent that
            could drop anything.
        special_tokens: Literal["escape", "raise", "send"]
            What to do with the five strings (`<|endoftext|>` …) that make the reference
            server fail.
        extra_body: dict | None
            Further top-level fields of the request's JSON.

    Key init args — client params:
        base_url: str
            Root of the server, to which `/api/chat` is appended. Env `AI365VIP_BASE_URL`.
        api_key: SecretStr | None
            Sent in the request's body. Env `AI365VIP_API_KEY`.
        proxy: SecretStr | None
            `http://`, `https://`, `socks4://` or `socks5://` URL. Env `AI365VIP_PROXY`.
        timeout: float | Timeout | None
            Seconds of inactivity in each step, or a `Timeout`.
        max_retries: int
            Retries before the first text. Default 2.
        streaming: bool
            Whether `invoke` and `ainvoke` stream internally, for callbacks that want tokens.
        default_headers: dict[str, str] | None
            Further request headers; treated as secrets.
        max_connections: int | None
            Bound on open connections. Default: none.
        ca_bundle: str | None
            Path of a PEM file of certificate authorities to trust.
        ssl_context: ssl.SSLContext | None
            The same, as a context; such a model cannot be pickled.

    Instantiate:
        ```python
        from langchain_ai365vip import ChatAI365VIP

        model = ChatAI365VIP(model="gpt-4o", base_url="https://chat.example.com")
        ```

    Invoke:
        ```python
        model.invoke("Name three colors.")
        ```

    Stream:
        ```python
        for chunk in model.stream("Name three colors."):
            print(chunk.text, end="")
        ```

    Async:
        ```python
        await model.ainvoke("Name three colors.")

        async for chunk in model.astream("Name three colors."):
            print(chunk.text, end="")
        ```

    Response metadata:
        ```python
        model.invoke("Name three colors.").response_metadata
        # {"model_name": "gpt-4o", "model_provider": "ai365vip", "finish_reason": "stop"}
        ```

        `finish_reason` "stop" means that the reply ended cleanly: all that this wire says.

    Raises:
        AI365VIPError: From every way of calling, for anything that the server or the
            network does. See `langchain_ai365vip.errors`.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        validate_assignment=True,
    )

    model: str = Field(
        default=DEFAULT_MODEL,
        min_length=1,
        validation_alias=AliasChoices("model", "model_name"),
    )
    """Id of the model, sent as it is given."""

    base_url: str = Field(default_factory=from_env("AI365VIP_BASE_URL", default=PUBLIC_URL))
    """Root of the server. Read from `AI365VIP_BASE_URL` when not given."""

    api_key: SecretStr | None = Field(
        default_factory=secret_from_env("AI365VIP_API_KEY", default=None)
    )
    """Key for the endpoint. Read from `AI365VIP_API_KEY` when not given."""

    proxy: SecretStr | None = Field(default_factory=secret_from_env("AI365VIP_PROXY", default=None))
    """URL of a proxy. Read from `AI365VIP_PROXY` when not given; without either, the usual
    environment variables (`HTTPS_PROXY`, `NO_PROXY` …) count, but never for loopback hosts."""

    temperature: float | None = Field(default=DEFAULT_TEMPERATURE, ge=0, allow_inf_nan=False)
    """Sampling temperature; `None` leaves it to the server."""

    system_prompt: str = DEFAULT_PROMPT
    """System prompt of conversations without a system message."""

    stop: list[str] | None = Field(
        default=None, validation_alias=AliasChoices("stop", "stop_sequences")
    )
    """Texts before which the reply is cut, on this side."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Approximate bound on the tokens of a reply, on this side."""

    timeout: float | Timeout | None = None
    """Seconds of inactivity allowed in each step, or a `Timeout`."""

    max_retries: int = Field(default=2, ge=0)
    """Retries (not attempts) of a call that failed before its first text."""

    streaming: bool = False
    """Whether `invoke` and `ainvoke` stream internally, for callbacks that want tokens."""

    default_headers: Mapping[str, SecretStr] | None = Field(default=None, exclude=True)
    """Further request headers. Their values are treated as secrets."""

    extra_body: dict[str, Any] | None = None
    """Further top-level fields of the request's JSON; they win over this class's own."""

    token_limit: int | None = Field(default=None, gt=0)
    """Context size in tokens; a conversation that the server would trim is refused."""

    max_connections: int | None = Field(default=None, gt=0)
    """Bound on the connections open at a time; `None`: none."""

    special_tokens: SpecialTokens = "escape"
    """What to do with strings that make the reference server fail."""

    ca_bundle: str | None = None
    """Path of a PEM file of certificate authorities to trust."""

    ssl_context: ssl.SSLContext | None = Field(default=None, exclude=True, repr=False)
    """A TLS context to use; such a model cannot be pickled."""

    # -- construction ------------------------------------------------------------------

    @model_validator(mode="before")
    @classmethod
    def _warn_of_unknown_arguments(cls, values: Any) -> Any:
        """Name misspelt arguments, never their values: core would drop them in silence."""
        if isinstance(values, Mapping):
            for names in _names_by_field(cls).values():
                if len(given := [name for name in names if name in values]) > 1:
                    raise ValueError(f"{' and '.join(given)} are one argument; pass one of them")
            for name in values.keys() - _argument_names(cls):
                close = difflib.get_close_matches(str(name), _argument_names(cls), n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                warn(
                    f"ChatAI365VIP has no argument {str(name)!r}; it is ignored.{hint} Fields "
                    "of the request that it does not know go into extra_body.",
                    UserWarning,
                    stacklevel=4,
                )
        return values

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        return check_base_url(value)

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        proxy = check_proxy(_revealed(value))
        return None if proxy is None else SecretStr(proxy)

    @field_validator("extra_body")
    @classmethod
    def _check_extra_body(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        check_extra_body(value or {})
        return value

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("timeout")
    @classmethod
    def _check_timeout(cls, value: float | Timeout | None) -> float | Timeout | None:
        Timeout.of(value)
        return value

    @model_validator(mode="after")
    def _set_ai365vip_version(self) -> Self:
        self._add_version("langchain-ai365vip", __version__)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, and let core's cache of the serialized form follow."""
        # Traces would go on showing the old settings.
        self.__dict__.pop("_serialized", None)
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[Any, Any]:
        """Refuse what cannot be pickled, with a sentence."""
        if self.ssl_context is not None:
            raise TypeError(
                "A ChatAI365VIP with an ssl_context cannot be pickled or deep-copied, because "
                "an SSLContext cannot. Pass ca_bundle, the path of a PEM file, instead."
            )
        return super().__getstate__()

    @property
    def model_name(self) -> str:
        """The model's id, under the name that other integrations give it."""
        return self.model

    # -- what LangChain asks about a model ---------------------------------------------

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Fields that `dumpd` replaces by the name of their environment variable."""
        return {"api_key": "AI365VIP_API_KEY", "proxy": "AI365VIP_PROXY"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether `dumpd` and `load` work; they do."""
        return True

    @property
    def _llm_type(self) -> str:
        return "ai365vip-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "base_url": self.base_url,
            "temperature": self.temperature,
            "system_prompt": self.system_prompt,
            "stop": self.stop,
            "max_tokens": self.max_tokens,
            "token_limit": self.token_limit,
            "extra_body": self.extra_body,
            "special_tokens": self.special_tokens,
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        # Equal to response_metadata["model_provider"]: middleware compares the two.
        params["ls_provider"] = PROVIDER
        params["ls_model_name"] = kwargs.get("model", self.model)
        for name in ("temperature", "max_tokens"):
            value = kwargs.get(name, getattr(self, name))
            if value is None:
                params.pop(f"ls_{name}", None)  # type: ignore[misc]
            else:
                params[f"ls_{name}"] = value  # type: ignore[literal-required]
        if stopping := self.stop if stop is None else stop:
            params["ls_stop"] = stopping
        return params

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # The cache key. Core's would follow a changed time limit, too, and would not follow a
        # list or dict that was changed in place.
        own = dumpd(self)
        settings = {
            name: value for name, value in own["kwargs"].items() if name not in _NOT_IN_CACHE_KEY
        }
        call = {name: kwargs[name] for name in sorted(kwargs.keys() - _NOT_IN_CACHE_KEY)}
        return f"{json.dumps([own['id'], settings], sort_keys=True)}---{call}---{stop}"

    # -- the one stream, and what folds it ---------------------------------------------

    async def _chunks(
        self, call: _Call, on_retry: OnRetry, opened: _Opened | None = None
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        reply = await call.client.open(call.payload, on_retry=on_retry)
        if opened is not None:
            opened.reply = reply
        limits = call.limits()
        try:
            if limits is None:
                while text := await reply.read():
                    yield ChatGenerationChunk(message=AIMessageChunk(content=text))
            else:
                while not limits.finish_reason and (text := await reply.read()):
                    if text := limits.feed(text):
                        yield ChatGenerationChunk(message=AIMessageChunk(content=text))
                if text := limits.flush():
                    yield ChatGenerationChunk(message=AIMessageChunk(content=text))
        finally:
            # Closed here and not by a generator within: the server notices at once when a
            # consumer breaks off.
            reply.close()
        finish_reason = (limits and limits.finish_reason) or "stop"
        yield ChatGenerationChunk(message=_last_message(call, finish_reason))

    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        # Not itself a generator: one frame less between a consumer that breaks off and the
        # connection that is to be closed. Core passes no run_manager but in v3 streams.
        opened = _Opened()
        chunks = self._chunks(self._call(messages, stop, kwargs), _on_retry(run_manager), opened)
        # A dropped generator is handed to the loop, which closes it some turns later; this
        # comes first.
        weakref.finalize(chunks, opened.drop).atexit = False
        return chunks if run_manager is None else _announcing(chunks, run_manager)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._call(messages, stop, kwargs)
        for chunk in _sync.iterate(lambda: self._chunks(call, _on_retry(run_manager))):
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await self._fold(self._call(messages, stop, kwargs), _on_retry(run_manager))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self._call(messages, stop, kwargs)
        return _sync.run(lambda: self._fold(call, _on_retry(run_manager)))

    async def _fold(self, call: _Call, on_retry: OnRetry) -> ChatResult:
        # Not core's agenerate_from_stream, which merges on another thread.
        return generate_from_stream(iter([chunk async for chunk in self._chunks(call, on_retry)]))

    def _call(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> _Call:
        """Lay a call's own settings over the model's and write its payload."""
        _warn_of_unknown_settings(kwargs)
        settings = {name: kwargs.get(name, getattr(self, name)) for name in _PER_CALL}
        prompt, turns, escaped = check_special_tokens(
            *to_wire(messages, system_prompt=settings["system_prompt"]), settings["special_tokens"]
        )
        if escaped:
            warn(ESCAPED, UserWarning, stacklevel=2)
        return _Call(
            client=self._client(settings["timeout"], settings["max_retries"]),
            model=settings["model"],
            payload=chat_payload(
                model=settings["model"],
                messages=turns,
                prompt=prompt,
                temperature=settings["temperature"],
                token_limit=settings["token_limit"],
                extra=settings["extra_body"],
            ),
            stop=(self.stop if stop is None else stop) or (),
            max_tokens=settings["max_tokens"],
        )

    def _client(self, timeout: Timeout | float | None, max_retries: int) -> AI365VIP:
        headers = self.default_headers or {}
        return AI365VIP(
            base_url=self.base_url,
            api_key=_revealed(self.api_key) or "",
            proxy=_revealed(self.proxy),
            timeout=Timeout.of(timeout),
            headers={name: value.get_secret_value() for name, value in headers.items()},
            max_retries=max_retries,
            max_connections=self.max_connections,
            tls=self.ssl_context,
            ca_bundle=self.ca_bundle,
        )

    # -- beyond answering --------------------------------------------------------------

    async def alist_models(self) -> list[AvailableModel]:
        """Ask the endpoint for its models.

        Raises:
            AI365VIPError: The request failed, or the answer is not a list of models.
        """
        return await self._client(self.timeout, self.max_retries).list_models()

    def list_models(self) -> list[AvailableModel]:
        """Ask the endpoint for its models; see `alist_models`."""
        return _sync.run(self.alist_models)

    async def aclose(self) -> None:
        """Close the idle connections of this event loop and of the sync methods' one.

        Optional: they close by themselves, with the loop and after 4 s of idleness. Streams
        that are being read, by this model or another, go on; the model stays usable.
        """
        await self._client(self.timeout, self.max_retries).aclose()
        if _sync.is_running():
            # Off this loop: the other one may be in the middle of something.
            await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Close the idle connections of the sync methods; see `aclose`."""
        if _sync.is_running():
            _sync.run(self._client(self.timeout, self.max_retries).aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


async def _announcing(
    chunks: AsyncGenerator[ChatGenerationChunk, None], run_manager: AsyncCallbackManagerForLLMRun
) -> AsyncGenerator[ChatGenerationChunk, None]:
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


def _last_message(call: _Call, finish_reason: str) -> AIMessageChunk:
    # On one chunk only: core concatenates the strings when it merges chunks.
    return AIMessageChunk(
        content="",
        response_metadata={
            "model_name": call.model,
            "model_provider": PROVIDER,
            "finish_reason": finish_reason,
        },
        chunk_position="last",
    )


def _on_retry(
    run_manager: AsyncCallbackManagerForLLMRun | CallbackManagerForLLMRun | None,
) -> OnRetry:
    return _log_retry if run_manager is None else run_manager.on_retry


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _logger.warning("Retry %d in %.1f s: %s", state.attempt_number, state.upcoming_sleep, error)


def _warn_of_unknown_settings(kwargs: Mapping[str, Any]) -> None:
    unknown = sorted(kwargs.keys() - _PER_CALL - _FROM_CORE)
    if unknown:
        warn(
            f"ChatAI365VIP does not know {', '.join(map(repr, unknown))} as a setting of a call; "
            "it is not sent. Fields that your endpoint understands go into extra_body.",
            UserWarning,
            stacklevel=3,
        )


@functools.cache
def _names_by_field(cls: type[BaseChatModel]) -> Mapping[str, Sequence[str]]:
    """The names under which each field may be passed."""
    names = {}
    for name, field in cls.model_fields.items():
        alias = field.validation_alias
        others = alias.choices if isinstance(alias, AliasChoices) else [alias]
        names[name] = sorted({name, *(each for each in others if isinstance(each, str))})
    return names


@functools.cache
def _argument_names(cls: type[BaseChatModel]) -> frozenset[str]:
    return frozenset(name for names in _names_by_field(cls).values() for name in names)


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
