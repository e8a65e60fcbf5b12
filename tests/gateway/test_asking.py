"""Requests that programs put over HTTP: created once, waited for, taken back, and seen by who put them."""

from __future__ import annotations

import hashlib
import json
import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from hitl_cli.auth import tokens
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.engine.http.listener import connections_possible
from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import Hitl, wait_until
from tests.gateway.conftest import begin_gateway
from tests.gateway.test_api import Api
from tests.gateway.test_events import external
from tests.gateway.visiting import Browser, Visited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    assert (made.status, made.headers["Location"]) == (201, "/api/v1/requests/ask-whole")
    shown = agent.get("/requests/whole").json
    assert made.json | {"age_s": 0} == shown | {"age_s": 0}
    digest = hashlib.sha256(b'{"argv":["refund","7"]}').hexdigest()
    assert (shown["arguments"], shown["arguments_digest"]) == (WHOLE["arguments"], digest)
    assert shown["valid_for_s"] == 600
    for name in ("prompt", "details", "form", "to", "approvals", "priority", "tags", "link", "digest"):
        assert shown[name] == WHOLE[name], name
    assert shown["key"] == "ask-refund-7"
    assert (shown["from"], shown["allow_self"], shown["on_deadline"]) == ("agent", False, "reject")
    assert [one["id"] for one in lead.get("/requests?tag=team=shop").json["items"]] == ["ask-whole"]


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
    ("question", "code", "path"),
    [
        ({}, "bad-json", "prompt"),
        ({"prompt": 1}, "bad-json", "prompt"),
        ({"prompt": ""}, "bad-question", "prompt"),
        ({"prompt": "?", "deadline": "soon"}, "bad-duration", "deadline"),
        ({"prompt": "?", "deadline": "99999999d"}, "bad-duration", "deadline"),
        ({"prompt": "?", "valid_for": "soon"}, "bad-duration", "valid_for"),
        ({"prompt": "?", "approvals": 0}, "bad-json", "approvals"),
        ({"prompt": "?", "approvals": 10**30}, "bad-json", "approvals"),
        ({"prompt": "?", "approvals": "2"}, "bad-json", "approvals"),
        ({"prompt": "?", "unknown": 1}, "bad-json", "unknown"),
        ({"prompt": "?", "link": "javascript:alert(1)"}, "bad-question", "link"),
        ({"prompt": "?", "form": {"type": "nonsense"}}, "bad-form", "form"),
        ({"prompt": "?", "form": {"$ref": "http://localhost/"}}, "bad-form", "form"),
        ({"prompt": "?", "form": {}, "on_deadline": "approve"}, "bad-question", "on_deadline"),
        (
            {"prompt": "?", "form": {"type": "integer"}, "on_deadline": {"value": "x"}},
            "does-not-fit-form",
            "on_deadline",
        ),
        ({"prompt": "?", "choices": ["a"], "on_deadline": {"value": "x"}}, "bad-question", "on_deadline"),
        ({"prompt": "?", "choices": ["a", "a"]}, "bad-question", "choices"),
        ({"prompt": "?", "choices": [str(n) for n in range(1_001)]}, "bad-question", "choices"),
        ({"prompt": "?", "tags": {"hitl:key": "x"}}, "bad-name", "tags"),
        ({"prompt": "?", "tags": {"": "x"}}, "bad-question", "tags"),
        ({"prompt": "?", "tags": {"a": "\u0000"}}, "bad-question", "tags"),
        ({"prompt": "?", "tags": {"a": "x" * 1_001}}, "bad-question", "tags"),
        ({"prompt": "?", "key": ""}, "bad-question", "key"),
        ({"prompt": "?", "key": "x" * 1_001}, "bad-question", "key"),
        ({"prompt": "?", "to": [" "]}, "bad-question", "to"),
        ({"prompt": "?", "to": [7]}, "bad-json", "to[0]"),
        ({"prompt": "?", "to": ["x" * 300]}, "bad-question", "to"),
        ({"prompt": "?", "to": [f"p{n}" for n in range(1_001)]}, "bad-question", "to"),
        ({"prompt": "?", "to": ["lead"], "approvals": 2}, "bad-question", "approvals"),
        ({"prompt": "?", "to": ["agent"], "allow_self": False}, "bad-question", "to"),
        ({"prompt": "?", "digest": {"sha256": "x", "file": "y"}}, "bad-json", "digest.sha256"),
        ({"prompt": "?", "details": {"__type": "x"}}, "bad-answer", "details"),
        ({"prompt": "?", "details": json.loads("[" * 200 + "]" * 200)}, "bad-answer", "details"),
        ({"prompt": "?", "arguments": {"a": {"__py_pickle": "x"}}}, "bad-answer", "arguments"),
        ({"prompt": "?", "arguments": [2**60]}, "bad-question", "arguments"),
        ({"prompt": "?", "arguments": {"a": "x" * 100_000}, "editable": True}, "bad-form", "editable"),
        ({"prompt": "?", "arguments": {"a": 1}, "editable": {"type": "x"}}, "bad-form", "editable"),
        ({"prompt": "?", "details": {"a": {"$view": "image"}}}, "bad-question", "details"),
        ({"prompt": "?", "proof": "signed", "on_deadline": "approve"}, "bad-question", "on_deadline"),
        ({"prompt": "?" * 1_000_001}, "too-large", None),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_field_and_creates_nothing(
    agent: Api, question: dict[str, Any], code: str, path: str | None
) -> None:
    refused = agent.post("/requests", {"id": "refused", **question})
    assert (refused.status, refused.json["code"]) == (400, code)
    assert [one["path"] for one in refused.json.get("errors", ())] == ([path] if path else [])
    assert "--" not in refused.json["detail"]
    assert agent.get("/requests/refused").status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"prompt": ',
        b'{"prompt": "\xff"}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "?", "details": {"\\udfff": 1}}',
        b'{"prompt": "?", "details": NaN}',
        b'{"prompt": "?", "details": -Infinity}',
        b'{"prompt": "?", "details": 1e999}',
        b'\xef\xbb\xbf{"prompt": "?"}',
        b'{"prompt": "?", "details": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_body_that_is_no_json_is_refused(agent: Api, body: bytes) -> None:
    before = len(agent.get("/requests?limit=1000").json["items"])
    refused = agent.gateway.ask(
        "POST", "/api/v1/requests", data=body, headers={**agent.headers, "Content-Type": "application/json"}
    )
    assert (refused.status, refused.json["code"]) == (400, "bad-json")
    assert len(agent.get("/requests?limit=1000").json["items"]) == before


def test_odd_texts_and_numbers_are_kept_as_they_are(agent: Api) -> None:
    odd = {"prompt": "a\x00\x1b[2J\u202e" + "x" * 100_000, "details": {"n": 2**70, "f": 1e300, "z": "\x00"}}
    made = agent.post("/requests", {"id": "odd", **odd})
    assert (made.status, made.json["prompt"], made.json["details"]) == (201, odd["prompt"], odd["details"])


@pytest.mark.parametrize("id", ["", "a:1", " x", "\u0007", ".", "..", "x" * 1_001])
def test_an_id_that_no_request_can_have_is_refused(agent: Api, id: str) -> None:
    refused = agent.post("/requests", {"id": id, "prompt": "?"})
    assert (refused.json["code"], refused.json["errors"][0]["path"]) == ("bad-name", "id")


# Who may what


def test_who_may_only_ask_sees_and_takes_back_what_they_asked_and_nothing_else(
    hitl: Hitl, closed: GatewayProcess, agent: Api, lead: Api
) -> None:
    put(hitl, "of-a-run", Question(prompt="?"))
    agent.post("/requests", {"id": "mine", "prompt": "Mine?", "to": ["agent"], "key": "the-key"})
    hitl.ok("ask", "Yours?", "--id", "yours", "--no-wait", "--as", "ops")
    own = {one["id"] for one in agent.get("/requests").json["items"]}
    assert "ask-mine" in own
    assert not own & {"of-a-run", "yours"}
    for id in ("of-a-run", "of-a-run:1", "yours", "the-key", "nothing"):
        assert agent.get(f"/requests/{id}").json["code"] == "not-found"
        assert agent.ask("DELETE", f"/requests/{id}").status in (400, 404)
    hitl.ok("ask", "Yours?", "--id", "ask-yours", "--no-wait", "--as", "ops")
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
    hitl.ok("approve", "ask-mine", "--as", "agent")
    hitl.ok("approve", "yours", "--as", "lead")
    assert [one["id"] for one in agent.get("/history?limit=1").json["items"]] == ["ask-mine"]
    assert [one["by"] for one in agent.get("/history?id=mine").json["items"]] == ["agent"]
    other = with_token(hitl, closed, "another-agent", "ask")
    assert other.get("/requests/mine").json["code"] == "not-found"
    assert other.get("/history").json["items"] == []
    assert other.get("/history?id=mine").json["code"] == "not-found"


def test_who_may_not_start_runs_cannot_take_the_id_of_one(
    hitl: Hitl, closed: GatewayProcess, agent: Api, lead: Api
) -> None:
    question = {"id": "deploy-9", "prompt": "Deploy?"}
    assert agent.post("/requests", question).json["id"] == "ask-deploy-9"
    for path in ("/requests/deploy-9/decision", "/requests/deploy-9/comments"):
        missed = lead.post(path, {"verdict": "approve"} if "decision" in path else {"comment": "?"})
        assert (missed.status, "ask-deploy-9" in missed.json["detail"]) == (404, True)
    assert agent.post("/requests", question).status == 200
    assert agent.post("/requests", question | {"id": "ask-deploy-9"}).status == 200
    starter = with_token(hitl, closed, "starter", "start")
    assert starter.post("/runs", {"id": "deploy-9"}).status == 201
    assert agent.get("/requests/deploy-9").json["id"] == "ask-deploy-9"
    assert agent.ask("DELETE", "/requests/deploy-9").json["id"] == "ask-deploy-9"
    assert starter.post("/requests", {"id": "mine-9", "prompt": "?"}).json["id"] == "mine-9"


def test_a_run_whose_id_a_request_has_is_refused_and_told_why(
    hitl: Hitl, closed: GatewayProcess, agent: Api
) -> None:
    agent.post("/requests", {"id": "ask-first", "prompt": "?"})
    told = hitl.fails(4, "start", "ask-first", code="already-exists")
    assert "a request of agent" in told
    starter = with_token(hitl, closed, "starter", "start")
    refused = starter.post("/runs", {"id": "ask-first"})
    assert (refused.status, refused.json["code"], "agent" in refused.json["detail"]) == (
        409,
        "already-exists",
        False,
    )
    hitl.ok("start", "theirs-1", "secret argument", "--as", "ops")
    assert "secret" not in starter.post("/runs", {"id": "theirs-1"}).json["detail"]


def test_who_asked_does_not_see_how_others_are_reached(tmp_path: Path) -> None:
    hitl = Hitl(tmp_path)
    (hitl.folder / "hitl.toml").write_text(
        '[people.reviewer]\nnotify = ["console"]\n[groups.ops]\nmembers = ["reviewer", "intern"]\n'
    )
    gateway = begin_gateway(hitl, "--sign-in")
    agent, lead = (with_token(hitl, gateway, one, can) for one, can in (("agent", "ask"), ("lead", "decide")))
    worker = hitl.worker()
    agent.post("/requests", {"id": "ask-ops", "prompt": "?", "to": ["group:ops"]})
    agent.post("/requests", {"id": "ask-one", "prompt": "?", "to": ["reviewer", "intern"]})

    def told(api: Api, id: str) -> Any:
        return api.get(f"/requests/{id}").json

    wait_until(lambda: len([one for one in told(lead, "ask-ops")["told"] if one["at"]]) == 2)
    assert told(lead, "ask-ops")["without_contact"] == ["intern"]
    shown = told(agent, "ask-ops")
    assert (shown["told"], shown["without_contact"]) == ([], [])
    wait_until(lambda: any(one["outcome"] == "told" for one in told(agent, "ask-one")["told"]))
    [reviewer] = [one for one in told(agent, "ask-one")["told"] if one["who"] == "reviewer"]
    assert (reviewer["outcome"], reviewer["channel"], reviewer["why"]) == ("told", None, None)
    assert told(agent, "ask-one")["without_contact"] == ["intern"]
    for process in (worker, gateway):
        process.clear_away()
    hitl.end_server()


def test_no_error_of_the_api_names_a_command(hitl: Hitl, lead: Api) -> None:
    hitl.ok("start", "quiet-run")
    for path in ("/runs/nothing", "/requests/nothing", "/history?id=nothing", "/requests/quiet-run"):
        refused = lead.get(path)
        assert (refused.status, "`hitl" in refused.json["detail"]) == (404, False)
    assert "`hitl status`" in hitl.fails(3, "status", "nothing", code="not-found")


def test_a_request_is_taken_back_once_and_not_after_a_decision(agent: Api, lead: Api) -> None:
    agent.post("/requests", {"id": "back", "prompt": "?"})
    for _ in range(2):
        back = agent.ask("DELETE", "/requests/back")
        assert (back.status, back.json["decision"]["outcome"]) == (200, "canceled")
    agent.post("/requests", {"id": "done", "prompt": "?"})
    lead.post("/requests/ask-done/decision", {"verdict": "approve"})
    assert agent.ask("DELETE", "/requests/done").json["decision"]["outcome"] == "approved"


# Waiting


def test_a_decision_ends_the_wait_of_who_asked(agent: Api, lead: Api) -> None:
    agent.post("/requests", {"id": "waited", "prompt": "?"})
    with ThreadPoolExecutor() as pool:
        waits = [pool.submit(agent.get, "/requests/waited?wait=60s") for _ in range(3)]
        wait_until(lambda: not any(wait.done() for wait in waits))
        began = time.monotonic()
        lead.post("/requests/ask-waited/decision", {"verdict": "reject", "reason": "not now"})
        shown = [wait.result() for wait in waits]
    assert time.monotonic() - began < 30
    assert {one.json["decision"]["reason"] for one in shown} == {"not now"}
    assert agent.get("/requests/waited?wait=60s").json["decision"]["outcome"] == "rejected"


@pytest.mark.parametrize("late", ["approve", {"value": "yes"}])
def test_the_deadline_of_who_only_asks_approves_nothing(agent: Api, lead: Api, late: Any) -> None:
    body = {"id": "by-deadline", "prompt": "?", "deadline": "1s", "on_deadline": late}
    refused = agent.post("/requests", body)
    assert (refused.status, refused.json["code"]) == (403, "permission-missing")
    assert lead.get("/requests/ask-by-deadline").status == 404


def test_a_deadline_and_a_withdrawal_end_it_too(agent: Api) -> None:
    agent.post("/requests", {"id": "late", "prompt": "?", "deadline": "1s", "on_deadline": "reject"})
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


def test_many_wait_without_a_thread_each_and_all_are_told(hitl: Hitl) -> None:
    hitl.ok("ask", "?", "--id", "crowd", "--no-wait")
    visited = Visited(hitl)
    try:
        assert visited.gateway is not None
        waiters, threads = visited.gateway.waiters, threading.active_count()
        parts = urlsplit(visited.address)
        head = f"Host: {parts.netloc}\r\nConnection: close\r\n\r\n"  # each answer is read to its end
        get = f"GET /api/v1/requests/crowd?wait=60s HTTP/1.1\r\n{head}".encode()
        polls = [socket.create_connection((parts.hostname or "", parts.port or 0)) for _ in range(200)]
        for poll in polls:
            poll.sendall(get)
        wait_until(lambda: len(waiters) == 200)
        assert threading.active_count() < threads + 20
        hitl.ok("approve", "crowd")
        assert all(b'"approved"' in poll.makefile("rb").read(4_000) for poll in polls)
        assert len(waiters) == 0
    finally:
        for poll in polls:
            poll.close()
        visited.stop()


@pytest.mark.parametrize(
    ("limits", "possible", "raised"),
    [
        ((1_024, 4_096), 1_000, 1_512),
        ((1_024, 1_024), 512, 1_024),
        ((64, 100), 50, 100),
        ((8_192, 8_192), 1_000, 8_192),
        ((1_024, resource.RLIM_INFINITY), 1_000, 1_512),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 1_000, resource.RLIM_INFINITY),
    ],
)
def test_the_limit_of_open_files_is_raised_and_it_is_said_if_that_is_not_enough(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limits: tuple[int, int],
    possible: int,
    raised: int,
) -> None:
    now = [limits]
    monkeypatch.setattr(resource, "getrlimit", lambda _: now[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: now.append(new))
    assert (connections_possible(1_000), now[-1]) == (possible, (raised, limits[1]))
    assert ("ulimit" in caplog.text) == (possible < 1_000)


def test_who_may_only_ask_uses_the_approvals_of_their_own_requests_once(
    hitl: Hitl, closed: GatewayProcess, agent: Api, lead: Api
) -> None:
    agent.post("/requests", {"id": "once", "prompt": "Run it?", "once": True})
    assert agent.post("/requests/once/use", {}).json["code"] == "not-decided"
    lead.post("/requests/ask-once/decision", {"verdict": "approve"})
    other = with_token(hitl, closed, "other", "ask")
    assert other.post("/requests/ask-once/use", {}).status == 404
    assert lead.post("/requests/ask-once/use", {}).json["code"] == "permission-missing"
    used = agent.post("/requests/once/use", {"key": "k"})
    assert (used.status, used.json["used"]["by"], used.json["used"]["via"]) == (200, "agent", "api")
    assert agent.post("/requests/once/use", {"key": "k"}).status == 200
    again = agent.post("/requests/once/use", {})
    assert (again.status, again.json["code"]) == (409, "approval-used")
    assert "agent" in again.json["detail"]


def test_a_key_of_who_may_only_ask_is_no_name_that_a_person_types_for_another_request(
    hitl: Hitl, agent: Api
) -> None:
    put(hitl, "signed-off", Question(prompt="Deploy?"), by="ops", key="their-key")
    hitl.ok("approve", "their-key")
    for key in ("their-key", "no-run-yet"):  # a key of another, and a run that has not begun
        mine = agent.post("/requests", {"id": f"squats-{key}", "prompt": "Mine?", "key": key})
        assert (mine.status, mine.json["key"]) == (201, f"ask-{key}")
    hitl.ok("approve", "their-key")  # again the same decision
    hitl.fails(3, "approve", "no-run-yet")
    for key in ("their-key", "no-run-yet"):
        assert agent.get(f"/requests/squats-{key}").json["state"] == "pending"
    hitl.ok("approve", "ask-no-run-yet")


# What an agent keeps


def test_an_agent_keeps_a_session_and_a_state_that_nobody_else_reads(
    hitl: Hitl, closed: GatewayProcess, agent: Api, lead: Api
) -> None:
    other = with_token(hitl, closed, "other", "ask")
    id = agent.post("/requests", {"id": "kept", "prompt": "Go on?"}).json["id"]
    session = {"session": "s-1", "cwd": "/srv", "host": "here", "pid": 1}
    assert agent.post(f"/requests/{id}/deferral", session).status == 201
    [waits] = agent.get("/deferrals?host=here").json["items"]
    assert waits == session | {"request": id, "outcome": None, "by": None}
    assert agent.get(f"/requests/{id}").json["state"] == "pending"
    assert agent.post("/agent-states/a%2Fb", {"state": "kept"}).status == 201
    assert agent.get("/agent-states/a%2Fb").json == {"run": "a/b", "state": "kept"}
    assert other.get("/agent-states/a%2Fb").json["state"] is None
    assert other.ask("DELETE", "/agent-states/a%2Fb").status == 200
    assert agent.get("/agent-states/a%2Fb").json["state"] == "kept"
    assert other.get("/deferrals?host=here").json["items"] == []
    for path, body in (("deferral", session), ("deferral/take", {"key": "k"})):
        assert other.post(f"/requests/{id}/{path}", body).status == 404
        assert lead.post(f"/requests/{id}/{path}", body).json["code"] == "permission-missing"
    assert lead.get("/agent-states/a%2Fb").status == 403
    assert agent.post(f"/requests/{id}/deferral", session | {"session": "--help"}).status == 400
    assert agent.post("/agent-states/big", {"state": "x" * 2_200_000}).status == 413
    taken = [agent.post(f"/requests/{id}/deferral/take", {"key": key}).json["taken"] for key in "ab"]
    assert taken == [True, False]
    assert agent.ask("DELETE", "/agent-states/a%2Fb").json["state"] is None
    assert agent.get("/agent-states/a%2Fb").json["state"] is None
