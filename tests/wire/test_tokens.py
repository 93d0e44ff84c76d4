"""Counting: exact where a vocabulary is at hand, safe bounds and estimates where not."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import ModelProfile
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_ai365vip import ChatAI365VIP
from langchain_ai365vip._profiles import model_profile
from langchain_ai365vip._prompt.messages import count_message_tokens, to_wire
from langchain_ai365vip._prompt.tools import to_openai_tools
from langchain_ai365vip._prompt.wording import describe_tools, tool_reminder
from langchain_ai365vip._wire import tokens as _tokens
from langchain_ai365vip._wire.facts import DEFAULT_PROMPT, MODELS, SPECIAL_TOKENS
from langchain_ai365vip._wire.tokens import (
    Encoding,
    best_counter,
    count_wire_tokens,
    encoder,
    encoding_of,
    estimate_tokens,
    exact_counter,
    load,
    pieces,
    server_counter,
    token_ids,
    utf8_length,
)

ENCODINGS: list[Encoding] = ["cl100k_base", "o200k_base"]


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process."""
    monkeypatch.setattr(_tokens, "_encoders", {})


@pytest.fixture
def without_the_extra(nothing_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bpe_openai", None)


def encode(encoding: Encoding) -> Callable[[str], list[int]]:
    got = encoder(encoding)
    assert got is not None
    return got


# ---------------------------------------------------------------- which vocabulary


@pytest.mark.parametrize(
    ("encoding", "models"),
    [
        (
            "cl100k_base",
            "gpt-3.5-turbo gpt-3.5-turbo-16k gpt-35-turbo gpt-4 gpt-4-0613 gpt-4-32k gpt-4-turbo "
            "openai/gpt-4 ft:gpt-3.5-turbo:acme::x",
        ),
        (
            "o200k_base",
            "gpt-4o gpt-4o-mini gpt-4o-2024-08-06 chatgpt-4o-latest gpt-4.1 gpt-4.1-mini "
            "gpt-4.5-preview gpt-5 gpt-5-mini gpt-5.1 gpt-oss-120b o1 o1-mini o3 o3-mini o4-mini "
            "openai/gpt-4o ft:gpt-4o:acme::x",
        ),
        (
            None,
            "smollm2 llama-3.1-8b qwen2.5 claude-sonnet-4-5 gpt-2 gpt-6 gpt-45 o1x o11 my-gpt-4 ",
        ),
    ],
    ids=["cl100k_base", "o200k_base", "unknown"],
)
def test_openais_models_have_a_known_vocabulary(encoding: Encoding | None, models: str) -> None:
    for model in [*models.split(), *([""] if encoding is None else [])]:
        assert encoding_of(model) == encoding, model


def test_the_source_systems_models_are_all_known() -> None:
    assert all(encoding_of(model) for model in MODELS)


# ---------------------------------------------------------------- exact


@pytest.mark.parametrize(
    ("encoding", "text", "ids"),
    [
        ("cl100k_base", "hello world", [15339, 1917]),
        ("o200k_base", "hello world", [24912, 2375]),
        ("cl100k_base", "<|endoftext|>", [27, 91, 8862, 728, 428, 91, 29]),
        ("cl100k_base", "", []),
    ],
)
def test_ids_are_openais(encoding: Encoding, text: str, ids: list[int]) -> None:
    assert encode(encoding)(text) == ids


@pytest.mark.parametrize("text", [*SPECIAL_TOKENS, "\ud800 lone", "é" * 3, "\x00"])
def test_any_text_can_be_counted(text: str) -> None:
    for encoding in ENCODINGS:
        assert 0 < len(encode(encoding)(text)) <= utf8_length(text)


@given(st.text())
def test_there_are_never_more_tokens_than_bytes(text: str) -> None:
    for encoding in ENCODINGS:
        assert len(encode(encoding)(text)) <= utf8_length(text)


WORDS = st.text(st.sampled_from("ab9_ .,\n\r\t\u3000é你ก\u0301'"), max_size=60)


@given(WORDS, st.integers(1, 20))
def test_cutting_into_pieces_loses_nothing_and_divides_where_tokens_do(
    text: str, size: int
) -> None:
    cut = list(pieces(text, size))
    assert "".join(cut) == text
    assert all(len(piece) <= size for piece in cut)
    for encoding in ENCODINGS:
        whole = encode(encoding)
        for before, after in itertools.pairwise(cut):
            if before[-1].isalnum() and after[0] in " \n":
                assert whole(before + after) == whole(before) + whole(after)


@pytest.mark.parametrize(
    "text",
    ["The quick brown fox.\n" * 60_000, "狐狸 跳过了懒狗。" * 120_000],
    ids=["a million characters", "over 200,000 tokens"],
)
def test_texts_beyond_the_librarys_limits_are_counted(text: str) -> None:
    count = exact_counter("gpt-4")
    assert count is not None
    half = text[: len(text) // 2]
    assert count(text) == pytest.approx(2 * count(half), abs=2)


def test_the_server_counts_with_one_vocabulary_whatever_the_model() -> None:
    server, own = server_counter(), exact_counter("gpt-4o")
    assert server is not None
    assert own is not None
    assert (server("你好吗"), own("你好吗")) == (4, 2)


def test_other_models_have_no_exact_counter() -> None:
    assert exact_counter("smollm2") is None


@pytest.mark.processes
def test_loading_says_nothing_even_where_warnings_are_errors() -> None:
    code = "from langchain_ai365vip._wire.tokens import load; assert load() and load('o200k_base')"
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---------------------------------------------------------------- at hand or not


@pytest.mark.usefixtures("nothing_loaded")
def test_a_vocabulary_is_loaded_when_first_needed() -> None:
    count = exact_counter("gpt-4")
    assert count is not None
    assert count("hello world") == 2


@pytest.mark.usefixtures("nothing_loaded")
def test_who_must_not_block_has_estimates_until_it_is_loaded() -> None:
    text = "hello wonderful world, how are you?"
    assert exact_counter("gpt-4", may_load=False) is None
    assert best_counter("gpt-4", may_load=False)(text) == estimate_tokens(text)
    assert token_ids("hé", "gpt-4", may_load=False) == [0x68, 0xC3, 0xA9]
    assert load()
    count = exact_counter("gpt-4", may_load=False)
    assert count is not None
    assert best_counter("gpt-4", may_load=False)(text) == count(text) == 8
    assert token_ids("hello world", "gpt-4", may_load=False) == [15339, 1917]


@pytest.mark.usefixtures("nothing_loaded")
async def test_on_an_event_loop_a_model_counts_without_blocking_it() -> None:
    text = "hello wonderful world, how are you?"
    model = ChatAI365VIP(model="gpt-4")
    with blockbuster_ctx():
        assert model.get_num_tokens(text) == estimate_tokens(text)
        assert model.get_token_ids("hé") == [0x68, 0xC3, 0xA9]
        assert await asyncio.to_thread(model.get_num_tokens, text) == 8
        assert model.get_num_tokens(text) == 8
        assert model.get_token_ids("hello world") == [15339, 1917]


@pytest.mark.usefixtures("without_the_extra")
def test_without_the_extra_counts_are_estimates_and_ids_are_bytes() -> None:
    assert load() is False
    assert exact_counter("gpt-4") is None
    assert server_counter() is None
    assert best_counter("gpt-4")("你好吗") == estimate_tokens("你好吗") == 4
    assert best_counter("gpt-4o")("你好吗") == estimate_tokens("你好吗", "o200k_base") == 3
    assert token_ids("é", "gpt-4") == [0xC3, 0xA9]


def test_other_models_are_estimated_and_borrow_ids() -> None:
    text = "hello world, hello"
    assert best_counter("smollm2")(text) == estimate_tokens(text)
    assert token_ids("hello world", "smollm2") == [15339, 1917]


# ---------------------------------------------------------------- estimates

# Article 1 of the Universal Declaration of Human Rights, and other kinds of text.
SAMPLE: dict[str, str] = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "kinds_of_text.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_estimates_stay_near_exact_counts(encoding: Encoding) -> None:
    exact = encode(encoding)
    errors = {
        kind: estimate_tokens(text, encoding) / len(exact(text)) - 1
        for kind, text in SAMPLE.items()
    }
    assert max(map(abs, errors.values())) <= 0.5, errors
    assert sum(map(abs, errors.values())) / len(errors) <= 0.2, errors


@given(st.text(), st.text())
def test_an_estimate_never_falls_as_the_text_grows(text: str, more: str) -> None:
    assert estimate_tokens(text) <= estimate_tokens(text + more)
    assert (estimate_tokens(text) > 0) is bool(text)


# ---------------------------------------------------------------- whole requests


def test_a_request_is_counted_as_it_goes_over_the_wire() -> None:
    messages = [SystemMessage("Be brief."), HumanMessage("Hi", name="Ann"), AIMessage("Yo")]
    turns = len("Ann: Hi") + len("Yo")
    framing = 3 * 4 + 3
    assert count_message_tokens(messages, count=len) == len("Be brief.") + turns + framing
    assert count_wire_tokens(*to_wire(messages), len) == len("Be brief.") + turns + framing


def test_tools_count_as_the_section_they_make() -> None:
    tool = {"type": "function", "function": {"name": "now"}}
    messages = [HumanMessage("Hi")]
    plain = count_message_tokens(messages, count=len)
    assert plain == len(DEFAULT_PROMPT) + len("Hi") + 11
    with_tools = count_message_tokens(messages, [tool], count=len)
    assert with_tools == plain + len("\n\n") + len(describe_tools(to_openai_tools([tool])))
    assert count_message_tokens(messages, [], count=len) == plain


def test_the_reminder_of_a_long_conversation_counts() -> None:
    tool = {"type": "function", "function": {"name": "now"}}
    short, long = HumanMessage("x" * 5_000), HumanMessage("x" * 7_000)
    without = count_message_tokens([short], [tool], count=len)
    added = count_message_tokens([long], [tool], count=len) - without
    assert added == 2_000 + len("\n\n") + len(tool_reminder())


def test_no_messages_count_as_nothing() -> None:
    assert count_message_tokens([], count=len) == 0


# ---------------------------------------------------------------- profiles


def test_a_known_models_profile_leaves_room_for_the_reply() -> None:
    profile = model_profile("gpt-4o")
    assert profile["max_input_tokens"] == 128_000 - 1_000
    assert profile["max_output_tokens"] == 1_000
    assert profile["tool_calling"] is True
    assert profile["structured_output"] is False
    assert profile["image_inputs"] is False


def test_an_unknown_models_profile_says_only_what_the_wire_allows() -> None:
    profile = model_profile("smollm2")
    assert "max_input_tokens" not in profile
    assert profile["text_inputs"] is True
    assert profile.keys() <= ModelProfile.__annotations__.keys()


def test_profiles_are_not_shared() -> None:
    model_profile("gpt-4o")["tool_calling"] = False
    assert model_profile("gpt-4o")["tool_calling"] is True
