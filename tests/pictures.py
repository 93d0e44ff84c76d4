"""The README's pictures, of the real page and of a real terminal session with a scripted model.

`uv run --group pictures python -m tests.pictures` writes them anew into `docs/`.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from langchain_core.messages import BaseMessage

from langchain_ai365vip.server import LocalServer
from tests.server.browser_kit import open_page, said, say

DOCS: Final = Path(__file__).parent.parent / "docs"
COLUMNS, LINES = 80, 24
QUESTION: Final = "Name three colors, with their codes in Python."
REPLY: Final = """Three colors and their codes:

- **red**, of fire
- **green**, of leaves
- **blue**, of the sky

```python
COLORS = {"red": 0xFF0000, "green": 0x00FF00, "blue": 0x0000FF}
```
"""


def colors(_: list[BaseMessage]) -> str:
    """Answer every question with the same colors."""
    return REPLY


async def picture_page(path: Path) -> None:
    """Write what the page looks like in a small window."""
    size = {"viewport": {"width": 680, "height": 560}}
    async with open_page(size, {"colors": colors}) as page:
        await say(page, QUESTION)
        await said(page)
        await page.screenshot(path=path)


def session(base_url: str) -> Any:
    """Hold a conversation by `ai365vip chat` in a terminal; return the terminal's screen."""
    pyte = importlib.import_module("pyte")  # of the group `pictures` alone
    screen = pyte.Screen(COLUMNS, LINES)
    feed = pyte.ByteStream(screen).feed
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", LINES, COLUMNS, 0, 0))
    screen.write_process_input = lambda answer: os.write(master, answer.encode())
    env = {**os.environ, "TERM": "xterm-256color", "AI365VIP_BASE_URL": base_url}
    command = [sys.executable, "-m", "langchain_ai365vip", "chat", "--no-history"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env)

    def read_until_prompt() -> None:
        while not re.match(r"> *$", screen.display[screen.cursor.y]):
            feed(os.read(master, 65536))

    read_until_prompt()
    os.write(master, QUESTION.encode() + b"\r")
    while "COLORS" not in "".join(screen.display):
        feed(os.read(master, 65536))
    read_until_prompt()
    os.write(master, b"\x04")
    process.wait(timeout=30)
    for descriptor in (master, slave):
        os.close(descriptor)
    return screen


def picture_terminal(path: Path) -> None:
    """Write what a conversation looks like in a terminal."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    with LocalServer(colors, port=8000) as server:
        screen = session(server.base_url)
    console = Console(record=True, width=COLUMNS, file=StringIO())
    console.print("$ ai365vip chat")
    for number in range(screen.cursor.y + 1):
        console.print(_line(screen, number))
    # Without the fonts that rich would have fetched from elsewhere.
    form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(path), title="ai365vip", code_format=form, unique_id="terminal")


def _line(screen: Any, number: int) -> Any:
    """Return a line of the screen in rich's terms, one piece for each style."""
    from rich.style import Style
    from rich.text import Text

    def style(column: int) -> Style:
        char = screen.buffer[number][column]
        colour = {"default": None, "brown": "yellow"}.get(char.fg, char.fg)
        if colour and re.fullmatch("[0-9a-f]{6}", colour):
            colour = f"#{colour}"
        return Style(color=colour, bold=char.bold, italic=char.italics)

    line = Text()
    for shown, columns in groupby(range(COLUMNS), key=style):
        line.append("".join(screen.buffer[number][column].data for column in columns), shown)
    line.rstrip()
    return line


if __name__ == "__main__":
    DOCS.mkdir(exist_ok=True)
    asyncio.run(picture_page(DOCS / "page.png"))
    picture_terminal(DOCS / "terminal.svg")
