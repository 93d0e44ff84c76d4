"""The speed guard, and the proof that it notices a regression."""

from __future__ import annotations

import pytest

from tests.benchmarks.guard import LIMIT, RegressionError, check, ratios_to_floor

pytestmark = pytest.mark.thorough


@pytest.mark.heavy
def test_a_stream_costs_less_than_twice_the_floor() -> None:
    print(check(ratios_to_floor("ours")))


@pytest.mark.heavy
def test_a_seeded_regression_is_noticed() -> None:
    with pytest.raises(RegressionError, match="times the floor"):
        check(ratios_to_floor("regression", rounds=3))


@pytest.mark.parametrize(
    "ratios",
    [
        pytest.param([1.0, 1.0, 1.0], id="steady"),
        pytest.param([1.0, 9.0, 1.1, 0.4, 7.0, 1.2, 1.1], id="two rounds disturbed"),
        pytest.param([LIMIT - 0.01] * 3, id="just below"),
    ],
)
def test_noise_in_some_rounds_is_no_regression(ratios: list[float]) -> None:
    assert "times the floor" in check(ratios)


@pytest.mark.parametrize(
    "ratios",
    [
        pytest.param([LIMIT] * 3, id="at the limit"),
        pytest.param([2.4, 1.0, 2.3, 2.5, 2.2], id="one lucky round"),
    ],
)
def test_most_rounds_at_the_limit_are_a_regression(ratios: list[float]) -> None:
    with pytest.raises(RegressionError):
        check(ratios)
