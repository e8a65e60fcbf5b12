"""Changes of a request after it was asked: new assignees, claims, a later deadline.

A request itself never changes. Each amendment is a record under it, numbered from 1, so that all processes
see the same order. The first functions compute the state at an instant; the last ones read and write the
records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.client.protocol import search
from hitl_cli.client.records import closing_id, records_of_many, under
from hitl_cli.client.tags import AMENDS_TAG, CLAIM_TAG, DEADLINE_TAG
from hitl_cli.client.wire import INSTANT_DIGITS, audit_in, child_id, decode_as, headers_of
from hitl_cli.requests.question import FOR_EVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hitl_cli.client.protocol import Client, ProtocolRequest
    from hitl_cli.client.wire import AnyPromise, Audit, Promise
    from hitl_cli.requests.question import Question

type AmendmentKind = Literal["assign", "claim", "release", "extend", "expire"]
"""`expire` is that the deadline passed: nothing is moved after it."""


class Amendment(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One amendment. Instants are ms since the epoch, by the server's clock.

    `to` are all assignees after an `assign`; `until` is when a `claim` ends, or the deadline after an
    `extend`. `of` is the person whose claim was ended by another person's `release`. `id` identifies the call
    that created it.
    """

    number: int
    kind: AmendmentKind
    by: str
    at: int
    via: str | None = None
    to: tuple[str, ...] = ()
    until: int | None = None
    of: str | None = None
    id: str | None = None


