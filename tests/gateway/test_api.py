"""`/api/v1`: runs, requests, decisions and history for programs, and their description."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jsonschema_rs
import msgspec
import pytest

from hitl_cli.client.pool import THREADS
from hitl_cli.errors import NotFound
from hitl_cli.gateway.api.openapi import document
from hitl_cli.gateway.api.routes import ROUTES, TABLE
from hitl_cli.gateway.context import LOOKBACK_THREADS
from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import PATIENCE_S, wait_until
from tests.gateway.visiting import Browser, Visited

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conftest import Hitl
    from tests.gateway.conftest import GatewayProcess, Reply, StartGateway

DESCRIPTION = msgspec.json.decode(msgspec.json.encode(document(TABLE)))
AMOUNT = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "maximum": 500}, "note": {"type": "string"}},
    "required": ["amount"],
}


@pytest.fixture(scope="module")
def hitl(shared_hitl: Hitl) -> Hitl:
    put(shared_hitl, "r1", Question(prompt="?"))
    return shared_hitl


@pytest.fixture(scope="module")
def api(hitl: Hitl, shared_gateway: GatewayProcess) -> Api:
    assert hitl
    return Api(shared_gateway)


class Api:
    """A program that uses the API, and holds each answer against the description."""

    def __init__(self, gateway: GatewayProcess, headers: Mapping[str, str] | None = None) -> None:
        self.gateway = gateway
        self.headers = dict(headers or {})

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, data: Any, **headers: str) -> Reply:
        return self.ask("POST", path, data=data, headers=headers)

    def ask(
        self, method: str, path: str, data: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        given = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        reply = self.gateway.ask(method, f"/api/v1{path}", data=data, headers={**self.headers, **given})
        if method in ("GET", "POST"):
            check(method, f"/api/v1{path}", reply)
        return reply


def check(method: str, path: str, reply: Reply) -> None:
    """Hold an answer against what the description says of it."""
    described = operation(method, path.partition("?")[0])
    if described is None:
        assert reply.status in (404, 405)
        answers = {"default": {"content": {"application/problem+json": {"schema": PROBLEM}}}}
    else:
        answers = described["responses"]
    answer = answers.get(str(reply.status), answers["default"])
    if reply.status >= 400:
        assert str(reply.status) not in answers
    if "content" not in answer:
        assert reply.body == b""
        return
    [(kind, content)] = answer["content"].items()
    assert reply.headers["Content-Type"].partition(";")[0] == kind
    jsonschema_rs.validate(whole(content["schema"]), reply.json)


PROBLEM = {"$ref": "#/components/schemas/Problem"}


def whole(schema: Any) -> Any:
    """Return a schema of the description with what it refers to."""
    return {**schema, "components": DESCRIPTION["components"]}


def operation(method: str, path: str) -> Any:
    """Return the description of what answers at a path."""
    parts = path.split("/")
    for pattern, operations in DESCRIPTION["paths"].items():
        wanted = pattern.split("/")
        if len(wanted) == len(parts) and all(
            one in (other, "{id}") for one, other in zip(wanted, parts, strict=True)
        ):
            return operations.get(method.lower())
    return None


# The description


def test_the_description_is_of_the_routes_that_there_are(shared_gateway: GatewayProcess) -> None:
    assert shared_gateway.get("/api/v1/openapi.json").json == DESCRIPTION
    routed = {(route.method, route.path.replace("{id:[^/]+}", "{id}")) for route in ROUTES}
    described = {(method.upper(), path) for path, found in DESCRIPTION["paths"].items() for method in found}
    assert routed - described == {("GET", "/api/v1/openapi.json")}
    assert described <= routed


def test_the_description_is_one_of_openapi_3_1() -> None:
    assert DESCRIPTION["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(DESCRIPTION["info"])
    names = set()
    for path, operations in DESCRIPTION["paths"].items():
        for found in operations.values():
            names.add(found["operationId"])
            inside = {one["name"] for one in found["parameters"] if one["in"] == "path"}
            assert inside == ({"id"} if "{id}" in path else set())
            assert all(one["in"] in ("path", "query", "header") for one in found["parameters"])
            assert all("description" in answer for answer in found["responses"].values())
    assert len(names) == len(TABLE)
    for name, schema in DESCRIPTION["components"]["schemas"].items():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        assert jsonschema_rs.validator_for(whole({"$ref": f"#/components/schemas/{name}"}))
    for reference in references(DESCRIPTION):
        assert reference.removeprefix("#/components/schemas/") in DESCRIPTION["components"]["schemas"]


def references(value: Any) -> Iterator[str]:
    """Yield all references in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


