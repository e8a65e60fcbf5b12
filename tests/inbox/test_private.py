"""Parts of a request that only its assignees see: they are left out of all that others are shown."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace

from hitl_cli.client.protocol import ProtocolRequest, get_promise, search, send
from hitl_cli.client.tags import ORIGIN_TAG, VOTE_TAG
from hitl_cli.client.wire import EXTERNAL, audit_in, audit_of, encode, headers_of
from hitl_cli.errors import BadInput, Conflict, NotAllowed
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.history import HistoryFilter
from hitl_cli.inbox.open_requests import OpenRequests
from hitl_cli.inbox.proof import verified
from hitl_cli.ledger import Ledger
from hitl_cli.ledger.files import ExportCheck
from hitl_cli.people.actor import Actor
from hitl_cli.people.callbacks import CallbackSettings
from hitl_cli.people.contacts import Directory
from hitl_cli.people.groups import groups_of
from hitl_cli.people.visibility import RoleSettings, Visibility, VisibilitySettings
from hitl_cli.proof.signing import ssh_signer
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.private import without_private
from hitl_cli.requests.question import Question, Refused, sensible
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from hitl_cli.views.pending import request_summary_document
from tests.proof.signers import key, public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl

DAY_MS = 86_400_000

GROUPS = groups_of({}, visibility=Visibility(roles=RoleSettings(auditor=("auditor",))))

FORM = {"type": "object", "properties": {"salary": {"type": "integer", "default": 310_297_001}, "note": {}}}
ASKED = Question(
    prompt="Raise?",
    details={"iban": "DE-310297001", "name": "A", "people": [{"iban": "DE-310297002", "id": 1}]},
    form=FORM,
    to=("lead",),
    private=("details.iban", "details.people.iban", "form.salary"),
)


@pytest.fixture
def client(hitl: Hitl) -> Iterator[Client]:
    with hitl.client() as client:
        yield client


BY_SETTINGS = replace(
    GROUPS,
    visibility=Visibility(
        settings=VisibilitySettings(private={"rai*": (*ASKED.private, "arguments.amount")}),
        roles=GROUPS.visibility.roles,
    ),
)
"""The same parts are private by the settings, and no author has named them."""


@pytest.fixture(params=["author", "settings"])
def _said(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the author name the private parts, or the settings."""
    if request.param == "settings":
        monkeypatch.setattr(f"{__name__}.GROUPS", BY_SETTINGS)


def inbox(client: Client, person: str, **more: Any) -> Inbox:
    return Inbox(client, Actor(person=person, via="test", groups=GROUPS, **more))


def put(client: Client, question: Question = ASKED, id: str = "raise", by: str = "asker") -> None:
    if GROUPS is BY_SETTINGS:
        question = replace(question, private=())
    inbox(client, by).ask(question, id=id, deadline_ms=DAY_MS)


def texts(client: Client, person: str) -> str:
    """Return all that a person is shown, as JSON."""
    own = inbox(client, person)
    runs = Runs(client, own.actor)
    told = [
        own.list(),
        own.page(limit=9),
        own.find("raise"),
        own.show("raise"),
        own.asked("raise"),
        own.history(HistoryFilter()),
        own.story("raise", HistoryFilter()),
        list(own.decisions(HistoryFilter())),
        runs.show("raise"),
        runs.steps("raise"),
        own.comment("raise", "seen"),
    ]
    return f"{[msgspec.to_builtins(one) for one in told]} {[_data_of(one) for one in told]}"


def _data_of(value: Any) -> str:
    """Return what is in promises, whose data is in base64."""
    found = re.findall(r"'data': '([A-Za-z0-9+/]{4,}={0,2})'", str(msgspec.to_builtins(value)))
    return " ".join(str(base64.b64decode(one)) for one in found)


@pytest.mark.usefixtures("_said")
def test_only_assignees_the_asker_and_auditors_see_them(client: Client) -> None:
    put(client)
    inbox(client, "lead").decide(
        "raise", DecisionInput(verdict="approve", data={"salary": 310_297_003, "note": "y"})
    )
    for person, sees in (("lead", True), ("asker", True), ("auditor", True), ("other", False)):
        shown = texts(client, person)
        for secret in ("DE-310297001", "DE-310297002", "310297001", "310297003"):
            assert (secret in shown) == sees, (person, secret)
        assert "Raise?" in shown
        assert inbox(client, person).find("raise").hidden is not sees
    entry = inbox(client, "other").history(HistoryFilter())[0][0]
    assert entry.data == {"note": "y"}
    asked = inbox(client, "other").show("raise").item.asked
    assert asked.details == {"name": "A", "people": [{"id": 1}]}


