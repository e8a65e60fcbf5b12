"""The promises of docs/explanation/security.md: access, other sites, and the log."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from aiohttp.test_utils import make_mocked_request

from hitl_cli.auth import links
from hitl_cli.auth.links import Link, url_of
from hitl_cli.auth.signing_keys import rotate
from hitl_cli.gateway.app import application
from hitl_cli.gateway.auth import sessions
from hitl_cli.gateway.auth.access import KEPT
from hitl_cli.gateway.auth.authenticators import SessionAuthenticator
from hitl_cli.gateway.auth.rate_limit import MOST_KNOWN, RateLimit, network_of
from hitl_cli.gateway.context import BAD_TOKENS, Gateway
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.gateway.options import Options
from hitl_cli.gateway.pages import routes as page_routes
from hitl_cli.people.actor import PERMISSIONS
from hitl_cli.people.contacts import Contact, Directory, EmailSettings
from hitl_cli.requests.question import Question
from tests.cli.requests import promise_now, put
from tests.conftest import PATIENCE_S, Hitl
from tests.gateway.visiting import Browser, Visited, all_promises
from tests.notify.receivers import Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.people.actor import Permission
    from tests.gateway.conftest import StartGateway

SESSION = "__Host-hitl-session"
HOUR_MS = 3_600_000
ASKED = Question(prompt="Ship 1.4.2?", to=("reviewer",))

TO_ANYBODY = {
    "/health": "says that it is up",
    "/ready": "says that its server is",
    "/static/{name}": "the style sheet and the script",
    "/l/{token}": "the link says for whom",
    "/sign-in": "how one gets in",
    "/sign-in/{token}": "the link says who gets in",
    "/api/v1/login/device": "tells a fresh code, with which nobody can do anything until a person types it",
    "/api/v1/login/token": "the code, which a person has allowed, says for whom",
    "/hooks/{name}": "what is sent is signed",
    "/api/v1/answers/{token}": "the URL says for whom",
    "/api/v1/openapi.json": "a description, of what everybody can read in the sources",
}
"""The routes that are answered to whoever asks, and why that is no harm."""


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    """A gateway beyond this machine."""
    hitl = Hitl(tmp_path_factory.mktemp("beyond"))
    gateway = Visited(hitl, url="https://hitl.example.org", example_routes=True)
    yield gateway
    gateway.stop()


@pytest.fixture
def stranger(visited: Visited) -> Browser:
    return Browser(visited.address)


@pytest.fixture
def reviewer(visited: Visited) -> Browser:
    """A person who has signed in."""
    return somebody(visited, "reviewer")


def somebody(visited: Visited, person: str, *may: Permission) -> Browser:
    browser = Browser(visited.address)
    session = sessions.begin(person, frozenset(may or ("read", "decide")), visited.now())
    browser.cookies[SESSION] = sessions.sign(session, visited.keys)
    return browser


@pytest.fixture
def asked(visited: Visited, request: pytest.FixtureRequest) -> str:
    """The id of a request of the test's own."""
    return put(visited.hitl, re.sub(r"\W+", "-", request.node.name), ASKED).id


# Strangers on the network


def routes(visited: Visited) -> list[tuple[str, str]]:
    """Return the method and the pattern of every route."""
    assert visited.gateway is not None
    found = {
        (route.method, route.resource.canonical)
        for route in application(visited.gateway).router.routes()
        if route.resource is not None
    }
    return sorted(found)


def test_beyond_this_machine_no_route_is_answered_to_whoever_has_not_signed_in(
    visited: Visited, stranger: Browser, asked: str
) -> None:
    seen = set()
    for method, pattern in routes(visited):
        seen.add(pattern)
        if pattern in TO_ANYBODY:
            continue
        path = re.sub(r"\{[^}]*\}", quote(asked, safe=""), pattern)
        for accept in ("text/html", "application/json", "*/*", "text/event-stream"):
            page = stranger.ask(method, path, {"verdict": "approve"}, {"Accept": accept})
            assert page.status in {303, 401, 403}, f"{method} {path}: {page.status}"
            assert page.headers.get("Location", "/sign-in").startswith("/sign-in")
            assert "Ship" not in page.text
    assert {"/l/{token}", "/sign-in", "/health"} <= seen
    assert promise_now(visited.hitl, asked)["state"] == "pending"


