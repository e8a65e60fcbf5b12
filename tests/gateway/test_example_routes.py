"""The example routes: what programs send, and the exact responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from hitl_cli.client.protocol import get_promise, search
from hitl_cli.client.wire import audit_of, decode
from hitl_cli.runs.reading import get_run
from tests.conftest import APPS, Hitl, wait_until
from tests.gateway.conftest import begin_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.wire import Promise
    from tests.conftest import WorkerProcess
    from tests.gateway.conftest import Reply, StartGateway


ROUTES = [
    ("POST", "/start-workflow"),
    ("GET", "/unblock-workflow"),
    ("POST", "/start"),
    ("POST", "/confirm"),
]


class Site:
    """A gateway that is open, and a worker of the built-in workflows and of some that ask."""

    def __init__(self, hitl: Hitl) -> None:
        self.hitl = hitl
        self.worker: WorkerProcess = hitl.worker(
            "--app", str(APPS / "asks.py"), "--app", str(APPS / "steps.py")
        )
        self.gateway = begin_gateway(hitl)

    def start(self, id: str, **more: Any) -> Reply:
        return self.gateway.post("/start-workflow", {"workflow_id": id, **more})

    def unblock(self, id: str, **headers: str) -> Reply:
        return self.gateway.get(f"/unblock-workflow?promise_id={quote(id)}", **headers)

    def promise(self, id: str) -> Promise | None:
        with self.hitl.client() as client:
            return get_promise(client, id)

    def state(self, id: str) -> str:
        found = self.promise(id)
        return found.state if found else "none"

    def blocked(self, run: str, promise: str | None = None) -> str:
        """Start a run, and return the promise that it waits for, once it does."""
        assert self.start(run).status == 200
        id = promise or f"{run}:1"
        wait_until(lambda: self.state(id) == "pending")
        return id

    def ask(self, run: str, **question: Any) -> str:
        """Start a run that asks, and return the request, once it is put."""
        args = [{"prompt": "Well?", **question}]
        assert self.start(run, workflow="asks", args=args).status == 200
        wait_until(lambda: self.state(f"{run}:1.1") == "pending")
        return f"{run}:1.1"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One gateway and one worker for the tests of this file, each of which has runs of its own."""
    site = Site(Hitl(tmp_path_factory.mktemp("pattern")))
    yield site
    site.gateway.clear_away()
    site.worker.clear_away()


def said(reply: Reply) -> tuple[int, str]:
    assert reply.headers["Content-Type"] == "application/json"
    return reply.status, reply.text


# Starting


def test_the_main_job_over_http_says_exactly_what_the_pattern_says(site: Site) -> None:
    assert said(site.start("hitl-001")) == (200, '{"message":"workflow hitl-001 started"}')
    wait_until(lambda: site.state("hitl-001:1") == "pending")
    assert said(site.start("hitl-001")) == (200, '{"message":"workflow hitl-001 started"}')
    assert said(site.unblock("hitl-001:1")) == (200, '{"message":"workflow unblocked"}')
    wait_until(lambda: site.state("hitl-001") == "resolved")
    assert said(site.start("hitl-001")) == (
        200,
        '{"message":{"message":"workflow hitl-001 completed","data":true}}',
    )


