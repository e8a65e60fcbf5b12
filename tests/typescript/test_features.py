"""What TypeScript workflows are made of, in both of the SDK's APIs: timers, calls, deadlines, shared work."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from hitl_cli.engine.http.streams import GIVEN_BACK_S
from hitl_cli.engine.records import VALUE_MAX
from hitl_cli.inbox.pending import pending
from hitl_cli.runs.steps import tree
from tests.conftest import wait_until
from tests.worker.watching import end_of

if TYPE_CHECKING:
    from tests.conftest import WorkerProcess
    from tests.typescript.conftest import Online

PROGRAMS = ["features_async", "features_generator"]
RUNS = 40


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_timer_wakes_the_workflow_up(online: Online, program: str) -> None:
    online.typescript(program)
    online.begin("tired", "nap", 300)

    assert online.end("tired") == "rested"
    assert [step.kind for step in tree(online.file, "tired").children] == ["sleep"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_workflow_calls_another_and_sees_its_result_or_its_error(online: Online, program: str) -> None:
    online.typescript(program)
    online.begin("right", "call", "multiply", "typescript", 6, 7)
    online.begin("wrong", "call", "multiply", "typescript", 6, 0)

    assert online.end("right") == {"got": 42}
    assert online.end("wrong") == {"failed": "not by zero"}


def test_a_result_that_is_too_large_fails_the_run_and_its_step_is_not_run_again(online: Online) -> None:
    online.typescript("features_async")
    online.begin("large", "large", str(online.folder), 6_000_000)

    assert f"{VALUE_MAX:,}" in (end_of(online.file, "large").error or "")
    assert (online.folder / "log").read_text() == "repeated\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_several_people_are_asked_at_once_and_answer_in_any_order(online: Online, program: str) -> None:
    online.typescript(program)
    online.begin("both", "two", 60_000)
    assert online.blocked(2) == ["both:0", "both:1"]

    online.ok("approve", "both:1", "--data", '"second"')
    online.ok("reject", "both:0", "--reason", "first")

    assert online.end("both") == ["first", "second"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_question_that_nobody_answers_in_time_is_an_error(online: Online, program: str) -> None:
    online.typescript(program)
    online.begin("lonely", "two", 400)

    assert online.end("lonely") == ["nobody answered in time"] * 2
    assert pending(online.file) == ([], False)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_call_that_nobody_waits_for_asks_its_people_after_its_caller_has_ended(
    online: Online, program: str
) -> None:
    online.typescript(program)
    online.begin("caller", "leave", "two", "typescript", 60_000)

    assert online.end("caller") == "gone"
    first, second = online.blocked(2)
    called = first.rpartition(".")[0]
    assert called.startswith("caller:d")
    online.ok("approve", first, "--data", "1")
    online.ok("approve", second, "--data", "2")
    assert online.end(called) == [1, 2]


@pytest.mark.parametrize("program", PROGRAMS)
def test_two_workers_share_the_work(online: Online, program: str) -> None:
    workers = [online.typescript(program) for _ in range(2)]
    ids = [f"r{n}" for n in range(RUNS)]
    lines = "".join(f'{{"id": "{id}", "args": []}}\n' for id in ids)
    online.ok("start", "--stdin", "--workflow", "where", "--group", "typescript", stdin=lines)

    pids = Counter(online.end(id) for id in ids)

    assert min(pids[worker.pid] for worker in workers) >= RUNS // 4


def refusals(worker: WorkerProcess) -> list[datetime]:
    """Return when a worker said that it lacks a workflow, which is before it gives the run back."""
    said = [
        json.loads(line) for line in list(worker.errors) if "'where' (version 1) is not registered. " in line
    ]
    return [datetime.fromisoformat(line["timestamp"]) for line in said]


def test_a_worker_is_not_handed_at_once_again_what_it_lacks_and_gives_back(online: Online) -> None:
    lacking = online.typescript("async")
    online.begin("unknown", "where")
    first, second, *_ = wait_until(lambda: found if len(found := refusals(lacking)) > 1 else [])
    assert second - first >= timedelta(seconds=GIVEN_BACK_S)

    having = online.typescript("features_async")
    assert online.end("unknown") == having.pid


def test_what_one_worker_lacks_goes_to_another_that_has_it(online: Online) -> None:
    online.typescript("async")
    having = online.typescript("features_async")
    ids = [f"r{n}" for n in range(10)]
    for id in ids:
        online.begin(id, "where")

    assert {online.end(id) for id in ids} == {having.pid}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_workflow_asks_with_all_options_by_calling_the_workflow_of_that_name(
    online: Online, program: str
) -> None:
    online.typescript(program)
    online.worker()
    question = {"prompt": "Ship?", "to": ["reviewer"], "choices": ["ship", "hold"], "remind": "4h"}
    online.begin("r", "call", "ask", "default", question)
    [id] = online.blocked(1)
    online.ok("answer", id, "hold", "--as", "reviewer")
    decision = online.end("r")["got"]
    assert (decision["approved"], decision["choice"], decision["by"]) == (True, "hold", "reviewer")
