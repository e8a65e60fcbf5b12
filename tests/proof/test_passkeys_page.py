"""Decisions on a page that are signed by a passkey, in a gateway behind https and under a path."""

from __future__ import annotations

import html
import json
import tomllib
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hitl_cli.auth.sign_in import link_for, sign
from hitl_cli.client.protocol import call, get_promise
from hitl_cli.client.wire import Audit, Proof, Vote, audit_of, decode, encode
from hitl_cli.errors import NotAllowed, Unproven
from hitl_cli.format.passkeys import from_base64url
from hitl_cli.inbox import Inbox, proof
from hitl_cli.inbox.proof import check_proven, why_unproven
from hitl_cli.inbox.votes import count as counted
from hitl_cli.inbox.votes import record_vote, votes_of
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Contact, Directory
from hitl_cli.proof import signing
from hitl_cli.proof.signing import ssh_signer
from hitl_cli.proof.statement import statement_of
from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import Hitl
from tests.gateway.conftest import Reply
from tests.gateway.desk import Document
from tests.gateway.visiting import Browser, Page, Visited
from tests.proof.authenticator import BE, BS, ORIGIN, UP, Authenticator
from tests.proof.signers import approve, key, public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.inbox.proof import Verified

BASE = "/tools/hitl"
PAY = {"amount": 100, "to": "acme"}

KEYS = {name: Authenticator() for name in ("lead", "ops", "legal", "gone")}
SECOND = Authenticator()
"""Another passkey of the lead."""

STRANGE = Authenticator()
"""A passkey that the settings do not have."""

PEOPLE = Directory(
    people={
        "lead": Contact(passkeys=(KEYS["lead"].passkey.line, SECOND.passkey.line + " phone")),
        "ops": Contact(passkeys=(KEYS["ops"].passkey.line,)),
        "legal": Contact(passkeys=(KEYS["legal"].passkey.line,)),
        "reviewer": Contact(),
        "gone": Contact(passkeys=(KEYS["gone"].passkey.line,)),
        "moved": Contact(passkeys=(Authenticator("https://before.example.org").passkey.line,)),
    },
    revoked={KEYS["gone"].passkey.fingerprint: 1},
)


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    hitl = Hitl(tmp_path_factory.mktemp("passkeys"))
    gateway = Visited(hitl, directory=PEOPLE, url=ORIGIN + BASE)
    yield gateway
    gateway.stop()


class Signer:
    """A person with a link to a request, and their passkey."""

    def __init__(
        self, visited: Visited, id: str, person: str = "lead", key: Authenticator | None = None
    ) -> None:
        self.path = visited.link(id, person)
        self.browser = Browser(visited.address)
        self.key = key or KEYS.get(person, STRANGE)
        self.page = self.browser.get(self.path)

    def form(self, verdict: str = "approve", **fields: str) -> dict[str, str]:
        asked = Document(Reply(200, {}, self.page.text.encode())).control("asked")["value"] or ""
        return {"csrf": self.page.csrf, "asked": asked, "verdict": verdict, **fields}

    def post(self, form: dict[str, str]) -> Page:
        return self.browser.post(self.path, form)

    def statement(self, form: dict[str, str]) -> dict[str, Any]:
        """Ask for the statement of a form, which changes nothing."""
        answer = self.post({**form, "statement": "1"})
        assert answer.headers["Content-Type"].startswith("application/json"), answer.text
        asked: dict[str, Any] = json.loads(answer.text)
        return asked

    def proof(self, form: dict[str, str], **how: Any) -> str:
        """Return the signature of a form, as the script sends it."""
        asked = self.statement(form)
        signed = self.key.sign(from_base64url(asked["options"]["challenge"]), **how)
        return json.dumps(asked["proof"] | signed)

    def decide(self, verdict: str = "approve", **fields: str) -> Page:
        form = self.form(verdict, **fields)
        return self.post({**form, "proof": self.proof(form)})


def verified(visited: Visited, *ids: str) -> list[Verified]:
    with visited.hitl.client() as client:
        auditor = Inbox(client, Actor(person="auditor", via="cli", groups=PEOPLE.members))
        return [proof.verified(auditor.find(id), PEOPLE.members) for id in ids]


