"""Markdown that somebody else wrote, for a terminal: nothing in it is hidden, and nothing is obeyed.

HTML stands there as its source, and a link has its address beside its text. A text of which Markdown would
keep words from the reader, or for which the terminal is too narrow, is shown as it was written.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from rich.markdown import CodeBlock, Markdown, MarkdownElement, TableElement
from rich.table import Table
from rich.text import Text

from hitl_cli.cli.render.blocks import shortened
from hitl_cli.format.markdown import parsed
from hitl_cli.format.terminal import printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markdown_it.token import Token
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

LONGEST = 10_000
"""Characters of the longest text that is read as Markdown: the parser's time may grow with their square."""

ROOM = 20
"""Columns that the innermost text, and that all of a table, must have at least."""

LEVEL = 6
"""Columns that a level of nesting takes at most: a list has two levels, and numbers of up to nine digits."""

COLUMN = 6
"""Columns of the terminal that a column of a table needs to be read."""

PLAIN = "text"
"""What Rich calls the language of code that names none."""

WORD = re.compile(r"[^\W_]+")


class _Table(TableElement):
    """A table that breaks long words, where Rich would cut them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in super().__rich_console__(console, options):
            if isinstance(part, Table):
                for column in part.columns:
                    column.overflow = "fold"
            yield part


class _Code(CodeBlock):
    """Code under the name of its language, without colors: a highlighter can be kept busy for long."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.lexer_name != PLAIN and not _is_language(self.lexer_name):
            yield Text(self.lexer_name, style="dim", overflow="fold")
        yield Text(str(self.text).rstrip("\n"), style="markdown.code_block", overflow="fold")


def _is_language(word: str) -> bool:
    """Whether what stands after the fence only names a language: any other word must be seen."""
    from rich.syntax import Syntax

    return Syntax("", word).lexer is not None


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
    _clean(tokens)
    if not _has_room(tokens, width) or _hides(tokens, text):
        return Text(shortened(text), overflow="fold")
    drawn = _Harmless("", hyperlinks=False)
    drawn.parsed = tokens
    return drawn


def _clean(tokens: Sequence[Token]) -> None:
    """Make printable what entities and addresses were decoded to."""
    for token in tokens:
        token.content, token.info = printable_lines(token.content), printable(token.info)
        token.attrs = {
            name: printable(value) if isinstance(value, str) else value for name, value in token.attrs.items()
        }
        _clean(token.children or ())


def _has_room(tokens: Sequence[Token], width: int) -> bool:
    """Whether all of it can be seen in so many columns."""
    needed = columns = 0
    for token in tokens:
        columns = 0 if token.type == "tr_open" else columns + (token.type in ("th_open", "td_open"))
        needed = max(needed, LEVEL * token.level + COLUMN * columns + ROOM)
    return 0 < needed <= width


def _hides(tokens: Sequence[Token], text: str) -> bool:
    """Whether a word of the text would not be seen: a link's title, a cell beyond its table's columns …."""
    return not Counter(WORD.findall(text)) <= Counter(WORD.findall(" ".join(_seen(tokens))))


def _seen(tokens: Sequence[Token]) -> Iterator[str]:
    """Yield what a person sees of the tokens: texts, addresses, numbers of lists, languages of code."""
    for token in tokens:
        if token.type == "inline":
            yield from _seen(token.children or ())
            continue
        yield token.content
        yield str(token.attrs.get("href", ""))
        yield token.info.partition(" ")[0]