# Runs


def test_a_run_is_started_once_listed_shown_and_canceled(api: Api, hitl: Hitl) -> None:
    first = api.post("/runs", {"id": "r-1", "workflow": "approval", "kwargs": {"amount": 3}})
    assert (first.status, first.json["state"]) == (201, "running")
    assert first.headers["Location"] == "/api/v1/runs/r-1"
    again = api.post("/runs", {"id": "r-1", "workflow": "approval", "kwargs": {"amount": 3}})
    assert again.status == 200
    other = api.post("/runs", {"id": "r-1", "workflow": "approval"})
    assert (other.status, other.json["type"]) == (409, "urn:hitl:problem:conflict")
    shown = api.get("/runs/r-1").json
    assert shown["state"] == "waiting"
    every = api.get("/runs/r-1/steps").json
    assert {**every, "age_s": 0} == {**shown, "steps": [], "age_s": 0}
    assert every == {**hitl.json("status", "r-1"), "age_s": every["age_s"]}
    assert "r-1" in [run["id"] for run in api.get("/runs?state=waiting").json["items"]]
    assert api.get("/runs?state=failed").json == {"items": [], "next": None}
    canceled = api.post("/runs/r-1/cancel", {"reason": "over"})
    assert (canceled.status, canceled.json["state"]) == (200, "canceled")
    assert "over" in canceled.json["error"]
    assert api.post("/runs/r-1/cancel", {}).status == 200


def test_workflows_are_listed_as_on_the_command_line(api: Api, hitl: Hitl) -> None:
    api.post("/runs", {"id": "of-nobody", "workflow": "of-nobody"})
    shown = api.get("/workflows")
    assert (shown.status, shown.json["items"]) == (200, hitl.json("workflows"))
    assert "of-nobody" in {one["name"] for one in shown.json["items"]}


def test_a_key_starts_a_run_once_and_answers_the_same(api: Api) -> None:
    body = {"id": "ks-1", "workflow": "approval"}
    first = api.post("/runs", body, Idempotency_Key="k")
    again = api.post("/runs", body, Idempotency_Key="k")
    assert (first.status, again.status) == (201, 201)
    assert api.post("/runs", body, Idempotency_Key="other").status == 200
    reused = api.post("/runs", {**body, "deadline": "2d"}, Idempotency_Key="k")
    assert (reused.status, reused.json["type"]) == (422, "urn:hitl:problem:key-reused")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id": ""},
        {"id": "a:b"},
        {"id": " a"},
        {"id": 7},
        {"id": "a", "group": "http://127.0.0.1/"},
        {"id": "a", "group": "a b"},
        {"id": "a", "group": "workers\n"},
        {"id": "a", "deadline": "soon"},
        {"id": "a", "deadline": "-1d"},
        {"id": "a", "kwargs": []},
        {"id": "a", "colour": "red"},
        {"id": "a" * 5_000},
        [],
        None,
    ],
)
def test_a_run_that_cannot_be_is_refused(api: Api, body: Any) -> None:
    before = listed(api, "/runs")
    assert api.post("/runs", b"null" if body is None else body).status == 400
    assert listed(api, "/runs") == before


# Requests


