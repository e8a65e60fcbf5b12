"""Decisions that are held for a few seconds: they are undone, or made, once, whoever dies."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hitl_cli.auth import links, tokens
from hitl_cli.auth.ended import token_subject
from hitl_cli.auth.held_decisions import why_ended
from hitl_cli.auth.removal import remove
from hitl_cli.client.protocol import ProtocolRequest, as_promise, search
from hitl_cli.client.records import settle
from hitl_cli.client.wire import audit_of
from hitl_cli.engine.backup import back_up
from hitl_cli.errors import Conflict, NotAllowed, NotFound
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.held import DUE_MS, HELD_TAG, LEFT_MS, LOST_MS, PREFIX, Failed, Held, make_left
from hitl_cli.people.actor import Actor, Credential
from hitl_cli.people.contacts import Directory
from hitl_cli.people.groups import NO_GROUPS, Groups
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question
from tests.acting import approval, decide, rejection
from tests.servers import connect_at

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from tests.conftest import Hitl

HOUR_MS = 3_600_000
YES = DecisionInput(verdict="approve", comment="fine")


def of(client: Client, person: str = "reviewer", groups: Groups = NO_GROUPS) -> Inbox:
    return Inbox(client, Actor(person=person, via="web", groups=groups))


def ask(client: Client, id: str, deadline_ms: int = HOUR_MS, to: tuple[str, ...] = (), **more: int) -> None:
    of(client, "asker").ask(Question(prompt="?", to=to, **more), id=id, deadline_ms=deadline_ms)  # type: ignore[arg-type]


def held(client: Client, id: str, said: DecisionInput = YES, person: str = "reviewer") -> Held:
    ask(client, id, 2 * HOUR_MS)
    found = of(client, person).hold(id, said)
    assert isinstance(found, Held)
    return found


def request(client: Client, id: str) -> Promise:
    return of(client).find(id).promise


def test_a_held_decision_is_not_recorded_before_it_is_made_and_then_once(client: Client) -> None:
    one = held(client, "held-1")
    assert (one.standing, request(client, "held-1").state) == ("held", "pending")
    for _ in range(2):
        assert of(client).make_held(one, why_ended).standing == "made"
    audit = audit_of(request(client, "held-1"))
    assert (audit.by, audit.via, audit.comment) == ("reviewer", "web", "fine")
    assert [now.standing for now in of(client).held([one.id])] == ["made"]
    with pytest.raises(Conflict):
        of(client).undo(one.id, why_ended)


def test_what_is_undone_is_never_made_and_can_be_decided_otherwise(client: Client) -> None:
    one = held(client, "undone-1")
    assert (
        of(client).undo(one.id, why_ended).standing == of(client).undo(one.id, why_ended).standing == "undone"
    )
    assert of(client).make_held(one, why_ended).standing == "undone"
    assert request(client, "undone-1").state == "pending"
    decide(client, "undone-1", rejection(by="reviewer", via="web", reason="no"))
    assert request(client, "undone-1").state == "rejected"


def test_only_its_author_sees_and_undoes_it(client: Client) -> None:
    one = held(client, "own-1")
    assert of(client, "other").held([one.id]) == []
    with pytest.raises(NotFound):
        of(client, "other").undo(one.id, why_ended)
    assert [now.standing for now in of(client, "REVIEWER").held([one.id, "own-1"])] == ["held"]


def test_another_decision_in_the_meantime_counts_and_the_held_one_says_why_it_failed(client: Client) -> None:
    one = held(client, "late-1")
    decide(client, "late-1", rejection(by="lead", via="cli", reason="no."))
    made = of(client).make_held(one, why_ended)
    assert (made.standing, "lead" in (made.problem or "")) == ("failed", True)
    assert "no. Nothing" in (made.problem or "")  # one full stop
    assert audit_of(request(client, "late-1")).by == "lead"


def test_who_may_not_answer_holds_nothing(client: Client) -> None:
    ask(client, "others-1", to=("lead",))
    with pytest.raises(NotAllowed):
        of(client).hold("others-1", YES)
    assert not any(HELD_TAG in one.tags for one in search(client, state="pending"))


def test_a_near_deadline_is_decided_at_once(client: Client) -> None:
    ask(client, "near-1", deadline_ms=LEFT_MS)
    assert not isinstance(of(client).hold("near-1", YES), Held)
    assert request(client, "near-1").state == "resolved"


def test_a_held_vote_is_a_vote(client: Client) -> None:
    ask(client, "votes-1", approvals=2)
    one = of(client).hold("votes-1", YES)
    assert isinstance(one, Held)
    decide(client, "votes-1", approval(by="lead", via="cli"))
    assert of(client).make_held(one, why_ended).standing == "made"
    assert {vote.by for vote in audit_of(request(client, "votes-1")).votes} == {"lead", "reviewer"}


def test_who_is_in_a_group_by_their_sign_in_alone_may_have_a_decision_held(client: Client) -> None:
    known = Groups(groups={"ops": "ops"}, members={"ops": frozenset()}, by_sign_in=frozenset({"ops"}))
    signed_in = msgspec.structs.replace(known, members={"ops": frozenset({"reviewer"})})
    of(client, "asker").ask(Question(prompt="?", to=("group:ops",)), id="ops-1", deadline_ms=HOUR_MS)
    one = of(client, groups=signed_in).hold("ops-1", YES)
    assert isinstance(one, Held)
    assert of(client, groups=known).make_held(one, why_ended).standing == "made"


@pytest.mark.only("file", reason="moves the clock of its client")
def test_an_undo_after_it_was_due_does_not_count(hitl: Hitl) -> None:
    now = [1_700_000_000_000]
    with hitl.client(lambda: now[0]) as client:
        one = held(client, "slow-1")
        now[0] += DUE_MS
        with pytest.raises(Conflict):
            of(client).undo(one.id, why_ended)
        assert request(client, "slow-1").state == "resolved"
        assert [late.standing for late in of(client).held([one.id])] == ["made"]


@pytest.mark.only("file", reason="moves the clock of its client")
def test_an_undo_that_the_server_takes_too_late_makes_each_of_many(
    hitl: Hitl, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_700_000_000_000]

    def settle_late(*arguments: Any) -> Promise:
        now[0] += 1
        return settle(*arguments)

    with hitl.client(lambda: now[0]) as client:
        ids = ["slow-3", "slow-4"]
        for id in ids:
            ask(client, id)
        one = of(client).hold_many(list(of(client).among(ids).values()), YES)
        now[0] += DUE_MS - 1
        monkeypatch.setattr("hitl_cli.inbox.held.settle", settle_late)
        with pytest.raises(Conflict):
            of(client).undo(one.id, why_ended)
        assert [request(client, id).state for id in ids] == ["resolved", "resolved"]


@pytest.mark.only("file", reason="moves the clock of its client")
def test_an_undo_that_is_too_late_says_if_the_decision_did_not_count(hitl: Hitl) -> None:
    now = [1_700_000_000_000]
    with hitl.client(lambda: now[0]) as client:
        one = held(client, "slow-2")
        decide(client, "slow-2", rejection(by="lead", via="cli", reason="no"))
        now[0] += DUE_MS
        with pytest.raises(Conflict) as told:
            of(client).undo(one.id, why_ended)
        assert "already rejected by lead" in str(told.value)
        assert [late.standing for late in of(client).held([one.id])] == ["failed"]


def test_what_a_person_who_is_removed_has_held_is_not_made(client: Client) -> None:
    one, other = held(client, "removed-1"), held(client, "removed-2", person="lead")
    remove(client, "REVIEWER", NO_GROUPS, by="lead", via="cli")
    assert [of(client).make_held(each, why_ended).standing for each in (one, other)] == ["failed", "made"]
    assert request(client, "removed-1").state == "pending"


def test_what_was_decided_with_a_token_that_is_revoked_meanwhile_is_not_made(client: Client) -> None:
    token, _ = tokens.create(client, "reviewer", ["decide"], life_ms=HOUR_MS, by="ops")
    credential = Credential(made_at=token.created_at, subjects=(token_subject(token.id),))
    ones = []
    for id in ("token-1", "token-2"):
        ask(client, id)
        ones.append(Inbox(client, Actor(person="reviewer", via="web", credential=credential)).hold(id, YES))
        assert isinstance(ones[-1], Held)
    assert of(client).make_held(ones[0], why_ended).standing == "made"  # type: ignore[arg-type]
    tokens.revoke(client, token.id, by="ops")
    made = of(client).make_held(ones[1], why_ended)  # type: ignore[arg-type]
    assert (made.standing, "was ended" in (made.problem or "")) == ("failed", True)
    assert request(client, "token-2").state == "pending"


@pytest.mark.parametrize("which", ["this", "all", "other"])
def test_what_was_decided_by_a_link_that_is_revoked_meanwhile_is_not_made(client: Client, which: str) -> None:
    id = f"link-{which}"
    ask(client, id)
    link, other = (links.make(client, id, "reviewer") for _ in range(2))
    credential = Credential(made_at=link.made_at, link=link.id)
    actor = Actor(person="reviewer", via="link", only=id, credential=credential)
    one = Inbox(client, actor).hold(id, YES)
    assert isinstance(one, Held)
    if which == "all":
        links.revoke_all(client, id, "reviewer", by="ops", via="cli")
    else:
        links.revoke_link(client, link if which == "this" else other, by="ops", via="cli")
    made = Inbox(client, actor).make_held(one, why_ended).standing
    assert made == ("made" if which == "other" else "failed")


def test_it_is_made_by_the_rules_of_that_moment(client: Client) -> None:
    of(client, "asker").ask(
        Question(prompt="?", to=("reviewer",), reassign="assignees"), id="moved-1", deadline_ms=HOUR_MS
    )
    one = of(client).hold("moved-1", YES)
    assert isinstance(one, Held)
    of(client, "asker").assign("moved-1", ["lead"], Directory(), "default")
    made = of(client).make_held(one, why_ended)
    assert (made.standing, "lead" in (made.problem or "")) == ("failed", True)


@pytest.mark.only("file", reason="moves the clock of its client")
def test_what_a_restored_backup_has_is_made_only_if_it_is_fresh(hitl: Hitl, tmp_path: Path) -> None:
    now = [1_700_000_000_000]
    with hitl.client(lambda: now[0]) as client:
        undone, kept = held(client, "backup-1"), held(client, "backup-2")
        back_up(hitl.database, tmp_path / "copy.db", replace=False, progress=lambda _done, _all: None)
        of(client).undo(undone.id, why_ended)
        assert of(client).make_held(kept, why_ended).standing == "made"
    shutil.copy(tmp_path / "copy.db", old := tmp_path / "old.db")
    for file, later_ms, state in ((tmp_path / "copy.db", LEFT_MS, "resolved"), (old, LOST_MS + 1, "pending")):
        with connect_at(f"sqlite:///{file}", lambda late=later_ms: now[0] + late) as client:  # type: ignore[misc]
            make_left(client, NO_GROUPS, why_ended)
            assert request(client, "backup-2").state == state


def test_one_decision_on_many_is_made_on_each_and_says_of_which_it_could_not_be_made(client: Client) -> None:
    ids = [f"many-{n}" for n in range(5)]
    for id in ids[:4]:
        ask(client, id)
    ask(client, ids[4], approvals=2)
    every = of(client).among([*ids, "none"])
    assert list(every) == ids
    one = of(client).hold_many(list(every.values()), YES, [Failed("many-x", "it has changed.")])
    assert (one.standing, one.decided, one.failures) == ("held", 5, 1)
    decide(client, ids[1], rejection(by="lead", via="cli", reason="no"))
    decide(client, ids[2], approval(by="reviewer", via="web"))  # as by a process that died meanwhile
    made = of(client).make_held(one, why_ended)
    assert (made.standing, made.decided, made.failures) == ("made", 4, 2)
    assert [failed.request for failed in made.failed] == ["many-x", ids[1]]
    states = [request(client, id).state for id in ids]
    assert states == ["resolved", "rejected", "resolved", "resolved", "pending"]
    assert audit_of(request(client, ids[0])).by == "reviewer"
    with pytest.raises(Conflict):
        of(client).undo(one.id, why_ended)


def test_what_is_no_id_of_a_held_decision_names_none(client: Client) -> None:
    odd = [f"{PREFIX}{text}" for text in ("\udcff", "\0", "a" * 9_000, "")]
    assert of(client).held(odd) == []


@pytest.mark.only("file", reason="moves the clock of its client")
def test_what_a_dead_process_has_left_is_made_by_another(hitl: Hitl) -> None:
    now = [1_700_000_000_000]
    with hitl.client(lambda: now[0]) as client:
        held(client, "left-1")
        broken = held(client, "left-2")
        bad = {"id": "hitl-held-x", "timeoutAt": now[0] + HOUR_MS, "tags": {HELD_TAG: "1"}}
        as_promise(client.call_many([ProtocolRequest("promise.create", {**bad, "param": {}})])[0])
        of(client).undo(broken.id, why_ended)
        make_left(client, NO_GROUPS, why_ended)
        assert request(client, "left-1").state == "pending"
        now[0] += LEFT_MS
        make_left(client, NO_GROUPS, why_ended)
        assert (request(client, "left-1").state, request(client, "left-2").state) == ("resolved", "pending")
