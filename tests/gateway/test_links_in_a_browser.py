"""Links and signing in, as a real browser does it: with its own Origin, Sec-Fetch headers and cookies."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hitl_cli.questions import Question
from tests.cli.requests import promise_now, put
from tests.gateway.browser import IN_A_BROWSER, PHONE, check_accessible, check_narrow

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.gateway.conftest import OpenVisit, StartGateway

pytestmark = IN_A_BROWSER


def test_a_link_is_answered_on_a_phone_and_shows_what_came_of_it(
    hitl: Hitl, start_gateway: StartGateway, visit: OpenVisit
) -> None:
    put(hitl, "ship", Question(prompt="Ship 1.4.2?", to=("reviewer", "ops")))
    gateway = start_gateway("--sign-in")
    path = urlsplit(hitl.ok("link", "ship", "--for", "reviewer").strip()).path
    others = urlsplit(hitl.ok("link", "ship", "--for", "ops").strip()).path
    opened = visit(gateway.url, PHONE)
    page = opened.go(path)
    assert page.get_by_role("navigation", name="Main").count() == 0
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("approved").first.wait_for()
    assert promise_now(hitl, "ship")["state"] == "resolved"
    opened.expect("410")
    page = opened.go(others)
    assert "approved by reviewer" in page.inner_text("main")
    check_accessible(page)
    check_narrow(page)


def test_one_signs_in_goes_where_one_wanted_and_signs_out(
    hitl: Hitl, start_gateway: StartGateway, visit: OpenVisit
) -> None:
    token = hitl.ok("token", "create", "--as", "reviewer", "--can", "decide").strip()
    gateway = start_gateway("--sign-in")
    opened = visit(gateway.url, PHONE)
    page = opened.go("/runs")
    check_accessible(page)
    check_narrow(page)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in by the token").click()
    page.wait_for_url("**/runs")
    check_narrow(page)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    assert urlsplit(opened.go("/runs").url).path == "/sign-in"
