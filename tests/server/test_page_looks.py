"""The page on a screen: three sizes, by touch and by keyboard alone, in light and in dark."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from langchain_ai365vip import errors
from tests.server.browser_kit import Browse, Paced, said, say
from tests.server.server_kit import ScriptedModel, says

pytestmark = pytest.mark.heavy

LONG = "Meta-Llama-3.1-70B-Instruct-Q4_K_M"
AT_END = "() => log.scrollHeight - log.clientHeight - log.scrollTop <= 1"
INSIDE = """selector => {
  const box = document.querySelector(selector).getBoundingClientRect();
  return box.height > 0 && box.left >= 0 && box.top >= 0
    && box.right <= innerWidth + .5 && box.bottom <= innerHeight + .5;
}"""


def paragraphs(number: int) -> list[str]:
    return [f"paragraph {index} of some length\n\n" * 5 for index in range(number)]


async def grow(page: Any, paced: Paced, number: int) -> None:
    """Let the model write its next piece, and wait until it is shown."""
    paced.go.put_nowait(None)
    await page.get_by_text(f"paragraph {number} of").nth(4).wait_for()


async def follow(page: Any, paced: Paced, numbers: range) -> None:
    """Let the model write, and wait for the end of the reply to be in sight each time."""
    for number in numbers:
        await grow(page, paced, number)
        await page.wait_for_function(AT_END)


async def test_a_reply_is_followed_until_one_scrolls_up_and_again_from_the_end(
    browse: Browse,
) -> None:
    paced = Paced(*paragraphs(12))
    async with browse(paced.model()) as page:
        # A question of several lines, so that the box shrinks when it is emptied.
        await say(page, "one\ntwo\nthree\nfour")
        await follow(page, paced, range(5))
        await page.evaluate("log.scrollTop -= 30")
        await page.evaluate("new Promise(requestAnimationFrame)")
        here = await page.evaluate("log.scrollTop")
        for number in range(5, 8):
            await grow(page, paced, number)
            assert await page.evaluate("log.scrollTop") == here
        await page.evaluate("log.scrollTop = log.scrollHeight")
        await page.evaluate("new Promise(requestAnimationFrame)")
        await follow(page, paced, range(8, 12))
        await said(page)
        await page.wait_for_function(AT_END)


async def test_whoever_scrolls_up_while_the_page_follows_stays_there(browse: Browse) -> None:
    paced = Paced(*paragraphs(8))
    async with browse(paced.model()) as page:
        await say(page, "Hi")
        await follow(page, paced, range(6))
        # In the frame that shows more of the reply: the browser tells of both scrolls at once.
        await page.evaluate("""() => new MutationObserver((_, observer) => {
          observer.disconnect();
          log.scrollTop -= 30;
          log.dataset.left = log.scrollTop;
        }).observe(log, { childList: true, subtree: true })""")
        await grow(page, paced, 6)
        left = float(await page.locator("#log[data-left]").get_attribute("data-left"))
        await page.evaluate("new Promise(requestAnimationFrame)")
        await grow(page, paced, 7)
        await said(page)
        assert await page.evaluate("log.scrollTop") == left


async def test_enter_breaks_the_line_on_touch_keyboards(on_phone: Browse) -> None:
    model = says("ok")
    async with on_phone(model) as page:
        box = page.get_by_label("Message")
        await box.focus()
        await page.keyboard.type("a")
        await page.keyboard.press("Enter")
        await page.keyboard.type("b")
        assert await box.input_value() == "a\nb"
        assert "Enter" not in await box.get_attribute("placeholder")
        await page.get_by_role("button", name="Send").tap()
        await said(page)
    assert model.asked[0][-1].text == "a\nb"


async def test_enter_sends_on_other_keyboards_and_shift_enter_breaks_the_line(
    at_desk: Browse,
) -> None:
    model = says("ok")
    async with at_desk(model) as page:
        await page.keyboard.type("a")
        await page.keyboard.press("Shift+Enter")
        await page.keyboard.type("b")
        await page.keyboard.press("Enter")
        await page.locator(".assistant").get_by_text("ok").wait_for()
    assert model.asked[0][-1].text == "a\nb"


@pytest.mark.parametrize("settings", ["closed", "open"])
async def test_everything_has_its_place_on_the_screen(browse: Browse, settings: str) -> None:
    wide = "\n".join(["| " + "a wide cell | " * 12, "|---" * 12 + "|", "```", "x" * 300, "```"])
    async with browse({LONG: says(wide + "\n\n" + "word " * 300)}) as page:
        await say(page, "Hi " + "w" * 200)
        await said(page)
        if settings == "open":
            await page.get_by_text("Settings").click()
        for selector in ("header", "#model", "#new", "#settings", "#log", "#form", "#send"):
            assert await page.evaluate(INSIDE, selector), selector
        assert await page.evaluate("log.clientHeight") >= 80
        width = "[document.documentElement.scrollWidth <= innerWidth, log.scrollWidth]"
        fits, inner = await page.evaluate(width)
        assert fits
        assert inner == await page.evaluate("log.clientWidth")
        await page.locator("#prompt").scroll_into_view_if_needed()
        if settings == "open":
            assert await page.evaluate(INSIDE, "#prompt")


async def test_the_name_of_the_model_is_not_cut(browse: Browse) -> None:
    async with browse({LONG: says("ok")}) as page:
        needed, room = await page.evaluate(
            """() => {
              const select = document.querySelector("#model"), free = select.cloneNode(true);
              free.style.cssText = "position: absolute; width: auto; max-width: none";
              document.body.append(free);
              return [free.offsetWidth, select.offsetWidth];
            }"""
        )
        assert needed <= room
        await say(page, "Hi")
        await said(page)
        assert await page.locator(".assistant b").inner_text() == LONG


async def test_a_new_chat_begins_beside_the_title_however_long_a_models_name_is(
    browse: Browse,
) -> None:
    async with browse({LONG * 3: says("ok")}) as page:
        title, button = [
            await page.evaluate(
                """selector => {
                  const box = document.querySelector(selector).getBoundingClientRect();
                  return (box.top + box.bottom) / 2;
                }""",
                selector,
            )
            for selector in ("h1", "#new")
        ]
        assert abs(title - button) < 2


async def focused(page: Any) -> str:
    """The id of what has the focus."""
    name: str = await page.evaluate("document.activeElement.id")
    return name


@pytest.mark.parametrize(
    ("at", "then"), [("prompt", "prompt"), ("log", "log"), ("text", "text"), ("stop", "text")]
)
async def test_the_end_of_a_reply_takes_the_focus_from_nothing_outside_the_form(
    at_desk: Browse, at: str, then: str
) -> None:
    paced = Paced("done")
    async with at_desk(paced.model()) as page:
        await page.get_by_text("Settings").click()
        await say(page, "Hi")
        await page.locator("#stop:enabled").wait_for()
        await page.locator(f"#{at}").focus()
        paced.go.put_nowait(None)
        await said(page)
        assert await focused(page) == then


async def test_sending_by_its_button_leaves_the_focus_on_stop(at_desk: Browse) -> None:
    paced = Paced("first ", "never")
    async with at_desk(paced.model()) as page:
        await page.get_by_label("Message").fill("Hi")
        await page.keyboard.press("Tab")
        assert await focused(page) == "send"
        await page.keyboard.press("Enter")
        paced.go.put_nowait(None)
        await page.get_by_text("first").wait_for()
        assert await focused(page) == "stop"
        await page.keyboard.press("Enter")
        await paced.ended.wait()
        await said(page)
        assert await focused(page) == "text"


async def test_a_message_is_edited_and_asked_again_by_keyboard_alone(at_desk: Browse) -> None:
    model = says("ok")
    async with at_desk(model) as page:
        await page.keyboard.type("Hi")
        await page.keyboard.press("Enter")
        await said(page)
        for name in ("Ask again", "Edit"):
            for _ in range(9):
                await page.keyboard.press("Shift+Tab")
                if await page.evaluate("document.activeElement.innerText") == name:
                    break
            await page.keyboard.press("Enter")
            await page.wait_for_function("document.activeElement.id === 'text'")
            await said(page)
        await page.keyboard.type("!")
        await page.keyboard.press("Enter")
        await page.get_by_text("Hi!").wait_for()
        await said(page)
    assert [asked[-1].text for asked in model.asked] == ["Hi", "Hi", "Hi!"]


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_that_is_seen_has_the_contrast_of_wcag(
    browse: Browse, scheme: str
) -> None:
    reply = "# h\n\n[link](https://example.com) `code`\n\n```\nblock\n```\n\n|a|\n|-|\n|b|\n\n> q"

    async def script() -> AsyncIterator[Any]:
        yield reply
        if len(model.asked) == 2:
            await shown()
            raise errors.AI365VIPRateLimitError("x")

    async def shown() -> None:
        await page.locator(".assistant blockquote").nth(1).wait_for()

    model = ScriptedModel(script=script)
    async with browse(model) as page:
        await page.emulate_media(color_scheme=scheme)
        await page.get_by_text("Settings").click()
        for _ in range(2):
            await say(page, "Hi")
            await said(page)
        await page.locator("#error:not(:empty)").wait_for()
        await page.get_by_role("button", name="Edit").click()
        colours = await page.evaluate(COLOURS)
    names = {name for name, *_ in colours}
    assert {"text border", "model value", "send", "send border", "error", "a", "p"} <= names
    assert {"code", "td", "th", "h1", "button", "button border", "text placeholder"} <= names
    assert {"b", "label", "summary", "prompt value", "key border"} <= names
    assert (sum(colours[0][3]) > 600) == (scheme == "light")
    assert [
        (name, needed, round(contrast(colour, on), 1))
        for name, needed, colour, on in colours
        if contrast(colour, on) < needed
    ] == []


async def test_everything_has_a_name_and_is_reached_by_keyboard(at_desk: Browse) -> None:
    async with at_desk(says("```\ncode\n```")) as page:
        await say(page, "Hi")
        await said(page)
        names = await page.evaluate(
            """() => [...document.querySelectorAll("button, select, input, textarea")]
            .filter(e => e.checkVisibility({visibilityProperty: true})
                         || e.closest("#settings"))
            .map(e => e.ariaLabel || e.labels?.[0]?.firstChild.textContent.trim() || e.innerText)"""
        )
        assert await focused(page) == "text"
        reached = []
        for _ in range(16):
            await page.keyboard.press("Tab")
            reached.append(await page.evaluate(
                "document.activeElement.id || document.activeElement.className"
            ))  # fmt: skip
    assert names == [
        "New chat", "Model", "API key", "Temperature", "System prompt", "Copy", "Edit",
        "Copy the code", "Copy", "Ask again", "Message", "Send", "Stop",
    ]  # fmt: skip
    assert {"model", "new", "log", "text", "send", "copy", "edit", "again"} <= {*reached}
