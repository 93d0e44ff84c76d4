"""The tool parser against mutated replies, for a fixed time."""

from __future__ import annotations

import logging
import os
import random
import time
from typing import Any

import pytest

from tests.parsing.test_parser import (
    FRAGMENTS,
    PARIS,
    REPLIES,
    ROME,
    THOUGHTS,
    TOOLS,
    cut,
    parse,
    tag,
)

SECONDS = 60
SEEDS = [reply for reply, _ in [*REPLIES.values(), *THOUGHTS.values()]]
CHARACTERS = "{}[]\"'\\<>/`~:,; \n\ttool_calrespnhik"


def mutated(reply: str, rnd: random.Random) -> str:
    for _ in range(rnd.randrange(1, 5)):
        place = rnd.randrange(len(reply) + 1)
        before, after = reply[:place], reply[place:]
        insert = rnd.choice(["", rnd.choice(CHARACTERS), rnd.choice(FRAGMENTS), rnd.choice(SEEDS)])
        reply = before + insert + (after if insert else after[rnd.randrange(1, 6) :])
    return reply


def made_up(rnd: random.Random) -> str:
    kind = rnd.random()
    if kind < 0.4:
        return mutated(rnd.choice(SEEDS), rnd)
    source = FRAGMENTS if kind < 0.8 else CHARACTERS
    return "".join(rnd.choice(source) for _ in range(rnd.randrange(40)))


@pytest.mark.heavy
def test_a_minute_of_mutated_replies_loses_nothing_and_raises_nothing() -> None:
    # As Hypothesis has it: what holds a release up can be had again.
    seed = 4711 if "CI" in os.environ else int.from_bytes(os.urandom(4), "big")
    logging.getLogger(__name__).warning("seed %d", seed)  # shown when it fails
    rnd = random.Random(seed)
    end, tried = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        reply = made_up(rnd)
        options: dict[str, Any] = {
            "reasoning": rnd.random() < 0.5,
            "opened": rnd.random() < 0.2,
            "parallel": rnd.random() < 0.7,
            "echoed": rnd.choice([(), (PARIS,), (tag(ROME), "x")]),
            "tools": TOOLS if rnd.random() < 0.9 else {},
        }
        says = f"{options}: {reply!r}"
        whole = parse([reply], **options)
        assert parse(list(reply), **options) == whole, says
        assert parse(cut(reply, [rnd.randrange(999) for _ in range(3)]), **options) == whole, says
        tried += 1
    assert tried