def test_what_waits_is_listed_as_on_the_command_line(api: Api, hitl: Hitl) -> None:
    put(hitl, "l-old", Question(prompt="Old?", to=("reviewer",), priority="urgent"), deadline_ms=9_000_000)
    put(hitl, "l-new", Question(prompt="New?", to=("ada",)), by="lead", tags={"team": "a"})
    put(hitl, "l-free", Question(prompt="Free?"), deadline_ms=8_000_000)
    for query, ids in {
        "": ["l-old", "l-new", "l-free"],
        "&to=reviewer": ["l-old"],
        "&to=reviewer&to=ada": ["l-old", "l-new"],
        "&for=me": ["l-new", "l-free"],
        "&from=lead": ["l-new"],
        "&tag=team%3Da": ["l-new"],
        "&sort=due": ["l-free", "l-old", "l-new"],
        "&sort=priority": ["l-old", "l-new", "l-free"],
        "&priority=urgent": ["l-old"],
        "&due=3h": ["l-old", "l-free"],
        "&older=1d": [],
    }.items():
        assert listed(api, f"/requests?workflow=l-*{query}") == ids, query
    printed = hitl.json("pending", "--workflow", "l-*")
    answered = api.get("/requests?workflow=l-*").json["items"]
    assert [{**one, "age_s": 0} for one in answered] == [{**one, "age_s": 0} for one in printed]


@pytest.mark.parametrize("sort", ["age", "due", "priority"])
def test_pages_go_on_where_the_last_one_ended_whatever_is_settled(api: Api, hitl: Hitl, sort: str) -> None:
    for at in range(7):
        put(hitl, f"{sort}{at}", Question(prompt="?"), deadline_ms=9_000_000 + at)
    seen, path = [], f"/requests?limit=2&sort={sort}&workflow={sort}*"
    while path:
        reply = api.get(path)
        ids = [one["id"] for one in reply.json["items"]]
        seen += ids
        for id in ids[-1:]:
            assert api.post(f"/requests/{id}/decision", {"verdict": "approve"}).status == 200
        following = reply.json["next"]
        assert ("Link" in reply.headers) == (following is not None)
        if following:
            assert f"cursor={following}" in reply.headers["Link"]
        path = f"/requests?limit=2&sort={sort}&workflow={sort}*&cursor={following}" if following else ""
    assert seen == [f"{sort}{at}" for at in range(7)]


def test_history_and_runs_have_pages(api: Api, hitl: Hitl) -> None:
    for at in range(5):
        put(hitl, f"h{at}", Question(prompt="?"))
        api.post(f"/requests/h{at}/decision", {"verdict": "reject", "reason": f"no {at}"})
        api.post("/runs", {"id": f"run{at}"})
    assert listed(api, "/history?workflow=h*&limit=2") == [f"h{at}" for at in range(5)][::-1]
    assert [id for id in listed(api, "/runs?limit=2") if id.startswith("run")] == [
        f"run{at}" for at in range(5)
    ][::-1]
    query, args = "by=ada&outcome=rejected", ["--by", "ada", "--outcome", "rejected", "--all"]
    assert api.get(f"/history?{query}").json["items"] == hitl.json("history", *args)
    assert [one["kind"] for one in api.get("/history?id=h1").json["items"]] == ["decision"]
    assert api.get("/stats").json["outcomes"]["rejected"] >= 5


def listed(api: Api, path: str) -> list[str]:
    """Return the ids of a whole list, page after page."""
    ids: list[str] = []
    following = ""
    while True:
        page = api.get(f"{path}{following}").json
        ids += [one["id"] for one in page["items"]]
        if page["next"] is None:
            return ids
        following = f"{'&' if '?' in path else '?'}cursor={page['next']}"


def test_a_request_is_shown_as_on_the_command_line_and_304_while_it_is_the_same(api: Api, hitl: Hitl) -> None:
    put(hitl, "s1", Question(prompt="Pay?", form=AMOUNT), by="lead", key="pay")
    reply = api.get("/requests/s1")
    shown = hitl.json("show", "s1")
    del shown["answer_with"]
    assert {**reply.json, "age_s": 0} == {**shown, "age_s": 0}
    tag = reply.headers["ETag"]
    assert api.get("/requests/pay").headers["ETag"] == tag
    same = api.get("/requests/s1", If_None_Match=f'"else", {tag}')
    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)
    hitl.ok("comment", "s1", "hm")
    assert api.get("/requests/s1", If_None_Match=tag).status == 200


# Decisions


