"""Requests that are assigned to others, or claimed, while they are open: one order that all see."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from hitl_cli.auth.links import link_for, open_link
from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.tags import AMENDS_TAG, CLAIM_TAG, SAID_TAG
from hitl_cli.client.wire import encode
from hitl_cli.errors import HitlError, NotAllowed
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.history import EVERYTHING
from hitl_cli.inbox.open_requests import OpenRequests
from hitl_cli.inbox.pending import RequestFilter
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Directory, NotificationSettings
from hitl_cli.people.groups import NO_GROUPS, groups_of
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.demand import Allowance
from hitl_cli.requests.question import Question
from hitl_cli.views.details import amended_text
from hitl_cli.views.history import data_text, history_entry_document
from tests.acting import approval, decide, rejection
from tests.conftest import wait_until
from tests.inbox.requests import HOUR_MS, request
from tests.recovery.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.groups import Groups
    from tests.conftest import Hitl

OPS = groups_of({"ops": ["ada", "bob"]}, {"ada": None, "bob": None, "cy": None, "eve": None}, strict=True)


@pytest.fixture
def one(hitl: Hitl) -> Iterator[Client]:
    """A client of a file, for what is the same on all servers."""
    with hitl.client() as client:
        yield client


@pytest.fixture
def url(client: Client, request: pytest.FixtureRequest) -> str:
    """The URL of the client's server."""
    if "postgres" in str(request.node.callspec.params):
        named: str = request.getfixturevalue("database")
        return named
    return client.name


@pytest.fixture
def other(url: str) -> Iterator[Client]:
    """Another process's client of the same server."""
    with connect(url, None) as other:
        yield other


def inbox_of(client: Client, person: str, groups: Groups = NO_GROUPS, **more: Any) -> Inbox:
    return Inbox(client, Actor(person=person, via="test", groups=groups, **more))


def assign(
    client: Client, person: str, *names: str, groups: Groups = NO_GROUPS, add: bool = False
) -> RequestSummary:
    return inbox_of(client, person, groups).assign("q", names, Directory(), "default", add=add).item


def refused(client: Client, person: str, *names: str, **more: Any) -> str:
    with pytest.raises(HitlError) as error:
        assign(client, person, *names, **more)
    return error.value.code


def mine(client: Client, person: str) -> list[str]:
    return [item.id for item in inbox_of(client, person).list(RequestFilter(person=person))[0]]


def kinds(client: Client) -> list[tuple[str, str | None, tuple[str, ...]]]:
    story = inbox_of(client, "ada").story("q", EVERYTHING)
    return [(entry.kind, entry.by, entry.to) for entry in story]


def test_who_is_asked_now_answers_and_who_is_not_does_not(client: Client) -> None:
    request(client, "q", to=["ada"], reassign="assignees", by="agent")
    watch = inbox_of(client, "ada").watch()
    watch.start()
    assert assign(client, "ada", "bob").to == ("bob",)
    [change] = wait_until(watch.look) or []
    assert (change.kind, change.by) == ("changed", "ada")
    assert all(change.concerns(Actor(person=name, via="test")) for name in ("ada", "bob"))
    assert not change.concerns(Actor(person="cy", via="test"))
    assert (mine(client, "ada"), mine(client, "bob")) == ([], ["q"])
    with pytest.raises(NotAllowed):
        decide(client, "q", approval(by="ada", via="test"))
    assert assign(client, "bob", "cy", add=True).to == ("bob", "cy")
    assert decide(client, "q", approval(by="cy", via="test")).settled
    assert kinds(client) == [
        ("assign", "ada", ("bob",)),
        ("assign", "bob", ("bob", "cy")),
        ("decision", "cy", ()),
    ]
    assert refused(client, "cy", "eve") == "already-decided"
    for do in (inbox_of(client, "cy").claim, inbox_of(client, "cy").release):
        with pytest.raises(HitlError) as error:
            do("q")
        assert error.value.code == "already-decided"


def test_a_request_has_at_most_a_thousand_assignees(one: Client) -> None:
    request(one, "q", to=["ada"], reassign="assignees")
    assert refused(one, "ada", *map(str, range(1_000)), add=True) == "bad-name"
    assert len(assign(one, "ada", *map(str, range(999)), add=True).to) == 1_000


