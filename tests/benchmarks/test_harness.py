"""The parts of the benchmark that could be wrong without anyone noticing."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.adapters import Reading
from tests.benchmarks.goals import CPU, FIRST, GOALS, WAIT, Goal, reason
from tests.benchmarks.load import TOKEN_SIZE, TOKENS, Load, find_load
from tests.benchmarks.processes import ProcessFailedError
from tests.benchmarks.scenarios import (
    CAPACITY_STEPS,
    SCENARIOS,
    Metrics,
    Runner,
    Samples,
    capacity_load,
    is_carried,
)
from tests.benchmarks.worker import percentile, stream_metrics

pytestmark = pytest.mark.thorough

FLOOR = Goal("one", CPU, "the floor", 1.1)


def test_all_tokens_have_the_same_size() -> None:
    assert {len(token) for token in TOKENS} == {TOKEN_SIZE}


def test_the_server_reads_what_the_prompt_asks_for() -> None:
    load = Load(1, 5000, 0.05)
    body = json.dumps({"messages": [{"role": "user", "content": load.prompt}]}).encode()
    assert find_load(body) == load


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0], 0.95) == 1.0
    assert percentile([], 0.5) == 0.0


def reading(*stamps: float) -> Reading:
    found = Reading()
    for stamp in stamps:
        found.add("lorem ")
        found.stamps[-1] = stamp
    return found


def test_first_texts_waits_and_failures_are_those_of_the_streams() -> None:
    found = stream_metrics(Load(2, 3), 10.0, [reading(11, 12, 14), reading(12, 13)])

    assert (found["first_ms"], found["wait_ms"], found["wait_p95_ms"]) == (2000, 1000, 2000)
    assert (found["failed"], found["chunks"], found["together"]) == (1, 2.5, True)


def test_streams_that_wait_in_line_are_not_together() -> None:
    assert not stream_metrics(Load(2, 2), 0.0, [reading(1, 2), reading(3, 4)])["together"]


def carrying(**more: object) -> Metrics:
    return {"failed": 0, "together": True, "wait_ms": 50.0, **more}


@pytest.mark.parametrize(
    ("sample", "carried"),
    [
        pytest.param(carrying(), True, id="at the server's pace"),
        pytest.param(carrying(wait_ms=54.9), True, id="within a tenth"),
        pytest.param(carrying(wait_ms=55.1), False, id="too slow"),
        pytest.param(carrying(wait_ms=0.03), False, id="several at once, in bursts"),
        pytest.param(carrying(together=False), False, id="some waited in line"),
        pytest.param(carrying(failed=1), False, id="one failed"),
    ],
)
def test_streams_are_carried_at_the_pace_of_the_server(sample: Metrics, carried: bool) -> None:
    assert is_carried(sample) is carried


def test_the_streams_double() -> None:
    assert all(after == 2 * before for before, after in itertools.pairwise(CAPACITY_STEPS))
    assert {capacity_load(streams).every for streams in CAPACITY_STEPS} == {1 / 20}


def samples(scenario: str = "one", metric: str = CPU, **costs: float) -> Samples:
    return {
        scenario: {
            adapter: [{metric: cost * factor, "failed": 0} for factor in (1, 3, 2)]
            for adapter, cost in costs.items()
        }
    }


def test_a_ratio_is_taken_within_a_round() -> None:
    assert FLOOR.ratios(samples(ours=9, bare=6, core=4)) == [0.9, 0.9, 0.9]


def test_a_round_without_the_peers_has_no_ratio_to_them() -> None:
    found = samples("two-hundred", ours=9, mistral=90, openai=45)
    found["two-hundred"]["ours"].append({CPU: 9})
    assert Goal("two-hundred", CPU, "the leanest peer", 0.4).ratios(found) == [0.2, 0.2, 0.2]


@pytest.mark.parametrize(("ours", "met"), [(11.0, True), (11.1, False)])
def test_a_goal_is_met_up_to_its_limit(ours: float, met: bool) -> None:
    assert FLOOR.is_met(samples(ours=ours, bare=6, core=4)) is met


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.text)
def test_a_missed_goal_has_its_reason_from_the_profile_in_one_line(goal: Goal) -> None:
    assert f"profile-{goal.scenario}" in {item.name for item in SCENARIOS if item.profiled}
    found = samples(goal.scenario, goal.metric, ours=99, bare=1, core=1, mistral=1)
    owners = dict.fromkeys(("in_asyncio", "in_core", "in_ours", "in_gc", "collection_ms"), 1.25)
    for name in ("starts", goal.scenario):
        found[f"profile-{name}"] = {adapter: [owners] for adapter in ("bare", "ours", "core")}

    told = reason(goal, found)

    assert "\n" not in told
    assert "asyncio 1.25 (2.5)" in told


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    figures = {"samples": samples(bare=1.25), "failures": ["a"]}
    report.write(figures, tmp_path / "deep" / "figures.json")
    assert report.read(tmp_path / "deep" / "figures.json") == figures


def page(found: Samples, *failures: str) -> str:
    return report.summary(
        {"commit": "a1", "versions": {"python": "3"}, "failures": failures, "samples": found}
    )


def test_the_page_says_what_was_met_missed_and_not_measured() -> None:
    met = page(samples(ours=10, bare=6, core=4), "ChatOllama, one: it ended")
    missed = page(samples(ours=12, bare=6, core=4))

    assert "| 1.1     | 1.000 | 1.000 to 1.000    | 3      | met |" in met
    assert "| 1.1     | 1.200 | 1.200 to 1.200    | 3      | **missed**: not profiled |" in missed
    assert met.count("not measured |") == len(GOALS) - 1
    assert "- Not measured: ChatOllama, one: it ended." in met


def test_the_page_says_how_many_streams_of_a_peer_failed() -> None:
    run = {CPU: 287.0, FIRST: 1, WAIT: 1, "failed": 8}
    assert "| 287 (8 failed) |" in page({"thousand": {"ollama": [{**run, "failed": 6}, run]}})


def test_an_adapter_that_fails_is_out_of_its_scenario_and_not_of_the_run() -> None:
    asked = []

    def take() -> Metrics:
        asked.append("ours")
        raise ProcessFailedError("Traceback:\nValueError: no")

    runner = Runner(tell=lambda line: None)
    for number in range(2):
        assert runner._try("one", number, "ours", take) is None

    assert runner.failures == ["ChatAI365VIP, one: ValueError: no"]
    assert asked == ["ours"]
