"""The page at `/`: what it may do, and what a person sees of it in a real browser."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_ai365vip import errors
from tests.server.server_kit import ScriptedModel, says, serve

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


async def test_the_page_is_small_and_may_run_its_own_script_alone() -> None:
    async with serve(says("ok")) as client:
        answer = await client.ask(b"", method="GET", path="/")
    html = answer.body.decode()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert html.count("\n") < 150
    assert "//" not in re.sub(r"// The endpoint's message.*", "", html)  # no other address
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert dangerous not in html


async def test_the_page_can_be_left_out() -> None:
    async with serve(says("ok"), page=False) as client:
        assert (await client.ask(b"", method="GET", path="/")).status == 404


async def test_the_page_is_not_served_under_a_foreign_name() -> None:
    async with serve(says("ok")) as client:
        answer = await client.ask(b"", method="GET", path="/", host="evil.example")
    assert answer.status == 403


@asynccontextmanager
async def browse(
    model: Any, *, wait_for: str = "#model option", **options: Any
) -> AsyncIterator[Any]:
    """Open the page in Chromium; whatever it tries against its policy is an error."""
    # The browser group is not there where only the fast tests run, mypy among them.
    playwright = importlib.import_module("playwright.async_api")
    async with serve(model, **options) as client, playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, timeout=180_000
        )
        page = await browser.new_page()
        page.set_default_timeout(60_000)
        complaints: list[tuple[str, str]] = []
        page.on("pageerror", lambda error: complaints.append(("error", str(error))))
        page.on("console", lambda message: complaints.append((message.type, message.text)))
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        await page.goto(f"http://{client.host}:{client.port}/")
        await page.locator(wait_for).first.wait_for(state="attached")
        yield page
        await browser.close()
    # An answer that is an error shows in the console, too; nothing else may.
    assert [
        complaint
        for complaint in complaints
        if complaint[0] == "error" and "Failed to load resource" not in complaint[1]
    ] == []
    own = f"http://{client.host}:{client.port}/"
    assert {url for url in requested if not url.startswith("data:")} <= {
        own,
        own + "api/models",
        own + "api/chat",
    }


async def say(page: Any, text: str) -> None:
    await page.get_by_label("Message").fill(text)
    await page.keyboard.press("Enter")


async def log_of(page: Any) -> list[str]:
    """The texts of the conversation, each behind who said it."""
    items: list[str] = await page.locator("#log li").all_inner_texts()
    return items


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


@pytest.mark.heavy
async def test_the_text_grows_as_it_streams_in_any_script() -> None:
    pieces = ["Grüße, ", "世界 ", "🌍\n", "<b>&amp;</b>"]
    paced = Paced(*pieces)
    async with browse(paced.model()) as page:
        await say(page, "Hé")
        seen = ""
        for piece in pieces:
            paced.go.put_nowait(None)
            seen += piece
            await page.wait_for_function(
                "text => document.querySelector('#log .assistant')?.textContent === 'Model' + text",
                arg=seen,
            )
        await page.locator("#send:enabled").wait_for()
        assert (await log_of(page))[0] == "You\nHé"
        assert await page.locator("#log").get_attribute("aria-busy") == "false"
        assert await page.locator("#error").inner_text() == ""


@pytest.mark.heavy
async def test_the_whole_conversation_goes_out_each_time() -> None:
    model = says("one ", "two")
    async with browse(model) as page:
        await page.get_by_text("Settings").click()
        await page.get_by_label("System prompt").fill("Be brief.")
        await page.get_by_label("Temperature").fill("0.3")
        for question in ("a", "b"):
            await say(page, question)
            await page.locator("#send:enabled").wait_for()
        await page.get_by_role("button", name="New chat").click()
        await say(page, "c")
        await page.locator("#send:enabled").wait_for()
    system, reply = SystemMessage("Be brief."), AIMessage("one two")
    expected: list[list[BaseMessage]] = [
        [system, HumanMessage("a")],
        [system, HumanMessage("a"), reply, HumanMessage("b")],
        [system, HumanMessage("c")],
    ]
    assert model.asked == expected
    assert model.passed == [{"temperature": 0.3}] * 3


@pytest.mark.heavy
async def test_the_page_sends_the_json_that_the_protocols_browser_client_sends() -> None:
    async with browse({"small": says("one ", "two")}) as page:
        sent: list[tuple[str, str, Any, str]] = []
        page.on("request", lambda asked: sent.append(
            (asked.method, asked.url, json.loads(asked.post_data), asked.headers["content-type"])
        ))  # fmt: skip
        await page.get_by_text("Settings").click()
        await page.get_by_label("API key").fill("k")
        await page.get_by_label("API key").press("Tab")
        for question in ("Hé", "b"):
            await say(page, question)
            await page.locator("#send:enabled").wait_for()
        url = page.url
    hello = {"role": "user", "content": "Hé"}
    reply = [{"role": "assistant", "content": "one two"}, {"role": "user", "content": "b"}]
    chat = {
        "model": {"id": "small", "name": "small"},
        "messages": [hello],
        "key": "k",
        "prompt": "You are a helpful assistant.",
        "temperature": 1,
    }
    assert sent == [
        ("POST", f"{url}api/{path}", body, "application/json")
        for path, body in (
            ("models", {"key": "k"}),
            ("chat", chat),
            ("chat", {**chat, "messages": [hello, *reply]}),
        )
    ]


async def focused(page: Any) -> str:
    """The id of what has the focus."""
    name: str = await page.evaluate("document.activeElement.id")
    return name


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("at", "then"), [("prompt", "prompt"), ("log", "log"), ("text", "text"), ("stop", "text")]
)
async def test_the_end_of_a_reply_takes_the_focus_from_nothing_outside_the_form(
    at: str, then: str
) -> None:
    paced = Paced("done")
    async with browse(paced.model()) as page:
        await page.get_by_text("Settings").click()
        await say(page, "Hi")
        await page.locator("#stop:enabled").wait_for()
        await page.locator(f"#{at}").focus()
        paced.go.put_nowait(None)
        await page.locator("#send:enabled").wait_for()
        assert await focused(page) == then


@pytest.mark.heavy
async def test_sending_by_its_button_leaves_the_focus_on_stop() -> None:
    paced = Paced("first ", "never")
    async with browse(paced.model()) as page:
        await page.get_by_label("Message").fill("Hi")
        await page.keyboard.press("Tab")
        assert await focused(page) == "send"
        await page.keyboard.press("Enter")
        paced.go.put_nowait(None)
        await page.get_by_text("first").wait_for()
        assert await focused(page) == "stop"
        await page.keyboard.press("Enter")
        await paced.ended.wait()
        await page.locator("#send:enabled").wait_for()
        assert await focused(page) == "text"


# Every colour that is seen, painted: `[what, contrast needed, colour, what it is painted on]`.
COLOURS = """() => {
  const context = document.createElement("canvas").getContext("2d");
  const painted = (layers) => {
    for (const [colour, alpha] of layers) {
      context.globalAlpha = alpha;
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
    }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.background = "Canvas";
  const canvas = [getComputedStyle(probe).backgroundColor, 1];
  probe.remove();
  const found = [];
  const look = (element, layers, alpha) => {
    const style = getComputedStyle(element), name = element.id || element.localName;
    if (!element.checkVisibility() || element.disabled) return;
    alpha *= style.opacity;
    const inside = [...layers, [style.backgroundColor, alpha]];
    const add = (what, needed, colour, opacity, on) =>
      found.push([name + what, needed, painted([...on, [colour, opacity]]), painted(on)]);
    if ([...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
      add("", 4.5, style.color, alpha, inside);
    if (element.matches("input, select, textarea, button"))
      add(" border", 3, style.borderTopColor, alpha, layers);
    if (element.matches("input, select, textarea")) add(" value", 4.5, style.color, alpha, inside);
    if (element.placeholder) {
      const hint = getComputedStyle(element, "::placeholder");
      add(" placeholder", 4.5, hint.color, alpha * hint.opacity, inside);
    }
    for (const child of element.children) look(child, inside, alpha);
  };
  look(document.body, [canvas], 1);
  return found;
}"""


def contrast(one: list[int], other: list[int]) -> float:
    """How far two sRGB colours are apart, as WCAG 2 measures it."""

    def luminance(colour: list[int]) -> float:
        parts = [part / 255 for part in colour]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.heavy
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_that_is_seen_has_the_contrast_of_wcag(scheme: str) -> None:
    async with browse(says(errors.AI365VIPRateLimitError("x"))) as page:
        await page.emulate_media(color_scheme=scheme)
        await page.get_by_text("Settings").click()
        await page.evaluate("show('user', 'Hi'); show('assistant', 'Hello')")
        await say(page, "Hi")
        await page.locator("#error:not(:empty)").wait_for()
        colours = await page.evaluate(COLOURS)
    names = {name for name, *_ in colours}
    assert {
        "text placeholder",
        "text border",
        "model value",
        "send",
        "send border",
        "error",
    } <= names
    assert {"li", "b", "label", "summary", "prompt value", "key border"} <= names
    assert (sum(colours[0][3]) > 600) == (scheme == "light")
    assert [
        (name, needed, round(contrast(colour, on), 1))
        for name, needed, colour, on in colours
        if contrast(colour, on) < needed
    ] == []


@pytest.mark.heavy
@pytest.mark.parametrize("how", ["button", "Escape"])
async def test_stop_ends_the_model_and_keeps_what_was_read(how: str) -> None:
    paced = Paced("first ", "never")
    async with browse(paced.model()) as page:
        await say(page, "Hi")
        assert await page.locator("#send").is_disabled()
        paced.go.put_nowait(None)
        await page.get_by_text("first").wait_for()
        if how == "button":
            await page.get_by_role("button", name="Stop").click()
        else:
            await page.keyboard.press("Escape")
        await paced.ended.wait()
        await page.locator("#send:enabled").wait_for()
        assert await log_of(page) == ["You\nHi", "Model\nfirst "]
        assert await page.locator("#error").inner_text() == ""


FAILURES: dict[str, tuple[ScriptedModel, str]] = {
    "before the first text": (
        says(errors.AI365VIPRateLimitError("x")),
        "Rate limit reached for the model",
    ),
    "no text at all": (says(""), "The model sent an empty reply"),
}


@pytest.mark.heavy
@pytest.mark.parametrize(("model", "error"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_failure_is_shown_from_its_reason_and_the_message_can_be_sent_again(
    model: ScriptedModel, error: str
) -> None:
    async with browse(model) as page:
        await say(page, "Hi")
        await page.get_by_role("alert").get_by_text(error).wait_for()
        await page.locator("#send:enabled").wait_for()
        assert await log_of(page) == []
        assert await page.get_by_label("Message").input_value() == "Hi"


@pytest.mark.heavy
async def test_a_reply_that_breaks_off_keeps_its_text_and_says_so() -> None:
    # The browser drops what the page has not read when a reply breaks off, so the failure
    # waits until the page shows the text.
    shown = asyncio.Event()

    async def script() -> AsyncIterator[str]:
        yield "half "
        await shown.wait()
        raise RuntimeError("x")

    async with browse(ScriptedModel(script=script)) as page:
        await say(page, "Hi")
        await page.get_by_text("half").wait_for()
        shown.set()
        await page.get_by_role("alert").get_by_text("The reply broke off: ").wait_for()
        await page.locator("#send:enabled").wait_for()
        assert await log_of(page) == ["You\nHi", "Model\nhalf "]
        assert await page.get_by_label("Message").input_value() == ""


@pytest.mark.heavy
async def test_the_key_is_asked_for_and_a_model_can_be_picked() -> None:
    small, large = says("s"), says("l")
    models = {"small": small, "large": large}
    async with browse(models, wait_for="#error:not(:empty)", api_key="s3cret") as page:
        await page.get_by_role("alert").get_by_text("API key is missing").wait_for()
        await page.get_by_label("API key").fill("s3cret")
        await page.get_by_label("API key").press("Tab")
        await page.get_by_label("Model").select_option("large")
        await say(page, "Hi")
        await page.locator("#send:enabled").wait_for()
        assert await page.locator("#error").inner_text() == ""
    assert [len(small.asked), len(large.asked)] == [0, 1]


@pytest.mark.heavy
async def test_everything_has_a_name_and_is_reached_by_keyboard() -> None:
    async with browse(says("ok")) as page:
        names = await page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, textarea")]
            .map(e => e.labels?.[0]?.firstChild.textContent.trim() || e.innerText)"""
        )
        assert await page.evaluate("document.activeElement.id") == "text"
        reached = []
        for _ in range(7):
            await page.keyboard.press("Tab")
            reached.append(await page.evaluate("document.activeElement.id"))
    assert names == [
        "Model", "New chat", "API key", "System prompt", "Temperature", "Message", "Send", "Stop",
    ]  # fmt: skip
    assert {"model", "new", "log", "text", "send"} <= set(reached)
