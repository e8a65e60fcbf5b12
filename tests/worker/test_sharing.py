"""Workers of one group share its work, and leave other workflows alone."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.apps.features import GATE
from tests.conftest import wait_until
from tests.worker.watching import FEATURES, begin, promise_of, result_of, task_of, tasks

if TYPE_CHECKING:
    from tests.conftest import Hitl, WorkerProcess

STARTS = 80
PLACES = 60
"""How many runs a worker takes at once: the others are left to the second one, which may be slow to look."""


@pytest.fixture
def workers(hitl: Hitl) -> list[WorkerProcess]:
    """Two workers, whose runs wait until the gate is open."""
    env = {GATE: str(hitl.folder / "gate")}
    return [hitl.worker("--app", FEATURES, "-c", str(PLACES), env=env) for _ in range(2)]


def shares(hitl: Hitl, ids: list[str], workers: list[WorkerProcess]) -> list[int]:
    """Return how many of the runs each worker ran: the gate opens once all are under way."""
    with hitl.client() as client:
        wait_until(lambda: len(tasks(client, "acquired")) == len(ids))
        (hitl.folder / "gate").touch()
        pids = Counter(result_of(client, id) for id in ids)
    assert pids.total() == len(ids)
    return [pids[worker.pid] for worker in workers]


def test_two_workers_each_run_at_least_a_quarter_of_a_batch(hitl: Hitl, workers: list[WorkerProcess]) -> None:
    ids = [f"r{n}" for n in range(STARTS)]
    lines = "".join(f'{{"id": "{id}", "args": []}}\n' for id in ids)
    hitl.ok("start", "--stdin", "--workflow", "where_at_the_gate", stdin=lines)
    assert min(shares(hitl, ids, workers)) >= STARTS // 4


def test_two_workers_each_run_at_least_a_quarter_of_what_is_started_one_by_one(
    hitl: Hitl, workers: list[WorkerProcess]
) -> None:
    ids = [f"r{n}" for n in range(STARTS)]
    with hitl.client() as client:
        for id in ids:
            begin(client, id, "where_at_the_gate")
    assert min(shares(hitl, ids, workers)) >= STARTS // 4


def test_a_run_goes_to_a_worker_that_has_its_workflow_and_not_to_one_that_lacks_it(hitl: Hitl) -> None:
    without = [hitl.worker() for _ in range(2)]
    capable = hitl.worker("--app", FEATURES)
    ids = [f"r{n}" for n in range(10)]
    with hitl.client() as client:
        for id in ids:
            begin(client, id, "where")
        assert {result_of(client, id) for id in ids} == {capable.pid}
        assert {task_of(client, id).version for id in ids} == {1}  # nobody took one to give it back
    assert all(worker.process.poll() is None for worker in without)


def test_a_worker_says_once_that_it_lacks_a_workflow_and_leaves_its_runs_untouched(hitl: Hitl) -> None:
    worker = hitl.worker()
    with hitl.client() as client:
        for id in ("r1", "r2", "r3"):
            begin(client, id, "where")
        worker.said("this worker has no workflow 'where'")
        begin(client, "other", "approval", "other")
        worker.said("hitl approve other:1")  # it has looked again since, and again
        assert [task_of(client, id).version for id in ("r1", "r2", "r3")] == [0, 0, 0]
        assert len([line for line in worker.lines if "no workflow 'where'" in line]) == 1

        run = hitl.json("status", "r1")
        assert run["state"] == "waiting"
        assert run["waits_for"] == ["a worker that has where"]
        assert "a worker that has where" in hitl.ok("status", "r1")

        capable = hitl.worker("--app", FEATURES)
        assert [result_of(client, id) for id in ("r1", "r2", "r3")] == [capable.pid] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's CPU time from /proc")
def test_a_worker_costs_next_to_nothing_while_runs_wait_that_it_cannot_run(hitl: Hitl) -> None:
    worker = hitl.worker()
    capable = hitl.worker("--app", FEATURES, "--group", "sleepers")
    with hitl.client() as client:
        for n in range(20):
            begin(client, f"r{n}", "where")
        worker.said("no workflow 'where'")
        before_s = cpu_s(worker.pid)
        begin(client, "nap", "sleeps", 2.0, group="sleepers")
        wait_until(lambda: promise_of(client, "nap").state == "resolved")
        assert cpu_s(worker.pid) - before_s < 0.2  # of two seconds
        assert {task_of(client, f"r{n}").version for n in range(20)} == {0}
    assert capable.process.poll() is None


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(fields[0]) / 1e9
