"""Names that mean one person, in any spelling and from any front end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hitl_cli.auth.links import LinkExpired, make, open_link, revoke_all
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.records import closing
from hitl_cli.client.wire import Audit, Vote, audit_of, encode
from hitl_cli.errors import BadInput, NotAllowed
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.history import HistoryFilter
from hitl_cli.inbox.pending import RequestFilter
from hitl_cli.inbox.votes import create_request
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import groups_of, is_among
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question, sensible
from tests.inbox.requests import request
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl

YES = DecisionInput(verdict="approve")
NO = DecisionInput(verdict="reject")

KNOWN = groups_of(
    {"Ops": ["REVIEWER", "lead@example.org"]},
    {"reviewer": "Reviewer@example.org", "Lead": "lead@example.org", "third": None},
)

REVIEWER = ["reviewer", "Reviewer ", "re\u200bviewer", "\u202ereviewer", "REVIEWER@example.org"]


@pytest.fixture
def client(hitl: Hitl) -> Iterator[Client]:
    """A client of a fresh file."""
    with hitl.client() as opened:
        yield opened


def inbox(client: Client, person: str, **options: Any) -> Inbox:
    """Return the inbox of a person, with the settings KNOWN by default."""
    return Inbox(client, Actor(person=person, via="test", **{"groups": KNOWN, **options}))


def request_of_the_version_before(client: Client, id: str, **asked: Any) -> None:
    """Create a request whose names are stored as they were given."""
    names = [*asked.get("to", ()), *(name for step in asked.get("escalate", ()) for name in step["to"])]
    tags = {"hitl:request": "1", "resonate:external": "true", "resonate:scope": "global"}
    data = {
        "id": id,
        "timeoutAt": client.now() + 86_400_000,
        "param": encode({"prompt": "Well?", **asked}),
        "tags": tags | {f"hitl:assignee:{name}": "1" for name in names},
    }
    client.call_many([ProtocolRequest("promise.create", data)])


def vote_of_the_version_before(client: Client, id: str, by: str) -> None:
    """Cast a vote under a name as it was given, as a process does that is killed before it counts."""
    vote = Vote(by=by, verdict="approve", at=client.now(), data=True)
    create = create_request(
        promise_of(client, id), vote, Audit(id=f"by {by}", by=by, via="cli", at=vote.at), 1
    )
    client.call_many([create, closing(create)])


def ids(found: tuple[list[Any], bool]) -> set[str]:
    return {item.id for item in found[0]}


@pytest.mark.parametrize("name", REVIEWER)
def test_whoever_acts_is_known_as_the_settings_spell_them(name: str) -> None:
    assert Actor(person=name, via="test", groups=KNOWN).person == "reviewer"


def test_who_is_not_in_the_settings_keeps_their_own_spelling() -> None:
    assert Actor(person=" Some  One", via="test", groups=KNOWN).person == "Some One"


@pytest.mark.parametrize("name", [*REVIEWER, "group:ops", "group: OPS", "ops"])
def test_a_request_of_either_version_is_theirs_however_it_names_them(client: Client, name: str) -> None:
    request(client, "new", to=[name])
    request_of_the_version_before(client, "old", to=[name])
    mine = inbox(client, "REVIEWER")
    assert ids(mine.list(RequestFilter(person=mine.actor.person))) == {"new", "old"}
    assert ids(inbox(client, "third").list(RequestFilter(person="third"))) == set()
    for id in ("new", "old"):
        with pytest.raises(NotAllowed):
            inbox(client, "third").decide(id, YES)
        assert mine.decide(id, YES).audit.by == "reviewer"


@pytest.mark.parametrize("name", REVIEWER)
def test_a_filter_finds_them_by_any_of_their_names(client: Client, name: str) -> None:
    request(client, "new", to=["Reviewer"], by="lead")
    request_of_the_version_before(client, "old", to=["reviewer "])
    request(client, "other", to=["third"])
    assert ids(inbox(client, "lead").list(RequestFilter(to=(name,)))) == {"new", "old"}
    assert ids(inbox(client, "x").list(RequestFilter(asker="LEAD"))) == {"new"}
    inbox(client, name).decide("old", YES)
    assert ids(inbox(client, "x").history(HistoryFilter(by=name))) == {"old"}


def test_a_filter_finds_a_group_in_either_form(client: Client) -> None:
    request(client, "q", to=["group:Ops"])
    for name in ("ops", "OPS ", "group:ops"):
        assert ids(inbox(client, "x").list(RequestFilter(to=(name,)))) == {"q"}


def test_what_is_listed_is_spelled_as_in_the_settings(client: Client) -> None:
    request(client, "q", to=["LEAD", "group:OPS", "Stranger"], escalate={"1h": "THIRD"})
    [item] = inbox(client, "x").list()[0]
    assert item.to == ("Lead", "group:Ops", "Stranger")
    assert inbox(client, "x").show("q").item.asked.escalate[0].to == ("third",)


@pytest.mark.parametrize("name", REVIEWER[1:])
@pytest.mark.parametrize("decided", [YES, NO])
def test_one_person_is_one_vote_under_all_their_names(
    client: Client, name: str, decided: DecisionInput
) -> None:
    request(client, "q", approvals=2)
    assert not inbox(client, "reviewer").decide("q", decided).settled
    assert not inbox(client, name).decide("q", decided).settled
    assert inbox(client, "third").decide("q", decided).settled


@pytest.mark.parametrize("name", REVIEWER[1:])
def test_a_vote_of_the_version_before_is_counted_once(client: Client, name: str) -> None:
    request_of_the_version_before(client, "q", approvals=2, to=["reviewer", name, "third"])
    vote_of_the_version_before(client, "q", name)
    vote_of_the_version_before(client, "q", "reviewer")
    assert [item.votes for item in inbox(client, "x").list()[0]] == [1]
    assert not inbox(client, "reviewer").decide("q", YES).settled
    assert inbox(client, "third").decide("q", YES).settled
    assert len(audit_of(promise_of(client, "q")).votes) == 2


def test_without_settings_capitals_and_what_does_not_show_make_no_difference(client: Client) -> None:
    nobody = groups_of({})
    request(client, "q", approvals=2, to=["Am\u00e9lie", "lead"])
    assert not inbox(client, "Ame\u0301lie", groups=nobody).decide("q", YES).settled
    assert not inbox(client, "AM\u00c9LIE ", groups=nobody).decide("q", YES).settled
    assert inbox(client, "Lead", groups=nobody).decide("q", YES).settled


def test_two_names_of_one_person_are_not_two_approvers() -> None:
    asked = Question(prompt="?", to=(" reviewer", "Reviewer ", "lead"), approvals=2)
    assert sensible(asked).to == ("reviewer", "lead")
    with pytest.raises(BadInput):
        sensible(msgspec.structs.replace(asked, approvals=3))


def test_who_started_it_may_not_answer_under_another_name(client: Client) -> None:
    request(client, "q", allow_self=False, by="reviewer@example.org")
    with pytest.raises(NotAllowed):
        inbox(client, "Reviewer").decide("q", YES)


def test_a_link_is_revoked_by_any_of_their_names(client: Client) -> None:
    request(client, "q", to=["reviewer"])
    link = make(client, "q", "REVIEWER ", groups=KNOWN)
    assert link.person == "reviewer"
    assert open_link(client, link, KNOWN, clock=client.now).id == "q"
    revoke_all(client, "q", "reviewer@example.org", by="x", via="test", groups=KNOWN)
    with pytest.raises(LinkExpired):
        open_link(client, link, KNOWN, clock=client.now)


def test_figures_have_each_person_once(client: Client) -> None:
    for id, name in (("a", "Stranger"), ("b", "stranger "), ("c", "lead@example.org")):
        request(client, id)
        inbox(client, name).decide(id, YES)
    named = {one.name: one.times.count for one in inbox(client, "x").stats(86_400_000).figures.people}
    assert sorted(named.items(), key=lambda one: one[1]) == [("Lead", 1), ("stranger", 2)]


def test_an_address_of_two_people_names_neither() -> None:
    shared = groups_of({"ops": ["reviewer"]}, {"reviewer": "team@example.org", "lead": "Team@example.org"})
    assert shared.name("team@example.org") == "team@example.org"
    assert not is_among("team@example.org", ["group:ops"], shared)


def test_what_the_settings_do_not_know() -> None:
    assert KNOWN.unknown(["Reviewer", "lead@example.org", "OPS", "group:ops"]) == ()
    assert KNOWN.unknown(["group:opps", "revewer", "group:reviewer"]) == (
        "group:opps",
        "revewer",
        "group:reviewer",
    )
    assert groups_of({}).unknown(["anybody", "group:ops"]) == ("group:ops",)
