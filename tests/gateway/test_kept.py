"""A session or a link ends while a person types: their input is kept, and nothing is decided."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from hitl_cli.auth import tokens
from hitl_cli.auth.sign_in import link_for, sign
from hitl_cli.auth.signing_keys import rotate
from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import decode
from hitl_cli.gateway.request_body import BODY_MAX
from hitl_cli.people.contacts import Contact, Directory, EmailSettings
from hitl_cli.requests.question import Question
from tests.acting import comments_of
from tests.cli.requests import DAY_MS, put
from tests.conftest import Hitl, wait_until
from tests.gateway.browser import IN_A_BROWSER, Screen, check_accessible, check_narrow
from tests.gateway.conftest import Reply
from tests.gateway.desk import Document
from tests.gateway.streams import Reader
from tests.gateway.visiting import Browser, Visited, all_promises
from tests.notify.receivers import Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page as Tab

    from tests.gateway.conftest import OpenVisit
    from tests.gateway.visiting import Page

LOOK_MS = 20_000
"""How often a page looks that is not told (hitl.js)."""

HOURS_MS = 13 * 3_600_000
FORM = {
    "type": "object",
    "properties": {
        "why": {"type": "string", "maxLength": 5_000},
        "files": {"type": "array", "items": {"type": "string"}},
        "tags": {"type": "array", "items": {"enum": ["new", "old"]}},
        "pin": {"type": "string", "writeOnly": True},
    },
    "required": ["why"],
}
TYPED = {
    "field:why": 'Two\r\nlines & "quotes" <b>',
    "field:files": "a.pdf\r\nb.pdf",
    "field:tags": "old",
    "comment": "a comment",
    "reason": "a reason",
}
DATA = {"why": 'Two\nlines & "quotes" <b>', "files": ["a.pdf", "b.pdf"], "tags": ["old"]}


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox) -> Iterator[Visited]:
    people = Directory(
        people={"reviewer": Contact(email="reviewer@example.org"), "lead": Contact(email="l@example.org")},
        email=EmailSettings(host="127.0.0.1", port=mailbox.port, tls="none", from_="hitl@example.org"),
    )
    gateway = Visited(Hitl(tmp_path_factory.mktemp("kept")), directory=people, sign_in=True, undo=False)
    yield gateway
    gateway.stop()


def ask(visited: Visited, id: str) -> str:
    """Make a request, and return the path of its page."""
    put(visited.hitl, id, Question(prompt="Ship it?", form=FORM), deadline_ms=90 * DAY_MS)
    return f"/r/{id}"


def signed_in(visited: Visited, person: str = "reviewer") -> Browser:
    browser = Browser(visited.address)
    by_link(visited, browser, person)
    return browser


def by_link(visited: Visited, browser: Browser, person: str = "reviewer") -> None:
    path = f"/sign-in/{sign(link_for(person, visited.now(), '/'), visited.keys)}"
    assert browser.post(path, {"csrf": browser.get(path).csrf}).status == 303


def session_ends(visited: Visited) -> None:
    visited.ahead_ms += HOURS_MS


def document(page: Page) -> Document:
    return Document(Reply(page.status, page.headers, page.text.encode()))


def hidden(page: Page, **more: str) -> dict[str, str]:
    """Return what the first form of a page sends, with what is filled in."""
    form = page.main.partition("<form")[2].partition("</form>")[0]
    names = re.findall(r'<input type="hidden" name="([^"]*)"', form)
    return {name: document(page).control(name)["value"] or "" for name in names} | more


def typed_in(page: Page) -> dict[str, str]:
    """Return what the answer's form has filled in, of what was typed."""
    return {name: lines(text) for name, text in document(page).filled if name in TYPED and text}


def lines(text: str) -> str:
    """Return a text with the line breaks of a form."""
    return "\r\n".join(text.splitlines())


def sent_late(visited: Visited, browser: Browser, path: str, verdict: str = "approve") -> Page:
    """Fill a page in, and press a button of it when the session is over."""
    page = browser.get(path)
    session_ends(visited)
    return browser.post(path, {**hidden(page), **TYPED, "verdict": verdict})


def state_of(visited: Visited, id: str) -> str:
    with visited.hitl.client() as client:
        promise = get_promise(client, id)
    assert promise is not None
    return promise.state


