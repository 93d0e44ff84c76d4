"""The parts of the benchmark that could be wrong without anyone noticing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.adapters import ENTRIES
from tests.benchmarks.goals import Cell, Goal, curves, judge_all
from tests.benchmarks.load import TOKEN_SIZE, TOKENS, Load, find_load, pieces
from tests.benchmarks.scenarios import OTHERS, STREAMS, Samples, growth
from tests.benchmarks.worker import percentile


def test_all_tokens_have_the_same_size_and_no_newline() -> None:
    assert {len(token) for token in TOKENS} == {TOKEN_SIZE}
    assert "\n" not in "".join(TOKENS)


@pytest.mark.parametrize(
    "load",
    [Load(), Load(1, 5000), Load(1, 200, 0.01, 10), Load(1, 5, 0.05, hold=True)],
    ids=lambda load: load.prompt,
)
def test_the_server_reads_what_the_prompt_asks_for(load: Load) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": load.prompt}]}).encode()
    assert find_load(body) == load


def test_a_wide_piece_holds_whole_tokens() -> None:
    assert {len(piece) for piece in pieces(10)} == {10 * TOKEN_SIZE}


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0], 0.95) == 1.0
    assert percentile([], 0.5) == 0.0


def test_every_scenario_names_known_adapters_and_counts_ours_before_the_floor() -> None:
    for scenario in (*STREAMS, *OTHERS, *growth()):
        assert set(scenario.adapters) <= set(ENTRIES)
        if "core" in scenario.adapters:
            assert scenario.adapters.index("ours") < scenario.adapters.index("core")


def _samples(**costs: float) -> Samples:
    return {
        "one": {
            adapter: [{"cpu_us_per_token": cost * factor} for factor in (1, 3, 2)]
            for adapter, cost in costs.items()
        }
    }


def test_a_ratio_is_taken_within_a_round() -> None:
    goal = Goal(1, "text", (Cell("one", "ours"),), (Cell("one", "bare"), Cell("one", "core")), 1.0)
    verdict = goal.judge(_samples(ours=9, bare=6, core=4))
    assert verdict is not None
    assert (verdict.ratio, verdict.lowest, verdict.highest) == (0.9, 0.9, 0.9)
    assert verdict.passed


@pytest.mark.parametrize(("ours", "passed"), [(11.0, True), (11.1, False)])
def test_a_goal_is_met_up_to_its_limit(ours: float, passed: bool) -> None:
    verdicts = judge_all(_samples(ours=ours, bare=6, core=4))
    assert [verdict.passed for verdict in verdicts if "the floor" in verdict.text] == [passed]


def test_what_was_not_measured_is_not_judged() -> None:
    assert judge_all(_samples(bare=6)) == []


@pytest.mark.parametrize(("power", "per_unit"), [(1, True), (2, False)])
def test_a_growth_curve_tells_linear_from_quadratic(power: int, per_unit: bool) -> None:
    samples: Samples = {
        f"history-{size}": {"ours": [{"cpu_us_per_call": 7.0 * size**power}]}
        for size in (1, 10, 100, 1000)
    }
    (curve,) = curves(samples)
    assert curve.exponent == pytest.approx(power)
    assert (curve.slope_us == pytest.approx(7.0)) is per_unit


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    figures = {"samples": _samples(bare=1.23456789), "notes": ["a"]}
    report.write(figures, tmp_path / "deep" / "figures.json")
    assert report.read(tmp_path / "deep" / "figures.json")["samples"]["one"]["bare"][0] == {
        "cpu_us_per_token": 1.2346
    }
