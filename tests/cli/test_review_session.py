"""What `hitl review` asks of the server, with a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.cli.review.session import GRACE_MS, Look, ReviewSession
from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import audit_of
from hitl_cli.errors import Conflict, NotAllowed
from hitl_cli.inbox.pending import RequestFilter
from hitl_cli.inbox.review_queue import HOLD_MS
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import groups_of
from hitl_cli.proof.signing import ssh_signer
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question
from tests.cli.requests import promise_now, put
from tests.conftest import wait_until
from tests.proof.signers import key, public

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.proof.signing import Signer
    from tests.conftest import Hitl

YES = DecisionInput(verdict="approve")
NO = DecisionInput(verdict="reject", reason="no")

TEAM = groups_of({}, {"ada": None, "bob": None})


class Person:
    """Ada at a desk, whose clock stands still unless it is moved."""

    def __init__(self, hitl: Hitl, *, every: bool = False, signer: Signer | None = None) -> None:
        self.now = 0
        wanted = RequestFilter(person=None if every else "ada")
        me = Actor(person="ada", via="cli", groups=TEAM)
        look = Look(me, wanted, "age", every, signer)
        self.desk = ReviewSession(hitl.client, look, lambda seen, _: [seen.item.id], lambda: self.now)
        self.desk.start()

    def sees(self, id: str) -> RequestSummary:
        """Wait until a request is shown, and return it."""
        page = wait_until(
            lambda: page if (page := self.desk.page(80)) is not None and page.seen.item.id == id else None
        )
        assert page is not None
        return page.seen.item


@pytest.mark.only("file", reason="over HTTP no server says which workers listen")
def test_it_is_said_once_that_no_worker_continues_the_runs(hitl: Hitl) -> None:
    worker = hitl.worker()
    for id in ("deploy-1", "deploy-2"):
        hitl.ok("start", id)
    first, second = sorted(one["id"] for one in hitl.waiting(2))
    worker.stop()
    person = Person(hitl, every=True)
    try:
        for id, said in ((first, YES), (second, NO)):
            assert person.desk.hold(person.sees(id), said)
        person.now = HOLD_MS
        wait_until(lambda: promise_now(hitl, second)["state"] == "rejected")
        wait_until(lambda: "hitl worker" in person.desk.told)
    finally:
        person.desk.end(send=False)
    [idle] = person.desk.idle
    assert "hitl worker" in idle
    assert person.desk.last_words == []


@pytest.fixture
def ada(hitl: Hitl) -> Iterator[Person]:
    for n in (1, 2, 3):
        put(hitl, f"r{n}:1", Question(prompt="Well?"))
    person = Person(hitl)
    yield person
    person.desk.end(send=False)


def state(hitl: Hitl, id: str) -> str:
    return str(promise_now(hitl, id)["state"])


def test_a_decision_is_sent_when_its_time_has_come_and_not_before(hitl: Hitl, ada: Person) -> None:
    first = ada.sees("r1:1")
    assert ada.desk.hold(first, YES)
    second = ada.sees("r2:1")
    ada.now = HOLD_MS - 1
    assert ada.desk.hold(second, NO)
    assert [left for _, left in ada.desk.held()] == [1, HOLD_MS]
    ada.sees("r3:1")
    assert (state(hitl, "r1:1"), state(hitl, "r2:1")) == ("pending", "pending")
    ada.now = HOLD_MS
    wait_until(lambda: state(hitl, "r1:1") == "resolved")
    assert state(hitl, "r2:1") == "pending"
    assert not ada.desk.hold(first, NO)
    undone = ada.desk.undo()
    assert undone is not None
    assert undone.id == "r2:1"
    assert ada.desk.undo() is None
    ada.sees("r2:1")


def test_a_key_pressed_as_a_request_vanishes_is_not_meant_for_the_next_one(hitl: Hitl, ada: Person) -> None:
    ada.sees("r1:1")
    assert not ada.desk.just_jumped()
    hitl.ok("approve", "r1:1", "--as", "eve")
    ada.sees("r2:1")
    assert "already approved by eve" in ada.desk.told
    assert ada.desk.just_jumped()
    ada.now += GRACE_MS
    assert not ada.desk.just_jumped()
    ada.desk.skip()
    ada.sees("r3:1")
    assert not ada.desk.just_jumped()


def test_what_is_held_at_the_end_and_too_late_is_told(hitl: Hitl, ada: Person) -> None:
    ada.desk.hold(ada.sees("r1:1"), YES)
    ada.desk.hold(ada.sees("r2:1"), YES)
    hitl.ok("reject", "r1:1", "--as", "eve")
    assert ada.desk.end(send=True) == ()
    assert ["r1:1 was already rejected by eve" in words for words in ada.desk.last_words] == [True]
    assert state(hitl, "r2:1") == "resolved"
    summary, more = ada.desk.summary()
    assert (summary.approved, summary.left, more) == (1, 1, False)


def test_an_answer_that_is_not_this_persons_to_give_is_not_even_held(hitl: Hitl) -> None:
    put(hitl, "r1:1", Question(prompt="Well?", to=("eve",)))
    ada = Person(hitl, every=True)
    item = ada.sees("r1:1")
    with pytest.raises(NotAllowed) as refused:
        ada.desk.hold(item, YES)
    assert refused.value.code == "not-assignee"
    assert ada.desk.held() == []
    assert ada.desk.end(send=True) == ()
    assert state(hitl, "r1:1") == "pending"


def test_what_another_has_claimed_is_neither_held_nor_sent(hitl: Hitl, ada: Person) -> None:
    hitl.ok("claim", "r1:1", "--as", "eve")
    with pytest.raises(Conflict) as refused:
        ada.desk.hold(ada.sees("r1:1"), YES)
    assert refused.value.code == "claimed"
    ada.desk.skip()
    ada.desk.hold(ada.sees("r2:1"), YES)
    hitl.ok("claim", "r2:1", "--as", "eve")
    ada.desk.end(send=True)
    assert ["eve has claimed r2:1" in words for words in ada.desk.last_words] == [True]
    assert (state(hitl, "r1:1"), state(hitl, "r2:1")) == ("pending", "pending")


def test_a_request_that_needs_proof_is_held_only_for_who_signs_and_is_signed_when_it_is_sent(
    hitl: Hitl,
) -> None:
    put(hitl, "r1:1", Question(prompt="Well?", proof="signed"))
    ada = Person(hitl)
    item = ada.sees("r1:1")
    with pytest.raises(NotAllowed) as refused:
        ada.desk.hold(item, YES)
    assert refused.value.code == "proof-needed"
    ada.desk.end(send=False)
    ada = Person(hitl, signer=ssh_signer(key("lead"), (public("lead"),)))
    ada.desk.hold(ada.sees("r1:1"), YES)
    assert ada.desk.end(send=True) == ()
    with hitl.client() as client:
        promise = get_promise(client, "r1:1")
        assert promise is not None
        assert audit_of(promise).proof is not None


def test_remarks_are_kept_though_the_review_ends_at_once(hitl: Hitl, ada: Person) -> None:
    ada.desk.comment(ada.sees("r1:1").id, "odd")
    ada.desk.end(send=False)
    assert [one["text"] for one in hitl.json("show", "r1:1")["comments"]] == ["odd"]
    assert ada.desk.summary()[0].commented == 1


def test_a_request_is_asked_back_claimed_and_given_to_others(hitl: Hitl) -> None:
    for id in ("r1:1", "r2:1"):
        put(hitl, id, Question(prompt="Well?", to=("ada",), reassign="assignees"), by="clerk")
    ada = Person(hitl)

    def told(text: str) -> None:
        wait_until(lambda: text in ada.desk.told)

    try:
        ada.sees("r1:1")
        ada.desk.ask_back("r1:1", "Which one?")
        second = ada.sees("r2:1")
        told("r1:1 waits for its answer")
        assert hitl.json("show", "r1:1")["asked_back"]["text"] == "Which one?"
        ada.desk.ask_back("r2:1", "")
        told("Question not sent")
        ada.desk.claim(second)
        told("claimed by ada")
        wait_until(lambda: ada.sees("r2:1").claim)
        ada.desk.claim(ada.sees("r2:1"))
        told("released")
        ada.desk.assign("r2:1", ["bbo"])
        told("Did you mean bob?")
        ada.desk.assign("r2:1", ["bob"])
        told("assigned to bob")
        wait_until(lambda: ada.desk.page(80) is None)  # it is not hers any more
        ada.desk.again()
        ada.sees("r1:1")
        for _ in range(2):  # the same name again is meant
            ada.desk.assign("r1:1", ["zoe"])
        told("assigned to zoe")
    finally:
        ada.desk.end(send=False)
    assert hitl.json("show", "r2:1")["to"] == ["bob"]
