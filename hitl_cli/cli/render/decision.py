"""The outcome of a decision, as the commands print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.format.times import local
from hitl_cli.inbox.decision_result import by_whom
from hitl_cli.people.groups import in_words
from hitl_cli.people.quorum import with_noun
from hitl_cli.requests.question import question_of

if TYPE_CHECKING:
    from hitl_cli.inbox.decision_result import DecisionResult


def sentence(one: DecisionResult, now: int) -> str:
    """Return the outcome in one sentence."""
    of = f" of run {one.workflow}" if one.workflow != one.promise.id else ""
    instead = one.audit.deputy_for
    by = f"{one.audit.by} for {in_words(instead)}" if instead else one.audit.by
    if one.votes is not None and not one.settled:
        so_far = one.so_far or f"{one.votes.leading} of {one.approvals}"  # a gateway of a version before
        count = with_noun(so_far, question_of(one.promise))
        return f"{one.promise.id}{of}: vote by {by} recorded{_with_changes(one)}, {count}"
    verb = "approved" if one.verdict == "approve" else "rejected"
    if one.answer is not None:
        verb = f"answered {one.answer!r}"
    if one.fresh:
        rule = "" if one.made is None else f", rule {one.made.id} until {local(one.made.ends_at)}"
        return f"{one.promise.id}{of} {verb} by {by}{_with_changes(one)}{rule}"
    return f"{one.promise.id}{of} was already {verb}{by_whom(one.promise, now, local)}"


def _with_changes(one: DecisionResult) -> str:
    """Return that the arguments were changed, if they were."""
    number = len(one.changes)
    return f" with {number} change{'s' * (number > 1)}" if number else ""
