"""The page at `/` in a real browser: asking, failing, and what is kept of a conversation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_ai365vip import errors
from tests.server.browser_kit import Browse, Paced, log_of, said, say
from tests.server.server_kit import ScriptedModel, says

pytestmark = pytest.mark.heavy


async def test_the_text_grows_as_it_streams_in_any_script(browse: Browse) -> None:
    pieces = ["Grüße, ", "世界 ", "🌍\n", "<b>&amp;</b>"]
    paced = Paced(*pieces)
    async with browse(paced.model()) as page:
        await say(page, "Hé")
        for shown in ("Grüße,", "Grüße, 世界", "Grüße, 世界 🌍", "Grüße, 世界 🌍\n<b>&</b>"):
            paced.go.put_nowait(None)
            await page.wait_for_function(
                "text => document.querySelector('.assistant .body').innerText === text", arg=shown
            )
        await said(page)
        assert (await log_of(page))[0] == ["You", "Hé"]
        assert await page.locator("#log").get_attribute("aria-busy") == "false"
        assert await page.locator("#error").inner_text() == ""


async def test_the_whole_conversation_goes_out_each_time(browse: Browse) -> None:
    model = says("one ", "two")
    async with browse(model) as page:
        await page.get_by_text("Settings").click()
        await page.get_by_label("System prompt").fill("Be brief.")
        await page.get_by_label("Temperature").fill("0.3")
        for question in ("a", "b"):
            await say(page, question)
            await said(page)
        await page.get_by_role("button", name="New chat").click()
        await say(page, "c")
        await said(page)
    system, reply = SystemMessage("Be brief."), AIMessage("one two")
    expected: list[list[BaseMessage]] = [
        [system, HumanMessage("a")],
        [system, HumanMessage("a"), reply, HumanMessage("b")],
        [system, HumanMessage("c")],
    ]
    assert model.asked == expected
    assert model.passed == [{"temperature": 0.3}] * 3


async def test_the_page_sends_the_json_that_the_protocols_browser_client_sends(
    at_desk: Browse,
) -> None:
    async with at_desk({"small": says("one ", "two")}) as page:
        sent: list[tuple[str, str, Any, str]] = []
        page.on("request", lambda asked: sent.append(
            (asked.method, asked.url, json.loads(asked.post_data), asked.headers["content-type"])
        ))  # fmt: skip
        await page.get_by_text("Settings").click()
        await page.get_by_label("API key").fill("k")
        await page.get_by_label("API key").press("Tab")
        for question in ("Hé", "b"):
            await say(page, question)
            await said(page)
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


@pytest.mark.parametrize("how", ["button", "Escape"])
async def test_stop_ends_the_model_and_keeps_what_was_read_as_stopped(
    browse: Browse, how: str
) -> None:
    paced = Paced("first ", "never")
    model = paced.model()
    async with browse(model) as page:
        await say(page, "Hi")
        assert await page.locator("#send").is_disabled()
        paced.go.put_nowait(None)
        await page.get_by_text("first").wait_for()
        if how == "button":
            await page.get_by_role("button", name="Stop").click()
        else:
            await page.keyboard.press("Escape")
        await paced.ended.wait()
        await said(page)
        shown = ["langchain", "first", "The reply was stopped"]
        assert await log_of(page) == [["You", "Hi"], shown]
        assert await page.locator("#error").inner_text() == ""
        await say(page, "Go on")
        paced.go.put_nowait(None)
        paced.go.put_nowait(None)
        await said(page)
    assert [m.text for m in model.asked[1][1:]] == [
        "Hi", "first \n\n[The reply was stopped]", "Go on",
    ]  # fmt: skip


FAILURES: dict[str, tuple[ScriptedModel, str]] = {
    "before the first text": (
        says(errors.AI365VIPRateLimitError("x")),
        "Rate limit reached for the model",
    ),
    "an error of its own": (
        says(RuntimeError("x")), "The model failed: the server's log says why"
    ),
    "no text at all": (says(""), "The model sent an empty reply"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "error"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_failure_is_shown_from_its_reason_and_the_message_can_be_sent_again(
    at_desk: Browse, model: ScriptedModel, error: str
) -> None:
    async with at_desk(model) as page:
        await say(page, "Hi")
        await page.get_by_role("alert").get_by_text(error).wait_for()
        await said(page)
        assert await log_of(page) == []
        assert await page.get_by_label("Message").input_value() == "Hi"


async def test_a_reply_that_breaks_off_is_kept_marked_and_goes_on_as_such(browse: Browse) -> None:
    # The browser drops what the page has not read when a reply breaks off, so the failure
    # waits until the page shows the text.
    shown = asyncio.Event()

    async def script() -> AsyncIterator[str]:
        yield "half "
        await shown.wait()
        raise RuntimeError("x")

    model = ScriptedModel(script=script)
    async with browse(model) as page:
        await say(page, "Hi")
        await page.get_by_text("half").wait_for()
        shown.set()
        failed = "The model failed, the server's log says why"
        await page.get_by_role("alert").get_by_text(failed).wait_for()
        await said(page)
        shown_of_it = ["langchain", "half", "The reply broke off"]
        assert await log_of(page) == [["You", "Hi"], shown_of_it]
        assert await page.get_by_label("Message").input_value() == ""
        await say(page, "And?")
        await said(page)
    assert [m.text for m in model.asked[1][1:]] == [
        "Hi", "half \n\n[The reply broke off]", "And?",
    ]  # fmt: skip


async def test_a_server_that_is_gone_is_said_to_be(browse: Browse) -> None:
    async with browse(says("ok")) as page:
        await page.route("**/api/chat", lambda route: route.abort("connectionrefused"))
        await say(page, "Hi")
        await page.get_by_role("alert").get_by_text("The server does not answer").wait_for()
        assert await page.get_by_label("Message").input_value() == "Hi"


async def test_models_that_were_not_there_at_first_are_asked_for_again(at_desk: Browse) -> None:
    async with at_desk(says("ok")) as page:
        await page.route("**/api/models", lambda route: route.abort("connectionrefused"))
        await page.reload()
        await page.get_by_role("alert").get_by_text("The server does not answer").wait_for()
        await page.unroute("**/api/models")
        await say(page, "Hi")
        await page.locator(".assistant").get_by_text("ok").wait_for()


async def test_a_missing_key_is_asked_for_in_its_field_and_a_model_can_be_picked(
    browse: Browse,
) -> None:
    small, large = says("s"), says("l")
    models = {"small": small, "large": large}
    async with browse(models, wait_for="#error:not(:empty)", api_key="s3cret") as page:
        await page.get_by_role("alert").get_by_text("API key is missing").wait_for()
        assert await page.evaluate("document.activeElement.id") == "key"
        await page.keyboard.type("s3cret")
        await page.keyboard.press("Tab")
        await page.get_by_label("Model").select_option("large")
        await say(page, "Hi")
        await said(page)
        assert await page.locator("#error").inner_text() == ""
        assert (await log_of(page))[1] == ["large", "l"]
    assert [len(small.asked), len(large.asked)] == [0, 1]


@pytest.mark.parametrize("temperature", ["2.1", "-1", ""])
async def test_a_temperature_outside_0_to_2_is_not_sent(browse: Browse, temperature: str) -> None:
    model = says("ok")
    async with browse(model) as page:
        await page.get_by_text("Settings").click()
        await page.get_by_label("Temperature").fill(temperature)
        await page.get_by_text("Settings").click()
        await say(page, "Hi")
        error = page.get_by_role("alert")
        await error.get_by_text("The temperature must be a number from 0 to 2").wait_for()
        assert await page.evaluate("document.activeElement.id") == "temperature"
        assert await page.get_by_label("Message").input_value() == "Hi"
        await page.keyboard.press("Control+a")
        await page.keyboard.type("2")
        await page.get_by_role("button", name="Send").click()
        await said(page)
    assert model.passed == [{"temperature": 2}]


def counting() -> ScriptedModel:
    """A model whose first answer is "answer 1", and so on; "fail" makes it fail."""
    answers: list[None] = []

    async def script() -> AsyncIterator[str]:
        if model.asked[-1][-1].text == "fail":
            raise errors.AI365VIPRateLimitError("x")
        answers.append(None)
        yield f"answer {len(answers)}"

    model = ScriptedModel(script=script)
    return model


def texts(asked: list[BaseMessage]) -> list[str]:
    """What was asked, without the system prompt."""
    return [message.text for message in asked[1:]]


async def test_asking_again_replaces_the_answer(browse: Browse) -> None:
    model = counting()
    async with browse(model) as page:
        for question in ("a", "b"):
            await say(page, question)
            await said(page)
        await page.get_by_role("button", name="Ask again").click()
        await page.get_by_text("answer 3").wait_for()
        await said(page)
        assert [one[1] for one in await log_of(page)] == ["a", "answer 1", "b", "answer 3"]
    assert [texts(asked) for asked in model.asked[1:]] == [["a", "answer 1", "b"]] * 2


async def test_an_edited_question_replaces_the_last_one_and_its_answer(browse: Browse) -> None:
    model = counting()
    async with browse(model) as page:
        for question in ("a", "b"):
            await say(page, question)
            await said(page)
        await page.get_by_label("Message").fill("a draft")
        await page.get_by_role("button", name="Edit").click()
        assert await page.get_by_label("Message").input_value() == "b"
        await say(page, "c")
        await page.get_by_text("answer 3").wait_for()
        await said(page)
        assert [one[1] for one in await log_of(page)] == ["a", "answer 1", "c", "answer 3"]
        assert await page.get_by_label("Message").input_value() == "a draft"
    assert texts(model.asked[-1]) == ["a", "answer 1", "c"]


async def test_an_edit_that_is_left_or_fails_changes_nothing(browse: Browse) -> None:
    async with browse(counting()) as page:
        await say(page, "a")
        await said(page)
        before = await log_of(page)
        await page.get_by_label("Message").fill("a draft")
        await page.get_by_role("button", name="Edit").click()
        await page.keyboard.press("Escape")
        assert await page.get_by_label("Message").input_value() == "a draft"
        edit = page.get_by_role("button", name="Edit")
        await edit.click()
        await say(page, "fail")
        await page.get_by_role("alert").get_by_text("Rate limit").wait_for()
        await said(page)
        assert await log_of(page) == before
        assert await page.get_by_label("Message").input_value() == "fail"
        assert await edit.get_attribute("aria-pressed") == "true"


async def test_a_message_is_copied_as_it_was_written(browse: Browse) -> None:
    async with browse(says("**bold** and\n\n- a\n- b")) as page:
        await say(page, "Hi *there*")
        await said(page)
        for item, text in ((".user", "Hi *there*"), (".assistant", "**bold** and\n\n- a\n- b")):
            await page.locator(item).get_by_role("button", name="Copy").click()
            await page.get_by_role("status").get_by_text("Copied").wait_for()
            assert await page.evaluate("navigator.clipboard.readText()") == text


async def test_copying_works_where_browsers_have_no_clipboard_for_pages(at_desk: Browse) -> None:
    async with at_desk(says("ok")) as page:
        await page.evaluate("""Object.defineProperty(navigator, "clipboard", {value: undefined})""")
        await say(page, "Hi")
        await said(page)
        await page.locator(".assistant").get_by_role("button", name="Copy").click()
        await page.get_by_role("button", name="Copied").wait_for()
        await page.get_by_label("Message").press("Control+v")
        assert await page.get_by_label("Message").input_value() == "ok"


async def test_the_chat_survives_a_reload_and_the_key_does_not(browse: Browse) -> None:
    model = counting()
    other = says("x")
    options = {"api_key": "s3cret", "wait_for": "#error:not(:empty)"}
    async with browse({"other": other, "counting": model}, **options) as page:
        await page.get_by_label("API key").fill("s3cret")
        await page.get_by_label("System prompt").fill("Be brief.")
        await page.get_by_label("Temperature").fill("0.5")
        await page.get_by_label("Model").select_option("counting")
        await say(page, "a")
        await said(page)
        before = await log_of(page)
        await page.reload()
        await page.locator("#error:not(:empty)").wait_for()
        assert await log_of(page) == before
        stored = await page.evaluate(
            "JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie])"
        )
        assert "answer 1" in stored
        assert "s3cret" not in stored
        assert await page.get_by_label("API key").input_value() == ""
        await page.get_by_label("API key").fill("s3cret")
        await page.get_by_label("API key").press("Tab")
        await page.locator("#model option").first.wait_for(state="attached")
        await say(page, "b")
        await page.get_by_text("answer 2").wait_for()
        await said(page)
        await page.get_by_role("button", name="New chat").click()
        await page.reload()
        await page.locator("#error:not(:empty)").wait_for()
        assert await log_of(page) == []
    assert model.asked[-1][0] == SystemMessage("Be brief.")
    assert texts(model.asked[-1]) == ["a", "answer 1", "b"]
    assert model.passed[-1] == {"temperature": 0.5}


async def test_a_reload_in_the_middle_of_a_reply_keeps_what_was_read_as_stopped(
    browse: Browse,
) -> None:
    paced = Paced("first ", "never")
    async with browse(paced.model()) as page:
        await say(page, "Hi")
        paced.go.put_nowait(None)
        await page.get_by_text("first").wait_for()
        await page.reload()
        await paced.ended.wait()
        shown = ["langchain", "first", "The reply was stopped"]
        assert await log_of(page) == [["You", "Hi"], shown]
