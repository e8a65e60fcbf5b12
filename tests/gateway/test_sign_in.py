"""Sign-in by a mailed link and by a proxy; sessions; the redirect after sign-in."""

from __future__ import annotations

import ipaddress
import re
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.auth import tokens
from hitl_cli.auth.sign_in import LIFE_MS, link_for, sign
from hitl_cli.auth.signing_keys import rotate
from hitl_cli.gateway.auth import sessions
from hitl_cli.gateway.context import BAD_LINKS, MAILS, SIGN_INS
from hitl_cli.people.contacts import Contact, Directory, EmailSettings
from tests.conftest import PATIENCE_S, Hitl, wait_until
from tests.gateway.visiting import Browser, Visited, all_promises
from tests.notify.receivers import Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.gateway.visiting import Page

SESSION = "__Host-hitl-session"
HOUR_MS = 3_600_000
PUBLIC_URL = "https://hitl.example.org"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox) -> Iterator[Visited]:
    """A gateway on which people sign in, who have addresses."""
    hitl, people = Hitl(tmp_path_factory.mktemp("in")), directory(mailbox)
    gateway = Visited(hitl, url=PUBLIC_URL, directory=people, example_routes=True)
    yield gateway
    gateway.stop()


def directory(mailbox: Mailbox) -> Directory:
    return Directory(
        people={"reviewer": Contact(email="reviewer@example.org"), "silent": Contact()},
        email=EmailSettings(host="127.0.0.1", port=mailbox.port, tls="none", from_="hitl@example.org"),
        gateway=PUBLIC_URL,
    )


@pytest.fixture
def browser(visited: Visited) -> Browser:
    visited.ahead_ms += LIFE_MS  # nobody has tried anything yet, as far as the gateway knows
    return Browser(visited.address)


@pytest.fixture
def more(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Visited]]:
    """Start other gateways, which end with the test."""
    started: list[Visited] = []

    def start(**options: Any) -> Visited:
        started.append(Visited(Hitl(tmp_path_factory.mktemp("more")), **options))
        return started[-1]

    yield start
    for gateway in started:
        gateway.stop()


def ask_for_link(browser: Browser, who: str, wanted: str = "/") -> Page:
    """Fill in the page where one signs in."""
    page = browser.get("/sign-in")
    return browser.post("/sign-in", {"csrf": page.csrf, "who": who, "next": wanted})


def path_mailed(mailbox: Mailbox, count: int) -> str:
    """Return the path of the link in the last of so many mails."""
    mail = mailbox.wait_for(count)[count - 1]
    text = mail.get_body(("plain",))
    assert text is not None
    found = re.search(r"https://hitl\.example\.org(/sign-in/\S+)", text.get_content())
    assert found
    return found[1]


def fresh_link(visited: Visited, person: str = "reviewer", wanted: str = "/") -> str:
    return f"/sign-in/{sign(link_for(person, visited.now(), wanted), visited.keys)}"


def signed_in(visited: Visited, browser: Browser) -> Browser:
    """Sign in by a fresh link."""
    path = fresh_link(visited)
    assert browser.post(path, {"csrf": browser.get(path).csrf}).status == 303
    return browser


def known(page: Page) -> bool:
    """Whether the gateway knows who asks, by its answer to an address that is none."""
    assert page.status in {303, 404}, page.text
    return page.status == 404


# By mail


def test_who_gets_the_mail_signs_in_and_goes_to_what_they_wanted(
    visited: Visited, browser: Browser, mailbox: Mailbox
) -> None:
    page = browser.get("/nowhere?filter=a%20b")
    assert page.status == 303
    assert page.headers["Location"] == "/sign-in?next=/nowhere?filter%3Da%2520b"
    count = len(mailbox.received)
    form = browser.get(page.headers["Location"])
    wanted = re.search(r'name="next" value="([^"]*)"', form.text)
    assert wanted
    given = {"csrf": form.csrf, "who": "Reviewer@Example.org", "next": wanted[1]}
    assert browser.post("/sign-in", given).heading == "Check your e-mail"
    path = path_mailed(mailbox, count + 1)
    phone = Browser(visited.address)
    page = phone.get(path)
    assert page.heading == "Sign in as reviewer"
    page = phone.post(path, {"csrf": page.csrf})
    assert (page.status, page.headers["Location"]) == (303, "/nowhere?filter=a%20b")
    page = phone.get("/nowhere")
    assert known(page)
    assert "reviewer" in page.text