def test_a_decision_is_made_through_the_api_and_only_once(api: Api, hitl: Hitl) -> None:
    put(hitl, "d1", Question(prompt="Ship?"))
    made = api.post("/requests/d1/decision", {"verdict": "approve", "data": {"n": 1}, "comment": "go"})
    assert made.status == 200
    assert (made.json["by"], made.json["via"], made.json["fresh"]) == ("ada", "api", True)
    assert made.json["data"] == {"n": 1}
    again = api.post("/requests/d1/decision", {"verdict": "approve", "data": {"n": 1}})
    assert (again.status, again.json["fresh"]) == (200, False)
    other = api.post("/requests/d1/decision", {"verdict": "reject"})
    assert (other.status, other.json["type"]) == (409, "urn:hitl:problem:conflict")
    assert other.json["code"] == "already-decided"
    assert "ada" in other.json["detail"]


def test_a_key_decides_once_and_answers_the_same(api: Api, hitl: Hitl) -> None:
    put(hitl, "k1", Question(prompt="Ship?"))
    tag = api.get("/requests/k1").headers["ETag"]
    body = {"verdict": "approve", "comment": "go"}
    first = api.post("/requests/k1/decision", body, Idempotency_Key="k", If_Match=tag)
    again = api.post("/requests/k1/decision", body, Idempotency_Key="k", If_Match=tag)
    assert first.status == again.status == 200
    assert first.json == again.json
    reused = api.post("/requests/k1/decision", {**body, "comment": "stop"}, Idempotency_Key="k")
    assert (reused.status, reused.json["type"]) == (422, "urn:hitl:problem:key-reused")


def test_of_many_who_decide_at_once_at_two_gateways_one_does(
    api: Api, hitl: Hitl, start_gateway: StartGateway
) -> None:
    put(hitl, "t1", Question(prompt="Ship?"))
    both = [api, Api(start_gateway())]

    def decide(at: int, gateway: int) -> Reply:
        verdict = {"verdict": "approve", "data": at} if at % 2 else {"verdict": "reject", "reason": f"{at}"}
        return both[gateway].post("/requests/t1/decision", verdict, Idempotency_Key=f"k{at}")

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(decide, range(8), [0, 0, 1, 1, 0, 0, 1, 1]))
    assert {reply.status for reply in replies} == {200, 409}
    [winner] = [at for at, reply in enumerate(replies) if reply.status == 200 and reply.json["fresh"]]
    assert [decide(winner, gateway).json for gateway in (0, 1)] == [replies[winner].json] * 2


