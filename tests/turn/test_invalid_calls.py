"""A call that stays unreadable: what is handed out, in every kind of stream, and sent back."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.utils import json as core_json

from langchain_ai365vip import ChatAI365VIP
from tests.agent_kit import Request, asked, gist
from tests.endpoint import Endpoint, in_turn
from tests.turn.test_tools import ADD, BROKEN, add, merged

ERROR = "The arguments are not a JSON object."
ARGS = f"[invalid tool call}} {ERROR}\n{BROKEN}"


@pytest.fixture(params=[None, "v1"])
def model(endpoint: Endpoint, request: pytest.FixtureRequest) -> ChatAI365VIP:
    return ChatAI365VIP(
        model="gpt-4o", base_url=endpoint.base_url, output_version=request.param, max_retries=0
    )


def handed_out(message: AIMessage) -> list[tuple[Any, ...]]:
    return [
        (call["name"], call["args"], call["error"], call["type"], bool(call["id"]))
        for call in message.invalid_tool_calls
    ]


def assert_mended(endpoint: Endpoint, *said: str) -> None:
    """Each reply was asked for, and then asked for again with what is wrong with it."""
    wrong = (
        f"The function call in that reply cannot be carried out:\n- {ERROR}\n"
        "Write it again, corrected. Reply with the call only, no other text:\n"
        '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )
    first = Request([("user", "x")], ["add"])
    assert asked(endpoint) == [
        request
        for text in said
        for request in (
            first,
            replace(first, turns=[*first.turns, ("assistant", text), ("user", wrong)]),
        )
    ]


def test_a_stream_and_a_whole_reply_hold_the_same_call_and_what_is_wrong_with_it(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn(*(["Sure: ", BROKEN, " Bye."], [BROKEN]) * 3)
    bound = model.bind_tools([add])
    message, whole = bound.invoke("x"), merged(bound.stream("x"))
    model.streaming = True
    streamed = bound.invoke("x")
    assert message.tool_calls == whole.tool_calls == streamed.tool_calls == []
    assert handed_out(message) == [("add", ARGS, ERROR, "invalid_tool_call", True)]
    # A merge of chunks leaves `error` empty, whatever the chunks say.
    assert handed_out(whole) == [("add", ARGS, None, "invalid_tool_call", True)]
    assert handed_out(streamed) == handed_out(whole)
    assert message.text == whole.text == streamed.text == f"Sure: {BROKEN} Bye."
    assert_mended(endpoint, *[f"Sure: {BROKEN} Bye."] * 3)


@pytest.mark.parametrize("mode", ["messages", "values"])
def test_the_error_is_in_every_stream_of_an_agent(
    endpoint: Endpoint, model: ChatAI365VIP, mode: Any
) -> None:
    endpoint.pieces = in_turn([BROKEN], [BROKEN])
    agent: Any = create_agent(model, [add])
    parts = list(agent.stream({"messages": [("user", "x")]}, stream_mode=mode))
    if mode == "messages":
        message: AIMessage = merged(
            chunk for chunk, _ in parts if isinstance(chunk, AIMessageChunk)
        )
    else:
        message = parts[-1]["messages"][-1]
    assert [call["args"] for call in message.invalid_tool_calls] == [ARGS]
    assert message.tool_calls == []
    assert (message.text, message.response_metadata["finish_reason"]) == (BROKEN, "stop")
    assert_mended(endpoint, BROKEN)


@pytest.mark.filterwarnings(
    "ignore:The v3 streaming protocol:langchain_core._api.beta_decorator.LangChainBetaWarning"
)
def test_a_v3_stream_holds_it_too(endpoint: Endpoint, model: ChatAI365VIP) -> None:
    endpoint.pieces = in_turn(["Sure: ", BROKEN], [BROKEN])
    stream: Any = model.bind_tools([add]).stream_events("x", version="v3")
    message = stream.output
    assert message.tool_calls == []
    assert [(call["name"], call["args"]) for call in message.invalid_tool_calls] == [("add", ARGS)]
    assert message.text == f"Sure: {BROKEN}"
    assert_mended(endpoint, f"Sure: {BROKEN}")


@pytest.mark.parametrize("streamed", [False, True], ids=["invoked", "streamed"])
@pytest.mark.parametrize("reply", [BROKEN, BROKEN[:40]], ids=["tag", "cut"])
def test_in_the_next_turn_it_stands_as_the_model_wrote_it(
    endpoint: Endpoint, model: ChatAI365VIP, reply: str, streamed: bool
) -> None:
    endpoint.pieces = in_turn([reply], [reply], ["Three."])
    bound = model.bind_tools([add])
    message: AIMessage = merged(bound.stream("x")) if streamed else bound.invoke("x")
    (call,) = message.invalid_tool_calls
    result = ToolMessage("Bad arguments.", tool_call_id=call["id"] or "", status="error")
    bound.invoke([HumanMessage("x"), message, result])
    assert [turn["content"] for turn in endpoint.bodies[-1]["messages"]] == [
        "x",
        reply.strip(),
        '<tool_response>\n{"name": "add", "status": "error", "content": "Bad arguments."}\n'
        "</tool_response>",
    ]


def test_one_of_several_calls_in_a_list_is_handed_out_as_its_part_of_the_list(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    good, wrong = '{"name": "add", "arguments": {"a": 1, "b": 2}}', '{"name": "add", "args": [1]}'
    endpoint.pieces = [f"<tool_call>[{good}, {wrong}]</tool_call>"]
    message = model.bind_tools([add]).invoke("x")
    assert [call["args"] for call in message.tool_calls] == [{"a": 1, "b": 2}]
    (call,) = message.invalid_tool_calls
    assert call["args"] is not None
    assert call["args"].endswith('<tool_call>\n{"name": "add", "arguments": [1]}\n</tool_call>')


def work_of_core(size: int, monkeypatch: pytest.MonkeyPatch, *, streamed: bool) -> int:
    """How many characters core parses for a reply with an invalid call of this size."""
    work = 0

    def loads(text: str, **options: Any) -> Any:
        nonlocal work
        work += len(text)
        return json.loads(text, **options)

    counting = SimpleNamespace(loads=loads, JSONDecodeError=json.JSONDecodeError)
    monkeypatch.setattr(core_json, "json", counting)
    written = f'<tool_call>\n{{"name": "add", "arguments": {{"a": "{"line of text " * (size // 13)}'
    with Endpoint() as endpoint:
        endpoint.pieces = in_turn([*"Sure", written], [written])
        bound = ChatAI365VIP(base_url=endpoint.base_url).bind_tools([add])
        message: AIMessage = merged(bound.stream("x")) if streamed else bound.invoke("x")
    assert len(message.invalid_tool_calls) == 1
    return work


@pytest.mark.parametrize("streamed", [False, True], ids=["invoked", "streamed"])
def test_the_work_of_core_grows_as_the_call_does(
    monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    small = work_of_core(2_000, monkeypatch, streamed=streamed)
    large = work_of_core(8_000, monkeypatch, streamed=streamed)
    assert 0 < large <= 5 * small


def test_a_call_that_was_mended_leaves_nothing_of_the_first(
    endpoint: Endpoint, model: ChatAI365VIP
) -> None:
    endpoint.pieces = in_turn([BROKEN], [ADD])
    message = model.bind_tools([add]).invoke("x")
    assert message.invalid_tool_calls == []
    assert gist([message]) == [("call", "add", {"a": 1, "b": 2}), ("end", "tool_calls")]
    assert_mended(endpoint, BROKEN)
