"""Reading the queries and forms of pages: filters, the page of a list, fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hitl_cli.errors import BadQuery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp.web import Request

ROWS = 50
"""Rows of a list per page."""

SPANS = ("1d", "7d", "30d", "90d")
"""Choices for how far to look back."""


def text_in(request: Request, name: str) -> str | None:
    """Return a filter's text; None if it is missing or empty."""
    return request.query.get(name, "").strip() or None


def choice_in[T: str](request: Request, name: str, choices: Sequence[T]) -> T | None:
    """Return a filter's choice; None if it is missing or empty. Raises BadQuery."""
    given = text_in(request, name)
    if given is None:
        return None
    for choice in choices:
        if given == choice:
            return choice
    raise BadQuery(f"invalid {name} {given!r}: use one of {', '.join(choices)}.")


def address(path: str, filters: Mapping[str, str | None]) -> str:
    """Return the address of a list with filters, without those that are None."""
    given = urlencode({name: text for name, text in filters.items() if text is not None})
    return f"{path}?{given}" if given else path


def spans(chosen: str | None) -> tuple[str, ...]:
    """Return the choices for how far to look back, including the one already chosen."""
    return SPANS if chosen is None or chosen in SPANS else (*SPANS, chosen)


def form_text(form: Any, name: str) -> str:
    """Return a form's text field; empty if it is missing or a file."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""