def test_to_look_at_the_link_signs_nobody_in_and_uses_nothing_up(visited: Visited, browser: Browser) -> None:
    path = fresh_link(visited)
    before = all_promises(visited.hitl)
    for method in ("GET", "HEAD", "GET"):
        page = browser.ask(method, path)
        assert page.status == 200
        assert not any(SESSION in cookie for cookie in page.cookies)
    assert all_promises(visited.hitl) == before
    assert not known(browser.get("/nowhere"))
    assert browser.post(path, {"csrf": browser.get(path).csrf}).status == 303


def test_a_link_signs_in_once_on_all_gateways_of_a_server(visited: Visited, browser: Browser) -> None:
    path = fresh_link(visited)
    csrf = browser.get(path).csrf
    thief = Browser(visited.address)
    stolen = thief.get(path).csrf
    assert browser.post(path, {"csrf": csrf}).status == 303
    page = thief.post(path, {"csrf": stolen})
    assert (page.status, page.code) == (410, "link-expired")
    assert thief.get(path).status == 410
    assert not known(thief.get("/nowhere"))
    assert visited.hitl.json("pending", "--all") == []


def test_a_link_ends_after_a_quarter_of_an_hour(visited: Visited, browser: Browser) -> None:
    path = fresh_link(visited)
    csrf = browser.get(path).csrf
    visited.ahead_ms += LIFE_MS
    assert browser.get(path).status == 410
    assert browser.post(path, {"csrf": csrf}).status == 410


@pytest.mark.parametrize("forge", [lambda t: t[:-1], lambda t: t + "A", lambda _: "x.y", lambda _: "."])
def test_a_forged_link_signs_nobody_in(
    visited: Visited, browser: Browser, forge: Callable[[str], str]
) -> None:
    path = f"/sign-in/{forge(fresh_link(visited).removeprefix('/sign-in/'))}"
    csrf = browser.get("/sign-in").csrf
    assert browser.get(path).status == 403
    page = browser.post(path, {"csrf": csrf})
    assert (page.status, page.code) == (403, "link-invalid")
    assert not known(browser.get("/nowhere"))


def test_the_answer_does_not_tell_who_is_known(browser: Browser, mailbox: Mailbox) -> None:
    count = len(mailbox.received)
    others = ["nobody", "silent", "nobody@example.org", "reviewer@example.org\r\nBcc: a@example.org", "\x00"]
    pages = [ask_for_link(browser, who) for who in [*others, "reviewer"]]
    assert {(page.status, page.main, tuple(sorted(page.headers))) for page in pages} == {
        (200, pages[0].main, tuple(sorted(pages[0].headers)))
    }
    path_mailed(mailbox, count + 1)
    assert len(mailbox.received) == count + 1
    assert [mail["To"] for mail in mailbox.received[count:]] == ["reviewer@example.org"]


