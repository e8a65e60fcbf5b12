"""Untrusted Markdown for a terminal: all text is shown, and nothing is executed.

HTML is shown as its source, and a link's address beside its text. If rendering would hide words, or the
terminal is too narrow, the source is shown.
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
"""Maximum characters of text parsed as Markdown: the parser's time can grow with the square."""

ROOM = 20
"""Minimum columns for the innermost text, and for a whole table."""

LEVEL = 6
"""Maximum columns per level of nesting: a list has two levels, and numbers of up to nine digits."""

COLUMN = 6
"""Minimum width of a column of a table."""

PLAIN = "text"
"""Rich's language name for code without one."""

WORD = re.compile(r"[^\W_]+")


class _Table(TableElement):
    """A table that wraps long words instead of cutting them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in super().__rich_console__(console, options):
            if isinstance(part, Table):
                for column in part.columns:
                    column.overflow = "fold"
            yield part


class _Code(CodeBlock):
    """Code below the name of its language, without highlighting, which can be very slow."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.lexer_name != PLAIN and not _is_language(self.lexer_name):
            yield Text(self.lexer_name, style="dim", overflow="fold")
        yield Text(str(self.text).rstrip("\n"), style="markdown.code_block", overflow="fold")


def _is_language(word: str) -> bool:
    """Whether the text after a code fence is a language name. Any other text must be shown."""
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
    """Return Markdown as a Rich renderable for a terminal of this width."""
    text = printable_lines(source).strip("\n")
    tokens = parsed(text) if len(text) <= LONGEST else []
    _clean(tokens)
    if not _has_room(tokens, width) or _hides(tokens, text):
        return Text(shortened(text), overflow="fold")
    drawn = _Harmless("", hyperlinks=False)
    drawn.parsed = tokens
    return drawn


def _clean(tokens: Sequence[Token]) -> None:
    """Make decoded entities and addresses printable."""
    for token in tokens:
        token.content, token.info = printable_lines(token.content), printable(token.info)
        token.attrs = {
            name: printable(value) if isinstance(value, str) else value for name, value in token.attrs.items()
        }
        _clean(token.children or ())


def _has_room(tokens: Sequence[Token], width: int) -> bool:
    """Whether everything fits into this width."""
    needed = columns = 0
    for token in tokens:
        columns = 0 if token.type == "tr_open" else columns + (token.type in ("th_open", "td_open"))
        needed = max(needed, LEVEL * token.level + COLUMN * columns + ROOM)
    return 0 < needed <= width


def _hides(tokens: Sequence[Token], text: str) -> bool:
    """Whether a word of the text would be hidden: a link's title, a cell beyond its table's columns …."""
    return not Counter(WORD.findall(text)) <= Counter(WORD.findall(" ".join(_seen(tokens))))


def _seen(tokens: Sequence[Token]) -> Iterator[str]:
    """Yield the visible parts of the tokens: text, addresses, languages of code."""
    for token in tokens:
        if token.type == "inline":
            yield from _seen(token.children or ())
            continue
        yield token.content
        yield str(token.attrs.get("href", ""))
        yield token.info.partition(" ")[0]
