"""What `stop` and `max_tokens` show of a reply, however the network cuts it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_ai365vip._cutter import ReplyCutter
from langchain_ai365vip._tokens import estimate_tokens


def shown(pieces: Sequence[str], cutter: ReplyCutter) -> tuple[str, str | None]:
    """Read a reply through a cutter as the client does: until it cuts it or it ends."""
    parts = []
    for piece in pieces:
        parts.append(cutter.feed(piece))
        if cutter.finish_reason:
            break
    parts.append(cutter.flush())
    return "".join(parts), cutter.finish_reason


@st.composite
def cut_texts(draw: st.DrawFn, alphabet: str) -> tuple[str, list[str]]:
    """A text and a way of cutting it into pieces, empty ones included."""
    text = draw(st.text(alphabet=alphabet, max_size=40))
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    edges = [0, *places, len(text)]
    return text, [text[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize(
    ("stop", "text", "before"),
    [
        pytest.param(["END"], "one END two", "one ", id="in-the-middle"),
        pytest.param(["END"], "END", "", id="the-whole-reply"),
        pytest.param(["END"], "ENDEND", "", id="twice"),
        pytest.param(["\n\n"], "one\ntwo\n\nthree", "one\ntwo", id="blank-line"),
        pytest.param(["aab"], "aaab", "a", id="begins-inside-a-failed-match"),
        pytest.param(["x", "END"], "one END x", "one ", id="the-first-of-two"),
        pytest.param(["ab", "xabyz"], "xabyz", "x", id="the-one-that-is-complete-first"),
        pytest.param(["b", "aab"], "xaab", "x", id="the-longer-of-two-that-end-together"),
        pytest.param(["ß€"], "a ß€ b", "a ", id="beyond-ascii"),
    ],
)
def test_text_before_a_stop_is_shown_at_every_cut(stop: list[str], text: str, before: str) -> None:
    for at in range(len(text) + 1):
        assert shown([text[:at], text[at:]], ReplyCutter(stop)) == (before, "stop")
    assert shown(list(text), ReplyCutter(stop)) == (before, "stop")


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        pytest.param([], "one END two", id="no-stop"),
        pytest.param([""], "one", id="an-empty-stop-stops-nothing"),
        pytest.param(["END"], "one EN", id="ends-with-the-beginning-of-a-stop"),
        pytest.param(["END"], "one end", id="case-matters"),
    ],
)
def test_a_reply_without_a_stop_is_shown_whole(stop: list[str], text: str) -> None:
    for at in range(len(text) + 1):
        assert shown([text[:at], text[at:]], ReplyCutter(stop)) == (text, None)


def test_text_is_held_back_only_while_it_may_become_a_stop() -> None:
    cutter = ReplyCutter(["END", "\n\n"])
    assert [cutter.feed(piece) for piece in ("one", " E", "N", "ough\n", "two")] == [
        "one",
        " ",
        "",
        "ENough",
        "\ntwo",
    ]


def test_nothing_is_shown_after_the_cut() -> None:
    cutter = ReplyCutter(["END"], max_tokens=100)
    assert cutter.feed("one END two") == "one "
    assert cutter.feed("three") == ""
    assert cutter.flush() == ""


@given(
    cut_texts("abc"),
    st.lists(st.text(alphabet="abc", min_size=1, max_size=5), min_size=1, max_size=3),
)
def test_what_stop_shows_does_not_depend_on_the_cut(
    cut: tuple[str, list[str]], stop: list[str]
) -> None:
    text, pieces = cut
    ends = [at + len(each) for each in stop if (at := text.find(each)) >= 0]
    visible, reason = shown(pieces, ReplyCutter(stop))
    assert (visible, reason) == shown([text], ReplyCutter(stop))
    assert reason == ("stop" if ends else None)
    if ends:
        # The shortest beginning of the reply that ends with a stop, less that stop.
        seen = text[: min(ends)]
        assert visible == min(
            (seen.removesuffix(each) for each in stop if seen.endswith(each)), key=len
        )
    else:
        assert visible == text


@given(
    cut_texts("ab cß€😀"),
    st.integers(1, 12),
    st.lists(st.text(alphabet="abc", min_size=1, max_size=3), max_size=2),
)
def test_what_max_tokens_shows_does_not_depend_on_the_cut(
    cut: tuple[str, list[str]], max_tokens: int, stop: list[str]
) -> None:
    text, pieces = cut
    visible, reason = shown(pieces, ReplyCutter(stop, max_tokens))
    assert (visible, reason) == shown([text], ReplyCutter(stop, max_tokens))
    assert text.startswith(visible)
    assert estimate_tokens(visible) <= max_tokens
    if reason == "length":
        assert estimate_tokens(text[: len(visible) + 1]) > max_tokens
    if not stop:
        assert reason == (None if visible == text else "length")


@pytest.mark.parametrize(
    "word", ["word ", "漢字", "no-white-space-"], ids=lambda word: word.strip()
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_long_reply_is_cut_at_the_same_place_for_pieces_of_any_size(word: str, size: int) -> None:
    text = word * 1_000
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    whole = ReplyCutter(max_tokens=500).feed(text)
    assert shown(pieces, ReplyCutter(max_tokens=500)) == (whole, "length")
    # Checkpoints round up: one token in every few hundred characters.
    assert 0.97 * 500 <= estimate_tokens(whole) <= 500


@pytest.mark.parametrize(
    "word", ["word ", "漢字", "no-white-space-"], ids=lambda word: word.strip()
)
def test_counting_is_linear_in_the_reply(word: str) -> None:
    counted = 0

    def count(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return estimate_tokens(text)

    text = word * 20_000
    cutter = ReplyCutter(max_tokens=10**9, count=count)
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    assert "".join(map(cutter.feed, pieces)) == text
    assert counted <= len(text)


def test_a_reply_that_ends_at_its_last_token_was_not_cut() -> None:
    assert shown(["abcd"], ReplyCutter(max_tokens=1)) == ("abcd", None)
    assert shown(["abcd", "e"], ReplyCutter(max_tokens=1)) == ("abcd", "length")


def test_a_stop_beyond_the_budget_does_not_count() -> None:
    assert shown(["abcdefgh END"], ReplyCutter(["END"], max_tokens=1)) == ("abcd", "length")
    assert shown(["abc END"], ReplyCutter(["END"], max_tokens=1)) == ("abc ", "stop")


def test_the_counter_decides_where_one_is_given() -> None:
    def words(text: str) -> int:
        return len(text.split())

    assert shown(["one two ", "three four"], ReplyCutter(max_tokens=3, count=words)) == (
        "one two three ",
        "length",
    )
