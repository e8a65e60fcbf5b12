"""The whole afternoon of docs/guides/deploy-for-a-team.md, and what happens in the team after it."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest

from hitl_cli.gateway.auth.endings import BELIEVED_S
from tests.conftest import Hitl, wait_until
from tests.deploy.team import team
from tests.deploy.units import DEPLOY
from tests.docs.pages import Run
from tests.gateway.browser import IN_A_BROWSER
from tests.gateway.test_prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.deploy.team import Team
    from tests.gateway.browser import Browser

GUIDE = DEPLOY.parent / "docs" / "guides" / "deploy-for-a-team.md"

SECONDS = BELIEVED_S * 4
"""Within what an end must be everywhere: a gateway looks every BELIEVED_S, and the machine may be busy."""

pytestmark = [pytest.mark.heavy, IN_A_BROWSER]


@pytest.fixture(scope="module")
def server(
    chromium: Browser, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    """What the guide installs, by its commands as they stand."""
    run = Run(Hitl(tmp_path_factory.mktemp("server")))
    cache = pytestconfig.cache.mkdir("oidc-provider")
    with team(run, chromium, cache, tmp_path_factory.mktemp("team")) as server:
        run.page(GUIDE)
        yield server


def test_each_reads_what_their_role_lets_them(server: Team) -> None:
    lead, auditor, deputy = (server.terminal(person) for person in ("lead", "auditor", "deputy"))
    lead.ok("ask", "Rotate the keys?", "--id", "keys-1", "--to", "reviewer", "--no-wait")
    assert auditor.json("show", "keys-1")["prompt"] == "Rotate the keys?"
    auditor.fails(7, "approve", "keys-1", code="not-assignee")
    deputy.fails(3, "show", "keys-1", code="not-found")
    assert deputy.json("pending", "--all") == []
    page = server.page("reviewer")
    page.goto(f"{server.url}/r/keys-1")
    page.get_by_role("button", name="Approve").first.click()
    assert wait_until(lambda: lead.json("history", "keys-1"))[0]["by"] == "reviewer"


def test_a_request_is_asked_back_handed_over_and_decided_by_the_deputy(server: Team) -> None:
    lead, reviewer, deputy = (server.terminal(person) for person in ("lead", "reviewer", "deputy"))
    lead.ok("start", "release-2", "1.5.0", "--workflow", "release")
    wait_until(lambda: reviewer.json("pending", "--mine"))
    deputy.fails(3, "show", "release-2", code="not-found")
    reviewer.ok("ask-back", "release-2", "Are the notes written?")
    [asked] = lead.json("pending", "--mine")
    assert asked["asked_back"]["text"] == "Are the notes written?"
    lead.ok("answer-back", "release-2", "They are")
    specialist = server.terminal("specialist")
    specialist.ok("away", "--until", "14d", "--to", "deputy")
    reviewer.ok("assign", "release-2", "specialist")
    reviewer.fails(3, "approve", "release-2", code="not-found")  # it does not concern them any more
    assert [one["run"] for one in deputy.json("pending", "--mine")] == ["release-2"]
    deputy.ok("approve", "release-2")
    assert json.loads(lead.ok("wait", "release-2")) == "1.5.0 released"
    [made] = [entry for entry in lead.json("history", "release-2") if entry["outcome"] == "approved"]
    assert (made["by"], made["deputy_for"]) == ("deputy", ["specialist"])


def test_who_is_removed_is_out_at_both_gateways_within_seconds(server: Team) -> None:
    lead, leaver = server.terminal("lead"), server.terminal("reviewer")
    lead.ok("ask", "Ship?", "--id", "ship-1", "--to", "reviewer", "--no-wait")
    page = server.page("reviewer")
    page.goto(f"{server.url}/r/ship-1")
    [login] = json.loads((leaver.folder / "config" / "hitl" / "logins.json").read_text())["logins"]
    assert not any(server.refuses(port, login["token"]) for port in ("5001", "5002"))
    removed = server.on_server.json("people", "remove", "reviewer")
    assert removed["person"] == "reviewer"
    for port in ("5001", "5002"):
        wait_until(partial(server.refuses, port, login["token"]), SECONDS)
    leaver.fails(6, "pending", code="token-refused")

    def is_out() -> bool:
        page.goto(f"{server.url}/history")
        return "/sign-in" in page.url

    # nginx asks one gateway after the other
    wait_until(lambda: all(is_out() for _ in range(4)), SECONDS)
    assert lead.json("show", "ship-1")["state"] == "pending"


def test_prometheus_sees_both_gateways_and_the_worker(server: Team, tmp_path: Path) -> None:
    gateways = "\n          - ".join(server.metrics("9464", "9466"))
    prometheus = Prometheus(tmp_path / "prometheus", gateways, *server.metrics("9465"))
    try:
        wait_until(lambda: prometheus.values('up{job="hitl"}') == [1, 1, 1])
    finally:
        prometheus.stop()
