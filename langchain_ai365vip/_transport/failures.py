"""What went wrong, as one of our exceptions: from an HTTP answer, or from a transport error.

Measured: the reference server answers every upstream error as `500` with the upstream's
message in the reason phrase and nothing else, so the phrase decides where the status says
nothing. Exceptions built here carry plain data, cut to a bound, with the key redacted.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from langchain_ai365vip import errors
from langchain_ai365vip._transport.pages import is_challenge, is_json_error, looks_like_page
from langchain_ai365vip._transport.secrets import Redactor
from langchain_ai365vip.errors import AI365VIPError

MAX_BODY = 2_000  # characters of an error body worth keeping: enough for any JSON error
MAX_REASON = 500
_MAX_DETAIL = 300
_MAX_RETRY_AFTER = 24 * 3600.0

_Kind = type[AI365VIPError]

# What upstreams say, in the order in which it decides: "context length" errors also speak
# of requests, quota errors also of rates.
_PHRASES: Final[tuple[tuple[re.Pattern[str], _Kind], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (
            r"context[ _](length|window)|maximum context|too many tokens|prompt is too long"
            r"|reduce the length|input is too long",
            errors.AI365VIPContextOverflowError,
        ),
        (
            r"current quota|insufficient[ _](quota|balance|credit)|billing|payment required",
            errors.AI365VIPQuotaError,
        ),
        (
            r"rate[ _-]?limit|too many requests|overloaded|at capacity",
            errors.AI365VIPRateLimitError,
        ),
        (
            r"(incorrect|invalid|missing|wrong|expired)[ _]api[ _]?key|provide an api key"
            r"|invalid[ _]authentication|unauthori[sz]ed|no api ?key",
            errors.AI365VIPAuthenticationError,
        ),
        (
            r"model[^.\n]{0,200}(does not exist|not found)|model_not_found"
            r"|(unknown|no such|unsupported|invalid) model",
            errors.AI365VIPNotFoundError,
        ),
        (
            r"content[ _](management|filter|policy)|safety system|flagged",
            errors.AI365VIPContentFilterError,
        ),
        (
            r"not (have access|allowed|supported in)|permission|forbidden",
            errors.AI365VIPPermissionDeniedError,
        ),
    )
)

_BY_STATUS: Final[Mapping[int, _Kind]] = {
    401: errors.AI365VIPAuthenticationError,
    402: errors.AI365VIPQuotaError,
    403: errors.AI365VIPPermissionDeniedError,
    404: errors.AI365VIPNotFoundError,
    405: errors.AI365VIPNotFoundError,  # a path of static files
    407: errors.AI365VIPProxyError,
    408: errors.AI365VIPTimeoutError,
    429: errors.AI365VIPRateLimitError,
    504: errors.AI365VIPTimeoutError,
}

# With these a phrase may say more than the status does; with the others the status is clear.
_VAGUE_STATUS: Final = frozenset({400, 403, 413, 422, 429, 500, 502, 503})

_ADVICE: Final[Mapping[_Kind, str]] = {
    errors.AI365VIPContextOverflowError: "Send a shorter conversation, or use a model with a "
    "larger context.",
    errors.AI365VIPQuotaError: "The account behind the key has no credit left: top it up, or use "
    "another key.",
    errors.AI365VIPRateLimitError: "Send fewer requests at a time, or try again later.",
    errors.AI365VIPAuthenticationError: "Check api_key (or AI365VIP_API_KEY).",
    errors.AI365VIPNotFoundError: "Check `model` (list_models() shows what the endpoint has) "
    "and base_url: /api/chat is appended to it.",
    errors.AI365VIPContentFilterError: "The upstream's content policy refused it; rephrase.",
    errors.AI365VIPPermissionDeniedError: "The key, or this client, may not do this here: check "
    "api_key, or ask whoever runs the endpoint.",
    errors.AI365VIPChallengeError: "It lets only browsers in (a Cloudflare challenge), and this "
    "package does not try to get around that. The public site is reported to do this; use an "
    "endpoint of your own through base_url.",
    errors.AI365VIPInvalidRequestError: "The request cannot be served as it is; trying again "
    "does not help. Check the messages and extra_body.",
    errors.AI365VIPAPIError: "The server or its upstream failed; trying again may help.",
    errors.AI365VIPTimeoutError: "Trying again may help, or a larger `timeout`.",
    errors.AI365VIPConnectionError: "Check that base_url is right and its server runs; "
    "trying again may help.",
    errors.AI365VIPProxyError: "Check `proxy`, or the environment's proxies: the address, the "
    "user, the password.",
    errors.AI365VIPTLSError: "Check base_url (its port speaks https?) and the server's "
    "certificate; ca_bundle names a PEM file of further authorities to trust.",
    errors.AI365VIPResponseError: "Check base_url: it must be the root of a server that speaks "
    "the AI365VIP (Chatbot UI v1) protocol at /api/chat.",
}


class Answer(NamedTuple):
    """The plain data of an HTTP answer."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: str


