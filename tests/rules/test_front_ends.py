"""Standing rules from the command line, the pages, the API and workflows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli import Hitl as Program
from hitl_cli.people.actor import Actor
from hitl_cli.requests.question import Offer, Question
from hitl_cli.rules.rule import NewRule
from hitl_cli.rules.rules import Rules
from tests.cli.requests import put
from tests.gateway.conftest import begin_gateway
from tests.gateway.desk import Desk
from tests.gateway.test_asking import with_token
from tests.recovery.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl

HOUR_MS = 3_600_000
STATUS = {"tool": "Bash", "input": {"command": "git status"}, "cwd": "/srv/app"}
WHERE = {"tool": "Bash", "input.command": "git status*"}
OFFER = Offer(where={**WHERE, "cwd": "/srv/app"}, longest=8 * HOUR_MS)


def ask(hitl: Hitl, id: str, arguments: Any = STATUS) -> dict[str, Any]:
    hitl.ok("ask", "Run it?", "--as", "agent", "--id", id, "--no-wait", "--arguments", json.dumps(arguments))
    shown: dict[str, Any] = hitl.json("show", id)
    return shown


# The command line


def test_a_rule_is_added_listed_used_and_removed(hitl: Hitl) -> None:
    made = hitl.json("rule", "add", "--tool", "Bash", "--match", "git status*", "--for", "8h", "--by", "lead")
    assert (made["by"], made["where"], made["verdict"], made["state"]) == ("lead", WHERE, "approve", "valid")
    assert hitl.json("rule", "list") == [made]
    decision = ask(hitl, "q")["decision"]
    assert (decision["by"], decision["via"], decision["rule"]) == ("lead", "rule", made["id"])
    [entry] = hitl.json("history")
    assert (entry["id"], entry["rule"]) == ("q", made["id"])
    assert made["id"] in hitl.ok("history")
    assert made["id"] in hitl.ok("show", "q")
    hitl.fails(7, "rule", "remove", made["id"], "--as", "ada", code="not-author")
    hitl.ok("rule", "remove", made["id"], "--as", "lead")
    assert hitl.json("rule", "list") == []
    assert ask(hitl, "later")["decision"] is None


def test_a_rule_that_rejects_names_other_arguments(hitl: Hitl) -> None:
    hitl.ok(
        "rule", "add", "--where", "tool=refund", "--where", "input.amount=20", "--where", "input.to=a=b",
        "--deny", "--reason", "not today", "--from", "agent", "--as", "lead",
    )  # fmt: skip
    refund = {"tool": "refund", "input": {"amount": 20, "to": "a=b"}}
    done = hitl.run("ask", "?", "--as", "agent", "--id", "q", "--arguments", json.dumps(refund))
    assert done.returncode == 1
    assert hitl.json("show", "q")["decision"]["reason"] == "not today"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((), "bad-rule"),
        (("--match", "ls"), "bad-rule"),
        (("--tool", "Bash", "--match", "a; b"), "bad-rule"),
        (("--tool", "Bash"), "bad-rule"),
        (("--where", "nonsense"), "bad-usage"),
        (("--where", "cwd=/srv", "--where", "cwd=/"), "bad-usage"),
        (("--tool", "Read", "--for", "31d"), "bad-duration"),
        (("--tool", "Read", "--for", "soon"), "bad-duration"),
        (("--tool", "Read", "--reason", "x"), "bad-rule"),
    ],
)
def test_a_bad_rule_is_refused(hitl: Hitl, args: tuple[str, ...], code: str) -> None:
    hitl.fails(2, "rule", "add", *args, code=code)


def test_an_approval_makes_the_rule_that_is_offered(hitl: Hitl) -> None:
    put(hitl, "q", Question(prompt="Run it?", arguments=STATUS, offer=OFFER), by="agent")
    assert "git status*" in hitl.ok("show", "q")
    assert hitl.json("show", "q")["offer"] == {"where": OFFER.where, "longest_s": 28_800}
    hitl.fails(2, "approve", "q", "--for", "9h", "--as", "lead", code="no-rule-offered")
    done = hitl.json("approve", "q", "--for", "8h", "--as", "lead")
    assert (done["new_rule"]["by"], done["new_rule"]["asker"]) == ("lead", "agent")
    assert ask(hitl, "next")["decision"]["rule"] == done["new_rule"]["id"]


def test_a_script_offers_a_rule(hitl: Hitl) -> None:
    offer = json.dumps({"where": WHERE, "longest": "1h"})
    args = ("--arguments", json.dumps(STATUS), "--no-wait", "--as", "agent")
    hitl.ok("ask", "Run it?", "--id", "q", "--offer", offer, *args)
    assert hitl.json("approve", "q", "--for", "1h", "--as", "lead")["new_rule"]["where"] == WHERE
    for wrong, code in (("[]", "bad-question"), ("{", "bad-json"), ('{"where": {"a": 1}}', "bad-question")):
        hitl.fails(2, "ask", "Run it?", "--id", "r", "--offer", wrong, *args, code=code)


def test_a_program_offers_a_rule(hitl: Hitl) -> None:
    with Program(hitl.url, person="agent") as program:
        program.put("Run it?", id="q", arguments=STATUS, offer={"where": WHERE, "longest": "1h"})
        hitl.ok("approve", "q", "--for", "1h", "--as", "lead")
        again = program.ask("Run it?", id="r", arguments=STATUS)
    assert (again.by, again.via) == ("lead", "rule")


# Pages


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A gateway on this machine, where `ada` acts."""
    shared = Desk(tmp_path_factory.mktemp("desk"))
    yield shared
    shared.gateway.clear_away()


