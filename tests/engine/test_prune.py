"""Removing finished runs: all of them and nothing else, in small steps, harmless wherever it ends."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitl_cli.engine import prune as pruning
from hitl_cli.engine.prune import UNFETCHED_MS, Pruned, plan, prune
from hitl_cli.engine.wall_clock import now_ms
from tests.conftest import wait_until
from tests.engine.conftest import EXTERNAL, INTERNAL, TARGETED, Clock, Engine, Worker, action
from tests.engine.test_backup import write_on
from tests.recovery import processes

if TYPE_CHECKING:
    from collections.abc import Callable

DAY_MS = 86_400_000
OLDER_MS = 90 * DAY_MS
LIFE_MS = 365 * DAY_MS
LISTENER = "poll://uni@people/p1"


def finished(engine: Engine, id: str) -> None:
    """Run a workflow with a step and a question to its end."""
    engine.hold(id, life=LIFE_MS)
    far = engine.clock.now + LIFE_MS
    engine.fence(id, 1, "promise.create", id=f"{id}:1", timeoutAt=far, tags=INTERNAL)
    engine.fence(id, 1, "promise.settle", id=f"{id}:1", state="resolved")
    engine.fence(id, 1, "promise.create", id=f"{id}:2", timeoutAt=far, tags=EXTERNAL | {"hitl:request": "1"})
    engine.suspend(id, 1, f"{id}:2")
    engine.settle(f"{id}:2")
    engine.acquire(id, 1)
    assert engine.fulfill(id, 2)[0] == 200


def later(engine: Engine, days: int = 100) -> None:
    """Let time pass, and something happen, so that the newest promise is not one of those before."""
    engine.clock.advance(days * DAY_MS)
    engine.create(f"at-{engine.clock.now}", life=LIFE_MS)


def pruned(engine: Engine, older_ms: int = OLDER_MS) -> Pruned:
    """Prune, and check that it was announced."""
    announced = plan(engine.path, older_ms=older_ms, clock=engine.clock)
    done = prune(engine.path, older_ms=older_ms, clock=engine.clock, progress=lambda _: None)
    for name in ("runs", "promises", "kept", "first_ended_at", "last_ended_at"):
        assert getattr(announced, name) == getattr(done, name)
    assert dangling(engine.path) == []
    return done


def dangling(path: Path) -> list[str]:
    """Return what refers to a promise that is not there."""
    references = {
        "tasks": "seq",
        "callbacks": "awaited",
        "callbacks ": "awaiter",
        "listeners": "promise",
        "unblocks": "promise",
        "tags": "promise",
        "promises": "owner",
    }
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [
            f"{table}.{column} = {seq}"
            for table, column in references.items()
            for (seq,) in db.execute(
                f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"
                f" AND {column} NOT IN (SELECT seq FROM promises)"
            )
        ]


def ids(engine: Engine) -> list[str]:
    """Return the ids of all promises that are there, without those that only say that time passed."""
    return [
        row["id"] for row in engine.stored("SELECT id FROM promises ORDER BY id") if row["id"][:3] != "at-"
    ]


def test_every_table_that_may_refer_to_a_promise_is_known() -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Path(folder) / "hitl.db", Clock())
        tables = {row["name"] for row in engine.stored("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        engine.server.close()

    known = {"promises", "tasks", "callbacks", "listeners", "unblocks", "tags"}
    assert tables == known | {"clock", "schedules", "traces"}, "does prune have to remove from the new one?"


def test_a_run_that_ended_long_ago_goes_with_all_its_steps(engine: Engine) -> None:
    finished(engine, "old")
    ended_at = engine.clock.now
    later(engine)
    finished(engine, "new")

    done = pruned(engine)

    assert (done.runs, done.promises) == (1, 3)
    assert done.first_ended_at == done.last_ended_at == ended_at
    assert ids(engine) == ["new", "new:1", "new:2"]
    assert pruned(engine).runs == 0


def test_a_run_goes_with_the_promises_that_name_it_as_their_origin(engine: Engine) -> None:
    """The ids of the Rust SDK do not begin with the run's id and ':'."""
    finished(engine, "old")
    engine.create("old.0", INTERNAL | {"resonate:origin": "old"}, life=LIFE_MS)
    engine.settle("old.0")
    engine.create("old.x", INTERNAL, life=LIFE_MS)
    later(engine)

    assert pruned(engine).promises == 4
    assert ids(engine) == ["old.x"]


