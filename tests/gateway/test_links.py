"""Links: who has one sees one request, looking changes nothing, and the form on the page decides."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from hitl_cli.auth.links import Link, make, revoke_all, revoke_link, url_of
from hitl_cli.auth.sign_in import link_for as sign_in_link
from hitl_cli.auth.sign_in import sign as sign_to_sign_in
from hitl_cli.auth.signing_keys import rotate
from hitl_cli.client.wire import audit_of, decode, error_value
from hitl_cli.gateway.api import events
from hitl_cli.gateway.auth import sessions
from hitl_cli.gateway.context import BAD_LINKS
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Directory, GroupContact
from hitl_cli.requests.question import REPLACED_BY, Question
from hitl_cli.runs import Runs
from hitl_cli.runs.run import cancel_request
from hitl_cli.settings import Settings
from tests.acting import approval, comment, decide
from tests.cli.requests import put
from tests.conftest import PATIENCE_S, Hitl
from tests.gateway.streams import Reader
from tests.gateway.visiting import Browser, Visited, all_promises

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hitl_cli.client.wire import Promise

HOUR_MS = 3_600_000
ASKED = Question(prompt="Ship 1.4.2?", to=("reviewer", "ops"))


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    """A gateway for other machines, where only a link identifies a person."""
    directory = Directory(groups={"crew": GroupContact(members=("reviewer", "lead"))})
    gateway = Visited(
        Hitl(tmp_path_factory.mktemp("links")), url="https://hitl.example.org", directory=directory
    )
    yield gateway
    gateway.stop()


@pytest.fixture
def browser(visited: Visited) -> Browser:
    return Browser(visited.address)


@pytest.fixture
def asked(visited: Visited, request: pytest.FixtureRequest) -> Promise:
    """A request of the test's own."""
    return put(visited.hitl, request.node.name.replace("[", "-").replace("]", ""), ASKED)


def now_of(visited: Visited, promise: Promise) -> Promise:
    from hitl_cli.client.protocol import get_promise

    with visited.hitl.client() as client:
        found = get_promise(client, promise.id)
    assert found is not None
    return found


def test_to_look_changes_nothing_whoever_does_and_however_often(
    visited: Visited, browser: Browser, asked: Promise
) -> None:
    path = visited.link(asked.id, "reviewer")
    before = all_promises(visited.hitl)
    for method in ("GET", "HEAD", "GET", "GET"):
        page = browser.ask(method, path, headers={"User-Agent": "a mail scanner"})
        assert page.status == 200
        assert not page.cookies
    assert "Ship 1.4.2?" in browser.get(path).text
    assert all_promises(visited.hitl) == before


def test_the_form_decides_in_the_name_of_the_links_person(
    visited: Visited, browser: Browser, asked: Promise
) -> None:
    path = visited.link(asked.id, "reviewer")
    page = browser.answer(path, comment="fine")
    assert page.status in {200, 303}
    settled = now_of(visited, asked)
    audit = audit_of(settled)
    assert (settled.state, audit.by, audit.via, audit.comment) == ("resolved", "reviewer", "link", "fine")


def test_who_left_the_group_no_longer_answers_by_an_old_link(tmp_path: Path) -> None:
    hitl, file = Hitl(tmp_path), tmp_path / "hitl.toml"
    file.write_text("[groups.ops]\nmembers = ['reviewer', 'lead']\n")
    put(hitl, "q", Question(prompt="Ship 1.4.2?", to=("group:ops",)))
    live = Settings({}, tmp_path).live_directory()
    visited = Visited(hitl, url="https://hitl.example.org", directory=live(), live=live)
    try:
        browser, path = Browser(visited.address), visited.link("q", "reviewer")
        form = {"csrf": browser.get(path).csrf, "verdict": "approve"}
        file.write_text("[groups.ops]\nmembers = ['lead']\n")
        assert browser.get(path).status == 403
        assert browser.post(path, form).status == 403
        file.write_text("[groups.ops]\nmembers = ['lead', 'reviewer']\n")
        assert browser.answer(path).status in {200, 303}
    finally:
        visited.stop()