class AmendmentInput(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data of an amendment's record: see Amendment."""

    kind: AmendmentKind
    to: tuple[str, ...] = ()
    until: int | None = None
    of: str | None = None


def assignees_of(
    question: Question, created_at: int, amendments: Sequence[Amendment], at: int
) -> tuple[str, ...]:
    """Return the assignees at an instant; empty means anyone. All other code gets them here.

    They are those of the last `assign` and of the escalations since; without an `assign`, those of the
    question. An assignment that the question does not allow is ignored.
    """
    assigned = reversed(amendments) if question.can_be_assigned else ()
    last = next((one for one in assigned if one.kind == "assign" and one.at <= at), None)
    if last is None:
        return question.asked_at(at - created_at)
    late = (name for step in question.escalate if last.at < created_at + step.after <= at for name in step.to)
    return tuple(dict.fromkeys([*last.to, *late, *question.approvals_by]))


def counted_by(question: Question, amendments: Sequence[Amendment]) -> Question:
    """Return a question for counting its quorum: its assignees include all that were assigned later."""
    assigned = [name for one in amendments for name in one.to]
    if not (question.approvals_by and assigned and question.can_be_assigned):
        return question
    return replace(question, to=tuple(dict.fromkeys([*question.to, *assigned])))


def ever_asked(question: Question, amendments: Sequence[Amendment]) -> tuple[str, ...]:
    """Return all former and present assignees, and those of escalations; empty means anyone."""
    if not question.to:
        return ()
    assigned = (name for one in amendments for name in one.to)
    return tuple(dict.fromkeys([*question.everyone, *assigned]))


def replaced(question: Question, created_at: int, amendments: Sequence[Amendment]) -> tuple[str, ...] | None:
    """Return the former assignees that the last amendment, an `assign`, has replaced.

    Empty means anyone; None that the last amendment was not an assignment.
    """
    if not amendments or amendments[-1].kind != "assign":
        return None
    before = asked_from_now_on(question, created_at, amendments[:-1])
    now = asked_from_now_on(question, created_at, amendments)
    return tuple(name for name in before if name not in now) or (None if before else ())


def asked_from_now_on(
    question: Question, created_at: int, amendments: Sequence[Amendment]
) -> tuple[str, ...]:
    """Return the present assignees and those of later escalations; empty means anyone."""
    return assignees_of(question, created_at, amendments, created_at + FOR_EVER)


def deadline_of(promise: AnyPromise, amendments: Sequence[Amendment]) -> int:
    """Return the deadline of a request: the original one, or the last one to which it was moved."""
    moved = next((one.until for one in reversed(amendments) if one.kind == "extend"), None)
    first = promise.tags.get(DEADLINE_TAG, "")
    asked = int(first) if first.isdecimal() and len(first) <= INSTANT_DIGITS else promise.timeout_at
    return min(asked if moved is None else moved, promise.timeout_at)


def is_overdue(question: Question, promise: AnyPromise, amendments: Sequence[Amendment], now: int) -> bool:
    """Whether a request with a movable deadline is past its deadline."""
    ended = any(one.kind == "expire" for one in amendments)
    return question.extend is not None and (ended or now >= deadline_of(promise, amendments))


def if_assigned(question: Question) -> Question:
    """Return a question to use if its amendments are unknown: for anyone, if it may be assigned."""
    return replace(question, to=(), escalate=()) if question.can_be_assigned else question


def claim_of(amendments: Sequence[Amendment], at: int) -> Amendment | None:
    """Return the claim that is valid at an instant. It ends by its time, a release, or an assignment."""
    claims = (one for one in reversed(amendments) if one.kind not in ("extend", "expire") and one.at <= at)
    last = next(claims, None)
    return last if last is not None and last.kind == "claim" and at < (last.until or 0) else None


# Their records


def amendments_of_many(client: Client, ids: Sequence[str]) -> dict[str, tuple[Amendment, ...]]:
    """Return the amendments of each of several requests, in order, in one round trip."""
    found = records_of_many(client, AMENDS_TAG, ids)
    return {id: amendments_in(id, records) for id, records in found.items()}


def amendments_in(id: str, records: Iterable[Promise]) -> tuple[Amendment, ...]:
    """Return the amendments of a request in promises, in order."""
    found = [one for record in records if (one := _amendment_in(record, id)) is not None]
    return tuple(sorted(found, key=lambda one: one.number))


def create_request(request: Promise, said: AmendmentInput, audit: Audit, number: int) -> ProtocolRequest:
    """Return the promise.create of an amendment. The promise of a claim ends with the claim."""
    create = under(request, _id_of(request.id, number), AMENDS_TAG, msgspec.to_builtins(said), audit)
    if said.kind == "claim":
        create.data["tags"][CLAIM_TAG] = "1"
        create.data["timeoutAt"] = said.until
    return create


def closing_of(id: str, number: int) -> ProtocolRequest:
    """Return the promise.settle that ends the record of a claim."""
    return closing_id(_id_of(id, number))


def claims(client: Client) -> dict[str, Amendment]:
    """Return the current claims, by the ids of their requests, in one round trip."""
    return claims_in(search(client, state="pending", tags={CLAIM_TAG: "1"}), client.now())


def claims_in(records: Iterable[Promise], now: int) -> dict[str, Amendment]:
    """Return the current claims among promises, by the ids of their requests."""
    found: dict[str, Amendment] = {}
    for record in records:
        id = record.tags.get(AMENDS_TAG, "")
        one = _amendment_in(record, id)
        if one is not None and claim_of([one], now) and (id not in found or found[id].number < one.number):
            found[id] = one
    return found


def _amendment_in(record: Promise, id: str) -> Amendment | None:
    """Return the amendment in a promise; None if it is not a valid one of this request."""
    said, audit = decode_as(record.param, AmendmentInput), audit_in(headers_of(record.param))
    number = record.id.removeprefix(child_id(id, "a"))
    if said is None or audit.by is None or record.is_call or record.is_blocking:
        return None
    if record.tags.get(AMENDS_TAG) != id or not number.isdecimal() or record.id != _id_of(id, int(number)):
        return None
    return Amendment(
        number=int(number),
        kind=said.kind,
        by=audit.by,
        via=audit.via,
        at=record.created_at,
        to=said.to,
        until=said.until,
        of=said.of,
        id=audit.id,
    )


def _id_of(id: str, number: int) -> str:
    return child_id(id, f"a{number}")
