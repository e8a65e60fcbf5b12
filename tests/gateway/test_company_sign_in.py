"""Sign-in with OpenID Connect: who somebody is, and every answer that must be refused."""

from __future__ import annotations

import re
import socket
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace

from hitl_cli.admin.sign_in_checks import judge_oidc
from hitl_cli.errors import BadSetting, MissingExtra
from hitl_cli.gateway.context import Gateway
from hitl_cli.gateway.oidc import provider
from hitl_cli.gateway.oidc.authenticator import FLOW_MS
from hitl_cli.gateway.oidc.id_token import SKEW_S
from hitl_cli.gateway.options import Options
from hitl_cli.people.contacts import Contact, Directory, GroupContact
from hitl_cli.people.oidc_settings import OidcSettings, check_oidc
from hitl_cli.requests.question import Question
from hitl_cli.settings import Settings
from tests.cli.requests import promise_now, put
from tests.conftest import Hitl
from tests.gateway.provider import CLIENT, SECRET, SmallProvider, another_key, for_use, hmac_signed, keys_of
from tests.gateway.visiting import Browser, Visited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.gateway.visiting import Page

PUBLIC_URL = "https://hitl.example.org/tools"
BACK = "/sign-in/oidc/callback"
COOKIE = "__Secure-hitl-oidc"
SESSION = "__Secure-hitl-session"
HOUR_MS = 3_600_000


class Scene:
    """A gateway and its provider, whose settings a test may change."""

    def __init__(self, hitl: Hitl) -> None:
        self.provider = SmallProvider()
        self.hitl = hitl
        self.directory = Directory(
            people={
                "reviewer": Contact(email="reviewer@example.org"),
                "lead": Contact(email="lead@example.org", oidc="acc-lead"),
            },
            groups={"ops": GroupContact(members=("lead",)), "legal": GroupContact()},
            oidc=OidcSettings(issuer=self.provider.issuer, client_id=CLIENT, client_secret=SECRET),
        )
        self.visited = Visited(hitl, url=PUBLIC_URL, live=lambda: self.directory)

    def set(self, **changes: Any) -> None:
        """Change [oidc]."""
        assert self.directory.oidc is not None
        self.directory = replace(self.directory, oidc=replace(self.directory.oidc, **changes))

    def browser(self) -> Browser:
        return Browser(self.visited.address)

    def close(self) -> None:
        self.visited.stop()
        self.provider.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(Hitl(tmp_path_factory.mktemp("oidc")))
    yield scene
    scene.close()


@pytest.fixture
def scene(shared: Scene) -> Iterator[Scene]:
    """The scene as it was, with an account that signs in as reviewer."""
    provider, directory = shared.provider, shared.directory
    before = dict(vars(provider))
    provider.claims = {"email": "Reviewer@Example.org", "email_verified": True}
    shared.visited.ahead_ms = 0
    yield shared
    vars(provider).update(before | {"_codes": provider._codes})
    for name in ("changes", "header", "metadata", "answer", "claims"):
        setattr(provider, name, {})
    shared.directory = directory
    # Nobody has tried anything yet, and what was read of the provider is read again.
    assert shared.visited.gateway is not None
    shared.visited.gateway.sign_ins._windows.clear()
    for one in shared.visited.gateway.access.sign_ins:
        one._provider._metadata = one._provider._keys = None  # type: ignore[attr-defined]


def sign_in(scene: Scene, browser: Browser | None = None, wanted: str = "/") -> tuple[Browser, Page]:
    """Go to the provider and back; return the browser and the answer."""
    browser = browser or scene.browser()
    begun = browser.get(f"/sign-in/oidc?next={wanted}")
    assert begun.status == 303, begun.text
    return browser, browser.get(scene.provider.authorize(begun.headers["Location"]))


def refused(scene: Scene, said: str = "") -> None:
    """Sign in, and see that nobody was."""
    browser, page = sign_in(scene)
    assert (page.status, page.code) == (403, "sign-in-refused"), page.text
    assert said in page.text
    assert browser.cookies.keys() <= {"__Secure-hitl-visit"}


def who(browser: Browser) -> str:
    """Return who the gateway takes a browser for."""
    page = browser.get("/nowhere")
    found = re.search(r'class="who">.*?</span>(.*?)</span>', page.text)
    return found[1] if page.status == 404 and found else ""


# Signing in


