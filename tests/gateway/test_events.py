"""The event stream: which reader gets which event, when, and at what cost."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from hitl_cli.auth.tokens import create
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.gateway.api import events
from hitl_cli.gateway.auth import bearer_tokens
from hitl_cli.requests.question import Question
from tests.cli.requests import DAY_MS, put
from tests.conftest import HITL, PATIENCE_S, WorkerProcess
from tests.gateway.conftest import begin_gateway
from tests.gateway.streams import Reader
from tests.gateway.visiting import Visited

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.gateway.conftest import GatewayProcess, StartGateway


def test_what_is_asked_said_and_decided_is_told(shared_gateway: GatewayProcess, shared_hitl: Hitl) -> None:
    with Reader(shared_gateway) as reader:
        reader.wait_for("ready")
        put(shared_hitl, "a1", Question(prompt="# Ship it?\nSoon."), by="ops")
        asked = reader.wait_for("request.asked", "a1")
        assert asked.data == {
            "id": "a1",
            "run": "a1",
            "workflow": "a1",
            "title": "Ship it?",
            "outcome": None,
            "by": "ops",
            "changes": [],
            "thread": None,
        }
        shared_hitl.ok("comment", "a1", "why now?")
        assert reader.wait_for("request.changed", "a1").data["by"] == "ada"
        shared_hitl.ok("reject", "a1", "--reason", "no", "--as", "lead")
        decided = reader.wait_for("request.decided", "a1")
        assert (decided.data["outcome"], decided.data["by"]) == ("rejected", "lead")
        assert reader.names("a1") == ["request.asked", "request.changed", "request.decided"]
        assert len({one.id for one in reader.seen}) == len(reader.seen)


def test_a_vote_is_a_change_and_the_last_one_the_decision(
    shared_gateway: GatewayProcess, shared_hitl: Hitl
) -> None:
    put(shared_hitl, "v1", Question(prompt="Two?", approvals=2))
    with Reader(shared_gateway) as reader:
        reader.wait_for("ready")
        shared_hitl.ok("approve", "v1", "--as", "reviewer")
        assert reader.wait_for("request.changed", "v1").data["by"] == "reviewer"
        shared_hitl.ok("approve", "v1", "--as", "lead")
        assert reader.wait_for("request.decided", "v1").data["outcome"] == "approved"


def test_a_deadline_and_a_cancellation_are_told(shared_gateway: GatewayProcess, shared_hitl: Hitl) -> None:
    put(shared_hitl, "gone", Question(prompt="Never mind"))
    with Reader(shared_gateway) as reader:
        reader.wait_for("ready")
        shared_hitl.ok("cancel", "gone")
        assert reader.wait_for("request.decided", "gone").data["outcome"] == "canceled"
        put(shared_hitl, "late", Question(prompt="Quick?"), deadline_ms=300)
        assert reader.wait_for("request.decided", "late").data["outcome"] == "expired"


def test_for_me_is_what_the_visitor_may_answer(start_gateway: StartGateway, hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text('[groups.ops]\nmembers = ["ada"]\n')
    gateway = start_gateway()
    with Reader(gateway, "?for=me") as mine, Reader(gateway) as every:
        mine.wait_for("ready")
        every.wait_for("ready")
        put(hitl, "theirs", Question(prompt="?", to=("lead",)))
        put(hitl, "ours", Question(prompt="?", to=("group:ops",)))
        put(hitl, "anybodys", Question(prompt="?"))
        put(hitl, "mine", Question(prompt="?", to=("ada",)))
        mine.wait_for("request.asked", "mine")
        every.wait_for("request.asked", "mine")
        assert [one.data["id"] for one in mine.seen[1:]] == ["ours", "anybodys", "mine"]
        assert [one.data["id"] for one in every.seen[1:]] == ["theirs", "ours", "anybodys", "mine"]


def test_who_comes_back_is_told_to_look(shared_gateway: GatewayProcess) -> None:
    with Reader(shared_gateway, headers={"Last-Event-ID": "1-1"}) as reader:
        assert reader.wait_for("look").data == {}


@pytest.mark.only("file", reason="other servers do not put so many into one transaction")
def test_more_than_can_be_told_is_told_as_one(shared_gateway: GatewayProcess, shared_hitl: Hitl) -> None:
    with Reader(shared_gateway) as reader, shared_hitl.client() as client:
        reader.wait_for("ready")
        client.call_many([external(f"m{at}", client.now() + DAY_MS) for at in range(1_200)])
        reader.wait_for("look")
        put(shared_hitl, "last", Question(prompt="?"))
        reader.wait_for("request.asked", "last")
        assert [one.name for one in reader.seen] == ["ready", "look", "request.asked"]


def external(id: str, timeout_at: int) -> ProtocolRequest:
    tags = {"resonate:external": "true", "resonate:scope": "global"}
    return ProtocolRequest("promise.create", {"id": id, "timeoutAt": timeout_at, "tags": tags})


def test_streams_end_with_the_gateway(gateway: GatewayProcess) -> None:
    readers = [Reader(gateway) for _ in range(3)]
    for reader in readers:
        reader.wait_for("ready")
    assert gateway.stop() == 0
    assert all(reader.ended.wait(5) for reader in readers)


def test_two_gateways_tell_of_the_same(shared_gateway: GatewayProcess, shared_hitl: Hitl) -> None:
    second = begin_gateway(shared_hitl)
    with Reader(shared_gateway) as one, Reader(second) as other:
        one.wait_for("ready")
        other.wait_for("ready")
        put(shared_hitl, "both", Question(prompt="?"))
        assert one.wait_for("request.asked", "both").data == other.wait_for("request.asked", "both").data
    second.kill()


@pytest.mark.only("file", reason="serves the file itself")
def test_on_a_server_over_http_the_same_is_told(start_gateway: StartGateway, hitl: Hitl) -> None:
    server = WorkerProcess([HITL, "server", "--port", "0"], hitl.env, hitl.folder)
    hitl.workers.append(server)
    url = server.said(" on ").split(" on ", 1)[1].split()[0]
    put(hitl, "two", Question(prompt="Two?", approvals=2))
    with Reader(start_gateway("-S", url)) as reader:
        reader.wait_for("ready")
        put(hitl, "r1", Question(prompt="Ship?"))
        assert reader.wait_for("request.asked", "r1").data["title"] == "Ship?"
        hitl.ok("approve", "two", "--as", "reviewer")
        hitl.ok("reject", "r1")
        assert reader.wait_for("request.decided", "r1").data["outcome"] == "rejected"
        reader.wait_for("request.changed", "two")


def test_a_stream_is_described_without_being_opened(shared_gateway: GatewayProcess) -> None:
    reply = shared_gateway.ask("HEAD", "/api/v1/events")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("query", ["?for=you", "?for=", "?for=me&for=me"])
def test_a_filter_that_is_none_is_refused(shared_gateway: GatewayProcess, query: str) -> None:
    assert shared_gateway.get(f"/api/v1/events{query}").status == 400


@pytest.mark.only("file", reason="serves the file itself")
def test_a_stream_ends_whole_where_nobody_can_tell_whether_its_reader_still_may(
    hitl: Hitl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "ALIVE_S", 0.2)
    monkeypatch.setattr(events, "KNOWN_S", 0.0)
    monkeypatch.setattr(bearer_tokens, "BELIEVED_S", 0.0)
    server = WorkerProcess([HITL, "server", "--port", "0"], hitl.env, hitl.folder)
    hitl.workers.append(server)
    url = server.said(" on ").split(" on ", 1)[1].split()[0]
    with hitl.client() as client:
        _, token = create(client, "reviewer", ["read"], life_ms=DAY_MS, by="ops")
    visited = Visited(hitl, server=url)
    try:
        connection = http.client.HTTPConnection(urlsplit(visited.address).netloc, timeout=PATIENCE_S)
        connection.request("GET", "/api/v1/events", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        assert answer.readline()
        server.kill()
        assert b"HTTP/" not in answer.read()
        connection.close()
    finally:
        visited.stop()
