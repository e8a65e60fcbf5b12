"""kill -9 of all kinds of processes at random moments, under load: nothing is lost.

`make storm` kills a thousand; here it is as many as a test may take.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from hitl_cli.client.wire import audit_of, decode, error_message
from hitl_cli.runs.reading import get_run
from tests.apps.steps import read_lines
from tests.recovery.storm import DECISION, Storm
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.protocol import Client
    from tests.apps.steps import Line
    from tests.conftest import Hitl
    from tests.recovery.storm import Told


pytestmark = [
    pytest.mark.heavy,
    pytest.mark.only("file", reason="reads the file; tests/postgres has its own kills"),
]

KILLS = int(os.environ.get("HITL_STORM_KILLS", "80"))
LEFT = (
    "SELECT count(*) FROM tasks WHERE state <> 'fulfilled'",
    "SELECT count(*) FROM promises WHERE state = 'pending'",
    "SELECT count(*) FROM callbacks",
)
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
STEPS_OF_A_RUN = ("1", "2", "3", "5", "6", "7")


@pytest.fixture(params=["file", "postgres"])
def storm(hitl: Hitl, request: pytest.FixtureRequest) -> Iterator[Storm]:
    """A storm over a fresh file or database. Its seed is shown when the test fails."""
    if request.param == "postgres":
        hitl.use(request.getfixturevalue("database"))
    seed = int(os.environ.get("HITL_STORM_SEED", random.randrange(2**32)))
    print(f"seed {seed}")
    with hitl.client() as client:
        raging = Storm(hitl, client, random.Random(seed))
        yield raging
        raging.end()


@pytest.mark.long
def test_processes_killed_at_random_moments_lose_no_decision_and_repeat_no_finished_step(
    hitl: Hitl, storm: Storm
) -> None:
    storm.rage(KILLS)
    storm.calm()

    lines: dict[str, list[Line]] = defaultdict(list)
    for line in read_lines(hitl.folder / "steps.log"):
        lines[line.run].append(line)
    answered = sum(bool(told) for told in storm.told.values())
    attempts = sum(len(tries) for tries in lines.values())
    print(
        f"killed {dict(storm.kills)}; {len(storm.started)} runs; {answered} decisions heard of,"
        f" {sum(map(len, storm.tried.values()))} given; {attempts} attempts at steps"
    )
    for id in storm.started:
        decision = f"{id}:{DECISION}"
        the_decision_is_one_that_was_given(
            storm.client, decision, storm.tried[decision], storm.told[decision]
        )
        the_run_is_whole(storm.client, id, lines[id])
    assert set(storm.kills) >= ({"worker", "server", "start"} if storm.on_file else {"worker", "start"})
    assert attempts >= len(STEPS_OF_A_RUN) * len(storm.started)
    (nothing_is_left_in_the_file if storm.on_file else nothing_is_left_in_the_database)(hitl)


def nothing_is_left_in_the_file(hitl: Hitl) -> None:
    """Check that a file is sound, and that nothing in it waits."""
    with closing(sqlite3.connect(hitl.database)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert [file.execute(query).fetchone()[0] for query in LEFT] == [0] * len(LEFT)


def nothing_is_left_in_the_database(hitl: Hitl) -> None:
    """Check that no transactions waited for each other in a database, and that nothing in it waits."""
    with psycopg.connect(hitl.url, autocommit=True) as database:
        database.execute("SET search_path = resonate")
        for query in (*LEFT, "SELECT count(*) FROM outbox", DEADLOCKS):
            assert database.execute(query.encode()).fetchone() == (0,), query


def the_decision_is_one_that_was_given(client: Client, id: str, tried: set[str], told: list[Told]) -> None:
    """Check that a decision stands as it was answered to whoever heard of it."""
    promise = promise_of(client, id)
    made = audit_of(promise)
    assert {one.decision_id for one in told} <= {made.id}, f"{id} was answered and is not there"
    assert sum(one.fresh for one in told) <= 1
    mark = decode(promise.value) if promise.state == "resolved" else error_message(promise.value)
    assert mark in tried
    assert made.by == "ada"
    for one in told:
        assert mark in (one.data, one.reason)


def the_run_is_whole(client: Client, id: str, lines: list[Line]) -> None:
    """Check that a run has ended as it was answered, with steps that were not run after they were done."""
    order = [line.step for line in lines]
    # A step that has begun proves that the one before it was recorded.
    assert order == sorted(order), f"{lines} {recorded_at(client, id)}"
    marks = []
    for step in STEPS_OF_A_RUN:
        promise = promise_of(client, f"{id}:{step}")
        attempts = [line for line in lines if line.step == step]
        marks.append(decode(promise.value))
        assert promise.state == "resolved"
        assert marks[-1] in [line.mark for line in attempts]
        late = [line for line in attempts if line.at > (promise.settled_at or 0)]
        assert late == [], f"{lines} {recorded_at(client, id)}"
    run = get_run(client, id)
    assert run.state == "completed", run.error
    assert run.result == {"marks": marks, "answer": seen(client, f"{id}:{DECISION}")}


def recorded_at(client: Client, id: str) -> dict[str, int | None]:
    """Return when each step of a run was recorded, ms since the epoch."""
    return {step: promise_of(client, f"{id}:{step}").settled_at for step in STEPS_OF_A_RUN}


def seen(client: Client, id: str) -> dict[str, Any]:
    """Return a decision as the workflow should have seen it."""
    promise = promise_of(client, id)
    if promise.state == "rejected":
        return {"rejected": error_message(promise.value)}
    return {"approved": decode(promise.value)}