def test_an_account_signs_in_as_the_person_with_its_verified_address(scene: Scene) -> None:
    browser = scene.browser()
    form = browser.get("/sign-in?next=/history")
    assert 'href="/tools/sign-in/oidc?next=/history"' in form.text
    begun = browser.get("/sign-in/oidc?next=/history")
    asked = parse_qs(urlsplit(begun.headers["Location"]).query)
    assert asked["redirect_uri"] == [PUBLIC_URL + BACK]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["scope"] == ["openid email profile"]
    [cookie] = begun.cookies
    assert cookie.startswith(COOKIE)
    assert all(flag in cookie for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/tools"))
    page = browser.get(scene.provider.authorize(begun.headers["Location"]))
    assert (page.status, page.headers["Location"]) == (303, "/tools/history")
    [session] = [one for one in page.cookies if one.startswith(SESSION)]
    assert all(flag in session for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Max-Age=43"))
    assert COOKIE not in browser.cookies
    assert who(browser) == "reviewer"


def test_the_host_of_a_request_does_not_say_where_the_provider_sends_back_to(scene: Scene) -> None:
    begun = scene.browser().get("/sign-in/oidc", Host="evil.example.org", X_Forwarded_Host="evil.example.org")
    assert parse_qs(urlsplit(begun.headers["Location"]).query)["redirect_uri"] == [PUBLIC_URL + BACK]


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example/", "/%5Cevil.example", "/sign-out"]
)
def test_signing_in_leads_to_pages_of_this_gateway_only(scene: Scene, wanted: str) -> None:
    _, page = sign_in(scene, wanted=wanted)
    assert (page.status, page.headers["Location"]) == (303, "/tools/")


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
def test_a_new_key_of_the_provider_is_read_when_it_is_used(scene: Scene, algorithm: str) -> None:
    assert sign_in(scene)[1].status == 303
    scene.provider.keys = [keys_of(algorithm), *scene.provider.keys]
    scene.provider.algorithm = algorithm
    refused(scene)  # the keys were read a moment ago: anyone can name a key
    aged(scene)
    assert sign_in(scene)[1].status == 303


def aged(scene: Scene) -> None:
    """Let what was read of the provider be older than a moment."""
    assert scene.visited.gateway is not None
    [one] = scene.visited.gateway.access.sign_ins
    at, keys = one._provider._keys  # type: ignore[attr-defined]
    one._provider._keys = (at - 60, keys)  # type: ignore[attr-defined]


def test_claims_that_the_token_has_not_are_asked_for(scene: Scene) -> None:
    scene.provider.userinfo = {"sub": "account-1", **scene.provider.claims}
    scene.provider.claims = {}
    browser, page = sign_in(scene)
    assert (page.status, who(browser)) == (303, "reviewer")
    scene.provider.userinfo["sub"] = "account-2"
    refused(scene, "another account")


def test_clocks_may_differ_a_little(scene: Scene) -> None:
    now = int(time.time())
    for changes in ({"iat": now + SKEW_S - 10}, {"exp": now - SKEW_S + 10}, {"nbf": now + SKEW_S - 10}):
        scene.provider.changes = changes
        assert sign_in(scene)[1].status == 303, changes


# What is refused


BAD_CLAIMS: list[dict[str, Any]] = [
    {"nonce": "another"},
    {"nonce": None},
    {"aud": "another"},
    {"aud": None},
    {"aud": [CLIENT, "another"]},
    {"azp": "another"},
    {"iss": "https://evil.example.org"},
    {"iss": None},
    {"sub": None},
    {"exp": -SKEW_S - 60},
    {"exp": None},
    {"iat": SKEW_S + 60},
    {"iat": -3_600},
    {"iat": None},
    {"iat": "now"},
    {"nbf": SKEW_S + 60},
    {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
]
"""Claims that are other than they should be; numbers are seconds from now."""


@pytest.mark.parametrize("changes", BAD_CLAIMS, ids=str)
def test_a_token_for_something_else_signs_nobody_in(scene: Scene, changes: dict[str, Any]) -> None:
    now = int(time.time())
    moved = {name: now + value for name, value in changes.items() if isinstance(value, int)}
    scene.provider.changes = changes | moved
    refused(scene)


def unsigned(provider: SmallProvider) -> None:
    provider.header = {"alg": "none"}


def signed_with_public_key(provider: SmallProvider) -> None:
    provider.id_token = hmac_signed(provider.keys[0])


def signed_by_another(provider: SmallProvider) -> None:
    provider.signer = another_key()


def of_unknown_key(provider: SmallProvider) -> None:
    provider.header = {"kid": "seven"}


def with_own_key(provider: SmallProvider) -> None:
    provider.signer = another_key()
    provider.header = {"jwk": provider.signer.as_dict(private=False)}


def with_key_elsewhere(provider: SmallProvider) -> None:
    provider.signer, provider.header = another_key(), {"jku": "https://evil.example.org/keys"}


def for_encryption(provider: SmallProvider) -> None:
    provider.signer = provider.keys[0]
    provider.keys = [for_use(provider.signer, "enc")]


def critical(provider: SmallProvider) -> None:
    provider.id_token = provider.sign({}).replace("eyJ", "eyJjcml0IjpbIngiXSwi", 1)


def garbage(provider: SmallProvider) -> None:
    provider.id_token = "a.b.c"


def empty(provider: SmallProvider) -> None:
    provider.id_token = "x"


FORGERIES = [
    unsigned,
    signed_with_public_key,
    signed_by_another,
    of_unknown_key,
    with_own_key,
    with_key_elsewhere,
    for_encryption,
    critical,
    garbage,
    empty,
]


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_a_forged_token_signs_nobody_in(scene: Scene, forge: Callable[[SmallProvider], None]) -> None:
    forge(scene.provider)
    refused(scene)


@pytest.mark.parametrize(
    "answer",
    [
        {"iss": "https://evil.example.org"},
        {"iss": ""},
        {"state": "another"},
        {"state": ""},
        {"code": "never-given"},
        {"code": "", "error": "access_denied"},
        {"code": ""},
    ],
    ids=str,
)
def test_a_wrong_answer_of_the_provider_signs_nobody_in(scene: Scene, answer: dict[str, str]) -> None:
    scene.provider.answer = answer
    refused(scene)


def test_an_answer_counts_once_in_the_browser_that_asked(scene: Scene) -> None:
    browser = scene.browser()
    begun = browser.get("/sign-in/oidc")
    kept = dict(browser.cookies)
    back = scene.provider.authorize(begun.headers["Location"])
    victim = scene.browser()
    assert victim.get(back).code == "sign-in-refused"  # no one is made to sign in as somebody else
    other = scene.browser()
    other.get("/sign-in/oidc")
    assert other.get(back).code == "sign-in-refused"
    assert browser.get(f"{back}&code=another").code == "sign-in-refused"
    browser.cookies = dict(kept)
    assert browser.get(back).status == 303
    browser.cookies = dict(kept)  # who has stolen the cookie and the address
    again = scene.provider.authorize(begun.headers["Location"])
    assert browser.get(again).code == "sign-in-refused"
    forged = Browser(scene.visited.address)
    forged.cookies = {COOKIE: kept[COOKIE][:-2] + "AA"}
    assert forged.get(back).code == "sign-in-refused"


def test_a_sign_in_that_took_too_long_has_to_begin_again(scene: Scene) -> None:
    browser = scene.browser()
    back = scene.provider.authorize(browser.get("/sign-in/oidc").headers["Location"])
    scene.visited.ahead_ms += FLOW_MS + 1
    assert browser.get(back).code == "sign-in-refused"


def test_a_session_of_before_is_replaced(scene: Scene) -> None:
    """A session that an attacker has set is not the one that signs in."""
    browser, _ = sign_in(scene)
    before = browser.cookies[SESSION]
    sign_in(scene, browser)
    assert browser.cookies[SESSION] != before


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example.org"},
        {"token_endpoint": "http://evil.example.org/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": None},
    ],
    ids=str,
)
def test_a_provider_that_is_not_the_one_of_the_settings_is_not_used(
    scene: Scene, metadata: dict[str, Any]
) -> None:
    scene.provider.metadata = metadata
    page = scene.browser().get("/sign-in/oidc")
    assert (page.status, page.code) == (503, "sign-in-unavailable")
    assert scene.provider.issuer not in page.text


