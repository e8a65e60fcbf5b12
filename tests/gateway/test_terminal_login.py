"""`hitl login`: a terminal acts as a person who allowed it, and as nobody else."""

from __future__ import annotations

import json
import re
import secrets
import stat
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from hitl_cli.auth import tokens
from hitl_cli.auth.sign_in import link_for, sign
from hitl_cli.auth.signing_keys import rotate
from hitl_cli.auth.terminal_login import CODE_MS, DEVICE_MS, challenge_of
from hitl_cli.gateway import login_routes
from hitl_cli.people.contacts import Contact, Directory
from tests.conftest import Hitl
from tests.gateway.visiting import Browser, Visited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.visiting import Page

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    people = Directory(people={"reviewer": Contact(email="reviewer@example.org")})
    visited = Visited(Hitl(tmp_path_factory.mktemp("login")), sign_in=True, directory=people)
    yield visited
    visited.stop()


@pytest.fixture(autouse=True)
def _nothing_tried(gateway: Visited) -> None:
    assert gateway.gateway is not None
    for limit in (gateway.gateway.sign_ins, gateway.gateway.bad_links):
        limit._windows.clear()
    gateway.ahead_ms = 0


def signed_in(gateway: Visited, person: str = "reviewer") -> Browser:
    browser = Browser(gateway.address)
    path = f"/sign-in/{sign(link_for(person, gateway.now(), '/'), gateway.keys)}"
    assert browser.post(path, {"csrf": browser.get(path).csrf}).status == 303
    return browser


def by_token(
    gateway: Visited, life_ms: int = DAY_MS, can: tuple[str, ...] = ("decide",)
) -> tuple[Browser, str]:
    with gateway.hitl.client() as client:
        _, text = tokens.create(client, "reviewer", can, life_ms=life_ms, by="ops")
    browser = Browser(gateway.address)
    browser.post("/sign-in", {"csrf": browser.get("/sign-in").csrf, "token": text})
    return browser, text


def api(gateway: Visited, path: str, body: Any = None, token: str = "", method: str = "") -> tuple[int, Any]:
    """Send JSON as a program does, and return the status and the document."""
    browser = Browser(gateway.address)
    headers: dict[str, str | list[str]] = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    page = sent(browser, method or ("GET" if body is None else "POST"), path, headers, body)
    return page.status, json.loads(page.text)


def sent(browser: Browser, method: str, path: str, headers: dict[str, Any], body: Any) -> Page:
    import http.client

    from tests.gateway.visiting import Page

    connection = http.client.HTTPConnection(browser._host, browser._port, timeout=30)
    raw = None if body is None else json.dumps(body)
    connection.request(
        method, f"/api/v1{path}", raw, headers | ({"Content-Type": "application/json"} if raw else {})
    )
    answer = connection.getresponse()
    page = Page(answer.status, dict(answer.getheaders()), (), answer.read().decode())
    connection.close()
    return page


class Terminal:
    """A terminal on the machine of the browser, as `hitl login` is one."""

    def __init__(self) -> None:
        self.verifier, self.state = secrets.token_urlsafe(32), secrets.token_urlsafe(24)

    def asked(self, **changes: str) -> dict[str, str]:
        return {
            "port": "54321",
            "challenge": challenge_of(self.verifier),
            "state": self.state,
            "name": "laptop",
            **changes,
        }

    def allowed_by(self, browser: Browser, answer: str = "1") -> dict[str, list[str]]:
        """Press the button, and return what the browser brings back."""
        page = browser.get(f"/terminal?{urlencode(self.asked())}")
        assert "form-action 'self' http://127.0.0.1:54321" in page.headers["Content-Security-Policy"]
        form = {**self.asked(), "csrf": page.csrf} | ({"allow": answer} if answer else {})
        back = browser.post("/terminal", form)
        assert back.status == 303, back.text
        assert back.headers["Location"].startswith("http://127.0.0.1:54321/?")
        return parse_qs(urlsplit(back.headers["Location"]).query)


# The gateway


def test_a_terminal_gets_a_token_of_the_person_who_allowed_it(gateway: Visited) -> None:
    terminal = Terminal()
    said = terminal.allowed_by(signed_in(gateway))
    assert said["state"] == [terminal.state]
    body = {"code": said["code"][0], "verifier": terminal.verifier, "expires": "8h"}
    status, made = api(gateway, "/login/token", body)
    assert (status, made["as"], made["can"]) == (201, "reviewer", ["read", "decide"])
    status, me = api(gateway, "/me", token=made["token"])
    assert (me["as"], me["token"]) == ("reviewer", made["id"])
    [listed] = [one for one in gateway.hitl.json("token", "list") if one["id"] == made["id"]]
    assert (listed["as"], listed["by"], listed["name"]) == ("reviewer", "reviewer", "hitl login on laptop")
    assert api(gateway, "/me/token", token=made["token"], method="DELETE")[0] == 200
    assert api(gateway, "/me", token=made["token"])[1]["code"] == "token-refused"


