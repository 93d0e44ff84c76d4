"""The page at `/`, on which a person can try the model."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from importlib import resources
from typing import Final

from aiohttp import web

# By which the page says that it shows for itself where a reply broke off.
PAGE_HEADER: Final = "X-AI365VIP-Page"


def page() -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make the handler of `/`: a page that may run its own script and talk to us alone."""
    html = (resources.files(__package__) / "page.html").read_text("utf-8")
    script, style = (_source_hash(html, tag) for tag in ("script", "style"))
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": (
            f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        ),
        "Referrer-Policy": "no-referrer",
    }

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=html, headers=headers)

    return show


def _source_hash(html: str, tag: str) -> str:
    """Make the CSP source that allows exactly the text of the page's one such element."""
    text = html.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
