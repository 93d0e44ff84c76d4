"""The page's files: what is served under which policy, and others' files as they were."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

from tests.server.browser_kit import FILES, SERVED
from tests.server.server_kit import says, serve


@pytest.mark.parametrize(("path", "name"), SERVED.items(), ids=SERVED.values())
async def test_the_page_is_served_from_files_of_its_own_under_a_strict_policy(
    path: str, name: str
) -> None:
    async with serve(says("ok")) as client:
        answer = await client.ask(b"", method="GET", path=f"/{path}")
        head = await client.ask(b"", method="HEAD", path=f"/{path}")
    assert answer.body == (FILES / name).read_bytes()
    kind = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}[Path(name).suffix]
    for headers in (answer.headers, head.headers):
        assert headers["content-type"] == f"{kind}; charset=utf-8"
        policy = headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= {*policy}
        assert {"connect-src 'self'", "img-src data:", "trusted-types dompurify"} <= {*policy}
        assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize("name", ["index.html", "page.css", "page.js", "markdown.js"])
def test_the_pages_own_files_name_no_other_address_and_write_no_html(name: str) -> None:
    text = (FILES / name).read_text(encoding="utf-8")
    for dangerous in ("://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write",
                      "eval(", "localStorage", "style=", "onclick="):  # fmt: skip
        assert dangerous not in text


def test_others_files_are_as_the_registry_has_them() -> None:
    text = (FILES / "THIRD_PARTY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (\S+) \|.*\| (\w{64}) \|$", text, re.MULTILINE)
    own = {"__init__.py", "THIRD_PARTY.md", "index.html", "page.css", "page.js", "markdown.js"}
    assert {name for name, *_ in rows} == {p.name for p in FILES.iterdir() if p.is_file()} - own
    for name, package, version, digest in rows:
        data = (FILES / name).read_bytes()
        assert sha256(data).hexdigest() == digest
        if name.endswith(".js"):
            banner = re.search(
                rf"{package} v?{re.escape(version)}".encode(), data[:200], re.IGNORECASE
            )
            assert banner


async def test_the_page_can_be_left_out() -> None:
    async with serve(says("ok"), page=False) as client:
        for path in ("/", "/page/page.js"):
            assert (await client.ask(b"", method="GET", path=path)).status == 404


async def test_the_page_is_not_served_under_a_foreign_name() -> None:
    async with serve(says("ok")) as client:
        answer = await client.ask(b"", method="GET", path="/", host="evil.example")
    assert answer.status == 403
