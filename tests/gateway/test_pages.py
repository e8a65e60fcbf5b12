"""Every page in Chromium: WCAG 2.2 AA by axe-core, wide and narrow, light and dark; and its pictures."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from hitl_cli.requests.question import Offer, Question
from tests.cli.past import HOUR_MS
from tests.cli.requests import put
from tests.conftest import Hitl
from tests.gateway import scene
from tests.gateway.browser import (
    DESKTOP,
    IN_A_BROWSER,
    NARROWEST,
    PHONE,
    Screen,
    check_accessible,
    check_narrow,
)
from tests.gateway.conftest import begin_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.gateway.conftest import GatewayProcess, OpenVisit

pytestmark = [pytest.mark.heavy, IN_A_BROWSER]

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"

LEAST = 44
"""CSS pixels of what one taps, as high as a finger needs it (WCAG 2.5.5). Links in a text are exempt."""

SMALL = """least => [...document.querySelectorAll("a, button, input, select, summary, textarea")]
    .filter(one => {
        const high = [one, ...(one.labels || [])].map(each => each.getBoundingClientRect().height);
        const inline = getComputedStyle(one).display === "inline" || one.closest("td, th, .step");
        const exempt = one.matches(".skip") || (one.tagName === "A" && inline);
        return one.offsetParent && !exempt && Math.max(...high) < least;
    })
    .map(one => one.outerHTML)"""

LARGEST = 150_000
"""Bytes of a picture in the README."""

PAGES = [
    "/",
    f"/r/{scene.RELEASE}",
    f"/r/{scene.CONTRACT}",
    f"/r/{scene.DECIDED}",
    "/r/post-november:1.1",
    "/runs",
    "/runs/release-1.4.2",
    "/runs/release-1.4.2/cancel",
    "/history",
    "/stats",
    "/rules",
    "/away",
    "/r/call-1",
    "/l/forged",
]


def gateway_of(hitl: Hitl, *, long: bool) -> GatewayProcess:
    """Start a gateway on the scene."""
    hitl.env["HITL_AS"] = scene.PERSON
    scene.fill(hitl)
    if long:
        scene.add_long(hitl)
    return begin_gateway(hitl)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    hitl = Hitl(tmp_path_factory.mktemp("pages"))
    gateway = gateway_of(hitl, long=False)
    hitl.ok("rule", "add", "--tool", "Bash", "--match", "git status*", "--as", scene.PERSON)
    call = {"tool": "Bash", "input": {"command": "git push origin main"}, "cwd": "/srv/app"}
    offer = Offer(where={"tool": "Bash", "input.command": "git push*"}, longest=8 * HOUR_MS)
    put(
        hitl,
        "call-1",
        Question(prompt="Run it?", arguments=call, offer=offer, to=(scene.PERSON,), reassign="assignees"),
        by="agent",
    )
    yield gateway
    gateway.clear_away()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_and_fits_a_narrow_screen(
    shown: GatewayProcess, visit: OpenVisit, path: str
) -> None:
    opened = visit(shown.url)
    opened.expect("403 (Forbidden)")
    page = opened.go(path)
    assert "That did not work" not in page.inner_text("main")
    for details in page.query_selector_all("main details:not([open]) > summary"):
        details.click()
    check_accessible(page)
    check_narrow(page)
    page.set_viewport_size({"width": PHONE.width, "height": PHONE.height})
    assert page.evaluate(SMALL, LEAST) == []


@pytest.mark.parametrize("dark", [False, True])
def test_a_state_on_a_ground_of_its_own_color_can_be_told_from_it(
    shown: GatewayProcess, visit: OpenVisit, dark: bool
) -> None:
    page = visit(shown.url, Screen(dark=dark)).go(f"/r/{scene.DECIDED}")
    drawn, ground = page.evaluate(
        """() => [[".notice .badge", "borderTopColor"], [".notice", "backgroundColor"]].map(
            ([which, color]) => getComputedStyle(document.querySelector(which))[color])"""
    )
    assert drawn not in (ground, "rgba(0, 0, 0, 0)")


def test_no_line_of_facts_ends_with_a_dot_and_each_begins_at_the_edge(
    shown: GatewayProcess, visit: OpenVisit
) -> None:
    page = visit(shown.url, PHONE).go(f"/r/{scene.RELEASE}")
    edge, lines = page.evaluate(
        """() => {
            const list = document.querySelector(".meta"), items = [...list.children];
            const padding = item => parseFloat(getComputedStyle(item).paddingLeft);
            const text = item => item.getBoundingClientRect().left + padding(item);
            const starts = items.filter((item, n) => n === 0 || item.offsetTop > items[n - 1].offsetTop + 8);
            const dots = items.map(item => getComputedStyle(item, "::after").content);
            return [document.querySelector("h1").getBoundingClientRect().left, [starts.map(text), dots]];
        }"""
    )
    starts, dots = lines
    assert len(starts) > 1
    assert set(starts) == {edge}
    assert set(dots) == {"none"}


def test_what_is_too_long_for_any_screen_does_not_widen_a_page(tmp_path: Path, visit: OpenVisit) -> None:
    gateway = gateway_of(Hitl(tmp_path), long=True)
    try:
        opened = visit(gateway.url, Screen(width=NARROWEST, height=640))
        name = quote(scene.LONG_WORD)
        for path in (
            "/?all=1",
            f"/r/{name}:2",
            f"/r/{name}:3",
            "/runs",
            f"/runs/{name}",
            "/history",
            "/stats",
        ):
            check_narrow(opened.go(path))
    finally:
        gateway.clear_away()


@pytest.mark.parametrize(
    ("name", "path", "screen"),
    [("inbox.png", "/", DESKTOP), ("request-phone.png", f"/r/{scene.EXPENSE}", PHONE)],
)
def test_the_pictures_of_the_readme_can_be_taken(
    shown: GatewayProcess, visit: OpenVisit, name: str, path: str, screen: Screen
) -> None:
    take(visit(shown.url, screen).go(path), name, whole=screen.touch)


def test_the_pictures_of_the_page_for_those_who_are_asked_can_be_taken(
    shown: GatewayProcess, visit: OpenVisit
) -> None:
    page = visit(shown.url, PHONE).go("/r/unblock-4471:1.1")
    take(page, "asked-phone.png")
    page.goto(f"{shown.url}/r/post-november:1.1")
    page.get_by_role("button", name="publish").click()
    page.get_by_role("button", name="Undo").wait_for()
    take(page, "undo-phone.png")
    page.get_by_role("button", name="Undo").click()
    page.locator("#main").get_by_text("Undone.").wait_for()
    page.goto(f"{shown.url}/?all=0")
    for title in ("Sign the contract", "Publish", "Unblock account"):
        page.locator("li", has_text=title).locator(".pick").click()
    page.get_by_role("button", name="Approve…").click()
    page.get_by_role("button", name=re.compile("Approve [0-9]+ requests")).wait_for()
    take(page, "many-phone.png")


def take(page: Page, name: str, *, whole: bool = False) -> None:
    """Take a picture of a page; with HITL_PICTURES it is written into the documentation."""
    picture = page.screenshot(full_page=whole, scale="css")
    assert 10_000 < len(picture) <= LARGEST
    if os.environ.get("HITL_PICTURES"):
        (PICTURES / name).write_bytes(picture)
