"""Lists from memory equal the lists of the server after any change by any process."""

from __future__ import annotations

import gc
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.errors import BadInput, Conflict, NotAllowed
from hitl_cli.inbox import Inbox, open_requests
from hitl_cli.inbox.open_requests import OpenRequests
from hitl_cli.inbox.pending import EVERYTHING, RequestFilter
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Directory
from hitl_cli.people.groups import NO_GROUPS, groups_of
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from hitl_cli.views.pending import request_summary_document
from tests.inbox.requests import HOUR_MS, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.pending import Sort
    from hitl_cli.people.groups import Groups

SORTS: tuple[Sort, ...] = ("age", "due", "priority")
GROUPS = groups_of(
    {"ops": ["ada", "bob"], "law": ["eve"]}, {"ada": "ada@example.org", "bob": None, "eve": None}
)
PEOPLE = ("ada", "bob", "eve", "ada@example.org")
WANTED = (
    EVERYTHING,
    RequestFilter(person="ada"),
    RequestFilter(person="ada@example.org", priority="high"),
    RequestFilter(to=("ops",)),
    RequestFilter(text="paint RED"),
    RequestFilter(asker="bob"),
    RequestFilter(put_by="bob"),
    RequestFilter(tags={"team": "a"}),
    RequestFilter(workflow="r*"),
    RequestFilter(due_in_ms=12 * HOUR_MS),
)


@pytest.fixture
def other(client: Client, request: pytest.FixtureRequest) -> Iterator[Client]:
    """Another process's client of the same server."""
    with connect(_url_of(client, request), None) as other:
        yield other


def _url_of(client: Client, request: pytest.FixtureRequest) -> str:
    if "database" in request.fixturenames or "postgres" in str(request.node.callspec.params):
        url: str = request.getfixturevalue("database")
        return url
    return client.name


def loaded(client: Client) -> OpenRequests:
    known = OpenRequests(client)
    for _ in known.load():
        pass
    return known