@pytest.mark.parametrize(
    "path",
    [
        "/l/../runs",
        "/l/%2e%2e/runs",
        "/l/..%2fruns",
        "/static/../../../etc/passwd",
        "/static/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/static/..%5c..%5capp.py",
        "/static//etc/passwd",
        "/sign-in/../runs",
        "/health/../runs",
        "//runs",
        "/%2fruns",
        "/RUNS",
        "/l/%00",
        "http://127.0.0.1/runs",
    ],
)
def test_no_spelling_of_a_path_leads_past_signing_in(stranger: Browser, path: str) -> None:
    page = stranger.get(path)
    assert page.status in {303, 400, 401, 403, 404}
    assert "root:" not in page.text
    assert "<nav" not in page.text


def test_nobody_decides_what_is_not_theirs(visited: Visited, asked: str) -> None:
    other = somebody(visited, "ops")
    mark = other.get("/nowhere").csrf
    for path in (f"/r/{asked}", visited.link(asked, "reviewer")):
        assert other.post(path, {"csrf": mark, "verdict": "approve"}).status == 403
    assert promise_now(visited.hitl, asked)["state"] == "pending"


def test_a_session_may_do_no_more_than_its_token(visited: Visited, asked: str) -> None:
    reader = Browser(visited.address)
    session = sessions.begin("reviewer", frozenset({"read"}), visited.now())
    reader.cookies[SESSION] = sessions.sign(session, visited.keys)
    assert reader.get(f"/r/{asked}").status == 200
    mark = reader.get("/nowhere").csrf
    assert reader.post(f"/r/{asked}", {"csrf": mark, "verdict": "approve"}).status == 403
    assert reader.post("/start-workflow", {}).status == 403
    assert promise_now(visited.hitl, asked)["state"] == "pending"


def test_a_session_that_was_signed_by_a_forgotten_key_is_none(visited: Visited) -> None:
    browser = somebody(visited, "reviewer")
    assert browser.get("/nowhere").status == 404
    rotate(visited.options.keys, visited.now())
    assert browser.get("/nowhere").status == 404
    rotate(visited.options.keys, visited.now(), forget=True)
    assert browser.get("/nowhere").status == 303


# Pages of other sites, in the same browser


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "https://hitl.example.org.evil.example"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Origin": "null"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_sites_page_cannot_answer_even_with_a_good_form(
    visited: Visited, stranger: Browser, asked: str, headers: dict[str, str]
) -> None:
    path = visited.link(asked, "reviewer")
    form = {"csrf": stranger.get(path).csrf, "verdict": "approve"}
    assert stranger.ask("POST", path, form, headers).status == 403
    assert promise_now(visited.hitl, asked)["state"] == "pending"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://hitl.example.org", "Sec-Fetch-Site": "same-origin"},
        {},
    ],
)
def test_our_own_page_can(visited: Visited, stranger: Browser, asked: str, headers: dict[str, str]) -> None:
    path = visited.link(asked, "reviewer")
    form = {"csrf": stranger.get(path).csrf, "verdict": "approve"}
    assert stranger.ask("POST", path, form, headers).status in {200, 303}


@pytest.mark.parametrize(
    "how", ["none", "empty", "wrong", "of a session", "of another link", "of the sign-in"]
)
def test_a_form_without_its_mark_is_not_taken(
    visited: Visited, stranger: Browser, reviewer: Browser, asked: str, how: str
) -> None:
    path = visited.link(asked, "reviewer")
    mark = {
        "none": None,
        "empty": "",
        "wrong": "0" * 64,
        "of a session": reviewer.get("/nowhere").csrf,
        "of another link": stranger.get(visited.link(asked, "reviewer")).csrf,
        "of the sign-in": stranger.get("/sign-in").csrf,
    }[how]
    form = {"verdict": "approve"} | ({} if mark is None else {"csrf": mark})
    for browser in (stranger, reviewer):
        assert browser.post(path, form).status == 403
    assert promise_now(visited.hitl, asked)["state"] == "pending"


ALONE = {"/sign-in", "/sign-in/{token}", "/sign-out", "/l/{token}"}
"""Forms that are sent without signing in: their tokens are of the browser, or of the link."""

FORMS = sorted(re.sub(r":[^}]*", "", route.path) for route in page_routes.ROUTES if route.method == "POST")
SENT = {"verdict": "approve", "until": "2d", "back": "1", "allow": "1", "who": "reviewer"}


