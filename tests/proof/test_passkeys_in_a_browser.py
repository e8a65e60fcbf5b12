"""In Chromium, with a virtual authenticator: a passkey is made, put into the settings, and decides."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.auth.sign_in import link_for, sign
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.proof import check_proven
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Contact, Directory
from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import Hitl, wait_until
from tests.gateway.browser import DESKTOP, IN_A_BROWSER, PHONE, Screen, check_accessible, check_narrow
from tests.gateway.conftest import start_gateway, visit
from tests.gateway.nginx import HOST, Nginx
from tests.gateway.visiting import Visited
from tests.typescript.conftest import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import CDPSession
    from playwright.sync_api import Page as Tab

    from tests.gateway.browser import Visit
    from tests.gateway.conftest import OpenVisit, StartGateway

__all__ = ["start_gateway", "visit"]

pytestmark = [pytest.mark.heavy, IN_A_BROWSER]

PERSON = 'The "lead"'


class Device:
    """An authenticator that confirms at once, or never."""

    def __init__(self, page: Tab) -> None:
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._session.send("WebAuthn.enable")
        options: dict[str, Any] = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = self._session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self._id = made["authenticatorId"]

    def verifies(self, person: bool) -> None:
        """Have it know the person, or not."""
        self._session.send(
            "WebAuthn.setUserVerified", {"authenticatorId": self._id, "isUserVerified": person}
        )


def served(start_gateway: StartGateway, visit: OpenVisit, screen: Screen, base: str) -> Visit:
    """Open a browser on a gateway at localhost, under a path."""
    url = f"http://localhost:{(port := free_port())}{base}"
    start_gateway("--no-undo", "--port", str(port), "--url", url, env={"HITL_AS": PERSON})
    opened: Visit = visit(url, screen)
    return opened


def press(page: Tab, name: str) -> None:
    """Press a button by the keyboard alone."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == name:
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"no button {name!r} to reach by the keyboard")


def enrol(hitl: Hitl, visited: Visit) -> Device:
    """Make a passkey by the keyboard, and put it into the settings."""
    page = visited.go("/passkeys")
    device = Device(page)
    page.keyboard.press("Tab")
    page.get_by_label("Name of the device").focus()
    page.keyboard.type("my phone")
    press(page, "Make a passkey")
    page.wait_for_selector("[data-made]")
    check_accessible(page)
    check_narrow(page)
    text = page.inner_text("#line")
    assert tomllib.loads(text)["people"][PERSON]["passkeys"][0].endswith(" my phone")
    page.goto(page.url)
    assert page.get_by_text("The settings have no passkey of yours.").is_visible()
    (hitl.folder / "hitl.toml").write_text(text)
    wait_until(lambda: visited.go("/passkeys").get_by_text("my phone").count())
    return device


@pytest.mark.parametrize(
    ("screen", "base"), [(DESKTOP, ""), (PHONE, "/tools/hitl")], ids=["desktop", "phone"]
)
def test_a_passkey_is_made_and_decides(
    hitl: Hitl, tmp_path: Path, start_gateway: StartGateway, visit: OpenVisit, screen: Screen, base: str
) -> None:
    (hitl.folder / "hitl.toml").write_text("")
    visited = served(start_gateway, visit, screen, base)
    device = enrol(hitl, visited)
    for id, proof in (("no", "signed"), ("yes", "passkey")):
        hitl.ok("ask", "Pay?", "--id", id, "--no-wait", "--proof", proof, "--to", PERSON)
    hitl.ok("ask", "Pay?", "--id", "form", "--no-wait", "--arguments", '{"amount": 5}', "--editable", "true")

    page = visited.go("/r/no")
    check_accessible(page)
    check_narrow(page)
    device.verifies(False)
    press(page, "Approve")
    page.wait_for_selector("[data-told]")
    assert {one["id"] for one in hitl.json("pending")} == {"no", "yes", "form"}
    device.verifies(True)
    page.get_by_text("Reject…").click()
    page.get_by_label("Reason").fill("too much")
    page.get_by_role("button", name="Reject", exact=True).click()
    page.get_by_text("You rejected this").wait_for()

    link = hitl.ok("link", "yes", "--for", PERSON).strip() if base else f"{visited.url}/r/yes"
    page.goto(link)
    page.get_by_label("Comment (optional)").fill("go")
    press(page, "Approve")
    page.get_by_text("You approved this").wait_for()

    page = visited.go("/r/form")
    assert page.get_by_label("Sign my decision with my passkey").is_checked()
    page.get_by_text("Change the arguments", exact=True).click()
    page.get_by_label("amount").fill("4")
    visited.expect("409")
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_role("button", name="Approve with 1 change").click()
    page.get_by_text("You approved this").wait_for()
    check_accessible(page)

    found = hitl.json("verify", "no", "yes", "form")
    assert [one["state"] for one in found] == ["proven"] * 3
    assert {one["kind"] for one in (proof for each in found for proof in each["proof"])} == {"passkey"}
    history = tmp_path / "history.jsonl"
    history.write_text(hitl.ok("export", "--since", "1d"))
    (tmp_path / "auditor").mkdir()
    alone = Hitl(tmp_path / "auditor")  # another machine, which has the settings and no server
    (alone.folder / "hitl.toml").write_text((hitl.folder / "hitl.toml").read_text())
    found = alone.json("verify", str(history))["decisions"]
    assert [one["state"] for one in found] == ["proven"] * 3


