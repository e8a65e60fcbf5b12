"""Blocks of aligned rows under a title: plain lines in a pipe, Rich on a terminal.

Text from requests is indented below the titles on every line, so it cannot imitate a title.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hitl_cli.cli.render.table import GAP, Cell
from hitl_cli.format.terminal import cells, printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

INDENT = 2

WIDEST = 40
"""Maximum width of a column before the last, in columns of the terminal."""

MOST_ROWS = 200
"""Maximum number of rows of a block on a terminal. A pipe and --json get all."""

LONGEST_CELL = 20_000
"""Maximum characters of a cell on a terminal."""


class Block(Struct, frozen=True):
    """Rows of cells; the last cell of a row may have several lines.

    `whole`: never wrapped, for ids, addresses and commands that people copy. `art` draws it on a terminal
    instead, for a width; `most` rows are shown there.
    """

    title: str
    rows: Sequence[Sequence[Cell]]
    whole: bool = False
    art: Callable[[int], Any] | None = None
    most: int = MOST_ROWS


def plain(block: Block) -> list[str]:
    """Return a block as lines of text."""
    lines = ["".join(cell.text for cell in line).rstrip() for line in _aligned(block.rows)]
    return ["", *([block.title] if block.title else []), *lines]


def drawn(block: Block, width: int = 0) -> Iterator[RenderableType]:
    """Yield a block as Rich renderables, for a screen of this width."""
    from rich.padding import Padding
    from rich.text import Text

    yield Text(f"\n{block.title}" if block.title else "", style="bold")
    rows = block.rows[: block.most]
    if block.art is not None:
        yield Padding(block.art(width - INDENT), (0, 0, 0, INDENT))
        return
    if block.whole:
        for line in _aligned(rows):
            yield Text.assemble(*((cell.text, cell.style) for cell in line), overflow="fold")
    else:
        yield Padding(_grid(rows), (0, 0, 0, INDENT))
    if len(block.rows) > block.most:
        yield Text(f"{' ' * INDENT}{left_out(len(block.rows) - block.most)}", style="dim")


def left_out(rows: int) -> str:
    """Return how many rows are left out, and how to see them."""
    return f"… {rows:,} more: hitl show ID | less"


def _aligned(rows: Sequence[Sequence[Cell]]) -> Iterator[list[Cell]]:
    """Yield lines of printable cells, padded to aligned columns."""
    wide = _widths(rows)
    for row in rows:
        *heads, last = row
        line = [Cell(" " * INDENT)]
        for cell, width in zip(heads, wide, strict=False):
            text = printable(cell.text)
            line += [Cell(text, cell.style), Cell(" " * (max(width - cells(text), 0) + GAP))]
        first, *rest = printable_lines(last.text).split("\n")
        yield [*line, Cell(first, last.style)]
        indent = " " * sum(cells(cell.text) for cell in line)
        for text in rest:
            yield [Cell(indent), Cell(text, last.style)]


def _widths(rows: Sequence[Sequence[Cell]]) -> list[int]:
    """Return the widths of the columns before the last."""
    count = max((len(row) for row in rows), default=1) - 1
    return [
        min(max(cells(printable(row[n].text)) for row in rows if len(row) > n + 1), WIDEST)
        for n in range(count)
    ]


def _grid(rows: Sequence[Sequence[Cell]]) -> RenderableType:
    """Return rows as a Rich grid; long text wraps."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, GAP, 0, 0))
    wide = _widths(rows)
    for width in wide:
        table.add_column(max_width=max(width, 1), overflow="fold")
    table.add_column(overflow="fold", ratio=1)
    for row in rows:
        *heads, last = row
        filled = [Text(shortened(printable(cell.text)), style=cell.style) for cell in heads]
        empty = [Text()] * (len(wide) - len(heads))
        table.add_row(*filled, *empty, Text(shortened(printable_lines(last.text)), style=last.style))
    return table


def shortened(text: str, longest: int = LONGEST_CELL) -> str:
    """Return a text, or its beginning and the number of characters left out."""
    more = len(text) - longest
    return text if more <= 0 else f"{text[:longest]}… ({more:,} more characters, see --json)"