def is_open(visited: Visited, id: str) -> bool:
    with visited.hitl.client() as client:
        promise = get_promise(client, id)
        assert promise is not None
        return promise.state == "pending"


NUMBERS = count()


def ask(visited: Visited, id: str | None = None, **question: Any) -> str:
    """Make a request that needs a signed decision, and return its id."""
    id = id or f"pay-{next(NUMBERS)}"
    put(visited.hitl, id, msgspec.convert({"prompt": "Pay?", "proof": "signed"} | question, Question))
    return id


FORM = {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]}


@pytest.mark.parametrize(
    ("question", "verdict", "fields", "data"),
    [
        ({}, "approve", {"comment": "go"}, True),
        ({"proof": "passkey"}, "approve", {}, True),
        ({"proof": None}, "approve", {"sign": "1"}, True),
        ({"choices": ["yes", "later"]}, "", {"choice": "later"}, "later"),
        ({"form": FORM}, "approve", {"field:note": "two\r\nlines"}, {"note": "two\nlines"}),
        ({"arguments": PAY, "editable": True}, "approve", {"field:amount": "100", "field:to": "acme"}, PAY),
        ({}, "reject", {"reason": "no", "comment": "never"}, None),
    ],
)
def test_a_decision_that_a_passkey_signed_is_proven(
    visited: Visited, question: Any, verdict: str, fields: dict[str, str], data: Any
) -> None:
    id = ask(visited, **question)
    lead = Signer(visited, id)
    form = lead.form(verdict, **fields)
    proof = lead.proof(form)
    assert is_open(visited, id)
    done = lead.post({**form, "proof": proof})
    assert (done.status, done.headers["Location"]) == (303, BASE + lead.path), done.text
    [found] = verified(visited, id)
    assert (found.state, [(one.by, one.kind, one.key) for one in found.proof]) == (
        "proven",
        [("lead", "passkey", KEYS["lead"].passkey.fingerprint)],
    )
    with visited.hitl.client() as client:
        promise = get_promise(client, id)
        assert promise is not None
        assert data is None or decode(promise.value) == data
        audit = audit_of(promise)
        assert audit.proof is not None
        assert audit.id == audit.proof.decision
    assert lead.post({**form, "proof": proof}).status == 303  # sent twice, it is the same decision
    assert KEYS["lead"].passkey.fingerprint in lead.browser.get(lead.path).text


def test_changed_arguments_are_shown_before_they_are_signed(visited: Visited) -> None:
    id = ask(visited, "edited", arguments=PAY, editable=True)
    lead = Signer(visited, id)
    form = lead.form(**{"field:amount": "5", "field:to": "acme"})
    shown = lead.post({**form, "statement": "1"})
    assert (shown.status, shown.code) == (409, "arguments-changed")
    form["stand_by"] = Document(Reply(200, {}, shown.text.encode())).control("stand_by")["value"] or ""
    assert lead.post({**form, "proof": lead.proof(form)}).status == 303
    [found] = verified(visited, id)
    assert found.state == "proven"


