"""kill -9 of workers: another one goes on, nothing is lost, and what is finished is not done again."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli import inbox, runs
from hitl_cli.wire import decision_of, decode, error_message
from tests.apps.steps import STEPS_GATE, STEPS_LOG, read_lines
from tests.conftest import wait_until
from tests.recovery.processes import start, work
from tests.worker.watching import STEPS, begin, promise_of, result_of, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from hitl_cli.embedded import EmbeddedClient
    from hitl_cli.inbox import Decided
    from tests.apps.steps import Line
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
        assert waiting(client, 3) == [f"{id}:1" for id in ids]
        first.kill()

        hitl.ok("approve", "r1")  # while nobody works
        second = hitl.worker()
        hitl.ok("approve", "r2", "r3", "--data", "7")
        assert [result_of(client, id) for id in ids] == [
            {"message": f"workflow {id} completed", "data": data}
            for id, data in zip(ids, (True, 7, 7), strict=True)
        ]
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


class Load:
    """Runs that are started, answered and watched while workers die."""

    def __init__(self, client: EmbeddedClient, chance: random.Random) -> None:
        self.started: list[str] = []
        self.answers: dict[str, Decided] = {}
        self._client = client
        self._chance = chance
        self._live: set[str] = set()

    def tend(self) -> None:
        """Answer what waits, and start as many runs as have ended."""
        for item in inbox.pending(self._client)[0]:
            self.answers[item.id] = inbox.decide(self._client, item.id, self._answer())
        self._live = {id for id in self._live if promise_of(self._client, id).state == "pending"}
        while len(self._live) < IN_FLIGHT:
            id = f"r{len(self.started)}"
            begin(self._client, id, "before_and_after", id)
            self.started.append(id)
            self._live.add(id)

    def _answer(self) -> inbox.Answer:
        if self._chance.random() < 0.5:
            return inbox.approval(by="ada", via="test", data=self._chance.random())
        return inbox.rejection(by="ada", via="test", reason=str(self._chance.random()))

    def finish(self) -> None:
        """Answer what waits until all runs have ended."""

        def ended() -> bool:
            for item in inbox.pending(self._client)[0]:
                self.answers[item.id] = inbox.decide(self._client, item.id, self._answer())
            return all(promise_of(self._client, id).state != "pending" for id in self.started)

        wait_until(ended)


class Crew:
    """Worker processes, of which one after the other is killed."""

    def __init__(self, database: Path, log: Path) -> None:
        self._args = (work, database, STEPS, LEASE_MS, {STEPS_LOG: str(log)})
        self._workers: list[BaseProcess] = [start(*self._args) for _ in range(WORKERS)]

    def replace_one(self, chance: random.Random) -> None:
        """Kill one of them, chosen at random, and start another."""
        victim = self._workers.pop(chance.randrange(WORKERS))
        victim.kill()
        victim.join()
        assert victim.exitcode == -9  # it had not ended by itself
        self._workers.append(start(*self._args))

    def end(self) -> None:
        """Kill them all."""
        for worker in self._workers:
            worker.kill()
            worker.join()


@pytest.fixture
def crew(hitl: Hitl) -> Iterator[Crew]:
    """Workers on the database, whose steps write to steps.log."""
    workers = Crew(hitl.database, hitl.folder / "steps.log")
    yield workers
    workers.end()


def test_a_hundred_workers_killed_at_random_moments_lose_nothing_and_repeat_nothing_finished(
    hitl: Hitl, crew: Crew
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown when the test fails
    chance = random.Random(seed)
    with hitl.client() as client:
        load = Load(client, chance)
        for _ in range(KILLS):
            moment = time.monotonic() + chance.uniform(0.0, 0.2)
            while time.monotonic() < moment:
                load.tend()
            crew.replace_one(chance)
        load.finish()
        crew.end()

        lines: dict[str, list[Line]] = defaultdict(list)
        for line in read_lines(hitl.folder / "steps.log"):
            lines[line.run].append(line)
        assert len(load.answers) == len(load.started)
        for id in load.started:
            the_run_is_whole(client, id, lines[id], load.answers[f"{id}:4"])
    attempts = sum(len(tries) for tries in lines.values())
    assert attempts > len(STEPS_OF_A_RUN) * len(load.started)  # some were killed in the middle of a step
    with closing(sqlite3.connect(hitl.database)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def the_run_is_whole(client: EmbeddedClient, id: str, lines: list[Line], given: Decided) -> None:
    """Check that a run has ended as it was answered, with steps that were not run after they were done."""
    order = [line.step for line in lines]
    assert order == sorted(order)  # a step that has begun proves that the one before it was recorded
    marks = []
    for step in STEPS_OF_A_RUN:
        promise = promise_of(client, f"{id}:{step}")
        attempts = [line for line in lines if line.step == step]
        marks.append(decode(promise.value))
        assert promise.state == "resolved"
        assert marks[-1] in [line.mark for line in attempts]
        assert [line for line in attempts if line.at > (promise.settled_at or 0)] == []
    run = runs.get_run(client, id)
    assert run.state == "completed", run.error
    assert run.result == {"marks": marks, "answer": answer_of(client, id, given)}


def answer_of(client: EmbeddedClient, id: str, given: Decided) -> dict[str, Any]:
    """Check that a decision is recorded as it was made, and return it as the workflow should have seen it."""
    promise = promise_of(client, f"{id}:4")
    assert given.fresh
    assert decision_of(promise) == given.decision
    if given.verdict == "reject":
        assert error_message(promise.value) == given.reason
        return {"rejected": given.reason}
    assert decode(promise.value) == given.data
    return {"approved": given.data}
