"""The page at `/`, on which a person can try the model, and the files that it consists of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Final

from aiohttp import web

# By which the page says that it shows for itself where a reply broke off.
PAGE_HEADER: Final = "X-AI365VIP-Page"

# Own files alone; replies become HTML through DOMPurify, and in no other way.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)
_HTML: Final = "text/html; charset=utf-8"
_SCRIPT: Final = "text/javascript; charset=utf-8"
_FILES: Final = {
    "/": ("index.html", _HTML),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page/page.js": ("page.js", _SCRIPT),
    "/page/markdown.js": ("markdown.js", _SCRIPT),
    "/page/marked.umd.js": ("marked.umd.js", _SCRIPT),
    "/page/purify.min.js": ("purify.min.js", _SCRIPT),
}

Show = Callable[[web.Request], Awaitable[web.Response]]


def pages() -> dict[str, Show]:
    """Make the handlers of the page and its files, by path."""
    return {path: _show(name, kind) for path, (name, kind) in _FILES.items()}


def _show(name: str, content_type: str) -> Show:
    body = (resources.files(__package__) / name).read_bytes()
    headers = {
        "Content-Type": content_type,
        "Content-Security-Policy": _POLICY,
        "Referrer-Policy": "no-referrer",
    }

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return show
