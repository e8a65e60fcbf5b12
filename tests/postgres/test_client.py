"""What people's commands ask of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.client.protocol import ProtocolRequest, call, get_promise, search

if TYPE_CHECKING:
    from hitl_cli.postgres.client import PostgresClient

FAR = 4_000_000_000_000


def create(client: PostgresClient, id: str, **tags: str) -> None:
    named = {name.replace("_", ":"): text for name, text in tags.items()}
    assert call(client, "promise.create", id=id, timeoutAt=FAR, tags=named).status == 200


def test_what_is_created_is_found_again(client: PostgresClient) -> None:
    create(client, "a", resonate_external="true")
    found = get_promise(client, "a")
    assert found is not None
    assert found.state == "pending"
    assert [
        promise.id for promise in search(client, state="pending", tags={"resonate:external": "true"})
    ] == ["a"]


def test_a_bad_request_is_refused_and_spoils_no_other(client: PostgresClient) -> None:
    bad = ProtocolRequest("promise.create", {"id": "nul\0", "timeoutAt": FAR, "tags": {}})
    good = ProtocolRequest("promise.create", {"id": "good", "timeoutAt": FAR, "tags": {}})
    unknown = ProtocolRequest("promise.search", {"limit": "many"})
    assert [answer.status for answer in client.call_many([bad, good, unknown])] == [400, 200, 400]