def test_a_used_link_shows_its_person_what_came_of_it(
    visited: Visited, browser: Browser, asked: Promise
) -> None:
    path = visited.link(asked.id, "reviewer")
    browser.answer(path, "reject", reason="too early")
    before = all_promises(visited.hitl)
    page = browser.get(path)
    assert page.status == 200
    assert "rejected" in page.text
    assert "reviewer" in page.text
    assert all_promises(visited.hitl) == before


def test_to_say_the_same_again_is_the_same_and_to_say_otherwise_a_conflict(
    visited: Visited, browser: Browser, asked: Promise
) -> None:
    path = visited.link(asked.id, "reviewer")
    form = {"csrf": browser.get(path).csrf, "verdict": "approve"}
    assert browser.post(path, form).status in {200, 303}
    before = all_promises(visited.hitl)
    assert browser.post(path, form).status in {200, 303}
    page = browser.post(path, {**form, "verdict": "reject"})
    assert (page.status, page.code) == (409, "already-decided")
    assert "reviewer" in page.main
    assert all_promises(visited.hitl) == before


def test_what_somebody_else_decided_is_said_with_who_and_when(
    visited: Visited, browser: Browser, asked: Promise
) -> None:
    path = visited.link(asked.id, "reviewer")
    csrf = browser.get(path).csrf
    with visited.hitl.client() as client:
        decide(client, asked.id, approval(by="ops", via="cli"))
    before = all_promises(visited.hitl)
    for page in (browser.get(path), browser.post(path, {"csrf": csrf, "verdict": "approve"})):
        assert (page.status, page.code) == (410, "link-used")
        assert "“Ship 1.4.2?” was approved by ops" in page.text
    assert all_promises(visited.hitl) == before


def test_what_was_canceled_or_ran_out_is_said_so(visited: Visited, browser: Browser) -> None:
    canceled = put(visited.hitl, "was-canceled", ASKED)
    paths = [visited.link(canceled.id, "reviewer")]
    with visited.hitl.client() as client:
        Runs(client, Actor(person="lead", via="cli")).cancel(canceled.id)
        late = put(visited.hitl, "was-late", ASKED, deadline_ms=1)
        now = client.now()
    ended = Link(request=late.id, person="reviewer", made_at=now, ends_at=late.timeout_at, id="late")
    paths.append(url_of("", ended, visited.keys))
    for path, said in zip(paths, ("was canceled by lead", "its deadline passed"), strict=True):
        page = browser.get(path)
        assert page.status == 410
        assert said in page.text


def test_who_voted_is_shown_the_decision_too(visited: Visited, browser: Browser) -> None:
    request = put(visited.hitl, "voted-on", Question(prompt="Both?", to=("reviewer", "ops"), approvals=2))
    paths = {person: visited.link(request.id, person) for person in request_people()}
    assert browser.answer(paths["reviewer"]).status in {200, 303}
    assert browser.get(paths["reviewer"]).status == 200
    assert browser.answer(paths["ops"]).status in {200, 303}
    assert [browser.get(path).status for path in paths.values()] == [200, 200]
    assert now_of(visited, request).state == "resolved"


def request_people() -> tuple[str, str]:
    return ("reviewer", "ops")


# Links that lead nowhere


@pytest.mark.parametrize("how", ["cut", "longer", "changed", "unsigned", "nonsense", "other", "empty"])
def test_a_forged_link_is_refused(visited: Visited, browser: Browser, asked: Promise, how: str) -> None:
    token = visited.link(asked.id, "reviewer").removeprefix("/l/")
    body, _, signature = token.rpartition(".")
    swapped = visited.link(asked.id, "ops").removeprefix("/l/").rpartition(".")[2]
    forged = {
        "cut": token[:-1],
        "longer": token + "A",
        "changed": f"{body[:-2]}{'A' if body[-2] != 'A' else 'B'}{body[-1]}.{signature}",
        "unsigned": body,
        "nonsense": "%F0%9F%92%A5.%00.%0d%0a",
        "other": f"{body}.{swapped}",
        "empty": ".",
    }[how]
    before = all_promises(visited.hitl)
    for page in (browser.get(f"/l/{forged}"), browser.post(f"/l/{forged}", {"verdict": "approve"})):
        assert (page.status, page.code) == (403, "link-invalid")
        assert "Ship" not in page.text
    assert all_promises(visited.hitl) == before


