"""The table in the README is the one that the tests run."""

from __future__ import annotations

from tests.faults.table import in_readme, markdown


def test_the_readme_holds_the_table_that_the_tests_run() -> None:
    assert in_readme() == markdown(), "run: python -m tests.faults --write"