def test_a_provider_that_is_away_is_said_so(scene: Scene) -> None:
    scene.set(issuer="http://127.0.0.1:9")
    page = scene.browser().get("/sign-in/oidc")
    assert (page.status, page.code) == (503, "sign-in-unavailable")


def test_a_provider_that_never_answers_is_logged_with_that(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(provider, "ANSWER_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scene.set(issuer=f"http://127.0.0.1:{silent.getsockname()[1]}")
        page = scene.browser().get("/sign-in/oidc")
    assert (page.status, page.code) == (503, "sign-in-unavailable")
    assert "no response within 0.05 s" in caplog.text


# Who somebody is


@pytest.mark.parametrize(
    ("settings", "claims", "person"),
    [
        ({}, {"email": "reviewer@example.org", "email_verified": False}, None),
        ({}, {"email": "reviewer@example.org"}, None),
        ({}, {"email": "reviewer", "email_verified": True}, None),
        ({"verified_email": False}, {"email": "reviewer@example.org"}, "reviewer"),
        ({}, {"email": "new@example.org", "email_verified": True}, "new@example.org"),
        ({}, {"email": "lead@example.org", "email_verified": True}, None),
        ({"person": "sub"}, {"sub": "acc-lead"}, "lead"),
        ({"person": "preferred_username"}, {"preferred_username": "Reviewer"}, "reviewer"),
        ({"person": "preferred_username"}, {"preferred_username": "lead"}, None),
        ({"person": "preferred_username"}, {"preferred_username": "group:ops"}, None),
        ({"person": "preferred_username"}, {"preferred_username": ["reviewer"]}, None),
        ({"person": "preferred_username"}, {"preferred_username": " reviewer"}, None),
        ({"person": "preferred_username"}, {"preferred_username": ""}, None),
        ({"person": "preferred_username"}, {}, None),
    ],
)
def test_the_claim_of_the_settings_says_who_somebody_is(
    scene: Scene, settings: dict[str, Any], claims: dict[str, Any], person: str | None
) -> None:
    scene.set(**settings)
    scene.provider.claims = claims
    if person is None:
        refused(scene)
        return
    browser, page = sign_in(scene)
    assert (page.status, who(browser)) == (303, person)


def test_strict_settings_let_nobody_else_in(scene: Scene) -> None:
    scene.directory = replace(scene.directory, strict_people=True)
    assert sign_in(scene)[1].status == 303
    scene.provider.claims = {"email": "new@example.org", "email_verified": True}
    refused(scene, "not in the settings")


def test_a_group_of_the_account_counts_if_the_settings_map_it(scene: Scene) -> None:
    put(scene.hitl, "for-legal", Question(prompt="Sign?", to=("group:legal",)))
    scene.provider.claims |= {"groups": ["acme-legal", "ops", 7]}
    browser, _ = sign_in(scene)
    assert 'value="approve"' not in browser.get("/r/for-legal").text
    scene.set(groups={"acme-legal": "legal"})
    browser, _ = sign_in(scene)
    assert 'value="approve"' in browser.get("/r/for-legal").text
    scene.provider.claims["groups"] = []
    later, _ = sign_in(scene)
    assert 'value="approve"' not in later.get("/r/for-legal").text
    assert 'value="approve"' not in browser.get("/r/for-legal").text  # the last sign-in counts


def test_nobody_knows_all_members_of_a_group_of_accounts(scene: Scene) -> None:
    """One no is not the end where two must approve: others may belong to the group by their account."""
    put(scene.hitl, "two-of-legal", Question(prompt="Sign?", to=("group:legal",), approvals=2))
    scene.set(groups={"acme-legal": "legal"})
    scene.provider.claims |= {"groups": "acme-legal"}
    browser, _ = sign_in(scene)
    assert browser.answer("/r/two-of-legal", "reject", reason="no").status == 303
    assert promise_now(scene.hitl, "two-of-legal")["state"] == "pending"
    scene.provider.claims |= {"email": "new@example.org"}
    other, _ = sign_in(scene)
    assert other.answer("/r/two-of-legal", "reject", reason="no").status == 303
    assert promise_now(scene.hitl, "two-of-legal")["state"] == "rejected"


def test_permissions_and_the_end_of_a_session_are_those_of_the_settings(scene: Scene) -> None:
    scene.set(can=frozenset({"read"}), session="1h")
    put(scene.hitl, "read-only", Question(prompt="Look?"))
    browser, _ = sign_in(scene)
    assert who(browser) == "reviewer"
    assert browser.answer("/r/read-only").code == "permission-missing"
    scene.visited.ahead_ms += HOUR_MS
    assert who(browser) == ""


# Signing out


def test_signing_out_leads_to_the_provider_too(scene: Scene) -> None:
    browser, page = sign_in(scene)
    [hint] = [one for one in page.cookies if one.startswith("__Secure-hitl-oidc-hint")]
    assert all(
        flag in hint for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/tools/sign-in/oidc/out")
    )
    elsewhere = Browser(scene.visited.address)
    elsewhere.cookies = dict(browser.cookies)
    led = elsewhere.get("/sign-in/oidc/out")  # by a link of another site: the provider must ask
    assert "id_token_hint" not in led.headers["Location"]
    page = browser.post("/sign-out", {"csrf": browser.get("/").csrf})
    assert page.headers["Location"] == "/tools/sign-in?out=1"
    assert 'href="/tools/sign-in/oidc/out"' in browser.get("/sign-in?out=1").text
    out = urlsplit(browser.get("/sign-in/oidc/out").headers["Location"])
    assert f"{out.scheme}://{out.netloc}{out.path}" == f"{scene.provider.issuer}/end"
    asked = parse_qs(out.query)
    assert asked["post_logout_redirect_uri"] == [f"{PUBLIC_URL}/sign-in"]
    assert asked["id_token_hint"] == [hint.partition("=")[2].partition(";")[0]]
    assert "__Secure-hitl-oidc-hint" not in browser.cookies
    scene.provider.claims["groups"] = ["a group of many"] * 300  # no cookie is so large
    assert not [one for one in sign_in(scene)[1].cookies if one.startswith("__Secure-hitl-oidc-hint")]


def test_the_provider_ends_the_sessions_of_an_account(scene: Scene) -> None:
    scene.provider.claims |= {"sid": "s-1"}
    first, _ = sign_in(scene)
    scene.provider.claims |= {"sid": "s-2"}
    second, _ = sign_in(scene)
    bad = [
        scene.provider.logout_token(events={}),
        scene.provider.logout_token(nonce="n"),
        scene.provider.logout_token(sub=None),
        scene.provider.logout_token(aud="another"),
        scene.provider.logout_token(iat=int(time.time()) - 3_600),
        "x",
    ]
    for text in bad:
        page = scene.browser().post("/sign-in/oidc/logout", {"logout_token": text})
        assert (page.status, page.code) == (400, "sign-in-refused"), text
    done = scene.browser().post(
        "/sign-in/oidc/logout", {"logout_token": scene.provider.logout_token(sid="s-1")}
    )
    assert done.status == 200
    scene.visited.look_again()
    assert who(first) == ""
    assert who(second) == "reviewer"


# Settings


def test_a_gateway_without_the_extra_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("joserfc.", "hitl_cli.gateway.oidc."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "joserfc", None)
    settings = OidcSettings(issuer="https://login.example.org", client_id=CLIENT)
    options = Options(server=f"sqlite:///{tmp_path}/hitl.db", keys=tmp_path / "keys", person="owner")
    Gateway(options)  # without [oidc] nothing is missing
    with pytest.raises(MissingExtra, match=r"resonate-hitl\[oidc\]"):
        Gateway(replace(options, directory=Directory(oidc=settings)))


def test_doctor_says_what_is_wrong_with_the_provider(scene: Scene) -> None:
    def levels(**changes: Any) -> list[str]:
        scene.set(**changes)
        return [one.level for one in judge_oidc(scene.directory.oidc)]

    good = scene.provider.issuer
    assert levels() == ["ok"]
    assert levels(client_secret="$NOT_SET") == ["warning", "ok"]
    assert levels(client_secret=SECRET, issuer=f"{good}/") == ["warning"]
    assert levels(issuer="http://127.0.0.1:9") == ["warning"]
    assert [*judge_oidc(None)] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://login.example.org"},
        {"issuer": "https://login.example.org/#x"},
        {"issuer": "https://user@login.example.org"},
        {"scopes": ("email",)},
        {"scopes": ("openid", "a b")},
        {"can": frozenset({"decide"})},
        {"session": "13h"},
        {"groups": {"acme-ops": "nowhere"}},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any]) -> None:
    good = OidcSettings(issuer="https://login.example.org", client_id=CLIENT)
    check_oidc(replace(good, groups={"acme-ops": "group:Ops"}), ["ops"])
    with pytest.raises(BadSetting):
        check_oidc(replace(good, **changes), ["ops"])


def test_the_secret_is_in_the_environment_of_the_gateway_alone(tmp_path: Path) -> None:
    text = (
        '[oidc]\nissuer = "https://login.example.org"\nclient_id = "hitl"\nclient_secret = "$OIDC_SECRET"\n'
    )
    (tmp_path / "hitl.toml").write_text(text)
    found = Settings({"OIDC_SECRET": "s"}, tmp_path).directory().oidc
    assert found is not None
    assert found.client_secret == "s"
    assert Settings({}, tmp_path).directory().oidc is not None  # a worker, which needs none
    options = Options(
        server=f"sqlite:///{tmp_path}/hitl.db",
        keys=tmp_path / "keys",
        person="owner",
        directory=Settings({}, tmp_path).directory(),
    )
    with pytest.raises(BadSetting):
        Gateway(options)
