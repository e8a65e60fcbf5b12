"""The SDK's features work on the embedded server, in real worker processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.protocol import get_promise
from hitl_cli.runs.steps import tree
from tests import forked
from tests.conftest import PATIENCE_S, wait_until
from tests.worker.watching import FEATURES, begin, end_of, promise_of, result_of, task_of, waiting

if TYPE_CHECKING:
    from tests.conftest import Hitl

AWAIT_RESULT = str(Path(__file__).with_name("await_result.py"))


def test_steps_run_and_their_results_reach_the_workflow_be_they_sync_or_async(hitl: Hitl) -> None:
    hitl.worker("--app", FEATURES)
    with hitl.client() as client:
        begin(client, "r", "runs", 2, 3)
        assert result_of(client, "r") == [5, 5]
        assert [step.promise.id for step in tree(client, "r").children] == ["r:1", "r:2"]


def test_a_workflow_calls_another_and_gets_its_result(hitl: Hitl) -> None:
    hitl.worker("--app", FEATURES)
    with hitl.client() as client:
        begin(client, "r", "calls", 21)
        assert result_of(client, "r") == 42


def test_a_call_to_another_group_runs_in_a_worker_of_that_group(hitl: Hitl) -> None:
    here = hitl.worker("--app", FEATURES)
    there = hitl.worker("--app", FEATURES, "--group", "the others")
    with hitl.client() as client:
        begin(client, "r", "calls_group", "the others")
        assert result_of(client, "r") == [here.pid, there.pid]


def test_a_sleep_ends_when_its_time_has_come_and_not_before(hitl: Hitl) -> None:
    hitl.worker("--app", FEATURES)
    slept_ms = 300
    with hitl.client() as client:
        begin(client, "r", "sleeps", slept_ms / 1_000)
        assert result_of(client, "r") == "awake"
        timer, run = promise_of(client, "r:1"), promise_of(client, "r")
    assert timer.state == "resolved"
    assert timer.timeout_at >= run.created_at + slept_ms
    assert (run.settled_at or 0) >= timer.timeout_at


def test_a_sleeping_run_says_that_it_waits_for_a_timer_and_asks_nobody(hitl: Hitl) -> None:
    hitl.worker("--app", FEATURES, "--log-json")
    hitl.ok("start", "r", "--workflow", "sleeps", "3600", "--deadline", "2h")
    with hitl.client() as client:
        wait_until(lambda: get_promise(client, "r:1") and task_of(client, "r").state == "suspended")
    run = hitl.json("status", "r")
    assert run["state"] == "waiting"
    assert run["waits_for"][0].startswith("a timer, ")
    assert hitl.json("pending") == []


def test_two_promises_asked_for_at_once_are_answered_one_by_one(hitl: Hitl) -> None:
    worker = hitl.worker("--app", FEATURES)
    with hitl.client() as client:
        begin(client, "r", "asks_two")
        assert waiting(client, 2) == ["r:1", "r:2"]
        hitl.ok("approve", "r:2", "--data", '"second"')
        worker.said("resumed")
        assert waiting(client, 1) == ["r:1"]
        hitl.ok("approve", "r:1", "--data", '"first"')
        assert result_of(client, "r") == ["first", "second"]


def test_a_detached_workflow_outlives_the_one_that_started_it(hitl: Hitl) -> None:
    hitl.worker("--app", FEATURES)
    with hitl.client() as client:
        begin(client, "r", "detaches")
        child = str(result_of(client, "r"))
        [asked] = waiting(client)
        assert promise_of(client, child).state == "pending"
        assert asked == f"{child}.1"
        hitl.ok("approve", asked, "--data", "7")
        assert end_of(client, child).result == 7


def test_children_of_a_gather_are_under_way_at_the_same_time(hitl: Hitl) -> None:
    hitl.worker("--app", FEATURES)
    with hitl.client() as client:
        begin(client, "r", "meets")
        assert result_of(client, "r") == [0, 1, 2]


@pytest.mark.parametrize("workflow", ["retries", "third_time_lucky"])
def test_a_step_or_a_workflow_that_fails_twice_is_tried_a_third_time(hitl: Hitl, workflow: str) -> None:
    attempts = hitl.folder / "attempts"
    hitl.worker("--app", FEATURES, env={"ATTEMPTS": str(attempts)})
    with hitl.client() as client:
        begin(client, "r", workflow)
        assert result_of(client, "r") == 3
    assert attempts.read_text() == "xxx"


def test_a_workflow_that_raises_fails_with_its_message_everywhere(hitl: Hitl) -> None:
    worker = hitl.worker("--app", FEATURES)
    hitl.ok("start", "r", "--workflow", "fails")
    assert "there is no budget for it" in hitl.fails(1, "wait", "r", code="run-failed")
    assert "there is no budget for it" in worker.said("failed")
    assert hitl.json("status", "r")["error"] == "ValueError: there is no budget for it"


def test_a_rejection_reaches_the_workflow_as_an_error_with_the_reason(hitl: Hitl) -> None:
    hitl.worker("--app", FEATURES)
    with hitl.client() as client:
        begin(client, "r", "hears_no")
        [asked] = waiting(client)
        hitl.ok("reject", asked, "--reason", "over budget")
        assert result_of(client, "r") == ["ApplicationError", "over budget"]


@pytest.mark.only("file", reason="the other process opens the file")
def test_another_process_gets_the_result_through_the_sdks_handle(hitl: Hitl) -> None:
    hitl.worker("--app", FEATURES)
    with hitl.client() as client:
        begin(client, "r", "asks")
        [asked] = waiting(client)
        reader = forked.Popen[str](
            [sys.executable, AWAIT_RESULT, str(hitl.database), "r"],
            env=hitl.env,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert reader.stdout is not None
        assert reader.stdout.readline() == "listening\n"  # so it is told, and does not find it settled
        hitl.ok("approve", asked, "--data", '{"amount": 7}')
        out, _ = reader.communicate(timeout=PATIENCE_S)
    assert json.loads(out) == {"amount": 7}
