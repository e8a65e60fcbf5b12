"""kill -9 of workers: another one continues, nothing is lost, and no finished step runs again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.apps.steps import STEPS_GATE, STEPS_LOG, read_lines
from tests.conftest import wait_until
from tests.worker.watching import STEPS, begin, result_of, waiting

if TYPE_CHECKING:
    from tests.conftest import Hitl

KILLS = 100
WORKERS = 3
IN_FLIGHT = 20
LEASE_MS = 500
STEPS_OF_A_RUN = ("1", "2", "3", "5", "6", "7")
"""The fourth is the decision."""


def test_runs_that_wait_outlive_their_worker_and_go_on_in_another(hitl: Hitl) -> None:
    first = hitl.worker()
    with hitl.client() as client:
        ids = ["r1", "r2", "r3"]
        for id in ids:
            begin(client, id, "approval", id)
        assert sorted(waiting(client, 3)) == [f"{id}:1" for id in ids]
        first.kill()

        hitl.ok("approve", "r1")  # while nobody works
        second = hitl.worker()
        hitl.ok("approve", "r2", "r3", "--data", "7")
        assert [result_of(client, id) for id in ids] == [
            {"message": f"workflow {id} completed", "data": data}
            for id, data in zip(ids, (True, 7, 7), strict=True)
        ]
    assert not any("waiting for a person" in line for line in second.lines)  # nobody is asked twice
    assert not any("waits for an answer" in line for line in second.lines)  # nobody is told twice


def test_a_worker_killed_in_the_middle_of_a_step_is_replaced_once_its_lease_has_lapsed(hitl: Hitl) -> None:
    log, gate = hitl.folder / "steps.log", hitl.folder / "gate"
    env = {STEPS_LOG: str(log), STEPS_GATE: str(gate)}
    first = hitl.worker("--app", STEPS, "--lease", "1s", env=env)
    with hitl.client() as client:
        begin(client, "r", "gate_in_the_middle", "r")
        wait_until(lambda: [line.step for line in read_lines(log)] == ["1", "2", "3"])
        second = hitl.worker("--app", STEPS, "--lease", "1s", env=env)
        killed_at = time.time()
        first.kill()
        wait_until(lambda: len(read_lines(log)) == 4)
        gate.touch()
        marks = result_of(client, "r")
    lines = read_lines(log)
    assert [(line.step, line.pid) for line in lines] == [
        *((step, first.pid) for step in "123"),
        *((step, second.pid) for step in "345"),
    ]
    assert marks == [lines[n].mark for n in (0, 1, 3, 4, 5)]
    assert lines[3].at / 1_000 - killed_at < 3  # the lease is one second; the rest is for a busy machine
