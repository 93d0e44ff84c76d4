"""Batches of columns, as Ray hands them over."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from langchain_ai365vip.batch import RayRows
from tests.endpoint import Endpoint

SAID = {"finish_reason": "stop", "model": "gpt-3.5-turbo"}


def column(*values: Any) -> np.ndarray[Any, Any]:
    """Hold objects, as the column of a block does whose values have no one size."""
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def answers(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [json.loads(answer) for answer in columns["answer"]]


@pytest.fixture
def rows(endpoint: Endpoint) -> RayRows:
    return RayRows({"base_url": endpoint.base_url, "max_retries": 0})


def test_messages_come_as_nested_arrays(rows: RayRows, endpoint: Endpoint) -> None:
    said = {"role": "user", "content": "Hi", "name": None, "tool_calls": None}
    asked = {"role": "user", "content": column({"type": "text", "text": np.str_("Ho")})}
    columns = rows(
        {
            "id": np.array([7, 8, 9]),
            "index": np.array([0, 1, 2]),
            "prompt": column(None, None, "one"),
            "messages": column(column(said), column(asked), None),
            "problem": column("mine", "mine", "mine"),
        }
    )
    assert columns["id"] == [7, 8, 9]
    assert answers(columns) == [
        {"id": n + 7, "index": n, "output": "Hello there!", **SAID} for n in range(3)
    ]
    texts = sorted(body["messages"][-1]["content"] for body in endpoint.bodies)
    assert texts == ["Hi", "Ho", "one"]


@pytest.mark.parametrize("ids", [np.array([1.0, np.nan]), column("a", None)], ids=["nan", "null"])
def test_a_row_without_an_id_fails_and_no_other(rows: RayRows, ids: Any) -> None:
    columns = rows({"id": ids, "prompt": column("one", "two")})
    assert list(columns) == ["id", "answer"]
    first, second = answers(columns)
    assert first == {"id": ids[0], "output": "Hello there!", **SAID}
    assert (second["id"], second["error"]["type"]) == (None, "ValueError")
    assert second["error"]["message"].startswith("The row has no id.")


def test_rows_that_can_have_no_id_are_refused(rows: RayRows, endpoint: Endpoint) -> None:
    with pytest.raises(ValueError, match="no column `id`: give each row an id of its own"):
        rows({"prompt": column("one")})
    assert endpoint.requests == 0
