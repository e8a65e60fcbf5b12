"""Lists, as a person reads them: drawn by Rich on a terminal, plain columns in a pipe.

Nothing is cut in a pipe, and Rich is not even imported: it takes longer to load than to look.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer
from msgspec import Struct

from hitl_cli.cli.output import is_terminal
from hitl_cli.format.terminal import cells, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

GAP = 2
NARROW = 80
"""Columns of a terminal below which each row gets lines of its own."""

NARROWEST = 8
"""How far a column that may be cut is cut at most, unless it says otherwise."""

WIDEST = 200
"""How far a cell moves those of the other lines to the right at most, in a pipe."""


class Column(Struct, frozen=True):
    """A column: its head, and how its cells stand.

    One that is `whole` is never cut or wrapped, others not below `least`; one that is `spare` is left out
    where there is no room for all.
    """

    head: str
    right: bool = False
    whole: bool = False
    spare: bool = False
    least: int = NARROWEST


class Cell(Struct, frozen=True):
    """A piece of text, and its color on a terminal."""

    text: str
    style: str = ""


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """Print rows to stdout."""
    if not on_terminal():
        print("\n".join(plain(columns, rows)))
        return
    screen = console()
    screen.print(drawing(columns, rows, screen.width), soft_wrap=screen.width < NARROW)


def on_terminal() -> bool:
    """Whether a person reads stdout, and not a program or nobody at all."""
    return is_terminal(sys.stdout)


def colored(text: str, color: str) -> str:
    """Return a text in a color, on a terminal that shows colors."""
    return typer.style(text, fg=color) if on_terminal() and not os.environ.get("NO_COLOR") else text


def plain(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Return the rows as lines of aligned text, with a line of heads."""
    texts = [[column.head for column in columns], *([printable(cell.text) for cell in row] for row in rows)]
    widths = [min(max(cells(line[n]) for line in texts), WIDEST) for n in range(len(columns))]
    return [
        (" " * GAP)
        .join(
            " " * (width - cells(text)) + text if column.right else text + " " * (width - cells(text))
            for column, text, width in zip(columns, line, widths, strict=True)
        )
        .rstrip()
        for line in texts
    ]


def console() -> Console:
    """Return Rich's console for stdout."""
    from rich.console import Console

    return Console(highlight=False)


def drawing(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> RenderableType:
    """Return what Rich draws in so many columns: a table, or where that is too narrow, lines for each row."""
    shown = [[Cell(printable(cell.text), cell.style) for cell in row] for row in rows]
    some, of_some = list(columns), shown
    fitted = _widths(some, of_some, width)
    while fitted is None and any(column.spare for column in some):
        spare = [column.spare for column in some].index(True)
        del some[spare]
        of_some = [row[:spare] + row[spare + 1 :] for row in of_some]
        fitted = _widths(some, of_some, width)
    return _cards(columns, shown) if fitted is None else _table(some, of_some, fitted)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int) -> list[int] | None:
    """Return how wide each column is, the cuttable ones as far as there is room; None if they do not fit."""
    natural = [
        max(cells(text) for text in (c.head, *(row[n].text for row in rows))) for n, c in enumerate(columns)
    ]
    for most in range(width, 0, -1) if width >= NARROW else ():
        fitted = [
            size if column.whole or column.right else min(size, max(most, column.least))
            for column, size in zip(columns, natural, strict=True)
        ]
        if sum(fitted) + GAP * len(columns) <= width:
            return fitted
    return None


def _table(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], fitted: Sequence[int]
) -> RenderableType:
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
    for row in rows:
        drawn.add_row(*(Text(cell.text, style=cell.style) for cell in row))
    return drawn


def _cards(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> RenderableType:
    """Return the rows as lines: the first cell, and under it the others by name."""
    from rich.console import Group
    from rich.text import Text

    lines: list[Text] = []
    for row in rows:
        lines.append(Text(row[0].text, style="bold", no_wrap=True, overflow="ignore"))
        lines.extend(
            Text.assemble(f"  {column.head} ", (cell.text, cell.style))
            for column, cell in zip(columns[1:], row[1:], strict=True)
            if cell.text and cell.text != row[0].text
        )
    return Group(*lines)
