"""How to install the package is said as it works today: from one place, which a release changes."""

from __future__ import annotations

import re

from langchain_ai365vip._version import installing
from tests import notebooks
from tests.generated import README

PACKAGE = README.parent / "langchain_ai365vip"


def test_an_extra_is_installed_from_where_the_package_is() -> None:
    assert re.match(r'pip install "(\.|langchain-ai365vip)\[local\]"', installing("local"))


def test_nothing_names_an_index_that_does_not_have_the_package() -> None:
    published = 'install "langchain-ai365vip[' in installing("local")
    for path in (README, *notebooks.paths(), *PACKAGE.rglob("*.py")):
        named = re.findall(r"pip install[^\n`]*langchain-ai365vip", path.read_text("utf-8"))
        assert named == [] or published, path
