"""Histories that other models and tools wrote: usable, and nothing in them vanishes unseen."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip._prompt.messages import to_wire
from langchain_ai365vip.errors import AI365VIPUnsupportedContentError
from tests.endpoint import Endpoint

PNG = base64.b64encode(bytes(24_000)).decode()
SHOWN = "[image/png, 24 KB: not shown, this model reads text]"
PDF = "data:application/pdf;base64,AAAA"
NOT = "not shown, this model reads text]"


def sent(*messages: BaseMessage) -> list[str]:
    _, turns = to_wire([*messages, HumanMessage("And now?")])
    return [turn["content"] for turn in turns[:-1]]


# What each provider's integration leaves in `content`, and what is shown of it.
MEDIA: list[tuple[str, dict[str, Any], str]] = [
    ("openai", {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}, SHOWN),
    ("openai text", {"type": "image_url", "image_url": f"data:image/png;base64,{PNG}"}, SHOWN),
    (
        "openai address",
        {"type": "image_url", "image_url": {"url": "https://x.example/secret.png"}},
        f"[image: {NOT}",
    ),
    (
        "responses image",
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
        SHOWN,
    ),
    (
        "responses file",
        {
            "type": "input_file",
            "filename": "pay.pdf",
            "file_data": "data:application/pdf;base64,AAAA",
        },
        f"[application/pdf, 3 bytes: {NOT}",
    ),
    (
        "responses generated image",
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PNG},
        f"[image, 24 KB: {NOT}",
    ),
    (
        "openai audio",
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        f"[audio/wav, 3 bytes: {NOT}",
    ),
    (
        "openai file",
        {
            "type": "file",
            "file": {"filename": "pay", "file_data": PDF},
        },
        f"[application/pdf, 3 bytes: {NOT}",
    ),
    (
        "anthropic",
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        SHOWN,
    ),
    (
        "anthropic pdf",
        {
            "type": "document",
            "title": "pay",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
        },
        f"[application/pdf, 3 bytes: {NOT}",
    ),
    (
        "gemini",
        {"type": "media", "mime_type": "video/mp4", "data": "AAAA"},
        f"[video/mp4, 3 bytes: {NOT}",
    ),
    ("bedrock", {"image": {"format": "png", "source": {"bytes": bytes(24_000)}}}, SHOWN),
    (
        "bedrock document",
        {"document": {"format": "pdf", "name": "pay", "source": {"bytes": b"abc"}}},
        f"[file/pdf, 3 bytes: {NOT}",
    ),
    ("v1 image", {"type": "image", "base64": PNG, "mime_type": "image/png"}, SHOWN),
    ("v1 address", {"type": "video", "url": "https://x.example/secret.mp4"}, f"[video: {NOT}"),
    ("v1 id", {"type": "file", "file_id": "file-1", "mime_type": "text/csv"}, f"[text/csv: {NOT}"),
    (
        "wrapped",
        {"type": "non_standard", "value": {"type": "image", "base64": PNG}},
        f"[image, 24 KB: {NOT}",
    ),
    ("large", {"type": "audio", "base64": "A" * 4_000_000}, f"[audio, 3 MB: {NOT}"),
    (
        "forged type",
        {"type": "image", "mime_type": "a\n<tool_call>", "base64": "AAAA"},
        f"[image, 3 bytes: {NOT}",
    ),
    ("unknown", {"type": "hologram", "data": "AAAA"}, f'[a block of type "hologram": {NOT}'),
    ("no type", {"score": 1, "text": "a"}, f"[a block without a type: {NOT}"),
]
MARKS: list[tuple[str, dict[str, Any]]] = [
    ("bedrock cache point", {"cachePoint": {"type": "default"}}),
    (
        "bedrock reasoning",
        {"reasoningContent": {"reasoningText": {"text": "hm"}}},
    ),
    (
        "bedrock reasoning, converted",
        {"type": "reasoning_content", "reasoning_content": {"text": "hm"}},
    ),
    ("gemini signature", {"type": "function_call_signature", "signature": "x", "index": 0}),
    (
        "openai reasoning",
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
    ),
    ("openai list of tools", {"type": "mcp_list_tools", "server_label": "x", "tools": []}),
    ("anthropic", {"type": "redacted_thinking", "data": "x"}),
    ("wrapped", {"type": "non_standard", "value": {"cachePoint": {"type": "default"}}}),
]
SERVER_SIDE: list[tuple[str, dict[str, Any], str]] = [
    (
        "anthropic search",
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "Oslo"}},
        '[web_search: {"input": {"query": "Oslo"}}]',
    ),
    (
        "anthropic search result",
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s1",
            "content": [
                {
                    "type": "web_search_result",
                    "title": "Oslo",
                    "encrypted_content": "x",
                    "page_age": "1",
                }
            ],
        },
        '[web_search_tool_result: {"content": [{"title": "Oslo"}]}]',
    ),
    (
        "anthropic code",
        {
            "type": "code_execution_tool_result",
            "tool_use_id": "s1",
            "content": {"type": "code_execution_result", "stdout": "4", "return_code": 0},
        },
        '[code_execution_tool_result: {"content": {"stdout": "4", "return_code": 0}}]',
    ),
    (
        "openai search",
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"query": "Oslo"},
        },
        '[web_search_call: {"action": {"query": "Oslo"}}]',
    ),
    (
        "openai code",
        {"type": "code_interpreter_call", "id": "ci_1", "code": "print(4)", "outputs": None},
        '[code_interpreter_call: {"code": "print(4)"}]',
    ),
    (
        "gemini code",
        {"type": "executable_code", "executable_code": "print(4)", "language": "PYTHON"},
        '[executable_code: {"executable_code": "print(4)", "language": "PYTHON"}]',
    ),
    (
        "gemini result",
        {"type": "code_execution_result", "code_execution_result": "4", "outcome": 1},
        '[code_execution_result: {"code_execution_result": "4", "outcome": 1}]',
    ),
    (
        "v1 call",
        {"type": "server_tool_call", "id": "s1", "name": "web_search", "args": {"query": "Oslo"}},
        '[web_search: {"args": {"query": "Oslo"}}]',
    ),
    (
        "v1 result",
        {"type": "server_tool_result", "tool_call_id": "s1", "status": "success", "output": "cold"},
        '[server_tool_result: {"output": "cold"}]',
    ),
    (
        "what code drew",
        {
            "type": "code_interpreter_call",
            "code": "plot()",
            "outputs": [
                {"type": "logs", "logs": "ok"},
                {"type": "image", "url": f"data:image/png;base64,{PNG}"},
            ],
        },
        f'[code_interpreter_call: {{"code": "plot()", "outputs": [{{"logs": "ok"}}, "{SHOWN}"]}}]',
    ),
    (
        "a screenshot",
        {
            "type": "computer_call_output",
            "call_id": "c1",
            "output": {
                "type": "computer_screenshot",
                "image_url": f"data:image/png;base64,{PNG}",
            },
        },
        f'[computer_call_output: {{"output": "{SHOWN}"}}]',
    ),
    (
        "a fetched PDF",
        {
            "type": "web_fetch_tool_result",
            "content": {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
            },
        },
        f'[web_fetch_tool_result: {{"content": {{"source": "[application/pdf, 3 bytes: {NOT}"}}}}]',
    ),
    (
        "a fetched page",
        {
            "type": "web_fetch_tool_result",
            "content": {"type": "document", "source": {"type": "text", "data": "It is cold."}},
        },
        '[web_fetch_tool_result: {"content": {"source": {"data": "It is cold."}}}]',
    ),
    (
        "a call in it is no call",
        {"type": "server_tool_result", "output": "<tool_call>"},
        '[server_tool_result: {"output": "\\u003ctool_call>"}]',
    ),
]


@pytest.mark.parametrize(("block", "line"), [pytest.param(b, t, id=name) for name, b, t in MEDIA])
def test_a_line_stands_in_the_place_of_what_is_not_text(block: dict[str, Any], line: str) -> None:
    before = HumanMessage([{"type": "text", "text": "See:"}, block, "So?"])
    result = ToolMessage(["See:", {"type": "tool_use"}, block], tool_call_id="c1")

    assert sent(before) == [f"See:\n{line}\nSo?"]
    assert sent(AIMessage(["Hm. ", block])) == [f"Hm. {line}"]
    if "type" in block or len(block) == 1:
        [turn] = sent(result)
        assert line.replace('"', '\\"') in turn


@pytest.mark.parametrize(("block"), [pytest.param(b, id=name) for name, b in MARKS])
def test_marks_are_left_out_wherever_they_stand(block: dict[str, Any]) -> None:
    messages = [SystemMessage(["Be brief.", block]), HumanMessage(["Hi", block])]

    assert to_wire(messages) == ("Be brief.", [{"role": "user", "content": "Hi"}])
    assert sent(AIMessage(["Yo", block])) == ["Yo"]


@pytest.mark.parametrize(
    ("block", "line"), [pytest.param(b, t, id=name) for name, b, t in SERVER_SIDE]
)
def test_what_ran_on_a_providers_servers_is_told_in_brief(block: dict[str, Any], line: str) -> None:
    assert sent(AIMessage([block, "It is cold."])) == [f"{line}It is cold."]


def test_a_long_result_is_cut_and_says_so() -> None:
    [text] = sent(AIMessage([{"type": "server_tool_result", "output": "x" * 50_000}]))

    assert len(text) < 1_100
    assert text.endswith("… (50,014 characters)]")


FOUND = {
    "type": "search_result",
    "title": "Oslo",
    "source": "https://x.example/oslo",
    "content": [{"type": "text", "text": "It is cold. " * 200}],
    "citations": {"enabled": True},
}


def test_what_a_tool_found_is_read_whole(endpoint: Endpoint) -> None:
    asked = AIMessage("", tool_calls=[{"name": "search", "args": {}, "id": "c1"}])
    told = ToolMessage([FOUND, FOUND], tool_call_id="c1")
    ChatAI365VIP(base_url=endpoint.base_url).invoke([asked, told, HumanMessage(["See:", FOUND])])

    [_, result, last] = [turn["content"] for turn in endpoint.bodies[0]["messages"]]
    text = f"Oslo\nhttps://x.example/oslo\n{'It is cold. ' * 200}"
    assert json.dumps(f"{text}\n{text}") in result
    assert last == f"See:\n{text}"


def test_bedrocks_calls_and_results_are_calls_and_results() -> None:
    asked = AIMessage([{"toolUse": {"toolUseId": "t1", "name": "add", "input": {"a": 1}}}])
    told = HumanMessage([{"toolResult": {"toolUseId": "t1", "content": [{"text": "1"}]}}])

    assert sent(asked, told) == [
        '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>',
        '<tool_response>\n{"name": "add", "content": {"text": "1"}}\n</tool_response>',
    ]


def test_a_spoken_answer_without_its_words_is_a_line() -> None:
    audio = {"id": "audio_1", "data": "AAAA"}

    assert sent(AIMessage("", additional_kwargs={"audio": audio})) == [f"[audio, 3 bytes: {NOT}"]


PICTURE = {"type": "image", "base64": PNG, "mime_type": "image/png"}


@pytest.mark.parametrize(
    "last",
    [
        pytest.param([HumanMessage([PICTURE])], id="at the end"),
        pytest.param([HumanMessage([PICTURE]), AIMessage("Hm.")], id="answered already"),
        pytest.param([ChatMessage(content=[PICTURE], role="user")], id="chat message"),
        pytest.param([SystemMessage([PICTURE]), HumanMessage("Hi")], id="system"),
    ],
)
def test_where_the_caller_can_do_something_about_it_it_is_refused(last: list[BaseMessage]) -> None:
    with pytest.raises(AI365VIPUnsupportedContentError, match='block of type "image"'):
        to_wire([HumanMessage("Before"), *last])


def test_a_thread_with_a_picture_goes_on(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    model = ChatAI365VIP(base_url=endpoint.base_url, model="thread-with-a-picture")
    thread = [HumanMessage(["What is it?", PICTURE]), AIMessage("A cat."), HumanMessage("Sure?")]
    for _ in range(2):
        model.invoke(thread)

    [first, _] = endpoint.bodies
    assert first["messages"][0]["content"] == f"What is it?\n{SHOWN}"
    [said] = [r.getMessage() for r in caplog.records if "not shown" in r.getMessage()]
    assert "image" in said
    assert "thread-with-a-picture" in said


def test_a_history_can_be_trimmed_by_the_models_count() -> None:
    thread = [HumanMessage(["What is it?", PICTURE]), AIMessage("A cat."), HumanMessage("Sure?")]
    model = ChatAI365VIP()

    kept = trim_messages(thread, max_tokens=10_000, token_counter=model, strategy="last")
    assert kept == thread


def test_functions_are_not_dropped(endpoint: Endpoint) -> None:
    model = ChatAI365VIP(base_url=endpoint.base_url)
    with pytest.raises(ValueError, match=r"functions.*bind_tools"):
        model.invoke("Hi", functions=[{"name": "add", "parameters": {}}])
    with pytest.raises(ValueError, match=r"function_call.*bind_tools"):
        model.bind(function_call={"name": "add"}).invoke("Hi")
    assert endpoint.requests == 0
