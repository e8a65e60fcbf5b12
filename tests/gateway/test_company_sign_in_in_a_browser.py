"""Sign-in with a real provider (the npm package oidc-provider) in Chromium, and `hitl login` after it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import Hitl, wait_until
from tests.gateway.browser import IN_A_BROWSER, check_accessible
from tests.gateway.conftest import GatewayProcess, begin_gateway
from tests.gateway.real_provider import SECRET, provider, sign_in
from tests.typescript.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.browser import Visit
    from tests.gateway.conftest import OpenVisit

pytestmark = [pytest.mark.heavy, IN_A_BROWSER]

SETTINGS = """
[people.reviewer]
email = "reviewer@example.org"

[groups.ops]

[oidc]
issuer = "{issuer}"
client_id = "hitl"
client_secret = "$OIDC_SECRET"
name = "Acme"
scopes = ["openid", "email", "groups"]
can = ["read", "decide", "ask"]

[oidc.groups]
"acme-ops" = "ops"
"""


@pytest.fixture(scope="module")
def signing_in(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[tuple[Hitl, GatewayProcess, str]]:
    """A gateway with a provider; returns the issuer, too."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    cache = pytestconfig.cache.mkdir("oidc-provider")
    with provider(cache, tmp_path_factory.mktemp("provider"), url) as issuer:
        hitl = Hitl(tmp_path_factory.mktemp("company"))
        (hitl.folder / "hitl.toml").write_text(SETTINGS.format(issuer=issuer))
        gateway = begin_gateway(hitl, "--port", str(port), env={"OIDC_SECRET": SECRET})
        try:
            yield hitl, gateway, issuer
        finally:
            gateway.clear_away()


def leads_elsewhere(browser: Visit) -> None:
    """Have it be no failure that pages are the provider's or a terminal's: with fonts, and no icon."""
    for expected in ("asked another host: http://127.0.0.1:", "fonts.g", "favicon.ico"):
        browser.expect(expected)


def test_a_person_signs_in_answers_and_signs_out_everywhere(
    signing_in: tuple[Hitl, GatewayProcess, str], visit: OpenVisit
) -> None:
    hitl, gateway, _ = signing_in
    put(hitl, "for-ops", Question(prompt="Restart?", to=("group:ops",)))
    browser = visit(gateway.url)
    leads_elsewhere(browser)
    page = browser.go("/r/for-ops")
    sign_in(page)
    page.wait_for_url(f"{gateway.url}/r/for-ops")
    assert page.locator(".who").inner_text().endswith("reviewer")
    page.get_by_role("button", name="Approve").first.click()
    [entry] = wait_until(lambda: hitl.json("history", "for-ops"))
    assert (entry["by"], entry["via"]) == ("reviewer", "web")
    other = page.context.new_page()
    other.goto(f"{gateway.url}/history")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Sign out of Acme too").click()
    page.get_by_role("button", name=re.compile("Yes")).click()
    page.wait_for_url(re.compile(re.escape(f"{gateway.url}/sign-in")))
    other.goto(f"{gateway.url}/history")
    assert "/sign-in" in other.url


def test_the_provider_ends_the_session_of_another_browser(
    signing_in: tuple[Hitl, GatewayProcess, str], visit: OpenVisit
) -> None:
    """Back-channel logout: who signs out at the provider is signed out at the gateway."""
    _, gateway, issuer = signing_in
    browser = visit(gateway.url)
    leads_elsewhere(browser)
    page = browser.go("/history")
    sign_in(page)
    page.wait_for_url(f"{gateway.url}/history")
    page.goto(f"{issuer}/session/end")
    page.get_by_role("button", name=re.compile("Yes")).click()

    def is_out() -> bool:
        page.goto(f"{gateway.url}/history")
        return "/sign-in" in page.url

    wait_until(is_out)


def test_a_terminal_is_signed_in_by_the_browser_with_its_policy(
    signing_in: tuple[Hitl, GatewayProcess, str], visit: OpenVisit, tmp_path: Path
) -> None:
    """The form may lead to 127.0.0.1, which Chromium forbids without the policy of this page."""
    hitl, gateway, _ = signing_in
    far = Hitl(tmp_path)
    far.env["BROWSER"] = "/bin/true"
    put(hitl, "from-afar", Question(prompt="Restart?", to=("group:ops",)))
    command = far.popen("login", gateway.url)
    assert command.stderr is not None
    address = command.stderr.readline().partition("browser: ")[2].strip()
    browser = visit(gateway.url)
    for expected in (
        "asked another host: http://127.0.0.1:",
        "asked another host: https://fonts.",
        "fonts.g",
    ):
        browser.expect(expected)
    browser.expect("favicon")
    browser.expect("404")
    page = browser.go(address.removeprefix(gateway.url))
    check_accessible(page)
    sign_in(page)
    page.get_by_role("button", name="Sign in the terminal").wait_for()
    check_accessible(page)
    page.get_by_role("button", name="Sign in the terminal").click()
    page.get_by_text("Signed in. You can close this page.").wait_for()
    assert command.wait() == 0
    made = far.json("approve", "from-afar", "-S", gateway.url)  # by a group of the account
    assert (made["by"], made["via"]) == ("reviewer", "cli")
