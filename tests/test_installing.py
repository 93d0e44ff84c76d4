"""How to install the package is said as it works today: from one place, which a release changes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from langchain_ai365vip._version import installing
from tests import notebooks
from tests.generated import README

PACKAGE = README.parent / "langchain_ai365vip"


def test_an_extra_is_installed_from_where_the_package_is() -> None:
    assert re.match(r'pip install "(\.|langchain-ai365vip)\[local\]"', installing("local"))


@pytest.mark.parametrize(
    "path",
    [README, *notebooks.paths(), *sorted(PACKAGE.rglob("*.py"))],
    ids=lambda path: str(path.relative_to(README.parent)),
)
def test_nothing_names_an_index_that_does_not_have_the_package(path: Path) -> None:
    published = 'install "langchain-ai365vip[' in installing("local")
    named = re.findall(r"pip install[^\n`]*langchain-ai365vip", path.read_text(encoding="utf-8"))
    assert named == [] or published
