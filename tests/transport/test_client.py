"""`AI365VIP` over a real loopback server: what it sends, and how it reads what comes back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from blockbuster import BlockBuster, BlockingError, blockbuster_ctx
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_ai365vip import AI365VIP, AvailableModel, Timeout
from langchain_ai365vip._transport import pool
from langchain_ai365vip._transport.reply import Reply
from langchain_ai365vip._wire import tokens
from langchain_ai365vip._wire.facts import WireMessage
from langchain_ai365vip._wire.payload import chat_payload
from langchain_ai365vip.errors import (
    AI365VIPContextOverflowError,
    AI365VIPInvalidRequestError,
    AI365VIPRateLimitError,
    AI365VIPResponseError,
    AI365VIPTimeoutError,
)
from tests.endpoint import Endpoint

HI = [{"role": "user", "content": "Hi"}]


def ask(endpoint: Endpoint, **kwargs: Any) -> AsyncIterator[str]:
    arguments = {"model": "gpt-4o", "messages": HI, "base_url": endpoint.base_url} | kwargs
    return AI365VIP.create_async_generator(**arguments)


async def answer(endpoint: Endpoint, **kwargs: Any) -> str:
    return "".join([chunk async for chunk in ask(endpoint, **kwargs)])


@pytest.fixture
def nothing_may_block() -> Any:
    with blockbuster_ctx() as blocking:
        yield blocking


# -- the request -----------------------------------------------------------------------------


async def test_the_request_is_that_of_the_source_system(endpoint: Endpoint) -> None:
    await answer(endpoint)
    assert endpoint.paths == ["/api/chat"]
    [headers] = endpoint.headers
    origin = endpoint.base_url
    expected = {
        "Content-Type": "application/json",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Origin": origin,
        "Referer": f"{origin}/en",
    }
    assert {name: headers[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("argument", "field", "value"),
    [
        pytest.param({"api_key": "k"}, "key", "k", id="api_key"),
        pytest.param({}, "key", "", id="no-api_key"),
        pytest.param({"temperature": 0}, "temperature", 0, id="temperature-zero"),
        pytest.param({"temperature": None}, "temperature", None, id="temperature-none"),
        pytest.param({"system_prompt": "Be brief."}, "prompt", "Be brief.", id="system_prompt"),
        pytest.param({}, "prompt", "You are a helpful assistant.", id="no-system_prompt"),
    ],
)
async def test_an_argument_reaches_its_field(
    endpoint: Endpoint, argument: dict[str, Any], field: str, value: object
) -> None:
    await answer(endpoint, **argument)
    assert endpoint.bodies[0][field] == value


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("gpt-3.5-turbo", "gpt-3.5-turbo-16k"),
        ("", "gpt-3.5-turbo-16k"),
        ("gpt-4o", "gpt-4o"),
        ("llama-3", "llama-3"),
    ],
)
async def test_aliases_resolve_and_other_ids_pass_through(
    endpoint: Endpoint, model: str, sent: str
) -> None:
    await answer(endpoint, model=model)
    assert endpoint.bodies[0]["model"]["id"] == sent


async def test_turns_stay_turns_and_system_messages_become_the_prompt(endpoint: Endpoint) -> None:
    turns = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]
    await answer(endpoint, messages=[*turns[:2], {"role": "system", "content": "S"}, *turns[2:]])
    assert endpoint.bodies[0]["messages"] == turns
    assert endpoint.bodies[0]["prompt"] == "S"


@pytest.mark.parametrize("slashes", ["", "/", "//"])
async def test_trailing_slashes_of_base_url_do_no_harm(endpoint: Endpoint, slashes: str) -> None:
    assert await answer(endpoint, base_url=endpoint.base_url + slashes) == "Hello there!"
    assert endpoint.headers[0]["Referer"] == f"{endpoint.base_url}/en"


async def test_base_url_may_have_a_path(endpoint: Endpoint) -> None:
    with pytest.raises(Exception, match="answered 404"):
        await answer(endpoint, base_url=f"{endpoint.base_url}/chat", max_retries=0)


async def test_headers_are_sent_and_replace_ours_whatever_their_case(endpoint: Endpoint) -> None:
    await answer(endpoint, headers={"X-Team": "red", "referer": "http://other/", "ACCEPT": "a/b"})
    [headers] = endpoint.headers
    sent = [(name.lower(), value) for name, value in headers.items()]
    assert ("x-team", "red") in sent
    assert [value for name, value in sent if name == "referer"] == ["http://other/"]
    assert [value for name, value in sent if name == "accept"] == ["a/b"]


async def test_what_cannot_be_written_as_json_is_an_error_before_anything_is_sent(
    endpoint: Endpoint,
) -> None:
    with pytest.raises(AI365VIPInvalidRequestError, match="half a character"):
        await answer(endpoint, messages=[{"role": "user", "content": "\ud83d"}])
    assert endpoint.connections == 0


async def test_the_callers_messages_are_not_changed(endpoint: Endpoint) -> None:
    messages = [{"role": "user", "content": "<|endoftext|>", "name": "Al"}]
    with pytest.warns(UserWarning, match="visible backslash"):
        await answer(endpoint, messages=messages)
    assert messages == [{"role": "user", "content": "<|endoftext|>", "name": "Al"}]


# -- special strings -------------------------------------------------------------------------

SPECIAL = [{"role": "user", "content": "a <|endoftext|> b <|fim_prefix|>"}]


async def test_special_strings_are_escaped_with_one_warning(endpoint: Endpoint) -> None:
    with pytest.warns(UserWarning, match="a visible backslash was put into it") as warned:
        await answer(endpoint, messages=SPECIAL, system_prompt="<|endofprompt|>")
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert endpoint.bodies[0]["messages"][0]["content"] == "a <\\|endoftext|> b <\\|fim_prefix|>"
    assert endpoint.bodies[0]["prompt"] == "<\\|endofprompt|>"


async def test_special_strings_are_sent_or_refused_where_asked(endpoint: Endpoint) -> None:
    await answer(endpoint, messages=SPECIAL, special_tokens="send")
    assert endpoint.bodies[0]["messages"] == SPECIAL
    with pytest.raises(AI365VIPInvalidRequestError, match=r"<\|endoftext\|>.* in turn 0"):
        await answer(endpoint, messages=SPECIAL, special_tokens="raise")
    assert endpoint.requests == 1


# -- token_limit -----------------------------------------------------------------------------


@pytest.fixture(params=["exact", "bytes"])
def counter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With and without the extra `tokens`."""
    if request.param == "bytes":
        monkeypatch.setitem(sys.modules, "bpe_openai", None)
        monkeypatch.setattr(tokens, "_encoders", {})
    return str(request.param)


