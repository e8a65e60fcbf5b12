"""Votes as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.wire import Json, Verdict
from hitl_cli.views.document import document_of

if TYPE_CHECKING:
    from hitl_cli.client.wire import Vote


class VoteDocument(Struct, frozen=True, kw_only=True):
    """A person's vote."""

    by: str
    verdict: Verdict
    at: str
    choice: str | None
    data: Json
    reason: str | None
    comment: str | None
    deputy_for: tuple[str, ...] = ()


def vote_document(vote: Vote) -> VoteDocument:
    """Return a vote."""
    return document_of(VoteDocument, vote)
