"""Who is away as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.views.document import document_of

if TYPE_CHECKING:
    from hitl_cli.people.away import Away


class AwayDocument(Struct, frozen=True, kw_only=True):
    """A person is away from `since` until `until`, and `to` is their deputy. `by` has recorded it."""

    person: str
    since: str
    until: str
    to: str | None
    by: str | None
    via: str | None


class AwaysDocument(Struct, frozen=True):
    """Who is away now, or will be."""

    items: list[AwayDocument]


class AbsenceDocument(Struct, frozen=True, kw_only=True):
    """An assignee who is away, and the deputies who were asked as well."""

    person: str
    until: str
    deputies: tuple[str, ...]


def away_document(away: Away) -> AwayDocument:
    """Return what is recorded of a person."""
    return document_of(AwayDocument, away)