def test_an_answer_need_not_be_signed_and_another_address_says_so(
    hitl: Hitl, start_gateway: StartGateway, visit: OpenVisit
) -> None:
    (hitl.folder / "hitl.toml").write_text("")
    visited = served(start_gateway, visit, DESKTOP, "")
    enrol(hitl, visited)
    for id in ("plain", "needed"):
        hitl.ok("ask", "Pay?", "--id", id, "--no-wait", *(["--proof", "signed"] if id == "needed" else []))
    page = visited.go("/r/plain")
    page.get_by_label("Sign my decision").uncheck()
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_text("You approved this").wait_for()
    assert [one["state"] for one in hitl.json("verify", "plain")] == ["claimed"]

    at = visited.url
    other = visit(at.replace("localhost", "127.0.0.1"))
    other.expect("400")
    page = other.go("/r/needed")
    assert page.get_by_text("open this page there").get_attribute("href") == f"{at}/r/needed"
    page.get_by_role("button", name="Approve", exact=True).click()
    page.locator('[data-code="not-signed"]').wait_for()
    assert [one["id"] for one in hitl.json("pending")] == ["needed"]

    plain = visit(at, Screen(script=False))
    plain.expect("400")
    silent = plain.go("/r/needed")
    assert silent.get_by_text("hitl approve needed --sign").is_visible()
    silent.get_by_role("button", name="Approve", exact=True).click()
    silent.locator('[data-code="not-signed"]').wait_for()
    assert [one["id"] for one in hitl.json("pending")] == ["needed"]


def test_a_passkey_works_with_https_behind_a_proxy_under_a_path(
    hitl: Hitl, tmp_path: Path, visit: OpenVisit
) -> None:
    nginx = Nginx(tmp_path, 1)
    url = f"https://{HOST}:{nginx.ports[0]}/tools"
    people = [Directory(gateway=url)]
    gateway = Visited(hitl, url=url, live=lambda: people[0])
    try:
        nginx.start("/tools", [f"{gateway.address}/"])
        visited = visit(url)
        page = visited.go(f"/sign-in/{sign(link_for('lead', gateway.now(), '/passkeys'), gateway.keys)}")
        Device(page)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Make a passkey").click()
        page.wait_for_selector("[data-made]")
        lines = tomllib.loads(page.inner_text("#line"))["people"]["lead"]["passkeys"]
        assert lines[0].startswith(f"https://{HOST}:{nginx.ports[0]} ")
        people[0] = Directory(gateway=url, people={"lead": Contact(passkeys=tuple(lines))})
        put(hitl, "pay", Question(prompt="Pay?", proof="passkey"))
        visited.go(gateway.link("pay", "lead"))
        press(page, "Approve")
        page.get_by_text("You approved this").wait_for()
        page.goto("about:blank")  # before the proxy is stopped
        with hitl.client() as client:
            check_proven(Inbox(client, Actor(person="x", via="test")).find("pay"), people[0].members)
    finally:
        nginx.stop()
        gateway.stop()