def test_a_mail_server_that_hangs_holds_nobody_up_and_tells_nothing(
    more: Callable[..., Visited],
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        hanging = Directory(
            people={"reviewer": Contact(email="reviewer@example.org")},
            email=EmailSettings(host="127.0.0.1", port=deaf.getsockname()[1], tls="none"),
        )
        visited = more(url=PUBLIC_URL, directory=hanging)
        began = time.monotonic()
        assert ask_for_link(Browser(visited.address), "reviewer").status == 200
        assert time.monotonic() - began < 5


def test_what_fails_while_nobody_waits_is_one_line_in_the_log(
    visited: Visited, browser: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        message = "no such\ndevice"
        raise RuntimeError(message)

    monkeypatch.setattr("hitl_cli.notify.channels.registry.send", broken)
    visited.ahead_ms += LIFE_MS
    assert ask_for_link(browser, "reviewer").status == 200
    said = wait_until(lambda: [one for one in caplog.records if one.levelname == "ERROR"])
    assert [(one.name, one.exc_info) for one in said] == [("hitl_cli.gateway.context", None)]
    assert said[0].getMessage() == "background task send failed: RuntimeError: no such device"


def test_nobody_is_flooded_with_mail(visited: Visited, browser: Browser, mailbox: Mailbox) -> None:
    count = len(mailbox.received)
    pages = [ask_for_link(browser, "reviewer") for _ in range(MAILS + 2)]
    assert len({page.main for page in pages}) == 1
    mailbox.wait_for(count + MAILS)
    visited.ahead_ms += LIFE_MS
    ask_for_link(browser, "reviewer")
    mailbox.wait_for(count + MAILS + 1)
    assert len(mailbox.received) == count + MAILS + 1


def test_who_tries_too_often_has_to_wait(visited: Visited, browser: Browser) -> None:
    csrf = browser.get("/sign-in").csrf
    statuses = [browser.post("/sign-in", {"csrf": csrf, "who": "nobody"}).status for _ in range(SIGN_INS)]
    assert statuses == [200] * SIGN_INS
    page = browser.post("/sign-in", {"csrf": csrf, "who": "nobody"})
    assert page.status == 429
    assert 0 < int(page.headers["Retry-After"]) <= 900
    visited.ahead_ms += LIFE_MS
    assert browser.post("/sign-in", {"csrf": csrf, "who": "nobody"}).status == 200


@pytest.mark.parametrize("who", ["", "   ", "a" * 321])
def test_a_name_that_is_none_is_said_so(browser: Browser, who: str) -> None:
    page = ask_for_link(browser, who)
    assert page.status == 400
    assert "Enter your user name" in page.text


def test_a_token_that_is_none_is_said_so(browser: Browser) -> None:
    form = {"csrf": browser.get("/sign-in").csrf, "token": "nonsense"}
    page = browser.post("/sign-in", form)
    assert page.status == 400
    assert "This token is not valid" in page.text
    assert re.search(r"<details[^>]* open>\s*<summary>Use a token", page.text)


def test_a_token_is_folded_away_where_one_signs_in_by_mail(
    browser: Browser, more: Callable[..., Visited]
) -> None:
    assert re.search(r"<details[^>]*[^n]>\s*<summary>Use a token instead", browser.get("/sign-in").text)
    page = Browser(more(url=PUBLIC_URL).address).get("/sign-in")
    assert re.search(r"<details[^>]* open>\s*<summary>Use a token<", page.text)
    assert "ask your hitl administrator for a link" in page.text
    assert 'name="who"' not in page.text


def test_a_token_signs_in_for_what_it_may_do_and_no_longer_than_it_is_good(
    visited: Visited, browser: Browser
) -> None:
    with visited.hitl.client() as client:
        life_ms = visited.ahead_ms + HOUR_MS  # by the server's clock, which the test does not move
        _, text = tokens.create(client, "lead", ["read"], life_ms=life_ms, by="ops")
    page = browser.post("/sign-in", {"csrf": browser.get("/sign-in").csrf, "token": text, "next": "/runs"})
    assert (page.status, page.headers["Location"]) == (303, "/runs")
    session = sessions.read(browser.cookies[SESSION], visited.keys, visited.now())
    assert session is not None
    assert (session.person, session.can) == ("lead", frozenset({"read"}))
    assert "lead" in browser.get("/nowhere").text
    assert browser.post("/start-workflow", {}).status == 403
    visited.ahead_ms += HOUR_MS
    assert not known(browser.get("/nowhere"))


def test_a_token_that_may_not_read_or_was_revoked_signs_nobody_in(visited: Visited, browser: Browser) -> None:
    with visited.hitl.client() as client:
        _, starts = tokens.create(client, "lead", ["start"], life_ms=HOUR_MS, by="ops")
        revoked, text = tokens.create(client, "lead", ["read"], life_ms=HOUR_MS, by="ops")
        tokens.revoke(client, revoked.id, by="ops")
    csrf = browser.get("/sign-in").csrf
    for token, why in ((starts, "no read permission"), (text, "is not valid")):
        page = browser.post("/sign-in", {"csrf": csrf, "token": token})
        assert page.status == 400
        assert why in page.text
        assert token not in page.text
    assert not known(browser.get("/nowhere"))


# Where one goes then

OUTSIDE = [
    "//evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "/%09/evil.example".replace("%09", "\t"),
    "https:evil.example",
    "https://evil.example",
    "/..//evil.example",
    "/.//evil.example",
    "/x/..//evil.example",
    "///evil.example",
    "/../other-app",
    "/r/../../other-app",
    "/.%2e/other-app",
    "/%2E%2E/other-app?x=1",
    "/%2e/%2e./other-app",
    "/..#x",
    "/%2e.#?",
    "javascript:alert(1)",
    "/r/1\r\nSet-Cookie: a=b",
    "/r/1\nLocation: //evil.example",
    "/é",
    "evil.example",
    " /",
    "",
    "/" + "a" * 2_000,
    "/sign-in?next=/sign-in",
]


@pytest.mark.parametrize("wanted", OUTSIDE)
def test_nobody_is_sent_to_another_place(visited: Visited, browser: Browser, wanted: str) -> None:
    path = fresh_link(visited, wanted=wanted)
    page = browser.post(path, {"csrf": browser.get(path).csrf})
    assert page.status == 303
    assert page.headers["Location"] == "/"
    assert all("a=b" not in cookie for cookie in page.cookies)


@pytest.mark.parametrize(
    "query", ["%2f%2fevil.example", "%2F%5Cevil.example", "/%0d%0aSet-Cookie:a=b", "//e.example"]
)
def test_no_address_has_somebody_who_is_signed_in_sent_elsewhere(
    visited: Visited, browser: Browser, query: str
) -> None:
    page = signed_in(visited, browser).get(f"/sign-in?next={query}")
    assert (page.status, page.headers["Location"]) == (303, "/")
    page = Browser(visited.address).get(f"/sign-in?next={query}")
    assert 'name="next" value="/"' in page.text


@pytest.mark.parametrize("wanted", ["/r/hitl-001:1", "/r/a%2F%2Fb?tab=1", "/runs?q=a//b", "/%2f%2fevil"])
def test_a_page_of_this_gateway_is_gone_to(visited: Visited, browser: Browser, wanted: str) -> None:
    path = fresh_link(visited, wanted=wanted)
    page = browser.post(path, {"csrf": browser.get(path).csrf})
    assert page.headers["Location"].lower() == wanted.lower()


# Sessions


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_has(
    visited: Visited, browser: Browser
) -> None:
    path = fresh_link(visited)
    page = browser.post(path, {"csrf": browser.get(path).csrf})
    [cookie] = [text for text in page.cookies if text.startswith(SESSION)]
    flags = {part.strip().lower() for part in cookie.split(";")[1:]}
    [age] = [flag for flag in flags if flag.startswith("max-age=")]
    assert flags - {age} == {"httponly", "secure", "samesite=lax", "path=/"}
    assert 12 * 3_600 - PATIENCE_S <= int(age.removeprefix("max-age=")) <= 12 * 3_600


def test_without_https_the_cookie_is_not_kept_for_https(more: Callable[..., Visited]) -> None:
    visited = more(sign_in=True)
    browser = signed_in(visited, Browser(visited.address))
    assert list(browser.cookies) == ["hitl-session"]
    assert known(browser.get("/nowhere"))


def test_gateways_on_two_ports_of_a_host_keep_their_sessions_apart(more: Callable[..., Visited]) -> None:
    gateways = [more(sign_in=True, url=f"http://127.0.0.1:{port}") for port in (5001, 5002, 0)]
    jar: dict[str, str] = {}  # a browser has one for all ports
    browsers = [Browser(visited.address) for visited in gateways]
    for visited, browser in zip(gateways, browsers, strict=True):
        browser.cookies = jar
        signed_in(visited, browser)
    assert len(jar) == 3
    assert all(known(browser.get("/nowhere")) for browser in browsers)
    browsers[1].post("/sign-out", {"csrf": browsers[1].get("/").csrf})
    assert [known(browser.get("/nowhere")) for browser in browsers] == [True, False, True]


def test_a_session_of_another_gateway_on_the_host_is_none(more: Callable[..., Visited]) -> None:
    first, second = (more(sign_in=True, url=f"http://127.0.0.1:{port}") for port in (5001, 5002))
    cookie = signed_in(first, Browser(first.address)).cookies["hitl-session"]
    other = Browser(second.address)
    for name in ("hitl-session", "hitl-session-5002"):
        other.cookies = {name: cookie}
        assert not known(other.get("/nowhere"))


def test_a_session_of_the_version_before_is_good_until_it_is_signed_out(more: Callable[..., Visited]) -> None:
    visited = more(sign_in=True, url="http://127.0.0.1:5002")
    browser = Browser(visited.address)
    before = sessions.begin("lead", frozenset({"read"}), visited.now())
    browser.cookies = {"hitl-session": sessions.sign(before, visited.keys)}
    assert known(browser.get("/nowhere"))
    browser.post("/sign-out", {"csrf": browser.get("/").csrf})
    assert not known(browser.get("/nowhere"))


def test_a_session_ends_after_twelve_hours(visited: Visited, browser: Browser) -> None:
    signed_in(visited, browser)
    visited.ahead_ms += sessions.LIFE_MS - 60_000
    assert known(browser.get("/nowhere"))
    visited.ahead_ms += 60_000
    assert not known(browser.get("/nowhere"))


def test_who_signs_out_is_signed_out(visited: Visited, browser: Browser) -> None:
    csrf = signed_in(visited, browser).get("/nowhere").csrf
    assert browser.post("/sign-out", {"csrf": "wrong"}).status == 403
    assert known(browser.get("/nowhere"))
    page = browser.post("/sign-out", {"csrf": csrf})
    assert (page.status, page.headers["Location"]) == (303, "/sign-in")
    assert SESSION not in browser.cookies


def test_a_cookie_that_is_no_text_is_none() -> None:
    request: Any = SimpleNamespace(cookies={"hitl-visit": "\udce9"})
    assert sessions.Cookies(https=False).visit_of(request) is None


def test_signing_in_begins_a_session_of_its_own(visited: Visited, browser: Browser) -> None:
    fixed = sessions.sign(sessions.begin("lead", frozenset({"read"}), visited.now()), visited.keys)
    browser.cookies[SESSION] = fixed
    signed_in(visited, browser)
    assert browser.cookies[SESSION] != fixed
    first = browser.cookies[SESSION]
    assert signed_in(visited, Browser(visited.address)).cookies[SESSION] != first
    assert "reviewer" in browser.get("/nowhere").text


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: "A" + t, lambda _: "", lambda _: "x.y", lambda t: t * 2]
)
def test_a_changed_session_is_none(visited: Visited, browser: Browser, change: Callable[[str], str]) -> None:
    signed_in(visited, browser)
    browser.cookies[SESSION] = change(browser.cookies[SESSION])
    assert not known(browser.get("/nowhere"))