def token_of(visited: Visited, person: str, *can: str) -> str:
    with visited.hitl.client() as client:
        return tokens.create(client, person, can or ["decide"], life_ms=90 * DAY_MS, by="owner")[1]


def answer_again(browser: Browser, path: str, page: Page) -> None:
    """Press Approve on a page that was filled in again."""
    form = document(page)
    sent = {name: text for name, text in form.filled if name and name != "remark"}
    comment = next(text for name, text in form.filled if name == "comment")
    assert browser.post(path, sent | {"verdict": "approve", "comment": comment}).status == 303


def test_it_is_there_after_signing_in_by_a_token_and_is_answered_by_pressing_once_more(
    visited: Visited,
) -> None:
    path = ask(visited, "t1")
    browser = signed_in(visited)
    before = all_promises(visited.hitl)
    page = sent_late(visited, browser, path)
    assert (page.status, page.code) == (401, "unauthenticated")
    assert page.headers["WWW-Authenticate"]
    form = hidden(page, token=token_of(visited, "reviewer"))
    led = browser.post("/sign-in", form)
    assert (led.status, led.headers["Location"]) == (307, path)
    page = browser.post(path, form)
    assert (page.status, page.code) == (403, "form-expired")
    assert typed_in(page) == TYPED
    assert state_of(visited, "t1") == "pending"
    assert [one for one in all_promises(visited.hitl) if "token" not in one["id"]] == before
    answer_again(browser, path, page)
    with visited.hitl.client() as client:
        settled = get_promise(client, "t1")
    assert settled is not None
    assert decode(settled.value) == DATA
    assert "a comment" in browser.get(path).text


def test_it_is_there_after_signing_in_by_mail_without_a_script(visited: Visited, mailbox: Mailbox) -> None:
    path = ask(visited, "m1")
    browser = signed_in(visited)
    page = sent_late(visited, browser, path, "reject")
    count = len(mailbox.received)
    sent = browser.post("/sign-in", hidden(page, who="reviewer"))
    early = browser.post(path, hidden(sent))
    assert early.status == 401
    assert lines(hidden(early)["field:why"]) == TYPED["field:why"]
    mail = mailbox.wait_for(count + 1)[count].get_body(("plain",))
    assert mail is not None
    link = re.search(r"http://\S+?(/sign-in/\S+)", mail.get_content())
    assert link
    led = browser.post(link[1], {"csrf": browser.get(link[1]).csrf})
    assert led.headers["Location"] == path
    page = browser.post(path, hidden(sent))
    assert page.code == "form-expired"
    assert typed_in(page) == TYPED
    assert state_of(visited, "m1") == "pending"


def test_a_wrong_token_or_no_name_loses_nothing(visited: Visited) -> None:
    path = ask(visited, "w1")
    browser = signed_in(visited)
    page = sent_late(visited, browser, path)
    for wrong in ({"token": "hitl_nothing"}, {"who": ""}):
        page = browser.post("/sign-in", hidden(page, **wrong))
        assert page.status == 400
        assert hidden(page)["comment"] == "a comment"


def test_who_signed_in_again_elsewhere_finds_it_too(visited: Visited) -> None:
    path = ask(visited, "e1")
    browser = signed_in(visited)
    page = browser.get(path)
    by_link(visited, browser)
    page = browser.post(path, {**hidden(page), **TYPED, "verdict": "approve"})
    assert (page.status, page.code) == (403, "form-expired")
    assert typed_in(page) == TYPED
    assert state_of(visited, "e1") == "pending"


def test_a_person_is_the_same_however_a_link_spells_the_name(visited: Visited) -> None:
    path = ask(visited, "s1")
    form = hidden(Browser(visited.address).get(visited.link("s1", "Reviewer", visited.ahead_ms + 3_600_000)))
    page = signed_in(visited).post(path, {**form, **TYPED, "csrf": "", "verdict": "approve"})
    assert page.code == "form-expired"
    assert typed_in(page) == TYPED


