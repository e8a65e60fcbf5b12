"""A gateway under a path, behind a real nginx with TLS and HTTP/2, which removes the path or leaves it."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

from hitl_cli.auth import tokens
from hitl_cli.errors import BadSetting
from hitl_cli.gateway.app import application
from hitl_cli.gateway.context import Gateway
from hitl_cli.gateway.options import Options
from hitl_cli.people.contacts import Contact, Directory, EmailSettings
from hitl_cli.requests.question import Question
from hitl_cli.settings import Settings
from tests.cli.requests import DAY_MS, put
from tests.conftest import PATIENCE_S, Hitl
from tests.gateway.browser import IN_A_BROWSER
from tests.gateway.conftest import Reply
from tests.gateway.nginx import HOST, Nginx
from tests.gateway.visiting import Visited
from tests.notify.receivers import Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.gateway.conftest import OpenVisit

BASE = "/hitl"


class Site:
    """A gateway as people and programs reach it through nginx."""

    def __init__(self, gateway: Visited, mailbox: Mailbox) -> None:
        self.gateway = gateway
        self.hitl = gateway.hitl
        self.mailbox = mailbox
        self.url = gateway.options.url
        with self.hitl.client() as client:
            self.token = tokens.create(client, "ci", ["decide", "start"], life_ms=DAY_MS, by="owner")[1]

    def ask(self, method: str, path: str, data: Any = None, **headers: str) -> Reply:
        """Send a request as a program does, to a path of the host."""
        parts = urlsplit(self.url)
        trusting = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", parts.port, timeout=PATIENCE_S, context=trusting
        )
        body = None if data is None else json.dumps(data)
        given = {
            "Host": parts.netloc,
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            **headers,
        }
        try:
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    folder = tmp_path_factory.mktemp("nginx")
    nginx, gateways = Nginx(folder, 2), []
    with Mailbox() as mailbox:
        try:
            for port in nginx.ports:
                url = f"https://{HOST}:{port}{BASE}"
                people = Directory(
                    people={"reviewer": Contact(email="reviewer@example.org")},
                    email=EmailSettings(
                        host="127.0.0.1", port=mailbox.port, tls="none", from_="h@example.org"
                    ),
                    gateway=url,
                )
                hitl = Hitl(tmp_path_factory.mktemp("site"))
                gateways.append(Visited(hitl, url=url, directory=people, example_routes=True, undo=False))
            nginx.start(BASE, [f"{gateways[0].address}/", gateways[1].address])
            removed, left = (Site(gateway, mailbox) for gateway in gateways)
            yield {"removed": removed, "left": left}
        finally:
            nginx.stop()
            for gateway in gateways:
                gateway.stop()


@pytest.fixture(params=["removed", "left"])
def site(sites: dict[str, Site], request: pytest.FixtureRequest) -> Site:
    """A gateway behind a proxy that removes the path, or leaves it."""
    return sites[request.param]


def outside(page: Page) -> list[str]:
    """Return what of a page leads out of the path."""
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('[href], [src], [action], [data-events]')].flatMap(one =>"
        " ['href', 'src', 'action', 'data-events'].map(name => one.getAttribute(name)))"
        ".filter(where => where && where.startsWith('/'))"
    )
    return [where for where in found if not where.startswith(f"{BASE}/")]


@IN_A_BROWSER
@pytest.mark.heavy
def test_a_person_signs_in_answers_and_looks_around_and_never_leaves_the_path(
    site: Site, visit: OpenVisit
) -> None:
    put(site.hitl, "r1", Question(prompt="Ship it?", to=("reviewer",)))
    put(site.hitl, "r2", Question(prompt="And this?", to=("reviewer",)))
    opened = visit(site.url)
    asked: list[str] = []
    page = opened.page
    page.on("request", lambda one: asked.append(urlsplit(one.url).path))
    opened.go("")
    page.get_by_label("User name").fill("reviewer")
    count = len(site.mailbox.received)
    page.get_by_role("button", name="E-mail me a link").click()
    mail = site.mailbox.wait_for(count + 1)[count].get_body(("plain",))
    assert mail is not None
    link = re.search(r"https://tools\.\S+", mail.get_content())
    assert link
    assert link[0].startswith(f"{site.url}/sign-in/")
    page.goto(link[0])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site.url}/")
    assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    [cookie] = page.context.cookies()
    assert (cookie["path"], cookie["secure"]) == (BASE, True)
    assert cookie["name"].startswith("__Secure-hitl-session")

    put(site.hitl, "r3", Question(prompt="Just now?", to=("reviewer",)))
    page.get_by_role("link", name="Just now?").wait_for()  # by events, which nginx does not hold back
    page.get_by_label("Find").fill("Ship")
    page.wait_for_url(f"{site.url}/?q=Ship")
    page.get_by_role("link", name="Ship it?").click()
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("You approved this").wait_for()
    assert page.url == f"{site.url}/r/r1"
    page.goto(f"{site.url}/r/r2")
    page.locator("summary", has_text="Add a comment").click()
    page.locator("#remark").fill("looking")
    page.get_by_role("button", name="Add comment").click()
    page.locator("#comments").get_by_text("looking").wait_for()
    for name in ("Runs", "History", "Stats", "Inbox"):
        page.get_by_role("link", name=name, exact=True).click()
        page.locator(f'nav [aria-current="page"] >> text={name}').wait_for()
        assert outside(page) == []
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()
    assert [path for path in asked if path != BASE and not path.startswith(f"{BASE}/")] == []


@IN_A_BROWSER
@pytest.mark.heavy
def test_a_link_of_a_message_answers_under_the_path(site: Site, visit: OpenVisit) -> None:
    put(site.hitl, "l1", Question(prompt="Ship it?", to=("reviewer",)))
    opened = visit(site.url)
    page = opened.go(site.gateway.link("l1", "reviewer"))
    assert outside(page) == []
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("You approved this").wait_for()
    assert page.url.startswith(f"{site.url}/l/")


@pytest.mark.heavy
def test_programs_are_led_under_the_path(site: Site) -> None:
    started = site.ask("POST", f"{BASE}/api/v1/runs", {"id": "run-1", "workflow": "approval"})
    where = started.headers["Location"]
    assert where == f"{BASE}/api/v1/runs/run-1"
    assert site.ask("GET", where).json["id"] == "run-1"
    assert site.ask("POST", f"{BASE}/start-workflow", {"workflow_id": "run-2"}).status == 200
    following = site.ask("GET", f"{BASE}/api/v1/runs?limit=1").headers["Link"].partition(">")[0].lstrip("<")
    assert following.startswith(f"{BASE}/api/v1/runs?")
    assert site.ask("GET", following).json["items"]
    described = site.ask("GET", f"{BASE}/api/v1/openapi.json").json
    assert described["servers"] == [{"url": BASE}]
    put(site.hitl, "u/1", Question(prompt="?"))
    led = site.ask("GET", f"{BASE}/unblock-workflow?promise_id={quote('u/1', safe='')}")
    assert (led.status, led.headers["Location"]) == (303, f"{BASE}/r/u%2F1")


@pytest.mark.heavy
def test_errors_have_the_shape_of_their_address_under_the_path(site: Site) -> None:
    assert site.ask("GET", f"{BASE}/api/v1/runs/none").headers["Content-Type"] == "application/problem+json"
    assert site.ask("POST", f"{BASE}/hooks/none", {}).json["code"] == "not-found"
    assert set(site.ask("POST", f"{BASE}/start-workflow", {}).json) == {"error"}
    away = site.ask("GET", f"{BASE}/runs?state=failed", Accept="text/html", Authorization="")
    assert away.headers["Location"] == f"{BASE}/sign-in?next=/runs?state%3Dfailed"
    assert site.ask("GET", f"{BASE}/static/hitl.css", Authorization="").status == 200
    assert site.ask("GET", BASE, Accept="text/html").headers["Location"].endswith(f"{BASE}/")


def test_no_template_leads_out_of_the_path() -> None:
    for template in Path(str(files("hitl_cli.gateway") / "templates")).rglob("*.html"):
        led = re.findall(r'(?:href|src|action|data-events)="([^"]*)', template.read_text())
        own = [to for to in led if not to.startswith(("#", "{{ asked.link }}"))]
        paths = [re.sub(r"^\{\{ (signing\.)?origin \}\}", "", to) for to in own]  # the gateway's own origin
        assert [path for path in paths if not path.startswith("{{ base }}")] == [], template.name


@pytest.mark.parametrize("base", ["/r", "/l", "/runs", "/static", "/api", "/sign-in/x", "/hooks"])
def test_a_path_that_is_one_of_its_own_pages_is_refused(tmp_path: Path, base: str) -> None:
    url = f"https://example.org{base}"
    options = Options(server="sqlite:///x.db", keys=tmp_path / "keys", person="owner", url=url)
    with pytest.raises(BadSetting, match=base):
        application(Gateway(options))


@pytest.mark.parametrize(
    "more", ["?a=1", "/hitl?", "#top", "/hitl#", "/a b", "/a//b", "/..", "/%2e", "/{id}"]
)
def test_an_address_with_a_query_a_fragment_or_a_path_that_reads_in_two_ways_is_refused(more: str) -> None:
    with pytest.raises(BadSetting):
        Settings(env={}).gateway(f"https://tools.example.org{more}")
    with pytest.raises(BadSetting):
        Settings(env={"HITL_GATEWAY": f"https://user:word@example.org{more}"}).gateway()


def test_a_slash_at_the_end_of_an_address_makes_no_difference() -> None:
    for said in ("https://tools.example.org/hitl", "https://tools.example.org/hitl/"):
        assert Settings(env={}).gateway(said).value == "https://tools.example.org/hitl"
