"""What follows a decision on a page: the next request, and an undo for some seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import audit_of
from hitl_cli.gateway.pages import held as held_page
from hitl_cli.inbox.held import LEFT_MS
from hitl_cli.people.contacts import Contact, Directory, GroupContact
from hitl_cli.requests.question import Question
from tests.acting import decide, rejection
from tests.cli.requests import promise_now, put
from tests.conftest import Hitl, wait_until
from tests.gateway.browser import IN_A_BROWSER, PHONE, Screen, check_accessible, check_narrow
from tests.gateway.conftest import begin_gateway
from tests.gateway.visiting import Browser, Visited, packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.conftest import OpenVisit

FORM = {"type": "object", "properties": {"note": {"type": "string", "title": "Note"}}}


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    gateway = Visited(Hitl(tmp_path_factory.mktemp("undo")))
    yield gateway
    gateway.stop()


def ask(hitl: Hitl, *ids: str, form: object = None) -> None:
    for id in ids:
        put(hitl, id, Question(prompt=f"May {id}?", form=form))  # type: ignore[arg-type]


def looking(visited: Visited, text: str) -> Browser:
    """Return a browser that remembers a filter: the tests share a gateway."""
    browser = Browser(visited.address)
    browser.get(f"/?q={text}-")
    return browser


def is_open(visited: Visited, id: str) -> bool:
    return bool(promise_now(visited.hitl, id)["state"] == "pending")


def held_in(text: str) -> str:
    """Return what the page's button sends to undo a decision."""
    return text.partition('name="held" value="')[2].partition('"')[0]


def test_a_decision_leads_to_the_next_request_and_is_undone_there(visited: Visited) -> None:
    ask(visited.hitl, "a-1", "a-2", "a-3", form=FORM)
    browser = looking(visited, "a")
    sent = {"hold": "1", "comment": "so be it", "field:note": "typed"}
    assert browser.answer("/r/a-1", **sent).headers["Location"] == "/r/a-2"
    assert browser.answer("/r/a-2", verdict="reject", hold="1").headers["Location"] == "/r/a-3"
    page = browser.get("/r/a-3")
    assert 'You rejected <a href="/r/a-2">May a-2?</a>' in " ".join(page.main.split())
    assert "May a-2?" in page.main
    assert "1 more match" not in page.main  # those that are held do not wait
    assert "recorded in a moment" in browser.get("/r/a-1").main
    assert is_open(visited, "a-1")
    assert is_open(visited, "a-2")
    undone = browser.answer("/r/a-2", verdict="undo", held=held_in(page.text))
    assert undone.headers["Location"].startswith("/r/a-2?undone=")
    page = browser.get(undone.headers["Location"])
    assert "Undone" in page.main
    assert '<button name="verdict" value="approve"' in page.main


def test_what_was_undone_is_filled_in_again(visited: Visited) -> None:
    ask(visited.hitl, "b-1", form=FORM)
    browser = looking(visited, "b")
    assert browser.answer("/r/b-1", hold="1", comment="so be it", **{"field:note": "typed"}).status == 303
    undone = browser.answer("/r/b-1", verdict="undo", held=held_in(browser.get("/?all=0").text))
    page = browser.get(undone.headers["Location"]).main
    assert "so be it" in page
    assert 'value="typed"' in page


def test_without_script_a_decision_is_made_at_once_and_offers_the_next(visited: Visited) -> None:
    ask(visited.hitl, "c-1", "c-2", "c-3")
    browser = looking(visited, "c")
    assert browser.answer("/r/c-2").headers["Location"] == "/r/c-2"
    assert not is_open(visited, "c-2")
    page = browser.get("/r/c-2").main
    assert 'rel="next" href="/r/c-3"' in page  # in the order of the inbox, and then from its beginning
    assert 'rel="next" href="/r/c-1"' in browser.get("/r/c-3").main
    assert "2 more match your filter" in page


