"""Replies as Markdown on the page: what is shown, that nothing in them acts, and no flicker."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest

from tests.server.browser_kit import Browse, Paced, said, say
from tests.server.server_kit import says

pytestmark = pytest.mark.heavy

REPLY = """# Colors

Some **bold** and `code`.
A second line.

1. one
   - nested
2. two

- [x] done

| name | hex |
|:-----|----:|
| red  | f00 |

> quoted

```python
def red() -> str:
    return "<red>"
```

[a site](https://example.com/x) and <me@example.com>
"""


async def test_markdown_is_shown_as_such(browse: Browse) -> None:
    async with browse(says(*REPLY)) as page:
        await say(page, "Hi")
        await said(page)
        body = page.locator(".assistant .body")
        for role, name in (("heading", "Colors"), ("cell", "f00"), ("columnheader", "hex")):
            assert await body.get_by_role(role, name=name).count() == 1
        for selector, text in {
            "strong": "bold",
            "p code": "code",
            "ol > li > ul > li": "nested",
            ":scope > div > ul > li": "☑ done",
            "blockquote": "quoted",
            "pre": 'def red() -> str:\n    return "<red>"',
        }.items():
            assert (await body.locator(selector).inner_text()).strip() == text
        for code in await body.locator("code").all():
            assert "monospace" in await code.evaluate("node => getComputedStyle(node).fontFamily")
        site, mail = await body.locator("a").all()
        assert await site.get_attribute("href") == "https://example.com/x"
        assert await mail.get_attribute("href") == "mailto:me@example.com"
        for link in (site, mail):
            assert await link.get_attribute("rel") == "noopener noreferrer"
            assert await link.get_attribute("target") == "_blank"


async def test_a_code_block_is_copied_by_its_button(browse: Browse) -> None:
    async with browse(says(REPLY)) as page:
        await say(page, "Hi")
        await said(page)
        await page.get_by_role("button", name="Copy the code").click()
        await page.get_by_role("status").get_by_text("Copied").wait_for()
        copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied == 'def red() -> str:\n    return "<red>"\n'


async def test_what_a_person_writes_is_no_markdown(at_desk: Browse) -> None:
    async with at_desk(says("ok")) as page:
        await say(page, "# a\n  <b>b</b> **c**")
        await said(page)
        assert await page.locator(".user .body").inner_text() == "# a\n  <b>b</b> **c**"


async def test_a_text_is_read_in_the_direction_of_its_letters(browse: Browse) -> None:
    reply = "# שלום\n\n- אחת\n\nEnglish (too).\n\n```\n# שלום\n```"
    async with browse(says(reply)) as page:
        await say(page, "שלום (1)!\nand (2)!")
        await said(page)
        directions = {
            selector: await page.locator(f".assistant {selector}").evaluate(
                "node => getComputedStyle(node).direction"
            )
            for selector in ("h1", "ul", "p:not(.note)", "pre")
        }
        lines = await page.locator(".user .body").evaluate(
            """node => {
              const box = node.getBoundingClientRect(), middle = (box.left + box.right) / 2;
              const text = document.createRange();
              text.selectNodeContents(node);
              return [...text.getClientRects()].map(line =>
                line.left > middle ? "right" : line.right < middle ? "left" : "both");
            }"""
        )
    assert directions == {"h1": "rtl", "ul": "rtl", "p:not(.note)": "ltr", "pre": "ltr"}
    assert {lines[0], lines[-1]} == {"right", "left"}


async def test_what_stands_is_left_alone_while_a_reply_grows(browse: Browse) -> None:
    """Text once shown stays in the same element, selected, and no line becomes a heading."""
    pieces = ["Intro:\n", "-", "--", "\n\nlist:\n", "- one", "\n- two", "\n\n```\na", "\nb\n```\n"]
    paced = Paced("# Title\n\nfirst **bold** text\n\n", *pieces)
    async with browse(paced.model()) as page:
        await say(page, "Hi")
        paced.go.put_nowait(None)
        await page.locator(".body strong").wait_for()
        await page.evaluate(
            """() => {
              const bold = document.querySelector(".body strong");
              getSelection().selectAllChildren(bold);
              window.changes = [];
              window.bold = bold;
              new MutationObserver(records => changes.push(...records.flatMap(record =>
                [...record.removedNodes].filter(node => node.nodeType === 1)
                .map(node => node.outerHTML))))
                .observe(document.querySelector(".body"), {childList: true, subtree: true});
            }"""
        )
        for number, _ in enumerate(pieces):
            paced.go.put_nowait(None)
            if number == 1:  # the beginning of a rule or a list, which is not shown yet
                await page.wait_for_function("document.querySelector('.body').innerText")
                assert await page.locator(".body :is(h1, h2)").all_inner_texts() == ["Title"]
        await said(page)
        assert await page.evaluate("[changes, bold.isConnected, String(getSelection())]") == [
            [], True, "bold",
        ]  # fmt: skip
        assert await page.locator(".body li").all_inner_texts() == ["one", "two"]
        assert await page.locator(".body pre").inner_text() == "a\nb\n"


async def test_a_button_in_a_reply_keeps_the_focus_while_its_code_grows(at_desk: Browse) -> None:
    paced = Paced("```\none\n", "two\n", "```\nThat is all.")
    async with at_desk(paced.model()) as page:
        await say(page, "Hi")
        paced.go.put_nowait(None)
        button = page.get_by_role("button", name="Copy the code")
        await button.focus()
        paced.go.put_nowait(None)
        await page.get_by_text("two").wait_for()
        paced.go.put_nowait(None)
        await page.get_by_text("That is all.").wait_for()
        await said(page)
        assert await button.evaluate("node => node === document.activeElement")


# Replies that would run a script, leave the page, draw over it or fetch something.
ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x></svg>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 "
    "onerror=alert(1)&gt;'>",
    "<form action=https://evil.example><button formaction=javascript:alert(1)>x</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<a id=log name=log href=https://evil.example>x</a>",
    "<style>* { display: none }</style>",
    "<div style='position:fixed;inset:0'>over all</div>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<details open ontoggle=alert(1)>x</details>",
    "<object data=data:text/html,x></object><embed src=https://evil.example>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt&colon;alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:alert(1))",
    "[x](file:///etc/passwd)",
    "[x](/api/chat)",
    "[x](//evil.example)",
    "<javascript:alert(1)>",
    "[x][1]\n\n[1]: javascript:alert(1)",
    '[x](https://example.com "a\\" onmouseover=\\"alert(1)")',
    '![x](https://evil.example/?said="onerror="alert(1))',
    "![x](https://evil.example/p.png)",
    "![\"onerror=\"alert(1)](data:image/png;base64,x)",
    "![x](javascript:alert(1))",
    "![x](data:text/html,<script>alert(1)</script>)",
    "```\"><script>alert(1)</script>\nx\n```",
    "`<img src=x onerror=alert(1)>`",
    "# <img src=x onerror=alert(1)>",
    "| <img src=x onerror=alert(1)> |\n|---|\n| <b onclick=alert(1)>x</b> |",
    "__proto__ [constructor]: x",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
]  # fmt: skip

# Everything that the shown nodes are and could do.
NODES = """root => [...root.querySelectorAll("*")].map(node =>
  [node.localName, Object.fromEntries([...node.attributes].map(({name, value}) =>
    [name, value]))])"""
ATTRIBUTES = {
    "a": {"href", "rel", "target", "title"}, "img": {"alt", "src", "title"},
    "td": {"align"}, "th": {"align"}, "ol": {"start"}, "div": {"class", "dir"},
    "button": {"type", "class", "aria-label"},
}  # fmt: skip
ELEMENTS = {
    "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "p",
    "pre", "strong", "table", "tbody", "thead", "tr", "ul", *ATTRIBUTES,
}  # fmt: skip


def check_harmless(nodes: list[Any]) -> None:
    for name, attributes in nodes:
        assert name in ELEMENTS
        assert attributes.keys() <= ATTRIBUTES.get(name, set())
        if name == "a" and "href" in attributes:
            assert attributes["href"].startswith(("http://", "https://", "mailto:"))
            assert attributes["rel"] == "noopener noreferrer"
        if name == "img":
            assert attributes["src"].startswith("data:")


async def test_nothing_in_a_reply_acts_and_nothing_of_it_is_lost(at_desk: Browse) -> None:
    """`browse` sees to it that nothing is fetched, no dialog opens and the policy is kept."""
    reply = iter(ATTACKS)
    async with at_desk({"m": lambda _: next(reply)}) as page:
        for attack in ATTACKS:
            await say(page, "Hi")
            await said(page)
            body = page.locator(".assistant .body").last
            check_harmless(await body.evaluate(NODES))
            if attack.startswith("<"):
                assert "".join((await body.inner_text()).split()) == "".join(
                    unescape(attack).split()
                )
        assert await page.locator("#log > li").count() == 2 * len(ATTACKS)


async def test_html_that_markdown_would_let_through_is_cleaned_as_well(at_desk: Browse) -> None:
    """The second line: what DOMPurify leaves of each attack if it were HTML."""
    # Of what its policy refuses Chromium complains even in a document that is not shown.
    refused = ("base-uri 'none'", "inline style", "inline event handler")
    async with at_desk(says("ok"), expected=refused) as page:
        for attack in ATTACKS:
            nodes = await page.evaluate(
                f"""async html => {{
                  const {{ clean }} = await import("/page/markdown.js");
                  const root = document.createElement("div");
                  root.append(clean(html));
                  return ({NODES})(root);
                }}""",
                attack,
            )
            check_harmless(nodes)


async def test_a_picture_is_shown_from_the_reply_itself_and_others_are_links(
    at_desk: Browse,
) -> None:
    dot = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
    async with at_desk(says(f"![dot]({dot}) ![far](https://example.com/p.png)")) as page:
        await say(page, "Hi")
        await said(page)
        assert await page.locator(".body img").get_attribute("src") == dot
        link = page.get_by_role("link", name="far")
        assert await link.get_attribute("href") == "https://example.com/p.png"
