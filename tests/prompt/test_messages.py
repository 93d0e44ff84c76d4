"""LangChain messages -> prompt and turns: every kind of message, nothing lost or changed."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_ai365vip._prompt.messages import to_wire
from langchain_ai365vip._wire.facts import DEFAULT_PROMPT, SPECIAL_TOKENS
from langchain_ai365vip._wire.payload import check_special_tokens
from langchain_ai365vip.errors import (
    AI365VIPInvalidRequestError,
    AI365VIPUnsupportedContentError,
)

Content = Any  # list content is typed invariantly by core; the tests pass plain literals
Turn = tuple[str, str]


def user(content: Content, **kwargs: Any) -> HumanMessage:
    return HumanMessage(content, **kwargs)


def ai(content: Content, *calls: tuple[str, dict[str, Any], str], **kwargs: Any) -> AIMessage:
    tool_calls = [{"name": name, "args": args, "id": id} for name, args, id in calls]
    return AIMessage(content, tool_calls=tool_calls, **kwargs)


def turns_of(*messages: BaseMessage, **kwargs: Any) -> list[Turn]:
    _, turns = to_wire(messages, **kwargs)
    return [(turn["role"], turn["content"]) for turn in turns]


def call(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


def response(body: str) -> str:
    return f"<tool_response>\n{body}\n</tool_response>"


# ---------------------------------------------------------------- the prompt


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        pytest.param([user("Hi")], DEFAULT_PROMPT, id="default"),
        pytest.param([SystemMessage("A"), user("Hi")], "A", id="first"),
        pytest.param(
            [SystemMessage("A"), user("Hi"), SystemMessage("B"), ai("Yo")], "A\n\nB", id="anywhere"
        ),
        pytest.param([SystemMessage("A")], "A", id="nothing else"),
        pytest.param([SystemMessage(""), user("Hi")], DEFAULT_PROMPT, id="empty says nothing"),
        pytest.param([SystemMessage([{"type": "text", "text": "A"}, "B"])], "A\nB", id="blocks"),
        pytest.param([SystemMessage("Hi!", name="example_user")], "example_user: Hi!", id="name"),
        pytest.param([ChatMessage(content="A", role="system")], "A", id="chat system"),
        pytest.param([ChatMessage(content="A", role="Developer")], "A", id="chat developer"),
    ],
)
def test_system_messages_reach_the_prompt(messages: list[BaseMessage], prompt: str) -> None:
    assert to_wire(messages)[0] == prompt


def test_the_prompt_is_the_callers_where_no_system_message_speaks() -> None:
    assert to_wire([user("Hi")], system_prompt="Be brief.")[0] == "Be brief."
    assert to_wire([SystemMessage("A")], system_prompt="Be brief.")[0] == "A"


@pytest.mark.parametrize(
    ("system_prompt", "prompt"), [("Be brief.", "Be brief.\n\n# Tools"), ("", "# Tools")]
)
def test_instructions_follow_the_prompt_after_a_blank_line(system_prompt: str, prompt: str) -> None:
    got, _ = to_wire([user("Hi")], system_prompt=system_prompt, instructions="# Tools")
    assert got == prompt


# ---------------------------------------------------------------- plain turns

TURNS: list[tuple[str, list[BaseMessage], list[Turn]]] = [
    ("human", [user("Hi")], [("user", "Hi")]),
    ("ai", [user("Hi"), ai("Yo")], [("user", "Hi"), ("assistant", "Yo")]),
    ("human with a name", [user("Hi", name="Ann")], [("user", "Ann: Hi")]),
    ("human with an empty name", [user("Hi", name="")], [("user", "Hi")]),
    ("the agent's label is not sent", [ai("Yo", name="researcher")], [("assistant", "Yo")]),
    (
        "one role twice",
        [user("a"), user("b"), ai("c"), ai("d")],
        [("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d")],
    ),
    (
        "empty turns stay",
        [user(""), ai(""), user([])],
        [("user", ""), ("assistant", ""), ("user", "")],
    ),
    ("only system messages", [SystemMessage("A")], []),
    (
        "chunks",
        [HumanMessageChunk(content="Hi"), AIMessageChunk(content="Yo")],
        [("user", "Hi"), ("assistant", "Yo")],
    ),
    ("chat user", [ChatMessage(content="Hi", role="user", name="Ann")], [("user", "Ann: Hi")]),
    ("chat assistant", [ChatMessage(content="Yo", role="assistant")], [("assistant", "Yo")]),
    ("human blocks", [user(["a", {"type": "text", "text": "b"}])], [("user", "a\nb")]),
    (
        "ai blocks are cut anywhere",
        [ai([{"type": "text", "text": "It "}, {"type": "text", "text": "is.", "citations": [{}]}])],
        [("assistant", "It is.")],
    ),
    (
        "reasoning is left out",
        [
            ai(
                [
                    {"type": "reasoning", "reasoning": "hm"},
                    {"type": "thinking", "thinking": "hm", "signature": "x"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "Yo"},
                ]
            )
        ],
        [("assistant", "Yo")],
    ),
    (
        "a refusal is what was said",
        [ai([{"type": "refusal", "refusal": "No."}])],
        [("assistant", "No.")],
    ),
    (
        "the transcript of a spoken answer",
        [ai("", additional_kwargs={"audio": {"id": "a1", "data": "UklG", "transcript": "Yes."}})],
        [("assistant", "Yes.")],
    ),
    (
        "an answer that is both written and spoken",
        [ai("Yes, I do.", additional_kwargs={"audio": {"id": "a1", "transcript": "Yes."}})],
        [("assistant", "Yes, I do.")],
    ),
    (
        "a refusal beside empty content",
        [ai("", additional_kwargs={"refusal": "No."})],
        [("assistant", "No.")],
    ),
    ("openai responses text", [ai([{"type": "output_text", "text": "Yo"}])], [("assistant", "Yo")]),
    (
        "plain text file",
        [user([{"type": "text-plain", "text": "body", "title": "T", "context": "C"}])],
        [("user", "T\nC\nbody")],
    ),
    (
        "plain text in base64",
        [user([{"type": "text-plain", "base64": base64.b64encode("né".encode()).decode()}])],
        [("user", "né")],
    ),
    (
        "v0 text file",
        [user([{"type": "file", "source_type": "text", "text": "t"}])],
        [("user", "t")],
    ),
    (
        "anthropic text document",
        [user([{"type": "document", "title": "T", "source": {"type": "text", "data": "d"}}])],
        [("user", "T\nd")],
    ),
    (
        "anthropic document of blocks",
        [
            user(
                [
                    {
                        "type": "document",
                        "source": {"type": "content", "content": [{"type": "text", "text": "d"}]},
                    }
                ]
            )
        ],
        [("user", "d")],
    ),
    ("bedrock text", [user([{"text": "a"}])], [("user", "a")]),
    (
        "non-standard block around a text",
        [user([{"type": "non_standard", "value": {"type": "input_text", "text": "a"}}])],
        [("user", "a")],
    ),
]


@pytest.mark.parametrize(
    ("messages", "expected"), [pytest.param(m, e, id=name) for name, m, e in TURNS]
)
def test_messages_become_turns(messages: list[BaseMessage], expected: list[Turn]) -> None:
    assert turns_of(*messages) == expected


# ---------------------------------------------------------------- tool calls and results

ADD = ("add", {"a": 1, "b": "ü"}, "c1")
ADD_TEXT = call('{"name": "add", "arguments": {"a": 1, "b": "ü"}}')
TOOLS: list[tuple[str, list[BaseMessage], list[Turn]]] = [
    ("a call alone", [ai("", ADD)], [("assistant", ADD_TEXT)]),
    ("text and a call", [ai("Let me see.", ADD)], [("assistant", "Let me see.\n" + ADD_TEXT)]),
    (
        "two calls",
        [ai("", ADD, ("now", {}, "c2"))],
        [("assistant", ADD_TEXT + "\n" + call('{"name": "now", "arguments": {}}'))],
    ),
    (
        "anthropic blocks that repeat the call",
        [
            ai(
                [
                    {"type": "text", "text": "Hm."},
                    {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1, "b": "ü"}},
                ],
                ADD,
            )
        ],
        [("assistant", "Hm.\n" + ADD_TEXT)],
    ),
    (
        "anthropic blocks that are the call",
        [ai([{"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1, "b": "ü"}}])],
        [("assistant", ADD_TEXT)],
    ),
    (
        "v1 blocks that repeat the call",
        [
            AIMessage(
                content_blocks=[
                    {"type": "text", "text": "Hm."},
                    {"type": "tool_call", "id": "c1", "name": "add", "args": {"a": 1, "b": "ü"}},
                ]
            )
        ],
        [("assistant", "Hm.\n" + ADD_TEXT)],
    ),
    (
        "openai responses blocks, arguments letter by letter",
        [ai([{"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a":1}'}])],
        [("assistant", call('{"name": "add", "arguments": {"a":1}}'))],
    ),
    (
        "openai's old function call",
        [
            ai("", additional_kwargs={"function_call": {"name": "add", "arguments": '{"a":1}'}}),
            FunctionMessage(content="2", name="add"),
        ],
        [
            ("assistant", call('{"name": "add", "arguments": {"a":1}}')),
            ("user", response('{"name": "add", "content": "2"}')),
        ],
    ),
    (
        "a merged chunk",
        [
            AIMessageChunk(
                content="",
                tool_call_chunks=[{"name": "add", "args": '{"a": 1}', "id": "c1", "index": 0}],
            )
        ],
        [("assistant", call('{"name": "add", "arguments": {"a": 1}}'))],
    ),
    (
        "a broken call stays as it was written",
        [
            AIMessage(
                "Hm.",
                invalid_tool_calls=[{"name": "add", "args": '{"a": 1,', "id": "c1", "error": "x"}],
            ),
            ToolMessage("not JSON", tool_call_id="c1", status="error"),
        ],
        [
            ("assistant", "Hm.\n" + call('{"name": "add", "arguments": {"a": 1,}')),
            ("user", response('{"name": "add", "status": "error", "content": "not JSON"}')),
        ],
    ),
    (
        "a broken call without a name",
        [
            AIMessage(
                "", invalid_tool_calls=[{"name": None, "args": "oops", "id": "c1", "error": "x"}]
            )
        ],
        [("assistant", call("oops"))],
    ),
    (
        "results in a row make one turn",
        [
            ai("", ADD, ("now", {}, "c2")),
            ToolMessage("2", tool_call_id="c1"),
            SystemMessage("aside"),
            ToolMessage("noon", tool_call_id="c2"),
            user("And?"),
        ],
        [
            ("assistant", ADD_TEXT + "\n" + call('{"name": "now", "arguments": {}}')),
            (
                "user",
                response('{"name": "add", "content": "2"}')
                + "\n"
                + response('{"name": "now", "content": "noon"}'),
            ),
            ("user", "And?"),
        ],
    ),
    (
        "results of one tool say which call they answer",
        [
            ai("", ("look", {"x": 1}, "c1"), ("look", {"x": 2}, "c2")),
            ToolMessage("two", tool_call_id="c2"),
            ToolMessage("one", tool_call_id="c1"),
        ],
        [
            (
                "assistant",
                call('{"name": "look", "arguments": {"x": 1}}')
                + "\n"
                + call('{"name": "look", "arguments": {"x": 2}}'),
            ),
            (
                "user",
                response('{"name": "look", "call": 2, "content": "two"}')
                + "\n"
                + response('{"name": "look", "call": 1, "content": "one"}'),
            ),
        ],
    ),
    (
        "an id used again means the latest call",
        [
            ai("", ("old", {}, "call_0")),
            ToolMessage("1", tool_call_id="call_0"),
            ai("", ("new", {}, "call_0")),
            ToolMessage("2", tool_call_id="call_0"),
        ],
        [
            ("assistant", call('{"name": "old", "arguments": {}}')),
            ("user", response('{"name": "old", "content": "1"}')),
            ("assistant", call('{"name": "new", "arguments": {}}')),
            ("user", response('{"name": "new", "content": "2"}')),
        ],
    ),
    (
        "a result of an unknown call",
        [ToolMessage("2", tool_call_id="gone")],
        [("user", response('{"content": "2"}'))],
    ),
    (
        "a result's own name",
        [ToolMessage("2", tool_call_id="gone", name="add")],
        [("user", response('{"name": "add", "content": "2"}'))],
    ),
    (
        "a result in blocks",
        [ToolMessage(["a", {"type": "text", "text": "b"}], tool_call_id="x")],
        [("user", response(r'{"content": "a\nb"}'))],
    ),
    (
        "a result of data",
        [ToolMessage([{"score": 1, "text": "é"}], tool_call_id="x")],
        [("user", response('{"content": {"score": 1, "text": "é"}}'))],
    ),
    (
        "anthropic results in a human message",
        [
            ai("", ADD),
            user(
                [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c1",
                        "content": [{"type": "text", "text": "2"}],
                        "is_error": False,
                    },
                    {"type": "text", "text": "Well?"},
                ]
            ),
        ],
        [
            ("assistant", ADD_TEXT),
            ("user", response('{"name": "add", "content": "2"}') + "\nWell?"),
        ],
    ),
    (
        "anthropic results one by one",
        [
            ai("", ADD, ("now", {}, "c2")),
            user([{"type": "tool_result", "tool_use_id": "c1", "content": "2"}]),
            user([{"type": "tool_result", "tool_use_id": "c2", "is_error": True}]),
        ],
        [
            ("assistant", ADD_TEXT + "\n" + call('{"name": "now", "arguments": {}}')),
            (
                "user",
                response('{"name": "add", "content": "2"}')
                + "\n"
                + response('{"name": "now", "status": "error", "content": ""}'),
            ),
        ],
    ),
    (
        "openai responses results",
        [user([{"type": "function_call_output", "call_id": "c1", "output": "2"}])],
        [("user", response('{"content": "2"}'))],
    ),
]


@pytest.mark.parametrize(
    ("messages", "expected"), [pytest.param(m, e, id=name) for name, m, e in TOOLS]
)
def test_tool_calls_and_results_read_as_text(
    messages: list[BaseMessage], expected: list[Turn]
) -> None:
    assert turns_of(*messages) == expected


def test_arguments_that_json_does_not_know_are_shown_as_text() -> None:
    from datetime import date

    [(_, text)] = turns_of(ai("", ("on", {"day": date(2026, 1, 2)}, "c")))
    assert '"day": "2026-01-02"' in text


# ---------------------------------------------------------------- what text cannot carry

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest.mark.parametrize(
    ("message", "place", "kind"),
    [
        pytest.param(user(["see", IMAGE]), "messages[1].content[1]", "image_url", id="openai"),
        pytest.param(
            user([{"type": "image", "url": "x"}]), "messages[1].content[0]", "image", id="v1 image"
        ),
        pytest.param(
            user([{"type": "audio", "base64": "x"}]), "messages[1].content[0]", "audio", id="audio"
        ),
        pytest.param(
            user([{"type": "video", "url": "x"}]), "messages[1].content[0]", "video", id="video"
        ),
        pytest.param(
            user([{"type": "file", "base64": "x", "mime_type": "application/pdf"}]),
            "messages[1].content[0]",
            "file",
            id="file",
        ),
        pytest.param(
            user([{"type": "document", "source": {"type": "base64", "data": "x"}}]),
            "messages[1].content[0]",
            "document",
            id="pdf document",
        ),
        pytest.param(
            user([{"type": "document", "source": "x"}]),
            "messages[1].content[0]",
            "document",
            id="broken document",
        ),
        pytest.param(
            user([{"type": "text-plain", "url": "http://x"}]),
            "messages[1].content[0]",
            "text-plain",
            id="text by url",
        ),
        pytest.param(
            user([{"type": "text-plain", "base64": "/w=="}]),
            "messages[1].content[0]",
            "text-plain",
            id="not utf-8",
        ),
        pytest.param(
            user([{"type": "non_standard", "value": IMAGE}]),
            "messages[1].content[0]",
            "image_url",
            id="wrapped",
        ),
        pytest.param(
            user([{"type": "text", "text": None}]), "messages[1].content[0]", "text", id="no text"
        ),
        pytest.param(
            user([{"type": "tool_use", "id": "x", "name": "f", "input": {}}]),
            "messages[1].content[0]",
            "tool_use",
            id="a call by a human",
        ),
        pytest.param(SystemMessage([IMAGE]), "messages[1].content[0]", "image_url", id="system"),
    ],
)
def test_a_block_that_text_cannot_carry_is_named(
    message: BaseMessage, place: str, kind: str
) -> None:
    with pytest.raises(AI365VIPUnsupportedContentError) as caught:
        to_wire([user("before"), message])
    assert str(caught.value).startswith(f'{place} is a block of type "{kind}". ')
    assert "text only" in str(caught.value)


def test_a_block_without_a_type_is_named_by_its_keys() -> None:
    with pytest.raises(AI365VIPUnsupportedContentError, match=r"keys: \['text', 'score'\]"):
        to_wire([user([{"text": "a", "score": 1}])])


class Note(BaseMessage):
    type: str = "note"


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "no messages"),
        ([user("a"), RemoveMessage("1")], r"messages\[1\] is a RemoveMessage"),
        ([Note(content="a")], r"messages\[0\] is a Note"),
        (
            [ChatMessage(content="a", role="judge")],
            'role "judge".*assistant.*developer.*ToolMessage',
        ),
    ],
    ids=["none", "remove", "unknown class", "unknown role"],
)
def test_what_is_not_a_conversation_is_refused(messages: list[BaseMessage], says: str) -> None:
    with pytest.raises(AI365VIPInvalidRequestError, match=says):
        to_wire(messages)


# ---------------------------------------------------------------- the reminder


def test_the_reminder_follows_the_last_user_turn_of_a_long_conversation() -> None:
    messages = [user("x" * 5_000), ai("y" * 990), user("z" * 10), ai("w")]
    assert turns_of(*messages, reminder="Rule.")[2] == ("user", "z" * 10 + "\n\nRule.")
    assert turns_of(*messages[:2], reminder="Rule.") == turns_of(*messages[:2])


def test_the_reminder_can_be_asked_for_at_once_and_after_tool_results() -> None:
    got = turns_of(ToolMessage("2", tool_call_id="c"), reminder="Rule.", remind_after=0)
    assert got == [("user", response('{"content": "2"}') + "\n\nRule.")]


def test_without_a_user_turn_the_prompt_alone_says_the_rule() -> None:
    messages = [SystemMessage("A"), ai("B")]
    prompt, turns = to_wire(messages, instructions="Rules.", reminder="Rule.", remind_after=0)
    assert (prompt, turns) == ("A\n\nRules.", [{"role": "assistant", "content": "B"}])


def test_special_tokens_in_calls_and_results_are_escaped_without_loss() -> None:
    token = SPECIAL_TOKENS[0]
    messages = [ai("", ("f", {"x": token}, "c")), ToolMessage(token, tool_call_id="c")]
    prompt, turns = to_wire(messages)
    assert check_special_tokens(prompt, turns, "raise")[2] is False
    for turn, key in zip(turns, ("arguments", "content"), strict=True):
        body = json.loads(turn["content"].split("\n")[1])
        assert body[key] in (token, {"x": token})


# ---------------------------------------------------------------- properties

texts = st.text(max_size=40)
contents = st.one_of(
    texts,
    st.lists(
        st.one_of(
            texts,
            texts.map(lambda text: {"type": "text", "text": text}),
            texts.map(lambda text: {"type": "text-plain", "text": text}),
        ),
        max_size=4,
    ),
)
conversations = st.lists(
    st.one_of(
        contents.map(user),
        contents.map(SystemMessage),
        contents.map(AIMessage),
        contents.map(lambda content: ChatMessage(content=content, role="user")),
        st.builds(
            lambda content, args: ai(content, ("f", args, "c")),
            contents,
            st.dictionaries(texts, st.one_of(texts, st.integers(), st.none()), max_size=3),
        ),
        st.builds(ToolMessage, contents, tool_call_id=st.sampled_from(["c", "d"])),
    ),
    min_size=1,
    max_size=8,
)


def texts_of(message: BaseMessage) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [part if isinstance(part, str) else part["text"] for part in message.content]


def find_in_order(parts: Sequence[str], text: str) -> bool:
    at = 0
    for part in parts:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


@given(conversations)
def test_no_text_is_lost_and_order_is_kept(messages: list[BaseMessage]) -> None:
    before = copy.deepcopy(messages)
    prompt, turns = to_wire(messages, system_prompt="")
    assert messages == before
    assert json.loads(json.dumps(turns)) == turns
    assert {turn["role"] for turn in turns} <= {"user", "assistant"}

    of_system = [text for m in messages if isinstance(m, SystemMessage) for text in texts_of(m)]
    assert find_in_order(of_system, prompt)
    spoken = [
        text
        for m in messages
        if not isinstance(m, (SystemMessage, ToolMessage))
        for text in texts_of(m)
    ]
    assert find_in_order(spoken, "\n".join(turn["content"] for turn in turns))


def tagged(tag: str, text: str) -> list[Any]:
    return [json.loads(body) for body in re.findall(rf"<{tag}>\n(.*?)\n</{tag}>", text, re.DOTALL)]


@given(conversations)
def test_every_call_and_result_can_be_read_back(messages: list[BaseMessage]) -> None:
    free = [text for m in messages if not isinstance(m, ToolMessage) for text in texts_of(m)]
    assume("<" not in "".join(free))  # what people write is free to look like a call
    text = "\n".join(turn["content"] for turn in to_wire(messages)[1])
    calls = [m.tool_calls[0]["args"] for m in messages if isinstance(m, AIMessage) and m.tool_calls]
    results = ["\n".join(texts_of(m)) for m in messages if isinstance(m, ToolMessage)]
    assert [call["arguments"] for call in tagged("tool_call", text)] == calls
    read = [result["content"] for result in tagged("tool_response", text)]
    assert len(read) == len(results)
    for got, result in zip(read, results, strict=True):
        assert got == result or got == json.loads(result)
