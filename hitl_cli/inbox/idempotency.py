"""The same request of a program, sent twice: done once, and answered the same (Idempotency-Key).

Nothing is kept for it. The id that a decision, a comment or a start gets is made of the key, of who sends it
and of what it says; so the record itself tells whether it was made before, and whether by the same words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import audit_of, fresh_id, headers_of
from hitl_cli.errors import HitlError
from hitl_cli.format.stable_ids import short_stable_id
from hitl_cli.inbox.decide import DecisionResult, decide_promise
from hitl_cli.inbox.pending import summary_of
from hitl_cli.inbox.votes import RecordedVote, standing, votes_of
from hitl_cli.people.groups import NO_GROUPS

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.decide import DecisionInput
    from hitl_cli.people.groups import Groups

HALF_DIGITS = 24
"""Hexadecimal digits of each part of a mark."""


class IdempotencyKeyReused(HitlError):
    """The key was used before, for something else."""

    code = "key-reused"

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used before with another body. Nothing was changed.")


class IdempotencyMark(Struct, frozen=True):
    """What tells a request from all others: `key` of the key and its sender, `body` of what it says."""

    key: str
    body: str

    @property
    def id(self) -> str:
        """The id of what the request makes."""
        return self.key + self.body

    def made(self, id: str | None) -> bool:
        """Whether this request made something with this id. Raises KeyReused for another by its key."""
        if id is None or not id.startswith(self.key):
            return False
        if id != self.id:
            raise IdempotencyKeyReused
        return True


def mark_of(key: str, person: str, subject: str, body: bytes) -> IdempotencyMark:
    """Return the mark of a request of a person to do something to a subject."""
    whose = msgspec.json.encode([key, person, subject])
    return IdempotencyMark(*(short_stable_id(said, HALF_DIGITS, b"hitl.mark") for said in (whose, body)))


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


def start_mark(client: Client, id: str, mark: IdempotencyMark | None) -> str:
    """Return the mark of a run's start. Raises KeyReused."""
    if mark is None:
        return fresh_id()
    run = get_promise(client, id)
    if run is not None:
        mark.made(headers_of(run.param).get("hitl:start"))
    return mark.id