def test_what_ended_after_the_cutoff_stays(engine: Engine) -> None:
    finished(engine, "a")
    engine.clock.advance(20 * DAY_MS)
    finished(engine, "b")
    later(engine, 80)

    assert pruned(engine).runs == 1
    assert ids(engine) == ["b", "b:1", "b:2"]


def test_a_run_that_goes_on_stays_however_old(engine: Engine) -> None:
    engine.hold("held", ttl=DAY_MS, life=LIFE_MS)
    engine.create("offered", TARGETED, life=LIFE_MS)
    engine.hold("blocked", life=LIFE_MS)
    engine.fence(
        "blocked", 1, "promise.create", id="blocked:1", timeoutAt=engine.clock.now + LIFE_MS, tags=EXTERNAL
    )
    engine.suspend("blocked", 1, "blocked:1")
    before = ids(engine)
    later(engine)

    assert pruned(engine).kept == {"live": 3}
    assert ids(engine) == before


@pytest.mark.parametrize("tags", [EXTERNAL, TARGETED])
def test_a_run_stays_while_a_part_of_it_goes_on(engine: Engine, tags: dict[str, str]) -> None:
    engine.hold("run", life=LIFE_MS)
    engine.fence("run", 1, "promise.create", id="run:1", timeoutAt=engine.clock.now + LIFE_MS, tags=tags)
    engine.fulfill("run", 1)
    later(engine)
    assert pruned(engine).kept == {"live": 1}

    engine.settle("run:1")
    later(engine, 89)
    assert pruned(engine).kept == {"recent": 1}

    later(engine, 1)
    assert pruned(engine).runs == 1
    assert ids(engine) == []


def test_a_step_that_was_never_finished_goes_with_its_run(engine: Engine) -> None:
    engine.hold("run", life=LIFE_MS)
    engine.fence("run", 1, "promise.create", id="run:1", timeoutAt=engine.clock.now + LIFE_MS, tags=INTERNAL)
    engine.settle("run", "rejected_canceled")
    later(engine)

    assert pruned(engine).promises == 2
    assert ids(engine) == []


def test_a_run_stays_while_the_workflow_that_started_it_goes_on(engine: Engine) -> None:
    engine.hold("parent", ttl=LIFE_MS, life=LIFE_MS)
    far = engine.clock.now + LIFE_MS
    engine.fence("parent", 1, "promise.create", id="other", timeoutAt=far, tags=TARGETED)
    engine.acquire("other", 0)
    engine.fulfill("other", 1)
    later(engine)

    assert pruned(engine).kept == {"live": 1, "needed": 1}
    status, data = engine.fence("parent", 1, "promise.create", id="other", timeoutAt=far, tags=TARGETED)
    assert (status, data["action"]["data"]["promise"]["state"]) == (200, "resolved")

    engine.fulfill("parent", 1)
    later(engine, 1)
    assert pruned(engine).runs == 1
    assert ids(engine) == ["parent"]


def test_what_a_run_created_outside_of_its_lineage_stays_and_belongs_to_nobody(engine: Engine) -> None:
    engine.hold("run", life=LIFE_MS)
    far = engine.clock.now + LIFE_MS
    engine.fence("run", 1, "promise.create", id="shared", timeoutAt=far, tags=INTERNAL)
    engine.fence("run", 1, "promise.create", id="other", timeoutAt=far, tags=TARGETED)
    engine.fulfill("run", 1)
    later(engine)

    assert pruned(engine).runs == 1

    assert ids(engine) == ["other", "shared"]
    assert engine.stored("SELECT count(*) AS n FROM promises WHERE owner IS NOT NULL") == [{"n": 0}]


def test_promises_that_are_part_of_no_run_stay(engine: Engine) -> None:
    engine.create("alone")
    engine.create("lost:1", TARGETED)
    engine.settle("alone")
    engine.settle("lost:1")
    later(engine)

    assert pruned(engine).runs == 0
    assert ids(engine) == ["alone", "lost:1"]


def test_a_run_whose_id_begins_like_anothers_stays(engine: Engine) -> None:
    finished(engine, "a")
    later(engine)
    for id in ("ab", "a.b", "a;b", "a9"):
        engine.hold(id)

    assert pruned(engine).promises == 3
    assert ids(engine) == ["a.b", "a9", "a;b", "ab"]


def test_a_message_that_is_not_fetched_keeps_its_run_for_a_while(engine: Engine) -> None:
    engine.hold("run", life=LIFE_MS)
    engine.ok("promise.register_listener", awaited="run", address=LISTENER)
    engine.fulfill("run", 1)
    later(engine, 29)

    assert pruned(engine, 10 * DAY_MS).kept == {"unfetched": 1}

    [message] = engine.fetch(Worker(takes=[LISTENER]))
    assert message["data"]["promise"]["state"] == "resolved"
    assert pruned(engine, 10 * DAY_MS).runs == 1


