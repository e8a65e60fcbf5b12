"""Results of decisions and comments as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import Json
from hitl_cli.engine.records import PromiseState
from hitl_cli.format.times import iso
from hitl_cli.requests.editable import Change
from hitl_cli.requests.question import outcome_of
from hitl_cli.views.rules import RuleDocument, rule_document
from hitl_cli.views.votes import VoteDocument, vote_document

if TYPE_CHECKING:
    from datetime import datetime

    from hitl_cli.client.wire import Promise, Verdict
    from hitl_cli.errors import HitlError
    from hitl_cli.inbox.bulk import PlannedDecision
    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.requests.decision import Decision

_COPIED = ("data", "choice", "by", "via", "comment", "reason")
"""The fields of a decision that are copied."""


class DecisionResultDocument(Struct, frozen=True, kw_only=True):
    """The result of a decision. `fresh` says whether this decision was recorded now.

    If several must approve, the state stays pending until the quorum is reached. `new_rule` is the rule that
    was made with an approval, `changes` are its changes to the arguments.
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
    new_rule: RuleDocument | None = None
    changes: tuple[Change, ...] = ()


class KeptCommentDocument(Struct, frozen=True, kw_only=True):
    """A comment that was added to a request."""

    id: str
    state: PromiseState
    by: str
    comment: str


def planned_decision_document(one: PlannedDecision, verdict: Verdict) -> Json:
    """Return a planned decision, or the `problem` that prevents it."""
    return {
        "id": one.name if one.item is None else one.item.id,
        "verdict": verdict,
        "problem": None if one.problem is None else str(one.problem),
        "code": None if one.problem is None else one.problem.code,
    }


def failed_decision_document(id: str, error: HitlError) -> Json:
    """Return a decision that failed, and why."""
    return {"id": id, "error": str(error), "code": error.code}


def hook_result_document(decided: DecisionResult) -> Json:
    """Return the result of a webhook's decision; `outcome` is null while more approvals are needed."""
    return {
        "request": decided.promise.id,
        "run": decided.workflow,
        "workflow": decided.workflow,
        "outcome": outcome_of(decided.promise),
        "by": decided.audit.by,
    }


def decision_result_document(one: DecisionResult) -> DecisionResultDocument:
    """Return the result of a decision."""
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
        new_rule=None if one.made is None else rule_document(one.made),
        changes=one.changes,
    )


def answer_document(promise: Promise, decision: Decision[Any] | None) -> Json:
    """Return a request and its decision, if any; `expired` says whether the deadline decided."""
    return {
        "id": promise.id,
        "state": promise.state,
        "outcome": outcome_of(promise),
        **_decided(decision),
    }


def decision_document(decision: Decision[Any]) -> dict[str, Any]:
    """Return a decision as JSON."""
    return {"id": decision.id, "approved": decision.approved, **_decided(decision)}


def _decided(decision: Decision[Any] | None) -> dict[str, Any]:
    """Return the fields that both documents have."""
    votes = () if decision is None else decision.votes
    return {
        **{name: getattr(decision, name, None) for name in _COPIED},
        "at": None if decision is None else _iso(decision.at),
        "expired": decision is not None and decision.expired,
        "arguments": None if decision is None else decision.arguments,
        "arguments_digest": None if decision is None else decision.arguments_digest,
        "changed": decision is not None and decision.changed,
        "valid_until": _iso(decision.valid_until) if decision and decision.valid_until else None,
        "votes": [{**msgspec.to_builtins(vote), "at": iso(vote.at)} for vote in votes],
    }


def _iso(at: datetime) -> str:
    """Return an instant as text."""
    return iso(round(at.timestamp() * 1_000))