def test_the_page_shows_what_a_rule_would_match_and_makes_it(desk: Desk) -> None:
    path = desk.put("q", Question(prompt="Run it?", arguments=STATUS, offer=OFFER), by="agent")
    page = desk.get(path)
    button = page.control("for")
    for text in (*OFFER.where.values(), "agent"):
        assert text in page.text
    assert button["value"] == f"{8 * HOUR_MS}ms"
    decided = desk.taken(path, [("for", str(button["value"]))])
    assert not decided.has("for")
    [made] = desk.hitl.json("rule", "list")
    assert (made["by"], made["asker"]) == ("ada", "agent")
    rules = desk.get("/rules")
    assert made["id"] in rules.text
    assert "git status*" in rules.text
    assert ask(desk.hitl, "next")["decision"]["rule"] == made["id"]
    assert made["id"] in desk.get("/r/next").text
    assert desk.gateway.ask("POST", f"/rules/{made['id']}/remove", data=b"").status == 403
    csrf = desk.get("/rules").control("csrf")["value"]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    gone = desk.gateway.ask(
        "POST", f"/rules/{made['id']}/remove", data=f"csrf={csrf}".encode(), headers=headers
    )
    assert (gone.status, gone.headers["Location"]) == (303, "/rules")
    assert desk.hitl.json("rule", "list") == []


def test_the_page_offers_nothing_to_who_asked_and_nothing_for_what_it_does_not_show(desk: Desk) -> None:
    own = desk.put("own", Question(prompt="?", arguments=STATUS, offer=OFFER), by="ada")
    other = Question(prompt="?", arguments={**STATUS, "cwd": "/srv/other"}, offer=OFFER)
    wide = Question(prompt="?", arguments=STATUS, offer=Offer(where={"tool": "Bash"}, longest=HOUR_MS))
    for path in (own, desk.put("other", other, by="agent"), desk.put("wide", wide, by="agent")):
        assert not desk.get(path).has("for")
        desk.refused(400, path, "no-rule-offered", **{"for": "1h"})


def test_the_page_shows_the_rules_of_the_visitor_only(desk: Desk) -> None:
    with desk.hitl.client() as client:
        lead = Rules(client, Actor(person="lead", via="test"))
        hostile = NewRule(verdict="reject", where={"tool": "x"}, reason="<script>alert(1)</script>")
        theirs = lead.add(hostile, life_ms=HOUR_MS)
        mine = Rules(client, Actor(person="ada", via="test")).add(hostile, life_ms=HOUR_MS)
    page = desk.get("/rules")
    assert mine.id in page.text
    assert theirs.id not in page.text
    assert "<script>alert" not in page.source


