"""The inbox and a request in a real Chromium: what moves by itself, the keyboard, and what axe-core says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from hitl_cli.requests.question import Escalation, Question
from tests.acting import decide, rejection
from tests.conftest import wait_until
from tests.gateway.browser import IN_A_BROWSER, Screen, check_accessible, check_narrow
from tests.gateway.desk import Desk
from tests.gateway.test_details_view import PARTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Route

    from tests.gateway.conftest import OpenVisit

pytestmark = [pytest.mark.heavy, IN_A_BROWSER]

FORM = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer", "minimum": 1, "maximum": 500, "default": 120},
        "method": {"enum": ["card", "voucher"]},
        "when": {"type": "string", "format": "date"},
        "starts": {"type": "string", "format": "date-time", "default": "2026-01-31T12:00:05Z"},
        "daily": {"type": "string", "format": "time"},
        "express": {"type": "boolean"},
        "tags": {"type": "array", "items": {"enum": ["new", "old"]}},
        "to": {"type": "object", "properties": {"city": {"type": "string"}}, "title": "Where to"},
        "notes": {"type": "string", "maxLength": 1_000},
    },
    "required": ["amount", "method"],
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A gateway on this machine, where `ada` acts."""
    shared = Desk(tmp_path_factory.mktemp("browser"), "--no-undo")
    yield shared
    shared.gateway.clear_away()


def test_new_requests_appear_and_decided_ones_leave_while_one_types(desk: Desk, visit: OpenVisit) -> None:
    desk.put("live-1", Question(prompt="Live one?"))
    desk.put("dead-1", Question(prompt="Something else?"))
    opened = visit(desk.gateway.url)
    page = opened.go("/")
    page.get_by_label("Find").press_sequentially("live")
    page.wait_for_url("**/?q=live")
    page.get_by_role("link", name="Something else?").wait_for(state="detached")
    desk.put("live-2", Question(prompt="Live two?"))
    page.get_by_role("link", name="Live two?").wait_for()
    page.get_by_text("1 new request").wait_for(state="attached")
    assert page.evaluate("document.activeElement.id") == "q"
    desk.hitl.ok("approve", "live-1")
    page.get_by_role("link", name="Live one?").wait_for(state="detached")
    assert page.get_by_label("Find").input_value() == "live"


def test_a_page_looks_again_if_the_gateway_did_not_answer(desk: Desk, visit: OpenVisit) -> None:
    opened = visit(desk.gateway.url)
    opened.page.add_init_script(
        "const wait = AbortSignal.timeout; AbortSignal.timeout = (ms) => wait.call(AbortSignal, ms / 100);"
    )
    page = opened.go("/?q=Stalled")
    lost: list[str] = []

    def lose_the_first(route: Route) -> None:
        if lost or route.request.resource_type != "fetch":
            route.continue_()
        else:
            lost.append(route.request.url)  # never answered

    page.route("**/?q=Stalled", lose_the_first)
    desk.put("stalled-1", Question(prompt="Stalled?"))
    page.get_by_role("link", name="Stalled?").wait_for()
    assert lost


@pytest.mark.parametrize("script", [True, False])
def test_filters_are_folded_away_on_a_phone_alone(desk: Desk, visit: OpenVisit, script: bool) -> None:
    desk.put("fold-1", Question(prompt="Under the fold?"))
    page = visit(desk.gateway.url, Screen(script=script)).go("/")
    assert page.get_by_label("Find", exact=True).is_visible()
    assert not page.get_by_text("Find and sort").is_visible()
    phone = visit(desk.gateway.url, Screen(width=390, height=844, touch=True, script=script)).go("/")
    assert not phone.get_by_label("Find", exact=True).is_visible()
    phone.get_by_text("Find and sort").click()
    phone.get_by_label("Find", exact=True).fill("under the fold")
    phone.keyboard.press("Enter")
    phone.wait_for_url("**/?*q=under*")
    phone.get_by_text("1 request", exact=True).wait_for()
    assert phone.get_by_label("Find", exact=True).is_visible()


