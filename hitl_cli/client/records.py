"""Records that are stored as promises: under a request (votes, comments, revocations of links), or alone."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import ProtocolRequest, get_and_search, send, send_all
from hitl_cli.client.tags import SAID_TAG, lineage
from hitl_cli.client.wire import Audit, audit_of, encode, error_value, fresh_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json, Promise
    from hitl_cli.engine.records import PromiseState, Value


SEPARATELY = 8
"""Requests whose records are read one by one on a Resonate Server, which reads all promises each time."""

NO_TAGS: Mapping[str, str] = MappingProxyType({})


def under(
    request: Promise, id: str, tag: str, said: Json, audit: Audit, more: Mapping[str, str] = NO_TAGS
) -> ProtocolRequest:
    """Return the promise.create that stores a record under a request; `more` are further tags."""
    place = lineage(request.id, scope="local", origin=request.origin)
    tags = {tag: request.id, SAID_TAG: "1", **more} | place
    return ProtocolRequest(
        "promise.create",
        {"id": id, "timeoutAt": request.timeout_at, "param": encode(said, audit.headers()), "tags": tags},
    )


def alone(
    id: str, said: Json, headers: dict[str, str] | None, *, until: int, tags: Mapping[str, str] = NO_TAGS
) -> ProtocolRequest:
    """Return the promise.create that stores a standalone record until an instant (ms since the epoch)."""
    place = lineage(id, scope="local")
    return ProtocolRequest(
        "promise.create",
        {"id": id, "timeoutAt": until, "param": encode(said, headers), "tags": {**tags, **place}},
    )


def store(client: Client, create: ProtocolRequest) -> Promise:
    """Store a record that is not pending, and return it: the one that was stored first under its id."""
    kept, _ = send_all(client, [create, closing(create)])
    return kept


def settle(client: Client, id: str, state: PromiseState, value: Value) -> Promise:
    """Settle a promise, and return it; if it was settled before, as it was settled then."""
    return send(client, settling(id, state, value))


def end(client: Client, id: str, why: str, *, by: str, via: str) -> bool:
    """Cancel a standalone record. Returns whether it was still pending."""
    audit = Audit(id=fresh_id(), by=by, via=via, at=client.now())
    settled = settle(client, id, "rejected_canceled", error_value(why, audit.headers()))
    return audit_of(settled).id == audit.id


def settling(id: str, state: PromiseState, value: Value) -> ProtocolRequest:
    """Return the promise.settle of a promise."""
    return ProtocolRequest("promise.settle", {"id": id, "state": state, "value": value})


def closing(create: ProtocolRequest) -> ProtocolRequest:
    """Return the promise.settle that closes a record, so that it is not pending."""
    return closing_id(create.data["id"])


def closing_id(id: str) -> ProtocolRequest:
    """Return the promise.settle that closes the record with an id."""
    return settling(id, "resolved", encode(None))


def records_of_many(client: Client, tag: str, ids: Sequence[str]) -> dict[str, list[Promise]]:
    """Return the records with a tag under each of several requests, in one round trip."""
    found = promises_and_records(client, (), {tag: ids})[1]
    return {id: found[tag, id] for id in ids}


def promises_and_records(
    client: Client, ids: Sequence[str], tagged: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Promise], dict[tuple[str, str], list[Promise]]]:
    """Return promises by their ids, and records by a tag and their request, in one round trip.

    `tagged` has the requests for each tag.
    """
    records: dict[tuple[str, str], list[Promise]] = {(tag, id): [] for tag in tagged for id in tagged[tag]}
    if len(records) > SEPARATELY and client.capabilities.plain:
        found, [said] = get_and_search(client, ids, [{"tags": {SAID_TAG: "1"}}])
        for record in said:
            for tag in tagged:
                records.get((tag, record.tags.get(tag, "")), []).append(record)
        return found, records
    found, lists = get_and_search(client, ids, [{"tags": {tag: id}} for tag, id in records])
    return found, dict(zip(records, lists, strict=True))
