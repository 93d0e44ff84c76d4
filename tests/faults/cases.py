"""The data: every fault, the few lines that play it, and what the caller gets.

The tests run this table in all four ways of calling; `python -m tests.faults --table`
prints it for the README. "Requests" is what the server received in all, retries included,
with the default of two.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import brotli  # type: ignore[import-untyped]  # has no stubs

from langchain_ai365vip import errors
from tests.faults.server import Exchange, FaultServer, Script, on_accept
from tests.ports import refused_url

# Cut inside words, so that nothing can be put right by waiting for a separator.
PIECES = ("Hel", "lo, wör", "ld 🙂.")
ANSWER = "".join(PIECES)
BEGUN = PIECES[0]

HTML = "<!DOCTYPE html><html><head><title>{}</title></head><body><h1>{}</h1></body></html>"
JSON_ERROR = '{"error": {"message": "Something is wrong upstream.", "type": "server_error"}}'
CHALLENGE = HTML.format("Just a moment...", "Verifying you are human")


@dataclass(frozen=True)
class Fault:
    """One row: a fault, and its one outcome.

    Args:
        name: What the server or the network does, in the words of the table.
        scripts: What happens to each request in turn; the last one repeats.
        error: The exception's class; `None` when the call gives an answer.
        text: The answer, or the text that was received and shown before the error.
        requests: Requests that reached the server, retries included.
        status: The error's `status_code`.
        says: What the error's message must contain.
        prefix: The text may also be a prefix of `text`: a reset throws away what the
            client's socket holds and has not been read.
        shared: The fault can be played to any HTTP chat API, ChatOpenAI included.
        note: What to know besides, for the table.
        url: The address to call, where it is not the fault server's.
    """

    name: str
    scripts: tuple[Script, ...]
    error: type[errors.AI365VIPError] | None = None
    text: str = ""
    requests: int = 1
    status: int | None = None
    says: str = ""
    prefix: bool = False
    shared: bool = False
    note: str = ""
    url: Callable[[], str] | None = None


def answer(x: Exchange) -> None:
    """Answer as a healthy server does."""
    x.head()
    for piece in PIECES:
        x.text(piece)
    x.end()


def saying(text: str, *headers: str) -> Script:
    """Answer with this text and these headers, in one piece."""

    def script(x: Exchange) -> None:
        x.head("200 OK", *headers)
        x.text(text)
        x.end()

    return script


def replying(status: str, body: bytes | str = "Error", *headers: str) -> Script:
    """Answer with a status, a body and headers."""
    return lambda x: x.reply(status, body, *headers)


def sending(data: bytes) -> Script:
    """Send these bytes and close."""

    def script(x: Exchange) -> None:
        x.send(data)
        x.close()

    return script


# Before the head.


@on_accept
def close_on_accept(x: Exchange) -> None:
    """Close as soon as the connection is there."""
    x.close()


def close_before_head(x: Exchange) -> None:
    """Read the request and close."""
    x.close()


def reset_before_head(x: Exchange) -> None:
    """Read the request and reset."""
    x.reset()


def stall_before_head(x: Exchange) -> None:
    """Read the request and say nothing."""
    x.stall()


# After the head.


def close_after_head(x: Exchange) -> None:
    """Send the head and close."""
    x.head()
    x.close()


def stall_after_head(x: Exchange) -> None:
    """Send the head and nothing more."""
    x.head()
    x.stall()


def stall_mid_stream(x: Exchange) -> None:
    """Begin the answer and go silent."""
    x.head()
    x.text(BEGUN)
    x.stall()


def close_between_chunks(x: Exchange) -> None:
    """Begin the answer and close, without the chunk that ends a body."""
    x.head()
    x.text(BEGUN)
    x.close()


def close_mid_chunk(x: Exchange) -> None:
    """Announce a longer chunk than is sent."""
    x.head()
    x.text(BEGUN)
    x.send(b"ff\r\n")
    x.close()


def reset_mid_stream(x: Exchange) -> None:
    """Begin the answer and reset."""
    x.head()
    x.text(BEGUN)
    x.reset()


def bad_chunk_size(x: Exchange) -> None:
    """Begin the answer and go on with something that is no chunk."""
    x.head()
    x.text(BEGUN)
    x.send(b"zz\r\nlo\r\n")
    x.close()


def short_body(x: Exchange) -> None:
    """Announce more bytes than are sent."""
    begun = x.wire.piece(BEGUN)
    lines = ("HTTP/1.1 200 OK", *x.wire.headers, f"Content-Length: {len(begun) + 50}")
    x.send("\r\n".join(lines) + "\r\n\r\n")
    x.send(begun)
    x.close()


def close_delimited(x: Exchange) -> None:
    """Answer as HTTP/1.0 servers do: the end of the connection is the end of the body."""
    lines = ("HTTP/1.1 200 OK", *x.wire.headers, "Connection: close")
    x.send("\r\n".join(lines) + "\r\n\r\n")
    x.send(x.wire.piece(ANSWER) + x.wire.last())
    x.close()


def close_delimited_cut(x: Exchange) -> None:
    """The same, cut."""
    x.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    x.send(x.wire.piece(BEGUN))
    x.close()


def empty(x: Exchange) -> None:
    """End the answer before it has begun."""
    x.head()
    x.end()


# Bytes that are not what they should be.


def raw_body(*chunks: bytes) -> Script:
    """Answer with these bytes, one HTTP chunk each."""

    def script(x: Exchange) -> None:
        x.head()
        for chunk in chunks:
            x.chunk(chunk)
        x.send(b"0\r\n\r\n")

    return script


def compressed(coding: str, data: bytes) -> Script:
    """Answer with a compressed body."""

    def script(x: Exchange) -> None:
        x.head("200 OK", f"Content-Encoding: {coding}")
        half = len(data) // 2
        x.chunk(data[:half])
        x.chunk(data[half:])
        x.send(b"0\r\n\r\n")

    return script


def answer_after(*heads: str) -> Script:
    """Send interim (1xx) heads and then a healthy answer."""

    def script(x: Exchange) -> None:
        for head in heads:
            x.send(head + "\r\n\r\n")
        answer(x)

    return script


def answer_and_more(x: Exchange) -> None:
    """Answer, and go on with a second answer that nobody asked for.

    Both ends go out at once: what comes once the next request is on its way would be that
    one's answer, in HTTP/1.1, which has nothing but the order to tell answers apart.
    """
    x.head()
    for piece in PIECES:
        x.text(piece)
    x.end(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")


def many_headers(x: Exchange) -> None:
    """Send a head of 100,000 headers."""
    x.send("HTTP/1.1 200 OK\r\n")
    x.send("X-Bomb: boom\r\n" * 100_000)
    x.close()


def endless_header(x: Exchange) -> None:
    """Send one header of 10 MB."""
    x.send("HTTP/1.1 200 OK\r\nX-Bomb: ")
    x.send(b"a" * 10_000_000)
    x.close()


# Redirects.


def redirect(status: int, to: Callable[[FaultServer], str]) -> Script:
    """Send the client to another address."""
    return lambda x: x.reply(f"{status} Moved", "", f"Location: {to(x.server)}")


def same_origin(server: FaultServer) -> str:
    """Another path of the same server."""
    return "/api/chat/?again"


def another_user(server: FaultServer) -> str:
    """The same server, with a login that the client would have to send."""
    return server.url.replace("//", "//user:hunter2@") + "/api/chat"


def other_host(server: FaultServer) -> str:
    """Another server, with a password and a query that must not be shown."""
    assert server.elsewhere is not None
    return server.elsewhere.url.replace("//", "//user:hunter2@") + "/api/chat?token=hunter2"


def _reason(text: str | bytes) -> Script:
    raw = text.encode() if isinstance(text, str) else text
    return sending(b"HTTP/1.1 500 " + raw + b"\r\nContent-Length: 5\r\n\r\nError")


NOT_REACHED = (
    Fault(
        "the connection is refused",
        (answer,),
        errors.AI365VIPConnectionError,
        requests=0,
        shared=True,
        url=refused_url,
    ),
    Fault(
        "the name does not resolve",
        (answer,),
        errors.AI365VIPConnectionError,
        requests=0,
        shared=True,
        url=lambda: "http://nowhere.invalid",
        says="nowhere.invalid",
    ),
    Fault(
        "the connection is closed as soon as it is there",
        (close_on_accept,),
        errors.AI365VIPConnectionError,
        requests=0,
        shared=True,
    ),
    Fault(
        "closed before the head",
        (close_before_head,),
        errors.AI365VIPConnectionError,
        requests=3,
        shared=True,
    ),
    Fault(
        "reset before the head",
        (reset_before_head,),
        errors.AI365VIPConnectionError,
        requests=3,
        shared=True,
    ),
    Fault(
        "silence before the head",
        (stall_before_head,),
        errors.AI365VIPTimeoutError,
        requests=3,
        shared=True,
        says="waiting for the first byte",
    ),
)

LOST = (
    Fault(
        "silence after the head",
        (stall_after_head,),
        errors.AI365VIPTimeoutError,
        requests=3,
        shared=True,
    ),
    Fault(
        "silence in mid-reply",
        (stall_mid_stream,),
        errors.AI365VIPTimeoutError,
        text=BEGUN,
        shared=True,
    ),
    Fault(
        "closed after the head",
        (close_after_head,),
        errors.AI365VIPConnectionError,
        requests=3,
        shared=True,
    ),
    Fault(
        "closed between two chunks",
        (close_between_chunks,),
        errors.AI365VIPConnectionError,
        text=BEGUN,
        shared=True,
    ),
    Fault(
        "closed inside a chunk",
        (close_mid_chunk,),
        errors.AI365VIPConnectionError,
        text=BEGUN,
        shared=True,
    ),
    Fault(
        "reset in mid-reply",
        (reset_mid_stream,),
        errors.AI365VIPConnectionError,
        text=BEGUN,
        prefix=True,
        shared=True,
    ),
    Fault(
        "a chunk size that is no number",
        (bad_chunk_size,),
        errors.AI365VIPResponseError,
        text=BEGUN,
        prefix=True,
        shared=True,
    ),
    Fault(
        "a body shorter than its Content-Length",
        (short_body,),
        errors.AI365VIPConnectionError,
        text=BEGUN,
        shared=True,
    ),
    Fault("a body that ends with the connection", (close_delimited,), text=ANSWER, shared=True),
    Fault(
        "the same, cut",
        (close_delimited_cut,),
        text=BEGUN,
        note="nothing on the wire tells a cut body of this kind from a whole one",
    ),
    Fault("an empty reply", (empty,), errors.AI365VIPAPIError, requests=3, shared=True),
)

NOT_HTTP = (
    Fault(
        "garbage instead of HTTP",
        (sending(b"\x16\x03\x01 220 mail.example ESMTP\r\n\r\n"),),
        errors.AI365VIPResponseError,
        shared=True,
    ),
    Fault("100,000 headers", (many_headers,), errors.AI365VIPResponseError, shared=True),
    Fault("a header of 10 MB", (endless_header,), errors.AI365VIPResponseError, shared=True),
    Fault(
        "interim heads (100, 103) before the answer",
        (
            answer_after(
                "HTTP/1.1 100 Continue", "HTTP/1.1 103 Early Hints\r\nLink: </x.css>; rel=preload"
            ),
        ),
        text=ANSWER,
        shared=True,
    ),
    Fault("a second answer behind the first", (answer_and_more,), text=ANSWER, shared=True),
)

_UNKNOWN_500 = errors.AI365VIPAPIError
REASONS = tuple(
    Fault(
        f"500, reason: {name}",
        (_reason(reason),),
        error,
        requests=requests,
        status=500,
        shared=False,
    )
    for name, reason, error, requests in (
        (
            "rate limit",
            "Rate limit reached for gpt-3.5-turbo in organization org-1 on requests per min. "
            "Limit: 3 / min. Please try again in 6ms.",
            errors.AI365VIPRateLimitError,
            3,
        ),
        (
            "no credit",
            "You exceeded your current quota, please check your plan and billing details.",
            errors.AI365VIPQuotaError,
            1,
        ),
        (
            "wrong key",
            "Incorrect API key provided: sk-wrong. You can find your API key at "
            "https://platform.openai.com/account/api-keys.",
            errors.AI365VIPAuthenticationError,
            1,
        ),
        (
            "context length",
            "This model's maximum context length is 4097 tokens. However, your messages "
            "resulted in 5000 tokens. Please reduce the length of the messages.",
            errors.AI365VIPContextOverflowError,
            1,
        ),
        (
            "no such model",
            "The model `gpt-9` does not exist",
            errors.AI365VIPNotFoundError,
            1,
        ),
        (
            "content filter",
            "The response was filtered due to the prompt triggering Azure OpenAI's content "
            "management policy. Please modify your prompt and retry.",
            errors.AI365VIPContentFilterError,
            1,
        ),
        ("none that says why", "Internal Server Error", _UNKNOWN_500, 2),
        ("missing (HTTP/2 front ends)", "", _UNKNOWN_500, 2),
        ("`é` in Latin-1", "Clé refusée".encode("latin-1"), _UNKNOWN_500, 2),
        ("Chinese, in UTF-8", "上游出错", _UNKNOWN_500, 2),
        ("bytes that are no text", b"\xed\xa0\x80 \xff\xfe", _UNKNOWN_500, 2),
        ("over 8 KB", "so much text " * 1000, _UNKNOWN_500, 2),
    )
)

STATUSES = (
    Fault(
        "401",
        (replying("401 Unauthorized", JSON_ERROR),),
        errors.AI365VIPAuthenticationError,
        status=401,
        shared=True,
    ),
    Fault(
        "403",
        (replying("403 Forbidden", JSON_ERROR),),
        errors.AI365VIPPermissionDeniedError,
        status=403,
        shared=True,
    ),
    Fault(
        "403 with a challenge page",
        (
            replying(
                "403 Forbidden",
                CHALLENGE,
                "Server: cloudflare",
                "cf-mitigated: challenge",
                "Content-Type: text/html; charset=UTF-8",
            ),
        ),
        errors.AI365VIPChallengeError,
        status=403,
        says="browser",
    ),
    Fault(
        "404 with an HTML page",
        (
            replying(
                "404 Not Found",
                HTML.format("404", "This page could not be found"),
                "Content-Type: text/html; charset=utf-8",
            ),
        ),
        errors.AI365VIPNotFoundError,
        status=404,
        says="base_url",
        shared=True,
    ),
    *(
        Fault(
            status,
            (replying(status, JSON_ERROR),),
            errors.AI365VIPInvalidRequestError,
            status=int(status[:3]),
            shared=True,
        )
        for status in ("400 Bad Request", "413 Payload Too Large", "422 Unprocessable Entity")
    ),
    Fault(
        "429 with a Retry-After in seconds",
        (replying("429 Too Many Requests", JSON_ERROR, "Retry-After: 0"),),
        errors.AI365VIPRateLimitError,
        requests=3,
        status=429,
        shared=True,
    ),
    Fault(
        "429 with a Retry-After date that has passed",
        (
            replying(
                "429 Too Many Requests", JSON_ERROR, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"
            ),
        ),
        errors.AI365VIPRateLimitError,
        requests=3,
        status=429,
    ),
    Fault(
        "429 with a Retry-After that makes no sense",
        (replying("429 Too Many Requests", JSON_ERROR, "Retry-After: soon"),),
        errors.AI365VIPRateLimitError,
        requests=3,
        status=429,
    ),
    *(
        Fault(
            f"{status} with an HTML page",
            (
                replying(
                    status,
                    HTML.format(status, "cloudflare"),
                    "Content-Type: text/html; charset=UTF-8",
                ),
            ),
            errors.AI365VIPTimeoutError if status[:3] == "504" else errors.AI365VIPAPIError,
            requests=3,
            status=int(status[:3]),
            shared=True,
        )
        for status in ("502 Bad Gateway", "503 Service Unavailable", "504 Gateway Time-out")
    ),
)

NO_ANSWER = (
    Fault(
        "200 with a challenge page",
        (
            replying(
                "200 OK", CHALLENGE, "Server: cloudflare", "Content-Type: text/html; charset=UTF-8"
            ),
        ),
        errors.AI365VIPChallengeError,
        status=200,
        says="browser",
    ),
    Fault(
        "200 with a login page",
        (replying("200 OK", HTML.format("Sign in", "Please sign in"), "Content-Type: text/html"),),
        errors.AI365VIPResponseError,
        status=200,
        says="HTML",
    ),
    Fault(
        "200 with a JSON error object",
        (replying("200 OK", JSON_ERROR, "Content-Type: application/json"),),
        errors.AI365VIPResponseError,
        status=200,
        says="Something is wrong upstream.",
    ),
    Fault("a model that answers in JSON", (saying(JSON_ERROR),), text=JSON_ERROR),
    Fault("a model that answers in HTML", (saying(CHALLENGE),), text=CHALLENGE),
    Fault(
        "a proxy that calls every answer HTML",
        (saying(ANSWER, "Content-Type: text/html; charset=utf-8"),),
        text=ANSWER,
    ),
    Fault(
        "a proxy that calls every answer JSON",
        (saying('{"a": 1}', "Content-Type: application/json"),),
        text='{"a": 1}',
    ),
)

REDIRECTS = (
    *(
        Fault(
            f"{status} to the same origin",
            (redirect(status, same_origin), answer),
            text=ANSWER,
            requests=2,
        )
        for status in (307, 308)
    ),
    *(
        Fault(
            f"{status} to the same origin",
            (redirect(status, same_origin), answer),
            errors.AI365VIPResponseError,
            status=status,
            says="/api/chat/",
            note="it would turn the POST into a GET" if status == 301 else "",
        )
        for status in (301, 302, 303)
    ),
    *(
        Fault(
            f"{status} to another host",
            (redirect(status, other_host),),
            errors.AI365VIPResponseError,
            status=status,
            says="/api/chat",
            note="the target is named without userinfo and query" if status == 301 else "",
            shared=True,
        )
        for status in (301, 302, 303, 307, 308)
    ),
    Fault(
        "307 to the same origin with a login",
        (redirect(307, another_user),),
        errors.AI365VIPResponseError,
        status=307,
        says="as a user whom the redirect names",
    ),
    Fault(
        "a fourth redirect",
        (redirect(307, same_origin),),
        errors.AI365VIPResponseError,
        requests=4,
        status=307,
    ),
    Fault(
        "a redirect to nowhere",
        (replying("307 Temporary Redirect", ""),),
        errors.AI365VIPResponseError,
        status=307,
    ),
    Fault(
        "a redirect to what is no address",
        (redirect(308, lambda _: "http://[::1"),),
        errors.AI365VIPResponseError,
        status=308,
    ),
)

TEXT = "Grüße 🙂".encode()
_ZIPPED = gzip.compress(ANSWER.encode())
_BROTLI = brotli.compress(ANSWER.encode())
BYTES = (
    Fault("a byte order mark", (raw_body(b"\xef\xbb", b"\xbf" + TEXT),), text=TEXT.decode()),
    Fault(
        "characters cut at every byte",
        (raw_body(*(bytes([byte]) for byte in TEXT)),),
        text=TEXT.decode(),
    ),
    Fault(
        "bytes that are not UTF-8, at once",
        (raw_body(b"\xff\xfe", b"abc"),),
        errors.AI365VIPResponseError,
        says="UTF-8",
    ),
    Fault(
        "bytes that are not UTF-8, later",
        (raw_body(BEGUN.encode(), b"\xff\xfe"),),
        errors.AI365VIPResponseError,
        text=BEGUN,
        says="UTF-8",
    ),
    Fault(
        "the last character incomplete",
        (raw_body(BEGUN.encode(), "🙂".encode()[:3]),),
        errors.AI365VIPResponseError,
        text=BEGUN,
        says="UTF-8",
    ),
    Fault("gzip", (compressed("gzip", _ZIPPED),), text=ANSWER),
    Fault("brotli", (compressed("br", _BROTLI),), text=ANSWER),
    Fault("deflate", (compressed("deflate", zlib.compress(ANSWER.encode())),), text=ANSWER),
    Fault(
        "deflate without its header",
        (compressed("deflate", zlib.compress(ANSWER.encode())[2:-4]),),
        text=ANSWER,
    ),
    Fault(
        "gzip in two members",
        (compressed("gzip", gzip.compress(BEGUN.encode()) + gzip.compress(ANSWER[3:].encode())),),
        text=ANSWER,
    ),
    Fault(
        "not the compression that is announced",
        (compressed("gzip", ANSWER.encode()),),
        errors.AI365VIPResponseError,
        says="content-encoding: gzip",
    ),
    Fault(
        "a compression that aiohttp does not know",
        (compressed("compress", b"\x1f\x9d\x90H\xca"),),
        errors.AI365VIPResponseError,
        text="\x1f",
        says="UTF-8",
    ),
)

_BUSY = replying("503 Service Unavailable")
RETRIED = (
    Fault("503, 503, then an answer", (_BUSY, _BUSY, answer), text=ANSWER, requests=3, shared=True),
    Fault(
        "429, then an answer",
        (replying("429 Too Many Requests", "Error", "Retry-After: 0"), answer),
        text=ANSWER,
        requests=2,
        shared=True,
    ),
    Fault(
        "closed before the head, then an answer",
        (close_before_head, answer),
        text=ANSWER,
        requests=2,
        shared=True,
    ),
    Fault(
        "a 500 that does not say why, then an answer",
        (_reason("Internal Server Error"), answer),
        text=ANSWER,
        requests=2,
    ),
    Fault(
        "a first piece, then lost, then an answer",
        (close_between_chunks, answer),
        errors.AI365VIPConnectionError,
        text=BEGUN,
        note="what was shown is never shown again, so there is no retry",
    ),
)

GROUPS: dict[str, tuple[Fault, ...]] = {
    "Not reached": NOT_REACHED,
    "Lost or silent": LOST,
    "Not HTTP": NOT_HTTP,
    "500 `Error`, as the reference server has it": REASONS,
    "Statuses": STATUSES,
    "Status 200 and no answer": NO_ANSWER,
    "Redirects": REDIRECTS,
    "Bytes": BYTES,
    "Retries": RETRIED,
}
FAULTS: tuple[Fault, ...] = tuple(fault for group in GROUPS.values() for fault in group)