def turns(count: int) -> list[dict[str, str]]:
    """Turns of one token each, which is one byte, too: every way of counting agrees."""
    return [{"role": "user", "content": "a"}] * count


async def test_a_conversation_that_just_fits_token_limit_is_sent(
    endpoint: Endpoint, counter: str
) -> None:
    await answer(endpoint, messages=turns(23), system_prompt="a", token_limit=1_024)
    assert endpoint.bodies[0]["model"]["tokenLimit"] == 1_024
    assert len(endpoint.bodies[0]["messages"]) == 23


async def test_a_conversation_that_the_server_would_trim_is_refused_before_it_is_sent(
    endpoint: Endpoint, counter: str
) -> None:
    how = {"exact": "the server's tokenizer", "bytes": "UTF-8 bytes"}[counter]
    with pytest.raises(AI365VIPContextOverflowError, match=rf"token_limit=1024 \(counted by {how}"):
        await answer(endpoint, messages=turns(24), system_prompt="a", token_limit=1_024)
    assert endpoint.connections == 0


async def test_what_only_bytes_would_refuse_is_sent_where_a_tokenizer_is_at_hand(
    endpoint: Endpoint,
) -> None:
    # 40 tokens of 8 bytes each, as tiktoken counts them.
    messages = [{"role": "user", "content": " example" * 40}]
    await answer(endpoint, messages=messages, system_prompt="a", token_limit=1_041)
    with pytest.raises(AI365VIPContextOverflowError):
        await answer(endpoint, messages=messages, system_prompt="a", token_limit=1_040)
    assert endpoint.requests == 1