def test_a_link_holds_and_undoes_its_own_request_only(visited: Visited) -> None:
    ask(visited.hitl, "d-1", "d-2")
    browser = looking(visited, "d")
    path = visited.link("d-1", "reviewer")
    assert browser.answer(path, hold="1").headers["Location"] == path
    page = browser.get(path)
    assert "May d-2?" not in page.text
    assert '<button name="verdict" value="approve"' not in page.main
    other = visited.link("d-2", "reviewer")
    form = {"csrf": browser.get(other).csrf, "verdict": "undo", "held": held_in(page.text)}
    assert browser.post(other, form).status == 403
    assert browser.answer(path, verdict="undo", held=held_in(page.text)).status == 303
    assert is_open(visited, "d-1")


def test_who_is_taken_out_of_a_group_meanwhile_has_not_decided(
    hitl: Hitl, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = {"owner": Contact(), "lead": Contact()}
    known = [Directory(people=people, groups={"ops": GroupContact(members=("owner", "lead"))})]
    make = held_page._make

    async def later(*args: Any) -> None:
        known[0] = Directory(people=people, groups={"ops": GroupContact(members=("lead",))})
        await make(*args)

    monkeypatch.setattr(held_page, "DUE_MS", 0)
    monkeypatch.setattr(held_page, "_make", later)
    put(hitl, "g-1", Question(prompt="?", to=("group:ops",)))
    visited = Visited(hitl, live=lambda: known[0])
    try:
        browser = Browser(visited.address)
        assert browser.answer("/r/g-1", hold="1").status == 303
        wait_until(lambda: "owner cannot" in browser.get("/?all=0").main)
    finally:
        visited.stop()
    assert is_open(visited, "g-1")


def test_any_gateway_shows_and_undoes_it(visited: Visited) -> None:
    ask(visited.hitl, "e-1")
    browser = looking(visited, "e")
    browser.answer("/r/e-1", hold="1")
    other = Visited(visited.hitl)
    try:
        second = Browser(other.address)
        second.cookies = dict(browser.cookies)
        held = held_in(second.get("/?all=0").text)
        assert second.answer("/r/e-1", verdict="undo", held=held).status == 303
    finally:
        other.stop()


def test_many_are_held_and_undone_together_and_one_that_has_changed_is_told(visited: Visited) -> None:
    ask(visited.hitl, "m-1", "m-2", "m-3")
    put(visited.hitl, "m-4", Question(prompt="May m-4?"), deadline_ms=5_000)
    browser = looking(visited, "m")
    form = [("csrf", browser.get("/?q=m-").csrf), ("verdict", "approve")]
    table = browser.post("/many", [*form, ("every", "q=m-")])
    assert table.heading == "Approve 3 requests?"
    assert "deadline is within seconds" in table.main
    chosen = table.main.partition('name="chosen" value="')[2].partition('"')[0]
    with visited.hitl.client() as client:
        decide(client, "m-2", rejection(by="lead", via="cli", reason="no"))
    assert browser.post("/many", [*form, ("chosen", chosen), ("confirm", "1")]).headers["Location"] == "/"
    page = browser.get("/?q=m-")
    assert "You approved 2 requests" in " ".join(page.main.split())
    assert "1 request could not be decided" in page.main
    assert "recorded in a moment" in browser.get("/r/m-3").main
    undone = browser.post("/r/m-1", [*form[:1], ("verdict", "undo"), ("held", held_in(page.text))])
    assert undone.headers["Location"] == "/"
    assert "Nothing was decided" in browser.get("/?q=m-").main
    assert is_open(visited, "m-1")


def test_many_are_not_held_over_a_deadline_that_has_come_near_since_the_table(visited: Visited) -> None:
    ask(visited.hitl, "n-1")
    put(visited.hitl, "n-2", Question(prompt="May n-2?"), deadline_ms=5_000)
    browser = looking(visited, "n")
    form = [("csrf", browser.get("/?q=n-").csrf), ("verdict", "approve"), ("confirm", "1")]
    assert browser.post("/many", [*form, ("chosen", packed({"asked": {"n-2": ""}}))]).status == 200
    chosen = packed({"asked": {"n-1": "", "n-2": ""}})
    assert browser.post("/many", [*form, ("chosen", chosen)]).headers["Location"] == "/"
    page = browser.get("/?q=n-")
    assert 'data-code="held-failed"' in page.main
    assert "deadline is within seconds" in page.main
    browser.post("/r/n-1", [*form[:1], ("verdict", "undo"), ("held", held_in(page.text))])
    assert is_open(visited, "n-2")


def test_a_gateway_without_undo_records_at_once(hitl: Hitl) -> None:
    ask(hitl, "u-1")
    plain = Visited(hitl, undo=False)
    try:
        browser = Browser(plain.address)
        assert "data-hold" not in browser.get("/r/u-1").text
        assert browser.answer("/r/u-1", hold="1").headers["Location"] == "/r/u-1"
        assert not is_open(plain, "u-1")
    finally:
        plain.stop()


def test_another_sites_form_undoes_nothing(visited: Visited) -> None:
    ask(visited.hitl, "f-1")
    browser = looking(visited, "f")
    browser.answer("/r/f-1", hold="1")
    form = {"csrf": "x", "verdict": "undo", "held": held_in(browser.get("/?all=0").text)}
    assert browser.post("/r/f-1", form).status == 403


@pytest.mark.heavy
def test_what_is_not_undone_is_made_and_the_page_tells_if_somebody_else_was_first(visited: Visited) -> None:
    ask(visited.hitl, "g-1", "g-2")
    browser = looking(visited, "g")
    browser.answer("/r/g-1", hold="1")
    browser.answer("/r/g-2", hold="1")
    with visited.hitl.client() as client:
        decide(client, "g-2", rejection(by="lead", via="cli", reason="no"))
        wait_until(lambda: "did not count" in browser.get("/?all=0", Sec_Fetch_Mode="cors").main)
        assert 'role="alert" data-code="held-failed"' in browser.get("/?all=0", Sec_Fetch_Mode="cors").main
        assert not is_open(visited, "g-1")
    assert "May g-2?" in browser.get("/?all=0").main
    assert "did not count" not in browser.get("/?all=0").main


@pytest.mark.heavy
@IN_A_BROWSER
@pytest.mark.parametrize("screen", [Screen(), PHONE], ids=["desk", "phone"])
def test_in_a_browser_one_goes_from_request_to_request(hitl: Hitl, visit: OpenVisit, screen: Screen) -> None:
    ask(hitl, "h-1", "h-2", "h-3")
    gateway = begin_gateway(hitl)
    try:
        page = visit(gateway.url, screen).go("/")
        page.get_by_role("link", name="May h-1?").click()
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("heading", name="May h-2?").wait_for()
        check_accessible(page)
        check_narrow(page)
        page.keyboard.press("u")
        page.get_by_role("heading", name="May h-1?").wait_for()
        page.locator("#main").get_by_text("Undone.").wait_for()
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("heading", name="May h-2?").wait_for()
        page.get_by_role("button", name="Undo").wait_for(state="detached")
        page.locator("#held").get_by_text("You approved").wait_for()
        wait_until(lambda: promise_now(hitl, "h-1")["state"] == "resolved")
        page.keyboard.press("a")
        page.get_by_role("heading", name="May h-3?").wait_for()
        page.goto("about:blank")  # leaving the page loses nothing
        wait_until(lambda: promise_now(hitl, "h-2")["state"] == "resolved")
    finally:
        gateway.clear_away()


@pytest.mark.heavy
def test_a_gateway_that_is_killed_loses_no_decision(hitl: Hitl) -> None:
    ask(hitl, "killed-1")
    gateway = begin_gateway(hitl)
    browser = Browser(gateway.url)
    assert browser.answer("/r/killed-1", hold="1").status == 303
    gateway.kill()
    assert promise_now(hitl, "killed-1")["state"] == "pending"
    second = begin_gateway(hitl)
    try:
        wait_until(lambda: promise_now(hitl, "killed-1")["state"] == "resolved")
        with hitl.client() as client:
            settled = get_promise(client, "killed-1")
        assert settled is not None
        assert audit_of(settled).via == "web"
        assert (audit_of(settled).at or 0) - settled.created_at >= LEFT_MS
    finally:
        second.clear_away()
