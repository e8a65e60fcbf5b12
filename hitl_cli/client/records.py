"""Records that are stored as promises under a request: votes, comments and revocations of links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.tags import SAID_TAG, lineage
from hitl_cli.client.wire import Audit, encode

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json, Promise


def under(request: Promise, id: str, tag: str, said: Json, audit: Audit) -> ProtocolRequest:
    """Return the promise.create that stores a record under a request."""
    place = lineage(request.id, scope="local", origin=request.origin)
    tags = {tag: request.id, SAID_TAG: "1"} | place
    return ProtocolRequest(
        "promise.create",
        {"id": id, "timeoutAt": request.timeout_at, "param": encode(said, audit.headers()), "tags": tags},
    )


def closing(create: ProtocolRequest) -> ProtocolRequest:
    """Return the promise.settle that closes a record, so that it is not pending."""
    return ProtocolRequest(
        "promise.settle", {"id": create.data["id"], "state": "resolved", "value": encode(None, None)}
    )
