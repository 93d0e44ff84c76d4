"""The parts of the benchmark that could be wrong without anyone noticing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import report
from tests.benchmarks.adapters import ENTRIES
from tests.benchmarks.goals import Cell, Goal, all_goals, curves, judge_all, unmeasured
from tests.benchmarks.load import TOKEN_SIZE, TOKENS, Load, find_load, pieces
from tests.benchmarks.reasons import FIGURE, REASONS, UnexplainedGoalError, explained
from tests.benchmarks.report import summary, updated
from tests.benchmarks.scenarios import OTHERS, STREAMS, Metrics, Runner, Samples, Settings, growth
from tests.benchmarks.worker import percentile, until_held
from tests.benchmarks.writing import against

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[2]


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
        assert set(scenario.operations) <= set(scenario.adapters)
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


def test_a_report_is_judged_anew_when_it_is_read(tmp_path: Path) -> None:
    figures = {"samples": _samples(ours=10, bare=6, core=4), "goals": ["of yesterday"]}
    report.write(figures, tmp_path / "figures.json")
    (verdict,) = report.read(tmp_path / "figures.json")["goals"]
    assert verdict["ratio"] == 1.0


def _adapters_of_ratios() -> list[tuple[str, set[str]]]:
    return [
        (goal.text, {cell.scenario for cell in (*goal.top, *goal.bottom)}) for goal in all_goals()
    ]


@pytest.mark.parametrize(("goal", "scenarios"), _adapters_of_ratios())
def test_a_goal_compares_within_one_scenario(goal: str, scenarios: set[str]) -> None:
    assert len(scenarios) == 1, "its ratio would be of two different rounds"


def test_all_cells_of_goals_are_measured_by_a_scenario_or_by_hand() -> None:
    known = {
        (scenario.name, adapter) for scenario in STREAMS + OTHERS for adapter in scenario.adapters
    }
    cells = {cell for goal in all_goals() for cell in (*goal.top, *goal.bottom)}
    apart = {cell.scenario for cell in cells if (cell.scenario, cell.adapter) not in known}
    assert apart == {"server", "import"}


def _figures(*values: float, metric: str = "cpu_us_per_token") -> list[Metrics]:
    return [{metric: value} for value in values]


def test_one_bad_round_is_enough_where_something_must_never_happen() -> None:
    goal = Goal(1, "text", (Cell("one", "ours", "failed"),), (), 0, every=True)
    verdict = goal.judge({"one": {"ours": _figures(0, 0, 1, metric="failed")}})
    assert verdict is not None
    assert (verdict.ratio, verdict.passed) == (1, False)


def test_a_figure_without_a_limit_is_neither_met_nor_missed() -> None:
    verdict = Goal(8, "text", (Cell("one", "ours"),), (), None).judge(_samples(ours=7))
    assert verdict is not None
    assert (verdict.ratio, verdict.passed) == (14, None)


def test_what_is_added_is_the_difference_of_medians_so_that_no_round_decides() -> None:
    goal = Goal(
        7,
        "text",
        (Cell("server", "ours-host"),),
        (Cell("server", "bare-host"),),
        1.5,
        less=Cell("server", "unserved"),
    )
    samples: Samples = {
        "server": {
            "ours-host": _figures(42, 41, 43, 42, 42),
            # Round by round, the third would say 15.
            "bare-host": _figures(40, 40, 31, 40, 40),
            "unserved": _figures(30, 30, 30, 30, 30),
        }
    }
    verdict = goal.judge(samples)
    assert verdict is not None
    assert verdict.ratio == pytest.approx(1.2)
    assert verdict.highest == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("found", "limit", "texts"),
    [
        pytest.param(0.745, 1.0, ("0.745", "1"), id="far"),
        pytest.param(1.1524, 1.15, ("1.152", "1.15"), id="just above"),
        pytest.param(1.1496, 1.15, ("1.1496", "1.15"), id="just below"),
        pytest.param(1.15, 1.15, ("1.15", "1.15"), id="at it"),
        pytest.param(1.1500004, 1.15, ("1.1500004", "1.15"), id="above by a hair"),
        pytest.param(0.33334, 1 / 3, ("0.33334", "0.33333"), id="a limit without an end"),
        pytest.param(265.4, None, ("265", ""), id="no limit"),
    ],
)
def test_figures_have_the_digits_that_tell_them_from_their_limit(
    found: float, limit: float | None, texts: tuple[str, str]
) -> None:
    assert against(found, limit) == texts


def test_a_missed_goal_without_a_reason_stops_the_page() -> None:
    with pytest.raises(UnexplainedGoalError, match="'being fast' was missed and has no reason"):
        explained("being fast", {})


def test_a_reason_has_the_figures_of_the_run() -> None:
    goal = "first text p50, 200 starts, against the bare session"
    samples: Samples = {"first": {"core": _figures(0.1, 0.25, 9, metric="first_p50_ms")}}
    assert "it takes 0.25 ms" in explained(goal, samples)
    assert "it takes (not measured) ms" in explained(goal, {})


@pytest.mark.parametrize("goal", REASONS)
def test_a_reason_belongs_to_a_goal_and_names_what_is_measured(goal: str) -> None:
    assert goal in {known.text for known in all_goals()}
    known = {(at.name, adapter) for at in STREAMS + OTHERS for adapter in at.adapters}
    known |= {("import", "core"), ("import", "ours")}
    assert "{" not in FIGURE.sub("", REASONS[goal])
    for scenario, adapter, _ in FIGURE.findall(REASONS[goal]):
        assert (scenario, adapter) in known


def _report(samples: Samples, commit: str, **failures: str) -> dict[str, Any]:
    return {
        "runs": [{"commit": commit, "versions": {"python": "3"}, "rows": []}],
        "quick": False,
        "notes": [],
        "failures": [
            {"scenario": "one", "adapter": adapter, "why": why} for adapter, why in failures.items()
        ],
        "samples": samples,
        "goals": [verdict.as_dict() for verdict in judge_all(samples)],
        "growth": [],
    }


def test_an_update_replaces_what_was_measured_and_nothing_else() -> None:
    old = _report(_samples(ours=10, bare=6, core=4), "a1", ollama="refused", openai="refused")
    merged = updated(old, _report(_samples(ours=20, ollama=30), "b2"))
    assert merged["samples"]["one"] == _samples(ours=20, bare=6, core=4, ollama=30)["one"]
    assert [failure["adapter"] for failure in merged["failures"]] == ["openai"]
    assert merged["goals"][0]["ratio"] == 2.0
    assert merged["runs"] == [
        {"commit": "a1", "versions": {"python": "3"}, "rows": []},
        {"commit": "b2", "versions": {"python": "3"}, "rows": ["one/ollama", "one/ours"]},
    ]


def test_an_update_that_failed_takes_the_old_figures_with_it() -> None:
    old = _report(_samples(ours=10, bare=6), "a1", bare="refused")
    merged = updated(old, _report({}, "b2", ours="it ended"))
    assert set(merged["samples"]["one"]) == {"bare"}
    assert {failure["why"] for failure in merged["failures"]} == {"refused", "it ended"}


def test_a_second_update_takes_rows_from_the_first() -> None:
    first = updated(
        _report(_samples(ours=1, bare=1), "a1"), _report(_samples(ours=2, bare=2), "b2")
    )
    second = updated(first, _report(_samples(ours=3), "c3"))
    assert [(run["commit"], run["rows"]) for run in second["runs"]] == [
        ("a1", []),
        ("b2", ["one/bare"]),
        ("c3", ["one/ours"]),
    ]
    assert "In another run at commit c3, so that ratios to others are not within a round: " in (
        "\n".join(report.lines(second))
    )


def test_the_page_names_missed_goals_before_the_fold_and_those_not_measured() -> None:
    shown = summary(_report(_samples(ours=12, bare=6, core=4), "a1")).partition("<details>")[0]
    assert "Of 1 goals, 0 are met. Not these:" in shown
    assert "- CPU per token, 1 stream, against the floor: **1.2**, limit 1.1. A process" in shown
    assert "- failed streams, 1 stream: not measured." in shown
    assert len(unmeasured(_samples(ours=12, bare=6, core=4))) == len(all_goals()) - 1


def test_the_page_says_how_many_streams_of_a_peer_failed() -> None:
    sample = {"cpu_us_per_token": 287.0, "failed": 8}
    page = summary(
        _report({"thousand": {"ollama-unlimited": [{**sample, "failed": 6}, sample]}}, "")
    )
    assert "| 287 (8 failed) |" in page


def test_only_the_floor_is_measured_in_more_rounds_than_the_others() -> None:
    runner = Runner(Settings(rounds=5, slow_rounds=2))
    one = next(scenario for scenario in STREAMS if scenario.name == "one")
    thousand = next(scenario for scenario in STREAMS if scenario.name == "thousand")
    assert runner.rounds_of(one, "bare", 5) == runner.rounds_of(one, "ours", 5) == 10
    assert runner.rounds_of(one, "openai", 5) == 5
    assert runner.rounds_of(thousand, "openai", 5) == 2
    assert runner.rounds_of(thousand, "ours", 5) == 5


# An audit hook stays for the life of its process.
_BUILDING = """
import os
from tests.benchmarks import worker
from tests.benchmarks.adapters import ENTRIES, Entry

opened = []
def build(base_url, options):
    import wave
    if not opened:
        with open(os.devnull) as file:
            opened.append(file)

ENTRIES["opener"] = Entry("opener", "text", build)
print(worker._construct("opener", {"base_url": "", "calls": 3})["io_events"])
"""


@pytest.mark.processes
def test_files_are_counted_from_the_first_model_on_but_not_those_of_modules() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BUILDING], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


async def test_streams_that_ended_are_not_waited_for() -> None:
    ended = asyncio.create_task(asyncio.sleep(0))
    await ended
    with pytest.raises(ConnectionError, match="1 of 1 streams ended before their first text"):
        await until_held("http://127.0.0.1:1", [ended])
