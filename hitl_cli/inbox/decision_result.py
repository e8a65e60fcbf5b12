"""The result of a decision, and the error for a request that was decided before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import (
    Audit,
    Json,
    Promise,
    Verdict,
    Vote,
    audit_of,
    decode,
    error_message,
    same_json,
)
from hitl_cli.errors import Conflict, TimedOut
from hitl_cli.format.durations import format_age
from hitl_cli.format.times import iso
from hitl_cli.inbox.votes import Tally, same_vote
from hitl_cli.people.groups import Groups, in_words
from hitl_cli.requests.editable import Change, changed
from hitl_cli.requests.outcome import answer_given, closed, given_reason
from hitl_cli.requests.question import question_of
from hitl_cli.rules.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Callable


class DecisionResult(Struct, frozen=True, kw_only=True):
    """The result of a decision.

    `fresh` says whether this decision was recorded now. `votes` is the tally if several must approve: the
    promise stays pending until the quorum is reached, and `so_far` says how far it is. `made` is the rule
    that was made with an approval.
    """

    promise: Promise
    workflow: str
    verdict: Verdict
    audit: Audit
    data: Json
    reason: str | None
    fresh: bool
    votes: Tally | None = None
    approvals: int = 1
    so_far: str = ""
    made: Rule | None = None

    @property
    def changes(self) -> tuple[Change, ...]:
        """The arguments that the approval changed."""
        question = question_of(self.promise)
        return changed(question, self.data) if question and self.verdict == "approve" else ()

    @property
    def answer(self) -> str | None:
        """The choice, or the yes or no, of the approval; None for any other."""
        question = question_of(self.promise) if self.verdict == "approve" else None
        return self.audit.choice if question is None else answer_given(question, self.audit.choice, self.data)

    @property
    def settled(self) -> bool:
        """Whether the request is decided now."""
        return self.promise.state != "pending"


def outcome(settled: Promise, vote: Vote, audit: Audit, now: int, groups: Groups) -> DecisionResult:
    """Return the result of a vote on a settled promise.

    Raises Conflict, TimedOut if it was decided otherwise.
    """
    recorded = audit_of(settled)
    data = decode(settled.value)
    fresh = recorded.id == audit.id
    if vote.verdict == "approve":
        same = settled.state == "resolved" and same_json(data, vote.data) and recorded.choice == vote.choice
    else:
        same = settled.state == "rejected"
    counted = settled.state == "resolved" and any(
        groups.same(other.by, vote.by) and same_vote(other, vote) for other in recorded.votes
    )
    if not (fresh or same or counted):
        raise already(settled, now)
    return DecisionResult(
        promise=settled,
        workflow=settled.origin,
        verdict=vote.verdict,
        audit=recorded,
        data=data if vote.verdict == "approve" else None,
        reason=error_message(settled.value) if vote.verdict == "reject" else None,
        fresh=fresh,
    )


def already(settled: Promise, now: int) -> Conflict | TimedOut:
    """Return the error for a promise that was settled earlier."""
    if (ended := settled.expired_at) is not None:
        return TimedOut(
            f"{settled.id} can no longer be answered: its deadline passed {iso(ended)}.", at=ended
        )
    by = by_whom(settled, now)
    if settled.state == "rejected_canceled":
        how = f"was canceled{by}"
    elif settled.state == "rejected":
        reason = given_reason("rejected", error_message(settled.value))
        how = f"was already rejected{by}" + (f": {reason}" if reason else "")
    else:
        data, question = decode(settled.value), question_of(settled)
        answer = None if question is None else answer_given(question, audit_of(settled).choice, data)
        said = f" with {msgspec.json.encode(data).decode()}" if answer is None else ""
        how = f"was already {'approved' if answer is None else f'answered {answer!r}'}{by}{said}"
    return Conflict(
        f"{closed(f'{settled.id} {how}')} Nothing was changed.",
        code="already-decided",
        at=decided_at(settled, now),
    )


def by_whom(settled: Promise, now: int, write: Callable[[int], str] = iso) -> str:
    """Return ` by reviewer via cli 5m ago (2026-…Z)`, with the parts that are known."""
    audit, at = audit_of(settled), decided_at(settled, now)
    instead = f" for {in_words(audit.deputy_for)}" if audit.deputy_for else ""
    who = f" by {audit.by}{instead} via {audit.via}" if audit.by else f" by {audit.via or 'another tool'}"
    return f"{who} {format_age(now - at)} ago ({write(at)})"


def decided_at(settled: Promise, now: int) -> int:
    """Return when a request was decided (ms since the epoch); `now` if that is not recorded."""
    if settled.expired_at is not None:
        return settled.expired_at
    return audit_of(settled).at or settled.settled_at or now
