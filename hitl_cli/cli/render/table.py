"""Tables: drawn by Rich on a terminal, plain columns in a pipe.

Nothing is cut in a pipe. Rich is not imported there, because loading it takes longer than the command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from msgspec import Struct

from hitl_cli.cli.output import is_terminal, note, print_json
from hitl_cli.format.terminal import cells, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

GAP = 2
NARROW = 80
"""Terminals narrower than this show each cell on its own line."""

NARROWEST = 8
"""The default minimum width of a column that may be cut."""

WIDEST = 200
"""Maximum width of a column in a pipe; longer cells stick out."""


class Cell(Struct, frozen=True):
    """A piece of text, and its color on a terminal."""

    text: str
    style: str = ""


class Column(Struct, frozen=True):
    """A column: its header and its cells (a string is a cell without a color). `right` aligns them right.

    A `whole` column is never cut or wrapped, others not below the width `least`. If there is not enough
    room, `spare` columns are left out, the highest number first.
    """

    head: str
    cells: Sequence[Cell | str]
    right: bool = False
    whole: bool = False
    spare: int = 0
    least: int = NARROWEST

    def shown(self) -> list[Cell]:
        """Return the cells, printable on a terminal."""
        cells_of = (Cell(cell) if isinstance(cell, str) else cell for cell in self.cells)
        return [Cell(printable(cell.text), cell.style) for cell in cells_of]

    def width(self) -> int:
        """Return the width of the widest cell, in columns of a terminal."""
        return max(map(cells, (self.head, *(cell.text for cell in self.shown()))))


def print_list(
    documents: Sequence[object], columns: Sequence[Column], nothing: str, *, as_json: bool
) -> None:
    """Print a list as JSON or as a table; `nothing` is the note for an empty table."""
    if as_json:
        print_json(documents)
    elif documents:
        print_table(columns)
    else:
        note(nothing)


def print_table(columns: Sequence[Column]) -> None:
    """Print columns of equal length to stdout."""
    if not on_terminal():
        print("\n".join(plain(columns)))
        return
    screen = console()
    screen.print(drawing(columns, screen.width), soft_wrap=screen.width < NARROW)


def lines(columns: Sequence[Column], screen: Console) -> list[str]:
    """Return the lines of a table on a terminal, with colors."""
    with screen.capture() as capture:
        screen.print(drawing(columns, screen.width))
    return capture.get().splitlines()


def filled(columns: Sequence[Column]) -> list[Column]:
    """Return the columns that are not empty."""
    return [column for column in columns if any(cell.text for cell in column.shown())]


def on_terminal() -> bool:
    """Whether stdout is a terminal."""
    return is_terminal(sys.stdout)


def colored(text: str, color: str) -> str:
    """Return a text in a color if stdout is a terminal and NO_COLOR is not set."""
    return typer.style(text, fg=color) if on_terminal() and not os.environ.get("NO_COLOR") else text


def plain(columns: Sequence[Column]) -> list[str]:
    """Return the rows as lines of aligned text, with a header line."""
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
    """Return a Rich renderable of this width: a table, or if it is too narrow, one line per cell."""
    some = list(columns)
    fitted = _widths(some, width)
    while fitted is None and (most := max(column.spare for column in some)):
        some = [column for column in some if column.spare != most]
        fitted = _widths(some, width)
    return _cards(columns) if fitted is None else _table(some, fitted)


def _widths(columns: Sequence[Column], width: int) -> list[int] | None:
    """Return the width of each column, cut to fit where allowed; None if they do not fit."""
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
    """Return the rows as a table with these column widths."""
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
    """Return the rows as lines: the first cell, and below it the other cells with their headers."""
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