@pytest.mark.parametrize(
    ("reassign", "may"), [("nobody", ""), ("assignees", "ada agent"), ("anyone", "ada agent eve")]
)
def test_the_author_says_who_may_assign(one: Client, reassign: str, may: str) -> None:
    for person in ("ada", "agent", "eve"):
        request(one, person, to=["ada"], reassign=reassign, by="agent")
        inbox = inbox_of(one, person)
        if person in may.split():
            assert inbox.assign(person, ["bob"], Directory(), "default").item.to == ("bob",)
        else:
            with pytest.raises(NotAllowed) as error:
                inbox.assign(person, ["bob"], Directory(), "default")
            assert error.value.code == ("not-reassignable" if reassign == "nobody" else "not-assignee")


def test_who_may_only_ask_assigns_what_they_asked(one: Client) -> None:
    agent = inbox_of(one, "agent", may=frozenset({"ask"}))
    request(one, "ask-own", to=["ada"], reassign="assignees", by="agent")
    request(one, "ask-other", to=["ada"], reassign="anyone", by="eve")
    assert agent.assign("own", ["bob"], Directory(), "default").item.to == ("bob",)
    with pytest.raises(HitlError) as error:
        agent.assign("ask-other", ["bob"], Directory(), "default")
    assert error.value.code == "not-found"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([], "bad-name"),
        ([" "], "bad-name"),
        (["nobody"], "unknown-person"),
        (["agent"], "self-approval"),
        (["bob"], "bad-question"),
    ],
)
def test_names_that_cannot_answer_are_refused(one: Client, names: list[str], code: str) -> None:
    groups = groups_of({"ops": ["ada", "bob"]}, dict.fromkeys(("ada", "bob", "agent")), strict=True)
    options: dict[str, Any] = {"approvals": 2} if names == ["bob"] else {"allow_self": False}
    request(one, "q", to=["group:ops"], reassign="anyone", by="agent", **options)
    assert refused(one, "ada", *names, groups=groups) == code
    assert inbox_of(one, "ada", groups).find("q").to == ("group:ops",)


def test_a_name_that_is_not_in_the_settings_is_taken_only_if_it_is_meant(one: Client) -> None:
    known = replace(OPS, strict=False)
    request(one, "q", to=["ada"], reassign="assignees")
    inbox = inbox_of(one, "ada", known)
    for names in (["bbo"], ["group:osp"], ["bob", "zoe"]):
        with pytest.raises(HitlError) as error:
            inbox.assign("q", names, Directory(), "default")
        assert error.value.code == "unknown-name"
    assert inbox.find("q").to == ("ada",)
    assert inbox.assign("q", ["zoe"], Directory(), "default", anyway=True).item.to == ("zoe",)
    with pytest.raises(HitlError) as error:
        inbox.go_away(until=one.now() + HOUR_MS, to="bbo")
    assert error.value.code == "unknown-name"
    assert inbox.go_away(until=one.now() + HOUR_MS, to="zoe", anyway=True).to == "zoe"
    assert inbox_of(one, "zoe", OPS).assign("q", ["bob"], Directory(), "default").item.to == ("bob",)
    with pytest.raises(HitlError) as error:
        inbox_of(one, "bob", OPS).assign("q", ["zoe"], Directory(), "default", anyway=True)
    assert error.value.code == "unknown-person"


def test_nobody_is_added_where_anyone_may_answer(one: Client) -> None:
    request(one, "q", reassign="anyone")
    assert refused(one, "ada", "bob", add=True) == "bad-question"
    assert assign(one, "ada", "ops", groups=OPS).to == ("group:ops",)
    assert inbox_of(one, "ada", OPS).assign("q", ["GROUP:Ops"], Directory(), "default").amendment is None


def test_a_vote_stays_when_its_author_is_not_asked_any_more(one: Client) -> None:
    request(one, "q", to=["ada", "bob", "cy"], approvals=2, reassign="assignees")
    decide(one, "q", approval(by="ada", via="test"))
    assert assign(one, "ada", "eve").to == ("eve",)
    assert decide(one, "q", approval(by="eve", via="test")).settled
    request(one, "r", to=["ada", "bob"], approvals=2, reassign="assignees")
    assert not inbox_of(one, "ada").assign("r", ["ada", "cy", "eve"], Directory(), "d").item.votes
    assert not decide(one, "r", rejection(by="cy", via="test")).settled  # ada and eve can still approve
    assert decide(one, "r", rejection(by="eve", via="test")).settled


def test_those_of_a_later_escalation_are_asked_besides_the_new_ones(hitl: Hitl) -> None:
    with hitl.client() as client:
        request(client, "q", to=["ada"], reassign="assignees", escalate={"1h": "lead", "3h": "boss"})
    with hitl.client(lambda: client.now() + 2 * HOUR_MS) as later:
        assert assign(later, "lead", "bob").to == ("bob",)
        assert inbox_of(later, "ada").find("q").to_from_now_on == ("bob", "boss")
    with hitl.client(lambda: client.now() + 4 * HOUR_MS) as later:
        assert inbox_of(later, "ada").find("q").to == ("bob", "boss")


