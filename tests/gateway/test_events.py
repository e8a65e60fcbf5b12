"""The feed of changes: who is told what, when, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.client import Request
from hitl_cli.questions import Question
from tests.cli.requests import DAY_MS, put
from tests.gateway.streams import Reader

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.gateway.conftest import GatewayProcess, StartGateway


def test_what_is_asked_said_and_decided_is_told(gateway: GatewayProcess, hitl: Hitl) -> None:
    with Reader(gateway) as reader:
        reader.wait_for("ready")
        put(hitl, "r1", Question(prompt="# Ship it?\nSoon."), by="ops")
        asked = reader.wait_for("request.asked", "r1")
        assert asked.data == {
            "id": "r1",
            "workflow": "r1",
            "title": "Ship it?",
            "outcome": None,
            "by": "ops",
        }
        hitl.ok("comment", "r1", "why now?")
        assert reader.wait_for("request.changed", "r1").data["by"] == "ada"
        hitl.ok("reject", "r1", "--reason", "no", "--as", "lead")
        decided = reader.wait_for("request.decided", "r1")
        assert (decided.data["outcome"], decided.data["by"]) == ("rejected", "lead")
        assert reader.names("r1") == ["request.asked", "request.changed", "request.decided"]
        assert len({one.id for one in reader.seen}) == len(reader.seen)


def test_a_vote_is_a_change_and_the_last_one_the_decision(gateway: GatewayProcess, hitl: Hitl) -> None:
    put(hitl, "r1", Question(prompt="Two?", approvals=2))
    with Reader(gateway) as reader:
        reader.wait_for("ready")
        hitl.ok("approve", "r1", "--as", "reviewer")
        assert reader.wait_for("request.changed", "r1").data["by"] == "reviewer"
        hitl.ok("approve", "r1", "--as", "lead")
        assert reader.wait_for("request.decided", "r1").data["outcome"] == "approved"


def test_a_deadline_and_a_cancellation_are_told(gateway: GatewayProcess, hitl: Hitl) -> None:
    put(hitl, "gone", Question(prompt="Never mind"))
    with Reader(gateway) as reader:
        reader.wait_for("ready")
        hitl.ok("cancel", "gone")
        assert reader.wait_for("request.decided", "gone").data["outcome"] == "canceled"
        put(hitl, "late", Question(prompt="Quick?"), deadline_ms=300)
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


def test_who_comes_back_is_told_to_look(gateway: GatewayProcess) -> None:
    with Reader(gateway, headers={"Last-Event-ID": "1-1"}) as reader:
        assert reader.wait_for("look").data == {}


def test_more_than_can_be_told_is_told_as_one(gateway: GatewayProcess, hitl: Hitl) -> None:
    with Reader(gateway) as reader, hitl.client() as client:
        reader.wait_for("ready")
        client.call_many([external(f"r{at}", client.now() + DAY_MS) for at in range(1_200)])
        reader.wait_for("look")
        put(hitl, "last", Question(prompt="?"))
        reader.wait_for("request.asked", "last")
        assert [one.name for one in reader.seen] == ["ready", "look", "request.asked"]


def external(id: str, timeout_at: int) -> Request:
    tags = {"resonate:external": "true", "resonate:scope": "global"}
    return Request("promise.create", {"id": id, "timeoutAt": timeout_at, "tags": tags})


def test_streams_end_with_the_gateway(gateway: GatewayProcess) -> None:
    readers = [Reader(gateway) for _ in range(3)]
    for reader in readers:
        reader.wait_for("ready")
    assert gateway.stop() == 0
    assert all(reader.ended.wait(5) for reader in readers)


def test_two_gateways_tell_of_the_same(start_gateway: StartGateway, hitl: Hitl) -> None:
    with Reader(start_gateway()) as one, Reader(start_gateway()) as other:
        one.wait_for("ready")
        other.wait_for("ready")
        put(hitl, "r1", Question(prompt="?"))
        assert one.wait_for("request.asked", "r1").data == other.wait_for("request.asked", "r1").data


def test_a_stream_is_described_without_being_opened(gateway: GatewayProcess) -> None:
    reply = gateway.ask("HEAD", "/api/v1/events")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("query", ["?for=you", "?for=", "?for=me&for=me"])
def test_a_filter_that_is_none_is_refused(gateway: GatewayProcess, query: str) -> None:
    assert gateway.get(f"/api/v1/events{query}").status == 400
