"""Decisions that carry an Idempotency-Key: made once, however often they are sent (people/idempotency.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import audit_of
from hitl_cli.inbox.decide import DecisionResult, decide_promise
from hitl_cli.inbox.pending import summary_of
from hitl_cli.inbox.votes import RecordedVote, standing, votes_of
from hitl_cli.people.groups import NO_GROUPS

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.decide import DecisionInput
    from hitl_cli.people.groups import Groups
    from hitl_cli.people.idempotency import IdempotencyMark


def decide_once(
    client: Client,
    promise: Promise,
    answer: DecisionInput,
    groups: Groups = NO_GROUPS,
    mark: IdempotencyMark | None = None,
) -> DecisionResult:
    """Answer a promise as `decide_promise` does; what the same request did before stands, and is returned.

    Raises what that raises, and KeyReused.
    """
    if mark is None:
        return decide_promise(client, promise, answer, groups)
    ballot = None if _is_decided_by(promise, mark) else _vote_by(client, promise, mark)
    if ballot is None:
        return decide_promise(client, promise, answer, groups, lambda: mark.id)
    return _voted(client, promise, ballot, groups)


def was_done(client: Client, promise: Promise, mark: IdempotencyMark | None) -> bool:
    """Whether the request has answered the promise before. Raises KeyReused."""
    if mark is None:
        return False
    return _is_decided_by(promise, mark) or _vote_by(client, promise, mark) is not None


def _is_decided_by(promise: Promise, mark: IdempotencyMark) -> bool:
    """Whether a promise was settled by the answer of a request. Raises KeyReused."""
    return promise.state != "pending" and mark.made(audit_of(promise).id)


def _vote_by(client: Client, promise: Promise, mark: IdempotencyMark) -> RecordedVote | None:
    """Return the vote that a request has cast. Raises KeyReused."""
    return next((one for one in votes_of(client, promise.id) if mark.made(one.audit.id)), None)


def _voted(client: Client, promise: Promise, ballot: RecordedVote, groups: Groups) -> DecisionResult:
    """Return how a promise stands, to whoever cast a vote on it before."""
    item = summary_of(client, promise, get_promise(client, promise.origin))
    return DecisionResult(
        promise=promise,
        workflow=promise.origin,
        verdict=ballot.vote.verdict,
        audit=msgspec.structs.replace(ballot.audit, choice=ballot.vote.choice),
        data=ballot.vote.data,
        reason=ballot.vote.reason,
        fresh=True,
        votes=standing(client, promise, item.asked, item.starter, groups),
        approvals=item.asked.approvals,
    )
