"""Requests that several must approve: votes are stored, counted, and settle the request once."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import ProtocolRequest, search
from hitl_cli.client.records import closing
from hitl_cli.client.tags import VOTE_TAG
from hitl_cli.client.wire import Audit, Vote, audit_of, decode, error_message, fresh_id
from hitl_cli.errors import BadInput, Conflict, HitlError, NotAllowed, TimedOut
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.decide import vote_of
from hitl_cli.inbox.decision_result import DecisionResult
from hitl_cli.inbox.pending import pending, settle_complete, summary_of
from hitl_cli.inbox.votes import RecordedVote, create_request, tally, votes_of
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import NO_GROUPS, groups_of
from hitl_cli.requests.question import Question
from tests.acting import Answer, approval, comment, comments_of, decide, rejection
from tests.conftest import PATIENCE_S, wait_until
from tests.inbox.requests import HOUR_MS, request
from tests.recovery.crew import Crew
from tests.recovery.deaths import approve_and_die_at
from tests.recovery.processes import PROCESSES, start
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Verdict
    from tests.conftest import Hitl

ON_A_FILE = pytest.mark.only("file", reason="kills a process between two statements of SQLite")

OPS = groups_of({"ops": ["ada", "bob", "cy"]})


@pytest.fixture
def client(hitl: Hitl) -> Iterator[Client]:
    """A client of a fresh file."""
    with hitl.client() as opened:
        yield opened


def yes(by: str, **options: Any) -> Answer:
    return approval(by=by, via="test", **options)


def no(by: str, reason: str | None = None) -> Answer:
    return rejection(by=by, via="test", reason=reason)


def cast(client: Client, id: str, answer: Answer) -> None:
    """Vote, as a process does that is killed before it counts the votes."""
    promise = promise_of(client, id)
    person = answer.actor.person
    vote = vote_of(answer.said, person, summary_of(client, promise, None).asked, client.now())
    audit = Audit(id=fresh_id(), by=person, via=answer.actor.via, at=vote.at)
    number = 1 + sum(ballot.vote.by == person for ballot in votes_of(client, id))
    create = create_request(promise, vote, audit, number)
    client.call_many([create, closing(create)])


# Counting

PEOPLE = ("ada", "bob", "cy", "dan", "eve")
CHOICES = (None, "ship", "hold")


type Said = tuple[str, Verdict, str | None]
"""Who said what: a person, a verdict and a choice."""

VERDICTS: tuple[Verdict, ...] = ("approve", "reject")
said = st.tuples(st.sampled_from(PEOPLE), st.sampled_from(VERDICTS), st.sampled_from(CHOICES))
people = st.none() | st.frozensets(st.sampled_from(PEOPLE))
needed = st.integers(2, 4)


def ballots(history: list[Said]) -> list[RecordedVote]:
    """Return ballots in the order in which they were cast."""
    return [
        RecordedVote(
            number=1 + sum(other[0] == by for other in history[:at]),
            vote=Vote(by=by, verdict=verdict, at=at, choice=choice if verdict == "approve" else None),
            audit=Audit(id=f"{at}", by=by, via="test", at=at),
        )
        for at, (by, verdict, choice) in enumerate(history)
    ]


def verdict_on(needed: int, electorate: frozenset[str] | None, latest: dict[str, Said]) -> Verdict | None:
    """Return what it comes to when these are the last words of all who have voted, naively."""
    for choice in CHOICES:
        if (
            len([by for by, (_, verdict, of) in latest.items() if (verdict, of) == ("approve", choice)])
            >= needed
        ):
            return "approve"
    noes = {by for by, (_, verdict, _) in latest.items() if verdict == "reject"}
    if electorate is None:
        return "reject" if len(noes) >= needed else None
    enough = len((electorate | set(latest)) - noes) < needed
    return "reject" if noes and enough else None


def decided_at(
    needed: int, electorate: frozenset[str] | None, history: list[Said]
) -> tuple[int, Verdict] | None:
    """Return which ballot decides, and how: the first after which it is decided."""
    for at in range(len(history)):
        verdict = verdict_on(needed, electorate, {one[0]: one for one in history[: at + 1]})
        if verdict is not None:
            return at, verdict
    return None


@given(needed, people, st.lists(said, max_size=12))
def test_votes_are_counted_as_a_naive_model_counts_them(
    needed: int, electorate: frozenset[str] | None, history: list[Said]
) -> None:
    question = Question(prompt="Well?", approvals=needed)
    tallied = tally(question, electorate, ballots(history))
    expected = decided_at(needed, electorate, history)
    if expected is None:
        assert tallied.deciding is None
    else:
        at, verdict = expected
        assert tallied.deciding is not None
        assert (tallied.deciding.audit.id, tallied.deciding.vote.verdict) == (f"{at}", verdict)
        assert tallied.counted[-1] is tallied.deciding
    heard = history if expected is None else history[: expected[0] + 1]
    assert {b.vote.by: b.audit.id for b in tallied.counted} == {
        by: f"{n}" for n, (by, *_) in enumerate(heard)
    }


@given(needed, people, st.lists(said, max_size=12), st.lists(said, max_size=6))
def test_what_is_said_after_the_decision_changes_nothing(
    needed: int, electorate: frozenset[str] | None, history: list[Said], later: list[Said]
) -> None:
    question = Question(prompt="Well?", approvals=needed)
    before = tally(question, electorate, ballots(history))
    after = tally(question, electorate, ballots(history + later))
    if before.deciding is not None:
        assert after == before


@given(needed, st.data())
def test_where_each_votes_once_and_all_are_known_the_order_does_not_change_the_verdict(
    needed: int, data: st.DataObject
) -> None:
    voters = data.draw(st.lists(st.sampled_from(PEOPLE), unique=True))
    votes: list[Said] = [(by, data.draw(st.sampled_from(VERDICTS)), None) for by in voters]
    electorate = frozenset(PEOPLE)
    question = Question(prompt="Well?", approvals=needed)
    verdicts = {
        deciding.vote.verdict if (deciding := tally(question, electorate, ballots(order)).deciding) else None
        for order in (votes, data.draw(st.permutations(votes)))
    }
    assert len(verdicts) == 1


# Voting


def test_it_settles_with_the_vote_that_is_enough_and_keeps_all_that_counted(client: Client) -> None:
    request(client, "q", approvals=2, to=["ada", "bob", "cy"])
    first = decide(client, "q", yes("ada", data=1, comment="after lunch"))
    assert (first.settled, first.fresh) == (False, True)
    assert first.votes is not None
    assert first.votes.leading == 1
    [item] = pending(client)[0]
    assert (item.votes, item.asked.approvals) == (1, 2)
    last = decide(client, "q", yes("bob", data=2))
    assert (last.settled, last.fresh) == (True, True)
    settled = promise_of(client, "q")
    assert (settled.state, decode(settled.value)) == ("resolved", 2)
    audit = audit_of(settled)
    assert (audit.by, audit.via) == ("bob", "test")
    assert [(vote.by, vote.data, vote.comment) for vote in audit.votes] == [
        ("ada", 1, "after lunch"),
        ("bob", 2, None),
    ]
    assert pending(client)[0] == []


def test_it_is_a_no_as_soon_as_too_few_are_left(client: Client) -> None:
    request(client, "q", approvals=2, to=["ada", "bob", "cy"])
    assert not decide(client, "q", no("ada", "too late")).settled
    assert decide(client, "q", no("cy", "over budget")).settled
    settled = promise_of(client, "q")
    assert (settled.state, error_message(settled.value)) == ("rejected", "over budget")
    assert [(vote.by, vote.reason) for vote in audit_of(settled).votes] == [
        ("ada", "too late"),
        ("cy", "over budget"),
    ]


def test_a_group_is_as_many_as_the_settings_know(client: Client) -> None:
    for id in ("known", "unknown"):
        request(client, id, approvals=3, to=["group:ops"])
    assert decide(client, "known", no("ada"), OPS).settled
    with pytest.raises(NotAllowed, match="group:ops is not in the settings"):
        decide(client, "unknown", no("ada"))


def test_where_nobody_knows_who_all_are_as_many_must_say_no_as_would_have_to_say_yes(
    client: Client,
) -> None:
    request(client, "q", approvals=2)
    assert not decide(client, "q", no("ada")).settled
    assert not decide(client, "q", yes("bob")).settled
    assert decide(client, "q", no("cy")).settled


def test_who_started_it_is_none_of_those_who_could_approve(client: Client) -> None:
    request(client, "q", approvals=2, to=["ada", "bob", "cy"], allow_self=False, by="cy")
    with pytest.raises(NotAllowed) as refused:
        decide(client, "q", yes("cy"))
    assert refused.value.code == "self-approval"
    assert decide(client, "q", no("ada")).settled  # bob alone is too few


def test_escalated_there_are_more_who_can_approve(hitl: Hitl) -> None:
    late = 2 * HOUR_MS
    with hitl.client() as client:
        request(client, "q", approvals=2, to=["ada", "bob"], escalate={"1h": "cy"})
    with hitl.client(lambda: client.now() + late) as later:
        assert not decide(later, "q", no("ada")).settled
        assert decide(later, "q", yes("bob")).votes
        assert decide(later, "q", yes("cy")).settled


def test_of_choices_one_must_have_enough(client: Client) -> None:
    request(client, "q", approvals=2, choices=["ship", "hold"])
    assert not decide(client, "q", yes("ada", text="ship")).settled
    assert not decide(client, "q", yes("bob", text="hold")).settled
    assert not decide(client, "q", no("dan")).settled
    assert [item.votes for item in pending(client)[0]] == [1]
    assert decide(client, "q", yes("cy", text="ship")).settled
    settled = promise_of(client, "q")
    assert (decode(settled.value), audit_of(settled).choice) == ("ship", "ship")


def test_a_person_votes_once_however_often_they_say_the_same(client: Client) -> None:
    request(client, "q", approvals=2)
    for _ in range(3):
        assert not decide(client, "q", yes("ada")).settled
    assert len(search(client, tags={VOTE_TAG: "q"})) == 1


def test_a_vote_can_be_changed_until_it_is_settled_and_not_after(client: Client) -> None:
    request(client, "q", approvals=2, to=["ada", "bob", "cy"])
    decide(client, "q", no("ada"))
    decide(client, "q", yes("ada"))
    assert [item.votes for item in pending(client)[0]] == [1]
    decide(client, "q", no("ada"))
    assert [item.votes for item in pending(client)[0]] == [0]
    decide(client, "q", yes("ada"))
    assert decide(client, "q", yes("bob")).settled
    with pytest.raises(Conflict) as refused:
        decide(client, "q", no("ada"))
    assert refused.value.code == "already-decided"
    assert "bob" in str(refused.value)
    assert not decide(client, "q", yes("ada")).fresh  # it counted
    assert [(b.number, b.vote.verdict) for b in votes_of(client, "q") if b.vote.by == "ada"] == [
        (1, "reject"),
        (2, "approve"),
        (3, "reject"),
        (4, "approve"),
    ]


def test_who_is_not_asked_has_no_vote_and_none_is_kept(client: Client) -> None:
    request(client, "q", approvals=2, to=["ada", "bob"])
    with pytest.raises(NotAllowed):
        decide(client, "q", yes("eve"))
    assert votes_of(client, "q") == []


def test_a_vote_that_does_not_fit_is_refused_and_none_is_kept(client: Client) -> None:
    request(client, "q", approvals=2, form={"type": "integer"})
    with pytest.raises(BadInput):
        decide(client, "q", yes("ada", data="much"))
    assert votes_of(client, "q") == []


def test_past_the_deadline_no_vote_counts(hitl: Hitl) -> None:
    with hitl.client() as client:
        request(client, "q", approvals=2)
        cast(client, "q", yes("ada"))
    with hitl.client(lambda: client.now() + 48 * HOUR_MS) as later:
        with pytest.raises(TimedOut):
            decide(later, "q", yes("bob"))
        assert promise_of(later, "q").state == "rejected_timedout"
        assert len(votes_of(later, "q")) == 1


@pytest.mark.parametrize("name", ["a" * 200, "ada@example.org", "a.b:c-1", "Ädá", "1"])
def test_any_name_can_vote(client: Client, name: str) -> None:
    request(client, "q", approvals=2)
    decide(client, "q", yes(name))
    assert decide(client, "q", yes("ada" if name != "ada" else "bob")).settled
    assert audit_of(promise_of(client, "q")).votes[0].by == name


def test_what_only_looks_like_a_vote_is_none(client: Client) -> None:
    request(client, "q", approvals=2)
    promise = promise_of(client, "q")
    vote = Vote(by="ada", verdict="approve", at=1, data=True)
    forged = create_request(promise, vote, Audit(id="1", by="ada"), 1)
    for id, data in (
        (f"{forged.data['id'][:-2]}-x", forged.data),
        ("q:v1", forged.data),  # bob's id, or nobody's
        (forged.data["id"], forged.data | {"param": {}}),
    ):
        client.call_many([ProtocolRequest("promise.create", data | {"id": id})])
    assert votes_of(client, "q") == []
    assert not decide(client, "q", yes("bob")).settled


# A process that dies between the vote and the settling


def test_who_decides_next_settles_it_and_so_does_housekeeping(client: Client) -> None:
    for id in ("left", "voted"):
        request(client, id, approvals=2, to=["ada", "bob", "cy"])
        cast(client, id, yes("ada", data=1))
        cast(client, id, yes("bob", data=2))
        assert promise_of(client, id).state == "pending"
    told = decide(client, "voted", yes("cy", data=2))
    assert (told.settled, told.fresh, told.audit.by) == (True, False, "bob")
    assert [(item.id, item.votes) for item in pending(client)[0]] == [("left", 2)]
    settle_complete(client, NO_GROUPS)
    assert pending(client)[0] == []
    for id in ("left", "voted"):
        settled = promise_of(client, id)
        assert decode(settled.value) == 2
        assert [vote.by for vote in audit_of(settled).votes] == ["ada", "bob"]


@ON_A_FILE
def test_a_last_vote_killed_at_any_statement_is_there_with_its_effect_or_not_and_can_be_given_again(
    hitl: Hitl, tmp_path: Path
) -> None:
    with hitl.client() as client:
        request(client, "q", approvals=2)
        decide(client, "q", yes("cy"))
    states = []
    for statement in range(200):
        database = tmp_path / f"{statement}" / "hitl.db"
        database.parent.mkdir()
        for file in hitl.folder.glob("hitl.db*"):
            if file.is_file():
                shutil.copy(file, database.parent)
        process = start(approve_and_die_at, database, "q", statement)
        process.join()
        with connect(f"sqlite:///{database}") as client:
            voted = len(votes_of(client, "q")) == 2
            states.append((voted, promise_of(client, "q").state))
            assert [item.votes for item in pending(client)[0]] == (
                [] if states[-1][1] == "resolved" else [2 if voted else 1]
            )
            again = decide(client, "q", yes("ada"))
            assert (again.settled, again.fresh) == (True, not voted)
            assert [vote.by for vote in audit_of(promise_of(client, "q")).votes] == ["cy", "ada"]
        if process.exitcode == 0:
            break
    assert list(dict.fromkeys(states)) == [(False, "pending"), (True, "pending"), (True, "resolved")]


def test_a_look_changes_nothing(hitl: Hitl, client: Client) -> None:
    request(client, "q", approvals=2)
    cast(client, "q", yes("ada"))
    cast(client, "q", yes("bob"))
    before = search(client)
    assert "2 of 2" in hitl.ok("show", "q")
    assert [item["votes"] for item in hitl.json("pending")] == [2]
    inbox = Inbox(client, Actor(person="ada", via="test"))
    assert inbox.show("q").decision is None
    assert len(inbox.page(limit=10)[0]) == 1
    assert search(client) == before
    assert promise_of(client, "q").state == "pending"
    settle_complete(client, NO_GROUPS)
    assert promise_of(client, "q").state == "resolved"


def test_who_votes_otherwise_next_is_told_how_it_was_decided(client: Client) -> None:
    request(client, "q", approvals=2)
    cast(client, "q", yes("ada"))
    cast(client, "q", yes("bob"))
    with pytest.raises(Conflict) as refused:
        decide(client, "q", no("cy"))
    assert refused.value.code == "already-decided"
    assert "bob" in str(refused.value)
    assert [ballot.vote.by for ballot in votes_of(client, "q")] == ["ada", "bob"]


def test_a_worker_settles_it_and_its_run_goes_on_though_nobody_looks(hitl: Hitl) -> None:
    crew = Crew(hitl)
    crew.worker()
    id = crew.ask(approvals=2)
    crew.kill()
    cast(crew.client, id, yes("ada"))
    cast(crew.client, id, no("bob"))
    cast(crew.client, id, yes("cy"))
    crew.worker()
    wait_until(lambda: promise_of(crew.client, "r").state != "pending")
    told = crew.result()
    assert (told["approved"], told["by"]) == (True, "cy")
    assert [vote["by"] for vote in told["votes"]] == ["ada", "bob", "cy"]
    crew.close()


# Two last votes at once

RACES = 20


def vote_on_all(
    url: str,
    answer: Answer,
    ids: list[str],
    line: Barrier,
    told: Queue[list[DecisionResult | str]],
) -> None:
    """Vote on each at the same moment as the other process does."""
    outcomes: list[DecisionResult | str] = []
    with connect(url) as client:
        for id in ids:
            line.wait(PATIENCE_S)
            try:
                outcomes.append(decide(client, id, answer))
            except HitlError as error:
                outcomes.append(str(error))
    told.put(outcomes)


def race(hitl: Hitl, ids: list[str], *answers: Answer) -> list[tuple[DecisionResult | str, ...]]:
    """Return what each of two was told of each request, in the order of their answers."""
    line = PROCESSES.Barrier(2)
    queues = [PROCESSES.Queue() for _ in answers]
    processes = [
        start(vote_on_all, hitl.url, answer, ids, line, told)
        for answer, told in zip(answers, queues, strict=True)
    ]
    told = [queue.get(timeout=PATIENCE_S) for queue in queues]
    for process in processes:
        process.join()
    return list(zip(*told, strict=True))


def test_of_two_last_votes_at_once_one_settles_it_and_the_other_is_told_so(
    hitl: Hitl, client: Client
) -> None:
    ids = [f"q{n}" for n in range(RACES)]
    for id in ids:
        request(client, id, approvals=2, to=["ada", "bob", "cy"])
        decide(client, id, yes("cy"))
    for id, both in zip(ids, race(hitl, ids, yes("ada"), yes("bob")), strict=True):
        audit = audit_of(promise_of(client, id))
        assert [vote.by for vote in audit.votes] == ["cy", audit.by]
        assert all(isinstance(one, DecisionResult) and one.settled and one.audit == audit for one in both)
        assert [one.fresh for one in both if isinstance(one, DecisionResult)].count(True) == 1


def test_of_a_last_yes_and_a_last_no_at_once_one_settles_it_and_both_are_told_the_truth(
    hitl: Hitl, client: Client
) -> None:
    ids = [f"q{n}" for n in range(RACES)]
    for id in ids:
        request(client, id, approvals=2)
        decide(client, id, yes("cy"))
        decide(client, id, no("dan"))
    for id, (approving, rejecting) in zip(ids, race(hitl, ids, yes("ada"), no("bob")), strict=True):
        settled = promise_of(client, id)
        approved = settled.state == "resolved"
        winner, loser = (approving, rejecting) if approved else (rejecting, approving)
        assert isinstance(winner, DecisionResult)
        assert (winner.settled, winner.fresh, winner.audit) == (True, True, audit_of(settled))
        how = "approved by ada" if approved else "rejected by bob"
        assert isinstance(loser, str)
        assert loser.startswith(f"{id} was already {how} via test")
        assert loser.endswith("Nothing was changed.")


# Comments


def test_comments_are_kept_in_order_before_and_after_the_decision_and_decide_nothing(
    client: Client,
) -> None:
    request(client, "q", approvals=2)
    comment(client, "q", "which one?", by="ada", via="test")
    decide(client, "q", yes("ada", comment="this one"))
    assert [item.votes for item in pending(client)[0]] == [1]
    decide(client, "q", yes("bob"))
    comment(client, "q", "\x1b[31mthanks", by="cy", via="test")
    assert [(one.by, one.text) for one in comments_of(client, "q")] == [
        ("ada", "which one?"),
        ("cy", "\x1b[31mthanks"),
    ]
    assert pending(client)[0] == []


def test_an_empty_comment_is_refused(client: Client) -> None:
    request(client, "q")
    with pytest.raises(BadInput):
        comment(client, "q", " \n", by="ada", via="test")
    assert comments_of(client, "q") == []