def test_what_a_page_of_another_site_sends_is_not_done(api: Api, hitl: Hitl) -> None:
    put(hitl, "x1", Question(prompt="?"))
    approve = {"verdict": "approve"}
    for headers in ({"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert api.post("/requests/x1/decision", approve, **headers).status == 403
    assert api.get("/requests/x1").json["state"] == "pending"


def test_a_key_votes_once_even_after_the_vote_was_changed(api: Api, hitl: Hitl) -> None:
    put(hitl, "v1", Question(prompt="Two?", approvals=2))
    first = api.post("/requests/v1/decision", {"verdict": "approve"}, Idempotency_Key="k")
    assert (first.json["state"], len(first.json["votes"])) == ("pending", 1)
    assert api.post("/requests/v1/decision", {"verdict": "reject"}, Idempotency_Key="l").status == 200
    again = api.post("/requests/v1/decision", {"verdict": "approve"}, Idempotency_Key="k")
    assert (again.json["decision_id"], again.json["fresh"]) == (first.json["decision_id"], True)
    assert api.get("/requests/v1").json["votes_cast"][0]["verdict"] == "reject"
    assert api.post("/requests/v1/decision", {"verdict": "reject"}, Idempotency_Key="k").status == 422


def test_a_comment_is_kept_once_by_its_key(api: Api, hitl: Hitl) -> None:
    put(hitl, "c1", Question(prompt="?"))
    for _ in range(2):
        reply = api.post("/requests/c1/comments", {"comment": "why?"}, Idempotency_Key="k")
        assert (reply.status, reply.json) == (
            201,
            {"id": "c1", "state": "pending", "by": "ada", "comment": "why?"},
        )
    assert api.post("/requests/c1/comments", {"comment": "so?"}, Idempotency_Key="k").status == 422
    assert [one["text"] for one in hitl.json("show", "c1")["comments"]] == ["why?"]
    assert api.post("/requests/c1/comments", {"comment": " "}).status == 400


def test_a_request_is_claimed_released_and_assigned(api: Api, hitl: Hitl) -> None:
    put(hitl, "a1", Question(prompt="?", to=("ada", "bob"), reassign="assignees", extend=3_600_000))
    claimed = api.post("/requests/a1/claim", {"for": "2h"}).json
    assert (claimed["claimed_by"], claimed["changed"]) == ("ada", True)
    [listed] = [one for one in api.get("/requests").json["items"] if one["id"] == "a1"]
    assert listed["claimed_until"] == claimed["claimed_until"]
    assert api.post("/requests/a1/release", {}).json["claimed_by"] is None
    moved = datetime.fromisoformat(api.post("/requests/a1/extend", {"by": "1h"}).json["deadline"])
    assert moved - datetime.fromisoformat(claimed["deadline"]) == timedelta(hours=1)
    assert api.post("/requests/a1/extend", {"by": "1s"}).status == 400
    assert api.post("/requests/a1/assign", {"to": []}).status == 400
    assert api.post("/requests/a1/assign", {"to": ["cy"], "add": True}).json["to"] == ["ada", "bob", "cy"]
    assert api.post("/requests/a1/assign", {"to": ["cy"]}).json["to"] == ["cy"]
    shown = api.get("/requests/a1").json
    assert [one["kind"] for one in shown["amendments"]] == ["claim", "release", "extend", "assign", "assign"]
    assert (shown["to"], shown["reassign"]) == (["cy"], "assignees")
    assert api.post("/requests/a1/assign", {"to": ["ada"]}).status == 403


def test_a_request_is_asked_back_and_answered_and_a_deputy_stands_in(api: Api, hitl: Hitl) -> None:
    put(hitl, "b1", Question(prompt="?", to=("ada",)), by="ada")
    asked = api.post("/requests/b1/ask-back", {"text": "Which?"})
    assert (asked.status, asked.json["kind"], asked.json["by"]) == (201, "ask-back", "ada")
    assert api.get("/requests/b1").json["asked_back"]["text"] == "Which?"
    assert api.post("/requests/b1/ask-back", {"text": "Who?"}).status == 409
    assert api.post("/requests/b1/answer-back", {"text": "This"}).json["number"] == 2
    assert api.post("/requests/b1/answer-back", {"text": "That"}).status == 409
    shown = api.get("/requests/b1").json
    assert (shown["asked_back"], [one["text"] for one in shown["thread"]]) == (None, ["Which?", "This"])
    gone = api.post("/away", {"until": "2999-01-01T00:00:00Z", "to": "bob"})
    assert (gone.status, gone.json["code"]) == (400, "bad-away")
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert api.post("/away", {"until": until, "to": "bob"}).json["to"] == "bob"
    assert [one["person"] for one in api.get("/away").json["items"]] == ["ada"]
    made = api.post("/requests", {"prompt": "New?", "to": ["ada"]}).json
    assert [one["deputies"] for one in made["away"]] == [["bob"]]
    assert api.ask("DELETE", "/away").json["items"] == []


def test_who_decides_on_what_has_changed_is_told_and_nothing_is_done(api: Api, hitl: Hitl) -> None:
    put(hitl, "w1", Question(prompt="?"))
    tag = api.get("/requests/w1").headers["ETag"]
    hitl.ok("comment", "w1", "wait!")
    for stale in (tag, '"x"', "x", f"W/{tag}"):
        reply = api.post("/requests/w1/decision", {"verdict": "approve"}, If_Match=stale)
        assert reply.status == 412
    assert api.get("/requests/w1").json["state"] == "pending"
    fresh = api.get("/requests/w1").headers["ETag"]
    assert api.post("/requests/w1/decision", {"verdict": "approve"}, If_Match=fresh).status == 200


def test_what_does_not_fit_the_form_is_told_by_field(api: Api, hitl: Hitl) -> None:
    put(hitl, "f1", Question(prompt="Pay?", form=AMOUNT))
    reply = api.post("/requests/f1/decision", {"verdict": "approve", "data": {"amount": 900, "note": 1}})
    assert reply.status == 400
    assert {one["path"] for one in reply.json["errors"]} == {"amount", "note"}
    assert api.get("/requests/f1").json["state"] == "pending"
    assert api.post("/requests/f1/decision", {"verdict": "approve", "data": {"amount": 9}}).status == 200


def test_a_choice_is_answered_by_name(api: Api, hitl: Hitl) -> None:
    put(hitl, "ch1", Question(prompt="?", choices=("ship", "hold")))
    put(hitl, "ch2", Question(prompt="?"))
    assert api.post("/requests/ch1/decision", {"choice": "sink"}).status == 400
    assert api.post("/requests/ch1/decision", {"choice": "hold"}).json["choice"] == "hold"
    assert api.post("/requests/ch2/decision", {"choice": "yes"}).status == 400
    assert api.post("/requests/ch2/decision", {"answer": "no"}).json["state"] == "rejected"


def test_what_is_for_others_is_refused(api: Api, hitl: Hitl) -> None:
    put(hitl, "o1", Question(prompt="?", to=("lead",)))
    reply = api.post("/requests/o1/decision", {"verdict": "approve"})
    assert (reply.status, reply.json["type"]) == (403, "urn:hitl:problem:not-allowed")


# Bad input


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"verdict": "\xff"}',
        b'{"verdict": "approve", "comment": "\\ud800"}',
        b"[]",
        b"null",
        b"[" * 100_000,
        {"verdict": "perhaps"},
        {"verdict": True},
        {"verdict": "approve", "colour": "red"},
        {"verdict": "approve", "reason": "no"},
        {"verdict": "reject", "data": 1},
        {"verdict": "reject", "choice": "a"},
        {"choice": "a", "answer": "b"},
        {"verdict": "approve", "data": {"__type": "error"}},
        {"verdict": "approve", "data": {"a": [{"__py_pickle": "x"}]}},
        {"verdict": "approve", "comment": "x" * 200_000},
        {"verdict": "approve", "data": "x" * 1_000_001},
    ],
    ids=lambda body: str(body)[:30],
)
def test_a_decision_that_makes_no_sense_changes_nothing(api: Api, body: Any) -> None:
    reply = api.post("/requests/r1/decision", body)
    assert reply.status == 400, reply.text
    assert api.get("/requests/r1").json["state"] == "pending"