def test_a_message_that_nobody_fetches_goes_with_its_run(engine: Engine) -> None:
    engine.hold("run", life=LIFE_MS)
    engine.ok("promise.register_listener", awaited="run", address=LISTENER)
    engine.fulfill("run", 1)
    engine.clock.advance(UNFETCHED_MS)
    later(engine, 1)

    assert pruned(engine, 10 * DAY_MS).runs == 1
    assert engine.fetch(Worker(takes=[LISTENER])) == []


def test_a_run_that_ended_while_it_awaited_another_leaves_nothing_behind(engine: Engine) -> None:
    engine.create("outside", life=LIFE_MS)
    engine.hold("run", life=LIFE_MS)
    engine.suspend("run", 1, "outside")
    engine.settle("run", "rejected_canceled")
    later(engine)

    assert pruned(engine).runs == 1

    assert engine.stored("SELECT * FROM callbacks") == []
    assert engine.settle("outside")["state"] == "resolved"


def test_a_pruned_id_is_free_for_a_new_run(engine: Engine) -> None:
    finished(engine, "again")
    later(engine)
    pruned(engine)

    assert engine.hold("again")["version"] == 1
    assert engine.promise("again")["state"] == "pending"
    assert engine.ok("promise.search", tags={"resonate:origin": "again"})["promises"][0]["id"] == "again"


def test_no_number_is_given_out_twice(engine: Engine) -> None:
    finished(engine, "a")
    finished(engine, "newest")
    engine.clock.advance(100 * DAY_MS)
    last = engine.stored("SELECT max(seq) AS seq FROM promises")[0]["seq"]

    assert pruned(engine).kept == {"newest": 1}

    engine.create("next")
    assert engine.stored("SELECT seq FROM promises WHERE id = 'next'") == [{"seq": last + 1}]
    assert pruned(engine).runs == 1


def test_a_clock_that_once_ran_ahead_costs_nothing_that_ended_lately(
    open_engine: Callable[[Clock], Engine],
) -> None:
    engine = open_engine(Clock(now_ms()))
    ahead = open_engine(Clock(now_ms() + LIFE_MS))
    finished(engine, "run")
    ahead.create("from-the-future")

    done = prune(engine.path, older_ms=OLDER_MS, clock=engine.clock, progress=lambda _: None)

    assert done.runs == 0


