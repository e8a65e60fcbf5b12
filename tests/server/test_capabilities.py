"""What a server can do beyond the protocol: it says so when asked, and then no more is read than is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import Capabilities, ProtocolRequest, get_promise
from hitl_cli.engine.server import CAPABILITIES
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import Unreachable
from hitl_cli.inbox.history import history
from hitl_cli.inbox.pending import RequestFilter, pending
from hitl_cli.inbox.resolve import find
from hitl_cli.inbox.watch import watch_inbox
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from tests.cli.past import Past
from tests.conftest import NOBODY
from tests.server.conftest import EXTERNAL, LIFE_MS, envelope, stand_in
from tests.server.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Hitl
    from tests.server.conftest import Served

MANY = 1_000
"""Of each: requests that wait, requests that were answered, and runs."""


@pytest.fixture
def full(hitl: Hitl) -> None:
    """Have the file hold many requests and runs."""
    until = now_ms() + LIFE_MS
    with hitl.client() as client:
        requests = [
            ProtocolRequest(
                "promise.create", {"id": f"{kind}-{n:04}:1", "timeoutAt": until, "tags": EXTERNAL}
            )
            for kind in ("open", "done")
            for n in range(MANY)
        ]
        requests += [
            ProtocolRequest("promise.settle", {"id": f"done-{n:04}:1", "state": "resolved", "value": {}})
            for n in range(MANY)
        ]
        assert {answer.status for answer in client.call_many(requests)} == {200}
        Runs(client, NOBODY).start_many([RunSpec(id=f"run-{n:04}", workflow="nobody") for n in range(MANY)])


@pytest.fixture
def relay(hitl: Hitl, serve: Callable[..., Served]) -> Iterator[Relay]:
    with Relay(serve().url) as relay:
        hitl.env["HITL_SERVER"] = relay.url
        yield relay


def test_our_server_tells_what_it_can_do_and_only_who_asks(served: Served) -> None:
    body = envelope("promise.get", {"id": "nothing"})
    _, _, raw = served.raw("POST", "/", body, {"Hitl-Capabilities": "1"})
    assert tuple(json.loads(raw)["head"]["capabilities"]) == CAPABILITIES
    _, _, raw = served.raw("POST", "/", body)
    assert set(json.loads(raw)["head"]) == {"corrId", "status", "version"}


def test_a_client_asks_once_and_with_a_request_that_it_makes_anyway(relay: Relay) -> None:
    with connect(relay.url) as client:
        get_promise(client, "x")
        can = client.capabilities
        assert (
            can
            == client.capabilities
            == Capabilities(sort=True, root=True, prefix=True, open=True, order=True, after=True)
        )
        assert relay.kinds == ["promise.get"]


def test_a_plain_server_can_do_nothing_beyond_the_protocol(hitl: Hitl) -> None:
    with connect(stand_in(hitl)) as client:
        assert client.capabilities == Capabilities()


def test_a_server_that_takes_the_place_of_another_is_asked_again(
    hitl: Hitl, serve: Callable[..., Served]
) -> None:
    upstream = serve().url
    ours = Relay(upstream)
    with connect(ours.url) as client:
        with ours:
            assert client.capabilities.sort
        with pytest.raises(Unreachable):
            get_promise(client, "x")
        with Relay(stand_in(hitl), port=ours.port):
            assert client.capabilities == Capabilities()


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("limit", [1, 20])
def test_no_more_is_read_than_is_shown(hitl: Hitl, relay: Relay, limit: int) -> None:
    shown = hitl.json("pending", "--limit", str(limit))
    assert [one["id"] for one in shown] == [f"open-{n:04}:1" for n in range(limit)]
    assert relay.records["promise"] <= limit + 1
    relay.forget()
    shown = hitl.json("history", "--limit", str(limit))
    assert [one["id"] for one in shown] == [f"done-{MANY - 1 - n:04}:1" for n in range(limit)]
    assert relay.records["promise"] <= limit + 1
    relay.forget()
    shown = hitl.json("status", "--limit", str(limit))
    assert [one["id"] for one in shown] == [f"run-{MANY - 1 - n:04}" for n in range(limit)]
    # Each run is read from the list, with its task, and once more among its pending steps.
    assert relay.records["promise"] <= 2 * (limit + 1)
    assert relay.records["task"] <= limit + 1


@pytest.mark.usefixtures("full")
def test_a_plain_server_shows_the_same(hitl: Hitl) -> None:
    with hitl.client() as file, connect(stand_in(hitl)) as plain:
        for limit in (1, 20):
            assert [one.id for one in pending(plain, limit=limit)[0]] == [
                one.id for one in pending(file, limit=limit)[0]
            ]
            assert history(plain, limit=limit) == history(file, limit=limit)
            assert [one.id for one in Runs(plain, NOBODY).list(limit=limit)[0]] == [
                one.id for one in Runs(file, NOBODY).list(limit=limit)[0]
            ]
        assert find(plain, "open-0077").id == find(file, "open-0077").id == "open-0077:1"


@pytest.mark.parametrize("plain", [False, True])
def test_changes_are_found_on_either(hitl: Hitl, serve: Callable[..., Served], plain: bool) -> None:
    url = stand_in(hitl) if plain else serve().url
    with connect(url) as client, Past(hitl, 0) as past:
        past.plain("old:1", tags=EXTERNAL)
        changes = watch_inbox(client)
        changes.start()
        past.plain("new:1", tags=EXTERNAL)
        past.approve("old:1")
        assert [(one.kind, one.id) for one in changes.look() or []] == [
            ("asked", "new:1"),
            ("decided", "old:1"),
        ]
        assert changes.look() == []


def test_a_look_for_changes_reads_what_changed(hitl: Hitl, relay: Relay, full: None) -> None:
    del full
    with connect(relay.url) as client, Past(hitl, 0) as past:
        changes = watch_inbox(client)
        changes.start()
        past.plain("new:1", tags=EXTERNAL)
        relay.forget()
        assert [one.id for one in changes.look() or []] == ["new:1"]
        assert relay.records["promise"] <= 10


def test_what_a_filter_leaves_out_is_read_in_small_pages(relay: Relay, full: None) -> None:
    del full
    with connect(relay.url) as client:
        found, more = pending(client, RequestFilter(workflow="open-*"), limit=3)
        assert (len(found), more) == (3, True)
        assert relay.records["promise"] <= 100  # FEW of them, with their runs
