"""Answer URLs: a program posts the answer to one request, as the person that the URL was made for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from hitl_cli.auth.links import PAGE, PROGRAM, link_for, make, url_of
from hitl_cli.auth.signing_keys import load_keys
from hitl_cli.errors import NotAllowed
from hitl_cli.notify.compose import compose, look_up
from hitl_cli.notify.messages import Message
from hitl_cli.people.contacts import Directory, NotificationSettings
from hitl_cli.requests.demand import Demand
from hitl_cli.requests.notification import Notification
from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import wait_until
from tests.gateway.conftest import begin_gateway
from tests.gateway.test_api import Api
from tests.gateway.test_asking import with_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.gateway.conftest import GatewayProcess, Reply

ASKED = Question(prompt="Ship 1.4.2?", to=("reviewer", "lead"))
APPROVE = {"verdict": "approve"}


@pytest.fixture(scope="module")
def hitl(shared_hitl: Hitl) -> Hitl:
    return shared_hitl


@pytest.fixture(scope="module")
def gateway(hitl: Hitl) -> Iterator[GatewayProcess]:
    """A gateway where people sign in."""
    gateway = begin_gateway(hitl, "--sign-in")
    yield gateway
    gateway.clear_away()


@pytest.fixture
def id(hitl: Hitl, request: pytest.FixtureRequest) -> str:
    """A request of the test's own."""
    return put(hitl, request.node.name.replace("[", "-").replace("]", ""), ASKED).id


def url_for(hitl: Hitl, id: str, person: str = "reviewer", *more: str) -> str:
    """Return the path of an answer URL that `hitl link --post` makes."""
    return urlsplit(hitl.ok("link", id, "--for", person, "--post", *more).strip()).path


def said(gateway: GatewayProcess, id: str) -> Any:
    """Return the decision on a request."""
    return Api(gateway, {}).get(f"/requests/{quote(id, safe='')}").json


def test_a_posted_answer_decides_as_the_person_of_the_url(
    hitl: Hitl, gateway: GatewayProcess, id: str
) -> None:
    path = url_for(hitl, id)
    assert path.startswith("/api/v1/answers/")
    made = gateway.post(path, APPROVE | {"comment": "all green"})
    assert (made.status, made.json["by"], made.json["via"]) == (200, "reviewer", "answer-url")
    again = gateway.post(path, APPROVE | {"comment": "all green"})
    assert (again.status, again.json["fresh"]) == (200, False)
    other = gateway.post(path, {"verdict": "reject"})
    assert (other.status, other.json["code"]) == (409, "already-decided")
    assert hitl.json("history")[0]["via"] == "answer-url"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_post_is_taken(hitl: Hitl, gateway: GatewayProcess, id: str, method: str) -> None:
    path = url_for(hitl, id)
    refused = gateway.ask(method, path, headers={"Accept": "text/html"})
    assert (refused.status, refused.headers["Allow"]) == (405, "POST")
    assert hitl.json("show", id)["state"] == "pending"


def test_a_form_is_taken_as_well(hitl: Hitl, gateway: GatewayProcess) -> None:
    form = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
    put(hitl, "form", Question(prompt="How much?", form=form, to=("reviewer",)))
    path = url_for(hitl, "form")
    for given, code in (
        ({"verdict": "approve", "data": '{"amount": '}, "bad-json"),
        ({"verdict": "approve", "data": '{"amount": "x"}'}, "does-not-fit-form"),
        ({"verdict": "maybe"}, "bad-json"),
        ({"verdict": "approve", "unknown": "1"}, "bad-json"),
        ({}, "bad-answer"),
    ):
        refused = gateway.ask("POST", path, form=given)
        assert (refused.status, refused.json["code"]) == (400, code)
    twice = urlencode([("verdict", "approve"), ("verdict", "reject")]).encode()
    form_type = {"Content-Type": "application/x-www-form-urlencoded"}
    assert gateway.ask("POST", path, data=twice, headers=form_type).status == 400
    taken = gateway.ask("POST", path, form={"verdict": "approve", "data": '{"amount": 7}', "comment": "ok"})
    assert (taken.status, taken.json["data"]) == (200, {"amount": 7})
    put(hitl, "exact", Question(prompt="?", arguments={"n": 1}, to=("reviewer",)))
    path = url_for(hitl, "exact")
    other = gateway.ask("POST", path, form={"verdict": "approve", "arguments": '{"n": 2}'})
    assert (other.status, other.json["code"]) == (400, "bad-answer")
    assert gateway.ask("POST", path, form={"verdict": "approve", "arguments": '{"n": 1}'}).status == 200


