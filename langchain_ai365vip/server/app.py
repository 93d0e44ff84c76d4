"""`create_app`: a model and its options made into an aiohttp application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, TypedDict, get_args

from aiohttp import web
from langchain_core.runnables.base import RunnableLike
from pydantic import SecretStr

from langchain_ai365vip.server.access import Access
from langchain_ai365vip.server.endpoint import Endpoint, RequestLimits
from langchain_ai365vip.server.models import ClientPrompt, TextSource

Model: TypeAlias = RunnableLike[Any, Any] | Mapping[str, RunnableLike[Any, Any]]


class AppOptions(TypedDict, total=False):
    """The options of `create_app`, for those who pass them on."""

    model_id: str | None
    default: str | None
    client_prompt: ClientPrompt
    api_key: str | SecretStr | None
    allowed_origins: Iterable[str]
    allowed_hosts: Iterable[str]
    max_body_size: int
    max_concurrency: int
    body_timeout: float
    send_timeout: float
    page: bool
    plain_http_front_end: bool
    debug: bool


MAX_BODY_SIZE: Final = 4 * 1024 * 1024
MAX_CONCURRENCY: Final = 100
BODY_TIMEOUT: Final = 30.0
SEND_TIMEOUT: Final = 60.0


def create_app(
    model: Model,
    *,
    model_id: str | None = None,
    default: str | None = None,
    client_prompt: ClientPrompt = "auto",
    api_key: str | SecretStr | None = None,
    allowed_origins: Iterable[str] = (),
    allowed_hosts: Iterable[str] = (),
    max_body_size: int = MAX_BODY_SIZE,
    max_concurrency: int = MAX_CONCURRENCY,
    body_timeout: float = BODY_TIMEOUT,
    send_timeout: float = SEND_TIMEOUT,
    page: bool = True,
    plain_http_front_end: bool = False,
    debug: bool = False,
) -> web.Application:
    """Put a LangChain model behind `POST /api/chat` and `POST /api/models`.

    The reply streams token by token as plain UTF-8. A model that fails before its first
    text gets its true status; one that fails later has its connection cut, so that no
    client takes half an answer for a whole one (a browser's page gets a last line that says
    so, see `plain_http_front_end`). The log has the traceback of every failure, and, at
    level INFO under `langchain_ai365vip.server.access`, a line for each request.

    Run the application with `handler_cancellation=True` (`LocalServer` does), or a client
    that goes away is noticed only when the model yields the next token:
    `web.run_app(create_app(model), host="127.0.0.1", handler_cancellation=True)`.

    Args:
        model: What answers: a chat model, a chain that takes the list of messages or
            starts with a prompt that has one messages placeholder, a function or
            generator of messages, or a LangGraph graph with `messages` in its state (an
            agent). Its output is AI messages or strings. It answers whatever model id a
            client asks for. A mapping of ids to such models answers 404 to other ids.
            A generator function gets the list of messages, too.
        model_id: The id that `/api/models` lists for a single model; by default the
            model's own name, or "langchain".
        default: The id in a mapping whose model answers to ids that are not in it.
        client_prompt: What becomes of clients' system prompts: "use" or "drop" them, or
            "auto": used, except that a graph or an agent, which has a prompt of its own, does
            not get the text that Chatbot UI sends by default ("You are ChatGPT, …").
        api_key: The key that requests must carry. Without one any key is accepted, and
            only connections that reach this machine by a loopback address are served.
        allowed_origins: Web origins besides the endpoint's own, as `https://example.com`,
            whose pages may call it; `"*"` for any.
        allowed_hosts: Names besides `localhost` and plain IP addresses that the `Host`
            header may hold; `"*"` for any. Others are refused, against DNS rebinding.
        max_body_size: Bytes that a request's body may have, else 413. Default 4 MiB.
        max_concurrency: Replies that may be under way at once, else 503 with `Retry-After`.
            Default 100.
        body_timeout: Seconds for a request's body to arrive, else 408. Default 30.
        send_timeout: Seconds without progress after which a client that does not read its
            reply is cut off. Default 60.
        page: Serve a small page at `/` on which a person can try the model.
        plain_http_front_end: Of a reply that fails half-way, tell every browser in a last
            line. Where browsers say that a page asks (over HTTPS, and on this machine) that
            is done without it, because Chatbot UI's code waits for ever when a reply is cut.
        debug: Send the exception's own message to clients. It may hold secrets of the
            model's provider.

    Returns:
        The application, to be run by `web.run_app` or mounted in another one.

    Raises:
        TypeError: The model is none, or the key no text.
        ValueError: An option cannot be what it is; the message says why.
    """
    sources = _sources(model, model_id, client_prompt)
    access = Access(api_key, allowed_origins, allowed_hosts)
    limits = RequestLimits(
        positive(max_body_size, "max_body_size"),
        positive(max_concurrency, "max_concurrency"),
        positive(body_timeout, "body_timeout"),
        positive(send_timeout, "send_timeout"),
    )
    endpoint = Endpoint(
        sources,
        default=_default(model, sources, default),
        access=access,
        limits=limits,
        plain_http_front_end=plain_http_front_end,
        debug=debug,
    )
    return endpoint.application(page=page)


def _sources(
    model: Model, model_id: str | None, client_prompt: ClientPrompt
) -> dict[str, TextSource]:
    if client_prompt not in get_args(ClientPrompt):
        raise ValueError(f'client_prompt is {client_prompt!r}; it must be "auto", "use" or "drop"')
    if isinstance(model, Mapping):
        if not model:
            raise ValueError("the mapping of models is empty; it needs at least one")
        if model_id is not None:
            raise ValueError("model_id is for one model; in a mapping the keys are the ids")
        return {name: TextSource(one, client_prompt) for name, one in model.items()}
    source = TextSource(model, client_prompt)
    return {model_id or source.name or "langchain": source}


def _default(model: Model, sources: dict[str, TextSource], default: str | None) -> str | None:
    """Return the id whose model answers to ids that are not listed."""
    if default is not None and default not in sources:
        raise ValueError(f"default is {default!r}, which is no model's id: {', '.join(sources)}")
    return default if isinstance(model, Mapping) else next(iter(sources))


def positive(value: Any, option: str) -> Any:
    """Return an option's value, or raise a `ValueError` that names the option."""
    if not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"{option} is {value!r}; it must be a number greater than 0")
    return value
