"""What came of an answer, as machines are shown it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.wire import Json
from hitl_cli.engine.records import PromiseState
from hitl_cli.format.times import iso
from hitl_cli.views.votes import VoteDocument, vote_document

if TYPE_CHECKING:
    from hitl_cli.inbox.decide import DecisionResult


class DecisionResultDocument(Struct, frozen=True, kw_only=True):
    """A request that was answered: `fresh` tells whether by this very answer.

    Where several must approve, the state is pending while too few have.
    """

    id: str
    state: PromiseState
    decision_id: str | None
    by: str | None
    via: str | None
    at: str | None
    comment: str | None
    choice: str | None
    data: Json
    reason: str | None
    fresh: bool
    votes: tuple[VoteDocument, ...]


def decision_result_document(one: DecisionResult) -> DecisionResultDocument:
    """Return the decision that an answer led to, or found."""
    audit = one.audit
    at = audit.at or one.promise.settled_at
    votes = audit.votes if one.votes is None else one.votes.votes
    return DecisionResultDocument(
        id=one.promise.id,
        state=one.promise.state,
        decision_id=audit.id,
        by=audit.by,
        via=audit.via,
        at=None if at is None else iso(at),
        comment=audit.comment,
        choice=audit.choice,
        data=one.data,
        reason=one.reason,
        fresh=one.fresh,
        votes=tuple(map(vote_document, votes)),
    )