def test_a_quorum_is_two_people_and_not_two_passkeys_of_one(visited: Visited) -> None:
    id = ask(visited, "two", approvals=2, to=["lead", "ops"])
    assert Signer(visited, id).decide().status == 303
    assert Signer(visited, id, key=SECOND).decide(comment="again").status == 303
    assert is_open(visited, id)
    assert Signer(visited, id, "ops").decide().status == 303
    [found] = verified(visited, id)
    assert (found.state, [one.by for one in found.proof]) == ("proven", ["lead", "ops"])


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"comment": "changed"}, "bad-proof"),
        ({"verdict": "reject"}, "bad-proof"),
        ({"field:note": "changed"}, "bad-proof"),
        ({"proof": "{}"}, "bad-proof"),
        ({"proof": "[["}, "bad-proof"),
        ({"proof": ""}, "proof-needed"),
        ({"proof": "", "sign": "1"}, "not-signed"),
        ({"asked": "0" * 64}, "request-changed"),
    ],
)
def test_what_was_not_signed_as_it_is_sent_decides_nothing(
    visited: Visited, changed: dict[str, str], code: str
) -> None:
    id = ask(visited, form=FORM)
    lead = Signer(visited, id)
    form = lead.form(**{"field:note": "as signed", "comment": "as signed"})
    refused = lead.post({**form, "proof": lead.proof(form), **changed})
    assert (refused.status // 100, refused.code) == (4, code)
    assert is_open(visited, id)


@pytest.mark.parametrize(
    ("key", "how"),
    [
        (KEYS["ops"], {}),
        (STRANGE, {}),
        (None, {"flags": UP | BE | BS}),
        (None, {"origin": "https://evil.example.org"}),
        (None, {"rp_id": "evil.example.org"}),
    ],
)
def test_another_signature_decides_nothing(visited: Visited, key: Authenticator | None, how: Any) -> None:
    id = ask(
        visited,
    )
    lead = Signer(visited, id, key=key)
    form = lead.form()
    refused = lead.post({**form, "proof": lead.proof(form, **how)})
    assert (refused.status, refused.code) == (400, "bad-proof")
    assert is_open(visited, id)


def test_a_signature_is_good_for_its_request_choice_and_time_alone(
    visited: Visited, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = ask(visited, "one", choices=["a", "b"]), ask(visited, "other", choices=["a", "b"])
    lead, elsewhere = Signer(visited, one), Signer(visited, other)
    form = lead.form("", choice="a")
    proof = lead.proof(form)
    for signer, fields in ((elsewhere, elsewhere.form("", choice="a")), (lead, {**form, "choice": "b"})):
        refused = signer.post({**fields, "proof": proof})
        assert (refused.status, refused.code) == (400, "bad-proof")
    monkeypatch.setattr(signing, "FRESH_MS", -1)
    refused = lead.post({**form, "proof": proof})
    assert (refused.status, refused.code) == (400, "bad-proof")
    assert is_open(visited, one)
    assert is_open(visited, other)


def test_a_decision_that_is_moved_or_changed_in_the_database_is_wrong(visited: Visited) -> None:
    """By who can settle promises: of another request, and with a prompt that the person did not see."""
    first = ask(visited, "first")
    Signer(visited, first).decide()
    with visited.hitl.client() as client:
        promise = get_promise(client, first)
        assert promise is not None
        audit = audit_of(promise)
        far = Proof(kind="ssh", decision="d", at=2**60, signature="x")
        for id, prompt, changed in (
            ("replay", "Pay?", {}),
            ("reworded", "Refund?", {}),
            ("renamed", "Pay?", {"by": "ops"}),
            ("far", "Pay?", {"proof": far}),
        ):
            ask(visited, id, prompt=prompt)
            forged = msgspec.structs.replace(audit, **changed)
            call(client, "promise.settle", id=id, state="resolved", value=encode(True, forged.headers()))
            item = Inbox(client, Actor(person="x", via="test")).find(id)
            with pytest.raises(Unproven):
                check_proven(item, PEOPLE.members)
    assert [one.state for one in verified(visited, "first", "replay", "reworded", "renamed", "far")] == [
        "proven",
        *["wrong"] * 4,
    ]


def test_a_passkey_that_leaves_the_settings_proves_nothing_more(visited: Visited) -> None:
    id = ask(visited, "left")
    Signer(visited, id).decide()
    without = Directory(people={"lead": Contact(passkeys=(SECOND.passkey.line,))}).members
    with visited.hitl.client() as client:
        item = Inbox(client, Actor(person="x", via="test")).find(id)
        check_proven(item, PEOPLE.members)
        with pytest.raises(Unproven):
            check_proven(item, without)


def test_an_ssh_key_is_no_passkey(visited: Visited) -> None:
    """Where a passkey is asked for: at the front end, as a vote, and as a settlement by hand."""
    both = Contact(passkeys=(KEYS["lead"].passkey.line,), ssh=(public("lead"),))
    groups = Directory(people={"lead": both, "ops": both}).members
    id, two = ask(visited, proof="passkey"), ask(visited, proof="passkey", approvals=2)
    with visited.hitl.client() as client:
        with pytest.raises(NotAllowed) as caught:
            approve(client, groups, id, "lead", "lead")
        assert caught.value.code == "proof-needed"
        vote = Vote(by="lead", verdict="approve", at=client.now(), data=True)
        for one in (id, two):
            promise = get_promise(client, one)
            assert promise is not None
            proof = ssh_signer(key("lead"), (public("lead"),))(
                statement_of(promise, None, vote, "d", vote.at)
            )
            audit = Audit(id="d", by="lead", via="cli", at=vote.at, proof=proof)
            if one == id:
                call(client, "promise.settle", id=id, state="resolved", value=encode(True, audit.headers()))
            else:
                record_vote(client, promise, vote, audit, ())
        desk = Inbox(client, Actor(person="x", via="test"))
        assert "passkey" in str(why_unproven(desk.find(id), groups))
        assert [one.vote.by for one in votes_of(client, two)] == ["lead"]
        assert counted(desk.find(two), votes_of(client, two), groups).counted == ()


# The page


@pytest.mark.parametrize("person", ["reviewer", "moved", "gone"])
def test_who_has_no_passkey_here_is_told_how_to_sign(visited: Visited, person: str) -> None:
    id = ask(
        visited,
    )
    page = Browser(visited.address).get(visited.link(id, person))
    assert (page.status, page.code) == (200, "proof-needed")
    assert 'value="approve"' not in page.text
    assert "hitl approve" in page.text


def test_nothing_of_passkeys_is_on_the_page_of_who_needs_none(visited: Visited) -> None:
    id = ask(visited, "plain", proof=None)
    page = Browser(visited.address).get(visited.link(id, "reviewer"))
    assert "passkey" not in page.main
    assert "passkeys.js" not in page.text


def test_a_revoked_passkey_signs_nothing_more(visited: Visited) -> None:
    id = ask(visited)
    gone = Signer(visited, id, "gone")
    form = {"csrf": gone.page.csrf, "verdict": "approve"}
    refused = gone.post({**form, "proof": gone.proof(form)})
    assert (refused.status, refused.code) == (400, "bad-proof")
    assert is_open(visited, id)
    assert ">revoked<" in signed_in(visited, "gone").get("/passkeys").text


def signed_in(visited: Visited, person: str) -> Browser:
    browser = Browser(visited.address)
    path = f"/sign-in/{sign(link_for(person, visited.now(), '/'), visited.keys)}"
    assert browser.post(path, {"csrf": browser.get(path).csrf}).status == 303
    return browser


def test_your_passkeys_are_those_of_the_settings(visited: Visited) -> None:
    page = signed_in(visited, "lead").get("/passkeys")
    assert page.status == 200
    for own in (KEYS["lead"], SECOND):
        assert own.passkey.fingerprint in page.text
    assert KEYS["ops"].passkey.fingerprint not in page.text
    assert Browser(visited.address).get("/passkeys").headers["Location"].endswith("/sign-in?next=/passkeys")


def test_a_passkey_is_made_for_the_settings_and_stored_nowhere(visited: Visited) -> None:
    browser = signed_in(visited, "reviewer")
    page = browser.get("/passkeys")
    form = Document(Reply(200, {}, page.text.encode()))
    options = json.loads(next(form.all("form", action=f"{BASE}/passkeys"))["data-create"] or "")
    own = Authenticator()
    credential = json.dumps(own.register(options["challenge"]))
    made = browser.post("/passkeys", {"csrf": page.csrf, "comment": 'my "phone"', "credential": credential})
    line = f'{own.passkey.line} my "phone"'
    assert made.status == 200
    toml = html.unescape(made.text.partition('id="line"')[2].partition("<code>")[2].partition("</code>")[0])
    assert tomllib.loads(toml) == {"people": {"reviewer": {"passkeys": [line]}}}
    assert own.passkey.fingerprint not in browser.get("/passkeys").text
    other = signed_in(visited, "ops")
    refused = other.post("/passkeys", {"csrf": other.get("/passkeys").csrf, "credential": credential})
    assert (refused.status, refused.code) == (400, "bad-proof")
    for bad in ("", "{}", "[" * 10_000, json.dumps({"id": "x"})):
        refused = browser.post("/passkeys", {"csrf": page.csrf, "credential": bad})
        assert (refused.status, refused.code) == (400, "bad-proof")
    assert browser.post("/passkeys", {"csrf": "x", "credential": credential}).code == "form-expired"
    assert Browser(visited.address).post("/passkeys", {"credential": credential}).code == "unauthenticated"