def plain_headers(headers: Mapping[str, str], redact: Redactor) -> dict[str, str]:
    """Return headers as plain data: lower-case names, no cookies, no credentials."""
    return {
        name.lower(): redact(_printable(redact(value)))
        for name, value in headers.items()
        if name.lower() not in {"set-cookie", "cookie", "authorization", "proxy-authorization"}
    }


def answer_error(answer: Answer, url: URL, redact: Redactor) -> AI365VIPError:
    """Build the exception for an HTTP answer that is not a chat reply."""
    reason = _shown(answer.reason, MAX_REASON, redact)
    message = _shown(_message_in(answer.body), MAX_REASON, redact)
    kind, said = _kind(answer, [each for each in (message, _telling(reason)) if each])
    return kind(
        _sentence(
            kind, f"{place(url, redact)} answered {answer.status}{_with(answer)}", said, reason
        ),
        status_code=answer.status,
        reason=reason,
        body=shown_body(answer.body, redact),
        headers=plain_headers(answer.headers, redact),
        retry_after=_retry_after(answer.headers, f"{message}\n{reason}"),
    )


def _with(answer: Answer) -> str:
    """Say what was met in place of a reply, where a good status does not."""
    if answer.status >= 400:
        return ""
    content_type = answer.headers.get("Content-Type")
    if looks_like_page(content_type, answer.body):
        return " with an HTML page, such as for signing in"
    return " with an error in JSON" if is_json_error(content_type, answer.body) else ""


def _kind(answer: Answer, said: Sequence[str]) -> tuple[_Kind, str]:
    """Return the class for an answer, and which of the things that it says decided, if any."""
    first = next(iter(said), "")
    if _is_challenge(answer):
        return errors.AI365VIPChallengeError, first
    if answer.status < 400:
        return errors.AI365VIPResponseError, first
    if answer.status in _VAGUE_STATUS:
        for pattern, kind in _PHRASES:
            if telling := next(filter(pattern.search, said), None):
                return kind, telling
    if answer.status in _BY_STATUS:
        return _BY_STATUS[answer.status], first
    server = answer.status >= 500
    return errors.AI365VIPAPIError if server else errors.AI365VIPInvalidRequestError, first


def _is_challenge(answer: Answer) -> bool:
    if answer.headers.get("cf-mitigated") == "challenge":
        return True
    content_type = answer.headers.get("Content-Type")
    return answer.status in {200, 403, 429, 503} and is_challenge(content_type, answer.body)