def test_of_two_at_the_same_moment_the_second_is_judged_after_the_first(client: Client, url: str) -> None:
    names = [f"p{number}" for number in range(6)]
    request(client, "q", to=names, reassign="assignees")

    def to(name: str) -> str:
        with connect(url, None) as own:
            try:
                return str(assign(own, name, f"new-{name}", add=name != "p0").id)
            except NotAllowed as error:
                return error.code

    with ThreadPoolExecutor(len(names)) as pool:
        came = list(pool.map(to, names))
    made = inbox_of(client, "ada").find("q").amendments
    assert [one.number for one in made] == list(range(1, len(made) + 1))
    assert len(made) == came.count("q")
    assert made[-1].to == ("new-p0",)  # the others who were not asked any more were told
    for one, following in pairwise(made[:-1]):
        assert following.to == (*one.to, f"new-{following.by}")
    assert came.count("not-assignee") == len(names) - len(made)


def test_a_link_of_who_is_not_asked_any_more_is_refused(one: Client) -> None:
    promise = request(one, "q", to=["ada"], reassign="assignees")
    link = link_for(promise, "ada", now=one.now())
    assert open_link(one, link, NO_GROUPS, clock=one.now).id == "q"
    assign(one, "ada", "bob")
    with pytest.raises(NotAllowed):
        open_link(one, link, NO_GROUPS, clock=one.now)


@pytest.mark.parametrize(
    "forged",
    [
        {"tags": {AMENDS_TAG: "q"}, "id": "q:a01"},
        {"tags": {AMENDS_TAG: "other"}},
        {"tags": {AMENDS_TAG: "q", "resonate:external": "true"}},
        {"tags": {AMENDS_TAG: "q", "resonate:target": "poll://any@default"}},
        {"param": encode({"kind": "take", "to": ["eve"]}, {"hitl:by": "eve"})},
        {"param": encode({"kind": "assign", "to": ["eve"]})},
    ],
)
def test_what_is_no_amendment_counts_for_nothing_and_takes_no_number(
    one: Client, forged: dict[str, Any]
) -> None:
    request(one, "q", to=["ada"], reassign="assignees")
    data = {
        "id": "q:a1",
        "timeoutAt": one.now() + HOUR_MS,
        "param": encode({"kind": "assign", "to": ["eve"]}, {"hitl:by": "eve"}),
        "tags": {AMENDS_TAG: "q", SAID_TAG: "1"},
    }
    one.call_many([ProtocolRequest("promise.create", data | forged)])
    assert inbox_of(one, "ada").find("q").to == ("ada",)
    assert assign(one, "ada", "bob").to == ("bob",)


# Claims


def claimer(inbox: Inbox) -> str | None:
    [item] = inbox.list()[0]
    return None if item.claim is None else item.claim.by


def test_of_two_claims_one_wins_and_the_other_is_told_who(client: Client, other: Client) -> None:
    request(client, "q", to=["ada", "bob"])
    known = OpenRequests(other)
    known_too = Inbox(other, Actor(person="cy", via="test"), known)
    for _ in known.load():
        pass
    won = inbox_of(client, "ada").claim("q")
    assert won.item.claim is not None
    with pytest.raises(HitlError) as error:
        inbox_of(client, "bob").claim("q")
    assert (error.value.code, error.value.at) == ("claimed", won.item.claim.until)
    assert "ada" in str(error.value)
    assert known.refresh()
    assert claimer(known_too) == claimer(inbox_of(client, "bob")) == "ada"
    with pytest.raises(HitlError) as error:
        inbox_of(client, "bob").release("q")
    assert error.value.code == "claimed"
    with pytest.raises(HitlError) as error:
        inbox_of(client, "zoe").release("q", anyway=True)
    assert error.value.code == "not-assignee"
    inbox_of(client, "ada").release("q")
    assert known.refresh()
    assert claimer(known_too) is claimer(inbox_of(client, "bob")) is None
    assert inbox_of(client, "ada").release("q").amendment is None
    inbox_of(client, "bob").claim("q", 2 * HOUR_MS)
    assert [kind for kind, *_ in kinds(client)] == ["claim", "release", "claim"]
    freed = inbox_of(client, "ada").release("q", anyway=True)  # the history says whose claim it was
    assert (freed.item.claim, freed.amendment and freed.amendment.of) == (None, "bob")
    assert "bob" in amended_text(freed.item.amendments[-1], str)
    story = inbox_of(client, "ada").story("q", EVERYTHING)
    assert [(entry.of, history_entry_document(entry).of, data_text(entry)) for entry in story][-1] == (
        "bob",
        "bob",
        "claim of bob",
    )