@pytest.mark.usefixtures("_said")
def test_changed_arguments_votes_and_their_digest_tell_nothing(client: Client) -> None:
    question = Question(
        prompt="Pay?",
        arguments={"amount": 310_297_001, "to": "A"},
        editable=True,
        to=("lead", "boss"),
        approvals=2,
        private=("arguments.amount",),
    )
    put(client, question)
    watch = inbox(client, "other").watch()
    watch.start()
    for person in ("lead", "boss"):
        assert texts(client, "other").count("310297001") == 0
        said = DecisionInput(verdict="approve", data={"amount": 310_297_003, "to": "B"})
        inbox(client, person).decide("raise", said)
    seen = texts(client, "other")
    assert not any(secret in seen for secret in ("310297001", "310297003"))
    shown = inbox(client, "other").show("raise")
    assert shown.item.asked.arguments_digest is None
    told = watch.look() or []
    assert [[change.path for change in one.changes] for one in told if one.kind == "decided"] == [["to"]]
    assert {vote.by: vote.data for vote in shown.votes} == {"lead": {"to": "B"}, "boss": {"to": "B"}}
    assert shown.decision is not None
    assert [change.path for change in shown.decision.changes] == ["to"]


@pytest.mark.usefixtures("_said")
def test_who_may_move_its_deadline_or_assign_it_is_not_shown_them(client: Client) -> None:
    put(client, replace(ASKED, reassign="anyone", extend=DAY_MS))
    other = inbox(client, "other")
    told = [
        other.extend("raise", 1_000),
        other.release("raise"),
        other.assign("raise", ["boss"], Directory(), "default"),
    ]
    assert all(one.item.hidden for one in told)
    assert "310297001" not in f"{told} {_data_of(told)}"


@pytest.mark.usefixtures("_said")
def test_a_list_in_memory_does_not_show_them_in_an_answer_that_was_refused(client: Client) -> None:
    refused = Refused(why="not 310297001", data={"salary": 310_297_001, "note": "y"}, by="lead", at=1)
    put(client, replace(ASKED, refused=refused))
    known = OpenRequests(client)
    for _ in known.load():
        pass
    for person, sees in (("other", False), ("lead", True), ("other", False)):
        own = Inbox(client, inbox(client, person).actor, known)
        for [item] in (own.list()[0], own.page(limit=9)[0]):
            assert ("310297001" in repr(request_summary_document(item, 0))) == sees


@pytest.mark.usefixtures("_said")
def test_a_repeated_ask_of_another_tells_no_difference(client: Client) -> None:
    put(client)
    with pytest.raises(Conflict) as refused:
        inbox(client, "other").ask(replace(ASKED, details=None, private=()), id="raise", deadline_ms=1)
    assert refused.value.code == "question-differs"
    assert "310297001" not in f"{refused.value} {refused.value.lines}"


@pytest.mark.usefixtures("_said")
def test_what_is_proven_is_proven_to_those_who_see_it(client: Client) -> None:
    put(client)
    put(client, Question(prompt="Lunch?", to=("lead",)), id="lunch")
    lead = inbox(client, "lead")
    lead.decide("raise", DecisionInput(verdict="approve", data={"salary": 310_297_003}))
    lead.decide("lunch", DecisionInput(verdict="approve"))
    found = verified(inbox(client, "other").find("raise"), GROUPS)
    assert (found.state, found.why is not None) == ("claimed", True)
    assert verified(lead.find("raise"), GROUPS).why is None
    with pytest.raises(NotAllowed) as refused:
        Ledger(client, inbox(client, "other").actor).receipt("raise", ())
    assert refused.value.code == "parts-hidden"
    for person, whole in (("other", False), ("auditor", True)):
        lines = b"".join(Ledger(client, inbox(client, person).actor).export(()))
        assert (b'"raise"' in lines) == whole
        assert b'"lunch"' in lines
        check = ExportCheck(lines.splitlines(keepends=True), "export", GROUPS, ())
        assert {one.id for one in check.decisions()} == {"lunch"} | ({"raise"} if whole else set())


@pytest.mark.parametrize("private", ["prompt", "details.", "details.x", "form", "iban"])
def test_a_path_that_is_no_part_is_refused(private: str) -> None:
    with pytest.raises(BadInput) as refused:
        sensible(Question(prompt="?", to=("lead",), details=None, private=(private,)))
    assert refused.value.code == "bad-question"
    with pytest.raises(BadInput):
        sensible(Question(prompt="?", details={"x": 1}, private=("details.x",)))


