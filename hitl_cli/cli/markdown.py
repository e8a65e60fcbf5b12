"""Markdown that somebody else wrote, for a terminal: nothing in it is hidden, and nothing is obeyed.

HTML stands there as its source, a link has its address beside its text, and what would not be seen (images,
definitions of addresses, tables or lists too deep or too wide for the terminal) is shown as it was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from markdown_it import MarkdownIt
from rich.markdown import CodeBlock, Markdown, MarkdownElement, TableElement
from rich.table import Table
from rich.text import Text

from hitl_cli.cli.blocks import shortened
from hitl_cli.text import printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

LONGEST = 10_000
"""Characters of the longest text that is read as Markdown: the parser's time may grow with their square."""

NESTING_MAX = 100
"""Where the parser stops to read, and would leave out the rest: far beyond what is shown."""

ROOM = 20
"""Columns that the innermost text, and that all of a table, must have at least."""

LEVEL = 6
"""Columns that a level of nesting takes at most: a list has two levels, and numbers of up to nine digits."""

COLUMN = 6
"""Columns of the terminal that a column of a table needs to be read."""

HIDING = ("image", "reference")
"""Rules of Markdown that keep an address from the reader: without them, what is written stands there."""


class _Table(TableElement):
    """A table that breaks long words, where Rich would cut them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in super().__rich_console__(console, options):
            if isinstance(part, Table):
                for column in part.columns:
                    column.overflow = "fold"
            yield part


class _Code(CodeBlock):
    """Code without colors: a highlighter can be kept busy for long."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(str(self.text).rstrip("\n"), style="markdown.code_block", overflow="fold")


class _Harmless(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "table_open": _Table,
        "fence": _Code,
        "code_block": _Code,
    }


def markdown(source: str, width: int) -> RenderableType:
    """Return what Rich draws for a text in Markdown, in so many columns."""
    text = printable_lines(source).strip("\n")
    tokens = parsed(text) if len(text) <= LONGEST else []
    if not has_room(tokens, width):
        return Text(shortened(text), overflow="fold")
    drawn = _Harmless("", hyperlinks=False)
    drawn.parsed = tokens
    return drawn


def parsed(text: str) -> list[Token]:
    """Return the tokens of Markdown, fit to be shown."""
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": NESTING_MAX})
    tokens = parser.enable(["strikethrough", "table"]).disable(HIDING).parse(text)
    clean(tokens)
    return tokens


def clean(tokens: Sequence[Token]) -> None:
    """Make printable what entities and addresses were decoded to."""
    for token in tokens:
        token.content = printable_lines(token.content)
        token.attrs = {
            name: printable(value) if isinstance(value, str) else value for name, value in token.attrs.items()
        }
        clean(token.children or ())


def has_room(tokens: Sequence[Token], width: int) -> bool:
    """Whether all of it can be seen in so many columns."""
    needed = columns = 0
    for token in tokens:
        columns = 0 if token.type == "tr_open" else columns + (token.type in ("th_open", "td_open"))
        needed = max(needed, LEVEL * token.level + COLUMN * columns + ROOM)
    return 0 < needed <= width