def test_a_claim_ends_by_its_time_and_by_an_assignment(hitl: Hitl) -> None:
    with hitl.client() as client:
        for id in ("q", "r"):
            request(client, id, to=["ada", "bob"], reassign="assignees")
            inbox_of(client, "ada").claim(id)
        inbox_of(client, "bob").assign("r", ["bob"], Directory(), "default")
        assert [item.claim is not None for item in inbox_of(client, "bob").list()[0]] == [True, False]
        assert len(_held(client)) == 1
    with hitl.client(lambda: client.now() + HOUR_MS) as later:
        assert claimer_of(later, "q") is None
        assert inbox_of(later, "bob").claim("q").item.claim is not None


def _held(client: Client) -> list[str]:
    from hitl_cli.client.protocol import search

    return [promise.id for promise in search(client, state="pending", tags={CLAIM_TAG: "1"})]


def claimer_of(client: Client, id: str) -> str | None:
    claim = inbox_of(client, "eve").find(id).claim
    return None if claim is None else claim.by


def test_others_decide_what_is_claimed_only_if_they_mean_it(one: Client) -> None:
    request(one, "q", to=["ada", "bob"])
    inbox_of(one, "ada").claim("q")
    said = DecisionInput(verdict="approve", unless_claimed=True)
    with pytest.raises(HitlError) as error:
        inbox_of(one, "bob").decide("q", said)
    assert error.value.code == "claimed"
    assert inbox_of(one, "bob").decide("q", DecisionInput(verdict="approve")).settled
    request(one, "r", to=["ada", "bob"])
    inbox_of(one, "ada").claim("r")
    assert inbox_of(one, "ada").decide("r", said).settled


def test_only_who_may_answer_claims_and_not_for_ever(one: Client) -> None:
    request(one, "q", to=["ada"])
    for person, life_ms, code in (
        ("eve", HOUR_MS, "not-assignee"),
        ("ada", 8 * 24 * HOUR_MS, "bad-duration"),
    ):
        with pytest.raises(HitlError) as error:
            inbox_of(one, person).claim("q", life_ms)
        assert error.value.code == code


def test_the_settings_say_what_is_allowed_where_the_author_says_nothing(one: Client) -> None:
    allowances = {
        "ship-*": Allowance(reassign="anyone", extend="2d"),
        "*-prod": Allowance(reassign="assignees"),
        "*": Allowance(extend="3d"),
    }
    known = replace(OPS, strict=False, allowances=allowances)

    def asked(id: str, by: Groups = known, **options: Any) -> Question:
        question = Question(prompt="?", to=("ada",), **options)
        return inbox_of(one, "agent", by).ask(question, id=id, deadline_ms=HOUR_MS).question

    both = [(made.reassign, made.extend) for made in map(asked, ("ship-1", "ship-prod", "else"))]
    assert both == [("anyone", 48 * HOUR_MS), ("assignees", 48 * HOUR_MS), (None, 72 * HOUR_MS)]
    own = asked("ship-2", reassign="nobody", extend=HOUR_MS)
    assert (own.reassign, own.extend) == ("nobody", HOUR_MS)
    signed = asked("ship-3", proof="signed")
    assert (signed.reassign, signed.extend) == (None, None)
    assert (
        asked("ship-1", NO_GROUPS).reassign == "anyone"
    )  # it is the same request, whatever the settings are
    ada = inbox_of(one, "ada", known)
    assert ada.assign("ship-prod", ["bob"], Directory(), "default").item.to == ("bob",)
    assert inbox_of(one, "agent", known).extend("else", 70 * HOUR_MS).amendment is not None


def test_a_workflow_asks_what_the_settings_allow(hitl: Hitl) -> None:
    directory = Directory(allowances={"as*": Allowance(reassign="assignees", extend="2d")})
    crew = Crew(hitl, reach=NotificationSettings(directory=directory))
    try:
        crew.worker()
        id = crew.ask(to="ada", deadline="1h")
        ada = inbox_of(crew.client, "ada")
        assert ada.assign(id, ["bob"], directory, "default").item.to == ("bob",)
        assert inbox_of(crew.client, "bob").extend(id, HOUR_MS).amendment is not None
        crew.approve(id, by="bob")
        assert crew.result()["approved"]  # the code asks the same when the run goes on
    finally:
        crew.close()
