"""Absences as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.views.document import document_of

if TYPE_CHECKING:
    from hitl_cli.people.away import Away


class AwayDocument(Struct, frozen=True, kw_only=True):
    """The absence of a person from `since` until `until`. `to` is their deputy; `by` has recorded it."""

    person: str
    since: str
    until: str
    to: str | None
    by: str | None
    via: str | None


class AwaysDocument(Struct, frozen=True):
    """The present and coming absences."""

    items: list[AwayDocument]


class AbsenceDocument(Struct, frozen=True, kw_only=True):
    """An absent assignee, and the deputies who may answer for them."""

    person: str
    until: str
    deputies: tuple[str, ...]


def away_document(away: Away) -> AwayDocument:
    """Return the absence of a person."""
    return document_of(AwayDocument, away)