def test_a_large_request_stays_until_the_deadline_that_it_was_moved_to(client: Client, other: Client) -> None:
    inbox = Inbox(client, Actor(person="ada", via="test"))
    for id, prompt, hours in (("large", "x" * 10_000, 1), ("later", "?", 2)):
        inbox.ask(Question(prompt=prompt, extend=2 * HOUR_MS), id=id, deadline_ms=hours * HOUR_MS)
    known = loaded(other)
    inbox.extend("large", 3 * HOUR_MS // 2)
    for table in (known, loaded(other)):
        assert table.refresh()
        found = Inbox(other, inbox.actor, table).list(sort="due")[0]
        assert [item.id for item in found] == ["later", "large"]
        assert table.figures().due["1h"] == 0


def test_the_garbage_collector_does_not_go_through_what_is_kept(client: Client) -> None:
    request(client, "a", to=["ada"])
    [row] = loaded(client)._rows.values()
    gc.collect()
    assert row.item is not None
    kept = (row, row.names, row.item, row.item.promise, row.item.question)
    assert [gc.is_tracked(each) for each in kept] == [False] * len(kept)


def decide(client: Client, id: str, verdict: Any = "approve", person: str = "ada", **more: Any) -> None:
    actor = Actor(person=person, via="test", groups=GROUPS)
    Inbox(client, actor).decide(id, DecisionInput(verdict=verdict, **more))


def everything(
    client: Client, known: OpenRequests | None, groups: Groups = GROUPS, person: str = "ada"
) -> list[Any]:
    """Return what an inbox says to every question, without what depends on the moment."""
    inbox = Inbox(client, Actor(person=person, via="test", groups=groups), known)
    said: list[Any] = []
    for at, wanted in enumerate(WANTED):
        for sort in SORTS if at < 2 else (SORTS[at % 3],):
            items = inbox.list(wanted, sort=sort)[0]
            said.append(
                [msgspec.structs.replace(request_summary_document(item, item.now), age_s=0) for item in items]
            )
            if at >= 2:
                continue
            some, more = inbox.list(wanted, sort=sort, limit=2)
            assert [one.id for one in some] == [one.id for one in items[:2]]
            assert more == (len(items) > 2)
            assert paged(inbox, wanted, sort) == [one.id for one in items]
    return said


def paged(inbox: Inbox, wanted: RequestFilter, sort: Sort) -> list[str]:
    found, after = inbox.page(wanted, sort=sort, limit=2)
    ids = [one.id for one in found]
    while after is not None:
        found, after = inbox.page(wanted, sort=sort, limit=2, after=after)
        ids += [one.id for one in found]
    return ids


def same(client: Client, known: OpenRequests, groups: Groups = GROUPS) -> None:
    assert known.refresh()
    assert everything(client, known, groups) == everything(client, None, groups)


def some(client: Client) -> None:
    """Ask for all that lists tell apart."""
    Runs(client, Actor(person="bob", via="test")).start_many([RunSpec(id="r1", workflow="release")])
    request(client, "plain", prompt="# # Paint it red\n\nor not", form={"type": "string"}, details={"a": 1})
    request(client, "for-ada", to=("ADA@example.org",), priority="high", by="bob", key="k")
    request(client, "for-ops", to=("group:ops",), priority="urgent", escalate={"1h": ["eve"]})
    request(client, "votes", to=("ada", "bob"), approvals=2)
    request(client, "r1:1", to=("eve",), allow_self=False, priority="low")
    request(client, "large", prompt="x" * 10_000, choices=("a", "b"), to=("ada",))


def test_a_table_lists_what_the_server_lists(client: Client, other: Client) -> None:
    some(other)
    known = loaded(client)
    same(client, known)
    same(client, known, NO_GROUPS)  # the settings have changed
    some_more(other)
    same(client, known)
    decide(other, "votes")
    same(client, known)
    assert next(item.votes for item in Inbox(client, ADA, known).list()[0] if item.id == "votes") == 1
    decide(other, "votes", person="bob")
    decide(other, "large", "reject")
    same(client, known)
    assert {"votes", "large"}.isdisjoint(item.id for item in Inbox(client, ADA, known).list()[0])


ADA = Actor(person="ada", via="test", groups=GROUPS)


def some_more(client: Client) -> None:
    request(client, "late", prompt="red paint", to=("bob",))
    request(client, "later", to=("law",), priority="high")


def test_a_list_goes_on_after_a_request_that_was_decided(client: Client, other: Client) -> None:
    for n in range(6):
        request(other, f"q{n}")
    known = loaded(client)
    inbox = Inbox(client, ADA, known)
    found, after = inbox.page(limit=2)
    assert [one.id for one in found] == ["q0", "q1"]
    decide(other, "q1")
    decide(other, "q2")
    assert known.refresh()
    assert [one.id for one in inbox.page(limit=2, after=after)[0]] == ["q3", "q4"]
    assert [one.id for one in Inbox(client, ADA).page(limit=2, after=after)[0]] == ["q3", "q4"]
    with pytest.raises(BadInput):
        inbox.page(sort="due", limit=2, after=after)


def test_too_many_changes_at_once_are_a_gap(
    client: Client, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_requests, "MOST", 3)
    known = loaded(client)
    for n in range(5):
        request(other, f"q{n}")
    assert not known.refresh()
    same(client, loaded(client))


def test_what_is_kept_of_a_request_is_small(hitl: Any) -> None:
    with closing(hitl.client()) as client:
        request(
            client,
            "q",
            prompt="Well?\n" + "x" * 100_000,
            details={"text": "y" * 100_000},
            form={"title": "z" * 9_000},
        )
        request(client, "large", prompt="x" * 100_000)
        known = loaded(client)
        kept = msgspec.json.encode([row.item for row in known._rows.values()])
        assert len(kept) < 2 * open_requests.LARGEST
        same(client, known)


@pytest.mark.only("file", reason="a file alone tells whether anything was committed")
def test_without_a_commit_nothing_is_searched(hitl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(hitl.client()) as client, closing(hitl.client()) as other:
        request(other, "q")
        known = loaded(client)
        assert known.refresh()
        calls: list[Any] = []
        real = client.call_many

        def call_many(asked: Any) -> Any:
            calls.append(asked)
            return real(asked)

        monkeypatch.setattr(client, "call_many", call_many)
        assert known.refresh()
        assert [one.id for one in Inbox(client, ADA, known).list()[0]] == ["q"]
        assert calls == []
        request(other, "q2")
        assert known.refresh()
        assert calls


def test_a_request_past_its_deadline_is_not_listed(hitl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(hitl.client()) as client:
        request(client, "q")
        known = loaded(client)
        later = client.now() + 25 * HOUR_MS
        monkeypatch.setattr(client, "now", lambda: later)
        assert Inbox(client, ADA, known).list()[0] == []


IDS = st.integers(0, 5)
ACTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("ask"),
            IDS,
            st.fixed_dictionaries(
                {},
                optional={
                    "prompt": st.sampled_from(["Paint it red", "## Well\nred", "x" * 5_000, "é 👍"]),
                    "to": st.sampled_from([(), ("ada",), ("group:ops",), ("eve", "Bob"), ("group:none",)]),
                    "priority": st.sampled_from(["low", "high", "urgent"]),
                    "approvals": st.sampled_from([1, 2]),
                    "allow_self": st.booleans(),
                    "by": st.sampled_from(["ada", "bob"]),
                    "reassign": st.sampled_from(["nobody", "anyone"]),
                    "extend": st.sampled_from([None, 20 * HOUR_MS]),
                },
            ),
        ),
        st.tuples(st.just("decide"), IDS, st.sampled_from(PEOPLE[:3])),
        st.tuples(st.just("reject"), IDS, st.sampled_from(PEOPLE[:3])),
        st.tuples(st.just("assign"), IDS, st.sampled_from(PEOPLE[:3])),
        st.tuples(st.just("claim"), IDS, st.sampled_from(PEOPLE[:3])),
        st.tuples(st.just("release"), IDS, st.sampled_from(PEOPLE[:3])),
        st.tuples(st.just("extend"), IDS, st.sampled_from(PEOPLE[:3])),
        st.tuples(st.just("look"), st.just(0), st.none()),
        st.tuples(st.just("load"), st.just(0), st.none()),
    ),
    max_size=10,
)