@pytest.mark.parametrize("wrong", ["verifier", "twice", "late", "changed", "session"])
def test_a_code_counts_once_in_time_for_the_terminal_that_asked(gateway: Visited, wrong: str) -> None:
    terminal = Terminal()
    code = terminal.allowed_by(signed_in(gateway))["code"][0]
    body = {"code": code, "verifier": terminal.verifier}
    if wrong == "verifier":
        body["verifier"] = Terminal().verifier
    elif wrong == "twice":
        assert api(gateway, "/login/token", body)[0] == 201
    elif wrong == "changed":
        body["code"] = code[:-2] + ("A" if code[-2] != "A" else "B") + code[-1]
    elif wrong == "session":
        rotate(gateway.options.keys, gateway.now(), forget=True)
    else:
        made_at = gateway.now() - CODE_MS - 1_000  # the clock of a database is behind by its answer
        body["code"] = old_code(gateway, terminal, made_at)
    assert api(gateway, "/login/token", body)[1]["code"] == "login-refused"


def old_code(gateway: Visited, terminal: Terminal, made_at: int) -> str:
    from hitl_cli.auth.terminal_login import Grant, code_for

    grant = Grant(person="reviewer", can=frozenset({"read"}), until=made_at + DAY_MS, name="x")
    return code_for(grant, challenge_of(terminal.verifier), made_at, gateway.keys)


def test_who_says_no_or_is_not_signed_in_allows_nothing(gateway: Visited) -> None:
    terminal = Terminal()
    assert terminal.allowed_by(signed_in(gateway), answer="")["error"] == ["denied"]
    stranger = Browser(gateway.address)
    led = stranger.get(f"/terminal?{urlencode(terminal.asked())}")
    assert (led.status, led.headers["Location"].startswith("/sign-in?next=/terminal")) == (303, True)
    assert stranger.post("/terminal", {**terminal.asked(), "allow": "1"}).status == 401
    browser = signed_in(gateway)
    forged = browser.post("/terminal", {**terminal.asked(), "allow": "1", "csrf": "x"})
    assert forged.code == "form-expired"