def redirect_error(answer: Answer, url: URL, why: str, redact: Redactor) -> AI365VIPError:
    """Build the exception for a redirect that is not followed."""
    target = answer.headers.get("Location", "")
    try:
        shown = _shown(_bare(url.join(URL(target))), MAX_REASON, redact)
    except ValueError:
        shown = "an address that is not a URL"
    return errors.AI365VIPResponseError(
        f"{place(url, redact)} redirects to {shown} ({answer.status}), {why}. The key and the "
        "conversation are in the body, so they are not sent there. If that is the right "
        "server, set base_url to it.",
        status_code=answer.status,
        reason=_shown(answer.reason, MAX_REASON, redact),
        headers={
            name: value
            for name, value in plain_headers(answer.headers, redact).items()
            if name != "location"
        },
    )


def transport_error(
    exc: BaseException,
    url: URL,
    *,
    step: str,
    partial_text: str | None,
    redact: Redactor,
    limit: str = "",
) -> AI365VIPError | None:
    """Translate an exception of aiohttp, ssl, asyncio or the operating system.

    Args:
        exc: The exception.
        url: Where the request went.
        step: What was under way, for the message ("connecting", "reading the reply").
        partial_text: The text received before, when the reply had begun.
        redact: Takes the request's secrets out of the message.
        limit: The time limit of that step, in words, for a timeout that says nothing.

    Returns:
        Ours, or `None` when it is not the network's (a cancellation, a defect).
    """
    if isinstance(exc, AI365VIPError):
        return exc
    exc = _underlying(exc)
    match = _proxy_failure(exc) or next(
        (row[1:] for row in _TRANSPORT if isinstance(exc, row[0])), None
    )
    if match is None:
        return None
    kind, what = match
    detail = _shown(_describe(exc) or limit or type(exc).__name__, _MAX_DETAIL, redact)
    received, advice = "", _advice(kind)
    if partial_text:
        received = f", after {len(partial_text)} characters"
        again = "trying again may help." if getattr(kind, "is_retryable", False) else advice
        advice = f"They are in the error's partial_text; {again[0].lower()}{again[1:]}"
    return kind(
        f"{place(url, redact)}: {what} while {step}{received} ({detail}). {advice}",
        status_code=getattr(exc, "status", None) if kind is errors.AI365VIPProxyError else None,
        partial_text=partial_text,
    )


def _underlying(exc: BaseException) -> BaseException:
    """Return what aiohttp wraps, where that says more: the system's error, a wrong coding."""
    cause = exc.__cause__
    if type(exc) is aiohttp.ClientOSError and isinstance(cause, OSError):
        return cause
    return cause if isinstance(cause, ContentEncodingError) else exc


# What a SOCKS5 proxy replies when the target, not the proxy, is the trouble (RFC 1928).
_TARGET_NOT_REACHED: Final = frozenset({1, 3, 4, 5, 6})


def _proxy_failure(exc: BaseException) -> tuple[_Kind, str] | None:
    """Classify what a proxy says; the SOCKS library is optional, so it goes by names."""
    is_socks = type(exc).__module__.partition(".")[0] in ("aiohttp_socks", "python_socks")
    name = type(exc).__name__ if is_socks else ""
    if name == "ProxyTimeoutError":
        return errors.AI365VIPTimeoutError, "a time limit passed"
    if name == "ProxyConnectionError":
        return errors.AI365VIPProxyError, "the proxy was not reached"
    by_http = isinstance(exc, aiohttp.ClientHttpProxyError) and exc.status >= 500
    if by_http or getattr(exc, "error_code", None) in _TARGET_NOT_REACHED:
        return errors.AI365VIPConnectionError, "the proxy did not reach the server"
    return (errors.AI365VIPProxyError, "the proxy refused the connection") if is_socks else None


