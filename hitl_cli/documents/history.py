"""What was answered, as machines are shown it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.documents.votes import VoteDocument, vote_document
from hitl_cli.inbox.history import Kind  # noqa: TC001 - msgspec reads the annotations
from hitl_cli.questions import Outcome  # noqa: TC001
from hitl_cli.times import iso
from hitl_cli.wire import Json  # noqa: TC001

if TYPE_CHECKING:
    from hitl_cli.inbox.history import Entry


class EntryDocument(Struct, frozen=True, kw_only=True):
    """A decision, a vote or a comment."""

    kind: Kind
    id: str
    workflow: str
    function: str | None
    asked: str | None
    asked_at: str
    outcome: Outcome | None
    deadline: bool
    choice: str | None
    data: Json
    reason: str | None
    by: str | None
    via: str | None
    at: str
    waited_ms: int
    comment: str | None
    votes: tuple[VoteDocument, ...]


def entry_document(entry: Entry) -> EntryDocument:
    """Return what came of a request, or was said of it."""
    return EntryDocument(
        kind=entry.kind,
        id=entry.id,
        workflow=entry.workflow,
        function=entry.function,
        asked=entry.asked,
        asked_at=iso(entry.asked_at),
        outcome=entry.outcome,
        deadline=entry.deadline,
        choice=entry.choice,
        data=entry.data,
        reason=entry.reason,
        by=entry.by,
        via=entry.via,
        at=iso(entry.at),
        waited_ms=entry.waited_ms,
        comment=entry.comment,
        votes=tuple(map(vote_document, entry.votes)),
    )