def test_a_program_gets_no_longer_token_from_its_own(gateway: Visited) -> None:
    browser, text = by_token(gateway, life_ms=DAY_MS // 24)
    page = Browser(gateway.address).post("/terminal", {"allow": "1"}, Authorization=f"Bearer {text}")
    assert page.code == "permission-missing"
    terminal = Terminal()
    code = terminal.allowed_by(browser)["code"][0]
    status, made = api(gateway, "/login/token", {"code": code, "verifier": terminal.verifier})
    assert status == 201
    known = {one["id"]: one for one in gateway.hitl.json("token", "list")}
    first = text.split("_")[1]
    ends = [datetime.fromisoformat(known[id]["expires_at"]) for id in (made["id"], first)]
    assert ends[0] - ends[1] < timedelta(seconds=1)
    gateway.hitl.ok("token", "revoke", first)
    assert api(gateway, "/me", token=made["token"])[1]["code"] == "token-refused"


@pytest.mark.parametrize(
    "changes",
    [{"port": "80"}, {"port": "1.2.3.4"}, {"port": "99999"}, {"challenge": "x"}, {"state": "<script>"}],
    ids=str,
)
def test_an_address_that_leads_elsewhere_is_refused(gateway: Visited, changes: dict[str, str]) -> None:
    page = signed_in(gateway).get(f"/terminal?{urlencode(Terminal().asked(**changes))}")
    assert (page.status, page.code) == (400, "bad-query")


def test_a_code_that_a_person_types_signs_in_the_terminal_that_shows_it(gateway: Visited) -> None:
    _, begun = api(gateway, "/login/device", {})
    assert re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", begun["user_code"])
    body = {"device_code": begun["device_code"]}
    assert api(gateway, "/login/token", body) == (202, nothing())
    browser = signed_in(gateway)
    page = browser.get("/terminal")
    assert browser.post("/terminal", {"csrf": page.csrf, "code": "AEIO", "allow": "1"}).status == 400
    typed = begun["user_code"].lower().replace("-", " ")
    assert browser.post("/terminal", {"csrf": page.csrf, "code": typed, "allow": "1"}).status == 200
    again = browser.post("/terminal", {"csrf": page.csrf, "code": typed, "allow": "1"})
    assert again.status == 400
    status, made = api(gateway, "/login/token", body)
    assert (status, made["as"]) == (201, "reviewer")
    assert api(gateway, "/login/token", body)[1]["code"] == "login-refused"
    assert api(gateway, "/login/token", {"device_code": "x"})[1]["code"] == "login-refused"
    assert begun["expires_s"] * 1_000 == DEVICE_MS


def nothing() -> dict[str, Any]:
    return {"token": None, "id": None, "as": None, "can": [], "expires_at": None}


# The commands


@pytest.fixture
def terminal(tmp_path: Path) -> Hitl:
    """The command of a person on another machine."""
    return Hitl(tmp_path)


def test_login_in_a_browser_of_this_machine(gateway: Visited, terminal: Hitl) -> None:
    terminal.env["BROWSER"] = "/bin/true"
    command = terminal.popen("login", gateway.address, "--json")
    assert command.stderr is not None
    assert command.stdout is not None
    page = command.stderr.readline().partition("browser: ")[2].strip()
    browser = signed_in(gateway)
    parts = urlsplit(page)
    form = {name: values[0] for name, values in parse_qs(parts.query).items()}
    shown = browser.get(f"{parts.path}?{parts.query}")
    back = urlsplit(browser.post("/terminal", {**form, "csrf": shown.csrf, "allow": "1"}).headers["Location"])
    other = Browser(f"http://{back.netloc}")
    assert other.get("/?state=wrong&code=x").status == 404
    assert other.get(f"/?{back.query}").status == 200
    document = json.loads(command.stdout.read())
    assert command.wait() == 0
    assert (document["gateway"], document["as"]) == (gateway.address, "reviewer")
    assert terminal.json("whoami")["as"] == "reviewer"


def test_login_with_a_code_logout_and_whoami(
    gateway: Visited, terminal: Hitl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_routes, "EVERY_S", 0.05)
    command = terminal.popen("login", gateway.address, "--device")
    assert command.stderr is not None
    command.stderr.readline()
    code = command.stderr.readline().strip()
    browser = signed_in(gateway)
    browser.post("/terminal", {"csrf": browser.get("/terminal").csrf, "code": code, "allow": "1"})
    assert command.wait() == 0
    file = terminal.folder / "config" / "hitl" / "logins.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = json.loads(file.read_text())["logins"][0]["token"]
    assert "reviewer" in terminal.ok("whoami", gateway.address)
    terminal.ok("logout")
    assert api(gateway, "/me", token=token)[1]["code"] == "token-refused"
    terminal.fails(3, "whoami", code="not-found")
    file.write_text('{"logins": []}')
    file.chmod(0o644)
    terminal.fails(2, "whoami", code="bad-file")


def test_login_with_a_token_from_stdin(gateway: Visited, terminal: Hitl) -> None:
    _, text = by_token(gateway)
    terminal.ok("login", f"{gateway.address}/", "--token", "-", stdin=f"{text}\n")
    assert terminal.json("whoami", gateway.address)["can"] == ["read", "decide"]
    gateway.hitl.ok("token", "revoke", text)
    gateway.look_again()
    terminal.fails(6, "whoami", code="token-refused")
    terminal.ok("logout")
    terminal.fails(6, "login", gateway.address, "--token", "-", stdin="hitl_x", code="token-refused")
    for bad in (f"{text}\nmore", "日本"):
        refused = terminal.fails(2, "login", gateway.address, "--token", "-", stdin=bad, code="bad-setting")
        assert bad not in str(refused)


@pytest.mark.parametrize(
    "url", ["http://hitl.example.org", "hitl.example.org", "https://a.example/?x", "ftp://a"]
)
def test_a_url_that_is_no_safe_gateway_is_refused(terminal: Hitl, url: str) -> None:
    terminal.fails(2, "login", url, code="bad-usage")


def test_the_token_is_in_the_keyring_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = pytest.importorskip("keyring", reason="the extra keyring")
    from keyring.backend import KeyringBackend

    from hitl_cli.auth import logins
    from hitl_cli.auth.logins import Login

    class Memory(KeyringBackend):
        """A keyring of this test, thread by thread."""

        priority = 5
        held: dict[tuple[str, str], str] = {}  # noqa: RUF012

        def get_password(self, service: str, username: str) -> str | None:
            return self.held.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.held[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.held[service, username]

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    before = keyring.get_keyring()
    keyring.set_keyring(Memory())  # type: ignore[no-untyped-call]
    try:
        login = Login(gateway="https://hitl.example.org", person="reviewer")
        logins.keep(login, "secret of mine")
        assert "secret of mine" not in (tmp_path / "hitl" / "logins.json").read_text()
        [kept] = logins.listed()
        assert logins.token_of(kept) == "secret of mine"
        logins.forget(kept)
        assert (logins.listed(), Memory.held) == ((), {})
    finally:
        keyring.set_keyring(before)
