"""`ChatAI365VIP`: any endpoint of the AI365VIP protocol as a LangChain chat model."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from collections.abc import (
    AsyncIterator,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LangSmithParams, LanguageModelInput, ModelProfile
from langchain_core.language_models.chat_models import BaseChatModel, generate_from_stream
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils import secret_from_env
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from langchain_ai365vip import _sync
from langchain_ai365vip._profiles import model_profile
from langchain_ai365vip._prompt.classes import has_class
from langchain_ai365vip._prompt.messages import count_message_tokens
from langchain_ai365vip._prompt.tools import normalise_tool_choice, to_openai_tools
from langchain_ai365vip._settings import (
    Arguments,
    as_list,
    cache_key,
    check_arguments,
    checked_extra_body,
    checked_timeout,
    given_settings,
    identifying_params,
    settings_of_call,
    warn_of_the_public_site,
)
from langchain_ai365vip._transport.checks import check_base_url, check_headers, check_proxy
from langchain_ai365vip._transport.client import AI365VIP, AvailableModel
from langchain_ai365vip._transport.log import log_retry
from langchain_ai365vip._transport.timeouts import Timeout
from langchain_ai365vip._turn.chunks import PROVIDER, with_errors
from langchain_ai365vip._turn.request import request_of
from langchain_ai365vip._turn.stream import Run, admission, announcing
from langchain_ai365vip._turn.structured_output import structured_output
from langchain_ai365vip._version import __version__
from langchain_ai365vip._wire.facts import (
    DEFAULT_MODEL,
    DEFAULT_PROMPT,
    DEFAULT_TEMPERATURE,
    PUBLIC_URL,
    SpecialTokens,
)
from langchain_ai365vip._wire.tokens import best_counter, token_ids

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ChatAI365VIP(BaseChatModel):
    """Chat model for endpoints that speak the AI365VIP (Chatbot UI v1) protocol.

    Setup:
        Install the package as the README says, and set `AI365VIP_BASE_URL` to your endpoint
        and, if it wants a key, `AI365VIP_API_KEY`. The public site turns API clients away (403).

        ```bash
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
            Texts before which the reply is cut, on this side: its prose, or the text of an
            object. One inside a tool call or reasoning is a part of it.
        system_prompt: str
            Sent when a conversation has no system message.
        token_limit: int | None
            Context size in tokens by which the server would drop old messages in silence;
            a longer conversation is refused before it is sent. Default: none is sent that
            could drop anything.
        special_tokens: Literal["escape", "raise", "send"]
            What to do with the five strings (`<|endoftext|>` …) that make the reference
            server fail.
        reasoning: bool | Literal["opened"]
            Whether `<think>...</think>` in a reply becomes reasoning blocks. Default: text.
            `"opened"`: replies begin inside reasoning and hold only its end, because the chat
            template writes `<think>` itself (Qwen3-thinking, DeepSeek-R1). A reply that does
            not end it is reasoning as a whole.
        estimate_usage: bool
            Whether replies carry an estimated `usage_metadata`. Default: none, for the wire
            reports none, and an estimate must not be billed as a fact.
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
            Bound on open connections. Default: none. A call waits for a free one, unless
            `timeout` has a `pool`, which a number sets too.
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

    Tool calling:
        ```python
        from langchain_core.tools import tool


        @tool
        def add(a: int, b: int) -> int:
            '''Add two numbers.'''
            return a + b


        model.bind_tools([add]).invoke("What is 1 + 2?").tool_calls
        # [{"name": "add", "args": {"a": 1, "b": 2}, "id": "call_…", "type": "tool_call"}]
        ```

        The wire has no tools: they are described in the prompt, and calls are read out of
        the text. Whether a model follows depends on the model.

    Structured output:
        ```python
        from pydantic import BaseModel


        class Joke(BaseModel):
            '''A joke.'''

            setup: str
            punchline: str


        model.with_structured_output(Joke).invoke("Tell me a joke about cats.")
        # Joke(setup="…", punchline="…")
        ```

    Token usage:
        ```python
        model.invoke("Hi", estimate_usage=True).usage_metadata
        # {"input_tokens": 18, "output_tokens": 2, "total_tokens": 20}
        ```

    Response metadata:
        ```python
        model.invoke("Name three colors.").response_metadata
        # {"model_name": "gpt-4o", "model_provider": "ai365vip", "finish_reason": "stop"}
        ```

        `finish_reason` is "tool_calls" for a reply with calls to carry out, "length" for one
        that `max_tokens` cut here or that ended inside a call or an object. "stop" means that
        it ended cleanly: all that this wire says.

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

    base_url: str = Field(
        default_factory=lambda: os.environ.get("AI365VIP_BASE_URL", "").strip() or PUBLIC_URL,
        validate_default=True,
    )
    """Root of the server. Read from `AI365VIP_BASE_URL` when not given; if that is empty or not
    set either, the public site."""

    api_key: SecretStr | None = Field(
        default_factory=secret_from_env("AI365VIP_API_KEY", default=None)
    )
    """Key for the endpoint. Read from `AI365VIP_API_KEY` when not given."""

    proxy: SecretStr | None = Field(
        default_factory=secret_from_env("AI365VIP_PROXY", default=None), validate_default=True
    )
    """URL of a proxy. Read from `AI365VIP_PROXY` when not given; without either, the usual
    environment variables (`HTTPS_PROXY`, `NO_PROXY` …) count, but never for loopback hosts."""

    temperature: float | None = Field(default=DEFAULT_TEMPERATURE, ge=0, allow_inf_nan=False)
    """Sampling temperature; `None` leaves it to the server."""

    system_prompt: str = DEFAULT_PROMPT
    """System prompt of conversations without a system message."""

    stop: Annotated[list[str] | None, BeforeValidator(as_list)] = Field(
        default=None, validation_alias=AliasChoices("stop", "stop_sequences")
    )
    """Texts before which the reply is cut, on this side."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Approximate bound on the tokens of a reply, on this side."""

    timeout: Annotated[float | Timeout | None, AfterValidator(checked_timeout)] = None
    """Seconds of inactivity allowed in each step, or a `Timeout`."""

    max_retries: int = Field(default=2, ge=0)
    """Retries (not attempts) of a call that failed before its first text."""

    streaming: bool | None = None
    """`True`: `invoke` and `ainvoke` stream internally, for callbacks that want tokens. `False`:
    `stream` and `astream` yield one whole message. `None`: each does as its name says."""

    default_headers: Mapping[str, SecretStr] | None = Field(default=None, exclude=True)
    """Further request headers. Their values are treated as secrets."""

    extra_body: Annotated[dict[str, Any] | None, AfterValidator(checked_extra_body)] = None
    """Further top-level fields of the request's JSON; they win over this class's own."""

    token_limit: int | None = Field(default=None, gt=0)
    """Context size in tokens; a conversation that the server would trim is refused."""

    max_connections: int | None = Field(default=None, gt=0)
    """Bound on the connections open at a time; `None`: none. A call that waits longer for a
    free one than `timeout`'s `pool` is an error."""

    special_tokens: SpecialTokens = "escape"
    """What to do with strings that make the reference server fail."""

    reasoning: bool | Literal["opened"] = False
    """Whether `<think>...</think>` in a reply becomes reasoning blocks instead of text; `"opened"`
    where the chat template writes `<think>`, so that a reply begins inside reasoning."""

    estimate_usage: bool = False
    """Whether replies carry `usage_metadata`, estimated: the wire reports none."""

    ca_bundle: str | None = None
    """Path of a PEM file of certificate authorities to trust."""

    ssl_context: ssl.SSLContext | None = Field(default=None, exclude=True, repr=False)
    """A TLS context to use; such a model cannot be pickled."""

    # -- construction ------------------------------------------------------------------

    if TYPE_CHECKING:
        # Type checkers know neither aliases nor what pydantic converts. A test holds `Arguments`
        # to the fields.
        def __init__(self, **kwargs: Unpack[Arguments]) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _warn_of_unknown_arguments(cls, values: Any) -> Any:
        """Name misspelt arguments, never their values: core would drop them in silence."""
        if isinstance(values, Mapping):
            check_arguments(cls, values)
        return values

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        return check_base_url(value, "base_url (or AI365VIP_BASE_URL)")

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        proxy = check_proxy(_revealed(value), "proxy (or AI365VIP_PROXY)")
        return None if proxy is None else SecretStr(proxy)

    @field_validator("default_headers")
    @classmethod
    def _check_headers(
        cls, value: Mapping[str, SecretStr] | None
    ) -> Mapping[str, SecretStr] | None:
        check_headers({name: each.get_secret_value() for name, each in (value or {}).items()})
        return value

    @model_validator(mode="after")
    def _set_ai365vip_version(self) -> Self:
        self._add_version("langchain-ai365vip", __version__)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field, and drop the serialized form that core keeps in `_serialized`."""
        self.__dict__.pop("_serialized", None)
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[Any, Any]:
        """Refuse what cannot be pickled, with a sentence; a pickle holds the key in clear."""
        self._refuse_ssl_context()
        return super().__getstate__()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Refuse a deep copy as a pickle is refused; pydantic makes it in another way."""
        self._refuse_ssl_context()
        return super().__deepcopy__(memo)

    def _refuse_ssl_context(self) -> None:
        if self.ssl_context is not None:
            raise TypeError(
                "A ChatAI365VIP with an ssl_context cannot be pickled or deep-copied, because "
                "an SSLContext cannot. Pass ca_bundle, the path of a PEM file, instead."
            )

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
        """Say whether `dumpd` and `load` work; they do."""
        return True

    def __repr_args__(self) -> Any:
        """Show the model, and what else is set; not what LangChain derives from it."""
        yield "model", self.model
        for name, value in super().__repr_args__():
            if name == "metadata":
                value = {key: each for key, each in value.items() if key != "lc_versions"} or None
            if name not in ("model", "profile") and value is not None:
                yield name, value

    @property
    def _llm_type(self) -> str:
        return "ai365vip-chat"

    def _resolve_model_profile(self) -> ModelProfile | None:
        return model_profile(self.model)

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return identifying_params(self)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        kwargs = given_settings(kwargs)
        params = super()._get_ls_params(stop=self.stop if stop is None else stop, **kwargs)
        # Equal to response_metadata["model_provider"]: middleware compares the two.
        params["ls_provider"] = PROVIDER
        # A call's None means that nothing is sent; core takes it for "not given".
        if kwargs.get("temperature", 0) is None:
            params.pop("ls_temperature", None)
        if kwargs.get("max_tokens", 0) is None:
            params.pop("ls_max_tokens", None)
        return params

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # Core's would follow a changed time limit, which changes no answer, and would not follow a
        # list or dict that was changed in place.
        return cache_key(dumpd(self), stop, kwargs)

    # -- the one stream, and what folds it ---------------------------------------------

    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        # Not itself a generator: one frame less for each chunk. Core announces chunks to callbacks
        # itself, and passes a run_manager in the streams of its events' version 3 only.
        chunks = self._run(messages, stop, run_manager, kwargs).chunks()
        return chunks if run_manager is None else announcing(chunks, run_manager)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        run = self._run(messages, stop, run_manager, kwargs)
        for chunk in _sync.iterate(run.chunks):
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
        return await _folded(self._run(messages, stop, run_manager, kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        run = self._run(messages, stop, run_manager, kwargs)
        return _sync.run(lambda: _folded(run))

    def _run(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        run_manager: AsyncCallbackManagerForLLMRun | CallbackManagerForLLMRun | None,
        kwargs: Mapping[str, Any],
    ) -> Run:
        """Lay a call's own settings over the model's, and make it ready to be sent."""
        settings = settings_of_call(self, stop, kwargs)
        payload, rules = request_of(messages, settings, kwargs)
        client = self._client(settings["timeout"], settings["max_retries"])
        return Run(
            model=settings["model"],
            payload=payload,
            rules=rules,
            open=functools.partial(
                client.open,
                on_retry=log_retry if run_manager is None else run_manager.on_retry,
                admit=admission(self.rate_limiter),
            ),
            counter=functools.partial(self._counter, settings["model"]),
            estimate_usage=settings["estimate_usage"],
        )

    def _client(self, timeout: Timeout | float | None, max_retries: int) -> AI365VIP:
        if "base_url" not in self.model_fields_set and self.base_url == PUBLIC_URL:
            warn_of_the_public_site()
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

    # -- tools and objects -------------------------------------------------------------

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools that the model may call.

        The wire has no tools: they are described in the system prompt (in the convention of
        Hermes and Qwen models), and calls are read out of the reply.

        Args:
            tools: Tools in any form that LangChain knows: `BaseTool`s, functions, pydantic
                classes, `TypedDict`s, JSON schemas, OpenAI and Anthropic dicts. An empty
                list binds none.
            tool_choice: `"auto"` (default), `"none"`, `"any"` or `"required"`, a tool's
                name, `True`, `False`, or a dict in OpenAI's or Anthropic's form. A forced
                choice is enforced: a reply without a call is asked for once more, and then
                is an `AI365VIPOutputError`. `None` and `False` are `"auto"`, `True` is
                `"any"`, as in `ChatOpenAI`.
            strict: `True` and `False` are put into the tools' schemas, as
                `convert_to_openai_tool` does; `True` also allows no further fields in them.
                The wire has no stricter mode. Default `None`: left out.
            parallel_tool_calls: `False` tells the model to make one call, and ends the reply
                after its first one. Default `None`: any number.
            **kwargs: Further settings of the call, such as `response_format`.

        Returns:
            A runnable that answers with messages. Their `tool_calls` are the calls that could
            be read, `invalid_tool_calls` those that could not, even when they were asked for
            once more. Arguments of a tool that has a class or a function are as the model
            wrote them, for LangChain to check; those of a tool that has only a JSON schema
            fit it.

        Raises:
            ValueError: A tool of a provider's own, such as OpenAI's web search, which this
                endpoint cannot run; an unknown `tool_choice`. Two tools of one name are
                refused when they are used.
        """
        bound = to_openai_tools(tools, strict=strict)
        names = [tool["function"]["name"] for tool in bound]
        normalise_tool_choice(tool_choice, names)  # raises for one that there is not
        settings = {"tool_choice": tool_choice, "parallel_tool_calls": parallel_tool_calls}
        given = {name: value for name, value in settings.items() if value is not None}
        # LangChain checks their arguments; those of the others, by their schema, are checked here.
        classes = [name for name, tool in zip(names, tools, strict=True) if has_class(tool)]
        return self.bind(tools=bound, tools_with_class=classes, **given, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Literal["function_calling", "json_schema", "json_mode"] = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        partial_objects: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Return a runnable that answers with objects of a schema.

        Args:
            schema: A pydantic class (v2 or v1), a `TypedDict`, a JSON schema or an OpenAI
                tool. May be left out with `method="json_mode"` only.
            method: `"function_calling"` has the model call a tool with the object as its
                arguments; `"json_schema"` shows it the schema and reads its text;
                `"json_mode"` only asks for a JSON object: say in the prompt which.
            include_raw: Return `{"raw", "parsed", "parsing_error"}`, and do not raise when
                there is no such object: `parsed` is then `None`.
            strict: Put into the tool's schema, as `convert_to_openai_tool` does. The other
                methods show the schema as it is: on this wire there is no stricter mode.
            partial_objects: Stream the object as it grows. An object that does not fit is
                then not asked for again. Not for `"function_calling"`.
            **kwargs: Further settings of the call. Tools are none of them: bind those, with a
                `response_format`.

        Returns:
            A runnable that gives instances of a pydantic class, dicts otherwise. An object
            that does not fit its schema is asked for once more within the same call, with
            what is wrong with it. One that then does not fit is an `AI365VIPOutputError` (a
            call) or LangChain's `OutputParserException` (a text), in streams too.

        Raises:
            ValueError: A method that there is not, no schema where one is needed, tools among
                the settings, or `partial_objects` with `"function_calling"`.
        """
        return structured_output(
            self,
            schema,
            kwargs,
            method=method,
            include_raw=include_raw,
            strict=strict,
            partial_objects=partial_objects,
        )

    # -- counting ----------------------------------------------------------------------

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of a text: the model's own with the extra `[tokens]`.

        For a model whose vocabulary is not known they are those of cl100k_base; without the
        extra, UTF-8 bytes stand in for them. Honours `custom_get_token_ids`.

        Args:
            text: Any text.

        Returns:
            The ids, in order. On an event loop's thread a vocabulary that was not used before
            is not read from disk, which takes half a second: bytes stand in for it, too.
        """
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        return token_ids(text, self.model, may_load=not _sync.on_event_loop())

    def get_num_tokens(self, text: str) -> int:
        """Count the tokens of a text: exactly with the extra `[tokens]`, else estimated.

        Args:
            text: Any text.

        Returns:
            Tokens of the model. Estimated, it is about a tenth off for English, code and
            markup, up to four tenths for some scripts (measured against OpenAI's models).
        """
        if self.custom_get_token_ids is not None:
            return len(self.custom_get_token_ids(text))
        return best_counter(self.model, may_load=not _sync.on_event_loop())(text)

    def get_num_tokens_from_messages(
        self,
        messages: Sequence[BaseMessage],
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """Count what messages, and the description of tools, take on the wire.

        Args:
            messages: The conversation. A block that the wire cannot carry counts as the line
                that stands in its place.
            tools: Tools as for `bind_tools`.

        Returns:
            Tokens, with what OpenAI's chat format spends on each message and on the reply's
            opening; 0 for no messages.
        """
        return count_message_tokens(
            messages, tools, count=self.get_num_tokens, system_prompt=self.system_prompt
        )

    async def _counter(self, model: str) -> Callable[[str], int]:
        if self.custom_get_token_ids is not None:
            return self.get_num_tokens
        # A vocabulary comes from disk.
        return await asyncio.to_thread(best_counter, model)

    # -- beyond answering --------------------------------------------------------------

    async def alist_models(self) -> list[AvailableModel]:
        """Ask the endpoint for its models (`POST /api/models`).

        Returns:
            Each with its `id`, which `model` takes, and its `name`. Endpoints may answer to
            further ids.

        Raises:
            AI365VIPError: The request failed, after `max_retries`, or the answer is not a list
                of models: not every endpoint offers this call.
        """
        return await self._client(self.timeout, self.max_retries).list_models()

    def list_models(self) -> list[AvailableModel]:
        """Ask the endpoint for its models; see `alist_models`."""
        return _sync.run(self.alist_models)

    async def aclose(self) -> None:
        """Close the idle connections of this event loop and of the sync methods' one.

        Also at the end of `async with`. Optional: they close by themselves, with the loop and
        after 4 s of idleness. Streams that are being read, by this model or another, go on; the
        model stays usable.
        """
        await self._client(self.timeout, self.max_retries).aclose()
        if _sync.is_running():
            # Off this loop: that of the sync methods may be busy.
            await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Close the idle connections of the sync methods; so does the end of `with`."""
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


async def _folded(run: Run) -> ChatResult:
    # Not core's agenerate_from_stream, which merges on another thread.
    result = generate_from_stream(iter([chunk async for chunk in run.chunks()]))
    message = result.generations[0].message
    if isinstance(message, AIMessage):
        with_errors(message)
    return result


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