@pytest.mark.parametrize("pattern", FORMS)
def test_no_form_is_taken_without_signing_in_or_without_its_token(
    visited: Visited, stranger: Browser, asked: str, pattern: str
) -> None:
    path = pattern.replace("{id}", quote(asked, safe="")).replace("{token}", "x")
    path = visited.link(asked, "reviewer") if pattern == "/l/{token}" else path
    before = all_promises(visited.hitl)
    if pattern not in ALONE:
        page = stranger.post(path, SENT | {"id": asked})
        assert page.status == 401
        assert (f'name="id" value="{asked}"' in page.text) == (pattern in KEPT)
    browser = somebody(visited, "reviewer", *PERMISSIONS)
    for token in ({}, {"csrf": "x"}, {"csrf": somebody(visited, "lead").get("/nowhere").csrf}):
        page = browser.post(path, SENT | {"id": asked} | token)
        assert (page.status, page.code) == (403, "form-expired")
    assert all_promises(visited.hitl) == before


def test_a_form_of_one_session_is_not_taken_in_another(visited: Visited, reviewer: Browser) -> None:
    mark = reviewer.get("/nowhere").csrf
    for other in (somebody(visited, "reviewer"), somebody(visited, "lead")):
        assert other.post("/sign-out", {"csrf": mark}).status == 403
    assert reviewer.post("/sign-out", {"csrf": mark}).status == 303


def test_nobody_is_signed_in_as_somebody_else_by_another_sites_page(
    visited: Visited, stranger: Browser
) -> None:
    """Its author has a good link and a good form of their own, but not this browser's cookie."""
    author = Browser(visited.address)
    mark = author.get("/sign-in").csrf
    for form in ({"csrf": mark, "who": "author"}, {"csrf": mark, "token": "theirs"}, {"who": "author"}):
        assert stranger.ask("POST", "/sign-in", form, {"Origin": "null"}).status == 403


def test_no_page_can_be_framed_kept_or_tell_where_one_came_from(
    visited: Visited, stranger: Browser, reviewer: Browser, asked: str
) -> None:
    for page in (
        stranger.get(visited.link(asked, "reviewer")),
        stranger.get("/l/forged"),
        stranger.get("/sign-in"),
        stranger.get("/nowhere"),
        reviewer.get("/nowhere"),
    ):
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["X-Frame-Options"] == "DENY"
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in page.headers
        assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|javascript:", page.text)


# Hosts and headers


def test_no_answer_repeats_a_host_that_is_not_ours(visited: Visited, stranger: Browser, asked: str) -> None:
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Original-URL": "/runs"}
    for path in ("/", "/sign-in", "/l/forged", visited.link(asked, "reviewer"), "/nowhere"):
        page = stranger.ask("GET", path, headers=forged)
        assert "evil.example" not in page.text + str(dict(page.headers))