@pytest.mark.parametrize("kept", ["another person's", "another request's", "forged", "forgotten keys"])
def test_what_somebody_else_wrote_is_shown_and_is_in_no_form(visited: Visited, kept: str) -> None:
    path = ask(visited, f"o-{kept[:9].replace(' ', '-')}")
    browser = signed_in(visited)
    other = ask(visited, f"{path[3:]}-2")
    form = hidden(browser.get(other if kept == "another request's" else path))
    if kept == "forged":
        form["kept"] = "0" * 64
    if kept == "forgotten keys":
        rotate(visited.options.keys, visited.now(), forget=True)
    session_ends(visited)
    by_link(visited, browser, "lead" if kept == "another person's" else "reviewer")
    page = browser.post(path, {**form, **TYPED, "field:pin": "pin-1234", "verdict": "approve"})
    assert page.code == "form-expired"
    assert typed_in(page) == {}
    assert "What you typed" in page.main
    assert "a comment" in page.main
    assert "pin-1234" not in page.main


def test_a_comment_and_the_reason_of_a_cancellation_are_kept_too(visited: Visited) -> None:
    path = ask(visited, "c1")
    visited.hitl.ok("start", "run-1")
    browser = signed_in(visited)
    first, session = browser.get(path), dict(browser.cookies)
    session_ends(visited)
    sent = {**hidden(first), "verdict": "comment", "comment": "only a remark"}
    assert browser.post(path, sent).status == 401
    by_link(visited, browser)
    page = browser.post(path, sent)
    filled = [text for name, text in document(page).filled if name == "comment"]
    assert filled == ["", "only a remark"]
    with visited.hitl.client() as client:
        assert comments_of(client, "c1") == []
    assert session != browser.cookies

    starter, token = Browser(visited.address), token_of(visited, "ops", "start", "read")
    given = {"csrf": starter.get("/sign-in").csrf, "token": token}
    assert starter.post("/sign-in", given).status == 303
    form = hidden(starter.get("/runs/run-1/cancel"), reason="no need")
    session_ends(visited)
    page = starter.post("/runs/run-1/cancel", form)
    assert page.status == 401
    form = hidden(page, token=token)
    assert starter.post("/sign-in", form).headers["Location"] == "/runs/run-1/cancel"
    page = starter.post("/runs/run-1/cancel", form)
    assert (page.status, page.code) == (403, "form-expired")
    assert dict(document(page).filled)["reason"] == "no need"
    assert state_of(visited, "run-1") == "pending"


def test_who_is_away_is_kept_too_but_not_what_another_page_wrote(visited: Visited) -> None:
    browser = signed_in(visited)
    form = hidden(browser.get("/away"), until="2999-01-01", to="lead")
    session_ends(visited)
    page = browser.post("/away", form)
    assert page.status == 401
    assert hidden(page)["to"] == "lead"
    by_link(visited, browser)
    for kept, filled in ((form["kept"], "lead"), ("0" * 64, "")):
        page = browser.post("/away", form | {"kept": kept})
        assert (page.status, page.code) == (403, "form-expired")
        assert dict(document(page).filled).get("to") == filled


def test_as_much_as_an_answer_may_be_is_kept_and_no_more(visited: Visited) -> None:
    path = ask(visited, "b1")
    browser = Browser(visited.address)
    assert browser.post(path, {"comment": "x" * 1_000_000}).status == 401
    assert browser.post(path, {"comment": "x" * (BODY_MAX + 1)}).status == 413


def test_another_site_cannot_have_anything_kept(visited: Visited) -> None:
    path = ask(visited, "x1")
    page = Browser(visited.address).post(
        path, TYPED, Sec_Fetch_Site="cross-site", Origin="https://evil.example"
    )
    assert (page.status, page.code) == (403, "cross-site")


def test_who_signs_out_after_the_session_ended_is_at_the_page_to_sign_in(visited: Visited) -> None:
    browser = signed_in(visited)
    csrf = browser.get("/").csrf
    session_ends(visited)
    led = browser.post("/sign-out", {"csrf": csrf})
    assert (led.status, led.headers["Location"]) == (303, "/sign-in")


def test_a_link_that_ended_shows_it_and_it_goes_on_by_signing_in(visited: Visited) -> None:
    path = ask(visited, "l1")
    link = visited.link("l1", "reviewer", life_ms=visited.ahead_ms + 3_600_000)
    browser = Browser(visited.address)
    page = browser.get(link)
    session_ends(visited)
    page = browser.post(link, {**hidden(page), **TYPED, "field:pin": "pin-1234", "verdict": "approve"})
    assert (page.status, page.code) == (410, "link-expired")
    shown = re.sub(r"<input[^>]*>", "", page.main)
    assert "a comment" in shown
    assert "pin-1234" not in shown
    by_link(visited, browser)
    page = browser.post(path, hidden(page))
    assert typed_in(page) == TYPED
    assert state_of(visited, "l1") == "pending"