def test_other_bodies_are_refused(hitl: Hitl, gateway: GatewayProcess, id: str) -> None:
    path = url_for(hitl, id)
    plain = gateway.ask("POST", path, data=b'{"verdict": "approve"}', headers={"Content-Type": "text/plain"})
    assert plain.status == 415
    for body in (b"", b"{", b"[]", b'{"verdict": "approve", "by": "lead"}', b"\xff", b"[" * 5_000):
        refused = gateway.ask("POST", path, data=body, headers={"Content-Type": "application/json"})
        assert refused.status == 400, body
    foreign = gateway.post(path, APPROVE, Origin="https://evil.example")
    assert (foreign.status, foreign.json["code"]) == (403, "cross-site")
    assert hitl.json("show", id)["state"] == "pending"


def test_the_url_of_a_page_is_no_answer_url_and_the_other_way_round(
    hitl: Hitl, gateway: GatewayProcess, id: str
) -> None:
    with hitl.client() as client:
        link = make(client, id, "reviewer")
        keys = load_keys(hitl.keys, client.now())
    page, program = url_of("", link, keys, PAGE), url_of("", link, keys, PROGRAM)
    swapped = gateway.post(page.replace(PAGE.path, PROGRAM.path), APPROVE)
    assert (swapped.status, swapped.json["code"]) == (403, "link-invalid")
    assert gateway.get(program.replace(PROGRAM.path, PAGE.path)).status == 403
    changed = gateway.post(program[:-2], APPROVE)
    assert (changed.status, changed.json["code"]) == (403, "link-invalid")
    assert hitl.json("show", id)["state"] == "pending"


def ended(gateway: GatewayProcess, path: str, status: int, code: str) -> None:
    refused: Reply = gateway.post(path, APPROVE)
    assert (refused.status, refused.json["code"]) == (status, code)


def test_it_ends_with_the_request(hitl: Hitl, gateway: GatewayProcess) -> None:
    for id in ("decided", "canceled"):
        put(hitl, id, ASKED)
    paths = {id: url_for(hitl, id) for id in ("decided", "canceled")}
    late = put(hitl, "late", ASKED, deadline_ms=1)
    with hitl.client() as client:
        keys = load_keys(hitl.keys, client.now())
    paths["late"] = url_of("", link_for(late, "reviewer", now=late.created_at), keys, PROGRAM)
    hitl.ok("reject", "decided", "--as", "lead")
    hitl.ok("cancel", "canceled")
    ended(gateway, paths["decided"], 409, "link-used")
    ended(gateway, paths["canceled"], 409, "link-used")
    wait_until(lambda: hitl.json("show", "late")["state"] != "pending")
    ended(gateway, paths["late"], 409, "link-used")


def test_it_ends_by_itself_and_is_revoked(hitl: Hitl, gateway: GatewayProcess, id: str) -> None:
    short = url_for(hitl, id, "reviewer", "--expires", "1ms")
    ended(gateway, short, 410, "link-expired")
    one, other = url_for(hitl, id), url_for(hitl, id, "lead")
    hitl.ok("link", "revoke", f"https://hitl.example.org{one}")
    ended(gateway, one, 410, "link-expired")
    hitl.ok("link", "revoke", id)
    ended(gateway, other, 410, "link-expired")
    assert hitl.json("show", id)["state"] == "pending"
    assert gateway.post(url_for(hitl, id), APPROVE).status == 200


def test_none_is_made_for_who_may_not_answer(hitl: Hitl) -> None:
    put(hitl, "alone", Question(prompt="?", to=("reviewer",), allow_self=False), by="reviewer")
    hitl.fails(7, "link", "alone", "--for", "reviewer", "--post", code="self-approval")
    hitl.fails(7, "link", "alone", "--for", "guest", "--post", code="not-assignee")
    hitl.fails(2, "link", "alone", "--for", "reviewer", "--post", "--qr", code="bad-usage")


# Over the API


