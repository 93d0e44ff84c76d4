"""The first JSON object of a reply, while it grows."""

from __future__ import annotations

import pytest

from langchain_ai365vip._parsing.objects import ObjectText
from tests.turn.test_output_schema import AROUND, GOOD


def grown(pieces: list[str], opening: str = "{") -> tuple[str, str]:
    growing = ObjectText(opening)
    return "".join(map(growing.feed, pieces)), growing.flush()


@pytest.mark.parametrize("around", AROUND.values(), ids=list(AROUND))
def test_only_the_object_is_passed_on_while_it_grows(around: str) -> None:
    reply = around.format(GOOD)
    expected = '{"x": 1}' if 'x": 1' in reply else GOOD
    for pieces in ([reply], list(reply), [reply[:20], reply[20:]]):
        assert grown(pieces) == (expected, "")


def test_the_object_is_passed_on_with_each_piece() -> None:
    growing = ObjectText()
    assert [growing.feed(piece) for piece in ["Well: ", "{", '"a', '": [1', ", 2]", "} ok"]] == [
        *("", "", '{"a', '": [1', ", 2]", "}"),
    ]


@pytest.mark.parametrize("reply", ["Sorry {x}.", "{}", "", " <think> {", '<think>{"a": 1}'])
def test_a_reply_without_an_object_comes_at_the_end(reply: str) -> None:
    for pieces in ([reply], list(reply)):
        assert grown(pieces) == ("", reply)


@pytest.mark.parametrize("around", ["{}", "See [the docs](x), [ ] and []:\n```json\n{}\n```\nOk"])
@pytest.mark.parametrize("body", [f"[{GOOD}, {GOOD}]", "[]", '[ [1], ["x"]]', "[1, 2]"])
def test_a_list_is_passed_on_whole_while_it_grows(around: str, body: str) -> None:
    reply = around.replace("{}", body)
    for pieces in ([reply], list(reply), [reply[:20], reply[20:]]):
        assert grown(pieces, "[") == ((body, "") if body != "[]" else ("", reply))
