"""What the asker or the settings demand of a decision holds where it is made, and where it is used.

Nothing else is believed: not what is stored, and not what a gateway says.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from resonate.context import Context  # noqa: TC002 - the SDK reads annotations

from hitl_cli import AsyncHitl, ask, workflow
from hitl_cli import Hitl as PythonApi
from hitl_cli.agents.decide_call import HookOptions, decide_call
from hitl_cli.agents.tool_call import ToolCall
from hitl_cli.client.protocol import call, get_promise
from hitl_cli.client.wire import Audit, Vote, audit_of, encode, fresh_id
from hitl_cli.errors import BadInput, NotAllowed, RunFailed, Unproven
from hitl_cli.format.times import instant
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.ask import decision_of
from hitl_cli.inbox.open_requests import OpenRequests
from hitl_cli.inbox.pending import EVERYTHING, settle_complete, spelled_by, summaries
from hitl_cli.inbox.proof import verified
from hitl_cli.inbox.votes import create_request
from hitl_cli.ledger.receipts import item_of
from hitl_cli.mcp.desk import BackendDesk
from hitl_cli.people.sight import Sight
from hitl_cli.proof.signing import Signer
from hitl_cli.python_api.gateway_backend import GatewayBackend
from hitl_cli.python_api.server_backend import ServerBackend
from hitl_cli.requests.decision import KeptDecision
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.demand import Allowance, Demand, raised
from hitl_cli.requests.notification import Notification
from hitl_cli.requests.question import Instead, Question
from hitl_cli.requests.question_input import QuestionInput
from hitl_cli.rules.rule import NewRule
from hitl_cli.rules.rules import Rules
from hitl_cli.testing.harness import HitlTest
from hitl_cli.testing.test_backend import StillWaiting
from hitl_cli.worker.callbacks import compose
from tests.gateway.conftest import start_gateway
from tests.inbox.requests import HOUR_MS, request
from tests.proof.signers import approve, directory, inbox, public

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.people.groups import Groups
    from tests.conftest import Hitl
    from tests.gateway.conftest import StartGateway

__all__ = ["start_gateway"]

PLAIN = directory().members
SIGNED = directory(policy={"pay-*": Demand(proof="signed")}).members
BOTH = directory(policy={"pay-*": Demand(proof="signed", approvals=2)}).members
TWO = directory(policy={"pay-*": Demand(approvals=2)}).members
ASSIGNABLE = directory(
    policy={"pay-*": Demand(approvals=2)}, allowances={"pay-*": Allowance(reassign="assignees", extend="2d")}
)


@pytest.fixture
def client(hitl: Hitl) -> Iterator[Client]:
    """A client of a fresh server."""
    with hitl.client() as opened:
        yield opened


def put(client: Client, groups: Groups, id: str = "pay-7", prompt: str = "Pay?", **options: Any) -> Question:
    """Ask as a program does, and return what is stored."""
    desk = inbox(client, groups, "agent")
    return desk.ask(Question(prompt=prompt, **options), id=id, deadline_ms=HOUR_MS).question


def settle(client: Client, id: str, data: Any = True, audit: Audit | None = None) -> None:
    """Settle a promise as any tool of Resonate can."""
    value = encode(data, (audit or Audit(id="x", by="lead", via="cli", at=client.now())).headers())
    assert call(client, "promise.settle", id=id, state="resolved", value=value).status == 200


def stored(client: Client, id: str) -> Promise:
    promise = get_promise(client, id)
    assert promise is not None
    return promise


def used(client: Client, groups: Groups, id: str = "pay-7", asked: Question | Demand | None = None) -> bool:
    """Use the decision, as all who ask without a workflow do: whether it is a yes. Raises Unproven."""
    item = summaries(client, [id])[id]
    return decision_of(item.promise, item.asked, groups, item.run, asked).approved


def test_who_it_was_assigned_to_proves_it_and_who_was_asked_before_does_not(client: Client) -> None:
    for id in ("pay-8", "pay-9"):
        put(client, PLAIN, id, to=("reviewer",), reassign="anyone", proof="signed")
        inbox(client, PLAIN, "agent").assign(id, ["lead"], directory(), "default")
    approve(client, PLAIN, "pay-8", "lead", "lead")
    item = summaries(client, ["pay-8"])["pay-8"]
    assert verified(item, PLAIN).state == "proven"
    assert verified(item_of(item.promise, item.run), PLAIN).state == "proven"
    assert used(client, PLAIN, "pay-8")
    assert decision_of(item.promise, item.asked, PLAIN, amendments=item.amendments).approved
    later = msgspec.structs.replace(item.amendments[0], number=2, to=("ops",))
    by_other = (*item.amendments, later)
    with pytest.raises(Unproven, match="lead is not allowed to answer it"):
        decision_of(item.promise, item.asked, PLAIN, amendments=by_other)
    with pytest.raises(NotAllowed):
        approve(client, PLAIN, "pay-9", "reviewer", "reviewer")


# Policy


def test_a_policy_adds_to_what_was_asked_and_takes_nothing_away() -> None:
    policy = {"pay-*": Demand(proof="signed", approvals=2), "*-7": Demand(proof="passkey"), "x": Demand()}
    question = raised(Question(prompt="?", proof="signed", approvals=3), policy, ["pay-7"])
    assert (question.proof, question.approvals, question.policy) == ("passkey", 3, ("pay-*", "*-7"))
    assert raised(question, policy, ["pay-7"]) is question
    other = Question(prompt="?")
    assert raised(other, policy, ["other", "x"]) is other


def test_people_see_what_a_policy_demands_and_nothing_less_is_decided(client: Client) -> None:
    asked = put(client, BOTH, to=("group:board",), arguments={"amount": 1})
    assert (asked.proof, asked.approvals, asked.policy) == ("signed", 2, ("pay-*",))
    assert put(client, BOTH, to=("group:board",), arguments={"amount": 1}) == asked
    assert put(client, PLAIN, to=("group:board",), arguments={"amount": 1}) == asked
    with pytest.raises(NotAllowed, match="sign"):
        approve(client, BOTH, "pay-7", "lead")
    approve(client, BOTH, "pay-7", "lead", "lead")
    approve(client, BOTH, "pay-7", "lead", "lead2")
    assert stored(client, "pay-7").state == "pending"
    approve(client, BOTH, "pay-7", "ops", "ops")
    assert used(client, BOTH)


def test_a_policy_holds_for_a_request_that_was_asked_before(client: Client) -> None:
    put(client, PLAIN)
    assert spelled_by(BOTH, summaries(client, ["pay-7"])["pay-7"]).asked.approvals == 2
    with pytest.raises(NotAllowed):
        approve(client, SIGNED, "pay-7", "lead")
    approve(client, PLAIN, "pay-7", "lead", "lead")
    assert used(client, SIGNED)
    with pytest.raises(Unproven, match="too few"):
        used(client, BOTH)


def test_a_policy_of_several_people_counts_them_although_nobody_signs(client: Client) -> None:
    put(client, TWO)
    approve(client, TWO, "pay-7", "lead")
    assert stored(client, "pay-7").state == "pending"
    approve(client, TWO, "pay-7", "ops")
    assert used(client, TWO)
    put(client, PLAIN, "pay-8")
    settle(client, "pay-8")
    with pytest.raises(Unproven):
        used(client, TWO, "pay-8")


def test_settings_may_demand_several_people_and_allow_to_assign(client: Client) -> None:
    put(client, ASSIGNABLE.members, to=("lead", "ops"))
    for person in ("lead", "ops"):
        approve(client, ASSIGNABLE.members, "pay-7", person)
    asked = Question(prompt="Pay?", to=("lead", "ops"))
    assert used(client, ASSIGNABLE.members, asked=asked)
    put(client, PLAIN, "pay-8", to=("lead",), reassign="anyone")
    approve(client, PLAIN, "pay-8", "lead", "lead")
    with pytest.raises(Unproven, match="changed"):  # where a signature is needed, its author says it
        used(client, SIGNED, "pay-8", Question(prompt="Pay?", to=("lead",)))


def test_no_rule_and_no_deadline_does_what_a_policy_demands_of_people(client: Client) -> None:
    rules = Rules(client, inbox(client, PLAIN, "lead").actor)
    rules.add(NewRule(where={"amount": 1}, asker="agent"), life_ms=HOUR_MS)
    put(client, SIGNED, arguments={"amount": 1})
    assert stored(client, "pay-7").state == "pending"
    with pytest.raises(BadInput):
        put(client, SIGNED, "pay-8", on_deadline=Instead(value=True))


@pytest.mark.parametrize(
    ("asked", "policy"),
    [
        ({"to": ("lead",)}, {"*": Demand(approvals=2)}),
        ({"on_deadline": "approve"}, {"*": Demand(proof="signed")}),
    ],
)
def test_what_nobody_could_answer_under_a_policy_is_refused(
    client: Client, asked: dict[str, Any], policy: dict[str, Demand]
) -> None:
    with pytest.raises(BadInput):
        put(client, directory(policy=policy).members, **asked)


# What is stored is not believed


def test_an_approval_by_the_deadline_is_no_proof(client: Client) -> None:
    promise = request(client, "pay-7", on_deadline="approve", proof="signed")
    late = msgspec.structs.replace(promise, state="rejected_timedout", settled_at=promise.timeout_at)
    with pytest.raises(Unproven):
        decision_of(late, Question(prompt="Well?", on_deadline="approve"), PLAIN)


def test_a_request_that_was_changed_is_not_what_was_asked(client: Client) -> None:
    asked = Question(prompt="Pay 10?", proof="signed", to=("lead",))
    for id, other in (
        ("prompt", {"prompt": "Pay 99?"}),
        ("people", {"prompt": "Pay 10?", "to": ("ops", "lead")}),
        ("proof", {"prompt": "Pay 10?", "to": ("lead",), "proof": None}),
    ):
        put(client, PLAIN, id, **cast("dict[str, Any]", {"proof": "signed", **other}))
        approve(client, PLAIN, id, "lead", "lead")
        assert used(client, PLAIN, id, Demand(proof="signed"))
        with pytest.raises(Unproven, match="changed"):
            used(client, PLAIN, id, asked)


def test_what_the_caller_demands_holds_whatever_is_stored(client: Client) -> None:
    put(client, PLAIN)
    settle(client, "pay-7")
    assert used(client, PLAIN)
    with pytest.raises(Unproven):
        used(client, PLAIN, asked=Demand(proof="signed"))


def test_nobody_proves_their_own_request_that_others_must_answer(client: Client) -> None:
    desk = inbox(client, PLAIN, "lead")
    desk.ask(Question(prompt="Pay?", proof="signed", allow_self=False), id="own", deadline_ms=HOUR_MS)
    put(client, PLAIN, "free", "Pay?", proof="signed")
    with pytest.raises(NotAllowed):
        approve(client, PLAIN, "own", "lead", "lead")
    item = summaries(client, ["own"])["own"]
    anybody = msgspec.structs.replace(item, question=msgspec.structs.replace(item.asked, allow_self=True))
    from hitl_cli.inbox.decide import Settling, begin

    own = inbox(client, PLAIN, "lead", "lead")
    begun = begin(client, own.actor, anybody, DecisionInput(verdict="approve"), signer=own.signer)
    assert isinstance(begun, Settling)
    client.call_many([begun.request])
    with pytest.raises(Unproven, match="is not allowed to answer"):
        used(client, PLAIN, "own")


def test_who_waits_for_a_request_as_for_a_run_gets_no_unproven_yes(hitl: Hitl, client: Client) -> None:
    put(client, PLAIN, proof="signed")
    settle(client, "pay-7")
    hitl.fails(4, "wait", "pay-7", code="unproven")
    with PythonApi(hitl.url) as python, pytest.raises(Unproven):
        python.result("pay-7")


def test_a_program_asks_again_after_an_approval_without_proof(hitl: Hitl, client: Client) -> None:
    for id in ("pay-7", "pay-7-2", "pay-7-3"):
        put(client, PLAIN, id, proof="signed")
    settle(client, "pay-7")
    settle(client, "pay-7-2")
    inbox(client, PLAIN, "lead", "lead").decide("pay-7-3", DecisionInput(verdict="reject"), whole=True)
    asked: dict[str, Any] = {"id": "pay-7", "proof": "signed", "timeout": "1ms"}
    with PythonApi(hitl.url, person="agent") as python:
        decision = python.ask("Pay?", on_unproven="ask_again", **asked)
        assert (decision.id, decision.approved) == ("pay-7-3", False)
        with pytest.raises(Unproven):
            python.ask("Pay?", **asked)
        with pytest.raises(BadInput):
            python.ask("Pay?", on_unproven=cast("Any", "guess"), **asked)

    async def awaited() -> str:
        async with AsyncHitl(hitl.url, person="agent") as python:
            return (await python.ask("Pay?", on_unproven="ask_again", **asked)).id

    assert asyncio.run(awaited()) == "pay-7-3"


def test_an_ssh_key_is_not_asked_to_sign_what_needs_a_passkey(client: Client) -> None:
    put(client, PLAIN, proof="passkey")
    desk = inbox(client, PLAIN, "lead")
    desk.signer = Signer("ssh", lambda _: pytest.fail("signed in vain"))
    for verdict in ("approve", "reject"):
        with pytest.raises(NotAllowed) as refused:
            desk.decide("pay-7", DecisionInput(verdict=cast("Any", verdict)), whole=True)
        assert refused.value.code == "proof-needed"


def test_an_unproven_yes_is_posted_to_no_callback(client: Client) -> None:
    put(client, PLAIN, proof="signed")
    settle(client, "pay-7")
    told = compose(client, Notification(request="pay-7", occasion="asked"), directory())
    assert isinstance(told, str)


def test_a_policy_holds_for_what_the_asker_calls_a_request_whatever_the_database_calls_it(
    client: Client,
) -> None:
    """By its tool, its key, or its id, which a token that may only ask gets with a prefix."""
    policy = directory(policy={"Bash": Demand(proof="signed")}).members
    put(client, PLAIN)
    settle(client, "pay-7")
    assert used(client, policy)
    item = summaries(client, ["pay-7"])["pay-7"]
    with pytest.raises(Unproven):
        decision_of(item.promise, item.asked, policy, names=["Bash"])
    asker = msgspec.structs.replace(inbox(client, SIGNED, "agent").actor, may=frozenset({"ask"}))
    asked = Inbox(client, asker).ask(Question(prompt="Pay?"), id="pay-8", deadline_ms=HOUR_MS)
    assert (asked.id, asked.question.proof) == ("ask-pay-8", "signed")


def test_a_hook_goes_on_with_a_proven_yes_only(hitl: Hitl, client: Client) -> None:
    actor = msgspec.structs.replace(inbox(client, PLAIN, "agent").actor, may=frozenset({"ask"}))
    options = HookOptions(to=("lead",), proof="signed", wait="10ms", then="deny")

    def answer(number: int) -> str:
        call = ToolCall(
            session_id="s",
            hook_event_name="PreToolUse",
            tool_name="Bash",
            tool_input={"command": "make"},
            tool_use_id=f"t{number}",
        )
        output = decide_call(lambda: ServerBackend(hitl.url, None, actor), "claude", call, options)
        assert output is not None
        return str(output["hookSpecificOutput"]["permissionDecision"])

    assert [answer(1), answer(2)] == ["deny", "deny"]
    first, second = (item.id for item in inbox(client, PLAIN, "lead").list()[0])
    approve(client, PLAIN, first, "lead", "lead")
    settle(client, second, {"tool": "Bash", "input": {"command": "make"}, "cwd": None})
    assert [answer(1), answer(2)] == ["allow", "deny"]

    # As the tool `approval_prompt`, which knows what it asked.
    other = QuestionInput(prompt="Run something else?", proof="signed")
    desk = BackendDesk(ServerBackend(hitl.url, None, actor))
    assert asyncio.run(desk.decision(first, 0)) is not None
    with pytest.raises(Unproven, match="changed"):
        asyncio.run(desk.decision(first, 0, other))


# Quorum


def test_a_vote_without_a_good_signature_does_not_count(client: Client) -> None:
    put(client, PLAIN, proof="signed", approvals=2, to=("group:board",))
    approve(client, PLAIN, "pay-7", "lead", "lead")
    promise = stored(client, "pay-7")
    for number, by in enumerate(("ops", "stranger"), 1):
        forged = Audit(id=fresh_id(), by=by, via="cli", at=client.now())
        vote = Vote(by=by, verdict="approve", at=client.now(), data=True)
        client.call_many([create_request(promise, vote, forged, number if by == "ops" else 1)])
    settle_complete(client, PLAIN)
    assert stored(client, "pay-7").state == "pending"
    assert inbox(client, PLAIN, "lead").list()[0][0].votes == 1
    if OpenRequests.suits(client):
        known = OpenRequests(client)
        known.refresh()
        sight = Sight(inbox(client, PLAIN, "lead").actor)
        assert [item.votes for item in known.listed(EVERYTHING, "age", None, sight)[0]] == [1]
    approve(client, PLAIN, "pay-7", "ops", "ops")
    assert [vote.by for vote in audit_of(stored(client, "pay-7")).votes] == ["lead", "ops"]
    assert verified(summaries(client, ["pay-7"])["pay-7"], PLAIN).state == "proven"


# A workflow


@workflow
async def pay(ctx: Context, again: bool = False) -> str:
    decision = await ask(ctx, "Pay?", to="lead", proof="signed", on_unproven="ask_again" if again else "fail")
    return f"paid by {decision.by}" if decision.approved else f"no: {decision.reason}"


@workflow(name="pay-plain")
async def pay_plain(ctx: Context) -> str:
    return f"paid by {(await ask(ctx, 'Pay?')).by}"


@workflow(name="pay-lead")
async def pay_lead(ctx: Context, again: bool = False) -> str:
    people = ["lead", "boss"]
    decision = await ask(ctx, "Pay?", to=people, on_unproven="ask_again" if again else "fail")
    return f"paid by {decision.by}"


@contextmanager
def worker(folder: Path, groups_of: Any) -> Iterator[HitlTest]:
    """A worker in this process, with the settings of the people."""
    from hitl_cli.client.connect import file_url

    test = HitlTest(file_url(folder / "test.db"), [pay, pay_plain, pay_lead], groups_of)
    try:
        yield test
    finally:
        test.close()


@pytest.fixture
def work(tmp_path: Path) -> Iterator[HitlTest]:
    policy = {"pay-plain": Demand(proof="signed", approvals=2)}
    with worker(tmp_path, directory(policy=policy)) as test:
        yield test


def asked_by(test: HitlTest) -> tuple[Client, str]:
    """Return a client, and the id of the newest open request."""
    *_, opened = test.pending()
    return test._backend.client(), opened.id


def test_a_run_goes_on_with_a_proven_yes_only(work: HitlTest) -> None:
    run = work.start(pay)
    client, id = asked_by(work)
    settle(client, id)
    with pytest.raises(RunFailed, match="did not sign"):
        run.result()
    run = work.start(pay)
    client, id = asked_by(work)
    approve(client, work._groups, id, "lead", "lead")
    assert run.result() == "paid by lead"


def test_a_run_may_ask_again_after_a_forged_yes(work: HitlTest) -> None:
    run = work.start(pay, True)
    for _ in range(2):
        client, id = asked_by(work)
        settle(client, id)
    [shown] = [work.client.show(one.id) for one in work.pending()]
    assert shown.proof == "signed"
    approve(client, work._groups, shown.id, "lead", "lead")
    assert run.result() == "paid by lead"


def test_a_policy_holds_in_a_workflow(work: HitlTest) -> None:
    run = work.start(pay_plain)
    client, id = asked_by(work)
    question = summaries(client, [id])[id].asked
    assert (question.proof, question.approvals) == ("signed", 2)
    for person in ("lead", "ops"):
        with pytest.raises(NotAllowed):
            approve(client, work._groups, id, person)
        approve(client, work._groups, id, person, person)
    assert run.result() == "paid by ops"


def test_the_result_of_a_step_that_was_written_by_hand_is_no_yes(work: HitlTest) -> None:
    """Who can settle promises settles the step that asks, and not the request."""
    first = work.start(pay)
    client, id = asked_by(work)
    approve(client, work._groups, id, "lead", "lead")
    assert first.result() == "paid by lead"
    good = stored(client, id.rpartition(".")[0]).value
    assert good is not None
    for forged in ("another run's", "its own", "unknown"):
        run = work.start(pay)
        client, id = asked_by(work)
        step = id.rpartition(".")[0]
        own = KeptDecision(
            id=id if forged == "its own" else "x", approved=True, data=True, at=instant(work.now)
        )
        value = good if forged == "another run's" else encode(msgspec.to_builtins(own))
        assert call(client, "promise.settle", id=step, state="resolved", value=value).status == 200
        call(client, "promise.settle", id=id, state="rejected", value=encode({"message": "no"}))
        with pytest.raises((RunFailed, StillWaiting), match=r"without valid proof|not finished"):
            run.result()


def test_a_run_takes_the_approvals_of_those_to_whom_the_settings_let_it_be_assigned(tmp_path: Path) -> None:
    with worker(tmp_path, ASSIGNABLE) as test:
        run = test.start(pay_lead)
        client, id = asked_by(test)
        inbox(client, test._groups, "lead").assign(id, ["lead", "ops"], ASSIGNABLE, "default")
        for person in ("lead", "ops"):
            approve(client, test._groups, id, person)
        assert run.result() == "paid by ops"


def forge(folder: Path, client: Client, test: HitlTest, id: str) -> None:
    """Write into the database that anyone may assign a request, by the settings, and assign it."""
    before = summaries(client, [id])[id].asked
    asked = msgspec.structs.replace(before, reassign="anyone", granted=("reassign",))
    with sqlite3.connect(folder / "test.db") as db:
        param = msgspec.json.encode(encode(msgspec.to_builtins(asked))).decode()
        db.execute("UPDATE promises SET param = ? WHERE id = ?", (param, id))
    db.close()
    inbox(client, test._groups, "ops").assign(id, ["ops"], directory(), "default")


def test_who_writes_the_database_lets_nobody_sign_whom_the_author_has_not_asked(tmp_path: Path) -> None:
    with worker(tmp_path, directory(policy={"pay-*": Demand(proof="signed")})) as test:
        run = test.start(pay_lead)
        client, id = asked_by(test)
        forge(tmp_path, client, test, id)
        own = KeptDecision(id=id, approved=True, data=True, at=instant(test.now))
        kept, step = encode(msgspec.to_builtins(own)), id.rpartition(".")[0]
        assert call(client, "promise.settle", id=step, state="resolved", value=kept).status == 200
        approve(client, test._groups, id, "ops", "ops")
        with pytest.raises(RunFailed, match="without valid proof"):
            run.result()


def test_who_writes_the_database_has_nobody_asked_again_whom_the_author_has_not_asked(tmp_path: Path) -> None:
    with worker(tmp_path, directory(policy={"pay-*": Demand(proof="signed")})) as test:
        test.start(pay_lead, True)
        client, id = asked_by(test)
        forge(tmp_path, client, test, id)
        settle(client, id)
        again = asked_by(test)[1]
        assert again != id
        assert summaries(client, [again])[again].to == ("lead", "boss")


# At a gateway


def test_a_client_checks_what_a_gateway_says_with_its_own_keys(
    hitl: Hitl, start_gateway: StartGateway
) -> None:
    (hitl.folder / "hitl.toml").write_text(
        f'[people.lead]\nssh = ["{public("thief")}", "{public("lead")}"]\n'
    )
    gateway = start_gateway()
    backend = GatewayBackend(gateway.url, None, PLAIN)
    believing = GatewayBackend(gateway.url, None)
    thieves = directory(
        people={"lead": msgspec.structs.replace(directory().people["lead"], ssh=(public("thief"),))}
    )
    with hitl.client() as client:
        for id, groups, key in (("stolen", thieves.members, "thief"), ("good", PLAIN, "lead")):
            asked = QuestionInput(prompt="Pay?", id=id, to=("lead",), proof="signed")
            assert backend.put(asked) == id
            approve(client, groups, id, "lead", key)
        good = backend.decision("good", 0, asked)
        assert good is not None
        assert (good.approved, good.by) == (True, "lead")
        believed = believing.decision("stolen", 0)
        assert believed is not None
        assert believed.approved
        with pytest.raises(Unproven):
            backend.decision("stolen", 0)
        other = msgspec.structs.replace(asked, prompt="Pay 10?")
        with pytest.raises(Unproven, match="changed"):
            backend.decision("good", 0, other)
        backend.put(QuestionInput(prompt="Pay?", id="plain"))
        approve(client, PLAIN, "plain", "lead")
        with pytest.raises(Unproven):
            backend.decision("plain", 0, Demand(proof="signed"))
