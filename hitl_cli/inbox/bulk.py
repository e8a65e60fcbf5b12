"""Deciding many requests at once: plan the decisions, then make them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.wire import Vote
from hitl_cli.errors import HitlError
from hitl_cli.inbox.decide import rehearse, vote_of
from hitl_cli.inbox.pending import RequestFilter
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.inbox.resolve import no_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hitl_cli.inbox.decide import Said
    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.inbox.inbox import Inbox


class PlannedDecision(Struct, frozen=True, kw_only=True):
    """A planned decision: its request, and the vote that would be cast; or the problem that prevents it."""

    name: str
    vote: Vote | None = None
    item: RequestSummary | None = None
    problem: HitlError | None = None


def matching(inbox: Inbox, glob: str) -> list[str]:
    """Return the ids of open requests whose run id or workflow matches a glob, oldest first."""
    return [item.id for item in inbox.list(RequestFilter(workflow=glob))[0]]


def plan(inbox: Inbox, names: Iterable[str], said: Said) -> list[PlannedDecision]:
    """Return what a decision on each named request would do. Changes nothing.

    Two names of one request make one decision.
    """
    planned: dict[str, PlannedDecision] = {}
    for name in names:
        one = _planned_for(inbox, name, partial(inbox.find, name), said)
        planned.setdefault(name if one.item is None else one.item.id, one)
    return list(planned.values())


def plan_each(inbox: Inbox, ids: Sequence[str], said: Said) -> list[PlannedDecision]:
    """Return what `plan` does for ids, but in a few round trips."""
    found = inbox.among(ids)

    def item_of(id: str) -> RequestSummary:
        if id not in found:
            raise no_request(id)
        return found[id]

    return [_planned_for(inbox, id, partial(item_of, id), said) for id in ids]


def _planned_for(inbox: Inbox, name: str, find: Callable[[], RequestSummary], said: Said) -> PlannedDecision:
    """Return what a decision on one named request would do."""
    item: RequestSummary | None = None
    try:
        item = find()
        given = rehearse(item, inbox.actor, said, inbox.signer)
        vote = vote_of(given, inbox.actor.person, item.asked, item.now)
    except HitlError as problem:
        return PlannedDecision(name=name, item=item, problem=problem)
    return PlannedDecision(name=name, item=item, vote=vote)


def decide_all(
    inbox: Inbox, planned: Iterable[PlannedDecision], said: Said
) -> Iterator[tuple[str, DecisionResult | HitlError]]:
    """Make the decisions, and yield each name and result. A failure does not stop the others."""
    for one in planned:
        if one.item is None or one.problem is not None:
            assert one.problem is not None
            yield one.name, one.problem
            continue
        try:
            yield one.name, inbox.decide(one.item, said)
        except HitlError as problem:
            yield one.name, problem
