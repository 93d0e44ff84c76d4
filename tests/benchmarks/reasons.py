"""Why goals are missed: a reason for each that has been, written into the README if it is.

A figure of the run stands in a reason as `{scenario adapter metric}` and is its median.
"""

from __future__ import annotations

import re
from statistics import median

from tests.benchmarks.goals import Cell
from tests.benchmarks.scenarios import Samples
from tests.benchmarks.writing import significant

FIGURE = re.compile(r"\{(\S+) (\S+) (\S+)\}")
_FIRST_TEXT = (
    "To its first text a bare call takes {first bare first_p50_ms} ms, and core alone, over a fake "
    "model without any wire, {first core first_p50_ms} ms: most of that comes before it calls the "
    "adapter, whose whole allowance is half a bare call."
)
_FULL_CORE = (
    "it cannot keep up, so that its reads find several tokens waiting, which takes less CPU for "
    "each: the delay between two chunks is up to {%s mistral-unlimited gap_p95_ms} ms (p95)"
)
REASONS: dict[str, str] = {
    "CPU per token, 1 stream, against the floor": (
        "A process that wakes up for one token has cold caches: that costs a bare session "
        "{one bare cpu_us_per_token} µs a token, and core {one core cpu_us_per_token} in its fake "
        "stream, which never waits. ChatAI365VIP takes {one ours cpu_us_per_token}, core's part "
        "of it with caches as cold as the rest."
    ),
    "CPU per token, 50 streams, against the floor": (
        "Per token, asyncio takes {profile-fifty ours in_asyncio} µs, aiohttp "
        "{profile-fifty ours in_aiohttp}, core {profile-fifty ours in_langchain_core}, the "
        "garbage collector {profile-fifty ours in_gc}; in the floor they take "
        "{profile-fifty bare in_asyncio}, {profile-fifty bare in_aiohttp}, "
        "{profile-fifty core in_langchain_core} and {profile-fifty core in_gc}. What the floor has "
        "not is our own code, {profile-fifty ours in_langchain_ai365vip} µs: it decodes, watches "
        "the time limits and makes the chunks."
    ),
    "CPU per token, 200 streams, against the floor": (
        "Of {two-hundred ours cpu_us_per_token} µs a token, "
        "{profile-two-hundred ours in_langchain_ai365vip} are our own code; the rest is asyncio, "
        "aiohttp, core and the collector, as in the floor."
    ),
    "CPU per token, 200 streams, against ChatMistralAI, no connection limit": (
        f"With a core all to itself {_FULL_CORE % 'two-hundred'}. It takes "
        "{two-hundred mistral-unlimited cpu_us_per_token} µs a token; the floor alone, which "
        "reads each token as it comes, is {two-hundred bare cpu_us_per_token} + "
        "{two-hundred core cpu_us_per_token}."
    ),
    "CPU per token, 1,000 streams, against ChatMistralAI, no connection limit": (
        f"With a core all to itself {_FULL_CORE % 'thousand'}. It takes "
        "{thousand mistral-unlimited cpu_us_per_token} µs a token; a bare session without "
        "LangChain takes {thousand bare cpu_us_per_token}, which is more than an eighth, too."
    ),
    "first text p50, 200 starts, against ChatMistralAI, no connection limit": (
        "It takes {two-hundred mistral-unlimited first_p50_ms} ms and a bare session "
        "{two-hundred bare first_p50_ms}. ChatAI365VIP needs {two-hundred ours first_p50_ms}: "
        "core's work at the start of each call comes on top ({first core first_p50_ms} ms for one "
        "that comes alone), one call after the other."
    ),
    "first text p50, 200 starts, against the bare session": (
        "Core's work at the start of each call comes on top, one call after the other; for one "
        "that comes alone it takes {first core first_p50_ms} ms."
    ),
    "first text p50, a single stream, against the bare session": _FIRST_TEXT,
    "first text p50, calls one after the other, against the bare session": _FIRST_TEXT,
    "p95 of the delay between chunks, 1,000 streams, against the bare session": (
        "By design: reads of one stream are up to 200 ms apart (see above), the median delay is "
        "{thousand ours gap_p50_ms} ms and the 95th percentile {thousand ours gap_p95_ms} "
        "(bare: {thousand bare gap_p95_ms}). What is more than 200 is the garbage collector: "
        "without it the percentile is {thousand ours-uncollected gap_p95_ms}."
    ),
    (
        "`from langchain_ai365vip import ChatAI365VIP` against langchain_core's chat models and "
        "aiohttp"
    ): (
        "These two take {import core cpu_ms} ms and ChatAI365VIP {import ours cpu_ms}. About 70% "
        "of the difference are our own modules, the rest json-repair and tenacity in equal parts."
    ),
    "tools bound and stop set against without": (
        "Every text is searched for the beginning of a tool call and of a stop text, and its end "
        "is held back while it could be one."
    ),
    "CPU per token, 1,000 streams, against the bare session": (
        "A bare session takes {thousand bare cpu_us_per_token} µs a token, ChatAI365VIP "
        "{thousand ours cpu_us_per_token}: asyncio {profile-thousand ours in_asyncio}, aiohttp "
        "{profile-thousand ours in_aiohttp}, core {profile-thousand ours in_langchain_core}, our "
        "own code {profile-thousand ours in_langchain_ai365vip}, and the garbage collector "
        "{profile-thousand ours in_gc}."
    ),
}


class UnexplainedGoalError(LookupError):
    """A goal was missed, and nobody has written down why."""


def explained(goal: str, samples: Samples) -> str:
    """Return why a goal was missed, with the figures of this run.

    Raises:
        UnexplainedGoalError: No reason is known.
    """
    if goal not in REASONS:
        raise UnexplainedGoalError(
            f"{goal!r} was missed and has no reason. Find it by a profile, and add it to REASONS "
            "in tests/benchmarks/reasons.py."
        )
    return FIGURE.sub(lambda found: _figure(samples, *found.groups()), REASONS[goal])


def _figure(samples: Samples, scenario: str, adapter: str, metric: str) -> str:
    values = Cell(scenario, adapter, metric).values(samples)
    return significant(median(values)) if values else "(not measured)"
