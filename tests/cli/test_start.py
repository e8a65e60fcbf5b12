"""`hitl start`, `wait`, `status` and `cancel`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hitl_cli.runs.reading import known
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl


REMINDS = """from hitl_cli import ask, workflow

@workflow
async def reminds(ctx):
    await ask(ctx, "Ready?", remind="1h")
"""


def test_starting_again_reconnects_while_it_runs_and_prints_the_result_afterwards(hitl: Hitl) -> None:
    hitl.worker()
    assert hitl.ok("start", "a") == "run a started\n"
    hitl.waiting()
    assert hitl.ok("start", "a") == "run a is already running\n"
    hitl.ok("approve", "a")
    hitl.ok("wait", "a")
    assert json.loads(hitl.ok("start", "a")) == {"message": "workflow a completed", "data": True}


def test_starting_again_after_a_failure_exits_as_wait_would(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting()
    hitl.ok("reject", "a", "--reason", "no")
    hitl.fails(1, "wait", "a", code="run-failed")
    hitl.fails(1, "start", "a", code="run-failed")


def test_start_with_wait_prints_the_result(hitl: Hitl) -> None:
    hitl.worker()
    waiting = hitl.popen("start", "a", "--wait")
    hitl.waiting()
    hitl.ok("approve", "a")
    out, _ = waiting.communicate(timeout=30)
    assert json.loads(out)["message"] == "workflow a completed"
    assert waiting.returncode == 0


def test_another_call_under_the_same_id_is_a_conflict_that_shows_what_is_there(hitl: Hitl) -> None:
    hitl.ok("start", "a", "1", "text")
    assert 'approval(1, "text")' in hitl.fails(4, "start", "a", "2", code="already-exists")
    assert "approval" in hitl.fails(
        4, "start", "a", "1", "text", "--workflow", "other", code="already-exists"
    )
    assert "approval" in hitl.fails(4, "start", "a", "1", "text", "--kwarg", "x=1", code="already-exists")
    assert hitl.ok("start", "a", "1", "text") == "run a is already running\n"


def test_arguments_are_json_where_they_parse_and_text_where_not(hitl: Hitl) -> None:
    hitl.ok("start", "a", "1", "1.4.2", '{"b": [true]}', "null", '"1"', "--kwarg", "n=5", "--kwarg", "t=five")
    with hitl.client() as client:
        promise = known(client, "a")
    assert promise.call is not None
    assert promise.call.args == [1, "1.4.2", {"b": [True]}, None, "1"]
    assert promise.call.kwargs == {"n": 5, "t": "five"}


def test_two_starts_of_one_id_at_once_make_one_run(hitl: Hitl) -> None:
    with ThreadPoolExecutor(2) as pool:
        outs = list(pool.map(lambda _: hitl.ok("start", "a"), range(2)))
    assert sorted(outs) == ["run a is already running\n", "run a started\n"]
    assert len(hitl.json("status")) == 1


def test_many_are_started_from_standard_input(hitl: Hitl) -> None:
    lines = 'one\n\n{"id": "two", "args": [1], "workflow": "other"}\n{"id": "three", "kwargs": {"a": 1}}'
    assert hitl.ok("start", "--stdin", stdin=lines).splitlines() == [
        "run one started",
        "run two started",
        "run three started",
    ]
    found = {run["id"]: run["function"] for run in hitl.json("status")}
    assert found == {"one": "approval", "two": "other", "three": "approval"}


def test_a_bad_line_of_standard_input_starts_nothing(hitl: Hitl) -> None:
    assert "line 2" in hitl.fails(2, "start", "--stdin", code="bad-json", stdin='a\n{"id": 5}\n')
    assert "line 2" in hitl.fails(2, "start", "--stdin", code="bad-name", stdin="a\nb:c\n")
    assert "line 1" in hitl.fails(
        2, "start", "--stdin", code="bad-json", stdin='{"id": "a", "wrokflow": "x"}\n'
    )
    assert not hitl.database.exists()


def test_a_conflict_in_many_does_not_stop_the_rest(hitl: Hitl) -> None:
    hitl.ok("start", "b", "--workflow", "other")
    done = hitl.run("start", "--stdin", stdin="a\nb\nc\n")
    assert done.returncode == 4
    assert done.stdout.splitlines() == ["run a started", "run c started"]
    assert "b " in done.stderr
    assert "other" in done.stderr


def test_a_run_past_its_deadline_has_expired(hitl: Hitl) -> None:
    hitl.ok("start", "a", "--deadline", "100ms")
    wait_until(lambda: hitl.json("status", "a")["state"] == "expired")
    hitl.fails(5, "wait", "a", code="deadline-passed")
    hitl.fails(5, "start", "a", code="deadline-passed")


def test_waiting_gives_up_after_the_timeout(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    hitl.fails(5, "wait", "a", "--timeout", "50ms", code="timed-out")


def test_canceling_ends_the_run_and_what_it_asks(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting()
    assert hitl.ok("cancel", "a", "--reason", "no longer needed") == "run a canceled\n"
    assert hitl.json("pending") == []
    status = hitl.json("status", "a")
    assert (status["state"], status["error"]) == ("canceled", "no longer needed")
    assert hitl.ok("cancel", "a") == "run a was already canceled\n"
    assert "canceled by ada" in hitl.fails(4, "approve", "a:1", code="already-decided")
    assert "no longer needed" in hitl.fails(1, "wait", "a", code="run-failed")


def test_what_has_ended_cannot_be_canceled(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting()
    hitl.ok("approve", "a")
    hitl.ok("wait", "a")
    assert "completed" in hitl.fails(4, "cancel", "a", code="already-ended")


def wait_for_question(hitl: Hitl, id: str) -> None:
    wait_until(lambda: hitl.json("status", id)["waits_for"] == [f"{id}:1"])


def test_status_lists_runs_the_newest_first_with_what_they_wait_for(hitl: Hitl) -> None:
    hitl.worker()
    for id in ("a", "b", "c"):
        hitl.ok("start", id)
        wait_for_question(hitl, id)
    hitl.ok("approve", "b")
    hitl.ok("wait", "b")
    listed = hitl.json("status")
    assert [(run["id"], run["state"]) for run in listed] == [
        ("c", "waiting"),
        ("b", "completed"),
        ("a", "waiting"),
    ]
    assert [run["id"] for run in hitl.json("status", "--state", "waiting")] == ["c", "a"]
    assert [run["id"] for run in hitl.json("status", "--state", "completed")] == ["b"]
    assert [run["id"] for run in hitl.json("status", "--limit", "1")] == ["c"]
    assert "there are more" in hitl.run("status", "--limit", "1").stderr
    assert [(run["run"], run["workflow_name"]) for run in listed] == [
        (run["workflow"], run["function"]) for run in listed
    ]
    expected = {"id", "workflow", "function", "state", "prompt", "created_at", "deadline", "age_s"}
    assert expected <= set(listed[0])


def test_the_tree_of_a_run_shows_its_steps_and_who_answered(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting()
    waiting = hitl.ok("status", "a")
    assert "hitl show a:1" in waiting
    hitl.ok("approve", "a", "--data", '{"ok": 1}')
    hitl.ok("wait", "a")
    shown = hitl.ok("status", "a")
    assert "a:1  request" in shown
    assert 'approved by ada: {"ok":1}' in shown
    steps = hitl.json("status", "a")["steps"]
    assert [(step["id"], step["kind"], step["state"]) for step in steps] == [
        ("a:1", "person", "resolved"),
    ]


def test_the_id_of_a_step_shows_the_run_it_belongs_to(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting()
    assert hitl.json("status", "a:1")["id"] == "a"
    assert [step["id"] for step in hitl.json("status", "a:1")["steps"]] == ["a:1"]


def test_a_sleep_says_what_it_waits_for(hitl: Hitl) -> None:
    (hitl.folder / "reminds.py").write_text(REMINDS)
    hitl.worker("--app", "reminds.py")
    hitl.ok("start", "r", "--workflow", "reminds", "--no-args")
    hitl.waiting()
    wait_until(lambda: "sleep until the next reminder or escalation, " in hitl.ok("status", "r"))