# The most specific first. asyncio.TimeoutError is not TimeoutError on Python 3.10; aiohttp's
# total timeout raises the bare one, its sock_read a SocketTimeoutError (measured).
_TRANSPORT: Final[tuple[tuple[type[BaseException], type[AI365VIPError], str], ...]] = (
    (asyncio.TimeoutError, errors.AI365VIPTimeoutError, "a time limit passed"),
    (TimeoutError, errors.AI365VIPTimeoutError, "a time limit passed"),
    (aiohttp.ClientHttpProxyError, errors.AI365VIPProxyError, "the proxy refused the connection"),
    (aiohttp.ClientProxyConnectionError, errors.AI365VIPProxyError, "the proxy was not reached"),
    (
        aiohttp.ClientSSLError,
        errors.AI365VIPTLSError,
        "the TLS connection could not be made",
    ),
    (aiohttp.ServerFingerprintMismatch, errors.AI365VIPTLSError, "the certificate is another one"),
    (ssl.SSLError, errors.AI365VIPTLSError, "TLS failed"),
    (aiohttp.ClientConnectorDNSError, errors.AI365VIPConnectionError, "the name was not found"),
    (aiohttp.ClientConnectorError, errors.AI365VIPConnectionError, "the server was not reached"),
    (aiohttp.ServerDisconnectedError, errors.AI365VIPConnectionError, "the connection was closed"),
    (aiohttp.ClientPayloadError, errors.AI365VIPConnectionError, "the reply was cut short"),
    (aiohttp.InvalidURL, errors.AI365VIPInvalidRequestError, "the address is not a URL"),
    (aiohttp.NonHttpUrlClientError, errors.AI365VIPInvalidRequestError, "not an HTTP address"),
    (aiohttp.ClientResponseError, errors.AI365VIPResponseError, "the answer is not readable HTTP"),
    (
        aiohttp.http_exceptions.HttpProcessingError,
        errors.AI365VIPResponseError,
        "the answer is not readable HTTP",
    ),
    (aiohttp.ClientError, errors.AI365VIPConnectionError, "the connection failed"),
    (aiohttp.EofStream, errors.AI365VIPConnectionError, "the connection was closed"),
    # Only the SOCKS library reads in this way; with a wrong password many proxies just close.
    (asyncio.IncompleteReadError, errors.AI365VIPProxyError, "the proxy closed the connection"),
    (asyncio.LimitOverrunError, errors.AI365VIPConnectionError, "the connection failed"),
    (EOFError, errors.AI365VIPConnectionError, "the connection was closed"),
    (OSError, errors.AI365VIPConnectionError, "the connection failed"),
)


def _describe(exc: BaseException) -> str:
    # str(ClientResponseError) holds the URL of the request, a proxy's with its password; the
    # connector errors' str holds the connection key. Take the parts that are only words.
    if isinstance(exc, aiohttp.ClientResponseError):
        text = f"{exc.status} {exc.message}".strip()
    elif isinstance(exc, aiohttp.http_exceptions.HttpProcessingError):
        text = exc.message
    elif isinstance(exc, aiohttp.ClientConnectorCertificateError):
        text = str(exc.certificate_error)
    elif isinstance(exc, aiohttp.ClientConnectorError):
        text = exc.os_error.strerror or str(exc.os_error) or type(exc.os_error).__name__
    else:
        text = str(exc)
    return text


def _sentence(kind: _Kind, head: str, said: str, reason: str) -> str:
    words = f": {said}" if said else f" ({reason})" if reason else ""
    if words and words[-1] not in ".!?":
        words += "."
    return f"{head}{words or '.'} {_advice(kind)}"


def _advice(kind: _Kind) -> str:
    return next(_ADVICE[each] for each in kind.__mro__ if each in _ADVICE)


def place(url: URL, redact: Redactor) -> str:
    """Return an address for a message; a redirect may have led to it."""
    return redact(_bare(url))


def _bare(url: URL) -> str:
    """Return an address without what may be secret in it.

    In words, not in percent signs: a secret in its path is found, however it was quoted.
    """
    return url.with_user(None).with_query(None).with_fragment(None).human_repr()