def test_without_a_script_a_new_link_is_given_on_the_page_of_the_one_that_ended(visited: Visited) -> None:
    ask(visited, "n1")
    old = visited.link("n1", "reviewer", life_ms=visited.ahead_ms + 3_600_000)
    browser = Browser(visited.address)
    page = browser.get(old)
    session_ends(visited)
    page = browser.post(old, {**hidden(page), **TYPED, "verdict": "approve"})
    new = visited.link("n1", "reviewer", life_ms=visited.ahead_ms + 3_600_000)
    for wrong in ("https://evil.example/x", "no link"):
        assert browser.post(old, hidden(page, newer=wrong)).code == "link-invalid"
    form = hidden(page, newer=f"https://evil.example{new}")
    led = browser.post(old, form)
    assert (led.status, led.headers["Location"]) == (307, new)
    page = browser.post(new, form)
    assert page.code == "form-expired"
    assert typed_in(page) == TYPED
    assert state_of(visited, "n1") == "pending"


@pytest.mark.parametrize("by", ["a link", "the inbox"])
def test_an_answer_that_came_too_late_says_who_was_first_and_is_shown(visited: Visited, by: str) -> None:
    path = ask(visited, f"late-{by[-4:]}")
    browser = signed_in(visited)
    link = visited.link(path[3:], "reviewer")
    where = link if by == "a link" else path
    page = browser.get(where)
    visited.hitl.ok("reject", path[3:], "--as", "lead")
    page = browser.post(where, {**hidden(page), **TYPED, "verdict": "approve"})
    assert page.code == ("link-used" if by == "a link" else "already-decided")
    assert "Your answer did not count" in page.main
    assert re.search(r"lead rejected it \d+s earlier|was rejected by lead \d+s ago", page.main)
    assert "a comment" in page.main
    if by == "a link":
        assert "You do not need to do anything" not in page.main
        assert "You do not need to do anything" in browser.get(link).main


# In Chromium


def fill(tab: Tab) -> None:
    tab.get_by_label("Why").fill("because of this")
    tab.get_by_label("Comment (optional)").fill("a comment")


def is_filled(tab: Tab) -> None:
    """Wait until what was typed is there."""
    wait_until(lambda: tab.get_by_label("Why").input_value() == "because of this")
    assert tab.get_by_label("Comment (optional)").input_value() == "a comment"


@pytest.mark.heavy
@IN_A_BROWSER
@pytest.mark.parametrize("script", [True, False])
def test_in_a_browser_the_mail_is_opened_in_another_tab(
    visited: Visited, mailbox: Mailbox, visit: OpenVisit, script: bool
) -> None:
    path = ask(visited, f"tab-{script}")
    opened = visit(visited.address, Screen(script=script))
    for code in (401, 403):
        opened.expect(f"the server responded with a status of {code}")
    sign_in(visited, opened.page)
    opened.go(path)
    fill(opened.page)
    session_ends(visited)
    opened.page.get_by_role("button", name="Approve").click()
    opened.page.get_by_label("User name").fill("reviewer")
    if script:
        check_accessible(opened.page)
        check_narrow(opened.page)
    count = len(mailbox.received)
    opened.page.get_by_role("button", name="E-mail me a link").click()
    mail = mailbox.wait_for(count + 1)[count].get_body(("plain",))
    assert mail is not None
    link = re.search(r"http://\S+?(/sign-in/\S+)", mail.get_content())
    assert link
    second = opened.page.context.new_page()
    second.goto(visited.address + link[1])
    second.get_by_role("button", name="Sign in").click()
    if script:
        is_filled(second)
        second.get_by_role("button", name="Approve").click()
        second.get_by_text("You approved this").wait_for()
        assert second.evaluate("localStorage.length") == 0
    else:
        second.get_by_role("heading", name="Ship it?").wait_for()
    opened.page.get_by_role("button", name="Continue with what I typed").click()
    if script:
        opened.page.get_by_text("What you typed").wait_for()
    else:
        is_filled(opened.page)
        assert state_of(visited, path[3:]) == "pending"


