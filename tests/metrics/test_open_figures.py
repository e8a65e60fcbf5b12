"""What is open and what was decided, as metrics count it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.inbox import Inbox
from hitl_cli.inbox.open_figures import ANYONE, PERSON, Kind, OpenRow, open_figures
from hitl_cli.inbox.open_requests import OpenRequests
from hitl_cli.inbox.recent_decisions import RecentDecisions
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Directory
from hitl_cli.requests.decision_input import DecisionInput
from tests.inbox.requests import HOUR_MS, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl

ACTOR = Actor(person="ada", via="web")


@pytest.fixture
def client(hitl: Hitl) -> Iterator[Client]:
    with hitl.client() as client:
        yield client


@pytest.fixture
def other(hitl: Hitl) -> Iterator[Client]:
    """Another process's client of the same server."""
    with hitl.client() as other:
        yield other


def test_open_requests_are_counted_alike_from_memory_and_from_the_server(
    client: Client, other: Client
) -> None:
    request(client, "a", to=["group:ops", "bob"], priority="high")
    request(client, "b", to=["group:ops"], reassign="anyone")
    request(client, "c", to=["ada"], details="x" * 10_000)  # not kept in memory
    request(client, "d")
    request(client, "e", to=["group:ops"], escalate={"1s": "group:lead"})
    known = OpenRequests(client)
    for _ in known.load():
        pass
    from_memory = Inbox(client, ACTOR, known).figures()
    from_server = Inbox(client, ACTOR).figures()
    expected = {
        Kind(None, "high", ("ops", PERSON)): 1,
        Kind(None, "normal", ("ops",)): 2,
        Kind(None, "normal", (PERSON,)): 1,
        Kind(None, "normal", (ANYONE,)): 1,
    }
    for found in (from_memory, from_server):
        assert found.kinds == expected
        assert found.due == {"1h": 0, "1d": 5}
        assert found.oldest.keys() == {None}
        assert not found.partial
    Inbox(other, ACTOR).assign("b", ["group:legal"], Directory(), "default", anyway=True)
    Inbox(other, ACTOR).decide("d", DecisionInput(verdict="approve"))
    assert known.refresh()
    now = Inbox(client, ACTOR, known).figures().kinds
    assert now == Inbox(client, ACTOR).figures().kinds
    assert now.keys() - expected.keys() == {Kind(None, "normal", ("legal",))}
    assert Kind(None, "normal", (ANYONE,)) not in now


def test_an_escalation_adds_its_group_and_makes_a_request_overdue() -> None:
    at_first, later = Kind("release", "normal", ("ops",)), Kind("release", "normal", ("ops", "lead"))
    row = OpenRow(0, 24 * HOUR_MS, at_first, ((HOUR_MS, later),), HOUR_MS)
    early = open_figures([row], HOUR_MS - 1)
    assert (early.kinds, early.overdue) == ({at_first: 1}, {"release": 0})
    late = open_figures([row], HOUR_MS)
    assert (late.kinds, late.overdue, late.due) == ({later: 1}, {"release": 1}, {"1h": 0, "1d": 1})
    assert open_figures([row], 24 * HOUR_MS).kinds == {}  # expired, though nobody has settled it yet


def test_each_decision_is_read_once_and_those_before_the_first_look_never(client: Client) -> None:
    recent, another = RecentDecisions(), RecentDecisions()
    for id in ("a", "b", "c"):
        request(client, id)
    inbox = Inbox(client, ACTOR)
    inbox.decide("a", DecisionInput(verdict="approve"))
    assert recent.look(client) == []
    inbox.decide("b", DecisionInput(verdict="reject"))
    assert [(one.id, one.outcome, one.via) for one in recent.look(client)] == [("b", "rejected", "web")]
    assert another.look(client) == []
    inbox.decide("c", DecisionInput(verdict="approve"))
    for one in (recent, another):
        assert [entry.id for entry in one.look(client)] == ["c"]
        assert one.look(client) == []