def test_what_was_signed_for_another_purpose_is_no_link(
    visited: Visited, browser: Browser, asked: Promise
) -> None:
    session = sessions.begin("reviewer", frozenset({"read"}), visited.now())
    mail = sign_in_link("reviewer", visited.now(), "/")
    link = visited.link(asked.id, "reviewer").removeprefix("/l/")
    for token in (sessions.sign(session, visited.keys), sign_to_sign_in(mail, visited.keys)):
        assert browser.get(f"/l/{token}").status == 403
    assert browser.get(f"/sign-in/{link}").status == 403
    browser.cookies["__Host-hitl-session"] = link
    assert browser.get("/").status == 303


def test_a_form_of_one_link_does_not_decide_by_another(visited: Visited, browser: Browser) -> None:
    mine, other = (put(visited.hitl, f"swapped-{number}", ASKED) for number in (1, 2))
    csrf = browser.get(visited.link(mine.id, "reviewer")).csrf
    form = {"csrf": csrf, "verdict": "approve", "request": other.id, "id": other.id, "name": other.id}
    assert browser.post(visited.link(other.id, "reviewer"), form).status == 403
    assert browser.post(visited.link(mine.id, "ops"), form).status == 403
    assert browser.post(f"/r/{other.id}", form).status in {401, 403}
    assert browser.post(visited.link(mine.id, "reviewer"), form).status == 403
    assert now_of(visited, other).state == now_of(visited, mine).state == "pending"


def test_a_link_opens_no_other_page(visited: Visited, browser: Browser, asked: Promise) -> None:
    path = visited.link(asked.id, "reviewer")
    assert "<nav" not in browser.get(path).text
    for other in ("/", f"/r/{asked.id}", "/runs", "/history", "/stats", f"{path}/../../r/{asked.id}"):
        page = browser.get(other)
        assert page.status in {303, 401, 404}
        assert "Ship" not in page.text


def test_a_link_names_one_promise_and_never_what_merely_begins_so(visited: Visited, browser: Browser) -> None:
    now = visited.now()
    put(visited.hitl, "exactly-this:1", ASKED, key="a-key")
    for name in ("exactly", "exactly-this", "a-key"):
        link = Link(request=name, person="reviewer", made_at=now, ends_at=now + HOUR_MS, id="x")
        page = browser.get(url_of("", link, visited.keys))
        assert (page.status, page.code) == (404, "not-found")


def test_a_link_that_has_ended_shows_nothing(visited: Visited, browser: Browser, asked: Promise) -> None:
    path = visited.link(asked.id, "reviewer", HOUR_MS)
    form = {"csrf": browser.get(path).csrf, "verdict": "approve"}
    visited.ahead_ms = HOUR_MS
    try:
        for page in (browser.get(path), browser.post(path, form)):
            assert (page.status, page.code) == (410, "link-expired")
            assert "Ship" not in page.text
    finally:
        visited.ahead_ms = 0
    assert now_of(visited, asked).state == "pending"


def test_a_revoked_link_has_ended_and_others_have_not(
    visited: Visited, browser: Browser, asked: Promise
) -> None:
    with visited.hitl.client() as client:
        one, other = (make(client, asked.id, "reviewer") for _ in range(2))
        revoke_link(client, one, by="lead", via="cli")
    page = browser.get(url_of("", one, visited.keys))
    assert (page.status, page.heading) == (410, "This link no longer works")
    assert "revoked" in page.text
    assert browser.get(url_of("", other, visited.keys)).status == 200