# Reason phrases that only repeat the status say nothing about the upstream.
_STOCK_REASONS = frozenset(
    {"", "error", "internal server error", "bad gateway", "service unavailable", "gateway timeout",
     "bad request", "ok", "forbidden", "unauthorized", "not found", "too many requests",
     "unprocessable entity", "unknown", "payload too large", "request entity too large"}
)  # fmt: skip


def _telling(reason: str) -> str:
    return "" if reason.strip().lower() in _STOCK_REASONS else reason


def _message_in(body: str) -> str:
    """Return the message inside a JSON error body, or a short plain body; else nothing."""
    try:
        return _message_of(json.loads(body))
    except ValueError:
        text = body.strip()
        return "" if len(text) > MAX_REASON or "<" in text else _telling(_printable(text))
    except RecursionError:  # nested deeper than anything means
        return ""


def _message_of(data: Any) -> str:
    for key in ("error", "message", "detail", "msg", "title"):
        if isinstance(data, dict) and data.get(key):
            data = data[key]
            if isinstance(data, dict):
                code, data = data.get("code"), data.get("message") or data.get("code") or ""
                return _printable(f"{data} [{code}]" if code and code != data else str(data))
            break
    return _printable(data) if isinstance(data, str) else ""


def _retry_after(headers: Mapping[str, str], said: str) -> float | None:
    value = headers.get("Retry-After", "").strip()
    seconds: float | None = None
    if re.fullmatch(r"\d+(\.\d+)?", value):
        seconds = float(value)
    elif value:
        seconds = _seconds_until(value)
    if seconds is None:
        # The reference server loses the header; an upstream's message repeats it in words.
        seconds = _seconds_in(said)
    return None if seconds is None else min(seconds, _MAX_RETRY_AFTER)


# "6m0s", "1.5s", "250ms", "20 seconds", "1 minute and 5 seconds"
_AGAIN: Final = re.compile(
    r"\b(?:try again|retry) (?:in|after) (?:about )?"
    + "".join(
        rf"(?:(\d{{1,9}}(?:\.\d{{1,9}})?) ?{unit}(?![a-z]),? ?(?:and )?)?"
        for unit in (
            *("d(?:ays?)?", "h(?:rs?|ours?)?", "m(?:in(?:ute)?s?)?", "s(?:ec(?:ond)?s?)?"),
            "m(?:illi)?s(?:ec(?:ond)?s?)?",
        )
    ),
    re.IGNORECASE,
)


def _seconds_in(text: str) -> float | None:
    found = _AGAIN.search(text)
    if found is None or not any(found.groups()):
        return None
    units = (86_400, 3_600, 60, 1, 0.001)
    return sum(float(n) * unit for n, unit in zip(found.groups("0"), units, strict=True))


def _seconds_until(date: str) -> float | None:
    try:
        at = parsedate_to_datetime(date)
        at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
        return max(0.0, (at - datetime.now(timezone.utc)).total_seconds())
    except (ValueError, TypeError, OverflowError):  # OverflowError: a zone of many digits
        return None


def _printable(text: str, *, keep_lines: bool = False) -> str:
    """Return text that can be printed, logged and put on one line.

    aiohttp turns a byte that is not UTF-8 in a reason phrase into a lone surrogate; such
    phrases are Latin-1 on the wire.
    """
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "replace")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return "".join(
        c if c.isprintable() or (keep_lines and c in "\n\t") else " " for c in text
    ).strip()


def shown_body(text: str, redact: Redactor) -> str:
    """Return the beginning of a body as an exception keeps it."""
    return _shown(text, MAX_BODY, redact, keep_lines=True)


def _shown(text: str, limit: int, redact: Redactor, *, keep_lines: bool = False) -> str:
    """Return text that can be shown: without secrets, of a bounded length."""
    # Redacted before it is cut, and that over more than is shown, so that no secret is cut.
    shown = redact(_printable(redact(text[: 4 * limit]), keep_lines=keep_lines))
    if len(text) >= limit:
        # Whoever read it, or we just now, may have cut it where a secret stands.
        shown = redact.end(shown)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