def test_who_may_decide_makes_one_for_themselves(hitl: Hitl, gateway: GatewayProcess, id: str) -> None:
    reviewer = with_token(hitl, gateway, "reviewer", "decide")
    path = f"/requests/{quote(id, safe='')}/answer-url"
    made = reviewer.post(path, {"expires": "1h"})
    assert (made.status, made.json["person"], made.json["request"]) == (201, "reviewer", id)
    assert made.json["url"].startswith(f"{gateway.url}/api/v1/answers/")
    assert reviewer.post(path, {"expires": "900d"}).json["code"] == "bad-duration"
    assert reviewer.post(path, {"person": "lead"}).json["code"] == "bad-json"
    assert reviewer.post("/requests/nothing/answer-url", {}).status == 404
    guest = with_token(hitl, gateway, "guest", "decide")
    assert guest.post(path, {}).json["code"] == "not-assignee"
    assert gateway.post(urlsplit(made.json["url"]).path, APPROVE).json["by"] == "reviewer"
    assert reviewer.post(path, {}).status == 409


def test_who_may_only_ask_makes_none_not_even_for_a_request_of_its_own(
    hitl: Hitl, gateway: GatewayProcess
) -> None:
    for can in ("ask", "start", "read"):
        program = with_token(hitl, gateway, f"agent-{can}", can)
        if can != "read":
            assert program.post("/requests", {"id": f"own-{can}", "prompt": "?"}).status == 201
        refused = program.post(f"/requests/own-{can}/answer-url", {})
        assert (refused.status, refused.json["code"]) == (403, "permission-missing")


def test_none_is_made_for_what_needs_a_signature(hitl: Hitl, gateway: GatewayProcess) -> None:
    put(hitl, "signed", Question(prompt="?", proof="signed"), by="agent")
    reviewer = with_token(hitl, gateway, "reviewer", "decide")
    assert reviewer.post("/requests/signed/answer-url", {}).json["code"] == "proof-needed"
    hitl.fails(7, "link", "signed", "--for", "reviewer", "--post", code="proof-needed")
    assert "/l/" in hitl.ok("link", "signed", "--for", "reviewer")
    put(hitl, "pay-7", Question(prompt="?"), by="agent")
    strict = Directory(policy={"pay-*": Demand(proof="signed")})
    with hitl.client() as client:
        for id, directory in (("signed", Directory()), ("pay-7", strict), ("pay-7", Directory())):
            notice = Notification(request=id, occasion="asked")
            reach = NotificationSettings(directory=directory, keys=hitl.keys)
            told = compose(look_up(client, [id])[id], notice, "reviewer", reach)
            assert isinstance(told, Message)
            demanded = id == "signed" or directory is strict
            assert (told.items[0].answer_url is None) is demanded
            assert (told.items[0].question.proof == "signed") is demanded
        with pytest.raises(NotAllowed):
            make(client, "pay-7", "reviewer", groups=strict.members, kind=PROGRAM)


def test_who_asked_without_a_run_is_sent_no_link_that_decides(hitl: Hitl) -> None:
    put(hitl, "mine", Question(prompt="?", to=("agent", "reviewer")), by="agent")
    reach = NotificationSettings(directory=Directory(), keys=hitl.keys)
    with hitl.client() as client:
        case = look_up(client, ["mine"])["mine"]
    for who, is_link in (("Agent", False), ("reviewer", True)):
        told = compose(case, Notification(request="mine", occasion="asked"), who, reach)
        assert isinstance(told, Message)
        assert ("/l/" in told.items[0].url) is is_link
        assert told.items[0].url.endswith("/r/mine") is not is_link


def test_a_webhook_has_one_unless_it_is_for_who_asked(hitl: Hitl, gateway: GatewayProcess) -> None:
    put(hitl, "told", Question(prompt="?"), by="agent")
    reach = NotificationSettings(directory=Directory(), keys=hitl.keys)
    notice = Notification(request="told", occasion="asked")
    with hitl.client() as client:
        case = look_up(client, ["told"])["told"]
    found = {who: compose(case, notice, who, reach) for who in ("reviewer", "Agent", "group:ops")}
    urls = {who: one.items[0].answer_url for who, one in found.items() if isinstance(one, Message)}
    assert (urls["Agent"], urls["group:ops"]) == (None, None)
    assert gateway.post(urlsplit(urls["reviewer"] or "").path, APPROVE).json["by"] == "reviewer"
