"""kill -9 of commands: a decision is stored completely or not at all, and repeating it is safe."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.wire import audit_of
from tests.recovery.deaths import approve_and_die_at, approve_and_die_unheard
from tests.recovery.processes import start
from tests.worker.watching import begin, promise_of, result_of, task_of, waiting

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.client.wire import Promise
    from tests.conftest import Hitl

KILLS = 20
KILLED = -signal.SIGKILL


ON_A_FILE = pytest.mark.only("file", reason="kills a process between two statements of SQLite")


@pytest.fixture
def asked(hitl: Hitl) -> str:
    """A promise that a suspended run waits for. No process has the database open."""
    worker = hitl.worker()
    with hitl.client() as client:
        begin(client, "r", "approval", "r")
        [id] = waiting(client)
        worker.kill()
    return id


@ON_A_FILE
def test_a_decision_whose_process_died_between_commit_and_answer_stands(hitl: Hitl, asked: str) -> None:
    process = start(approve_and_die_unheard, hitl.database, asked)
    process.join()
    assert process.exitcode == KILLED
    with hitl.client() as client:
        assert is_whole(promise_of(client, asked))
    hitl.worker()
    with hitl.client() as client:
        result_of(client, "r")


@ON_A_FILE
def test_a_worker_finds_by_itself_a_decision_whose_process_died_before_it_could_ring(hitl: Hitl) -> None:
    hitl.worker()
    with hitl.client() as client:
        begin(client, "r", "approval", "r")
        [id] = waiting(client)
        process = start(approve_and_die_unheard, hitl.database, id)
        process.join()
        assert process.exitcode == KILLED
        result_of(client, "r")


@ON_A_FILE
def test_a_process_killed_at_any_statement_of_a_decision_leaves_all_of_it_or_nothing(
    hitl: Hitl, asked: str, tmp_path: Path
) -> None:
    ends = []
    for statement in range(100):
        folder = tmp_path / f"{statement}"
        folder.mkdir()
        for file in hitl.folder.glob("hitl.db*"):  # the database, and its log if there is one
            if file.is_file():
                shutil.copy(file, folder)
        database = folder / "hitl.db"
        process = start(approve_and_die_at, database, asked, statement)
        process.join()
        with EmbeddedClient(database) as client:
            decided = is_whole(promise_of(client, asked))
            assert task_of(client, "r").state == ("pending" if decided else "suspended")
        ends.append((process.exitcode, decided))
        if process.exitcode == 0:
            break
    assert ends[-1] == (0, True)
    assert set(ends[:-1]) == {(KILLED, False)}
    assert len(ends) > 5  # reading, beginning, writing, committing


def test_an_approval_killed_at_a_random_moment_is_wholly_there_or_not_and_can_be_given_again(
    hitl: Hitl,
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown when the test fails
    chance = random.Random(seed)
    hitl.worker()
    with hitl.client() as client:
        ids = [f"r{n}" for n in range(KILLS + 1)]
        for id in ids:
            begin(client, id, "approval", id)
        waiting(client, len(ids))

        began = time.monotonic()
        hitl.ok("approve", ids[0])
        usual_s = time.monotonic() - began
        for id in ids[1:]:
            command = hitl.popen("approve", id)
            with suppress(subprocess.TimeoutExpired):
                command.wait(timeout=chance.uniform(0.3, 1.0) * usual_s)  # earlier, Python still starts
            command.kill()
            command.communicate()
            is_whole(promise_of(client, f"{id}:1"))
            hitl.ok("approve", id)
            assert is_whole(promise_of(client, f"{id}:1"))
        for id in ids:
            result_of(client, id)


def is_whole(promise: Promise) -> bool:
    """Return whether a promise was decided; check that it has all that belongs to that, or none of it."""
    if promise.state == "pending":
        assert promise.settled_at is None
        assert promise.value is None or (promise.value.data is None and not promise.value.headers)
        return False
    assert promise.state == "resolved"
    assert promise.settled_at is not None
    assert audit_of(promise).by == "ada"
    return True
