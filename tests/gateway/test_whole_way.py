"""A person answers in Chromium, and a real worker continues the workflow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from msgspec import Struct

from hitl_cli.client.protocol import Client
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from tests.acting import comment, decide, rejection
from tests.conftest import APPS, NOBODY, PATIENCE_S, Hitl, wait_until
from tests.gateway.browser import DESKTOP, IN_A_BROWSER, PHONE, Screen, check_accessible, check_narrow
from tests.gateway.conftest import GatewayProcess, begin_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.gateway.conftest import OpenVisit

pytestmark = IN_A_BROWSER

FORM = {
    "type": "object",
    "required": ["amount", "method"],
    "properties": {
        "amount": {"type": "integer", "title": "Amount", "minimum": 1, "maximum": 500},
        "method": {"enum": ["card", "voucher"], "title": "By"},
        "to": {"type": "object", "title": "Where to", "properties": {"city": {"type": "string"}}},
        "note": {"type": "string", "title": "Note"},
    },
}

HOSTILE = [
    '"><script>alert(1)</script><img src=x onerror=alert(1)>',
    "[click](javascript:alert(1)) ![i](http://192.0.2.1/x.png) {{ 7*7 }}",
    "</textarea></title></style><svg onload=alert(1)><iframe src='//evil.example'></iframe>",
]

TABS = 60
"""More than it takes to get anywhere on a page by Tab."""

FOCUS_IS_SEEN = """() => {
    const one = document.activeElement;
    return [getComputedStyle(one), getComputedStyle(one, "::after")].some(
        style => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2);
}"""


class Desk(Struct, frozen=True):
    """A worker, a gateway, and what others do beside the person in the browser."""

    hitl: Hitl
    gateway: GatewayProcess
    client: Client

    def ask(self, run: str, prompt: str, **options: Any) -> str:
        """Start a run that asks; return the id of its request once it waits."""
        runs = Runs(self.client, NOBODY)
        runs.start(RunSpec(id=run, workflow="asks", args=[{"prompt": prompt, **options}]))
        return wait_until(lambda: next(iter(runs.show(run).requests), ""))

    def ended(self, run: str) -> Any:
        """Wait until a run has completed, and return its result."""
        runs = Runs(self.client, NOBODY)
        return runs.wait(runs.show(run), PATIENCE_S).result

    def reject(self, id: str) -> None:
        """Have the lead be first."""
        decide(self.client, id, rejection(by="lead", via="cli", reason="too late"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    hitl = Hitl(tmp_path_factory.mktemp("desk"))
    hitl.env["HITL_AS"] = "reviewer"
    worker = hitl.worker("--app", str(APPS / "asks.py"))
    gateway = begin_gateway(hitl, "--no-undo")
    with hitl.client() as client:
        yield Desk(hitl, gateway, client)
    gateway.clear_away()
    worker.clear_away()


@pytest.mark.parametrize("screen", [PHONE, Screen(script=False)], ids=["phone", "without-script"])
def test_a_person_reads_errs_corrects_approves_and_the_workflow_goes_on(
    desk: Desk, visit: OpenVisit, screen: Screen
) -> None:
    run = f"trip-{screen.width}"
    desk.ask(run, f"How much for **{run}**?", form=FORM)
    opened = visit(desk.gateway.url, screen)
    page = opened.go("/")
    page.get_by_role("link", name=f"How much for {run}?").click()
    page.get_by_role("heading", name=f"How much for {run}?").wait_for()

    page.get_by_label("Amount").fill("900")
    page.get_by_label("voucher").check()
    page.get_by_label("City").fill("Ghent")
    page.get_by_role("button", name="Approve").click()
    assert page.locator("input:invalid").count() == 1  # the browser itself says so, and sends nothing

    opened.expect("400")
    opened.expect("422")
    page.get_by_label("Amount").fill("")
    page.locator("#answer").evaluate("form => form.noValidate = true")
    page.get_by_label("Note").fill("by train")
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("There is a problem").wait_for()
    assert page.get_by_label("Note").input_value() == "by train"
    assert page.get_by_label("Amount").get_attribute("aria-invalid") == "true"

    page.get_by_label("Amount").fill("120")
    page.get_by_label("Comment").first.fill("A bargain.")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("heading", name="You approved this").wait_for()
    decision = desk.ended(run)
    assert decision["data"] == {
        "amount": 120,
        "method": "voucher",
        "to": {"city": "Ghent"},
        "note": "by train",
    }
    assert (decision["by"], decision["via"], decision["comment"]) == ("reviewer", "web", "A bargain.")


def test_a_person_rejects_with_a_reason(desk: Desk, visit: OpenVisit) -> None:
    id = desk.ask("no", "Really?")
    page = visit(desk.gateway.url, PHONE).go(f"/r/{id}")
    page.get_by_text("Reject…").click()
    page.get_by_label("Reason").fill("not this year")
    page.get_by_role("button", name="Reject", exact=True).click()
    page.get_by_role("heading", name="You rejected this").wait_for()
    assert desk.ended("no")["reason"] == "not this year"


def test_the_keyboard_alone_leads_from_the_inbox_to_a_decision_and_its_focus_is_seen(
    desk: Desk, visit: OpenVisit
) -> None:
    desk.ask("keys", "By keys alone?")
    page = visit(desk.gateway.url, DESKTOP).go("/")
    tab_to(page, "By keys alone?")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="By keys alone?").wait_for()
    tab_to(page, "Approve")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="You approved this").wait_for()
    assert desk.ended("keys")["approved"]


def tab_to(page: Page, text: str) -> None:
    """Press Tab until what has this text has the focus; fail where it cannot be seen on the way."""
    for _ in range(TABS):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS_IS_SEEN), page.evaluate("document.activeElement.outerHTML")
        if page.evaluate("document.activeElement.textContent").strip() == text:
            return
    pytest.fail(f"Tab does not lead to {text!r}")


def test_whoever_comes_second_is_told_who_was_first_and_changes_nothing(desk: Desk, visit: OpenVisit) -> None:
    id = desk.ask("second", "Who is second?")
    opened = visit(desk.gateway.url, Screen(script=False))
    page = opened.go(f"/r/{id}")
    desk.reject(id)
    opened.expect("409")
    page.get_by_role("button", name="Approve").click()
    assert "rejected by lead" in page.inner_text("main").lower()
    assert desk.ended("second")["by"] == "lead"


def test_a_link_leads_on_a_phone_to_its_request_alone_and_to_the_decision(
    desk: Desk, visit: OpenVisit
) -> None:
    id = desk.ask("linked", "Does the link work?")
    path, others = (urlsplit(desk.hitl.ok("link", id, "--for", who).strip()).path for who in ("ops", "lead"))
    opened = visit(desk.gateway.url, PHONE)
    page = opened.go(path)
    check_accessible(page)
    check_narrow(page)
    assert page.get_by_role("link", name="Inbox").count() == 0
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("heading", name="You approved this").wait_for()
    decision = desk.ended("linked")
    assert (decision["by"], decision["via"]) == ("ops", "link")
    opened.expect("410")
    page = opened.go(others)
    assert "was approved by ops" in page.inner_text("main")
    check_accessible(page)
    check_narrow(page)


def test_whoever_has_a_token_signs_in_with_it_is_where_they_wanted_to_be_and_signs_out(
    desk: Desk, visit: OpenVisit
) -> None:
    id = desk.ask("guarded", "Who is there?")
    token = desk.hitl.ok("token", "create", "--as", "ops", "--can", "decide").strip().splitlines()[-1]
    gateway = begin_gateway(desk.hitl, "--sign-in", "--no-undo")
    try:
        opened = visit(gateway.url, PHONE)
        page = opened.go(f"/r/{id}")
        check_accessible(page)
        check_narrow(page)
        opened.expect("400 (Bad Request)")
        for given in ("wrong", token):
            page.get_by_label("Token").fill(given)
            page.get_by_role("button", name="Sign in with the token").click()
        page.get_by_role("heading", name="Who is there?").wait_for()
        check_narrow(page)
        page.get_by_role("button", name="Approve").click()
        page.get_by_role("heading", name="You approved this").wait_for()
        assert desk.ended("guarded")["by"] == "ops"
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        assert urlsplit(opened.go("/runs").url).path == "/sign-in"
        page.goto("about:blank")  # or it would complain that the gateway is gone
    finally:
        gateway.clear_away()


def test_a_hostile_request_is_shown_and_runs_nothing(desk: Desk, visit: OpenVisit) -> None:
    opened = visit(desk.gateway.url, DESKTOP)
    for number, text in enumerate(HOSTILE):
        form = {
            "type": "object",
            "title": text,
            "properties": {text: {"type": "string", "title": text, "description": text, "default": text}},
        }
        id = desk.ask(
            f"{number}-{text.replace(':', ' ')}",
            f"{text}\n\n{text}",
            details={text: [text]},
            form=form if number % 2 else None,
            choices=[text, "no"],
            link="https://evil.example/?<script>alert(1)</script>",
            tags={text: text},
            key=text,
        )
        comment(desk.client, id, text, by=text, via=text)
        page = opened.go("/?all=1")
        page.locator(f"li[data-id={json.dumps(id)}] a").click()
        page.get_by_role("heading", name="Your answer").wait_for()
        assert page.locator("main img, main svg, main iframe, main script").count() == 0
        assert page.locator("a[href^='javascript:' i]").count() == 0
        page.get_by_role("button", name=text, exact=True).first.click()
        page.get_by_role("heading", name="You answered").wait_for()
    for path in ("/history", "/runs", "/stats"):
        assert opened.go(path).locator("main img, main iframe, main script").count() == 0
