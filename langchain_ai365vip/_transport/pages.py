"""What comes in place of a reply, with a good status or not: HTML pages, challenges, JSON errors.

A model may well write HTML or JSON, so neither Content-Type nor shape decides alone.
"""

from __future__ import annotations

import json
import re

_CHALLENGE = re.compile(
    r"cf-turnstile|challenges\.cloudflare\.com|cf-chl|challenge-platform|just a moment\.\.\.",
    re.IGNORECASE,
)
_HTML_PAGE = re.compile(
    r"\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)
_JSON_MESSAGE_KEYS = frozenset({"message", "detail", "msg"})
_JSON_ERROR_KEYS = _JSON_MESSAGE_KEYS | frozenset(
    {"code", "status", "statusCode", "title", "type", "path", "timestamp", "success", "data"}
)
_JSON_ERROR_START = re.compile(
    rf'\s*\{{\s*"({"|".join(sorted(_JSON_ERROR_KEYS | {"error", "errors"}))})"\s*:'
)


def looks_like_page(content_type: str | None, text: str) -> bool:
    """Say whether an answer is an HTML page: by Content-Type *and* shape.

    The reference server sends no Content-Type with a reply, and a model may well write HTML.
    """
    return _is_html(content_type) and _HTML_PAGE.match(text) is not None


def is_challenge(content_type: str | None, text: str) -> bool:
    """Say whether an answer is a page that only a browser can pass, such as Cloudflare's."""
    return looks_like_page(content_type, text) and _CHALLENGE.search(text) is not None


def is_json_error(content_type: str | None, text: str) -> bool:
    """Say whether an answer with status 200 is a JSON error object, likewise."""
    if not _is_json(content_type):
        return False
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # not JSON; or nested deeper than anything means
        return False
    if not isinstance(data, dict):
        return False
    if data.get("error") or data.get("errors") or data.get("success") is False:
        return True
    return bool(data.keys() & _JSON_MESSAGE_KEYS) and data.keys() <= _JSON_ERROR_KEYS


def begins_like_no_reply(content_type: str | None, text: str) -> bool:
    """Say whether an answer whose first text this is is a page, or may be a JSON error."""
    if _is_json(content_type):
        return _JSON_ERROR_START.match(text) is not None
    return looks_like_page(content_type, text)


def _is_html(content_type: str | None) -> bool:
    return _media_type(content_type) in {"text/html", "application/xhtml+xml"}


def _is_json(content_type: str | None) -> bool:
    media_type = _media_type(content_type)
    return media_type == "application/json" or media_type.endswith("+json")


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()
