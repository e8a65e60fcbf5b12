"""Rendering of templates. Jinja2 escapes all texts; HTML in the context was sanitised before."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from hitl_cli.format.durations import format_age, format_duration
from hitl_cli.format.json import to_json
from hitl_cli.format.markdown import as_words
from hitl_cli.format.shell import command
from hitl_cli.format.terminal import in_order, printable
from hitl_cli.format.times import iso
from hitl_cli.forms.reading import rows_of
from hitl_cli.gateway.pages.details_view import drawn_change
from hitl_cli.requests.outcome import given_reason, headline, noun_of, vote_given

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.errors import HitlError


_FOLDER = Path(__file__).with_name("templates")
_SOURCES = {
    file.relative_to(_FOLDER).as_posix(): file.read_text(encoding="utf-8") for file in _FOLDER.rglob("*.html")
}
"""Read at the start: a newer version that is installed later has templates for other code."""

FIRST = ("base.html", "parts.html", "inbox.html")
"""The templates of the page that people open first."""


class Renderer:
    """Renders templates. `clock` returns ms since the epoch; `base` is the base path of all pages."""

    def __init__(self, clock: Callable[[], int], base: str = "") -> None:
        self._templates = Environment(
            loader=DictLoader(_SOURCES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(now=clock, base=base, command=command)
        self._templates.globals.update(
            headline=headline, given_reason=given_reason, vote_given=vote_given, noun_of=noun_of
        )
        self._templates.filters.update(
            age=lambda at: format_age(max(clock() - at, 0)),
            left=lambda at: format_duration(max(at - clock(), 0)),
            duration=format_duration,
            span=format_age,
            iso=iso,
            rows=rows_of,
            told=_told,
            code=_with_code,
            drawn_change=drawn_change,
            printable=printable,
            in_order=in_order,
            words=as_words,
            segment=lambda name: quote(name, safe=":"),
            compact=to_json,
        )

    def prepare(self) -> None:
        """Compile the templates of the inbox page, which takes longer than reading and rendering it."""
        for template in FIRST:
            self._templates.get_template(template)

    def text(self, template: str, **context: Any) -> str:
        """Return a rendered template."""
        return self._templates.get_template(template).render(context)


def _told(error: HitlError | str, at: int | None = None) -> Markup:
    """Return an error as a sentence; its instant is a <time>, which the script writes in the reader's zone.

    `at` is the instant of a plain text (an error has its own). Text between backticks becomes code.
    """
    text = str(error)
    text = text[:1].upper() + text[1:]
    at = at if isinstance(error, str) else error.at
    written = "" if at is None else iso(at)
    before, found, after = text.partition(written) if written else (text, "", "")
    element = Markup('<time datetime="{}" data-at>{} UTC</time>')
    when = element.format(found, found[:16].replace("T", " ")) if found else Markup()
    return Markup().join([_with_code(before), when, _with_code(after)])


def _with_code(text: str) -> Markup:
    """Return a text, with text between backticks as code."""
    parts = re.split(r"`([^`\n]+)`", text)
    return Markup().join(
        Markup("<code>{}</code>").format(one) if at % 2 else one for at, one in enumerate(parts)
    )
