"""The records of amendments: who is asked instead, who works on a request, a later deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import search
from hitl_cli.client.records import closing_id, records_of_many, under
from hitl_cli.client.tags import AMENDS_TAG, CLAIM_TAG
from hitl_cli.client.wire import audit_in, child_id, decode_as, headers_of
from hitl_cli.requests.amendments import Amendment, AmendmentKind, claim_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hitl_cli.client.protocol import Client, ProtocolRequest
    from hitl_cli.client.wire import Audit, Promise


class AmendmentInput(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an amendment says: see Amendment."""

    kind: AmendmentKind
    to: tuple[str, ...] = ()
    until: int | None = None


def amendments_of_many(client: Client, ids: Sequence[str]) -> dict[str, tuple[Amendment, ...]]:
    """Return the amendments of each of several requests, in order, in one round trip."""
    found = records_of_many(client, AMENDS_TAG, ids) if ids else {}
    return {id: amendments_in(id, records) for id, records in found.items()}


def amendments_in(id: str, records: Iterable[Promise]) -> tuple[Amendment, ...]:
    """Return the amendments of a request in promises, in order."""
    found = [one for record in records if (one := _amendment_in(record, id)) is not None]
    return tuple(sorted(found, key=lambda one: one.number))


def create_request(request: Promise, said: AmendmentInput, audit: Audit, number: int) -> ProtocolRequest:
    """Return the promise.create that is an amendment. That of a claim ends with the claim."""
    create = under(request, _id_of(request.id, number), AMENDS_TAG, msgspec.to_builtins(said), audit)
    if said.kind == "claim":
        create.data["tags"][CLAIM_TAG] = "1"
        create.data["timeoutAt"] = said.until
    return create


def closing_of(id: str, number: int) -> ProtocolRequest:
    """Return the promise.settle that ends the record of a claim."""
    return closing_id(_id_of(id, number))


def claims(client: Client) -> dict[str, Amendment]:
    """Return the claims that hold now, by the ids of their requests, in one round trip."""
    return claims_in(search(client, state="pending", tags={CLAIM_TAG: "1"}), client.now())


def claims_in(records: Iterable[Promise], now: int) -> dict[str, Amendment]:
    """Return the claims among promises that hold now, by the ids of their requests."""
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
        id=audit.id,
    )


def _id_of(id: str, number: int) -> str:
    return child_id(id, f"a{number}")