def test_the_mail_by_which_one_signs_in_names_our_address_whatever_the_host_header(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with Mailbox() as mailbox:
        directory = Directory(
            people={"reviewer": Contact(email="reviewer@example.org")},
            email=EmailSettings(host="127.0.0.1", port=mailbox.port, tls="none", from_="hitl@example.org"),
        )
        hitl = Hitl(tmp_path_factory.mktemp("mail"))
        visited = Visited(hitl, url="https://hitl.example.org", directory=directory)
        try:
            browser = Browser(visited.address)
            form = {"csrf": browser.get("/sign-in").csrf, "who": "reviewer"}
            forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
            assert browser.ask("POST", "/sign-in", form, forged).status == 200
            [mail] = mailbox.wait_for()
            assert "https://hitl.example.org/sign-in/" in mail.as_string().replace("=\n", "")
            assert "evil.example" not in mail.as_string()
        finally:
            visited.stop()


@pytest.mark.parametrize(
    "text", ["a\r\nSet-Cookie: x=1", "a\nb", "<script>alert(1)</script>", '"><img src=x>', "\u202eevil"]
)
def test_a_hostile_name_or_id_is_text_and_nothing_else(
    visited: Visited, stranger: Browser, text: str
) -> None:
    now = visited.now()
    link = Link(request=text, person=text, made_at=now, ends_at=now + HOUR_MS, id=text)
    mine = put(visited.hitl, f"for {text}", Question(prompt=text, to=(text,)))
    for path in (url_of("", link, visited.keys), visited.link(mine.id, text)):
        page = stranger.get(path)
        assert page.status in {200, 404}
        assert not page.cookies
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text


@pytest.mark.parametrize("kind", ["charset=nonsense", "charset=utf-16", "charset=utf-8"])
def test_a_form_in_no_writing_is_refused(visited: Visited, stranger: Browser, kind: str) -> None:
    assert visited.gateway is not None
    body = b"csrf=\xff\xfe\xfd"
    head = f"POST /sign-in HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: application/x-www-form-urlencoded; {kind}\r\n\r\n"
    port = int(visited.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as raw:
        raw.sendall(head.encode() + body)
        assert raw.recv(4_096).split()[1] in {b"400", b"403"}
    assert stranger.get("/sign-in").status == 200


# Logs


@pytest.fixture
def failing(visited: Visited, monkeypatch: pytest.MonkeyPatch) -> Visited:
    """A gateway whose links fail with an unexpected error."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(links, "open_link", fail)
    return visited


def test_no_token_is_logged_when_a_link_fails(
    failing: Visited, stranger: Browser, asked: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = failing.link(asked, "reviewer")
    token = path.removeprefix("/l/")
    with caplog.at_level(logging.DEBUG):
        page = stranger.get(path)
    assert page.status == 500
    assert "nobody foresaw" not in page.text
    assert "GET /l/{token} failed" in caplog.text
    assert token not in caplog.text
    assert token.strip(".").split(".")[0] not in caplog.text


def test_a_path_cannot_forge_a_line_of_the_log(
    visited: Visited, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert visited.gateway is not None

    def fail(*_: Any) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(SessionAuthenticator, "identify", fail)
    with caplog.at_level(logging.ERROR):
        assert Browser(visited.address).get("/a%0d%0ahitl:%20all%20is%20well%1b[2J").status == 500
    [message] = [record.getMessage() for record in caplog.records]
    assert message == r"GET /a hitl: all is well\x1b[2J failed"


def test_a_gateway_prints_no_token_whatever_is_sent(start_gateway: StartGateway, hitl: Hitl) -> None:
    put(hitl, "ship", ASKED)
    gateway = start_gateway("--sign-in")
    url = hitl.ok("link", "ship", "--for", "reviewer").strip()
    path = url.removeprefix("http://127.0.0.1:5001")
    token = path.removeprefix("/l/")
    browser = Browser(gateway.url)
    browser.answer(path)
    for sent in (f"GET {path} HTTP/9.9\r\n\r\n", f"NOT A {path}\r\n\r\n", f"GET {path}\x00 HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), PATIENCE_S) as raw:
            raw.sendall(sent.encode())
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(4_096):
                pass
    browser.get(path[:-1])
    hitl.ok("link", "revoke", url)
    assert browser.get(path).status == 410
    keys = Path(hitl.env.get("HITL_KEYS", f"{hitl.database}.keys"))
    keys.write_text("damaged")
    page = browser.get(path)
    assert page.status == 410  # by the keys as they were
    assert str(keys) not in page.text
    gateway.complained("has no usable keys")
    assert gateway.stop() == 0
    assert token not in "\n".join([*gateway.lines, *gateway.errors])


# The counting of attempts


def test_attempts_are_counted_for_each_and_not_for_ever() -> None:
    now = [0]
    attempts = RateLimit(2, 1_000, lambda: now[0])
    assert [attempts.count("one") for _ in range(3)] == [0, 0, 1_000]
    assert attempts.count("other") == 0
    now[0] = 400
    assert attempts.count("one") == 600
    now[0] = 1_000
    assert attempts.count("one") == 0


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    now = [1_000_000]
    attempts = RateLimit(1, 1_000, lambda: now[0])
    assert attempts.count("one") == 0
    now[0] = 0
    assert attempts.count("one") == 0


def test_attempts_take_no_more_room_than_they_may() -> None:
    attempts = RateLimit(1, 1_000, lambda: 0)
    for number in range(MOST_KNOWN + 10):
        attempts.count(str(number))
    assert len(attempts._windows) == MOST_KNOWN


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::2", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (None, ""),
        ("odd", "odd"),
    ],
)
def test_whoever_has_a_network_is_counted_once(address: str | None, network: str) -> None:
    assert network_of(address) == network


def test_bad_tokens_from_many_addresses_of_one_network_are_counted_together(hitl: Hitl) -> None:
    options = Options(server=hitl.url, keys=hitl.database.with_name("keys"), person="owner")
    gateway = Gateway(options)
    request = make_mocked_request("GET", "/", {"Authorization": "Bearer bad"})

    async def show(count: int, network: str) -> list[int]:
        statuses = []
        for number in range(count):
            with pytest.raises(HttpError) as refusal:
                await gateway.bearers.token(request.clone(remote=f"{network}::{number}"))
            statuses.append(refusal.value.status)
        return statuses

    try:
        assert asyncio.run(show(BAD_TOKENS + 1, "2001:db8:0:1")) == [401] * BAD_TOKENS + [429]
        assert asyncio.run(show(1, "2001:db8:0:2")) == [401]
    finally:
        gateway.bridge.close()