def test_a_body_that_is_too_big_or_no_json_is_refused(api: Api) -> None:
    assert api.post("/requests/r1/decision", b" " * (3 * 1024 * 1024)).status == 413
    form = api.ask("POST", "/requests/r1/decision", b"verdict=approve", {"Content-Type": "text/plain"})
    assert (form.status, form.json["code"]) == (415, "unsupported-media-type")
    assert api.ask("POST", "/requests/r1/decision").status == 415
    assert api.get("/requests/r1").json["state"] == "pending"


@pytest.mark.parametrize(
    "id", ["nobody", "a/b", "..", "r", "%", "a:b:c", "\u202e", "🙂", "a{b}", "x" * 5_000, "\0"]
)
def test_an_id_that_nothing_has_is_not_found(api: Api, id: str) -> None:
    name = quote(id, safe="") if id != ".." else "%2E%2E%2Fx"
    for path in (f"/requests/{name}", f"/runs/{name}", f"/runs/{name}/steps"):
        assert api.get(path).status in (400, 404), path
    assert api.post(f"/requests/{name}/decision", {"verdict": "approve"}).status in (400, 404)
    assert api.post(f"/requests/{name}/comments", {"comment": "x"}).status in (400, 404)


@pytest.mark.parametrize("id", ["a/b", "100%", "é ü", "q?x#y", "{id}", "🙂:1.2"])
def test_an_odd_id_is_found_when_it_is_quoted(api: Api, hitl: Hitl, id: str) -> None:
    put(hitl, id, Question(prompt="?"))
    assert api.get(f"/requests/{quote(id, safe='')}").json["id"] == id
    assert api.post(f"/requests/{quote(id, safe='')}/decision", {"verdict": "approve"}).json["id"] == id


