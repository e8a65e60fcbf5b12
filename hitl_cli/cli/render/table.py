"""Lists, as a person reads them: drawn by Rich on a terminal, plain columns in a pipe.

Nothing is cut in a pipe, and Rich is not even imported: it takes longer to load than to look.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from msgspec import Struct

from hitl_cli.cli.output import is_terminal
from hitl_cli.format.terminal import cells, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

GAP = 2
NARROW = 80
"""Columns of a terminal below which each row gets lines of its own."""

NARROWEST = 8
"""How far a column that may be cut is cut at most, unless it says otherwise."""

WIDEST = 200
"""How far a cell moves those of the other lines to the right at most, in a pipe."""


class Cell(Struct, frozen=True):
    """A piece of text, and its color on a terminal."""

    text: str
    style: str = ""


class Column(Struct, frozen=True):
    """A column: its head, its cells (a text is a cell without a color), and how they stand.

    One that is `whole` is never cut or wrapped, others not below `least`. Those that are `spare` are left out
    where there is no room for all, the one with the highest number first.
    """

    head: str
    cells: Sequence[Cell | str]
    right: bool = False
    whole: bool = False
    spare: int = 0
    least: int = NARROWEST

    def shown(self) -> list[Cell]:
        """Return the cells, made fit for a terminal."""
        cells_of = (Cell(cell) if isinstance(cell, str) else cell for cell in self.cells)
        return [Cell(printable(cell.text), cell.style) for cell in cells_of]

    def width(self) -> int:
        """Return how many columns of a terminal its head and its cells take."""
        return max(map(cells, (self.head, *(cell.text for cell in self.shown()))))


def print_table(columns: Sequence[Column]) -> None:
    """Print columns, all of them with as many cells, to stdout."""
    if not on_terminal():
        print("\n".join(plain(columns)))
        return
    screen = console()
    screen.print(drawing(columns, screen.width), soft_wrap=screen.width < NARROW)


def lines(columns: Sequence[Column], screen: Console) -> list[str]:
    """Return the lines that a table takes on a screen, with their colors."""
    with screen.capture() as capture:
        screen.print(drawing(columns, screen.width))
    return capture.get().splitlines()


def filled(columns: Sequence[Column]) -> list[Column]:
    """Return the columns of which a cell says something."""
    return [column for column in columns if any(cell.text for cell in column.shown())]


def on_terminal() -> bool:
    """Whether a person reads stdout, and not a program or nobody at all."""
    return is_terminal(sys.stdout)


def colored(text: str, color: str) -> str:
    """Return a text in a color, on a terminal that shows colors."""
    return typer.style(text, fg=color) if on_terminal() and not os.environ.get("NO_COLOR") else text


def plain(columns: Sequence[Column]) -> list[str]:
    """Return the rows as lines of aligned text, with a line of heads."""
    aligned = []
    for column in columns:
        texts = [column.head, *(cell.text for cell in column.shown())]
        width = min(column.width(), WIDEST)
        gaps = [" " * (width - cells(text)) for text in texts]
        pairs = zip(gaps, texts, strict=True)
        aligned.append([gap + text if column.right else text + gap for gap, text in pairs])
    return [(" " * GAP).join(line).rstrip() for line in zip(*aligned, strict=True)]


def console() -> Console:
    """Return Rich's console for stdout."""
    from rich.console import Console

    return Console(highlight=False)


def drawing(columns: Sequence[Column], width: int) -> RenderableType:
    """Return what Rich draws in so many columns: a table, or where that is too narrow, lines for each row."""
    some = list(columns)
    fitted = _widths(some, width)
    while fitted is None and (most := max(column.spare for column in some)):
        some = [column for column in some if column.spare != most]
        fitted = _widths(some, width)
    return _cards(columns) if fitted is None else _table(some, fitted)


def _widths(columns: Sequence[Column], width: int) -> list[int] | None:
    """Return how wide each column is, the cuttable ones as far as there is room; None if they do not fit."""
    natural = [column.width() for column in columns]
    for most in range(width, 0, -1) if width >= NARROW else ():
        fitted = [
            size if column.whole or column.right else min(size, max(most, column.least))
            for column, size in zip(columns, natural, strict=True)
        ]
        if sum(fitted) + GAP * len(columns) <= width:
            return fitted
    return None


def _table(columns: Sequence[Column], fitted: Sequence[int]) -> RenderableType:
    """Return the rows as a table with columns of these widths."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, padding=(0, GAP, 0, 0), header_style="dim")
    for n, column in enumerate(columns):
        drawn.add_column(
            column.head,
            style="bold" if n == 0 else "",
            justify="right" if column.right else "left",
            no_wrap=True,
            width=fitted[n],
            overflow="ellipsis",
        )
    for row in zip(*(column.shown() for column in columns), strict=True):
        drawn.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    return drawn


def _cards(columns: Sequence[Column]) -> RenderableType:
    """Return the rows as lines: the first cell, and under it the others by name."""
    from rich.console import Group
    from rich.text import Text

    lines: list[Text] = []
    for first, *others in zip(*(column.shown() for column in columns), strict=True):
        lines.append(Text(first.text, style="bold", no_wrap=True, overflow="ignore"))
        lines.extend(
            Text.assemble(f"  {column.head} ", (cell.text, cell.style))
            for column, cell in zip(columns[1:], others, strict=True)
            if cell.text and cell.text != first.text
        )
    return Group(*lines)
