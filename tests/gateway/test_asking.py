"""Requests that programs put over HTTP: created once, waited for, taken back, and seen by who put them."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from hitl_cli.auth import tokens
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import wait_until
from tests.gateway.conftest import begin_gateway
from tests.gateway.test_api import Api
from tests.gateway.test_events import external
from tests.gateway.visiting import Browser, Visited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.gateway.conftest import GatewayProcess

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def hitl(shared_hitl: Hitl) -> Hitl:
    return shared_hitl


@pytest.fixture(scope="module")
def closed(hitl: Hitl) -> Iterator[GatewayProcess]:
    """A gateway where people sign in."""
    gateway = begin_gateway(hitl, "--sign-in")
    yield gateway
    gateway.clear_away()


@pytest.fixture(scope="module")
def agent(hitl: Hitl, closed: GatewayProcess) -> Api:
    """A program that may only ask."""
    return with_token(hitl, closed, "agent", "ask")


@pytest.fixture(scope="module")
def lead(hitl: Hitl, closed: GatewayProcess) -> Api:
    """A program that may decide."""
    return with_token(hitl, closed, "lead", "decide")


def with_token(hitl: Hitl, gateway: GatewayProcess, person: str, *can: str) -> Api:
    """Return a program with a token of its own."""
    with hitl.client() as client:
        _, text = tokens.create(client, person, can, life_ms=DAY_MS, by="ops")
    return Api(gateway, {"Authorization": f"Bearer {text}"})


WHOLE = {
    "prompt": "Refund?",
    "details": {"order": 7},
    "form": {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]},
    "to": ["reviewer", "lead"],
    "approvals": 2,
    "allow_self": False,
    "deadline": "2d",
    "on_deadline": "reject",
    "key": "refund-7",
    "priority": "high",
    "tags": {"team": "shop"},
    "link": "https://example.org/7",
    "digest": {"sha256": "0" * 64, "file": "order.json"},
    "arguments": {"argv": ["refund", "7"]},
    "valid_for": "10m",
}


def test_a_request_is_put_with_all_that_it_can_say(agent: Api, lead: Api) -> None:
    made = agent.post("/requests", {"id": "whole", **WHOLE})
    assert (made.status, made.headers["Location"]) == (201, "/api/v1/requests/whole")
    shown = agent.get("/requests/whole").json
    assert made.json | {"age_s": 0} == shown | {"age_s": 0}
    digest = hashlib.sha256(b'{"argv":["refund","7"]}').hexdigest()
    assert (shown["arguments"], shown["arguments_digest"]) == (WHOLE["arguments"], digest)
    assert shown["valid_for_s"] == 600
    for name in ("prompt", "details", "form", "to", "approvals", "key", "priority", "tags", "link", "digest"):
        assert shown[name] == WHOLE[name], name
    assert (shown["from"], shown["allow_self"], shown["on_deadline"]) == ("agent", False, "reject")
    assert [one["id"] for one in lead.get("/requests?tag=team=shop").json["items"]] == ["whole"]


def test_the_same_question_again_is_the_same_request_and_another_is_not(agent: Api) -> None:
    question = {"id": "again", "prompt": "Deploy 1?", "to": ["lead"]}
    assert agent.post("/requests", question).status == 201
    assert agent.post("/requests", question).status == 200
    other = agent.post("/requests", question | {"prompt": "Deploy 2?"})
    assert (other.status, other.json["code"]) == (409, "question-differs")
    assert any("Deploy 2?" in line for line in other.json["lines"])
    assert agent.get("/requests/again").json["prompt"] == "Deploy 1?"


def test_a_key_names_a_request_that_has_no_id(agent: Api) -> None:
    first = agent.post("/requests", {"prompt": "Send it?"}, Idempotency_Key="k-1")
    again = agent.post("/requests", {"prompt": "Send it?"}, Idempotency_Key="k-1")
    assert (first.status, again.status, again.json["id"]) == (201, 200, first.json["id"])
    assert agent.post("/requests", {"prompt": "Other?"}, Idempotency_Key="k-1").status == 409
    assert agent.post("/requests", {"prompt": "Send it?"}).json["id"] != first.json["id"]


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ({}, "bad-json"),
        ({"prompt": ""}, "bad-question"),
        ({"prompt": "?", "deadline": "soon"}, "bad-duration"),
        ({"prompt": "?", "approvals": 0}, "bad-json"),
        ({"prompt": "?", "unknown": 1}, "bad-json"),
        ({"prompt": "?", "link": "javascript:alert(1)"}, "bad-question"),
        ({"prompt": "?", "form": {"type": "nonsense"}}, "bad-form"),
        ({"prompt": "?", "tags": {"hitl:key": "x"}}, "bad-name"),
        ({"prompt": "?", "to": [" "]}, "bad-question"),
        ({"prompt": "?", "to": ["lead"], "approvals": 2}, "bad-question"),
        ({"prompt": "?", "digest": {"sha256": "x", "file": "y"}}, "bad-json"),
        ({"prompt": "?", "details": {"__type": "x"}}, "bad-answer"),
        ({"prompt": "?", "arguments": [2**60]}, "bad-question"),
        ({"prompt": "?", "valid_for": "soon"}, "bad-duration"),
        ({"prompt": "?" * 1_000_001}, "too-large"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_creates_nothing(
    agent: Api, question: dict[str, Any], code: str
) -> None:
    refused = agent.post("/requests", {"id": "refused", **question})
    assert (refused.status, refused.json["code"]) == (400, code)
    assert agent.get("/requests/refused").status == 404


@pytest.mark.parametrize("id", ["", "a:1", " x", "\u0007"])
def test_an_id_that_would_be_a_step_of_a_run_is_refused(agent: Api, id: str) -> None:
    assert agent.post("/requests", {"id": id, "prompt": "?"}).json["code"] == "bad-name"


# Who may what


def test_who_may_only_ask_sees_and_takes_back_what_they_asked_and_nothing_else(
    hitl: Hitl, closed: GatewayProcess, agent: Api, lead: Api
) -> None:
    put(hitl, "of-a-run", Question(prompt="?"))
    agent.post("/requests", {"id": "mine", "prompt": "Mine?", "to": ["agent"], "key": "the-key"})
    hitl.ok("ask", "Yours?", "--id", "yours", "--no-wait", "--as", "ops")
    own = {one["id"] for one in agent.get("/requests").json["items"]}
    assert "mine" in own
    assert not own & {"of-a-run", "yours"}
    for id in ("of-a-run", "of-a-run:1", "yours", "the-key", "nothing"):
        assert agent.get(f"/requests/{id}").json["code"] == "not-found"
        assert agent.ask("DELETE", f"/requests/{id}").status in (400, 404)
    taken = agent.post("/requests", {"id": "yours", "prompt": "Mine?"})
    assert (taken.status, taken.json["code"], "lines" in taken.json) == (409, "already-exists", False)
    for path in (
        "/history?id=yours",
        "/history?id=of-a-run",
        "/stats",
        "/runs",
        "/events",
        "/runs/of-a-run",
        "/workflows",
    ):
        assert agent.get(path).status in (403, 404)
    for path in ("/requests/mine/decision", "/requests/yours/decision"):
        assert agent.post(path, {"verdict": "approve"}).json["code"] == "permission-missing"
    assert agent.post("/runs", {"id": "x"}).status == 403
    assert lead.post("/requests", {"id": "x", "prompt": "?"}).json["code"] == "permission-missing"
    hitl.ok("approve", "mine", "--as", "agent")
    hitl.ok("approve", "yours", "--as", "lead")
    assert [one["id"] for one in agent.get("/history?limit=1").json["items"]] == ["mine"]
    assert [one["by"] for one in agent.get("/history?id=mine").json["items"]] == ["agent"]
    other = with_token(hitl, closed, "another-agent", "ask")
    assert other.get("/requests/mine").json["code"] == "not-found"
    assert other.get("/history").json["items"] == []
    assert other.get("/history?id=mine").json["code"] == "not-found"


def test_a_request_is_taken_back_once_and_not_after_a_decision(agent: Api, lead: Api) -> None:
    agent.post("/requests", {"id": "back", "prompt": "?"})
    for _ in range(2):
        back = agent.ask("DELETE", "/requests/back")
        assert (back.status, back.json["decision"]["outcome"]) == (200, "canceled")
    agent.post("/requests", {"id": "done", "prompt": "?"})
    lead.post("/requests/done/decision", {"verdict": "approve"})
    assert agent.ask("DELETE", "/requests/done").json["decision"]["outcome"] == "approved"


# Waiting


def test_a_decision_ends_the_wait_of_who_asked(agent: Api, lead: Api) -> None:
    agent.post("/requests", {"id": "waited", "prompt": "?"})
    with ThreadPoolExecutor() as pool:
        waits = [pool.submit(agent.get, "/requests/waited?wait=60s") for _ in range(3)]
        wait_until(lambda: not any(wait.done() for wait in waits))
        began = time.monotonic()
        lead.post("/requests/waited/decision", {"verdict": "reject", "reason": "not now"})
        shown = [wait.result() for wait in waits]
    assert time.monotonic() - began < 30
    assert {one.json["decision"]["reason"] for one in shown} == {"not now"}
    assert agent.get("/requests/waited?wait=60s").json["decision"]["outcome"] == "rejected"


def test_a_deadline_and_a_withdrawal_end_it_too(agent: Api) -> None:
    agent.post("/requests", {"id": "late", "prompt": "?", "deadline": "1s", "on_deadline": "approve"})
    assert agent.get("/requests/late?wait=60s").json["decision"]["deadline"] is True
    agent.post("/requests", {"id": "gone", "prompt": "?"})
    threading.Timer(0.2, lambda: agent.ask("DELETE", "/requests/gone")).start()
    assert agent.get("/requests/gone?wait=60s").json["decision"]["outcome"] == "canceled"


@pytest.mark.only("file", reason="other servers do not put so many into one transaction")
def test_a_decision_among_more_changes_than_are_told_ends_it_too(hitl: Hitl) -> None:
    hitl.ok("ask", "?", "--id", "among-many", "--no-wait")
    visited = Visited(hitl)
    try:
        assert visited.gateway is not None
        waiters = visited.gateway.waiters
        with ThreadPoolExecutor() as pool, hitl.client() as client:
            waiting = pool.submit(Browser(visited.address).get, "/api/v1/requests/among-many?wait=60s")
            wait_until(lambda: len(waiters) == 1)
            others = [external(f"many-{at}", client.now() + DAY_MS) for at in range(1_200)]
            settled = {"id": "among-many", "state": "resolved", "value": {}}
            client.call_many([*others, ProtocolRequest("promise.settle", settled)])
            began = time.monotonic()
            shown = json.loads(waiting.result().text)
        assert shown["decision"]["outcome"] == "approved"
        assert time.monotonic() - began < 30
    finally:
        visited.stop()


def test_a_wait_that_is_over_says_that_the_request_is_open(agent: Api) -> None:
    agent.post("/requests", {"id": "open", "prompt": "?"})
    assert agent.get("/requests/open?wait=0.3s").json["decision"] is None
    for wait in ("61s", "1h", "soon", "-1s"):
        assert agent.get(f"/requests/open?wait={wait}").status == 400
    assert agent.get("/requests/none?wait=60s").status == 404


def test_a_client_that_leaves_is_noticed(hitl: Hitl) -> None:
    hitl.ok("ask", "?", "--id", "left", "--no-wait")
    visited = Visited(hitl)
    try:
        assert visited.gateway is not None
        waiters = visited.gateway.waiters
        parts = urlsplit(visited.address)
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as connection:
            connection.sendall(
                f"GET /api/v1/requests/left?wait=60s HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
            )
            wait_until(lambda: len(waiters) == 1)
        wait_until(lambda: len(waiters) == 0)
        assert Browser(visited.address).get("/api/v1/requests/left?wait=0.1s").status == 200
    finally:
        visited.stop()


def test_a_wait_by_a_key_is_for_the_request_that_the_key_meant(hitl: Hitl) -> None:
    hitl.ok("ask", "?", "--id", "first", "--key", "release", "--no-wait")
    visited = Visited(hitl)
    try:
        assert visited.gateway is not None
        waiters = visited.gateway.waiters
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(Browser(visited.address).get, "/api/v1/requests/release?wait=60s")
            wait_until(lambda: len(waiters) == 1)
            hitl.ok("approve", "first")
            hitl.ok("ask", "?", "--id", "second", "--key", "release", "--no-wait")
            wait_until(waiting.done)
            shown = json.loads(waiting.result().text)
        assert (shown["id"], shown["decision"]["outcome"]) == ("first", "approved")
    finally:
        visited.stop()