@pytest.mark.parametrize(
    "path",
    [
        "/requests?limit=0",
        "/requests?limit=-1",
        "/requests?limit=x",
        "/requests?limit=1001",
        "/requests?limit=1&limit=2",
        "/requests?colour=red",
        "/requests?sort=up",
        "/requests?due=soon",
        "/requests?tag=x",
        "/requests?for=me&to=ada",
        "/requests?cursor=x",
        "/requests?cursor=%FF",
        "/requests?cursor=" + "A" * 4_000,
        "/requests/r1?x=1",
        "/runs?state=odd",
        "/history?outcome=maybe",
        "/history?since=-1d",
        "/history?id=r1&cursor=x",
        "/workflows?state=odd",
        "/stats?since=",
    ],
)
def test_a_query_that_makes_no_sense_is_refused(api: Api, path: str) -> None:
    assert api.get(path).status == 400


@pytest.mark.parametrize("most", [-1, 2**64])
@pytest.mark.parametrize(("call", "args"), [("stats", {"ago_ms": 1}), ("steps", {"name": "r1"})])
def test_a_command_that_reads_no_sensible_number_is_refused(
    api: Api, call: str, args: dict[str, Any], most: int
) -> None:
    reply = api.gateway.ask("POST", f"/api/v1/commands/{call}", data={"args": {**args, "most": most}})
    assert (reply.status, reply.json["code"], reply.json["errors"][0]["path"]) == (400, "bad-json", "most")


def test_a_cursor_of_another_list_is_refused(api: Api, hitl: Hitl) -> None:
    for at in range(3):
        put(hitl, f"cu{at}", Question(prompt="?"))
    cursor = api.get("/requests?limit=1").json["next"]
    assert api.get(f"/requests?limit=1&sort=due&cursor={cursor}").status == 400
    assert api.get(f"/runs?cursor={cursor}").status == 400


def test_other_methods_are_told_which_there_are(api: Api) -> None:
    reply = api.ask("DELETE", "/history")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET,HEAD")
    assert (reply.json["status"], reply.json["code"]) == (405, "method-not-allowed")
    head = api.ask("HEAD", "/requests/r1")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["ETag"] == api.get("/requests/r1").headers["ETag"]
    assert api.get("/nowhere").json["title"] == "Not Found"


def test_a_key_that_is_none_is_refused(api: Api) -> None:
    for key in ("", " ", "x" * 300):
        reply = api.post("/requests/r1/decision", {"verdict": "approve"}, Idempotency_Key=key)
        assert reply.status == 400


def test_nobody_who_decides_waits_for_those_who_look_back(
    hitl: Hitl, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = [], threading.Event()

    def endless(*_: object) -> None:
        begun.append(over)
        over.wait(PATIENCE_S)
        raise NotFound("there is nothing to look back at.")

    monkeypatch.setattr("hitl_cli.inbox.stats.stats", endless)
    visited = Visited(hitl)
    try:
        with ThreadPoolExecutor(THREADS + 1) as pool:
            readers = [pool.submit(Browser(visited.address).get, "/api/v1/stats") for _ in range(THREADS + 1)]
            wait_until(lambda: len(begun) == LOOKBACK_THREADS)
            assert [Browser(visited.address).get("/").status for _ in range(5)] == [200] * 5
            assert not any(reader.done() for reader in readers)
            over.set()
    finally:
        over.set()
        visited.stop()


def test_arguments_are_changed_within_their_schema(api: Api, hitl: Hitl) -> None:
    editable = {"properties": {"amount": {"type": "integer", "maximum": 500}}}
    put(hitl, "a", Question(prompt="Pay?", arguments={"amount": 120, "to": "x"}, editable=editable))
    shown = api.get("/requests/a").json
    assert (shown["editable"], [one["default"] for one in shown["fields"]]) == (editable, [120])
    for wrong in ({"amount": 900, "to": "x"}, {"amount": 80, "to": "y"}):
        refused = api.post("/requests/a/decision", {"verdict": "approve", "arguments": wrong})
        assert (refused.status, refused.json["code"]) == (400, "does-not-fit-form")
    said = {"verdict": "approve", "arguments": {"amount": 80, "to": "x"}}
    changes = [{"path": "amount", "before": 120, "now": 80}]
    assert api.post("/requests/a/decision", said).json["changes"] == changes
    assert api.get("/requests/a").json["decision"]["changes"] == changes
    assert api.get("/history").json["items"][0]["changes"] == changes
