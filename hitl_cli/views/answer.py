"""A question without a workflow and its answer, as machines are shown them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.format.times import iso
from hitl_cli.requests.question import outcome_of

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json, Promise
    from hitl_cli.requests.decision import Decision

_COPIED = ("data", "choice", "by", "via", "comment", "reason")
"""What is shown of a decision as it is."""


def answer_document(promise: Promise, decision: Decision[Any] | None) -> Json:
    """Return a question and the decision on it, if any; `expired` tells whether the deadline decided."""
    votes = () if decision is None else decision.votes
    return {
        "id": promise.id,
        "state": promise.state,
        "outcome": outcome_of(promise),
        **{name: getattr(decision, name, None) for name in _COPIED},
        "at": None if decision is None else iso(round(decision.at.timestamp() * 1_000)),
        "expired": decision is not None and decision.expired,
        "votes": [{**msgspec.to_builtins(vote), "at": iso(vote.at)} for vote in votes],
    }
