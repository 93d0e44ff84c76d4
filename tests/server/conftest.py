"""The page, opened in Chromium at the sizes that people have."""

from __future__ import annotations

from functools import partial

import pytest

from tests.server.browser_kit import SIZES, Browse, open_page


@pytest.fixture(params=SIZES.values(), ids=list(SIZES))
def browse(request: pytest.FixtureRequest) -> Browse:
    return partial(open_page, request.param)


@pytest.fixture
def at_desk() -> Browse:
    return partial(open_page, SIZES["desk"])


@pytest.fixture(params=["phone", "landscape"])
def on_phone(request: pytest.FixtureRequest) -> Browse:
    return partial(open_page, SIZES[request.param])
