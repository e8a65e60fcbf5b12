"""Quorums by group: so many approvals of each group, by different people."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hitl_cli.cli.ask import _read_approvals
from hitl_cli.client.wire import audit_of
from hitl_cli.errors import BadInput, BadUsage, NotAllowed, Unproven
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.ask import decision_of
from hitl_cli.inbox.pending import pending
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import groups_of
from hitl_cli.people.quorum import Voice, approvals, filled, in_words, places, voice_of, with_noun
from hitl_cli.requests.demand import Demand, raised
from hitl_cli.requests.question import Escalation, Question, quorum_of, sensible
from hitl_cli.requests.question_input import QuestionInput
from hitl_cli.views.pending import request_summary_document
from tests.acting import approval, decide, details, rejection
from tests.inbox.requests import request
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.decision_result import DecisionResult
    from tests.conftest import Hitl

TEAM = groups_of({"ops": ["ada", "bob"], "legal": ["ada", "eve"]})
BOTH = {"group:ops": 1, "group:legal": 1}


@pytest.fixture
def client(hitl: Hitl) -> Iterator[Client]:
    """A client of a fresh file."""
    with hitl.client() as opened:
        yield opened


def asked(client: Client, id: str, by: Mapping[str, int] = BOTH, **options: Any) -> None:
    question = sensible(Question(prompt="Well?", **quorum_of(by), **options))
    more = {"to": question.to, "approvals": question.approvals, "approvals_by": question.approvals_by}
    request(client, id, **options | more)


def yes(client: Client, id: str, person: str, **said: Any) -> DecisionResult:
    return decide(client, id, approval(by=person, via="test", **said), TEAM)


def no(client: Client, id: str, person: str) -> DecisionResult:
    return decide(client, id, rejection(by=person, via="test", reason="no"), TEAM)


# Who takes which place


@given(
    members=st.fixed_dictionaries({name: st.frozensets(st.sampled_from("abcd")) for name in ("x", "y", "z")}),
    by=st.dictionaries(st.sampled_from(["group:x", "group:y", "group:z"]), st.integers(1, 2), min_size=1),
    more=st.integers(0, 2),
    seats=st.dictionaries(st.sampled_from("abcde"), st.frozensets(st.sampled_from("abcd"), min_size=1)),
)
def test_as_many_places_are_taken_as_in_the_best_of_all_assignments(
    members: dict[str, frozenset[str]], by: dict[str, int], more: int, seats: dict[str, frozenset[str]]
) -> None:
    groups = groups_of({name: sorted(people) for name, people in members.items()})
    question = Question(prompt="?", approvals=sum(by.values()) + more, approvals_by=by)
    voices = [Voice(person, own) for person, own in seats.items()]
    every = [name for name, most in places(question).items() for _ in range(most)]

    def fits(seat: str, name: str) -> bool:
        return name == "" or seat in members[name.removeprefix("group:")]

    def best(rest: list[str], free: frozenset[str], taken: frozenset[str]) -> int:
        if not rest:
            return 0
        first, *others = rest
        found = best(others, free, taken)
        for voice in voices:
            for seat in voice.seats - taken if voice.person in free else ():
                if fits(seat, first):
                    found = max(found, 1 + best(others, free - {voice.person}, taken | {seat}))
        return found

    assert approvals(question, voices, groups) == best(every, frozenset(seats), frozenset())


def test_the_order_of_people_does_not_matter() -> None:
    question = Question(prompt="?", **quorum_of(BOTH))
    for order in permutations([voice_of("ada", TEAM), voice_of("bob", TEAM)]):
        assert filled(question, order, TEAM) == BOTH


# Asking


def test_the_groups_of_a_quorum_are_the_assignees_and_their_sum_is_needed() -> None:
    question = sensible(Question(prompt="?", **quorum_of({"group:ops": 2, "group:legal": 1})))
    assert (question.to, question.approvals, question.several) == (("group:ops", "group:legal"), 3, True)
    so_far = "1 of 3 approvals (group:ops 1 of 2, group:legal 0 of 1)"
    assert with_noun(in_words(1, question, {"group:ops": 1}), None) == so_far
    assert with_noun("1 of 2", None) == "1 of 2 approvals"
    also = sensible(Question(prompt="?", to=("lead",), **quorum_of({"group:ops": 1})))
    assert (also.to, also.everyone) == (("lead",), ("lead", "group:ops"))


@pytest.mark.parametrize("by", [{"group:ops": 0}, {"ada": 2}, {"group:ops": 1, "Group:OPS": 1}])
def test_a_quorum_that_nobody_can_reach_is_refused(by: dict[str, int]) -> None:
    with pytest.raises(BadInput) as refused:
        sensible(Question(prompt="?", **quorum_of(by)))
    assert refused.value.code == "bad-question"


@pytest.mark.parametrize(
    ("wanted", "possible"),
    [
        ({"to": ("group:ops",), "approvals": 2}, True),
        ({"to": ("group:ops",), "approvals": 3}, False),
        ({"to": ("group:ops", "group:legal"), "approvals": 3}, True),
        ({"to": ("group:ops", "group:legal"), "approvals": 4}, False),  # ada is in both
        ({"to": ("group:ops", "cy"), "approvals": 3}, True),
        ({"to": ("group:ops",), "escalate": (Escalation(after=1, to=("cy",)),), "approvals": 3}, True),
        ({"to": ("group:ops",), "approvals": 2, "allow_self": False}, False),  # ada asks
        ({"to": ("group:legal", "bob"), "approvals": 2, "allow_self": False}, True),
        (quorum_of({"group:ops": 2, "group:legal": 1}), True),
        (quorum_of({"group:ops": 2, "group:legal": 2}), False),
        (quorum_of({"group:ops": 1, "group:else": 9}), True),
        (quorum_of({"group:ops": 3, "group:else": 1}), False),
        ({"to": ("group:else",), "approvals": 9}, True),
        ({"to": ("group:staff",), "approvals": 9}, True),  # whom a sign-in may add to
    ],
)
def test_more_approvals_than_the_known_assignees_can_give_are_refused(
    client: Client, wanted: dict[str, Any], possible: bool
) -> None:
    staffed = groups_of({"ops": ["ada", "bob"], "legal": ["ada", "eve"], "staff": ["ada"]})
    groups = replace(staffed, by_sign_in=frozenset({"staff"}))
    inbox = Inbox(client, Actor(person="ada", via="test", groups=groups))
    question = Question(prompt="Well?", **wanted)
    if possible:
        assert inbox.ask(question, id="q", deadline_ms=60_000).fresh
        return
    with pytest.raises(BadInput) as refused:
        inbox.ask(question, id="q", deadline_ms=60_000)
    assert (refused.value.code, refused.value.problems[0][0]) == ("bad-question", "approvals")
    assert pending(client)[0] == []
    # Another process may know other groups, and what was asked is not refused when it is asked again.
    assert Inbox(client, Actor(person="ada", via="test")).ask(question, id="q", deadline_ms=60_000).fresh
    assert not inbox.ask(question, id="q", deadline_ms=60_000).fresh
    assert "approvals" in (details(client, promise_of(client, "q"), groups).hint or "")


def test_who_asks_does_not_count_as_one_of_several_where_they_may_not_answer(client: Client) -> None:
    inbox = Inbox(client, Actor(person="ada", via="test"))
    question = Question(prompt="Well?", to=("ada", "bob"), approvals=2, allow_self=False)
    with pytest.raises(BadInput) as refused:
        inbox.ask(question, id="q", deadline_ms=60_000)
    assert refused.value.problems[0][0] == "approvals"


@pytest.mark.parametrize(
    ("to", "later", "possible"),
    [
        ((), (), True),
        (("ada",), (), False),
        (("Ada", "ada"), (), False),
        (("group:alone",), (), False),
        (("group:alone", "ada"), (), False),
        (("group:alone", "bob"), (), True),
        (("ada",), ("bob",), True),
        (("group:else",), (), True),
        (("group:ops",), (), True),
    ],
)
def test_a_request_that_only_who_asks_it_could_answer_is_refused_if_they_may_not(
    client: Client, to: tuple[str, ...], later: tuple[str, ...], possible: bool
) -> None:
    groups = groups_of({"alone": ["ada"], "ops": ["ada", "bob"]})
    inbox = Inbox(client, Actor(person="ada", via="test", groups=groups))
    escalate = (Escalation(after=1, to=later),) if later else ()
    question = Question(prompt="Well?", to=to, escalate=escalate, allow_self=False)
    if possible:
        assert inbox.ask(question, id="q", deadline_ms=60_000).fresh
        return
    with pytest.raises(BadInput) as refused:
        inbox.ask(question, id="q", deadline_ms=60_000)
    assert (refused.value.code, refused.value.problems[0][0]) == ("bad-question", "to")
    assert pending(client)[0] == []
    other = Inbox(client, Actor(person="bob", via="test", groups=groups))
    assert other.ask(question, id="q", deadline_ms=60_000).fresh
    assert not inbox.ask(question, id="q", deadline_ms=60_000).fresh  # what exists stays
    request(client, "before", to=to, allow_self=False, by="ada")
    assert "ada" in (details(client, promise_of(client, "before"), groups).hint or "")


def test_a_policy_that_the_assignees_cannot_fulfil_is_named(client: Client) -> None:
    groups = groups_of({"ops": ["ada", "bob"]}, policy={"q*": Demand(approvals=3)})
    with pytest.raises(BadInput) as refused:
        Inbox(client, Actor(person="cy", via="test", groups=groups)).ask(
            Question(prompt="Well?", to=("group:ops",)), id="q", deadline_ms=60_000
        )
    assert "q*" in str(refused.value)


def test_a_program_names_groups_as_for_to() -> None:
    put = QuestionInput(prompt="?", approvals={"ops": 1, "legal": 2})
    question = put.question(lambda names: tuple(f"group:{name}" for name in names))
    assert (question.approvals, question.approvals_by) == (3, {"group:ops": 1, "group:legal": 2})


def test_the_command_reads_a_number_or_groups() -> None:
    assert _read_approvals([], TEAM) == 1
    assert _read_approvals(["3"], TEAM) == 3
    assert _read_approvals(["ops=1", "group:legal=2"], TEAM) == {"group:ops": 1, "group:legal": 2}
    for texts in (
        ["0"],
        ["x"],
        ["2", "2"],
        ["=1"],
        ["2", "group:ops=1"],
        ["ops=1", "group:ops=1"],
        ["ops=x"],
    ):
        with pytest.raises(BadUsage):
            _read_approvals(texts, TEAM)


# Deciding


def test_it_is_approved_when_each_group_has_its_approvals(client: Client) -> None:
    asked(client, "q")
    first = yes(client, "q", "ada")
    assert (first.settled, first.so_far.split(" (")[0]) == (False, "1 of 2")
    assert not yes(client, "q", "ada").settled  # she counts for one group only
    [item] = pending(client, groups=TEAM)[0]
    assert (item.votes, sum(item.votes_by.values()), item.asked.approvals) == (1, 1, 2)
    document = request_summary_document(item, item.now)
    assert (document.approvals, document.approvals_by, document.votes_by) == (2, BOTH, item.votes_by)
    assert details(client, item.promise, TEAM).item.votes_by == item.votes_by
    assert yes(client, "q", "bob").settled  # then she stands for legal
    assert [vote.by for vote in audit_of(promise_of(client, "q")).votes] == ["ada", "bob"]


def test_approvals_of_one_group_are_not_enough(client: Client) -> None:
    asked(client, "q", {"group:ops": 1, "eve": 1})
    assert not yes(client, "q", "ada").settled
    assert not yes(client, "q", "bob").settled
    with pytest.raises(NotAllowed):
        yes(client, "q", "dan")
    assert yes(client, "q", "eve").settled


def test_a_single_approval_can_be_that_of_a_group(client: Client) -> None:
    asked(client, "q", {"group:legal": 1}, to=("bob",))
    assert not yes(client, "q", "bob").settled
    assert yes(client, "q", "eve").settled


def test_it_is_rejected_once_a_group_cannot_reach_its_number(client: Client) -> None:
    asked(client, "q")
    assert not no(client, "q", "eve").settled  # ada can stand for legal, and bob for ops
    assert no(client, "q", "bob").settled


def test_of_a_group_that_nobody_knows_as_many_must_say_no_as_would_have_to_say_yes(client: Client) -> None:
    asked(client, "q", {"group:else": 1, "group:ops": 1}, to=("eve",))
    assert not no(client, "q", "ada").settled
    assert no(client, "q", "bob").settled  # nobody is left in ops
    asked(client, "r", {"group:else": 1, "group:ops": 1}, to=("eve",))
    assert not no(client, "r", "eve").settled
    assert no(client, "r", "ada").settled


def test_the_details_say_that_too_few_people_are_in_the_groups(client: Client) -> None:
    asked(client, "q", {"group:ops": 2, "group:legal": 2})
    hint = details(client, promise_of(client, "q"), TEAM).hint
    assert hint is not None
    assert "3" in hint


# Policies


def test_a_policy_adds_a_group_and_takes_nothing_away() -> None:
    policy = {"q": Demand(approvals={"group:legal": 1})}
    question = raised(Question(prompt="?", to=("bob",)), policy, ["q"])
    assert (question.approvals, question.approvals_by, question.to) == (2, {"group:legal": 1}, ("bob",))
    assert raised(question, policy, ["q"]).approvals == 2
    assert approvals(question, [voice_of("ada", TEAM), voice_of("eve", TEAM)], TEAM) == 1  # bob was asked
    for to in ((), ("group:legal",)):
        assert raised(Question(prompt="?", to=to), policy, ["q"]).approvals == 1
    assert raised(Question(prompt="?"), {"q": Demand(approvals=2)}, ["q"]).approvals == 2


def test_an_approval_without_the_group_of_the_policy_does_not_count_where_it_is_used(client: Client) -> None:
    request(client, "q", to=("bob",))
    assert yes(client, "q", "bob").settled
    promise = promise_of(client, "q")
    assert decision_of(promise, Question(prompt="Well?", to=("bob",)), TEAM, names=["q"]).approved
    demand = Demand(approvals={"group:legal": 1})
    strict = groups_of({"ops": ["bob"], "legal": ["ada", "eve"]}, policy={"q": demand})
    with pytest.raises(Unproven):
        decision_of(promise, Question(prompt="Well?", to=("bob",)), strict, names=["q"])


def test_a_policy_of_groups_is_shown_and_decided_by(client: Client) -> None:
    strict = groups_of({"ops": ["bob"], "legal": ["ada", "eve"]}, policy={"q": Demand(approvals=BOTH)})
    inbox = Inbox(client, Actor(person="cy", via="test", groups=strict))
    put = inbox.ask(Question(prompt="Well?", to=("group:ops",)), id="q", deadline_ms=60_000)
    assert (put.question.approvals, put.question.approvals_by) == (2, BOTH)
    assert inbox.ask(Question(prompt="Well?", to=("group:ops",)), id="q", deadline_ms=60_000).id == put.id
    for person, settled in (("bob", False), ("eve", True)):
        assert decide(client, "q", approval(by=person, via="test"), strict).settled == settled
    made = decision_of(promise_of(client, "q"), put.question, strict, asked=put.question, names=["q"])
    assert made.approved
