"""Rendering of templates. Jinja2 escapes all texts; HTML in the context was sanitised before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hitl_cli.format.durations import format_age, format_duration
from hitl_cli.format.json import to_json
from hitl_cli.format.markdown import as_words
from hitl_cli.format.shell import command
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import WRITTEN, iso

if TYPE_CHECKING:
    from collections.abc import Callable


class Renderer:
    """Renders templates. `clock` returns ms since the epoch; `base` is the base path of all pages."""

    def __init__(self, clock: Callable[[], int], base: str = "") -> None:
        self._templates = Environment(
            loader=PackageLoader("hitl_cli.gateway"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(now=clock, base=base, command=command)
        self._templates.filters.update(
            age=lambda at: format_age(max(clock() - at, 0)),
            left=lambda at: format_duration(max(at - clock(), 0)),
            duration=format_duration,
            span=format_age,
            iso=iso,
            instants=_with_instants,
            printable=printable,
            words=as_words,
            segment=lambda name: quote(name, safe=":"),
            compact=to_json,
        )

    def text(self, template: str, **context: Any) -> str:
        """Return a rendered template."""
        return self._templates.get_template(template).render(context)


def _with_instants(text: str) -> Markup:
    """Return a sentence with its instants as <time>, which the script shows in the reader's time zone."""
    element = Markup('<time datetime="{}" data-at>{} UTC</time>')
    parts: list[str] = []
    last = 0
    for found in WRITTEN.finditer(text):
        instant = found[0]
        parts += [text[last : found.start()], element.format(instant, instant[:16].replace("T", " "))]
        last = found.end()
    return Markup().join([*parts, text[last:]])
