"""Whatever bytes the server sends, cut anywhere: what was shown is a prefix of the truth."""

from __future__ import annotations

import asyncio
import gzip
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_ai365vip import ChatAI365VIP, Timeout, errors
from tests.faults.calling import PROMPT
from tests.faults.server import Exchange, FaultServer

PATIENT = Timeout(connect=60, first_byte=60, between_bytes=60)


class Sent(NamedTuple):
    """A body in pieces, and where the connection is cut."""

    body: bytes
    pieces: tuple[bytes, ...]
    zipped: bool
    # The fraction of all bytes after the head that is sent; 1 ends the body in order.
    until: float

    @property
    def truth(self) -> str:
        """The text that the body holds, up to the first byte that is not UTF-8."""
        try:
            text = self.body.decode()
        except UnicodeDecodeError as exc:
            text = self.body[: exc.start].decode()
        return text.removeprefix("\ufeff")

    @property
    def is_text(self) -> bool:
        """Whether all of it is UTF-8."""
        try:
            self.body.decode()
        except UnicodeDecodeError:
            return False
        return True


def _cut(body: bytes, at: list[int]) -> tuple[bytes, ...]:
    places = sorted({0, len(body), *(place % (len(body) + 1) for place in at)})
    return tuple(body[a:b] for a, b in itertools.pairwise(places))


@st.composite
def _sent(draw: st.DrawFn) -> Sent:
    text = st.text(max_size=60).map(str.encode)
    body = draw(text | st.lists(text | st.binary(max_size=6)).map(b"".join))
    zipped = draw(st.booleans())
    wire = gzip.compress(body) if zipped else body
    pieces = _cut(wire, draw(st.lists(st.integers(0, 400), max_size=8)))
    return Sent(body, pieces, zipped, draw(st.just(1.0) | st.floats(0, 1)))


class Player:
    """A server that sends what the test wants next."""

    def __init__(self) -> None:
        self.sent = Sent(b"", (), False, 1.0)

    def __call__(self, x: Exchange) -> None:
        x.head("200 OK", *(["Content-Encoding: gzip"] if self.sent.zipped else []))
        raw = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self.sent.pieces)
        raw += b"0\r\n\r\n"
        x.send(raw[: round(len(raw) * self.sent.until)])
        if self.sent.until < 1:
            x.close()


@pytest.fixture(scope="module")
def player() -> Player:
    return Player()


@pytest.fixture(scope="module")
def url(player: Player) -> Iterator[str]:
    with FaultServer(player) as server:
        yield server.url


async def _read(url: str) -> tuple[str, errors.AI365VIPError | None]:
    model = ChatAI365VIP(base_url=url, max_retries=0, timeout=PATIENT)
    seen: list[str] = []
    try:
        async for chunk in model.astream(PROMPT):
            seen.append(chunk.text)  # noqa: PERF401  # what came before a failure counts
    except errors.AI365VIPError as error:
        return "".join(seen), error
    return "".join(seen), None


@settings(max_examples=300)
@given(sent=_sent())
def test_what_was_shown_is_a_prefix_of_the_truth(sent: Sent, player: Player, url: str) -> None:
    player.sent = sent
    shown, error = asyncio.run(_read(url))
    assert sent.truth.startswith(shown)
    if error is None:
        assert shown == sent.truth
        assert sent.is_text
    else:
        assert (error.partial_text or "") == shown
        assert sent.until < 1 or not (sent.is_text and sent.truth)


@settings(max_examples=200)
@given(
    head=st.sampled_from(
        [
            b"",
            b"HTTP/1.1 ",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{",
            b"HTTP/1.1 500 ",
            b"HTTP/1.1 307 X\r\nLocation: ",
            b"HTTP/1.1 429 X\r\nRetry-After: ",
        ]
    ),
    junk=st.binary(max_size=80) | st.text(max_size=80).map(str.encode),
)
def test_no_bytes_at_all_raise_anything_but_our_errors(head: bytes, junk: bytes) -> None:
    def script(x: Exchange) -> None:
        x.send(head + junk)
        x.close()

    with FaultServer(script) as server:
        asyncio.run(_read(server.url))
