"""The typed parts of a request on a terminal: drawn by Rich, and as plain lines in a pipe.

Control characters in a part are escaped before the text is colored.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from hitl_cli.cli.render.blocks import Block, left_out
from hitl_cli.cli.render.table import Cell
from hitl_cli.format.json import to_json
from hitl_cli.format.terminal import printable, visible
from hitl_cli.requests.parts import (
    CodePart,
    CommandPart,
    DiffPart,
    ImagePart,
    JsonPart,
    MarkdownPart,
    TablePart,
    lines_of,
    picture_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from hitl_cli.requests.parts import LineKind, Part

MOST_LINES = 60
"""Lines of a part on a terminal. A pipe gets all."""

MOST_COLORED = 50_000
"""Characters of code that are colored; longer code is plain."""

STYLES: dict[LineKind, str] = {"": "", "add": "green", "del": "red", "head": "cyan"}


def part_block(title: str, part: Part) -> Block:
    """Return a part as a block: rows for a pipe, and what Rich draws on a terminal."""
    rows = [[Cell(text, STYLES[kind]) for text in cells] for kind, cells in _rows(part)]
    art = _art(part, rows)
    return Block(title, rows, whole=art is None, art=art, most=MOST_LINES)


def part_blocks(title: str, parts: Iterable[tuple[str, Part]]) -> Iterator[Block]:
    """Yield the parts of details or arguments as blocks, each below its name."""
    for name, part in parts:
        yield part_block(f"{title}: {printable(name)}" if name else title, part)


def _rows(part: Part) -> Iterator[tuple[LineKind, Sequence[str]]]:
    """Yield the lines of a part as cells."""
    match part:
        case CommandPart() | DiffPart():
            yield from ((kind, [text]) for kind, text in lines_of(part))
        case CodePart() | MarkdownPart():
            yield from (("", [visible(line, tabs=True)]) for line in part.text.split("\n"))
        case JsonPart():
            yield from (("", [visible(line)]) for line in _pretty(part).split("\n"))
        case ImagePart():
            yield "", [f"[image: {printable(part.alt)}, {picture_of(part).sentence}]"]
        case TablePart():
            yield "head", part.columns
            yield from (("", list(map(_cell, row))) for row in part.rows)


def _pretty(part: JsonPart) -> str:
    return msgspec.json.format(msgspec.json.encode(part.value), indent=2).decode()


def _cell(value: object) -> str:
    return printable(value if isinstance(value, str) else "" if value is None else to_json(value))


def _art(part: Part, rows: Sequence[Sequence[Cell]]) -> Callable[[int], RenderableType] | None:
    """Return a function that draws a part for a width; None if its rows are enough."""
    match part:
        case CodePart(language=str(language)):
            return partial(_colored, [row[0].text for row in rows], language)
        case JsonPart():
            return partial(_colored, [row[0].text for row in rows], "json")
        case MarkdownPart(text=text):
            return partial(_markdown, text)
        case _:
            return None


def _colored(lines: Sequence[str], language: str, width: int) -> RenderableType:
    """Return code with colors, if it is not too long and the language is known."""
    from rich.console import Group
    from rich.syntax import Syntax
    from rich.text import Text

    text = "\n".join(lines[:MOST_LINES])
    more = [] if len(lines) <= MOST_LINES else [Text(left_out(len(lines) - MOST_LINES), "dim")]
    if len(text) > MOST_COLORED:
        return Group(Text(text, overflow="fold"), *more)
    code = Syntax(
        text,
        language,
        theme="ansi_dark",
        background_color="default",
        word_wrap=True,
        code_width=max(width, 1),
    )
    return Group(code, *more)


def _markdown(text: str, width: int) -> RenderableType:
    from hitl_cli.cli.render.markdown import markdown

    return markdown(text, width)
