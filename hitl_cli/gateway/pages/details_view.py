"""The typed parts of a request's details as HTML (docs/reference/wire.md). Everything in them is text.

They are drawn in a thread before the page is rendered, because coloring takes time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from markupsafe import Markup, escape
from msgspec import Struct

from hitl_cli.client.wire import Json
from hitl_cli.format.json import to_json
from hitl_cli.format.markdown import as_html
from hitl_cli.format.terminal import in_order, printable, printable_lines, visible
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
    split,
    split_exactly,
)
from hitl_cli.requests.parts import exact as as_exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hitl_cli.requests.editable import Change
    from hitl_cli.requests.parts import LineKind, Part

SHOWN_LINES = 20
"""Lines or rows of a part; the others are folded."""

MOST_COLORED = 50_000
"""Characters of code that are colored; longer code is plain."""

MOST_ROWS = 1_000

TAGS: dict[LineKind, str] = {"add": "ins", "del": "del", "head": "b", "": "span"}
"""The elements of a diff's lines, which say what they are without colors, too."""


class DrawnPart(Struct, frozen=True, kw_only=True):
    """A part of the details: its name, and the data to draw it."""

    name: str
    html: Markup


class DrawnDetails(Struct, frozen=True, kw_only=True):
    """Details: the table of plain values, and the parts below it."""

    rest: Json
    parts: tuple[DrawnPart, ...]


def drawn_details(details: Json, *, exact: bool = False) -> DrawnDetails:
    """Return details as a page shows them; arguments `exact`ly, with every character visible."""
    rest, parts = split_exactly(details) if exact else split(details)
    shown = tuple(DrawnPart(name=printable(name), html=_html_of(part)) for name, part in parts)
    return DrawnDetails(rest=as_exact(rest, visible if exact else in_order), parts=shown)


def drawn_change(change: Change) -> Markup:
    """Return a change of the arguments: a line, and below it the diff of a long text."""
    said = Markup('<span class="text" dir="auto">{}</span>').format(printable(change.sentence))
    return said if change.diff is None else said + _html_of(DiffPart("\n".join(change.diff)))


def _html_of(part: Part) -> Markup:
    match part:
        case CommandPart():
            return _folded([escape(text) for _, text in lines_of(part)], "command")
        case DiffPart():
            return _folded([_line(kind, text) for kind, text in lines_of(part)], "diff")
        case CodePart():
            code = [visible(line, tabs=True) for line in part.text.split("\n")]
            return _folded(_colored(code, part.language), "source")
        case JsonPart():
            text = msgspec.json.format(msgspec.json.encode(part.value), indent=2).decode()
            return _folded(_colored([visible(line) for line in text.split("\n")], "json"), "source")
        case MarkdownPart():
            return Markup('<div class="prose" dir="auto">{}</div>').format(as_html(part.text))
        case ImagePart():
            picture = picture_of(part)
            image = Markup('<img src="data:{};base64,{}" alt="{}" width="{}" height="{}">')
            shown = image.format(picture.mime, part.data, printable(part.alt), picture.width, picture.height)
            return shown + Markup('<p class="muted">{}</p>').format(picture.sentence)
        case TablePart():
            return _table(part)


def _line(kind: LineKind, text: str) -> Markup:
    return Markup(f"<{TAGS[kind]}>{{}}</{TAGS[kind]}>").format(text)  # noqa: S704 - the tag is ours


def _colored(lines: Sequence[str], language: str | None) -> Sequence[Markup]:
    """Return lines of code with spans for their tokens, if the language is known."""
    plain = [escape(line) for line in lines]
    if language is None or sum(map(len, lines)) > MOST_COLORED:
        return plain
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return plain
    html = highlight("\n".join(lines), lexer, HtmlFormatter(nowrap=True, classprefix="hl-"))
    colored = html.removesuffix("\n").split("\n")
    return [Markup(line) for line in colored] if len(colored) == len(plain) else plain  # noqa: S704 - escaped


def _folded(lines: Sequence[Markup], kind: str) -> Markup:
    """Return lines in a fixed-width font; all after the first ones are folded."""

    def pre(some: Iterable[Markup]) -> Markup:
        code = Markup("\n").join(some)
        return Markup('<pre class="code {}" translate="no"><code>{}</code></pre>').format(kind, code)

    if len(lines) <= SHOWN_LINES:
        return pre(lines)
    return pre(lines[:SHOWN_LINES]) + _fold(len(lines) - SHOWN_LINES, "lines", pre(lines[SHOWN_LINES:]))


def _fold(number: int, what: str, inner: Markup) -> Markup:
    return Markup('<details class="fold"><summary>{} more {}</summary>{}</details>').format(
        f"{number:,}", what, inner
    )


def _table(part: TablePart) -> Markup:
    """Return a table; all rows after the first ones are folded, in a table of their own."""

    def table(rows: Iterable[Sequence[object]]) -> Markup:
        head = Markup().join(Markup("<th scope=col>{}</th>").format(printable(one)) for one in part.columns)
        body = Markup().join(
            Markup("<tr>{}</tr>").format(
                Markup().join(Markup("<td>{}</td>").format(_cell(one)) for one in row)
            )
            for row in rows
        )
        return Markup(
            '<div class="wide"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
        ).format(head, body)

    first, more = part.rows[:SHOWN_LINES], part.rows[SHOWN_LINES:MOST_ROWS]
    if not more:
        return table(first)
    return table(first) + _fold(len(part.rows) - SHOWN_LINES, "rows", table(more))


def _cell(value: object) -> str:
    return printable_lines(value if isinstance(value, str) else "" if value is None else to_json(value))
