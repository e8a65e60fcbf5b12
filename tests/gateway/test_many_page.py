"""Many requests at once on the inbox page, and filters that stay."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import audit_of, decode, error_message
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.requests.question import Question
from tests.acting import decide, rejection
from tests.cli.requests import put
from tests.conftest import Hitl, wait_until
from tests.gateway.browser import IN_A_BROWSER, PHONE, Screen, check_accessible, check_narrow
from tests.gateway.visiting import Browser, Visited, packed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.client.wire import Promise
    from hitl_cli.gateway.auth.sessions import Cookies
    from tests.gateway.conftest import OpenVisit
    from tests.gateway.visiting import Page

NEEDS_DATA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
DEFAULTS = {"type": "object", "properties": {"n": {"type": "integer", "title": "Number", "default": 3}}}


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    gateway = Visited(Hitl(tmp_path_factory.mktemp("many")), undo=False)
    yield gateway
    gateway.stop()


def send(browser: Browser, ids: Sequence[str], **more: str) -> Page:
    """Send the form with the selected requests."""
    csrf = browser.get("/?q=nothing").csrf
    return browser.post("/many", [("csrf", csrf), *(("id", id) for id in ids), *more.items()])


def lines_in(page: Page) -> list[str]:
    return re.findall(r'data-line="([^"]*)"', page.text)


def chosen_in(page: Page) -> dict[str, Any]:
    """Return the requests that the form of a table is about."""
    text = page.main.partition('name="chosen" value="')[2].partition('"')[0]
    found: dict[str, Any] = json.loads(zlib.decompress(base64.urlsafe_b64decode(text)))
    return found


def settled(visited: Visited, id: str) -> Promise:
    with visited.hitl.client() as client:
        found = get_promise(client, id)
    assert found is not None
    return found


def visited_cookies(visited: Visited) -> Cookies:
    assert visited.gateway is not None
    return visited.gateway.cookies


def state(visited: Visited, id: str) -> str:
    return settled(visited, id).state


def test_what_would_happen_is_shown_and_nothing_is_decided_before_it_is_confirmed(visited: Visited) -> None:
    questions = {
        "plain-1": Question(prompt="**Restart** it?"),
        "default-1": Question(prompt="How many?", form=DEFAULTS),
        "data-1": Question(prompt="Which?", form=NEEDS_DATA),
        "choice-1": Question(prompt="Which one?", choices=("a", "b")),
        "others-1": Question(prompt="Not yours?", to=("lead",)),
        "votes-1": Question(prompt="Both?", approvals=2),
        "signed-1": Question(prompt="Signed?", proof="signed"),
        "claimed-1": Question(prompt="Claimed?"),
    }
    for id, question in questions.items():
        put(visited.hitl, id, question, by="asker")
    with visited.hitl.client() as client:
        Inbox(client, Actor(person="lead", via="cli")).claim("claimed-1", 3_600_000)
    browser = Browser(visited.address)
    assert browser.get("/?q=Claimed").main.count("claimed by lead") == 1
    page = send(browser, [*questions, "plain-1", "none-such"], verdict="approve")
    assert page.heading == "Approve 3 requests?"
    ready, left_out = (
        ["plain-1", "default-1", "votes-1"],
        ["data-1", "choice-1", "others-1", "signed-1", "claimed-1", "none-such"],
    )
    assert lines_in(page) == [*ready, *left_out]
    assert list(chosen_in(page)["asked"]) == ready
    assert chosen_in(page)["left"] == left_out
    for text in (
        "Restart it?",
        "asker",
        "Number: 3",
        "2 approvals are needed",
        "needs data",
        "its choices",
        "your signature",
        "has claimed",
    ):
        assert text in page.main
    assert {state(visited, id) for id in questions} == {"pending"}
    page = send(browser, ready, verdict="approve", confirm="1", text="as agreed")
    assert page.heading == "3 requests approved"
    assert [state(visited, id) for id in ready] == ["resolved", "resolved", "pending"]
    made = settled(visited, "default-1")
    assert decode(made.value) == {"n": 3}
    audit = audit_of(made)
    assert (audit.by, audit.via, audit.comment) == ("owner", "web", "as agreed")


def test_what_fails_after_all_is_told_by_line_and_stops_nothing(visited: Visited) -> None:
    for id in ("late-1", "late-2", "late-3"):
        put(visited.hitl, id, Question(prompt=f"{id}?"))
    with visited.hitl.client() as client:
        decide(client, "late-2", rejection(by="lead", via="cli", reason="no"))
    page = send(Browser(visited.address), ["late-1", "late-2", "late-3"], verdict="approve", confirm="1")
    assert page.heading == "2 requests approved"
    assert lines_in(page) == ["late-1", "late-3", "late-2"]
    assert "already rejected by lead" in page.main


def test_rejections_have_one_reason(visited: Visited) -> None:
    put(visited.hitl, "no-1", Question(prompt="Which?", form=NEEDS_DATA, choices=("a", "b")))
    page = send(Browser(visited.address), ["no-1"], verdict="reject", confirm="1", text="moved to Monday")
    assert page.heading == "1 request rejected"
    assert error_message(settled(visited, "no-1").value) == "moved to Monday"


def test_without_a_selection_with_too_many_and_from_another_site_nothing_happens(visited: Visited) -> None:
    browser = Browser(visited.address)
    assert send(browser, [], verdict="approve").heading == "Nothing to approve"
    assert send(browser, [], chosen=packed({"asked": {f"x-{n}": "" for n in range(5_001)}})).status == 400
    assert send(browser, [], verdict="approve", chosen="xyz", confirm="1").status == 400
    put(visited.hitl, "csrf-1", Question(prompt="?"))
    forged = {"csrf": "x", "id": "csrf-1", "verdict": "approve", "confirm": "1"}
    assert browser.post("/many", forged).status == 403
    assert state(visited, "csrf-1") == "pending"


def test_only_what_one_may_answer_can_be_selected(visited: Visited) -> None:
    put(visited.hitl, "pick-1", Question(prompt="Mine?"))
    put(visited.hitl, "pick-2", Question(prompt="Of others?", to=("lead",)))
    page = Browser(visited.address).get("/?all=1&q=pick-").main
    assert re.findall(r'type="checkbox" name="id" value="([^"]*)"', page) == ["pick-1"]


def test_a_browser_remembers_the_filters_of_its_person_until_they_are_cleared(visited: Visited) -> None:
    put(visited.hitl, "stay-1", Question(prompt="Stays?", priority="low"))
    put(visited.hitl, "stay-2", Question(prompt="Filtered?"))
    browser = Browser(visited.address)
    browser.get("/?q=stay-&priority=low&sort=due&page=3")
    again = browser.get("/")
    assert (again.status, again.headers["Location"]) == (303, "/?q=stay-&priority=low&sort=due")
    assert browser.get("/r/stay-2").main.count("/r/stay-1") == 1  # the queue is what was looked for
    assert Browser(visited.address).get("/").status == 200
    name = next(name for name in browser.cookies if "inbox" in name)
    kept = browser.cookies[name]
    browser.cookies[name] = kept.replace("low", "high").replace("~", "x~")
    assert browser.get("/").status == 200  # of another person, or forged
    browser.cookies[name] = kept
    browser.get("/?all=0")  # "For me", without a filter
    assert browser.get("/").status == 200
    assert name not in browser.cookies


def test_only_what_the_table_showed_is_decided(visited: Visited) -> None:
    for id in ("swap-1", "swap-2", "swap-30"):
        put(visited.hitl, id, Question(prompt=f"{id}?"))
    browser = Browser(visited.address)
    asked = chosen_in(send(browser, ["swap-1", "swap-2"], verdict="approve"))["asked"]
    assert list(asked) == ["swap-1", "swap-2"]
    asked |= {"swap-2": asked["swap-1"]}  # it asks something else by now
    asked |= {"swap-3": ""}  # it has been deleted; another id begins so
    chosen = packed({"asked": asked, "left": ["swap-30"]})
    page = send(browser, [], verdict="approve", confirm="1", chosen=chosen)
    assert page.heading == "1 request approved"
    assert lines_in(page) == ["swap-1", "swap-2", "swap-3"]
    assert [state(visited, id) for id in ("swap-1", "swap-2", "swap-30")] == [
        "resolved",
        "pending",
        "pending",
    ]


def test_all_that_the_inbox_lists_are_decided_over_pages_of_a_table(visited: Visited) -> None:
    with visited.hitl.client() as client:
        asker = Inbox(client, Actor(person="asker", via="cli"))
        for n in range(130):
            to = ("lead",) if n < 10 else ()
            asker.ask(Question(prompt=f"All {n}?", to=to), id=f"all-{n:03}", deadline_ms=3_600_000)
    browser = Browser(visited.address)
    assert 'name="every" value="all=1&amp;q=All"' in browser.get("/?all=1&q=All").main
    page = send(browser, [], every="all=1&q=All", verdict="approve")
    assert (page.heading, len(lines_in(page))) == ("Approve 120 requests?", 100)
    chosen = {"chosen": page.main.partition('name="chosen" value="')[2].partition('"')[0]}
    with visited.hitl.client() as client:
        decide(client, "all-010", rejection(by="lead", via="cli", reason="no"))
    page = send(browser, [], verdict="approve", page="2", text="typed", **chosen)
    assert (page.heading, len(lines_in(page))) == ("Approve 119 requests?", 20)
    assert lines_in(page)[-1] == "all-010"  # left out after those to approve
    assert "typed</textarea>" in page.main
    page = send(browser, [], verdict="approve", confirm="1", **chosen)
    assert page.heading == "119 requests approved"
    assert state(visited, "all-000") == "pending"
    assert state(visited, "all-129") == "resolved"


def test_what_no_page_sends_is_ignored(visited: Visited) -> None:
    browser = Browser(visited.address)
    assert browser.get(f"/?page={'9' * 5_000}").status == 200
    for name in (visited_cookies(visited).held, visited_cookies(visited).look):
        for text in ("\xff~\xff", "hitl-held-\xff", f"hitl-held-{'x' * 6_000}", "<script>~q=<script>"):
            browser.cookies[name] = text
            page = browser.get("/?all=0")
            assert page.status == browser.get("/").status == 200
            assert "<script>~" not in page.text
            browser.cookies.pop(name, None)


@pytest.mark.heavy
@IN_A_BROWSER
@pytest.mark.parametrize("screen", [Screen(), PHONE], ids=["desk", "phone"])
def test_in_a_browser_many_are_selected_by_keys_and_stay_so_while_the_list_changes(
    visited: Visited, visit: OpenVisit, screen: Screen
) -> None:
    for number in range(1, 4):
        put(visited.hitl, f"{screen.width}-keys-{number}", Question(prompt=f"Number {number}?"))
    page = visit(visited.address, screen).go(f"/?q={screen.width}-keys-")
    assert not page.locator("#many").is_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.get_by_text("1 request selected").wait_for()
    check_accessible(page)
    check_narrow(page)
    kept = page.locator("li", has_text="Number 2?").element_handle()
    put(visited.hitl, f"{screen.width}-keys-4", Question(prompt="Number 4?"))
    with visited.hitl.client() as client:
        decide(client, f"{screen.width}-keys-1", rejection(by="lead", via="cli", reason="no"))
    page.get_by_role("link", name="Number 4?").wait_for()
    page.get_by_role("link", name="Number 1?").wait_for(state="detached")
    assert kept.evaluate("one => one.isConnected && one.querySelector('input').checked")
    assert kept.evaluate("one => one.contains(document.activeElement)")
    page.get_by_label("Select all on this page").check()
    page.keyboard.press("a")
    page.get_by_role("heading", name="Approve 3 requests?").wait_for()
    check_accessible(page)
    check_narrow(page)
    page.keyboard.press("?")
    page.get_by_role("button", name="Approve 3 requests").click()
    page.get_by_role("heading", name="3 requests approved").wait_for()
    wait_until(lambda: state(visited, f"{screen.width}-keys-4") == "resolved")


@pytest.mark.heavy
@IN_A_BROWSER
def test_keys_answer_never_while_one_types_and_can_be_turned_off(visited: Visited, visit: OpenVisit) -> None:
    put(visited.hitl, "typed-1", Question(prompt="Typed?"))
    page = visit(visited.address).go("/r/typed-1")
    page.get_by_label("Comment (optional)").press_sequentially("arc?")
    assert page.get_by_label("Comment (optional)").input_value() == "arc?"
    page.locator("#main").focus()
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    check_accessible(page)
    page.keyboard.press("a")  # the help is open
    page.get_by_label("Use these keys").uncheck()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    page.reload()
    page.keyboard.press("a")
    page.keyboard.press("Control+a")
    assert state(visited, "typed-1") == "pending"
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_label("Use these keys").check()
    page.keyboard.press("Escape")
    page.locator("#main").focus()
    page.keyboard.press("r")
    page.keyboard.type("no, thanks")
    assert page.get_by_label("Reason").input_value() == "no, thanks"
    page.locator("#main").focus()
    page.keyboard.press("a")
    page.get_by_role("heading", name="You approved this").wait_for()