def test_without_a_workflow_id_nothing_is_started(site: Site) -> None:
    for body in ({}, {"workflow_id": ""}, {"workflow_id": None}, b"", b"  "):
        assert said(site.gateway.post("/start-workflow", body)) == (
            400,
            '{"error":"workflow_id is required"}',
        )


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "invalid body"),
        (b"[]", "object"),
        (b'"hitl-001"', "object"),
        ({"workflow_id": 7}, "workflow_id"),
        ({"workflow_id": "x", "args": "y"}, "args"),
        ({"workflow_id": "x", "kwarg": {}}, "kwarg"),
        ({"workflow_id": "x:1"}, "separates"),
        ({"workflow_id": " x"}, "spaces"),
        ({"workflow_id": "x", "group": "http://127.0.0.1:9/"}, "group"),
        ({"workflow_id": "x", "group": "poll://uni@workers/1"}, "group"),
        ({"workflow_id": "x", "group": "workers\n"}, "group"),
        (b'{"workflow_id": "\\ud800"}', "invalid body"),
        (b'{"workflow_id": "x", "args": ' + b"[" * 100_000, "invalid body"),
    ],
)
def test_what_cannot_be_a_run_is_refused_and_starts_nothing(site: Site, body: Any, why: str) -> None:
    reply = site.gateway.post("/start-workflow", body)
    assert reply.status == 400
    assert why in reply.json["error"]
    assert site.state("x") == "none"


def test_what_is_not_sent_as_json_is_refused_whatever_it_says(site: Site) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        reply = site.gateway.post("/start-workflow", b'{"workflow_id": "no"}', **{"Content-Type": kind})
        assert reply.status == 400
        assert "Content-Type: application/json" in reply.json["error"]
    assert site.state("no") == "none"


def test_a_body_that_is_too_big_is_refused(site: Site) -> None:
    reply = site.start("big", args=["x" * 3_000_000])
    assert (reply.status, reply.json) == (413, {"error": "the request is too large."})


def test_a_run_is_started_with_its_workflow_arguments_and_group(site: Site) -> None:
    call = {"workflow": "asks", "kwargs": {"options": {"prompt": "Well?"}}, "group": "elsewhere"}
    assert site.start("full", **call).status == 200
    promise = site.promise("full")
    assert promise is not None
    assert promise.call is not None
    assert (promise.call.func, promise.call.kwargs) == ("asks", call["kwargs"])
    assert promise.tags["resonate:target"] == "poll://any@elsewhere"


def test_an_id_that_another_call_has_is_a_conflict_and_starts_nothing(site: Site) -> None:
    site.blocked("taken")
    reply = site.start("taken", args=["other"])
    assert reply.status == 409
    assert "approval" in reply.json["error"]


def test_a_run_that_did_not_complete_says_why(site: Site) -> None:
    promise = site.blocked("over")
    site.hitl.ok("reject", promise, "--reason", "over budget")
    wait_until(lambda: site.state("over") == "rejected")
    reply = site.start("over")
    assert (reply.status, reply.json) == (409, {"error": "workflow over failed: over budget"})
    site.blocked("gone")
    site.hitl.ok("cancel", "gone", "--reason", "not now")
    assert site.start("gone").json == {"error": "workflow gone canceled: not now"}


# Unblocking


def test_unblocking_twice_changes_nothing(site: Site) -> None:
    id = site.blocked("twice")
    replies = [said(site.unblock(id)) for _ in range(2)]
    assert replies == [(200, '{"message":"workflow unblocked"}')] * 2
    promise = site.promise(id)
    assert promise is not None
    assert decode(promise.value) is True
    assert (audit_of(promise).by, audit_of(promise).via) == ("ada", "web")


def test_unblocking_needs_a_promise_that_a_person_answers(site: Site) -> None:
    for query in ("", "?promise_id="):
        reply = site.gateway.get(f"/unblock-workflow{query}")
        assert said(reply) == (400, '{"error":"promise_id is required"}')
    assert site.unblock("nobody:1").status == 404
    promise = site.blocked("exactly")
    assert site.unblock("exactly").status == 404
    assert site.unblock("exactl").status == 404
    assert site.state(promise) == "pending"


def test_what_was_rejected_meanwhile_is_a_conflict(site: Site) -> None:
    id = site.blocked("no")
    site.hitl.ok("reject", id)
    reply = site.unblock(id)
    assert reply.status == 409
    assert "ada" in reply.json["error"]