def test_a_huge_run_goes_in_small_steps_its_root_last(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    finished(engine, "a")
    finished(engine, "b")
    later(engine)
    left: list[list[str]] = []

    def note(_began: float) -> None:
        left.append(ids(engine))

    monkeypatch.setattr(pruning, "pause", note)
    pruned(engine)

    assert left[:3] == [["a", "b", "b:1", "b:2"], ["b", "b:2"], []]


def test_the_file_becomes_smaller(engine: Engine) -> None:
    assert engine.stored("PRAGMA auto_vacuum") == [{"auto_vacuum": 2}]
    for n in range(40):
        engine.hold(f"run-{n}", life=LIFE_MS)
        value = {"data": "x" * 20_000}
        engine.send(
            "task.fulfill",
            id=f"run-{n}",
            version=1,
            action={
                "kind": "promise.settle",
                "head": {},
                "data": {"id": f"run-{n}", "state": "resolved", "value": value},
            },
        )
    later(engine)
    engine.server.store.checkpoint()
    before = engine.path.stat().st_size

    done = pruned(engine)

    assert done.runs == 40
    assert done.given_back > 800_000
    assert done.free == 0
    assert before - engine.path.stat().st_size == done.given_back


def test_a_file_that_cannot_become_smaller_uses_its_space_again(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        db.execute("PRAGMA auto_vacuum = NONE")
        db.execute("PRAGMA journal_mode = WAL")
    engine = Engine(tmp_path / "old.db", Clock())
    try:
        for n in range(100):
            finished(engine, f"run-{n}")
        later(engine)

        done = pruned(engine)

        assert (done.runs, done.given_back) == (100, 0)
        assert done.free > 0
    finally:
        engine.server.close()


def test_others_work_on_while_runs_are_removed(engine: Engine) -> None:
    engine.clock.now = now_ms() - 100 * DAY_MS
    for n in range(50):
        finished(engine, f"run-{n}")
    engine.clock.now = now_ms()
    writer = processes.start(write_on, engine.path)

    def written() -> int:
        count: int = engine.stored("SELECT count(*) AS n FROM promises WHERE root = 0 AND owner IS NULL")[0][
            "n"
        ]
        return count

    try:
        wait_until(lambda: written() > 20)
        seen = [written()]
        done = prune(engine.path, older_ms=OLDER_MS, clock=now_ms, progress=lambda _: seen.append(written()))
        wait_until(lambda: written() > seen[-1])
    finally:
        writer.kill()
        writer.join()

    assert done.runs == 50
    assert seen[-1] > seen[0]
    assert dangling(engine.path) == []


def prune_and_die(path: Path, now: int, steps: int) -> None:
    """Prune one promise at a time, and be killed after so many."""
    pruning.BATCH = 1
    left = itertools.count(steps, -1)

    def pause(began: float) -> None:
        del began
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    pruning.pause = pause
    prune(path, older_ms=OLDER_MS, clock=lambda: now, progress=lambda _: None)


def test_interrupted_anywhere_it_does_no_harm_and_the_next_one_goes_on(engine: Engine) -> None:
    finished(engine, "a")
    finished(engine, "b")
    later(engine)
    finished(engine, "new")
    for steps in (0, 1, 2):
        process = processes.start(prune_and_die, engine.path, engine.clock.now, steps)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert dangling(engine.path) == []
        assert {"new", "new:1", "new:2"} <= set(ids(engine))

    pruned(engine)

    assert ids(engine) == ["new", "new:1", "new:2"]


NAMES = ["a", "b", "c"]
STEPS = st.sampled_from(
    ["hold", "step", "ask", "call", "other", "suspend", "listen", "settle", "fulfill", "wait"]
)


def act(engine: Engine, step: str, run: str, other: str) -> None:
    """Do one thing to a run, if it can be done."""
    far = engine.clock.now + LIFE_MS
    version = task["version"] if (task := known_task(engine, run)) else 0
    created = {
        "step": (f"{run}:1", INTERNAL),
        "ask": (f"{run}:2", EXTERNAL),
        "call": (f"{run}:3", TARGETED),
        "other": (other, TARGETED),
    }
    if step in created:
        id, tags = created[step]
        engine.fence(run, version, "promise.create", id=id, tags=tags, timeoutAt=far)
    elif step == "hold":
        create = action("promise.create", {"id": run, "tags": TARGETED, "timeoutAt": far})
        engine.send("task.create", pid="w", ttl=LIFE_MS, action=create)
    elif step == "suspend":
        engine.suspend(run, version, f"{run}:2", other)
    elif step == "listen":
        engine.send("promise.register_listener", awaited=run, address=LISTENER)
    elif step == "settle":
        for id in (f"{run}:2", f"{run}:3"):
            engine.send("promise.settle", id=id, state="resolved")
    elif step == "fulfill":
        engine.fulfill(run, version)
    else:
        engine.clock.advance(40 * DAY_MS)


def known_task(engine: Engine, id: str) -> Any:
    """Return a task's record, if there is one."""
    status, data = engine.send("task.get", id=id)
    return data["task"] if status == 200 else None


def visible(engine: Engine) -> dict[str, Any]:
    """Return what can be seen of all promises, and all that live tasks would be given for their replays."""
    rows = engine.stored("SELECT seq, id FROM promises")
    seen: dict[str, Any] = {
        row["id"]: (engine.promise(row["id"]), known_task(engine, row["id"])) for row in rows
    }
    for row in engine.stored(
        "SELECT p.seq, p.id FROM promises p JOIN tasks t ON t.seq = p.seq WHERE t.state <> 'fulfilled'"
    ):
        children = engine.stored("SELECT id FROM promises WHERE owner = ? ORDER BY seq", row["seq"])
        seen["replay of " + row["id"]] = [child["id"] for child in children]
    return seen


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(STEPS, st.sampled_from(NAMES), st.sampled_from(NAMES)), min_size=5, max_size=40))
def test_whatever_happened_before_only_what_ended_long_ago_goes(steps: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Path(folder) / "hitl.db", Clock(10 * LIFE_MS))
        try:
            for step, run, other in steps:
                act(engine, step, run, other)
            later(engine, 0)
            before = visible(engine)

            pruned(engine)

            after = visible(engine)
            assert {id: before[id] for id in after} == after
            for id in before.keys() - after.keys():
                promise, task = before[id]
                unfinished_step = promise["state"] == "pending" and id.endswith(":1")
                assert unfinished_step or promise["settledAt"] <= engine.clock.now - OLDER_MS
                assert task is None or task["state"] == "fulfilled"
        finally:
            engine.server.close()