def change(inbox: Inbox, act: str, id: str) -> None:
    match act:
        case "assign":
            inbox.assign(id, ["bob", "group:law"], Directory(), "default")
        case "claim":
            inbox.claim(id)
        case "release":
            inbox.release(id)
        case "extend":
            inbox.extend(id, 5 * HOUR_MS)
        case _:
            inbox.decide(id, DecisionInput(verdict="reject" if act == "reject" else "approve"))


@pytest.mark.parametrize("client", ["file", pytest.param("postgres", marks=pytest.mark.heavy)], indirect=True)
@given(acts=ACTS)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_whatever_happens_memory_and_server_agree(client: Client, other: Client, acts: list[Any]) -> None:
    for item in Inbox(other, ADA).list()[0]:
        other.call_many(
            [ProtocolRequest("promise.settle", {"id": item.id, "state": "rejected_canceled", "value": {}})]
        )
    mark = f"e{msgspec.json.encode(acts).hex()[:8]}-{other.now()}"
    known = loaded(client)
    for act, n, given_ in acts:
        id = f"{mark}-{n}"
        if act == "ask":
            request(other, id, **given_)
        elif act == "look":
            same(client, known)
        elif act == "load":
            known = loaded(client)
        elif Inbox(other, ADA).list(RequestFilter(workflow=id))[0]:
            inbox = Inbox(other, Actor(person=given_, via="test", groups=GROUPS))
            with suppress(NotAllowed, Conflict, BadInput):
                change(inbox, act, id)
    same(client, known)
