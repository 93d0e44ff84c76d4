"""What the tests of the page share: Chromium, opened at a size, and what a person does there."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import langchain_ai365vip
from tests.server.server_kit import ScriptedModel, serve

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

FILES = Path(langchain_ai365vip.__file__).parent / "server" / "page"
SERVED = {"": "index.html", **{f"page/{name}": name for name in (
    "page.css", "page.js", "markdown.js", "marked.umd.js", "purify.min.js"
)}}  # fmt: skip

# What Playwright makes of it; the two phones have a touch keyboard and no mouse.
SIZES: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
    "landscape": {"viewport": {"width": 844, "height": 390}, "has_touch": True, "is_mobile": True},
}


class Browse(Protocol):
    """Opens the page; what it yields is Playwright's."""

    def __call__(
        self, model: Any, *, wait_for: str = ..., expected: Sequence[str] = ..., **options: Any
    ) -> AbstractAsyncContextManager[Any]: ...


@asynccontextmanager
async def open_page(
    size: dict[str, Any],
    model: Any,
    *,
    wait_for: str = "#model option",
    expected: Sequence[str] = (),
    **options: Any,
) -> AsyncIterator[Any]:
    """Open the page in Chromium; a complaint that is not `expected`, of its policy, is an error."""
    # The browser group is not there where only the fast tests run, mypy among them.
    playwright = importlib.import_module("playwright.async_api")
    async with serve(model, **options) as client, playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=180_000
        )
        page = await browser.new_page(**size)
        page.set_default_timeout(60_000)
        complaints: list[tuple[str, str]] = []
        page.on("pageerror", lambda error: complaints.append(("error", str(error))))
        page.on("console", lambda message: complaints.append((message.type, message.text)))
        page.on("dialog", lambda dialog: complaints.append(("error", dialog.message)))
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        own = f"http://{client.host}:{client.port}/"
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=own)
        await page.goto(own)
        await page.locator(wait_for).first.wait_for(state="attached")
        yield page
        await browser.close()
    # An answer that is an error shows in the console, too; nothing else may.
    expected = ("Failed to load resource", *expected)
    assert [
        text
        for kind, text in complaints
        if kind == "error" and not any(part in text for part in expected)
    ] == []
    assert {url.removeprefix(own) for url in requested if not url.startswith("data:")} <= {
        *SERVED,
        "api/models",
        "api/chat",
    }


async def say(page: Any, text: str) -> None:
    await page.get_by_label("Message").fill(text)
    await page.get_by_role("button", name="Send").click()


async def said(page: Any) -> None:
    """Wait until the reply is at its end."""
    await page.locator("#send:enabled").wait_for()


async def log_of(page: Any) -> list[list[str]]:
    """The conversation's messages: who, what, and how it ended, if not well."""
    lines: list[list[str]] = await page.evaluate(
        """() => [...document.querySelectorAll("#log > li")].map(item =>
        [...item.querySelectorAll(":scope > :is(b, .body, .note)")]
        .map(part => part.innerText).filter(Boolean))"""
    )
    return lines


class Paced:
    """Yields a piece each time the test lets it."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces
        self.go: asyncio.Queue[None] = asyncio.Queue()
        self.ended = asyncio.Event()

    async def script(self) -> AsyncIterator[str]:
        try:
            for piece in self.pieces:
                await self.go.get()
                yield piece
        finally:
            self.ended.set()

    def model(self) -> ScriptedModel:
        return ScriptedModel(script=self.script)
