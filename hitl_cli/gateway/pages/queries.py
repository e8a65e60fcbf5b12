"""What an address and a form say: which filters, which page of a list, and what was filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hitl_cli.errors import BadQuery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp.web import Request

ROWS = 50
"""How many of a list are on one page."""

SPANS = ("1d", "7d", "30d", "90d")
"""What can be chosen of how far to look back."""


def text_in(request: Request, name: str) -> str | None:
    """Return a filter's text, None where it is left out or empty."""
    return request.query.get(name, "").strip() or None


def choice_in[T: str](request: Request, name: str, choices: Sequence[T]) -> T | None:
    """Return which of the choices a filter names, None where it names none. Raises BadInput."""
    given = text_in(request, name)
    if given is None:
        return None
    for choice in choices:
        if given == choice:
            return choice
    raise BadQuery(f"{given!r} is no {name} to look for: use one of {', '.join(choices)}.")


def address(path: str, filters: Mapping[str, str | None]) -> str:
    """Return the address of a list with filters; those that are None are left out."""
    given = urlencode({name: text for name, text in filters.items() if text is not None})
    return f"{path}?{given}" if given else path


def spans(chosen: str | None) -> tuple[str, ...]:
    """Return what can be chosen of how far to look back, with what is chosen already."""
    return SPANS if chosen is None or chosen in SPANS else (*SPANS, chosen)


def form_text(form: Any, name: str) -> str:
    """Return a text that a form carries; the empty text where it does not, or carries a file."""
    value = form.get(name, "")
    return value if isinstance(value, str) else ""