async def test_counting_for_token_limit_does_not_block_the_loop(
    endpoint: Endpoint, nothing_may_block: BlockBuster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_encoders", {})  # to be read from disk again
    with pytest.raises(AI365VIPContextOverflowError, match="the server's tokenizer"):
        await answer(endpoint, messages=turns(2000), token_limit=2_000)


async def test_without_token_limit_nothing_that_is_sent_can_be_trimmed(endpoint: Endpoint) -> None:
    await answer(endpoint, messages=[{"role": "user", "content": "x" * 1_000_000}])
    assert endpoint.bodies[0]["model"]["tokenLimit"] == 1_000_000_000


# -- the reply -------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["é", "€", "😀", "👩‍🚀"])
async def test_a_character_may_be_cut_at_every_byte(paced: Endpoint, character: str) -> None:
    encoded = character.encode()
    for at in range(1, len(encoded)):
        paced.pieces = [b"A" + encoded[:at], encoded[at:] + b"B"]
        paced.release()
        seen = []
        async for chunk in ask(paced):
            seen.append(chunk)
            if len(seen) == 1:
                paced.release()
        assert "".join(seen) == f"A{character}B"
        assert seen[0].rstrip(character) == "A"


async def test_a_reply_may_come_byte_by_byte(endpoint: Endpoint) -> None:
    text = "Grüße, 世界! 😀\r\n\x00 tail"
    endpoint.pieces = [bytes([byte]) for byte in text.encode()]
    assert await answer(endpoint) == text


async def test_text_is_not_held_back_until_a_newline(paced: Endpoint) -> None:
    paced.pieces = ["no ", "line ", "feed ", "anywhere"]
    paced.release()
    seen = []
    async for chunk in ask(paced):
        seen.append(chunk)
        paced.release()
    assert seen == paced.pieces


@pytest.mark.parametrize(
    ("content_type", "beginning"),
    [
        ("text/html", "<"),
        ("text/html", "<b"),
        ("text/html", "<!x"),
        ("text/html", "<!-- a --> <p"),
        ("text/html", "<htmx"),
        ("text/html; charset=utf-8", " <!doctype x"),
        ("application/json", "[1"),
        ("application/json", "{"),
        ("application/json", '{"a": 1, "of_other_names_than_an_errors": 2'),
    ],
)
async def test_a_reply_of_a_telling_type_is_not_held_back(
    paced: Endpoint, content_type: str, beginning: str
) -> None:
    paced.reply_headers = {"Content-Type": content_type}
    paced.pieces = [beginning, "the rest"]
    paced.release()
    chunks = ask(paced)
    assert await chunks.__anext__() == beginning
    paced.release()
    assert [chunk async for chunk in chunks] == ["the rest"]


@pytest.mark.parametrize(
    "beginning", [" <!-- a --> <!DOCTYPE  html", "<html lang=en>", "<!-- a --><!-- b -->\n<HTML>"]
)
async def test_a_page_is_known_from_its_first_text_and_kept_whole(
    paced: Endpoint, beginning: str
) -> None:
    paced.reply_headers = {"Content-Type": "text/html"}
    paced.pieces = [beginning, "> and more"]
    answering = asyncio.create_task(answer(paced))
    paced.release()
    paced.release()
    with pytest.raises(AI365VIPResponseError, match="HTML page") as caught:
        await answering
    assert caught.value.body == (beginning + "> and more").strip()


@pytest.mark.parametrize("separator", ["", "\n"], ids=["one-line", "lines"])
async def test_a_reply_of_a_megabyte_has_no_line_limit(endpoint: Endpoint, separator: str) -> None:
    text = separator.join(["x" * 1023] * 1024)
    endpoint.pieces = [text]
    assert await answer(endpoint) == text


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        pytest.param([b"\xef\xbb\xbfHi"], "Hi", id="at-the-start"),
        pytest.param([b"\xef", b"\xbb", b"\xbf", b"Hi"], "Hi", id="cut"),
        pytest.param([b"\xef\xbb\xbf\xef\xbb\xbfHi"], "\ufeffHi", id="only-one"),
        pytest.param(["Hi\ufeff"], "Hi\ufeff", id="elsewhere-it-is-text"),
    ],
)
async def test_one_leading_byte_order_mark_is_dropped(
    endpoint: Endpoint, pieces: list[bytes], text: str
) -> None:
    endpoint.pieces = pieces
    assert await answer(endpoint) == text


