"""Records that are stored as promises: under a request (votes, comments, revocations of links), or alone."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import ProtocolRequest, search, search_many
from hitl_cli.client.tags import SAID_TAG, lineage
from hitl_cli.client.wire import Audit, encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json, Promise


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
    """Return the promise.create that stores a record of its own until an instant (ms since the epoch)."""
    place = lineage(id, scope="local")
    return ProtocolRequest(
        "promise.create",
        {"id": id, "timeoutAt": until, "param": encode(said, headers), "tags": {**tags, **place}},
    )


def closing(create: ProtocolRequest) -> ProtocolRequest:
    """Return the promise.settle that closes a record, so that it is not pending."""
    return closing_id(create.data["id"])


def closing_id(id: str) -> ProtocolRequest:
    """Return the promise.settle that closes the record with an id."""
    return ProtocolRequest("promise.settle", {"id": id, "state": "resolved", "value": encode(None, None)})


def records_of_many(client: Client, tag: str, ids: Sequence[str]) -> dict[str, list[Promise]]:
    """Return the records with a tag under each of several requests, in one round trip."""
    if len(ids) > SEPARATELY and client.capabilities.plain:
        found: dict[str, list[Promise]] = {id: [] for id in ids}
        for promise in search(client, tags={SAID_TAG: "1"}):
            found.get(promise.tags.get(tag, ""), []).append(promise)
        return found
    return dict(zip(ids, search_many(client, [{tag: id} for id in ids]), strict=True))
