"""Answers on a terminal: Markdown, drawn while it arrives."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any, cast

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown, TableElement, TableRowElement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text


class Cells(TableElement):
    """A table of which nothing is cut: words are folded, and many columns become lines."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            columns = cast(Table, table).columns
            # A letter and what stands between two columns.
            if 4 * len(columns) > options.max_width:
                yield from map(_line, filter(None, self._rows()))
            else:
                for column in columns:
                    column.overflow = "fold"
                yield table

    def _rows(self) -> list[TableRowElement | None]:
        return [self.header and self.header.row, *(self.body.rows if self.body else ())]


def _line(row: TableRowElement) -> Text:
    return Text(" | ").join(cell.content for cell in row.cells)


class Answer(Markdown):
    """Markdown of which nothing is lost: line ends, HTML and addresses are shown, too."""

    elements = {**Markdown.elements, "table_open": Cells}  # noqa: RUF012  # as rich has it

    def __init__(self, text: str) -> None:
        super().__init__(text, hyperlinks=False)
        for token in self.parsed:
            if token.type == "html_block":
                token.type = "code_block"
            for child in token.children or ():
                _show(child)

    @property
    def last_block(self) -> int:
        """The line at which the last block begins: what is above it is finished."""
        return max((each.map[0] for each in self.parsed if each.map and not each.level), default=0)


def _show(token: Any) -> None:
    """Let rich show what it would leave out."""
    if token.type == "softbreak":
        token.type = "hardbreak"
    elif token.type == "html_inline":
        token.type = "text"
    elif token.type == "image":
        token.content = f"![{token.content}]({token.attrs.get('src', '')})"
        token.type, token.tag, token.children = "text", "", None


class _Rows:
    """A text's rows on the terminal, without the empty ones around it; of a tail, the last."""

    def __init__(self, text: str, *, tail: bool = False) -> None:
        self._text = text
        self._tail = tail

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = console.render_lines(Answer(self._text), options, pad=False)
        shown = [at for at, row in enumerate(rows) if any(part.text.strip() for part in row)]
        rows = rows[shown[0] : shown[-1] + 1] if shown else []
        for row in rows[1 - console.height :] if self._tail else rows:
            yield from row
            yield Segment.line()


class Drawing:
    """Draws a text while it arrives: finished blocks once, the last one anew with each piece."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._text = ""
        self._begun = False

    def write(self, piece: str) -> None:
        """Draw one more piece."""
        with _uninterrupted():
            self._write(piece)

    def _write(self, piece: str) -> None:
        self._text += piece
        # Whether a line continues a block is known once it is whole.
        whole = self._text.rpartition("\n")[0]
        finished = Answer(whole).last_block if "\n" in piece else 0
        if finished:
            lines = self._text.split("\n")
            self._finish("\n".join(lines[:finished]), "\n".join(lines[finished:]))
        else:
            self._live.update(_Rows(self._text, tail=True), refresh=True)

    def _finish(self, block: str, rest: str) -> None:
        self._text = rest
        # In one write: nobody sees the block twice, or not at all.
        with self._console:
            self._live.update(_Rows(rest, tail=True), refresh=True)
            if block.strip():
                if self._begun:
                    self._console.line()
                self._begun = True
                self._console.print(_Rows(block), end="")

    def __enter__(self) -> Drawing:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with _uninterrupted():
            self._finish(self._text, "")
            self._live.stop()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until something is drawn: half drawn, it would stand there twice."""
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came and callable(before):
        before(came[0], None)
