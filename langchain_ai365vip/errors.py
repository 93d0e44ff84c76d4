"""Every exception that this package raises for what a server or a network does.

```
AI365VIPError
 + AI365VIPAuthenticationError      the key is missing or wrong (401)
 + AI365VIPPermissionDeniedError    the key may not do this (403)
 |  - AI365VIPChallengeError        a page that wants a browser, not an API client
 + AI365VIPInvalidRequestError      the request cannot be served as it is (400, 413, 422)
 |  - AI365VIPUnsupportedContentError   an image, audio or file block: the wire is text
 |  - AI365VIPContentFilterError    refused by the upstream's content policy
 + AI365VIPNotFoundError            no such model or path (404, 405)
 + AI365VIPContextOverflowError     the conversation is longer than the model's context
 + AI365VIPRateLimitError           too many requests (429); retryable
 |  - AI365VIPQuotaError            the account is out of credit; not retryable
 + AI365VIPAPIError                 the server failed (5xx, or an empty reply); retryable
 |  - AI365VIPResponseError         status 200 and yet no answer: a login page, a JSON error,
 |                                  a redirect, bytes that are not UTF-8; not retryable
 + AI365VIPConnectionError          not reached, or lost in mid-reply; retryable
 |  - AI365VIPTLSError              the certificate does not verify; not retryable
 |  - AI365VIPProxyError            the proxy refused (407 and others); not retryable
 + AI365VIPTimeoutError             a time limit passed; retryable
 + AI365VIPOutputError              the model did not give the forced call or object
```

Each class also derives from the class of `langchain_core.exceptions` of the same
meaning, so `except ModelRateLimitError`, `with_retry` and agent middleware that read
`is_retryable` work unchanged. Instances carry plain data only, so they pickle, and hold
neither the live response nor the request's headers.
"""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.exceptions import (
    ContextOverflowError,
    LangChainException,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)


class AI365VIPError(LangChainException):
    """Base of all exceptions of this package.

    `is_retryable`, which the classes have from LangChain, says whether the same request may
    succeed later. Requests that failed so before their first text were retried already
    (`max_retries`).

    Args:
        message: What happened, why, and what to do next.
        status_code: The HTTP status, when there was an answer.
        reason: The HTTP reason phrase; the reference server puts the upstream's
            message there. Printable, at most 500 characters.
        body: The beginning of the answer's body, at most 2,000 characters.
        headers: The answer's headers without cookies and credentials, names in lower case.
        retry_after: Seconds that the server asked to wait, in its `Retry-After` or in words;
            at most a day.
        partial_text: The text received before the failure.

    All but the message are attributes, `None` (or empty) where there is nothing to say. None of
    them repeats a secret of the request.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        reason: str | None = None,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        partial_text: str | None = None,
    ) -> None:
        # Only the message is positional: Exception's own pickling then calls
        # cls(message) and restores the rest from __dict__.
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.reason = reason
        self.body = body
        self.headers = dict(headers or {})
        self.retry_after = retry_after
        self.partial_text = partial_text


class AI365VIPAuthenticationError(AI365VIPError, ModelAuthenticationError):
    """The key is missing or wrong (HTTP 401, or an upstream's words). Check `api_key`."""


class AI365VIPPermissionDeniedError(AI365VIPError, ModelPermissionDeniedError):
    """The key or the client may not do this (HTTP 403). Ask whoever runs the endpoint."""


class AI365VIPChallengeError(AI365VIPPermissionDeniedError):
    """The endpoint answered with a page that only a browser can pass (Cloudflare's, for one).

    The public site is reported to do so. This package does not try to get around it: use an
    endpoint of your own through `base_url`.
    """


class AI365VIPInvalidRequestError(AI365VIPError, ModelInvalidRequestError):
    """The request cannot be served as it is (HTTP 400, 413, 422); trying again does not help."""


class AI365VIPUnsupportedContentError(AI365VIPInvalidRequestError, ValueError):
    """A message holds something that a text-only wire cannot carry: an image, audio or a file.

    Raised before anything is sent, for the last human message and for system messages. It is a
    `ValueError`, too.
    """


class AI365VIPContentFilterError(AI365VIPInvalidRequestError):
    """The upstream's content policy refused the request."""


class AI365VIPNotFoundError(AI365VIPError, ModelNotFoundError):
    """There is no such model, or no such path (HTTP 404, 405). Check `model` and `base_url`."""


class AI365VIPContextOverflowError(AI365VIPError, ContextOverflowError):
    """The conversation is longer than the model's context, or than `token_limit`.

    With `token_limit` it is raised before anything is sent: the server would drop the oldest
    messages without a word.
    """


class AI365VIPRateLimitError(AI365VIPError, ModelRateLimitError):
    """Too many requests (HTTP 429). Retryable; `retry_after` says when, if the server does."""


class AI365VIPQuotaError(AI365VIPRateLimitError):
    """The account has no credit left: trying again does not help."""

    is_retryable = False


class AI365VIPAPIError(AI365VIPError, ModelAPIError):
    """The server or its upstream failed (HTTP 5xx), or sent an empty reply. Retryable."""


class AI365VIPResponseError(AI365VIPAPIError):
    """The server answered with something that is not a chat reply.

    A page, a JSON error with status 200, a redirect elsewhere, bytes that are not UTF-8: mostly a
    `base_url` that is not the root of a server of this protocol.
    """

    is_retryable = False


class AI365VIPConnectionError(AI365VIPError, ModelConnectionError):
    """The server was not reached, or the connection was lost in mid-reply. Retryable.

    Lost in mid-reply, it has `partial_text`, and was not retried.
    """


class AI365VIPTLSError(AI365VIPConnectionError):
    """The server's certificate does not verify, or TLS could not be agreed."""

    is_retryable = False


class AI365VIPProxyError(AI365VIPConnectionError):
    """The proxy refused the connection, for example for want of a password (407)."""

    is_retryable = False


class AI365VIPTimeoutError(AI365VIPError, ModelTimeoutError):
    """A time limit passed without the server doing its part; the message names it. Retryable.

    See `Timeout`.
    """


class AI365VIPOutputError(AI365VIPError, ModelError):
    """The model did not produce the tool call or the object that was required.

    It was asked once more. The message says what was wrong, and quotes the reply, which is in
    `partial_text` as a whole.
    """
