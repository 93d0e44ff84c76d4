"""`AI365VIP`, the wire client: a request, retried if need be, and its reply as text."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import ssl
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

from multidict import CIMultiDict
from typing_extensions import Self
from yarl import URL

from langchain_ai365vip._transport.attempt import Attempt, Request
from langchain_ai365vip._transport.checks import check_base_url, check_headers, check_proxy
from langchain_ai365vip._transport.failures import place, shown_body
from langchain_ai365vip._transport.log import AttemptLog, described, logged, logger
from langchain_ai365vip._transport.pool import ConnectionSettings, sessions_of
from langchain_ai365vip._transport.proxy import Proxy, environment_proxy, refuse_tls_in_tls
from langchain_ai365vip._transport.reply import Reply
from langchain_ai365vip._transport.retries import OnRetry, with_retries
from langchain_ai365vip._transport.secrets import Redactor
from langchain_ai365vip._transport.timeouts import Timeout
from langchain_ai365vip._transport.tls import verification
from langchain_ai365vip._wire import facts
from langchain_ai365vip._wire import payload as payloads
from langchain_ai365vip._wire.cutter import ReplyCutter
from langchain_ai365vip._wire.tokens import best_counter, server_counter, utf8_length
from langchain_ai365vip.errors import (
    AI365VIPContextOverflowError,
    AI365VIPInvalidRequestError,
    AI365VIPResponseError,
)

_LONGEST_LIST: Final = 16_000_000

Admit = Callable[[], Awaitable[None]]


class AvailableModel(NamedTuple):
    """A model that an endpoint lists.

    Attributes:
        id: What `model` takes.
        name: What a menu shows.
    """

    id: str
    name: str


@dataclass(frozen=True)
class AI365VIP:
    """Client of an endpoint that speaks the AI365VIP (Chatbot UI v1) protocol.

    The class attributes and `create_async_generator` are those of the gpt4free provider
    that it grew from, so it can be used in its place. `ChatAI365VIP` composes an instance.

    Attributes:
        base_url: Root of the server; `/api/chat` is appended.
        api_key: Sent in the body's `key`; empty lets the server use its own.
        proxy: `http://`, `https://`, `socks4://` or `socks5://` URL, with credentials if
            need be. `None`: the environment's proxies, except for loopback hosts.
        timeout: Time limits.
        headers: Further request headers.
        max_retries: Retries (not attempts) of a request that failed before its first text.
        max_connections: Bound on open connections; `None`: none. A request that waits longer
            for a free one than `timeout`'s `pool` is an error.
        tls: `None` verifies against the system's authorities; otherwise the context to use.
        ca_bundle: Path of a PEM file of authorities to trust instead.

    Example:
        ```python
        async for chunk in AI365VIP.create_async_generator(
            model="gpt-4o",
            messages=[{"role": "user", "content": "Hello"}],
            base_url="http://127.0.0.1:3000",
        ):
            print(chunk, end="")
        ```
    """

    url: ClassVar[str] = facts.PUBLIC_URL
    api_endpoint: ClassVar[str] = facts.CHAT_PATH
    # Whether the public site answers API clients: in 2026 it is reported not to (403).
    working: ClassVar[bool] = False
    default_model: ClassVar[str] = facts.DEFAULT_MODEL
    models: ClassVar[list[str]] = list(facts.MODELS)
    model_aliases: ClassVar[dict[str, str]] = dict(facts.MODEL_ALIASES)

    base_url: str = facts.PUBLIC_URL
    api_key: str = field(default="", repr=False)
    proxy: str | None = field(default=None, repr=False)
    timeout: Timeout = field(default_factory=Timeout)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_retries: int = 2
    max_connections: int | None = None
    tls: ssl.SSLContext | None = None
    ca_bundle: str | None = None

    def __post_init__(self) -> None:
        """Refuse settings that no request could be made with.

        Raises:
            ValueError: One of them is out of range; the message names it, not its value.
        """
        object.__setattr__(self, "base_url", check_base_url(self.base_url))
        object.__setattr__(self, "proxy", check_proxy(self.proxy))
        if not isinstance(self.timeout, Timeout):
            raise ValueError("timeout must be a Timeout: Timeout.of(seconds) makes one")
        check_headers(self.headers)
        payloads.check_number("max_retries", self.max_retries, at_least=0)
        if self.max_connections is not None:
            payloads.check_number("max_connections", self.max_connections, at_least=1)

    @classmethod
    def get_models(cls) -> list[str]:
        """Return the ids of the source system's model table."""
        return list(cls.models)

    @classmethod
    def get_model(cls, name: str = "") -> str:
        """Return the id that is sent for a name: the default, an alias's target, or itself.

        Args:
            name: A model's id or alias; empty stands for the default.
        """
        return cls.model_aliases.get(name or cls.default_model, name or cls.default_model)

    @classmethod
    async def create_async_generator(
        cls,
        model: str,
        messages: Iterable[Mapping[str, Any]],
        proxy: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str = "",
        temperature: float | None = facts.DEFAULT_TEMPERATURE,
        system_prompt: str = facts.DEFAULT_PROMPT,
        timeout: Timeout | float | None = None,
        headers: Mapping[str, str] | None = None,
        max_retries: int = 2,
        token_limit: int | None = None,
        special_tokens: facts.SpecialTokens = "escape",
        stop: str | Sequence[str] | None = None,
        max_tokens: int | None = None,
        stream: bool = True,
        response_format: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[str]:
        """Yield the text of a reply as it arrives.

        Args:
            model: The model's name; aliases resolve (`model_aliases`), other ids pass through,
                an empty one is `default_model`.
            messages: `{"role", "content"}` dicts; system messages become the prompt.
            proxy: See the class.
            base_url: Root of the server. Default: the public site.
            api_key: The key, sent in the body.
            temperature: Sampling temperature, 0 or more. Default 1; `None` leaves it to the
                server.
            system_prompt: Used when `messages` has no system message.
            timeout: A `Timeout`, or seconds of inactivity in each step. Default: `Timeout()`.
            headers: Further request headers; they win over this class's own.
            max_retries: Retries before the first text, where they may help. Default 2.
            token_limit: Context size by which the server would trim history; a longer
                conversation is refused here.
            special_tokens: What to do with strings that make the reference server fail:
                "escape" adds one visible character and warns, "raise" refuses them, "send"
                sends them.
            stop: Texts before which the reply is cut, here (the wire has no such field).
            max_tokens: Approximate bound on the reply's tokens, enforced here.
            stream: `False` yields the reply in one piece.
            response_format: Not on this wire; ignored with a warning.

        Raises:
            AI365VIPError: See `langchain_ai365vip.errors`.
            TypeError: An argument that is not listed above.
            ValueError: An argument out of range, or a message that the wire cannot carry.
        """
        if response_format is not None:
            warnings.warn(_NO_RESPONSE_FORMAT, stacklevel=2)
        client = cls(
            base_url=cls.url if base_url is None else base_url,
            api_key=api_key,
            proxy=proxy,
            timeout=Timeout.of(timeout),
            headers=headers or {},
            max_retries=max_retries,
        )
        model = cls.get_model(model)
        cutter = ReplyCutter(stop or (), max_tokens, best_counter(model, may_load=False))
        payload = _payload(
            messages,
            system_prompt,
            special_tokens,
            model=model,
            temperature=temperature,
            token_limit=token_limit,
        )
        async with contextlib.aclosing(_cut(await client.open(payload), cutter)) as texts:
            if stream:
                async for text in texts:
                    yield text
            elif whole := "".join([text async for text in texts]):
                yield whole

    async def open(
        self,
        payload: Mapping[str, Any],
        *,
        on_retry: OnRetry | None = None,
        admit: Admit | None = None,
    ) -> Reply:
        """Send a conversation and return its reply, once its first text is there.

        Args:
            payload: What `payloads.chat_payload` builds; `key` is filled in here.
            on_retry: Called before each retry.
            admit: Awaited before each attempt, retries too: what bounds their rate.

        Returns:
            The reply, to be read by `read()` and closed by `close()`.

        Raises:
            AI365VIPContextOverflowError: The server would drop a part of the conversation;
                nothing was sent.
            AI365VIPError: The request failed, after the retries.
        """
        await _refuse_what_the_server_would_trim(payload)
        request = self._request(facts.CHAT_PATH, payload, described(payload))
        return await self._open_with_retries(request, on_retry, admit)

    async def list_models(self) -> list[AvailableModel]:
        """Ask the endpoint for its models (`POST /api/models`).

        Raises:
            AI365VIPError: The request failed, or the answer is not a list of models.
        """
        request = self._request(facts.MODELS_PATH, {}, "list of models")
        body = await self._text(request)
        models = _models_in(body)
        if models is not None:
            return models
        long = f", in its first {_LONGEST_LIST:,} characters" if len(body) > _LONGEST_LIST else ""
        redact = self._redactor(self._proxy_for(request.url))
        raise AI365VIPResponseError(
            f"{request.url} did not answer with a list of models, each with an id and a name"
            f"{long}. The endpoint may not offer this call.",
            status_code=200,
            body=shown_body(body, redact),
        )

    async def _text(self, request: Request) -> str:
        reply = await self._open_with_retries(request)
        length = 0
        try:
            # A body without an end would fill the memory.
            while length <= _LONGEST_LIST and (more := len(await reply.read())):
                length += more
        finally:
            reply.close()
        return reply.partial_text

    async def aclose(self) -> None:
        """Close this event loop's idle connections with these settings.

        Optional: they close by themselves, with the loop and after 4 s of idleness. Streams
        that are being read, by this client or another, go on; the client stays usable.
        """
        settings = self._settings(self._proxy_for(URL(self.base_url)))
        await sessions_of(asyncio.get_running_loop()).retire(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _request(self, path: str, payload: Mapping[str, Any], about: str) -> Request:
        address = _address(self.base_url, path)
        body = _encoded(payload, self.api_key)
        headers = _headers(address.origin, address.referer)
        if self.headers:
            # Without regard to case: the caller's header replaces ours.
            headers = CIMultiDict(headers)
            headers.update(self.headers)
        return Request(address.url, body, headers, about)

    async def _open_with_retries(
        self, request: Request, on_retry: OnRetry | None = None, admit: Admit | None = None
    ) -> Reply:
        return await with_retries(
            functools.partial(self._open_once, request, admit),
            max_retries=self.max_retries,
            on_retry=on_retry,
        )

    async def _open_once(self, request: Request, admit: Admit | None, retry: int) -> Reply:
        if admit is not None:
            await admit()
        proxy = self._proxy_for(request.url)
        redact = self._redactor(proxy)
        attempt = Attempt(
            self.timeout,
            settings=self._settings(proxy),
            proxy=proxy,
            tls=await verification(self.tls, self.ca_bundle),
            redact=redact,
        )
        if not logger.isEnabledFor(logging.DEBUG):
            return await attempt.reply(request)
        return await logged(
            attempt.reply(request), AttemptLog(place(request.url, redact), request.about, retry)
        )

    def _proxy_for(self, url: URL) -> Proxy | None:
        proxy = Proxy(URL(self.proxy)) if self.proxy else environment_proxy(url)
        if proxy is not None:
            refuse_tls_in_tls(proxy, url)
        return proxy

    def _redactor(self, proxy: Proxy | None) -> Redactor:
        login = (None, None) if proxy is None else (proxy.url.user, proxy.url.password)
        return Redactor(self.api_key, self.headers, login)

    def _settings(self, proxy: Proxy | None) -> ConnectionSettings:
        socks = proxy if proxy is not None and proxy.is_socks else None
        return ConnectionSettings(self.max_connections, socks)


_NO_RESPONSE_FORMAT: Final = (
    "response_format does not exist on the AI365VIP wire and is ignored; describe the format in "
    "the prompt, or use ChatAI365VIP.with_structured_output."
)


def _payload(
    messages: Iterable[Mapping[str, Any]],
    system_prompt: str,
    special_tokens: facts.SpecialTokens,
    **settings: Any,
) -> dict[str, Any]:
    conversation = payloads.split_conversation(messages, system_prompt)
    prompt, turns, escaped = payloads.check_special_tokens(*conversation, special_tokens)
    if escaped:
        warnings.warn(facts.ESCAPED, stacklevel=3)
    return payloads.chat_payload(messages=turns, prompt=prompt, **settings)


async def _cut(reply: Reply, cutter: ReplyCutter) -> AsyncGenerator[str, None]:
    """Yield what may be shown of a reply, and close it as soon as that is all."""
    with contextlib.closing(reply):
        while cutter.finish_reason is None and (text := await reply.read()):
            text = cutter.feed(text)
            if cutter.finish_reason is not None:
                reply.close()  # before the caller gets the last text, who may take time over it
            if text:
                yield text
        if rest := cutter.flush():
            yield rest


class _Address(NamedTuple):
    url: URL
    origin: str
    referer: str


@functools.lru_cache(maxsize=64)
def _address(base_url: str, path: str) -> _Address:
    base = URL(base_url.rstrip("/"))
    return _Address(base.joinpath(path.lstrip("/")), str(base.origin()), f"{base}/en")


def _models_in(text: str) -> list[AvailableModel] | None:
    """Return the models in a body; `None` where it is not a list of them."""
    try:
        return [AvailableModel(str(m["id"]), str(m["name"])) for m in json.loads(text)]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _encoded(payload: Mapping[str, Any], key: str) -> bytes:
    """Write a payload with the key in it.

    Raises:
        AI365VIPInvalidRequestError: That cannot be done.
    """
    try:
        text = json.dumps({**payload, "key": key}, ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (ValueError, TypeError, RecursionError) as exc:  # UnicodeEncodeError is a ValueError
        why = "a text holds half a character" if isinstance(exc, UnicodeError) else str(exc)
        # Not chained: a UnicodeEncodeError holds the whole body, with the key.
        raise AI365VIPInvalidRequestError(
            f"The request cannot be written as JSON in UTF-8: {why}. Take it out of the "
            "messages or extra_body."
        ) from None


@functools.lru_cache(maxsize=64)
def _headers(origin: str, referer: str) -> CIMultiDict[str]:
    """Return the headers of requests to an endpoint: one mapping for all, not to be changed."""
    return CIMultiDict(
        {
            "Content-Type": "application/json",
            "Accept": "*/*",
            # Compression saves nothing on pieces of a few bytes, and a compressed body that was
            # cut cannot be told from a whole one. aiohttp undoes what comes all the same.
            "Accept-Encoding": "identity",
            "Origin": origin,
            "Referer": referer,
        }
    )


async def _refuse_what_the_server_would_trim(payload: Mapping[str, Any]) -> None:
    limit = payloads.token_limit_of(payload)
    # Bytes first: never fewer than tokens, and counted in no time.
    if limit is None or not _trims(payload, limit, utf8_length):
        return
    # A vocabulary comes from disk, and counting a long text takes a while.
    count = await asyncio.to_thread(server_counter)
    if count is not None and not await asyncio.to_thread(_trims, payload, limit, count):
        return
    how = "UTF-8 bytes, never fewer than tokens" if count is None else "the server's tokenizer"
    raise AI365VIPContextOverflowError(
        f"The conversation does not fit token_limit={limit} (counted by {how}, with "
        f"{facts.REPLY_TOKENS} kept for the reply), and the server would drop its oldest "
        "messages without a word. Send a shorter conversation or raise token_limit."
    )


def _trims(payload: Mapping[str, Any], limit: int, count: Callable[[str], int]) -> bool:
    return payloads.trims_history(payload["prompt"], payload["messages"], limit, count)