def test_a_link_answers_no_more_than_a_plain_yes_by_whoever_may(site: Site) -> None:
    form = site.ask("form", form={"type": "object", "required": ["a"], "properties": {"a": {}}})
    choice = site.ask("choice", choices=["ship", "hold"])
    other = site.ask("other", to=["reviewer"])
    assert [site.unblock(id).status for id in (form, choice, other)] == [400, 400, 403]
    assert {site.state(id) for id in (form, choice, other)} == {"pending"}
    two = site.ask("two", approvals=2)
    assert site.unblock(two).json == {"message": "approved by 1 of 2"}
    assert site.state(two) == "pending"


def test_nothing_is_decided_ahead_of_a_click_or_by_another_sites_page(site: Site) -> None:
    id = site.blocked("ahead")
    for ahead in ({"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}, {"X-Purpose": "preview"}):
        assert site.unblock(id, **ahead).status == 503
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert site.unblock(id, **image).status == 403
    assert site.gateway.ask("HEAD", f"/unblock-workflow?promise_id={id}").status == 405
    assert site.gateway.ask("POST", f"/unblock-workflow?promise_id={id}").status == 405
    assert site.state(id) == "pending"


def test_who_comes_from_another_sites_page_is_shown_the_request_and_decides_there(site: Site) -> None:
    id = site.blocked("page/a b")
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    reply = site.unblock(id, **followed)
    assert (reply.status, reply.headers["Location"]) == (303, "/r/page%2Fa%20b:1")
    assert site.state(id) == "pending"
    assert site.unblock(id, **{**followed, "Sec-Fetch-Site": "none"}).status == 200


def test_where_people_sign_in_a_program_needs_a_token_and_a_plain_link_to_be_switched_on(site: Site) -> None:
    id = site.blocked("signed")
    made = {
        can: site.hitl.ok("token", "create", "--as", "program", "--can", can) for can in ("start", "decide")
    }
    token = {can: {"Authorization": f"Bearer {text.strip()}"} for can, text in made.items()}
    body = {"workflow_id": "signed-2"}
    path = f"/unblock-workflow?promise_id={id}"
    plain = begin_gateway(site.hitl, "--sign-in", "--plain-links")
    paged = begin_gateway(site.hitl, "--sign-in")
    try:
        assert [gateway.ask("GET", path).status for gateway in (plain, paged)] == [401, 401]
        assert plain.post("/start-workflow", body).status == 401
        assert plain.post("/start-workflow", body, **token["decide"]).status == 403
        assert plain.ask("GET", path, headers=token["start"]).status == 403
        assert paged.ask("GET", path, headers=token["decide"]).headers["Location"] == f"/r/{id}"
        assert (site.state(id), site.state("signed-2")) == ("pending", "none")
        assert plain.post("/start-workflow", body, **token["start"]).status == 200
        assert plain.ask("GET", path, headers=token["decide"]).json == {"message": "workflow unblocked"}
    finally:
        plain.clear_away()
        paged.clear_away()
    promise = site.promise(id)
    assert promise is not None
    assert audit_of(promise).by == "program"


# Beyond this machine


@pytest.fixture
def program(site: Site) -> dict[str, str]:
    """What a program sends that may do everything."""
    allowed = ("--can", "read", "--can", "decide", "--can", "start")
    token = site.hitl.ok("token", "create", "--as", "program", *allowed).strip()
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("where", [("--host", "0.0.0.0"), ("--url", "https://hitl.example.org")])
def test_beyond_this_machine_the_routes_of_the_pattern_do_not_exist(
    site: Site, start_gateway: StartGateway, program: dict[str, str], where: tuple[str, str]
) -> None:
    beyond = start_gateway(*where, env=site.hitl.env)
    for method, path in ROUTES:
        for sent in ({}, program, {**program, "Accept": "text/html"}):
            there, nowhere = (
                beyond.ask(method, asked, data={"email": "a@example.org"}, headers=sent)
                for asked in (path, "/nowhere")
            )
            assert there.status == nowhere.status == (404 if sent else 401)
            assert there.headers["Content-Type"] == nowhere.headers["Content-Type"]
            assert there.words == nowhere.words
        assert path not in beyond.ask("GET", "/", headers=program).text


@pytest.mark.parametrize("where", [("--host", "0.0.0.0"), ("--url", "https://hitl.example.org")])
def test_beyond_this_machine_they_are_served_to_programs_if_asked_for(
    site: Site, start_gateway: StartGateway, program: dict[str, str], where: tuple[str, str]
) -> None:
    beyond = start_gateway(*where, "--example-routes", env=site.hitl.env)
    for method, path in ROUTES:
        assert beyond.ask(method, path, data={}).status == 401
    run = f"beyond{where[0]}"
    started = beyond.post("/start-workflow", {"workflow_id": run}, **program)
    assert (started.status, started.json) == (200, {"message": f"workflow {run} started"})
    assert beyond.post("/start", {}, **program).json == {"error": "email is required"}
    assert beyond.post("/confirm", {}, **program).status == 400
    wait_until(lambda: site.state(f"{run}:1") == "pending")
    unblocked = beyond.ask("GET", f"/unblock-workflow?promise_id={run}:1", headers=program)
    assert unblocked.headers["Location"] == f"/r/{run}:1"  # and not decided: that needs --plain-links


# E-mail addresses


def test_an_address_is_started_and_confirmed_as_the_pattern_says(site: Site) -> None:
    started = '{"result":"workflow started"}'
    assert said(site.gateway.post("/start", {"email": "a@example.org"})) == (200, started)
    wait_until(lambda: site.state("workflow-a@example.org:1.1") == "pending")
    assert said(site.gateway.post("/start", {"email": " a@EXAMPLE.org"})) == (200, started)
    confirmed = (200, '{"message":"Email a@example.org confirmed."}')
    for _ in range(2):
        assert said(site.gateway.post("/confirm", {"email": "a@example.org"})) == confirmed
    assert said(site.gateway.post("/start", {"email": "a@example.org"})) == (200, started)
    with site.hitl.client() as client:
        assert len([p for p in search(client, idPrefix="workflow-a@") if p.is_run]) == 1


def test_an_address_is_required(site: Site) -> None:
    for body in ({}, {"email": ""}, b""):
        assert said(site.gateway.post("/start", body)) == (400, '{"error":"email is required"}')
        assert said(site.gateway.post("/confirm", body)) == (400, '{"error":"email param is required"}')


@pytest.mark.parametrize(
    "address",
    [
        "a",
        "@example.org",
        "a@",
        "a b@example.org",
        "a@b@example.org",
        "a:b@example.org",
        "a@-.org",
        7,
        ["a@b"],
    ],
)
def test_what_is_no_address_is_refused(site: Site, address: Any) -> None:
    for path in ("/start", "/confirm"):
        assert site.gateway.post(path, {"email": address}).status == 400


def test_an_address_that_nothing_waits_for_cannot_be_confirmed(site: Site) -> None:
    reply = site.gateway.post("/confirm", {"email": "nobody@example.org"})
    assert reply.status == 404
    assert "nobody@example.org" in reply.json["error"]


# Several gateways


def test_a_gateway_that_is_killed_between_start_and_unblock_is_not_missed(
    hitl: Hitl, start_gateway: StartGateway
) -> None:
    first, second = start_gateway(), start_gateway()
    body = {"workflow_id": "hitl-001"}
    assert first.post("/start-workflow", body).json == {"message": "workflow hitl-001 started"}
    first.kill()
    hitl.worker()
    wait_until(lambda: second.get("/unblock-workflow?promise_id=hitl-001:1").status == 200)
    third = start_gateway()

    def ended() -> bool:
        with hitl.client() as client:
            return get_run(client, "hitl-001").ended

    wait_until(ended)
    done = {"message": {"message": "workflow hitl-001 completed", "data": True}}
    assert [gateway.post("/start-workflow", body).json for gateway in (second, third)] == [done, done]
