"""Many answers at once: what each of them would do, and then doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import Audit, fresh_id
from hitl_cli.errors import HitlError
from hitl_cli.inbox.decide import check, decide_promise, outcome, vote_of
from hitl_cli.inbox.pending import RequestFilter, RequestSummary, pending, summary_of
from hitl_cli.inbox.resolve import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.decide import DecisionInput, DecisionResult
    from hitl_cli.people.groups import Groups


class PlannedDecision(Struct, frozen=True, kw_only=True):
    """An answer that would be given: to what, or why it cannot be."""

    name: str
    item: RequestSummary | None = None
    problem: HitlError | None = None


def matching(client: Client, glob: str, groups: Groups) -> list[str]:
    """Return the ids of what waits in runs or functions of such a name, the oldest first."""
    return [item.id for item in pending(client, RequestFilter(workflow=glob), groups=groups)[0]]


def plan(
    client: Client, names: Iterable[str], answer: DecisionInput, groups: Groups
) -> list[PlannedDecision]:
    """Return what an answer to each of the names would do. Nothing is changed.

    Two names of one promise are one answer.
    """
    planned: dict[str, PlannedDecision] = {}
    for name in names:
        one = _planned_for(client, name, answer, groups)
        planned.setdefault(name if one.item is None else one.item.id, one)
    return list(planned.values())


def _planned_for(client: Client, name: str, answer: DecisionInput, groups: Groups) -> PlannedDecision:
    """Return what an answer to one name would do."""
    item: RequestSummary | None = None
    try:
        promise = find(client, name)
        item = summary_of(client, promise, get_promise(client, promise.origin))
        vote = vote_of(answer, item.asked, item.now)
        if promise.state == "pending":
            check(item, vote, groups)
        else:
            outcome(promise, vote, Audit(id=fresh_id()), item.now)
    except HitlError as problem:
        return PlannedDecision(name=name, item=item, problem=problem)
    return PlannedDecision(name=name, item=item)


def decide_all(
    client: Client, planned: Iterable[PlannedDecision], answer: DecisionInput, groups: Groups
) -> Iterator[tuple[str, DecisionResult | HitlError]]:
    """Give the answers, and yield for each the name and what came of it; a failure does not stop the rest."""
    for one in planned:
        if one.item is None or one.problem is not None:
            assert one.problem is not None  # noqa: S101
            yield one.name, one.problem
            continue
        try:
            yield one.name, decide_promise(client, one.item.promise, answer, groups)
        except HitlError as problem:
            yield one.name, problem
