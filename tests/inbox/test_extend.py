"""Deadlines that are moved, as far as the author of a request allows, and what they do when they pass."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from resonate.context import Context  # noqa: TC002 - the SDK reads annotations

from hitl_cli import Hitl as PythonApi
from hitl_cli import Rejected, ask, workflow
from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import call
from hitl_cli.client.wire import Audit, encode
from hitl_cli.errors import HitlError
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.amendments import with_amendments
from hitl_cli.inbox.ask import decision_of
from hitl_cli.inbox.deadlines import DueRequests, settle_overdue
from hitl_cli.inbox.history import EVERYTHING, HistoryFilter
from hitl_cli.inbox.open_requests import OpenRequests
from hitl_cli.inbox.pending import summaries
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Instead, OnDeadline, Question
from hitl_cli.testing import hitl_test
from tests.inbox.requests import HOUR_MS, request
from tests.server.conftest import serve, served  # noqa: F401 - fixtures
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl

YES = DecisionInput(verdict="approve")


@pytest.fixture
def one(hitl: Hitl) -> Iterator[Client]:
    """A client of a file, for what is the same on all servers."""
    with hitl.client() as client:
        yield client


def inbox_of(client: Client, person: str) -> Inbox:
    return Inbox(client, Actor(person=person, via="test"))


def put(client: Client, id: str = "q", *, hours: int = 1, **options: Any) -> Question:
    """Ask as `agent`: for some hours, and at most two more."""
    question = Question(prompt="Well?", **{"to": ("ada",), "extend": 2 * HOUR_MS, **options})
    inbox_of(client, "agent").ask(question, id=id, deadline_ms=hours * HOUR_MS)
    return question


def code_of(do: Any) -> str:
    with pytest.raises(HitlError) as error:
        do()
    return error.value.code


def test_a_deadline_is_moved_as_far_as_the_author_allows(client: Client) -> None:
    put(client)
    put(client, "later", hours=2)
    asker = inbox_of(client, "agent")
    first = asker.find("q").deadline
    assert [item.id for item in asker.list(sort="due")[0]] == ["q", "later"]
    moved = asker.extend("q", 3 * HOUR_MS // 2).item
    assert moved.deadline == first + 3 * HOUR_MS // 2
    assert code_of(lambda: asker.extend("q", HOUR_MS)) == "bad-duration"
    assert [item.id for item in asker.list(sort="due")[0]] == ["later", "q"]
    [entry] = asker.story("q", EVERYTHING)
    assert (entry.kind, entry.by, entry.until) == ("extend", "agent", moved.deadline)


@pytest.mark.parametrize("ms", [-59 * 60_000, 0])
def test_no_deadline_is_moved_to_an_earlier_time(one: Client, ms: int) -> None:
    put(one, on_deadline="approve", reassign="anyone")
    before = inbox_of(one, "ada").find("q").deadline
    for do in (inbox_of(one, "eve").extend, inbox_of(one, "ada").claim):
        assert code_of(lambda do=do: do("q", ms)) == "bad-duration"
    now = inbox_of(one, "ada").find("q")
    assert (now.deadline, now.waits, now.amendments) == (before, True, ())


def test_a_deadline_is_moved_to_an_instant(one: Client) -> None:
    put(one)
    inbox = inbox_of(one, "agent")
    to = inbox.find("q").deadline + HOUR_MS
    assert inbox.extend("q", until=to).item.deadline == to
    for until in (to, to - 1, to + 2 * HOUR_MS):
        with pytest.raises(HitlError) as error:
            inbox.extend("q", until=until)
        assert error.value.code == "bad-duration"
    assert inbox.find("q").deadline == to


def test_a_list_in_memory_follows_a_moved_deadline(one: Client, hitl: Hitl) -> None:
    put(one)
    put(one, "later", hours=2)
    with connect(hitl.url, None) as other:
        known = OpenRequests(other)
        for _ in known.load():
            pass
        inbox = Inbox(other, Actor(person="eve", via="test"), known)
        assert [item.id for item in inbox.list(sort="due")[0]] == ["q", "later"]
        inbox_of(one, "agent").extend("q", 2 * HOUR_MS)
        assert known.refresh()
        assert [item.id for item in inbox.list(sort="due")[0]] == ["later", "q"]


def test_the_asker_moves_it_and_assignees_if_they_may_assign_it(one: Client) -> None:
    put(one)
    put(one, "shared", reassign="assignees")
    request(one, "fixed", by="agent")
    assert code_of(lambda: inbox_of(one, "ada").extend("q", 1)) == "not-assignee"
    assert code_of(lambda: inbox_of(one, "eve").extend("shared", 1)) == "not-assignee"
    assert inbox_of(one, "ada").extend("shared", 1).amendment
    assert code_of(lambda: inbox_of(one, "agent").extend("fixed", 1)) == "not-extendable"


@pytest.mark.parametrize(
    ("on_deadline", "state", "outcome", "data"),
    [
        ("expire", "rejected", "expired", None),
        ("reject", "rejected", "rejected", None),
        ("approve", "resolved", "approved", True),
        (Instead(value=7), "resolved", "approved", 7),
    ],
)
def test_when_it_passes_it_does_what_on_deadline_says(
    hitl: Hitl, on_deadline: OnDeadline, state: str, outcome: str, data: Any
) -> None:
    with hitl.client() as client:
        question = put(client, on_deadline=on_deadline)
        deadline = inbox_of(client, "ada").find("q").deadline
    with hitl.client(lambda: client.now() + HOUR_MS) as later:
        inbox = inbox_of(later, "ada")
        assert inbox.list()[0] == []
        shown = inbox.show("q")
        assert promise_of(later, "q").state == "pending"  # to read changes nothing
        assert shown.decision is not None
        assert (shown.decision.outcome, shown.decision.deadline) == (outcome, True)
        if outcome != "approved":
            assert code_of(lambda: inbox.decide("q", YES)) == "deadline-passed"
        assert code_of(lambda: inbox_of(later, "agent").extend("q", 1)) == "deadline-passed"
        DueRequests().look(later)
        settled = promise_of(later, "q")
        assert (settled.state, settled.expired_at) == (state, deadline)
        [entry] = inbox.history(HistoryFilter(outcome=outcome))[0]  # type: ignore[arg-type]
        assert (entry.outcome, entry.deadline, entry.by, entry.at) == (outcome, True, None, deadline)
        assert [one.kind for one in inbox.story("q", EVERYTHING)] == ["decision"]
        decision = decision_of(settled, question, NO_GROUPS)
        assert (decision.expired, decision.approved, decision.data) == (True, outcome == "approved", data)


def test_what_was_moved_does_not_expire_and_what_expired_is_not_moved(hitl: Hitl) -> None:
    with hitl.client() as client:
        for id in ("moved", "over"):
            put(client, id)
        inbox_of(client, "agent").extend("moved", 2 * HOUR_MS)
        with hitl.client(lambda: client.now() + HOUR_MS) as later:
            assert settle_overdue(later, promise_of(later, "moved")).state == "pending"
            _stop_before_settling(later, "over")
            assert [item.id for item in inbox_of(later, "ada").list()[0]] == ["moved"]
        # A machine whose clock is behind is told, before and after it is settled.
        assert code_of(lambda: inbox_of(client, "agent").extend("over", 1)) == "deadline-passed"
        assert code_of(lambda: inbox_of(client, "ada").decide("over", YES)) == "deadline-passed"
        assert settle_overdue(client, promise_of(client, "over")).expired_at is not None
        assert code_of(lambda: inbox_of(client, "agent").extend("over", 1)) == "deadline-passed"
        assert inbox_of(client, "ada").decide("moved", YES).settled


def _stop_before_settling(client: Client, id: str) -> None:
    """Do what `settle_overdue` does in a process that is killed before it settles the request."""

    class Killed(Exception):
        pass

    def calls(requests: Any) -> Any:
        if requests[0].kind == "promise.settle":
            raise Killed
        return made(requests)

    made, promise = client.call_many, promise_of(client, id)
    client.call_many = calls  # type: ignore[method-assign]
    with pytest.raises(Killed):
        settle_overdue(client, promise)
    client.call_many = made  # type: ignore[method-assign]
    [item] = with_amendments(client, [summaries(client, [id])[id]])
    assert not item.waits


def test_who_waits_for_it_settles_it(one: Client) -> None:
    inbox = inbox_of(one, "agent")
    posted = inbox.ask(Question(prompt="Well?", extend=HOUR_MS), id="q", deadline_ms=1)
    assert inbox.wait(posted, timeout_s=30).expired_at is not None


def test_a_program_lets_it_be_moved_and_waits_until_then(hitl: Hitl) -> None:
    with PythonApi(hitl.url, person="agent") as api, hitl.client() as client:
        api.put("Well?", id="q", deadline=timedelta(hours=1), extend="2h", reassign="assignees", to="ada")
        first = inbox_of(client, "ada").find("q").deadline
        assert inbox_of(client, "ada").extend("q", HOUR_MS).item.deadline == first + HOUR_MS
        shown = api.show("q")
        assert (shown.extend_s, shown.reassign, shown.amendments[0].kind) == (7_200, "assignees", "extend")
        api.put("Well?", id="short", deadline="1ms", extend="1h")
        assert api.wait("short", timeout="30s").expired


@workflow
async def extendable(ctx: Context, extend: str) -> str:
    decision = await ask(ctx, "Pay?", to="ada", deadline="2h", extend=extend, reassign="assignees")
    try:
        return f"paid by {decision.require().by}"
    except Rejected:
        return "late" if decision.expired else "no"


def test_a_workflow_gets_what_was_decided_until_the_moved_deadline() -> None:
    with hitl_test(extendable) as test:
        late, moved, other = (test.start(extendable, "1d") for _ in range(3))
        ids = [one.id for one in test.pending()]
        for id in ids[1:]:
            test._backend.inbox(Actor(person="ada", via="test")).extend(id, 3 * HOUR_MS)
        test.advance("2h")
        assert late.result() == "late"
        test.person("ada").approve(id=ids[1])
        assert moved.result() == "paid by ada"
        test.advance("4h")
        client = test._backend.client()  # of another tool, which does not know the deadline
        value = encode(True, Audit(id="x", by="ada", via="tool", at=test.now).headers())
        assert call(client, "promise.settle", id=ids[2], state="resolved", value=value).status == 200
        assert other.result() == "late"


def test_a_question_without_extend_has_the_deadline_of_its_promise(one: Client) -> None:
    put(one, extend=None)
    [item] = inbox_of(one, "ada").list()[0]
    assert item.deadline == item.promise.timeout_at
    assert not any(
        tag.startswith(("hitl:deadline", "hitl:extend", "hitl:amend")) for tag in item.promise.tags
    )