def test_the_events_of_a_link_end_when_it_is_revoked(
    visited: Visited, asked: Promise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KNOWN_S", 0)
    with visited.hitl.client() as client:
        link = make(client, asked.id, "reviewer")
        path = f"{url_of('', link, visited.keys)}/events"
        with Reader(visited.address, path=path) as reader:
            reader.wait_for("ready")
            comment(client, asked.id, "Who asks?", by="lead", via="cli")
            reader.wait_for("request.changed", asked.id)
            revoke_link(client, link, by="lead", via="cli")
            comment(client, asked.id, "Never mind", by="lead", via="cli")
            assert reader.ended.wait(PATIENCE_S)
            assert [one.name for one in reader.seen] == ["ready", "request.changed"]


def test_a_link_to_a_request_that_was_replaced_leads_to_the_new_one(
    visited: Visited, browser: Browser, asked: Promise
) -> None:
    path = visited.link(asked.id, "reviewer")
    new = put(visited.hitl, "asked-anew", ASKED)
    csrf = browser.get(path).csrf
    with visited.hitl.client() as client:
        client.call_many([cancel_request(asked.id, error_value("changed", {REPLACED_BY: new.id}))])
    for page in (browser.get(path), browser.post(path, {"csrf": csrf, "verdict": "approve"})):
        assert (page.status, page.code) == (410, "link-used")
        assert f'href="/r/{new.id}"' in page.text
    assert now_of(visited, new).state == "pending"


def test_all_links_of_one_person_are_revoked_and_new_ones_are_good(
    visited: Visited, browser: Browser, asked: Promise
) -> None:
    mine, others = visited.link(asked.id, "reviewer"), visited.link(asked.id, "ops")
    with visited.hitl.client() as client:
        revoke_all(client, asked.id, "reviewer", by="lead", via="cli")
    assert [browser.get(path).status for path in (mine, others)] == [410, 200]
    assert browser.get(visited.link(asked.id, "reviewer")).status == 200
    with visited.hitl.client() as client:
        revoke_all(client, asked.id, None, by="lead", via="cli")
    assert browser.get(others).status == 410


def test_what_is_no_longer_a_persons_to_answer_is_not_shown(visited: Visited, browser: Browser) -> None:
    request = put(visited.hitl, "for-the-crew", Question(prompt="Ship?", to=("group:crew",)))
    now = visited.now()
    link = Link(request=request.id, person="ops", made_at=now, ends_at=now + HOUR_MS, id="x")
    for page in (
        browser.get(url_of("", link, visited.keys)),
        browser.post(url_of("", link, visited.keys), {"verdict": "approve"}),
    ):
        assert (page.status, page.heading) == (403, "You cannot answer this request")
        assert "Ship?" not in page.text
    assert browser.get(visited.link(request.id, "lead")).status == 200


def test_a_link_of_a_rotated_key_is_good_and_one_of_a_forgotten_key_is_not(
    visited: Visited, browser: Browser, asked: Promise
) -> None:
    path = visited.link(asked.id, "reviewer")
    csrf = browser.get(path).csrf
    rotate(visited.options.keys, visited.now())
    assert browser.get(path).status == 200
    assert browser.post(path, {"csrf": csrf, "verdict": "approve"}).status in {200, 303}
    rotate(visited.options.keys, visited.now(), forget=True)
    assert browser.get(path).status == 403


def test_who_tries_many_bad_links_has_to_wait_and_good_ones_stay_good(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    visited = Visited(Hitl(tmp_path_factory.mktemp("many")), url="https://hitl.example.org")
    try:
        browser = Browser(visited.address)
        asked = put(visited.hitl, "ship", ASKED)
        assert [browser.get(f"/l/bad.{n}").status for n in range(BAD_LINKS)] == [403] * BAD_LINKS
        page = browser.get("/l/bad")
        assert page.status == 429
        assert 0 < int(page.headers["Retry-After"]) <= 60
        assert browser.answer(visited.link(asked.id, "reviewer")).status in {200, 303}
        visited.ahead_ms = 60_000
        assert browser.get("/l/bad").status == 403
    finally:
        visited.stop()


def test_arguments_are_approved_as_they_are_or_with_a_change_by_a_link(
    visited: Visited, browser: Browser
) -> None:
    question = Question(prompt="Pay?", arguments={"amount": 120}, editable=True)
    for id, amount in (("link-same", "120"), ("link-changed", "80")):
        asked = put(visited.hitl, id, question)
        path = visited.link(asked.id, "reviewer")
        form = {"csrf": browser.get(path).csrf, "verdict": "approve", "field:amount": amount}
        page = browser.post(path, form)
        if amount != "120":
            assert (page.status, page.code) == (409, "arguments-changed")
            assert "amount: 120 → 80" in page.main
            mark = re.search(r'name="stand_by" value="([0-9a-f]+)"', page.text)
            assert mark is not None
            assert browser.post(path, form | {"stand_by": mark[1]}).status in {200, 303}
        assert decode(now_of(visited, asked).value) == {"amount": int(amount)}
