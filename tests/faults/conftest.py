"""What all fault tests share: dice that always show the shortest wait, and the model."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from langchain_ai365vip import ChatAI365VIP

KEY = "sk-sentinel-0123456789"


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the backoff's full jitter, a uniform draw from 0 up, always draw 0."""
    monkeypatch.setattr(random, "uniform", lambda low, high: low)


@pytest.fixture
def model() -> Callable[..., ChatAI365VIP]:
    """Return a maker of models with short time limits."""

    def make(url: str, **fields: Any) -> ChatAI365VIP:
        return ChatAI365VIP(**{"model": "gpt-4o", "base_url": url, "api_key": KEY, **fields})

    return make