# The API


def test_the_api_has_rules_for_people_and_none_for_agents(hitl: Hitl) -> None:
    gateway = begin_gateway(hitl, "--sign-in")
    try:
        can = {"lead": ["decide"], "agent": ["ask", "start"], "auditor": ["read"]}
        api = {person: with_token(hitl, gateway, person, *allowed) for person, allowed in can.items()}
        body = {"tool": "Bash", "match": "git status*", "where": {"cwd": "/srv/app"}, "for": "8h"}
        made = api["lead"].post("/rules", body)
        assert (made.status, made.json["by"]) == (201, "lead")
        id = made.json["id"]
        assert api["auditor"].get("/rules").json["items"] == [made.json]
        for person, method, path in (
            ("agent", "GET", "/rules"),
            ("agent", "POST", "/rules"),
            ("agent", "DELETE", f"/rules/{id}"),
            ("auditor", "POST", "/rules"),
            ("auditor", "DELETE", f"/rules/{id}"),
        ):
            refused = api[person].ask(method, path, data=body if method == "POST" else None)
            assert (refused.status, refused.json["code"]) == (403, "permission-missing"), (person, method)
        question = {"id": "q", "prompt": "Run it?", "arguments": STATUS}
        asked = api["agent"].post("/requests", question)
        assert (asked.status, asked.json["decision"]["rule"]) == (201, id)
        waited = api["agent"].get("/requests/q?wait=30s").json
        assert (waited["decision"]["by"], waited["decision"]["via"]) == ("lead", "rule")
        offer = {"where": WHERE, "longest": "1h"}
        other = {**STATUS, "cwd": "/srv/other"}
        api["agent"].post("/requests", {"id": "r", "prompt": "?", "arguments": other, "offer": offer})
        done = api["lead"].post("/requests/r/decision", {"verdict": "approve", "for": "1h"})
        assert (done.status, done.json["new_rule"]["where"]) == (200, WHERE)
        for more in ({}, {"tool": "Bash"}):
            assert api["lead"].post("/rules", {"for": "1h"} | more).json["code"] == "bad-rule"
        assert api["lead"].ask("DELETE", f"/rules/{id}").json["state"] == "removed"
        assert len(api["lead"].get("/rules?all=true").json["items"]) == 2
    finally:
        gateway.clear_away()


# Workflows


def test_a_rule_decides_what_a_workflow_asks_and_nobody_is_notified(hitl: Hitl) -> None:
    crew = Crew(hitl)
    try:
        crew.worker()
        lead = Rules(crew.client, Actor(person="lead", via="test"))
        made = lead.add(NewRule(where={"input.amount": 20}), life_ms=HOUR_MS)
        crew.begin("r", "asks", {"prompt": "?", "arguments": {"input": {"amount": 20}}}, by="agent")
        told = crew.result("r")
        assert (told["approved"], told["by"], told["via"]) == (True, "lead", "rule")
        assert hitl.json("history")[0]["rule"] == made.id
    finally:
        crew.close()


OFFERED = {"where": {"amount": 20}, "longest": "8h"}


def test_a_workflow_offers_a_rule_for_its_next_runs(hitl: Hitl) -> None:
    crew, name = Crew(hitl), "ask"  # of every language
    try:
        crew.worker()
        crew.begin("r", name, {"prompt": "?", "arguments": {"amount": 20}, "offer": OFFERED}, by="agent")
        id = crew.asked()
        assert hitl.json("show", id)["offer"] == {"where": {"amount": 20}, "longest_s": 28_800}
        made = hitl.json("approve", id, "--for", "1h", "--as", "lead")["new_rule"]
        assert (made["workflow"], made["asker"]) == (name, "agent")
        crew.result("r")
        crew.begin("next", name, {"prompt": "?", "arguments": {"amount": 20}}, by="agent")
        assert crew.result("next")["via"] == "rule"
    finally:
        crew.close()
