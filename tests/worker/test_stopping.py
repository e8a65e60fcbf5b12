"""How a worker ends: it finishes its steps or releases its tasks, and interrupts no step twice."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from hitl_cli.worker.run import GRACE_S
from tests.apps.steps import STEPS_GATE, STEPS_LOG, read_lines
from tests.conftest import wait_until
from tests.worker.watching import STEPS, begin, end_of, promise_of, result_of, task_of

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl, WorkerProcess


@pytest.fixture
def log(hitl: Hitl) -> Path:
    """The file in which steps leave their lines."""
    return hitl.folder / "steps.log"


@pytest.fixture
def gate(hitl: Hitl) -> Path:
    """The file for which the third step waits."""
    return hitl.folder / "gate"


def start_worker(hitl: Hitl, log: Path, gate: Path, *args: str) -> WorkerProcess:
    """Start a worker whose steps write to the log and wait at the gate."""
    return hitl.worker("--app", STEPS, *args, env={STEPS_LOG: str(log), STEPS_GATE: str(gate)})


def steps_run(log: Path) -> list[str]:
    """Return the steps that ran, in order."""
    return [line.step for line in read_lines(log)]


def at_the_gate(client: Client, log: Path, workflow: str = "gate_in_the_middle") -> None:
    """Start a run and wait until its third step has begun."""
    begin(client, "r", workflow, "r")
    wait_until(lambda: steps_run(log) == ["1", "2", "3"])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_told_to_stop_finishes_what_it_has_in_hand_and_takes_nothing_new(
    hitl: Hitl, log: Path, gate: Path, how: signal.Signals
) -> None:
    worker = start_worker(hitl, log, gate)
    with hitl.client() as client:
        at_the_gate(client, log)
        worker.process.send_signal(how)
        wait_until(lambda: not client.has_worker("default"))  # it listens no more; None over HTTP
        begin(client, "late", "approval", "late")
        gate.touch()
        assert worker.process.wait(timeout=GRACE_S) == 0
        assert promise_of(client, "r").state == "resolved"
        assert task_of(client, "late").version == 0
    assert steps_run(log) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_told_to_stop_ends_with_exit_code_0_and_no_error(
    hitl: Hitl, how: signal.Signals
) -> None:
    worker = hitl.worker()
    assert worker.stop(how) == 0
    assert worker.errors == []


@pytest.mark.parametrize("workflow", ["gate_in_the_middle", "stuck_in_the_middle"])
def test_a_second_sigint_gives_back_what_is_in_hand_and_ends_the_worker_at_once(
    hitl: Hitl, log: Path, gate: Path, workflow: str
) -> None:
    worker = start_worker(hitl, log, gate, "--lease", "1h")
    with hitl.client() as client:
        at_the_gate(client, log, workflow)

        def interrupted() -> bool:
            worker.process.send_signal(signal.SIGINT)  # two at the same moment count as one
            return worker.process.poll() is not None

        wait_until(interrupted, GRACE_S / 2)
        assert worker.process.returncode == 0
        assert task_of(client, "r").state == "pending"
        assert promise_of(client, "r").state == "pending"


@pytest.mark.long
@pytest.mark.heavy  # it has its ten seconds to finish
@pytest.mark.parametrize("workflow", ["gate_in_the_middle", "stuck_in_the_middle"])
def test_what_a_stopped_worker_cannot_finish_is_taken_over_without_waiting_for_the_lease(
    hitl: Hitl, log: Path, gate: Path, workflow: str
) -> None:
    worker = start_worker(hitl, log, gate, "--lease", "1h")
    with hitl.client() as client:
        at_the_gate(client, log, workflow)
        successor = start_worker(hitl, log, gate, "--lease", "1h")
        assert worker.stop() == 0
        assert worker.errors == []
        wait_until(lambda: steps_run(log) == ["1", "2", "3", "3"])
        gate.touch()
        lines = read_lines(log)
        assert [line.pid for line in lines] == [worker.pid] * 3 + [successor.pid]
        marks = result_of(client, "r")
        assert isinstance(marks, list)
        assert marks[2] == lines[3].mark
    assert steps_run(log) == ["1", "2", "3", "3", "4", "5"]


def test_a_step_that_blocks_its_worker_for_longer_than_the_lease_keeps_it_and_runs_once(
    hitl: Hitl, log: Path, gate: Path
) -> None:
    for _ in range(2):
        start_worker(hitl, log, gate, "--lease", "1s")
    with hitl.client() as client:
        begin(client, "r", "slow_in_the_middle", "r", 2.5)
        assert end_of(client, "r").state == "completed"
        assert task_of(client, "r").version == 1  # the other worker never had it
    assert steps_run(log) == ["1", "2", "3"]
