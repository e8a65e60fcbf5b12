"""Two people at once, and time: absences, claims, questions, assignments and held decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.auth.held_decisions import why_ended
from hitl_cli.client.wire import audit_of
from hitl_cli.errors import Conflict, HitlError
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.held import Held
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Directory
from hitl_cli.people.groups import groups_of
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question, quorum_of
from tests.inbox.requests import HOUR_MS
from tests.server.conftest import serve, served  # noqa: F401 - fixtures
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.protocol import Client

YES = DecisionInput(verdict="approve")
NO = DecisionInput(verdict="reject", reason="no")
TEAM = groups_of({"ops": ["ada", "bob"], "legal": ["cy", "dan"]}, {"ada": None, "eve": None, "boss": None})


def at(client: Client, person: str) -> Inbox:
    return Inbox(client, Actor(person=person, via="test", groups=TEAM))


def asked(client: Client, *to: str, **options: Any) -> None:
    question = Question(prompt="Pay?", **{"to": to, "reassign": "assignees"} | options)
    at(client, "clerk").ask(question, id="q", deadline_ms=HOUR_MS)


def away(client: Client, person: str, to: str) -> Inbox:
    inbox = at(client, person)
    inbox.go_away(until=client.now() + HOUR_MS, to=to)
    return inbox


def assign(inbox: Inbox, *names: str) -> None:
    inbox.assign("q", names, Directory(), "default")


def code_of(do: Callable[[], object]) -> str:
    with pytest.raises(HitlError) as error:
        do()
    return error.value.code


def held(inbox: Inbox) -> Held:
    made = inbox.hold("q", YES)
    assert isinstance(made, Held)
    return made


def test_a_vote_of_a_deputy_in_a_chain_stays_when_the_chain_ends(client: Client) -> None:
    asked(client, "ada", "bob", approvals=2)
    ada = away(client, "ada", "cy")
    cy = away(client, "cy", "dan")
    assert not at(client, "dan").decide("q", YES).settled
    cy.come_back()
    assert code_of(lambda: at(client, "dan").decide("q", NO)) == "not-assignee"
    ada.come_back()
    assert not ada.decide("q", YES).settled  # the same approval as that of her deputy
    assert at(client, "bob").decide("q", YES).settled


def test_a_deputy_who_is_asked_themselves_counts_for_themselves(client: Client) -> None:
    asked(client, **quorum_of({"group:ops": 1, "group:legal": 1}))
    away(client, "ada", "dan")
    for legal in ("dan", "cy"):
        assert not at(client, legal).decide("q", YES).settled
    assert at(client, "bob").decide("q", YES).settled


def test_a_deputy_decides_what_who_is_away_has_claimed(client: Client) -> None:
    asked(client, "ada", "bob")
    at(client, "ada").claim("q")
    away(client, "ada", "dan")
    careful = DecisionInput(verdict="approve", unless_claimed=True)
    assert code_of(lambda: at(client, "bob").decide("q", careful)) == "claimed"
    assert at(client, "dan").decide("q", careful).settled
    assert audit_of(promise_of(client, "q")).deputy_for == ("ada",)


def test_a_held_decision_does_not_count_after_an_assignment(client: Client) -> None:
    asked(client, "ada", "bob")
    ada = at(client, "ada")
    made = held(ada)
    assign(at(client, "bob"), "bob", "cy")
    assert ada.make_held(made, why_ended).standing == "failed"
    assert promise_of(client, "q").state == "pending"


def test_a_held_decision_of_a_deputy_does_not_count_after_the_absence(client: Client) -> None:
    asked(client, "ada")
    ada, dan = away(client, "ada", "dan"), at(client, "dan")
    made = held(dan)
    ada.come_back()
    assert dan.make_held(made, why_ended).standing == "failed"
    assert ada.decide("q", NO).settled


def test_what_is_asked_back_waits_over_a_claim_and_an_assignment(client: Client) -> None:
    asked(client, "ada", "bob")
    at(client, "ada").claim("q")
    at(client, "bob").ask_back("q", "Which account?")
    with pytest.raises(Conflict) as second:
        at(client, "ada").ask_back("q", "Which bank?")
    assert second.value.code == "already-asked-back"
    assert "Which account? " in str(second.value)  # its own mark ends the sentence
    assign(at(client, "ada"), "cy")
    item = at(client, "cy").show("q").item
    assert (item.claim, item.asked_back and item.asked_back.by) == (None, "bob")
    at(client, "clerk").answer_back("q", "The second")
    assert at(client, "cy").decide("q", YES).settled


def test_what_is_assigned_to_who_is_away_goes_to_their_deputy(client: Client) -> None:
    asked(client, "ada")
    away(client, "bob", "dan")
    dan = at(client, "dan")
    assert code_of(lambda: dan.decide("q", YES)) == "not-assignee"
    assign(at(client, "ada"), "bob")
    assert [(one.person, one.deputies) for one in dan.show("q").item.away] == [("bob", ("dan",))]
    dan.claim("q")
    assign(dan, "eve")  # a deputy may do what an assignee may
    assert code_of(lambda: dan.decide("q", YES)) == "not-assignee"
    assert at(client, "eve").find("q").claim is None


def test_a_claim_of_a_deputy_is_freed_by_who_is_back(client: Client) -> None:
    asked(client, "ada", "bob", reassign=None)
    ada = away(client, "ada", "dan")
    at(client, "dan").claim("q")
    ada.come_back()
    assert code_of(lambda: ada.release("q")) == "claimed"
    assert code_of(lambda: at(client, "dan").claim("q")) == "not-assignee"
    freed = ada.release("q", anyway=True)
    assert (freed.item.claim, freed.amendment and freed.amendment.of) == (None, "dan")
    assert at(client, "clerk").find("q").to == ("ada", "bob")


def test_who_has_claimed_it_frees_it_although_they_are_not_asked_any_more(client: Client) -> None:
    asked(client, "ada", reassign=None)
    ada = away(client, "ada", "dan")
    dan = at(client, "dan")
    dan.claim("q")
    ada.come_back()
    assert dan.release("q").item.claim is None