def test_times_are_picked_in_the_browser_also_without_script(desk: Desk, visit: OpenVisit) -> None:
    moment = {"type": "string", "format": "date-time"}
    schema = {
        "type": "object",
        "properties": {
            "starts": moment | {"default": "2026-01-31T12:00:05+02:00"},
            "ends": moment,
            "daily": {"type": "string", "format": "time"},
        },
        "required": ["starts", "ends"],
    }
    path = desk.put("times-1", Question(prompt="When?", form=schema))
    page = visit(desk.gateway.url, Screen(width=390, height=844, touch=True, script=False)).go(path)
    page.get_by_label("Ends").fill("2026-03-01T08:30")
    page.get_by_label("Daily").fill("09:15")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("heading", name="You approved this").wait_for()
    for said in ("2026-01-31T10:00:05Z", "2026-03-01T08:30:00Z", "09:15:00Z"):
        assert page.get_by_text(said).count() == 1


@pytest.mark.parametrize("script", [True, False])
def test_rows_are_added_and_removed_on_a_phone(desk: Desk, visit: OpenVisit, script: bool) -> None:
    line = {"properties": {"what": {"type": "string"}, "price": {"type": "number"}}, "required": ["what"]}
    schema = {
        "type": "object",
        "properties": {
            "lines": {"type": "array", "title": "Order lines", "items": {"type": "object", **line}},
            "region": {
                "oneOf": [{"const": "eu-w-1", "title": "Ireland"}, {"const": "us", "title": "Virginia"}]
            },
            "order": {"type": "string", "readOnly": True, "default": "PO-7"},
            "pin": {"type": "string", "format": "password"},
        },
        "required": ["lines", "region"],
    }
    id = f"rows-{script}"
    path = desk.put(id, Question(prompt="Order?", form=schema))
    page = visit(desk.gateway.url, Screen(width=390, height=844, touch=True, script=script)).go(path)
    lines = page.get_by_role("group", name="Order lines", exact=True)
    for number, what in enumerate(("one", "two", "three"), 1):
        page.get_by_label("Pin").fill("sesame")
        lines.get_by_role("button", name="Add to Order lines").click()
        row = page.get_by_role("group", name=f"Order lines {number}", exact=True)
        row.wait_for()
        if script:
            assert row.evaluate("one => one === document.activeElement")
            assert page.get_by_label("Pin").input_value() == "sesame"
        row.get_by_label("What").fill(what)
    if script:  # which axe is
        check_accessible(page)
        check_narrow(page)
    page.get_by_role("button", name="Remove Order lines 2").click()
    page.get_by_role("group", name="Order lines 3", exact=True).wait_for(state="detached")
    row = page.get_by_role("group", name="Order lines 2", exact=True)
    assert row.get_by_label("What").input_value() == "three"
    row.get_by_label("Price").fill("2.5")
    page.get_by_label("Ireland").check()
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("heading", name="You approved this").wait_for()
    answered = desk.hitl.json("show", id)["decision"]["data"]
    assert answered["lines"] == [{"what": "one"}, {"what": "three", "price": 2.5}]
    assert (answered["region"], answered["order"]) == ("eu-w-1", "PO-7")


def test_an_open_page_says_that_somebody_else_decided(desk: Desk, visit: OpenVisit) -> None:
    path = desk.put("open-1", Question(prompt="Refund?", form=FORM))
    page = visit(desk.gateway.url).go(path)
    page.get_by_label("Notes").fill("half a sentence")
    with desk.hitl.client() as client:
        decide(client, "open-1", rejection(by="reviewer", via="cli", reason="out of stock"))
    page.get_by_role("heading", name="Rejected by reviewer").wait_for()
    page.get_by_text("Rejected by reviewer. You can no longer answer here.").first.wait_for()
    assert page.get_by_role("button", name="Approve").is_disabled()
    assert page.get_by_label("Notes").input_value() == "half a sentence"
    check_accessible(page)


def test_the_keyboard_alone_will_do(desk: Desk, visit: OpenVisit) -> None:
    desk.put("keys-1", Question(prompt="By keys?"))
    page = visit(desk.gateway.url).go("/?q=keys-1")
    page.get_by_role("link", name="By keys?").focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="By keys?").wait_for()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Reject…":
            break
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("no time")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="You rejected this").wait_for()
    assert page.get_by_text("no time").count() == 1


