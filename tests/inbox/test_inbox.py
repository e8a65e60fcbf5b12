"""What an actor may do with requests, on the file and over HTTP; and how often the server is asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.protocol import search
from hitl_cli.errors import BadInput, HitlError, NotAllowed, NotFound
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.history import HistoryFilter
from hitl_cli.inbox.pending import RequestFilter, settle_complete
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import NO_GROUPS, groups_of
from hitl_cli.people.idempotency import IdempotencyKeyReused, IdempotencyMark, mark_of
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question
from tests.acting import approval, decide
from tests.inbox.requests import HOUR_MS, request
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.protocol import Client, ProtocolRequest, ProtocolResponse
    from hitl_cli.people.actor import Permission
    from tests.conftest import Hitl

YES = DecisionInput(verdict="approve")


def inbox(client: Client, *may: Permission, person: str = "ada", only: str | None = None) -> Inbox:
    return Inbox(client, Actor(person=person, via="test", may=frozenset(may), only=only))


def refused(*attempts: Callable[[], object]) -> None:
    for attempt in attempts:
        with pytest.raises(NotAllowed) as error:
            attempt()
        assert error.value.code == "permission-missing"


def test_who_may_only_read_changes_nothing(client: Client) -> None:
    request(client, "q")
    reader = inbox(client, "read")
    before = search(client)
    refused(
        lambda: reader.decide("q", YES),
        lambda: reader.decide("nothing there", YES),
        lambda: reader.comment("q", "well"),
        lambda: reader.ask(Question(prompt="?"), id="new", deadline_ms=HOUR_MS),
    )
    assert [item.id for item in reader.list()[0]] == ["q"]
    assert reader.show("q").decision is None
    assert search(client) == before


def test_who_may_only_decide_or_start_reads_nothing(client: Client) -> None:
    request(client, "q")
    decider, starter = inbox(client, "decide"), inbox(client, "start")
    refused(decider.list, lambda: decider.page(limit=1), lambda: decider.show("q"))
    assert starter.list() == ([], False)  # it has asked nothing itself
    with pytest.raises(NotFound):
        starter.show("q")
    refused(
        lambda: decider.history_page(HistoryFilter(), limit=5), lambda: decider.story("q", HistoryFilter())
    )
    for person in (decider, starter):
        refused(
            lambda person=person: person.history(HistoryFilter()),  # type: ignore[misc]
            lambda person=person: person.decisions(HistoryFilter()),  # type: ignore[misc]
            lambda person=person: person.stats(HOUR_MS),  # type: ignore[misc]
            person.watch,
        )
    assert inbox(client, "decide").decide("q", YES).settled
    assert starter.history_page(HistoryFilter(), limit=5) == ([], None)
    with pytest.raises(NotFound):
        starter.story("q", HistoryFilter())


def test_who_comes_by_a_link_has_that_one_request(client: Client) -> None:
    for id in ("mine", "other"):
        request(client, id)
    guest = inbox(client, "read", "decide", only="mine")
    refused(
        lambda: guest.decide("other", YES),
        lambda: guest.comment("other", "well"),
        lambda: guest.show("other"),
        guest.list,
        lambda: guest.history(HistoryFilter()),
    )
    assert promise_of(client, "other").state == "pending"
    assert guest.show("mine").item.id == "mine"
    assert guest.decide("mine", YES).settled


def test_a_look_changes_nothing_and_housekeeping_settles(client: Client) -> None:
    request(client, "q", approvals=2)
    decide(client, "q", approval(by="ada", via="test"))
    reader = inbox(client, "read")
    before = search(client)
    for look in (reader.list, lambda: reader.page(limit=5), lambda: reader.show("q"), reader.watch):
        look()
    assert search(client) == before
    settle_complete(client, NO_GROUPS)
    assert search(client) == before  # one vote of two


def test_a_request_is_listed_by_a_machine_whose_clock_is_behind(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    request(client, "new")
    now = client.now()
    monkeypatch.setattr(type(client), "now", lambda _: now - HOUR_MS)
    inbox = Inbox(client, Actor(person="ada", via="test"))
    assert [item.id for item in inbox.list(RequestFilter())[0]] == ["new"]
    assert inbox.list(RequestFilter(older_than_ms=1))[0] == []


def test_mine_is_what_i_am_asked_or_anyone_is_and_may_answer(client: Client) -> None:
    request(client, "by-name", to=["ada"])
    request(client, "by-group", to=["group:ops"])
    request(client, "by-bare-group", to=["ops"])
    request(client, "anyone")
    request(client, "others", to=["bob"])
    request(client, "later", to=["bob"], escalate={"1h": "ada"})
    request(client, "own", allow_self=False, by="ada")
    actor = Actor(person="ada", via="test", groups=groups_of({"ops": ["ada"]}))
    found, _ = Inbox(client, actor).list(RequestFilter(person="ada"))
    assert {item.id for item in found} == {"by-name", "by-group", "by-bare-group", "anyone"}
    grouped, _ = Inbox(client, actor).list(RequestFilter(to=("ops",)))
    assert {item.id for item in grouped} == {"by-group", "by-bare-group"}


# A decision that is sent again


def test_a_decision_by_a_key_that_is_sent_again_is_not_taken_for_one_on_the_next_request(
    client: Client,
) -> None:
    request(client, "first", key="k")
    mark = mark_of("idempotency", "ada", "decide k", b"yes")
    person = inbox(client, "decide")
    assert person.decide("k", YES, mark=mark).fresh
    request(client, "second", key="k")
    again = person.decide("k", YES, mark=mark)
    assert (again.promise.id, again.audit.id) == ("first", mark.id)
    assert promise_of(client, "second").state == "pending"
    with pytest.raises(IdempotencyKeyReused):
        person.decide("k", YES, mark=IdempotencyMark(mark.key, "other"))
    assert person.decide("k", YES).promise.id == "second"


def test_a_vote_that_is_sent_again_after_another_is_not_cast_again(client: Client) -> None:
    request(client, "q", approvals=2)
    mark = mark_of("idempotency", "ada", "decide q", b"yes")
    person = inbox(client, "decide")
    first = person.decide("q", YES, mark=mark)
    assert not person.decide("q", DecisionInput(verdict="reject")).settled
    again = person.decide("q", YES, mark=mark)
    assert (again.verdict, again.fresh, again.audit) == ("approve", True, first.audit)
    assert again.votes is not None
    assert [vote.verdict for vote in again.votes.votes] == ["reject"]


# What a decision may carry


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"verdict": "reject", "data": 1},
        {"verdict": "reject", "choice": "a"},
        {"verdict": "reject", "answer": "a"},
        {"verdict": "approve", "reason": "because"},
        {"choice": "a", "answer": "a"},
        {"verdict": "approve", "comment": "x" * 100_001},
        {"verdict": "reject", "reason": "x" * 1_000_001},
        {"verdict": "approve", "data": {"__type": "error"}},
        {"verdict": "approve", "data": "x" * 1_000_001},
    ],
)
def test_parts_that_do_not_go_together_make_no_decision(parts: dict[str, object]) -> None:
    with pytest.raises(BadInput) as error:
        DecisionInput(**parts)  # type: ignore[arg-type]
    assert error.value.code in ("bad-answer", "too-large")


@pytest.mark.parametrize("person", ["", " ", "x" * 201, "group:ops"])
def test_who_has_no_name_that_can_stand_on_it_decides_nothing(client: Client, person: str) -> None:
    request(client, "q")
    for attempt in (
        lambda: inbox(client, "decide", person=person).decide("q", YES),
        lambda: inbox(client, "start", person=person).ask(
            Question(prompt="?"), id="new", deadline_ms=HOUR_MS
        ),
    ):
        with pytest.raises(HitlError) as error:
            attempt()
        assert error.value.code == "bad-name"
    assert promise_of(client, "q").state == "pending"


# How often the server is asked


def counted(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the kinds of the requests of each round trip that follows."""
    asked: list[list[str]] = []
    call_many: Callable[[Sequence[ProtocolRequest]], list[ProtocolResponse]] = client.call_many

    def counting(requests: Sequence[ProtocolRequest]) -> list[ProtocolResponse]:
        asked.append([one.kind for one in requests])
        return call_many(requests)

    monkeypatch.setattr(client, "call_many", counting)
    return asked


