"""`hitl_test`: people and a clock for tests of workflows."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from resonate.context import Context

from hitl_cli import ask, ask_all, workflow
from hitl_cli.errors import BadInput, NotAllowed, NotCovered, RunFailed, TimedOut
from hitl_cli.testing import NotAsked, StillWaiting, harness, hitl_test
from tests.apps import asks


@workflow
async def deploy(ctx: Context, version: str) -> str:
    decision = await ask(ctx, f"Deploy {version}?", to="reviewer", deadline="2d", remind="8h")
    if not decision.approved:
        return f"not deployed: {decision.reason}"
    return str(await ctx.run(push, version))


def push(_ctx: Context, version: str) -> str:
    return f"deployed {version}"


@workflow
async def naps(ctx: Context) -> str:
    await ctx.sleep(timedelta(days=3))
    later = await ask(ctx, "Still there?", deadline="1d", on_deadline="approve")
    return f"{later.expired}"


@workflow(name="pair-review")
async def both(ctx: Context) -> list[str | None]:
    decisions = await ask_all(ask(ctx, "Legal?", to="group:legal", approvals=2), ask(ctx, "Security?"))
    return [decision.by for decision in decisions]


attempts: list[int] = []


@workflow
async def flaky(ctx: Context) -> str:
    return str(await ctx.run(fails_twice))


def fails_twice(_ctx: Context) -> str:
    attempts.append(1)
    if len(attempts) <= 2:
        raise ValueError("the printer is on fire")
    return "printed"


@workflow
async def broken(ctx: Context) -> None:
    await ask(ctx, "")


@workflow
async def cleanup(ctx: Context) -> str:
    decision = await ask(ctx, "Remove?", arguments={"path": "build"}, valid_for="10m")
    await ctx.sleep(timedelta(minutes=decision.data["wait"]))
    return str(await ctx.run(remove, decision))


def remove(_ctx: Context, decision: Any) -> str:
    try:
        decision.covers({"path": "build"})
    except NotCovered as error:
        return error.code
    return "removed"


@workflow
async def endless(ctx: Context) -> None:
    await ctx.run(hangs)


async def hangs(_ctx: Context) -> None:
    await asyncio.Event().wait()


@workflow
async def calls_another_group(ctx: Context) -> None:
    await ctx.options(target="mailers", timeout=timedelta(days=9)).rpc("send_mail")


def test_a_run_ends_once_a_person_approves() -> None:
    with hitl_test(deploy) as hitl:
        run = hitl.start(deploy, "1.4.2", id="d-1")
        [request] = hitl.pending()
        assert (request.prompt, request.to) == ("Deploy 1.4.2?", ("reviewer",))
        assert not run.ended()
        hitl.person("reviewer").approve("Deploy")
        assert run.ended()
        assert run.result() == "deployed 1.4.2"


def test_a_run_that_waits_for_a_person_fails_the_test_at_once_and_says_for_whom() -> None:
    with hitl_test(deploy) as hitl:
        run = hitl.start(deploy, "1.4.2", id="d-1")
        with pytest.raises(StillWaiting) as waiting:
            run.result()
    for fact in ("d-1:1.1", "reviewer", "Deploy 1.4.2?", "2d"):
        assert fact in str(waiting.value)


def test_a_person_who_may_not_answer_is_refused() -> None:
    with hitl_test(deploy) as hitl:
        hitl.start(deploy, "1.4.2")
        with pytest.raises(NotAllowed):
            hitl.person("ops").approve("Deploy")


def test_a_request_that_is_not_there_or_not_the_only_one_is_named() -> None:
    with hitl_test(deploy) as hitl:
        reviewer = hitl.person("reviewer")
        hitl.start(deploy, "1", id="d-1")
        hitl.start(deploy, "2", id="d-2")
        with pytest.raises(NotAsked, match=r"d-1:1\.1 for reviewer: Deploy 1"):
            reviewer.approve("Publish")
        with pytest.raises(NotAsked, match="2 open requests"):
            reviewer.approve("Deploy")
        reviewer.approve(workflow="d-2")
        reviewer.reject(id="d-1:1.1", reason="too early")
        assert not hitl.pending()


def test_deadlines_pass_and_sleeps_end_as_the_clock_moves() -> None:
    with hitl_test(deploy, naps) as hitl:
        start, began = time.monotonic(), hitl.now
        late, nap = hitl.start(deploy, "1.4.2"), hitl.start(naps)
        hitl.advance("47h")
        assert not late.ended()
        hitl.advance("2h")
        assert late.result() == "not deployed: nobody answered before the deadline"
        hitl.advance("30d")
        assert nap.result() == "True"
        assert hitl.now == began + (49 + 30 * 24) * 3_600_000
        assert time.monotonic() - start < 20


def test_what_is_due_on_the_way_happens_at_its_time() -> None:
    with hitl_test(naps) as hitl:
        began = hitl.now
        nap = hitl.start(naps, id="nap")
        hitl.person("reviewer").approves("Still there?")
        hitl.advance("30d")
        assert nap.result() == "False"
        shown = hitl.client.show("nap:2.1")
        assert shown.decision is not None
        assert shown.decision.at is not None
        assert datetime.fromisoformat(shown.decision.at).timestamp() * 1_000 == began + 3 * 86_400_000


def test_reminders_are_sent_as_the_clock_moves(capfd: pytest.CaptureFixture[str]) -> None:
    with hitl_test(deploy) as hitl:
        hitl.start(deploy, "1.4.2", id="d-1")
        hitl.advance("7h59m")
        assert "d-1:1.1" not in capfd.readouterr().out
        hitl.advance("1d")
        assert capfd.readouterr().out.count("d-1:1.1 has been waiting for reviewer") == 3


def test_rules_answer_in_their_order_and_as_often_as_they_may() -> None:
    with hitl_test(deploy) as hitl:
        reviewer = hitl.person("reviewer")
        reviewer.rejects("Deploy", reason="not yet", times=1).approves("Deploy")
        hitl.person("ops").rejects("Deploy", reason="is never asked")
        results = [hitl.start(deploy, version).result() for version in ("1", "2", "3")]
    assert results == ["not deployed: not yet", "deployed 2", "deployed 3"]


def test_several_approve_and_groups_have_members() -> None:
    with hitl_test(both, groups={"legal": ["lead", "reviewer", "ops"]}) as hitl:
        hitl.person("lead").approves("Legal")
        hitl.person("auditor").approves()
        run = hitl.start("pair-review")
        assert [request.prompt for request in hitl.pending()] == ["Legal?"]
        with pytest.raises(NotAllowed):
            hitl.person("auditor").approve("Legal")
        hitl.person("reviewer").approve("Legal")
        assert run.result() == ["reviewer", "auditor"]


def test_a_failing_step_fails_the_test_at_once_and_is_tried_again_as_the_clock_moves() -> None:
    attempts.clear()
    with hitl_test(flaky) as hitl:
        run = hitl.start(flaky)
        with pytest.raises(StillWaiting, match=r"(?s)the printer is on fire.*in fails_twice"):
            run.result()
        assert len(attempts) == 1
        hitl.advance("1m")
        assert run.result() == "printed"


def test_a_test_ends_quickly_while_a_step_is_to_be_tried_again() -> None:
    attempts.clear()
    start = time.monotonic()
    with hitl_test(flaky) as hitl:
        hitl.start(flaky)
    assert time.monotonic() - start < 8


def test_a_step_that_does_not_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "PATIENCE_S", 0.2)
    with hitl_test(endless) as hitl, pytest.raises(TimeoutError, match="slow-1"):
        hitl.start(endless, id="slow-1")


def test_a_failed_run_raises_with_the_traceback_as_a_note() -> None:
    with hitl_test(broken) as hitl, pytest.raises(RunFailed) as failed:
        hitl.start(broken).result()
    assert "in broken" in "".join(failed.value.__notes__)


@pytest.mark.parametrize(("minutes", "result"), [(9, "removed"), (11, "approval-expired")])
def test_the_clock_is_that_of_approvals_that_expire(minutes: int, result: str) -> None:
    with hitl_test(cleanup) as hitl:
        hitl.person("reviewer").approves("Remove", data={"wait": minutes})
        run = hitl.start(cleanup)
        assert not run.ended()
        hitl.advance("1h")
        assert run.result() == result


def test_a_call_that_nobody_serves_is_named_and_does_not_stop_the_clock() -> None:
    with hitl_test(calls_another_group) as hitl:
        run = hitl.start(calls_another_group)
        hitl.advance("1d")
        with pytest.raises(StillWaiting, match="send_mail"):
            run.result()


def test_a_module_is_served_and_an_unknown_workflow_is_refused() -> None:
    with hitl_test(asks) as hitl:
        with pytest.raises(LookupError, match="deploy"):
            hitl.start("deploy")
        run = hitl.start("approval", prompt="Release?")
        hitl.person("lead").approve("Release?", data={"ok": True})
        assert run.result()["data"] == {"ok": True}


def test_code_that_asks_through_hitl_gets_the_answers_of_rules() -> None:
    with hitl_test() as hitl:
        hitl.person("lead").approves("Refund", data=3, times=1)
        assert hitl.client.ask("Refund order 7?", to="lead", id="refund-7").data == 3
        with pytest.raises(StillWaiting, match=r"(?s)refund-8 waits for lead.*Refund order 8"):
            hitl.client.ask("Refund order 8?", to="lead", id="refund-8")
        with pytest.raises(TimedOut):
            hitl.client.wait("refund-8", timeout="9h")
        assert asyncio.run(hitl.async_client.ask("Refund order 7?", to="lead", id="refund-7")).by == "lead"
        with pytest.raises(StillWaiting):
            asyncio.run(hitl.async_client.wait("refund-8"))
        with pytest.raises(TimedOut):
            asyncio.run(hitl.async_client.wait("refund-8", timeout="9h"))


def test_an_answer_of_a_rule_that_does_not_fit_fails_the_test() -> None:
    with hitl_test() as hitl:
        hitl.person("lead").approves("Which?", data={"n": "many"})
        form = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        with pytest.raises(BadInput, match="n"):
            hitl.client.ask("Which?", form=form)


def test_two_tests_share_nothing() -> None:
    for _ in range(2):
        with hitl_test(deploy) as hitl:
            hitl.start(deploy, "1", id="same")
            assert len(hitl.pending()) == 1


@workflow
async def signed(ctx: Context) -> list[str | None]:
    decision = await ask(ctx, "Pay?", proof="signed", approvals=2)
    return [vote.by for vote in decision.votes]


def test_people_sign_what_must_be_signed() -> None:
    with hitl_test(signed) as hitl:
        run = hitl.start(signed)
        hitl.person("lead").approves("Pay?")
        hitl.person("ops").approve("Pay?")
        assert run.result() == ["lead", "ops"]