@settings(max_examples=60)
@given(text=st.text(st.characters(codec="utf-8"), min_size=1), data=st.data())
async def test_any_text_cut_anywhere_is_read_unchanged(
    endpoint: Endpoint, text: str, data: st.DataObject
) -> None:
    encoded = text.encode()
    places = data.draw(st.sets(st.integers(0, len(encoded))))
    edges = sorted({0, *places, len(encoded)})
    endpoint.pieces = [encoded[a:b] for a, b in pairwise(edges)]
    expected = text.removeprefix("\ufeff")
    if expected:
        assert await answer(endpoint) == expected


# -- what gpt4free itself passes ---------------------------------------------------------------


async def test_stream_false_yields_the_reply_in_one_piece(endpoint: Endpoint) -> None:
    endpoint.pieces = ["one ", "two ", "three"]
    assert [chunk async for chunk in ask(endpoint, stream=False)] == ["one two three"]


@pytest.mark.parametrize("stop", ["END", ["END"], ("END", "x")], ids=["text", "list", "tuple"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_stop_cuts_the_reply(endpoint: Endpoint, stop: Any, stream: bool) -> None:
    endpoint.pieces = ["one E", "ND two"]
    assert await answer(endpoint, stop=stop, stream=stream) == "one "
    assert "stop" not in endpoint.bodies[0]


async def test_max_tokens_cuts_the_reply(endpoint: Endpoint) -> None:
    endpoint.pieces = ["a" * 3, "a" * 3, "a" * 3]
    text = await answer(endpoint, max_tokens=1)
    assert "aaaaaaaaa".startswith(text)
    assert 0 < len(text) < 9
    assert "max_tokens" not in endpoint.bodies[0]


async def test_the_connection_is_closed_at_the_hit_while_the_caller_still_has_the_text(
    paced: Endpoint,
) -> None:
    paced.pieces = ["one END", "never"]
    paced.release()
    async for chunk in ask(paced, stop="END"):
        assert chunk == "one "
        assert await asyncio.to_thread(paced.closed.wait, 30)


@pytest.mark.parametrize("limit", [0.05, Timeout(first_byte=0.05)], ids=["seconds", "Timeout"])
async def test_the_timeout_is_honoured(paced: Endpoint, limit: Any) -> None:
    # Its connection serves once more: to make one may take a busy machine longer than the limit.
    paced.release(3)
    assert await answer(paced) == "Hello there!"
    with pytest.raises(
        AI365VIPTimeoutError, match=r"waiting for the first byte.*\(first_byte is 0.05 s\)"
    ):
        await answer(paced, timeout=limit, max_retries=0)
    # A busy machine's server may not have heard of the second by then.
    assert paced.requests <= 2


async def test_an_error_of_the_server_is_ours_after_the_retries(endpoint: Endpoint) -> None:
    endpoint.response = lambda _: web.Response(status=429, headers={"Retry-After": "0"})
    with pytest.raises(AI365VIPRateLimitError):
        await answer(endpoint, max_retries=3)
    assert endpoint.requests == 4


async def test_response_format_is_ignored_with_a_warning(endpoint: Endpoint) -> None:
    with pytest.warns(UserWarning, match="response_format does not exist") as warned:
        await answer(endpoint, response_format={"type": "json_object"})
    assert [warning.filename for warning in warned] == [__file__]
    assert "response_format" not in endpoint.bodies[0]


# -- connections -----------------------------------------------------------------------------


async def test_a_hundred_calls_use_one_connection(endpoint: Endpoint) -> None:
    for number in range(100):
        # Never the key or the headers: they are no part of a connection.
        await answer(endpoint, api_key=str(number), headers={"X": str(number)})
    assert endpoint.connections == 1


async def test_the_number_of_connections_is_unlimited_by_default(paced: Endpoint) -> None:
    paced.pieces = ["Hi"]
    calls = [asyncio.create_task(answer(paced)) for _ in range(150)]
    assert await asyncio.to_thread(paced.wait_until, lambda: paced.requests == 150)
    paced.release_all()
    assert await asyncio.gather(*calls) == ["Hi"] * 150
    assert paced.most_open == 150


async def test_settings_that_change_with_each_call_do_not_pile_up_connections(
    endpoint: Endpoint,
) -> None:
    for number in range(1, 81):
        client = AI365VIP(base_url=endpoint.base_url, max_connections=number)
        reply = await client.open(chat_payload(model="gpt-4o", messages=[]))
        while await reply.read():
            pass
    assert endpoint.connections == 80
    # Sooner than idle connections close by themselves.
    assert await asyncio.to_thread(endpoint.wait_until, lambda: endpoint.open_connections < 70, 3)


async def test_no_cookie_is_kept_between_calls(endpoint: Endpoint) -> None:
    endpoint.reply_headers = {"Set-Cookie": "session=1; Path=/"}
    # By name: a cookie jar keeps nothing of hosts that are addresses.
    by_name = endpoint.base_url.replace("127.0.0.1", "localhost")
    for _ in range(2):
        client = AI365VIP(base_url=by_name, max_retries=0)
        reply = await client.open(chat_payload(model="gpt-4o", messages=[]))
        while await reply.read():
            pass
    assert endpoint.connections == 1
    assert endpoint.requests == 2
    assert not any("Cookie" in headers for headers in endpoint.headers)


async def test_a_very_long_conversation_arrives_whole(endpoint: Endpoint) -> None:
    # Given to aiohttp in one go it would be a warning, which is an error here.
    text = "word " * 500_000
    client = AI365VIP(base_url=endpoint.base_url)
    turn: WireMessage = {"role": "user", "content": text}
    reply = await client.open(chat_payload(model="gpt-4o", messages=[turn]))
    assert await reply.read()
    reply.close()
    assert endpoint.bodies[0]["messages"][0]["content"] == text


async def test_an_idle_connection_is_given_up_before_the_server_does(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pool.KEEPALIVE_SECONDS < 5
    monkeypatch.setattr(pool, "KEEPALIVE_SECONDS", 0.05)
    await answer(endpoint)
    assert await asyncio.to_thread(endpoint.wait_until, lambda: endpoint.open_connections == 0)
    await answer(endpoint)
    assert endpoint.connections == 2


async def test_settings_that_change_with_each_call_keep_64_sessions_and_those_in_use(
    paced: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "KEEPALIVE_SECONDS", 600)
    paced.pieces = ["one ", "two"]

    async def opened(max_connections: int) -> Reply:
        client = AI365VIP(base_url=paced.base_url, max_connections=max_connections)
        return await client.open(chat_payload(model="gpt-4o", messages=[]))

    async def read(reply: Reply) -> str:
        text = ""
        while piece := await reply.read():
            text += piece
        return text

    paced.release()
    in_use = await opened(1000)
    paced.release_all()
    for number in range(1, 101):
        assert await read(await opened(number)) == "one two"
    assert await asyncio.to_thread(paced.wait_until, lambda: paced.open_connections == 64)
    assert paced.connections == 101
    # Those that are left are the last ones, and the one that is in use.
    for number in (38, 100):
        assert await read(await opened(number)) == "one two"
    assert paced.connections == 101
    assert await read(in_use) == "one two"


@pytest.mark.parametrize("when", ["before-the-head", "in-mid-reply"])
async def test_closing_never_cuts_a_siblings_stream(paced: Endpoint, when: str) -> None:
    client = AI365VIP(base_url=paced.base_url)
    payload = chat_payload(model="gpt-4o", messages=[])
    paced.pieces = ["one ", "two"]
    opening = asyncio.create_task(client.open(payload))
    if when == "in-mid-reply":
        paced.release()
        await opening
    assert await asyncio.to_thread(paced.wait_until, lambda: paced.requests == 1)
    await client.aclose()
    paced.release_all()
    reply = await opening
    text = ""
    while piece := await reply.read():
        text += piece
    assert text == "one two"
    # And then its connection is closed, and the next call opens another.
    assert await asyncio.to_thread(paced.wait_until, lambda: paced.open_connections == 0)
    assert await answer(paced) == "one two"
    assert paced.connections == 2


async def test_a_client_used_as_a_context_closes_its_idle_connections(endpoint: Endpoint) -> None:
    async with AI365VIP(base_url=endpoint.base_url) as client:
        reply = await client.open(chat_payload(model="gpt-4o", messages=[]))
        while await reply.read():
            pass
        assert endpoint.open_connections == 1
    assert await asyncio.to_thread(endpoint.wait_until, lambda: endpoint.open_connections == 0)


# -- /api/models -----------------------------------------------------------------------------


async def test_list_models_asks_with_the_key(endpoint: Endpoint) -> None:
    endpoint.models = [{"id": "a", "name": "A", "more": 1}, {"id": "b", "name": "B"}]
    client = AI365VIP(base_url=endpoint.base_url, api_key="k")
    assert await client.list_models() == [AvailableModel("a", "A"), AvailableModel("b", "B")]
    assert (endpoint.paths, endpoint.bodies) == (["/api/models"], [{"key": "k"}])


@pytest.mark.parametrize(
    "models",
    [{"error": "no"}, [{"id": "a"}], ["a"], 3, "text", [None]],
    ids=["object", "no-name", "strings", "number", "string", "null"],
)
async def test_an_answer_that_is_no_list_of_models_is_an_error(
    endpoint: Endpoint, models: Any
) -> None:
    endpoint.models = models
    with pytest.raises(AI365VIPResponseError, match="did not answer with a list of models") as e:
        await AI365VIP(base_url=endpoint.base_url).list_models()
    assert e.value.body == json.dumps(models)


async def test_a_list_of_models_that_is_nested_too_deeply_is_the_same_error(
    endpoint: Endpoint,
) -> None:
    endpoint.response = lambda _: web.Response(text="[" * 100_000)
    with pytest.raises(AI365VIPResponseError, match="did not answer with a list of models"):
        await AI365VIP(base_url=endpoint.base_url).list_models()


async def test_an_endless_list_of_models_is_not_read_on(endpoint: Endpoint) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b"["
        while sent < 99:
            sent += 1
            yield b" " * 1_000_000

    endpoint.response = lambda _: web.Response(body=body())
    with pytest.raises(AI365VIPResponseError, match="in its first 16,000,000 char") as e:
        await AI365VIP(base_url=endpoint.base_url).list_models()
    assert len(e.value.body or "") < 10_000
    gone = await asyncio.to_thread(endpoint.wait_until, lambda: endpoint.open_connections == 0)
    assert gone
    assert sent < 99


# -- the loop ----------------------------------------------------------------------------------


async def test_the_check_for_blocking_calls_notices_one(nothing_may_block: BlockBuster) -> None:
    with pytest.raises(BlockingError):
        time.sleep(0)  # noqa: ASYNC251 - that is the point


async def test_nothing_blocks_the_loop(endpoint: Endpoint, nothing_may_block: BlockBuster) -> None:
    assert await answer(endpoint, stop="END", max_tokens=100, token_limit=4096) == "Hello there!"
    client = AI365VIP(base_url=endpoint.base_url)
    assert len(await client.list_models()) == 1
    await client.aclose()


# The first calls of a process are those that load things: authorities, a vocabulary.
FIRST_CALLS = """
import asyncio, sys
from blockbuster import BlockBuster
from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip.errors import AI365VIPContextOverflowError

model = ChatAI365VIP(
    model="gpt-4o",
    base_url=sys.argv[1],
    ca_bundle=sys.argv[2],
    stop=["END"],
    max_tokens=50,
    token_limit=1024,
    estimate_usage=True,
)


async def main():
    blocking = BlockBuster()
    blocking.activate()
    assert (await model.ainvoke("Hi")).text == "Hello there!"
    assert "".join([chunk.text async for chunk in model.astream("Hi")]) == "Hello there!"
    try:
        await model.ainvoke("word " * 600)
    except AI365VIPContextOverflowError:
        print("refused")
    assert len(await model.alist_models()) == 1
    await model.aclose()
    blocking.deactivate()


asyncio.run(main())
"""


@pytest.mark.processes
def test_the_first_calls_of_a_process_do_not_block_the_loop(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    command = [sys.executable, "-W", "error", "-c", FIRST_CALLS]
    done = subprocess.run(
        [*command, endpoint.base_url, str(bundle)], capture_output=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"refused\n", b"")
    assert endpoint.requests == 3
