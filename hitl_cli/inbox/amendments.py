"""Reads the amendments of requests: new assignees, claims, later deadlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.errors import Conflict
from hitl_cli.format.shell import command
from hitl_cli.format.times import iso
from hitl_cli.people.deputies import represented
from hitl_cli.requests.amendments import Amendment, amendments_of_many, assignees_of, claims, is_overdue
from hitl_cli.requests.decision import settled_by_deadline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Question


def amended(item: RequestSummary, amendments: Iterable[Amendment]) -> RequestSummary:
    """Return a request with its amendments: those that came before its end.

    A record on the server is never in the future, even if this machine's clock is behind. A request whose
    deadline has passed is shown as `settle_overdue` will settle it (hitl_cli/inbox/deadlines.py).
    """
    end = item.promise.settled_at
    before = tuple(one for one in amendments if end is None or one.at <= end)
    now = max([item.now, *(one.at for one in before[-1:])])
    item = msgspec.structs.replace(item, amendments=before, now=now)
    if item.waits and is_overdue(item.asked, item.promise, before, now):
        state, value = settled_by_deadline(item.id, item.asked, item.deadline)
        ended = msgspec.structs.replace(item.promise, state=state, value=value, settled_at=item.deadline)
        return msgspec.structs.replace(item, promise=ended)
    return item


def with_amendments(client: Client, items: Sequence[RequestSummary]) -> list[RequestSummary]:
    """Return requests with their current amendments. Only requests that can have any are read."""
    found = amendments_of_many(client, [item.id for item in items if item.asked.can_be_amended])
    return [amended(item, found[item.id]) if item.id in found else item for item in items]


def with_claims(client: Client, items: Sequence[RequestSummary]) -> list[RequestSummary]:
    """Return requests with their current claims, which requests with amendments already have."""
    if all(item.asked.can_be_amended for item in items):
        return list(items)
    return [claimed(item, found.get(item.id)) for found in [claims(client)] for item in items]


def claimed(item: RequestSummary, claim: Amendment | None) -> RequestSummary:
    """Return a request without its amendments, but with its current claim."""
    if item.asked.can_be_amended or (claim is None and not item.amendments):
        return item
    return msgspec.structs.replace(item, amendments=() if claim is None else (claim,))


_DOING = {"approve": "decide it anyway", "release": "end that claim"}


def check_unclaimed(item: RequestSummary, person: str, groups: Groups, what: str = "approve") -> None:
    """Raise Conflict if somebody else has claimed a request, unless the person is their deputy."""
    claim = item.claim
    if claim is None or groups.same(claim.by, person):
        return
    instead_of = represented(item.asked, item.to, item.starter, person, groups)
    if not any(groups.same(claim.by, name) for name in instead_of):
        raise Conflict(
            f"{claim.by} has claimed {item.id} until {iso(claim.until or 0)}. Nothing was changed.",
            code="claimed",
            at=claim.until,
            hint=f"To {_DOING[what]}: `{command(what, [item.id], ['--anyway'])}`.",
        )


def asked_at(client: Client, id: str, question: Question, created_at: int, at: int) -> tuple[str, ...]:
    """Return the assignees at an instant; empty means anyone."""
    known = amendments_of_many(client, [id])[id] if question.can_be_amended else ()
    return assignees_of(question, created_at, known, at)