def test_the_pages_are_accessible_and_fit_a_narrow_screen(desk: Desk, visit: OpenVisit) -> None:
    path = desk.put(
        "axe-1",
        Question(
            prompt=f"# Refund?\n\n{'long' * 40} <https://example.org/a>\n\n| a | b |\n|---|---|\n| 1 | 2 |",
            form=FORM,
            approvals=2,
            details={"order": {"id": 7, "tags": ["x"]}, "key" * 30: "v" * 200},
            priority="high",
        ),
        by="lead",
    )
    desk.hitl.ok("comment", "axe-1", "Is it **new**?")
    desk.hitl.ok("approve", "axe-1", "--set", "amount=1", "--set", "method=card", "--as", "reviewer")
    opened = visit(desk.gateway.url)
    opened.expect("400")
    page = opened.go("/?all=1")
    check_narrow(page)
    check_accessible(opened.go(path))
    check_narrow(page)
    page.get_by_label("Amount").evaluate("field => field.form.noValidate = true")
    page.get_by_label("Amount").fill("900")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("heading", name="There is a problem").wait_for()
    assert wait_until(lambda: page.evaluate("document.activeElement.getAttribute('role')") == "alert")
    check_accessible(page)
    page.get_by_role("link", name="Amount must be at most 500").click()
    assert page.evaluate("document.activeElement.name") == "field:amount"


def test_dates_are_written_as_the_readers_browser_writes_them(desk: Desk, visit: OpenVisit) -> None:
    later = Escalation(after=3_600_000, to=("lead",))
    desk.put("dated", Question(prompt="When?", to=("ada",), escalate=(later,)))
    german = visit(desk.gateway.url, Screen(locale="de-DE", zone="Europe/Berlin"))
    page = german.go("/r/dated")
    written = re.compile(r"\d{1,2}\. \w+\.? 20\d\d,? (um )?\d\d:\d\d MES?Z")
    for fact in ("Deadline", "Assignees"):
        page.locator("dl.facts div", has_text=fact).get_by_text(written).first.wait_for()
    utc = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    for kind, title in (("ago", rf"{written.pattern} \({utc}\)"), ("at", utc)):
        shown = page.locator(f"time[data-{kind}]").first
        assert re.fullmatch(title, shown.get_attribute("title") or "")
    desk.hitl.ok("reject", "dated")
    page.locator("#standing").get_by_text(written).first.wait_for()
    american = visit(desk.gateway.url, Screen(locale="en-US", zone="America/New_York")).go("/r/dated")
    american.get_by_text(re.compile(r"\w{3} \d{1,2}, 20\d\d, \d{1,2}:\d\d\s[AP]M E[SD]T")).first.wait_for()
    german.go("/stats").get_by_text(re.compile(r"^\d\d\.\d\d\.20\d\d$")).first.wait_for()
    plain = visit(desk.gateway.url, Screen(script=False)).go("/r/dated")
    plain.get_by_text(re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d UTC")).first.wait_for()


def test_parts_and_a_change_of_the_arguments_fit_a_phone(desk: Desk, visit: OpenVisit) -> None:
    long = "\n".join(f"line {number} {'x' * 300}" for number in range(40))
    source = {"$view": "code", "text": long, "language": "python"}
    wide = {"$view": "table", "columns": [f"column {n}" for n in range(9)], "rows": [["cell" * 5] * 9]}
    diff = {"$view": "diff", "text": "-old\n+new"}
    details = PARTS | {"source": source, "users": wide, "change": diff}
    arguments = {"argv": ["rm", "-r", "build"], "cwd": "/srv"}
    path = desk.put(
        "phone:1", Question(prompt="Run it?", details=details, arguments=arguments, editable=True)
    )
    opened = visit(desk.gateway.url, Screen(width=390, height=844, touch=True))
    page = opened.go(path)
    check_narrow(page)
    check_accessible(page)
    assert page.evaluate("document.querySelector('.view img').naturalWidth") == 2
    assert not page.get_by_text("line 30").is_visible()
    page.get_by_text("20 more lines").click()
    assert page.get_by_text("line 30").is_visible()
    colors = page.evaluate("['ins', 'del'].map(n => getComputedStyle(document.querySelector(n)).color)")
    assert colors[0] != colors[1]
    page.get_by_text("Change the arguments", exact=True).click()
    page.get_by_label("Cwd").fill("/tmp")
    opened.expect("409")
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("cwd: /srv → /tmp").wait_for()
    check_narrow(page)
    check_accessible(page)
    page.get_by_role("button", name="Approve with 1 change").click()
    page.get_by_text("You approved this").wait_for()
    assert page.get_by_text("cwd: /srv → /tmp").is_visible()
