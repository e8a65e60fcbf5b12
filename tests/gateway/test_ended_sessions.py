"""Sessions end at all gateways within seconds: by signing out, by a revoked token, by a removed person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.auth import tokens
from hitl_cli.auth.held_decisions import why_ended
from hitl_cli.auth.links import PROGRAM, make, revoke_all, url_of
from hitl_cli.auth.sign_in import link_for, sign
from hitl_cli.client.protocol import search
from hitl_cli.gateway.auth.endings import BELIEVED_S
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.held import HELD_TAG
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import Hitl, wait_until
from tests.gateway.visiting import Browser, Visited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.auth.tokens import Token

URL = "https://hitl.example.org"
SESSION = "__Host-hitl-session"


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Visited, Visited]]:
    """Two gateways of one server."""
    hitl = Hitl(tmp_path_factory.mktemp("ended"))
    both = Visited(hitl, url=URL), Visited(hitl, url=URL)
    yield both
    for one in both:
        one.stop()


def by_token(gateway: Visited, person: str) -> tuple[Browser, Token]:
    """Sign in with a fresh token."""
    with gateway.hitl.client() as client:
        token, text = tokens.create(client, person, ["decide"], life_ms=3_600_000, by="ops")
    browser = Browser(gateway.address)
    form = browser.get("/sign-in")
    assert browser.post("/sign-in", {"csrf": form.csrf, "token": text}).status == 303
    return browser, token


def copied(browser: Browser, gateway: Visited) -> Browser:
    """Return another browser with the same cookies, at a gateway."""
    copy = Browser(gateway.address)
    copy.cookies = dict(browser.cookies)
    return copy


def is_in(browser: Browser) -> bool:
    return browser.get("/nowhere").status == 404


def test_a_copy_of_the_cookie_ends_when_its_owner_signs_out(gateways: tuple[Visited, Visited]) -> None:
    here, there = gateways
    browser, _ = by_token(here, "reviewer")
    other, _ = by_token(here, "reviewer")
    stolen = copied(browser, there)
    assert is_in(stolen)
    browser.post("/sign-out", {"csrf": browser.get("/").csrf})
    there.look_again()
    assert not is_in(stolen)
    assert is_in(other)


def test_a_session_ends_with_the_token_that_began_it(gateways: tuple[Visited, Visited]) -> None:
    here, there = gateways
    browser, token = by_token(here, "lead")
    other, _ = by_token(here, "lead")
    with here.hitl.client() as client:
        tokens.revoke(client, token.id, by="ops")
    wait_until(lambda: not is_in(copied(browser, there)), BELIEVED_S * 3)
    assert is_in(other)


@pytest.mark.parametrize("page", ["/history", "/", "/r/nowhere?tab=1"])
def test_nobody_goes_in_circles_while_one_gateway_has_not_read_that_a_session_ended(
    gateways: tuple[Visited, Visited], page: str
) -> None:
    here, there = gateways
    browser, _ = by_token(here, "leaver")
    kept = browser.cookies[SESSION]
    stale = copied(browser, there)
    browser.post("/sign-out", {"csrf": browser.get("/").csrf})
    browser.cookies[SESSION] = kept
    here.look_again()
    believe(there)
    # A proxy asks one gateway for the page, and the other one for the sign-in page.
    location = browser.get(page).headers["Location"]
    assert location.startswith("/sign-in")
    back = stale.get(location)
    assert (back.status, back.headers["Location"]) == (303, page)
    assert browser.get(page).headers["Location"] == location
    refused = stale.get(location)
    assert refused.status == 403
    assert refused.csrf
    there.look_again()
    assert not is_in(stale)


def test_the_sign_in_page_leads_to_each_wanted_page(gateways: tuple[Visited, Visited]) -> None:
    browser, _ = by_token(gateways[0], "reader")
    for wanted in ("/history", "/runs"):
        assert browser.get(f"/sign-in?next={wanted}").headers["Location"] == wanted


def believe(gateway: Visited) -> None:
    """Let a gateway keep to what it has read last about ended sessions, until it is to look again."""
    assert gateway.gateway is not None
    gateway.gateway.endings._until = float("inf")


def test_a_removed_person_can_act_nowhere_with_what_they_had(gateways: tuple[Visited, Visited]) -> None:
    here, there = gateways
    hitl = here.hitl
    for id in ("for-ada", "for-bob"):
        put(hitl, id, Question(prompt="Ship?", to=("ada", "bob")))
    ada, token = by_token(here, "ada")
    bob, _ = by_token(here, "bob")
    with hitl.client() as client:
        text = tokens.create(client, "ada", ["decide"], life_ms=3_600_000, by="ops")[1]
    mailed = f"/sign-in/{sign(link_for('ada', here.now(), '/'), here.keys)}"
    links = {who: here.link(f"for-{who}", who) for who in ("ada", "bob")}
    with hitl.client() as client:
        link = make(client, "for-ada", "ada")
    answer = url_of("", link, here.keys, PROGRAM)
    stolen = copied(ada, there)
    assert is_in(stolen)
    assert stolen.get("/history").status == 200
    removed = hitl.json("people", "remove", "ada")
    assert (removed["person"], len(removed["tokens"])) == ("ada", 2)
    assert token.id in removed["tokens"]
    for gateway in gateways:
        browser = Browser(gateway.address)
        gateway.look_again()
        assert is_refused(browser, text)
        assert browser.get(links["ada"]).code == "link-expired"
        assert browser.answer(links["bob"], "comment", comment="hello").status == 303
        page = browser.post(answer, {"verdict": "approve"}, Accept="application/json")
        assert "link-expired" in page.text
        page = browser.get(mailed)
        assert browser.post(mailed, {"csrf": page.csrf}).code == "link-expired"
    assert not is_in(stolen)
    assert not is_in(ada)
    assert is_in(bob)
    assert Browser(there.address).get(here.link("for-ada", "ada")).status == 200  # made since
    assert hitl.json("people", "remove", "ada")["tokens"] == []
    hitl.fails(2, "people", "remove", "group:ops", code="bad-name")


def is_refused(browser: Browser, token: str) -> bool:
    """Whether the gateway refuses a token."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    return browser.ask("GET", "/api/v1/me", headers=headers).status == 401


def test_a_held_decision_ends_with_the_token_or_the_link_that_it_was_made_with(
    gateways: tuple[Visited, Visited],
) -> None:
    here, _ = gateways
    browser, token = by_token(here, "reviewer")
    guest = Browser(here.address)
    for id in ("held-token", "held-link"):
        put(here.hitl, id, Question(prompt="?"))
    assert browser.answer("/r/held-token", hold="1").status == 303
    assert guest.answer(here.link("held-link", "reviewer"), hold="1").status == 303
    with here.hitl.client() as client:
        ids = [one.id for one in search(client, state="pending", tags={HELD_TAG: "1"})]
        every = Inbox(client, Actor(person="reviewer", via="web")).held(ids)
        assert {one.request: why_ended(client, one, NO_GROUPS) for one in every} == {
            "held-token": None,
            "held-link": None,
        }
        tokens.revoke(client, token.id, by="ops")
        revoke_all(client, "held-link", None, by="ops", via="cli")
        assert all(why_ended(client, one, NO_GROUPS) for one in every)