@pytest.mark.parametrize(
    ("parts", "private", "good"),
    [
        ({"details": "IBAN: DE-310297001"}, "details.iban", False),
        ({"details": [{"iban": "DE"}, "and so on"]}, "details.iban", True),
        ({"details": ["DE-310297001"]}, "details.iban", False),
        ({"details": {"name": "A"}}, "details.iban", True),
        ({"details": {"iban": None}}, "details.iban.country", True),
        ({"arguments": {"amount": 310_297_001}}, "arguments.amount.net", False),
        ({"form": FORM}, "form.salry", False),
        ({"form": FORM}, "form.salary", True),
        ({"form": {**FORM, "allOf": [{"properties": {"bonus": {}}}]}}, "form.bonus", True),
    ],
)
def test_a_path_that_can_hide_nothing_is_refused(parts: dict[str, Any], private: str, good: bool) -> None:
    question = Question(prompt="?", to=("lead",), private=(private,), **parts)
    if good:
        sensible(question)
        return
    with pytest.raises(BadInput) as refused:
        sensible(question)
    assert refused.value.code == "bad-question"


def test_a_promise_without_private_parts_stays_as_it_is(client: Client) -> None:
    put(client, Question(prompt="Lunch?", to=("lead",)))
    promise = get_promise(client, "raise")
    assert promise is not None
    assert without_private(promise, Question(prompt="Lunch?")) is promise


def test_hitl_ask_takes_them(hitl: Hitl) -> None:
    details = '{"iban": "DE-310297001", "name": "A"}'
    hitl.ok(
        "ask",
        "Pay?",
        "--details",
        details,
        "--to",
        "lead",
        "--private",
        "details.iban",
        "--id",
        "p",
        "--no-wait",
    )
    assert "DE-310297001" in hitl.ok("show", "p")
    hitl.env["HITL_AS"] = "other"
    shown = hitl.json("show", "p")
    assert (shown["details"], shown["private"], shown["hidden"]) == ({"name": "A"}, ["details.iban"], True)


@pytest.mark.usefixtures("_said")
def test_nothing_lets_a_guess_be_checked(client: Client) -> None:
    put(client, replace(ASKED, to=("lead", "ada"), approvals=2))
    for person in ("lead", "ada"):
        own = inbox(client, person)
        own.signer = ssh_signer(key(person), (public(person),))
        own.decide("raise", DecisionInput(verdict="approve", data={"salary": 310_297_003}))
        assert "signature" in texts(client, "auditor")
        assert "signature" not in texts(client, "other")
    for promise in search(client, tags={ORIGIN_TAG: "raise"}):
        for id in filter(None, (audit_of(promise).id, audit_in(headers_of(promise.param)).id)):
            if VOTE_TAG in promise.tags or promise.is_blocking:
                assert id in texts(client, "auditor")
                assert id not in texts(client, "other")  # it salts the hash in an export


def test_the_url_of_a_callback_is_for_assignees_and_who_asked(client: Client) -> None:
    question = Question(prompt="Deploy?", to=("lead",), callback="https://ci.example.org/310297001")
    allowed = CallbackSettings(hosts=("ci.example.org",))
    inbox(client, "asker").ask(question, id="raise", deadline_ms=DAY_MS, callbacks=allowed)
    for person, sees in (("lead", True), ("asker", True), ("auditor", True), ("other", False)):
        shown = texts(client, person)
        assert ("310297001" in shown, "ci.example.org" in shown) == (sees, True), person
    assert not inbox(client, "other").ask(question, id="raise", deadline_ms=DAY_MS, callbacks=allowed).fresh


def test_who_repeats_the_id_of_a_run_s_request_is_told_none_of_them(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids of the Rust SDK have a dot, so a request without a run can be asked for under one."""
    monkeypatch.setattr(f"{__name__}.GROUPS", BY_SETTINGS)
    Runs(client, inbox(client, "boss").actor).start(RunSpec(id="pay", workflow="raise", args=[]))
    stored = replace(ASKED, private=())
    data = {
        "id": "pay.1.1",
        "timeoutAt": client.now() + DAY_MS,
        "param": encode(msgspec.to_builtins(stored)),
        "tags": stored.tags(key=None, workflow="step") | EXTERNAL | {ORIGIN_TAG: "pay"},
    }
    send(client, ProtocolRequest("promise.create", data))
    assert inbox(client, "other").find("pay.1.1").hidden
    with pytest.raises(Conflict) as error:
        put(client, Question(prompt="Raise?", to=("lead",)), "pay.1.1", "other")
    assert "310297001" not in f"{error.value}{error.value.lines}"
