"""What `stop` and `max_tokens` show of a reply, however the network cuts it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_ai365vip._wire.cutter import ReplyCutter
from langchain_ai365vip._wire.tokens import Count, best_counter, estimate_tokens


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


COUNTERS: dict[str, Count] = {
    "estimated": estimate_tokens,
    "exact": best_counter("gpt-4o"),
    "exact-cl100k": best_counter("gpt-4"),
}


@pytest.mark.parametrize("counter", COUNTERS)
@given(
    cut=cut_texts("ab cß€😀"),
    max_tokens=st.integers(1, 12),
    stop=st.lists(st.text(alphabet="abc", min_size=1, max_size=3), max_size=2),
)
def test_what_max_tokens_shows_does_not_depend_on_the_cut(
    counter: str, cut: tuple[str, list[str]], max_tokens: int, stop: list[str]
) -> None:
    text, pieces = cut
    count = COUNTERS[counter]
    visible, reason = shown(pieces, ReplyCutter(stop, max_tokens, count))
    assert (visible, reason) == shown([text], ReplyCutter(stop, max_tokens, count))
    assert text.startswith(visible)
    assert count(visible) <= max_tokens
    if reason == "length":
        assert count(text[: len(visible) + 1]) > max_tokens
    if not stop:
        assert reason == (None if visible == text else "length")


@pytest.mark.parametrize("counter", COUNTERS)
@given(
    word=st.text(alphabet="ab \nß漢", min_size=1, max_size=30),
    size=st.integers(1, 500),
    max_tokens=st.integers(1, 600),
)
def test_what_max_tokens_shows_of_a_long_reply_does_not_depend_on_the_cut(
    counter: str, word: str, size: int, max_tokens: int
) -> None:
    text = word * (1_500 // len(word))
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    count = COUNTERS[counter]
    assert shown(pieces, ReplyCutter((), max_tokens, count)) == shown(
        [text], ReplyCutter((), max_tokens, count)
    )


def test_a_reply_is_cut_at_the_first_letter_that_costs_too_much() -> None:
    # A longer beginning costs less again.
    text, count = "babaababaab", best_counter("gpt-4o")
    assert [count(text[:end]) for end in (9, 10, 11)] == [3, 4, 3]
    for pieces in ([text], list(text), [text[:10], text[10:]]):
        assert shown(pieces, ReplyCutter((), 3, count)) == ("babaababa", "length")


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


@pytest.mark.parametrize("max_tokens", [10, 100, 1_000, 10_000])
def test_counting_near_the_bound_takes_little(max_tokens: int) -> None:
    counted = 0

    def count(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return estimate_tokens(text)

    cutter = ReplyCutter(max_tokens=max_tokens, count=count)
    shown(["word"] * 4 * max_tokens, cutter)
    assert cutter.finish_reason == "length"
    assert counted <= 4 * max_tokens + 60_000


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
