"""All that there is to know of one request: for those who decide it, and for those who look back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import Vote, audit_of, child_id
from hitl_cli.format.durations import format_duration
from hitl_cli.format.times import iso
from hitl_cli.inbox.comments import Comment, comments_of
from hitl_cli.inbox.history import HistoryEntry, decision_of
from hitl_cli.inbox.pending import RequestSummary, summary_of
from hitl_cli.inbox.votes import complete, leading, standing
from hitl_cli.notify.status import NotificationStatus, notifications_of
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.requests.question import Instead
from hitl_cli.runs.steps import RunStep, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Question


class RequestDetails(Struct, frozen=True, kw_only=True):
    """A request, what has been said of it, and the steps of its run before it, the oldest first.

    `votes` are those that count: so far, or in the decision. That is None while it waits. `told` is who was
    told of it, and how.
    """

    item: RequestSummary
    decision: HistoryEntry | None = None
    votes: tuple[Vote, ...] = ()
    comments: tuple[Comment, ...] = ()
    before: tuple[RunStep, ...] = ()
    told: tuple[NotificationStatus, ...] = ()

    @property
    def promise(self) -> Promise:
        """The promise that it is."""
        return self.item.promise


def details(client: Client, promise: Promise, groups: Groups = NO_GROUPS) -> RequestDetails:
    """Return all that there is to know of a promise that a person can answer (lookup.find).

    One that has all its votes, and was not settled because a process died in between, is settled here.
    """
    item = summary_of(client, promise, get_promise(client, promise.origin))
    votes: tuple[Vote, ...] = audit_of(promise).votes
    if item.asked.approvals > 1 and not votes:
        tallied = standing(client, promise, item.asked, item.starter, groups)
        if promise.state == "pending" and tallied.deciding is not None:
            return details(client, complete(client, promise, tallied), groups)
        votes = tallied.votes
    steps = tree(client, promise.id)
    return RequestDetails(
        item=msgspec.structs.replace(item, votes=leading(votes)),
        decision=None if promise.state == "pending" else decision_of(promise, item.function),
        votes=votes,
        comments=tuple(comments_of(client, promise.id)),
        before=tuple(_steps_before(steps, promise.id)),
        told=notifications_of(promise.id, _all_of(steps)),
    )


def _all_of(root: RunStep) -> Iterator[Promise]:
    """Yield a step and all below it, however deep."""
    left = [root]
    while left:
        node = left.pop()
        yield node.promise
        left += reversed(node.children)


def _steps_before(root: RunStep, id: str) -> list[RunStep]:
    """Return the steps of a run that were begun before the one with this id, without what is inside them.

    Of an `ask`, that is the request.
    """
    found: list[RunStep] = []
    above: RunStep | None = root
    while above is not None and above.promise.id != id:
        inner = above.children
        above = None
        for node in inner:
            if node.promise.id == id or id.startswith(child_id(node.promise.id, "")):
                above = node
                break
            found += [child for child in node.children if child.kind == "person"] or [node]
    return found


def who_may(seen: RequestDetails) -> str:
    """Return who may answer now, or might until it was decided."""
    age = (seen.decision.at if seen.decision else seen.item.now) - seen.item.created_at
    names = ", ".join(seen.item.asked.asked_at(age)) or "anybody"
    if seen.item.asked.allow_self:
        return names
    return f"{names}, but not who started the run ({seen.item.starter or 'not known'})"


def later(seen: RequestDetails) -> list[str]:
    """Return who may answer too, and from when on."""
    item = seen.item
    ahead = [(item.created_at + step.after, step.to) for step in item.asked.escalate]
    return [
        f"{', '.join(to)} too, in {format_duration(at - item.now)} ({iso(at)})"
        for at, to in sorted(ahead)
        if seen.decision is None and at > item.now
    ]


def at_deadline(question: Question) -> str:
    """Return what it means that nobody answers."""
    match question.on_deadline:
        case "expire":
            return "then it expires"
        case "approve":
            return "then it counts as approved"
        case "reject":
            return "then it counts as rejected"
        case Instead(value=value):
            return f"then it counts as approved with {msgspec.json.encode(value).decode()}"
