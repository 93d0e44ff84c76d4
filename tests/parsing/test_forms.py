"""Every form of the table in every situation: a new row is tested by being there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_ai365vip._parsing.dialects import FORMS, Form
from langchain_ai365vip._parsing.events import Call, Discard, Event, InvalidCall, Reasoning, Text
from langchain_ai365vip._parsing.parser import ToolCallParser
from langchain_ai365vip._parsing.turns import CHANNELS, ENDS, RESULTS, THOUGHTS

from .test_cases import TOOLS, parse, seen
from .writing import BY_NAME, Calls, write

ONE: Calls = [("run_code", {"code": "rm -rf /home/u/x\nls", "lang": "sh"})]
ALL: Calls = [
    *ONE,
    (
        "save_note",
        {
            "title": "Plan B",
            "tags": ["a", "b c"],
            "meta": {"author": "Ümit", "stars": 4, "draft": True},
        },
    ),
    ("set_level", {"level": 2.5, "on": False, "note": None}),
    ("ping", {}),
]
# What an argument's own text may hold: it is no mark, no fence and no number there.
TEXTS = [
    *("", "3", "true", "null", "[1, 2]", '{"a": 1}', "a\n\n  b\n", "日本語 😀", "a=b, c"),
    *("see </tool_call> there", "see </parameter> there", "</parameter>", "</arg_value>"),
    *('<tool_call>{"name": "ping"}</tool_call>', '<invoke name="ping"></invoke>', "a</invoke>b"),
    *("<function=ping>", "<parameter=title>", "line\n</parameter>\nline"),
    *("grep '</tool_call>' f", "print('<|action_end|>')"),
    "[TOOL_CALLS]ping[ARGS]{}",
    *("<|im_end|>", "</think>", "x <b>y</b> & z", "{curly} [square]", "f(x='y')"),
    *("He said \"hi\", it's", "```py\nx\n```", r"back\slash \n \d"),
]  # fmt: skip

each_form = pytest.mark.parametrize("form", BY_NAME.values(), ids=list(BY_NAME))
# In the thorough run a reply ends at each of its characters.
some_ends = pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.thorough)])
marked = {name: form for name, form in BY_NAME.items() if form.open}
each_marked = pytest.mark.parametrize("form", marked.values(), ids=list(marked))


def read(reply: str, **options: Any) -> list[Event]:
    parser = ToolCallParser(TOOLS, **options)
    events = parser.feed(reply) + parser.flush()
    assert "".join(event.raw for event in events) == reply
    return events


def calls_of(events: Iterable[Event]) -> Calls:
    return [(event.name, event.arguments) for event in events if isinstance(event, Call)]


def assert_reads(reply: str, calls: Calls, text: str = "", **options: Any) -> None:
    events = read(reply, **options)
    assert calls_of(events) == calls, (reply, events)
    assert not any(isinstance(event, InvalidCall) for event in events), (reply, events)
    said = "".join(event.text for event in events if isinstance(event, Text))
    assert said.split() == text.split(), reply


def last_mark(form: Form) -> str:
    return form.section[1] or form.close.format(name=ONE[0][0])


@each_form
def test_several_calls_are_read_and_nothing_else(form: Form) -> None:
    reply = write(form, ALL)
    assert_reads(reply, ALL)
    by_character = parse(list(reply), reasoning=False)
    assert seen(by_character) == seen(read(reply))


@each_form
def test_an_arguments_text_may_hold_anything(form: Form) -> None:
    for text in TEXTS:
        call: Calls = [("save_note", {"title": "t", "body": text})]
        assert_reads(write(form, call), call)


@each_marked
def test_text_stands_before_and_behind(form: Form) -> None:
    reply = write(form, ALL)
    assert_reads(f"Let me see.\n\n{reply}", ALL, "Let me see.")
    assert_reads(f"{reply}\n\nDone & so.", ALL, "Done & so.")


@some_ends
@each_form
def test_the_end_of_a_reply_completes_no_value(form: Form, step: int) -> None:
    """Half of `rm -rf /home/u/x` is another command."""
    reply = write(form, ALL[:2])
    for end in range(len(form.models) % step, len(reply), step):
        for (name, arguments), (tool, wanted) in zip(
            calls_of(read(reply[:end])), ALL, strict=False
        ):
            assert name == tool, reply[:end]
            assert arguments.items() <= wanted.items(), reply[:end]


@each_marked
def test_a_closing_mark_may_be_missing_or_half_or_another(form: Form) -> None:
    reply, mark = write(form, ONE), last_mark(form)
    if not mark:
        return
    whole = reply.rstrip("\n")
    body = whole[: -len(mark.strip())]
    assert_reads(body, ONE)
    if form.shape != "braces":
        assert_reads(f"{body}</tool_call>", ONE)
    if form.models != "Solar Open 2":  # half of it may be half of another field's
        assert_reads(whole[: -(len(mark.strip()) // 2)], ONE)
    if form.section[0]:
        assert_reads(write(form, ALL)[: -len(form.section[1])], ALL)
        assert_reads(write(form, ALL)[len(form.section[0]) :], ALL)


@each_marked
def test_the_opening_mark_may_be_twice_or_spelled_otherwise(form: Form) -> None:
    reply, mark = write(form, ALL), form.section[0] or form.open
    if re.fullmatch(r"<.*>", mark.strip()):
        assert_reads(f"{mark}\n{reply}", ALL)
    assert_reads(reply.replace(mark, mark.upper()), ALL)
    assert_reads(reply.replace("｜", "|").replace("▁", "_"), ALL)  # noqa: RUF001
    if re.match(r"<\w", mark):
        assert_reads(re.sub(rf"<(?={mark[1:]})", "< ", reply), ALL)


def test_a_tag_of_a_tools_own_name_may_be_spelled_otherwise() -> None:
    reply = write(BY_NAME["Cline, Roo, fields"], ONE)
    assert_reads(reply.replace(">", " >"), ONE)
    assert_reads(reply.replace("run_code", "Run code"), ONE)


@each_marked
def test_reasoning_that_never_ends_may_end_with_calls(form: Form) -> None:
    reply = write(form, ALL)
    assert_reads(f"<think>\nHm.\n{reply}", ALL, reasoning=True)
    assert_reads(f"<think>\nHm.\n{reply}\n</think>\nSo.", [], "So.", reasoning=True)
    assert_reads(f"<think>\nHm.\n{reply}\nSo.", [], reasoning=True)


@each_marked
def test_in_code_it_is_text_unless_it_ends_the_reply(form: Form) -> None:
    reply, one = write(form, ALL), write(form, ONE).replace("\n", " ")
    if "```" in reply:
        return
    assert_reads(f"See:\n```\n{reply}\n```\nSo.", [], f"See:\n```\n{reply}\n```\nSo.")
    assert_reads(f"See:\n```xml\n{reply}\n```", ALL, "See:")
    assert_reads(f"See ``{one}`` so.", [], f"See ``{one}`` so.")


OTHERS: Mapping[str, Any] = {
    "web-search": {"type": "object", "properties": {"query": {"type": "string"}}},
    "fs.read_file": {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
    },
    "bash": {"type": "object", "properties": {"command": {"type": "string"}}},
    "bash_output": {"type": "object", "properties": {"bash_id": {"type": "string"}}},
    "HTTP2Get": {"type": "object", "properties": {"port": {"type": "integer"}}},
    "Plan": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "type": {"enum": ["a", "b"]},
            "code": {"type": "string"},
            "arguments": {"type": "object"},
            "parameters": {"type": "array", "items": {"type": "object"}},
        },
    },
}


@each_form
def test_tools_and_parameters_may_have_any_name(form: Form) -> None:
    calls: Calls = [
        ("bash_output", {"bash_id": "007"}),
        ("bash", {"command": "bash_output"}),
        ("web-search", {"query": "a-b"}),
        ("fs.read_file", {"path": "C:\\temp\\new", "limit": None}),
        ("HTTP2Get", {"port": 80}),
        (
            "Plan",
            {
                "name": "bash",
                "type": "a",
                "code": "x = {'y': [1]}  # z",
                "arguments": {"name": "bash", "arguments": {}},
                "parameters": [{"name": "0"}],
            },
        ),
    ]
    parser = ToolCallParser(OTHERS)
    events = parser.feed(write(form, calls)) + parser.flush()
    assert calls_of(events) == calls


def test_a_tool_may_be_named_as_a_mark_is() -> None:
    text = {"type": "object", "properties": {"thought": {"type": "string"}}}
    tools = {"think": text, "tool_call": text, "tools": text}
    calls: Calls = [(name, {"thought": "x"}) for name in tools]
    parser = ToolCallParser(tools, reasoning=True)
    events = parser.feed(f"<think>\nHm.\n</think>\n{write(FORMS[0], calls)}") + parser.flush()
    assert calls_of(events) == calls
    assert "".join(event.raw for event in events if isinstance(event, Reasoning)) == "Hm.\n"


@each_form
def test_two_arguments_may_hold_an_opening_mark(form: Form) -> None:
    for mark in ("<tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "<invoke>"):
        call: Calls = [("save_note", {"title": mark, "body": f"a{mark}b"})]
        assert_reads(write(form, call), call)


@some_ends
@each_form
def test_the_end_of_a_reply_within_a_call_within_an_argument_completes_no_value(
    form: Form, step: int
) -> None:
    body = f"Write:\n{write(form, [('run_code', {'code': 'ls', 'lang': 'sh'})])}\nSo."
    reply = write(form, [("save_note", {"title": "t", "body": body})])
    for end in range(len(form.models) % step, len(reply), step):
        for _, arguments in calls_of(read(reply[:end])):
            assert arguments.items() <= {"title": "t", "body": body}.items(), reply[:end]


@pytest.mark.parametrize(
    "between",
    [
        "<|channel|>commentary json<|message|>",
        "<|channel|>commentary<|message|>",
        " <|constrain|>json<|message|>",
        " json<|message|>",
        "<|message|>",
    ],
)
@pytest.mark.parametrize(
    "opened", ["<|start|>assistant to=", "<|channel|>commentary to=", "<|channel|>analysis to="]
)
def test_gpt_oss_may_leave_out_any_part_of_a_mark(opened: str, between: str) -> None:
    assert_reads(f'{opened}functions.run_code{between}{{"code": "x"}}<|call|>', RUN_X)


RUN_X: Calls = [("run_code", {"code": "x"})]


@pytest.mark.parametrize(
    ("reply", "calls"),
    [
        (
            '<function name="run_code"><param name="code"><![CDATA[x]]></param></function>',
            RUN_X,
        ),
        (
            '<invoke id="1" name="run_code"><parameter type="string" name="code">x</parameter>'
            "</invoke>",
            RUN_X,
        ),
        (
            "<start_function_call>call:save_note{title:<escape>a<escape>body:<escape>b<escape>}"
            "<end_function_call>",
            [("save_note", {"title": "a", "body": "b"})],
        ),
        (
            "<tool_call:9a2b>run_code<arg_key:9a2b>code</arg_key:9a2b>"
            "<arg_value:9a2b>x</arg_value:9a2b></tool_call:9a2b>",
            RUN_X,
        ),
    ],
)
def test_what_a_model_does_to_its_form(reply: str, calls: Calls) -> None:
    assert_reads(reply, calls)


def test_a_closing_mark_behind_a_fence_belongs_to_its_calls() -> None:
    fenced = f"```json\n{write(BY_NAME['Llama 3, xLAM, OpenAI, json'], ONE)}\n```"
    assert_reads(f"{fenced}</tool_call>", ONE)
    assert_reads(f"{fenced}\n</tool_call>\nSo.", [], f"{fenced}\n</tool_call>\nSo.")


@pytest.mark.parametrize("between", ["", " ", "\n"])
def test_another_forms_closing_mark_behind_an_opening_one_is_text(between: str) -> None:
    assert_reads(
        f"<tool_call>{between}[/TOOL_CALL] So.", [], f"<tool_call>{between}[/TOOL_CALL] So."
    )


@each_form
def test_what_a_user_or_a_tool_wrote_is_text(form: Form) -> None:
    reply = write(form, ONE)
    assert not calls_of(read(reply, echoed=[f"Look: {reply}: it is"]))


@each_marked
def test_an_unknown_name_counts_on_lines_of_its_own_only(form: Form) -> None:
    tools: Mapping[str, Any] = {"other": {"type": "object", "properties": {}}}
    reply = write(form, [("lost", {"a": "x"})])
    if form.lines or form.keys is None or form.key.endswith("<"):
        return  # it is known by its name, or its parameters by theirs
    in_line = f"So {reply} it is."
    parser = ToolCallParser(tools)
    assert not calls_of(parser.feed(in_line) + parser.flush())
    parser = ToolCallParser(tools)
    assert calls_of(parser.feed(reply) + parser.flush()) == [("lost", {"a": "x"})]


@pytest.mark.parametrize(("begin", "end"), THOUGHTS)
def test_reasoning_is_read_in_every_models_marks(begin: str, end: str) -> None:
    call = write(FORMS[0], ONE)
    events = read(f"{begin}\nHm {call}.\n{end}\n{call}", reasoning=True)
    assert calls_of(events) == ONE
    thought = "".join(e.raw for e in events if not isinstance(e, Call | Discard | Text))
    assert thought.startswith("Hm")
    assert call in thought


@pytest.mark.parametrize("end", ENDS)
def test_an_end_token_behind_a_call_is_no_text(end: str) -> None:
    assert_reads(write(FORMS[0], ONE) + end, ONE)
    assert_reads(f"Fine.{end}", [], f"Fine.{end}")


@pytest.mark.parametrize("mark", CHANNELS)
def test_a_mark_in_front_of_the_answer_is_no_text(mark: str) -> None:
    assert_reads(f"{mark}Fine.", [], "Fine.")
    assert_reads(f"{mark}Fine.<|end|>", [], "Fine.")


@pytest.mark.parametrize("mark", RESULTS)
def test_a_made_up_result_ends_the_reply(mark: str) -> None:
    assert_reads(f"{write(FORMS[0], ONE)}\n{mark}\n3\nSo it is 3.", ONE)
    assert_reads(f"Fine.\n{mark} 3", [], f"Fine.\n{mark} 3")


@pytest.mark.parametrize(
    "reply",
    [
        "<|channel|>commentary to=functions.ping code<|message|>print(1)<|call|>",
        "<|channel|>commentary to=functions.ping<|message|>now<|call|>",
        "<|tool_call_begin|>functions.ping:0<|tool_call_argument_begin|>now<|tool_call_end|>",
    ],
)
def test_what_stands_where_the_arguments_should_is_never_dropped(reply: str) -> None:
    assert not calls_of(read(reply))


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        ("<tool_call>get_weather Oslo", "get_weather"),
        ("<function=ping> now", "ping"),
        ('So:\n<invoke name="save_note"> t', "save_note"),
        ('<tool_call>{"nme": "ping", "arguments": {}}\nLet us wait.', "ping"),
    ],
)
def test_a_call_that_is_missed_is_asked_for_again_and_repeats_no_character(
    reply: str, name: str
) -> None:
    *texts, event = read(reply)
    assert isinstance(event, InvalidCall)
    assert (event.name, event.raw) == (name, "")
    assert "".join(each.raw for each in texts if isinstance(each, Text)) == reply


@pytest.mark.parametrize(
    "reply",
    [
        "Use get_weather(city='Oslo') to ask.",
        "The <tool_call> mark belongs to get_weather.",
        "I would call get_weather, or ping, and </tool_call> is its end.",
        "get_weather is a tool, ping() another.",
        "Action: we should use ping here.\nReason: it is quick.",
        "<details>\n<ping>More</ping>\n</details>",
    ],
)
def test_prose_alone_is_no_missed_call(reply: str) -> None:
    assert_reads(reply, [], reply)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("functions.ping", "ping"),
        ("Ping", "ping"),
        ("GET_WEATHER", "get_weather"),
        ("default_api.ping", "ping"),
    ],
)
def test_a_name_is_matched_without_its_prefix_or_case(written: str, name: str) -> None:
    (event,) = read(f'<tool_call>{{"name": "{written}", "arguments": {{}}}}</tool_call>')
    assert isinstance(event, Call)
    assert event.name == name


def test_a_list_of_tools_as_the_prompt_has_it_is_no_call() -> None:
    shown = (
        '<tools>\n{"type": "function", "function": {"name": "ping", "description": "d", '
        '"parameters": {"type": "object", "properties": {}}}}\n</tools>'
    )
    assert_reads(shown, [], shown)


@pytest.mark.parametrize(
    "code",
    [
        "ping(__import__('os'))",
        "get_weather(city=open('x'))",
        "get_weather(city=f'{1}')",
        "get_weather(**{'city': 'x'})",
        "get_weather('Oslo')",
        "get_weather(city=b'x')",
        "get_weather(city={1, 2})",
        "get_weather(city=1 if 2 else 3)",
        "get_weather(days=" + "(" * 5000 + ")" * 5000 + ")",
        "get_weather(days=" + "-" * 5000 + "1)",
        "get_weather(city='" + "x" * 100_001 + "')",
    ],
)
def test_python_is_read_by_the_rules_of_literals_only(code: str) -> None:
    (event,) = read(f"<tool_call>{code}</tool_call>")
    assert isinstance(event, InvalidCall)


# --- whatever comes ---------------------------------------------------------------------

PIECES = sorted(
    {
        part
        for form in FORMS
        for part in (
            form.open,
            form.close,
            *form.section,
            form.args,
            form.key,
            form.value,
            form.end,
        )
    }
    | {mark for marks in (ENDS, CHANNELS, RESULTS, *THOUGHTS) for mark in marks}
    | {"{", "}", "[", "]", '"', "'", "(", ")", "`", "```\n", "\n", " ", ":", ",", "=", "Hi. "}
    | {"ping", "get_weather", "city", "Oslo", "days", '"name"', "print", "{}", "name=", ">", "<"}
)


@settings(max_examples=300)
@given(
    pieces=st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=25),
    places=st.lists(st.integers(0, 500), max_size=4),
    reasoning=st.booleans(),
)
def test_marks_strewn_in_prose_lose_no_character_and_invent_no_value(
    pieces: list[str], places: list[int], reasoning: bool
) -> None:
    reply = "".join(pieces)
    events = read(reply, reasoning=reasoning)
    cuts = sorted({0, len(reply), *(place % (len(reply) + 1) for place in places)})
    cut = [reply[start:end] for start, end in pairwise(cuts)]
    assert seen(parse(cut, reasoning=reasoning)) == seen(events)
    for name, arguments in calls_of(events):
        assert name.lower() in reply.lower()
        for value in arguments.values():
            assert not isinstance(value, str) or value in reply


def test_the_readme_says_how_many_forms_there_are() -> None:
    readme = Path(__file__).parents[2] / "README.md"
    assert f"[{len(FORMS)} forms" in readme.read_text(encoding="utf-8")