def test_an_answer_takes_one_look_and_one_change(hitl: Hitl, monkeypatch: pytest.MonkeyPatch) -> None:
    with hitl.client() as client:
        request(client, "r:1")
        asked = counted(client, monkeypatch)
        person = inbox(client, "read", "decide")
        person.decide("r:1", YES)
        assert asked == [["promise.get", "promise.get"], ["promise.settle"]]
        asked.clear()
        person.show("r:1")
        assert asked == [["promise.get", "promise.get"], ["promise.search"]]


def test_a_list_and_a_request_take_two_looks(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """With votes, other assignees, claims and who is away."""
    request(client, "q", to=("ada", "eve"), approvals=2, reassign="assignees")
    request(client, "plain", to=("eve",))
    ada, eve = inbox(client, "read", "decide"), inbox(client, "read", "decide", person="eve")
    ada.decide("q", YES)
    eve.claim("plain")
    eve.go_away(until=client.now() + HOUR_MS, to="bob")
    asked = counted(client, monkeypatch)
    [q, plain] = inbox(client, "read").list()[0]
    assert (q.votes, [one.person for one in q.away], plain.claim and plain.claim.by) == (1, ["eve"], "eve")
    assert asked == [["promise.search"] * 4, ["promise.get"] * 2 + ["promise.search"] * 2]
    asked.clear()
    inbox(client, "read").show("plain")
    assert asked == [["promise.get"], ["promise.search"] * 2]
