"""Histories as other integrations make them from their providers' replies, sent on to the wire."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from langchain_ai365vip import ChatAI365VIP
from tests.endpoint import Endpoint

pytestmark = pytest.mark.heavy
CALLED = '\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
FOUND = {"type": "web_search_result", "title": "Oslo", "url": "u", "encrypted_content": "x"}
DIRECT = {"type": "direct"}
CLAUDE: dict[str, Any] = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "redacted_thinking", "data": "x"},
        {
            "type": "server_tool_use",
            "id": "s1",
            "name": "web_search",
            "input": {"query": "Oslo"},
            "caller": DIRECT,
        },
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s1",
            "caller": DIRECT,
            "content": [FOUND],
        },
        {"type": "text", "text": "It is cold.", "citations": None},
        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}, "caller": DIRECT},
    ],
}
GPT: dict[str, Any] = {
    "id": "resp_1",
    "created_at": 1.0,
    "model": "gpt-5",
    "object": "response",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "status": "completed",
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "Oslo"},
        },
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AAAA"},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "It is cold.", "annotations": []}],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "t1",
            "name": "add",
            "arguments": '{"a": 1}',
        },
    ],
}


def by_anthropic() -> AIMessage:
    from anthropic.types import Message
    from langchain_anthropic import ChatAnthropic

    model: Any = ChatAnthropic(model="claude", api_key="x")
    message: AIMessage = model._format_output(Message.model_validate(CLAUDE)).generations[0].message
    return message


def by_openai(version: str) -> AIMessage:
    from langchain_openai.chat_models import base
    from openai.types.responses import Response

    convert: Any = base._construct_lc_result_from_responses_api
    result = convert(Response.model_validate(GPT), output_version=version)
    message: AIMessage = result.generations[0].message
    return message


IMAGE = "[image, 3 bytes: not shown, this model reads text]"
SEARCHED = '[web_search_call: {"action": {"query": "Oslo"}}]'
HISTORIES = {
    "anthropic": (
        by_anthropic,
        '[web_search: {"input": {"query": "Oslo"}}]'
        '[web_search_tool_result: {"content": [{"title": "Oslo", "url": "u"}]}]It is cold.',
    ),
    "responses": (lambda: by_openai("responses/v1"), f"{SEARCHED}{IMAGE}It is cold."),
    "responses, in the old form": (lambda: by_openai("v0"), "It is cold."),
}


@pytest.mark.parametrize(("make", "shown"), HISTORIES.values(), ids=list(HISTORIES))
def test_a_thread_that_another_model_began_goes_on(
    endpoint: Endpoint, make: Any, shown: str
) -> None:
    model = ChatAI365VIP(base_url=endpoint.base_url)
    result = ToolMessage("1", tool_call_id="t1")
    answer = model.invoke([("user", "Cold?"), make(), result, ("user", "Sure?")])
    assert answer.text == "Hello there!"
    assert endpoint.bodies[0]["messages"][1]["content"] == shown + CALLED
    assert endpoint.requests == 1