def test_sessions_outlive_a_rotated_key_and_end_with_a_forgotten_one(
    visited: Visited, browser: Browser
) -> None:
    csrf = signed_in(visited, browser).get("/nowhere").csrf
    rotate(visited.options.keys, visited.now())
    assert known(browser.get("/nowhere"))
    assert browser.post("/sign-out", {"csrf": csrf}).status == 303
    signed_in(visited, browser)
    rotate(visited.options.keys, visited.now(), forget=True)
    assert not known(browser.get("/nowhere"))


# What a proxy says

HERE = [ipaddress.ip_network("127.0.0.1")]
ELSEWHERE = [ipaddress.ip_network("192.0.2.0/24")]


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Who visits a gateway through a proxy that signs in."""
    people = Directory(people={"reviewer": Contact(email="reviewer@example.org")})
    visited = Visited(
        Hitl(tmp_path_factory.mktemp("behind")),
        trust_header="X-Forwarded-User",
        trust_from=HERE,
        directory=people,
    )
    yield Browser(visited.address)
    visited.stop()


def test_who_a_proxy_names_is_believed(behind: Browser) -> None:
    page = behind.get("/nowhere", X_Forwarded_User="reviewer")
    assert known(page)
    assert "reviewer" in page.text
    assert not known(behind.get("/nowhere"))


@pytest.mark.parametrize("name", ["Reviewer", "REVIEWER@example.org"])
def test_who_a_proxy_names_by_an_address_or_in_capitals_is_the_person_of_the_settings(
    behind: Browser, name: str
) -> None:
    assert ">Signed in as </span>reviewer<" in behind.get("/", X_Forwarded_User=name).text


@pytest.mark.parametrize(
    "name",
    ["", " ", "group:ops", "a" * 201, "a\tb", "\u202eresu", "a\u2028b", "\x7f", "\u00a0a", "reviewer, lead"],
)
def test_an_odd_name_is_refused(behind: Browser, name: str) -> None:
    assert behind.get("/nowhere", X_Forwarded_User=name).status == 400


def test_a_password_for_the_proxy_itself_is_no_token(behind: Browser) -> None:
    page = behind.get("/nowhere", X_Forwarded_User="reviewer", Authorization="Basic cmV2aWV3ZXI6eA==")
    assert known(page)
    assert not known(behind.get("/nowhere", Authorization="Basic cmV2aWV3ZXI6eA=="))


def test_two_names_are_refused(behind: Browser) -> None:
    assert behind.get("/nowhere", X_Forwarded_User=["reviewer", "lead"]).status == 400


def test_attempts_are_counted_for_the_client_that_the_proxy_names(behind: Browser) -> None:
    def status(said: str) -> int:
        return behind.get("/l/nonsense", X_Forwarded_For=said).status

    assert [status(f"198.51.100.{n}, 192.0.2.7") for n in range(BAD_LINKS)] == [403] * BAD_LINKS
    assert status("192.0.2.7, 127.0.0.1") == 429
    assert status("192.0.2.7, 192.0.2.8") == 403  # what a client says before the proxy counts for nothing


def test_from_elsewhere_the_header_is_ignored(more: Callable[..., Visited]) -> None:
    browser = Browser(more(trust_header="X-Forwarded-User", trust_from=ELSEWHERE).address)
    assert not known(browser.get("/nowhere", X_Forwarded_User="reviewer"))
    faked = browser.get("/nowhere", X_Forwarded_User="reviewer", X_Forwarded_For="192.0.2.1")
    assert not known(faked)


def test_without_the_option_the_header_is_ignored(browser: Browser) -> None:
    assert not known(browser.get("/nowhere", X_Forwarded_User="reviewer"))


# On this machine


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-User", "Forwarded", "Via", "X-Real-IP"])
def test_where_nobody_signs_in_a_proxy_passes_nothing_on(more: Callable[..., Visited], header: str) -> None:
    browser = Browser(more().address)
    page = browser.ask("GET", "/nowhere", headers={header: "192.0.2.1"})
    assert page.status == 403
    assert "--url, --sign-in or --trust-header" in page.text
    assert browser.get("/nowhere").status == 404


def test_where_nobody_need_sign_in_the_page_leads_on(more: Callable[..., Visited]) -> None:
    page = Browser(more().address).get("/sign-in?next=/runs")
    assert (page.status, page.headers["Location"]) == (303, "/runs")