@pytest.mark.heavy
@IN_A_BROWSER
def test_in_a_browser_a_new_link_has_what_was_typed_on_the_one_that_ended(
    visited: Visited, visit: OpenVisit
) -> None:
    ask(visited, "again-1")
    opened = visit(visited.address)
    opened.expect("the server responded with a status of")
    tab = opened.go(visited.link("again-1", "reviewer", life_ms=visited.ahead_ms + 3_600_000))
    fill(tab)
    # After its first look the page is quiet; a look at a link that has expired closes the form.
    fetched = "performance.getEntriesByType('resource').some(one => one.initiatorType === 'fetch')"
    wait_until(lambda: tab.evaluate(fetched))
    session_ends(visited)
    tab.get_by_role("button", name="Approve").click()
    tab.get_by_text("What you typed", exact=True).wait_for()
    check_accessible(tab)
    check_narrow(tab)
    second = tab.context.new_page()
    second.goto(visited.address + visited.link("again-1", "lead"))
    assert second.get_by_label("Why").input_value() == ""
    second.goto(visited.address + visited.link("again-1", "reviewer"))
    is_filled(second)
    assert state_of(visited, "again-1") == "pending"
    second.get_by_role("button", name="Approve").click()
    second.get_by_text("You approved this").wait_for()


@pytest.mark.heavy
@IN_A_BROWSER
def test_in_a_browser_a_page_that_looks_for_news_keeps_what_is_typed_when_the_session_is_over(
    visited: Visited, visit: OpenVisit
) -> None:
    path = ask(visited, "live-1")
    opened = visit(visited.address)
    opened.expect("the server responded with a status of")
    sign_in(visited, opened.page)
    tab = opened.go(path)
    fill(tab)
    buttons = tab.get_by_role("button", name="Approve"), tab.get_by_text("Reject…")
    places = [button.bounding_box() for button in buttons]
    session_ends(visited)
    visited.hitl.ok("comment", "live-1", "news")
    tab.get_by_text("Your session has expired").first.wait_for()
    is_filled(tab)
    assert [button.bounding_box() for button in buttons] == places  # one may be pressing it
    buttons[0].click()
    tab.get_by_text("Use a token instead").click()
    tab.get_by_label("Token", exact=True).fill(token_of(visited, "reviewer"))
    tab.get_by_role("button", name="Sign in with the token").click()
    is_filled(tab)
    assert state_of(visited, "live-1") == "pending"


@pytest.mark.heavy
@IN_A_BROWSER
def test_in_a_browser_the_page_of_a_link_hears_at_once_that_others_were_first(
    visited: Visited, visit: OpenVisit
) -> None:
    ask(visited, "heard-1")
    ask(visited, "heard-2")
    opened = visit(visited.address)
    opened.expect("the server responded with a status of 410")
    tab = opened.page
    with tab.expect_response("**/events"):
        opened.go(visited.link("heard-1", "reviewer", life_ms=visited.ahead_ms + 3_600_000))
    fill(tab)
    visited.hitl.ok("comment", "heard-1", "some news")
    tab.locator("#comments").get_by_text("some news").wait_for(timeout=LOOK_MS / 2)
    visited.hitl.ok("reject", "heard-1", "--as", "lead")
    tab.get_by_text("rejected by lead").first.wait_for(timeout=LOOK_MS / 2)
    is_filled(tab)
    assert tab.get_by_role("button", name="Approve").is_disabled()


def test_a_link_hears_of_its_own_request_alone_and_no_longer_than_it_is_good(visited: Visited) -> None:
    ask(visited, "own-1")
    ask(visited, "own-2")
    link = visited.link("own-1", "reviewer", life_ms=visited.ahead_ms + 3_600_000)
    with Reader(visited.address, path=f"{link}/events") as reader:
        reader.wait_for("ready")
        visited.hitl.ok("comment", "own-2", "not for this link")
        visited.hitl.ok("comment", "own-1", "for this link")
        reader.wait_for("request.changed", "own-1")
        assert reader.names("own-2") == []
    assert Browser(visited.address).get("/l/none/events").status == 403
    visited.hitl.ok("reject", "own-1", "--as", "lead")
    assert Browser(visited.address).get(f"{link}/events").status == 410


def sign_in(visited: Visited, tab: Tab) -> None:
    tab.goto(f"{visited.address}/sign-in/{sign(link_for('reviewer', visited.now(), '/'), visited.keys)}")
    tab.get_by_role("button", name="Sign in").click()
    tab.wait_for_url(f"{visited.address}/")
