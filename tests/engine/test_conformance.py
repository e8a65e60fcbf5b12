"""The questions of the specification's implementation-questions.md, Part C: one right answer each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.conftest import (
    EXTERNAL,
    INTERNAL,
    LEASE_MS,
    START_MS,
    TARGETED,
    TIMER,
    Clock,
    Worker,
    action,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.conftest import Engine

LONG_MS = 10**9
"""A lease that outlasts every deadline here."""


def dead_task(engine: Engine, state: str) -> int:
    """Bring the task `t` into a state, let its deadline pass untouched, and return its version."""
    engine.create("p", EXTERNAL, life=LONG_MS)
    if state == "pending":
        engine.create("t", TARGETED, life=100)
    else:
        engine.hold("t", ttl=LONG_MS, life=100)
    if state == "suspended":
        engine.suspend("t", 1, "p")
    if state == "halted":
        engine.ok("task.halt", id="t")
    version: int = engine.task("t")["version"]
    engine.clock.advance(100)
    return version


STATES = ["pending", "acquired", "suspended", "halted"]


@pytest.mark.parametrize(
    ("tags", "fires"),
    [
        (INTERNAL, False),
        ({"resonate:scope": "local"}, False),
        ({"resonate:external": "false"}, False),
        (EXTERNAL, True),
        (TARGETED, True),
        (TIMER, True),
        (TIMER | TARGETED, True),
        ({"resonate:scope": "global"}, True),
    ],
)
def test_c1_deadlines_fire_by_themselves_for_external_promises_and_no_others(
    engine: Engine, tags: dict[str, str], fires: bool
) -> None:
    engine.create("p", tags, life=10)
    assert (engine.run_batch().due == START_MS + 10) is fires
    engine.clock.advance(10)

    engine.run_batch()

    stored = engine.stored("SELECT state FROM promises")[0]["state"]
    assert (stored != "pending") is fires


def test_c1_an_internal_promise_does_not_fire_along_with_its_neighbours(engine: Engine) -> None:
    engine.create("step", INTERNAL, life=10)
    engine.create("p", EXTERNAL, life=10)
    engine.clock.advance(10)

    engine.run_batch()

    assert engine.stored("SELECT id FROM promises WHERE state = 'pending'") == [{"id": "step"}]


def test_c2_a_callback_cannot_attach_to_an_internal_promise(engine: Engine) -> None:
    engine.hold("w")
    engine.create("step", INTERNAL)

    assert engine.status("promise.register_callback", awaited="step", awaiter="w") == 422
    assert engine.suspend("w", 1, "step")[0] == 422
    engine.settle("step")
    assert engine.status("promise.register_callback", awaited="step", awaiter="w") == 422


def test_c3_a_listener_cannot_attach_to_an_internal_promise(engine: Engine) -> None:
    engine.create("step", INTERNAL)

    assert engine.status("promise.register_listener", awaited="step", address="http://x") == 422
    engine.settle("step")
    assert engine.status("promise.register_listener", awaited="step", address="http://x") == 422


@pytest.mark.parametrize("state", STATES)
def test_c4_a_task_past_its_deadline_is_neither_taken_halted_nor_continued(
    engine: Engine, state: str
) -> None:
    version = dead_task(engine, state)

    assert engine.status("task.halt", id="t") == 409
    assert engine.status("task.continue", id="t") == 409
    assert engine.acquire("t", version)[0] == 409
    answer = engine.hold_again("t")
    assert (answer["task"]["state"], answer["promise"]["state"]) == ("fulfilled", "rejected_timedout")


@pytest.mark.parametrize("state", STATES)
def test_c5_a_task_past_its_deadline_is_never_offered(engine: Engine, state: str) -> None:
    dead_task(engine, state)
    assert engine.offers() == []

    engine.clock.advance(10 * LEASE_MS)

    assert engine.offers() == []
    assert engine.task("t")["state"] == "fulfilled"


def test_c5_a_lease_that_lapses_with_the_deadline_offers_nothing(engine: Engine) -> None:
    engine.hold("t", ttl=100, life=100)
    engine.clock.advance(100)

    assert engine.offers() == []


def test_c6_a_settlement_does_not_resume_an_awaiter_that_is_past_its_deadline(engine: Engine) -> None:
    dead_task(engine, "suspended")

    settle = request("promise.settle", {"id": "p", "state": "resolved"})
    deliveries = engine.server.run_batch([settle], [Worker()]).deliveries

    assert list(deliveries) == []
    assert engine.task("t") == {"id": "t", "state": "fulfilled", "version": 1, "resumes": 0}


def test_c6_two_deadlines_at_one_instant_resume_nobody_dead(engine: Engine) -> None:
    engine.hold("t", ttl=LONG_MS, life=100)
    engine.create("p", EXTERNAL, life=100)
    engine.suspend("t", 1, "p")
    engine.clock.advance(100)

    assert engine.offers() == []
    assert engine.task("t")["state"] == "fulfilled"


def test_c6_an_awaiter_that_is_dead_and_not_yet_fired_is_skipped(engine: Engine) -> None:
    """The earlier deadline fires first, so the awaiter is still stored as suspended when it is drained."""
    engine.hold("t", ttl=LONG_MS, life=100)
    engine.create("p", EXTERNAL, life=50)
    engine.suspend("t", 1, "p")
    engine.clock.advance(200)

    batch = engine.server.run_batch([], [Worker()])

    assert batch.deliveries == []
    assert batch.offered == set()
    assert engine.task("t") == {"id": "t", "state": "fulfilled", "version": 1, "resumes": 0}


def test_c7_a_heartbeat_keeps_no_task_alive_past_its_deadline(engine: Engine) -> None:
    dead_task(engine, "acquired")

    engine.ok("task.heartbeat", pid="w1", tasks=[{"id": "t", "version": 1}])

    assert engine.task("t")["state"] == "fulfilled"


@pytest.mark.parametrize("state", STATES)
def test_c8_every_answer_about_a_dead_task_shows_it_dead(engine: Engine, state: str) -> None:
    version = dead_task(engine, state)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("promise.get", {"id": "t"}),
        ("promise.create", {"id": "t", "timeoutAt": START_MS + LONG_MS, "tags": TARGETED}),
        ("promise.settle", {"id": "t", "state": "resolved"}),
        ("promise.register_listener", {"awaited": "t", "address": "http://x"}),
        ("promise.search", {}),
        ("task.get", {"id": "t"}),
        ("task.search", {}),
    ]
    # One batch, so that none of them can have materialised it for another batch's sake.
    answers = engine.batch(*(request(kind, data) for kind, data in asked))

    records = [data[field] for _, data in answers for field in ("promise", "task") if field in data]
    records += [
        r for _, data in answers for f in ("promises", "tasks") for r in data.get(f, []) if r["id"] == "t"
    ]
    assert len(records) == len(asked)
    assert {record["state"] for record in records} == {"rejected_timedout", "fulfilled"}
    assert engine.fulfill("t", version)[0] == 409


@pytest.mark.parametrize("asked", ["promise.get", "promise.create", "promise.settle", "preload", "fence"])
def test_c8_every_answer_about_a_dead_step_shows_it_dead(engine: Engine, asked: str) -> None:
    """An internal promise has no deadline that fires: each way to look at it has to."""
    engine.hold("t", ttl=LONG_MS, life=LONG_MS)
    create = {"id": "t:1", "timeoutAt": START_MS + 10, "tags": INTERNAL}
    settle = {"id": "t:1", "state": "resolved"}
    engine.fence("t", 1, "promise.create", **create)
    engine.clock.advance(10)

    shown = {
        "promise.get": lambda: engine.promise("t:1"),
        "promise.create": lambda: engine.ok("promise.create", **create)["promise"],
        "promise.settle": lambda: engine.ok("promise.settle", **settle)["promise"],
        "preload": lambda: preloaded(engine),
        "fence": lambda: engine.fence("t", 1, "promise.settle", **settle)[1]["action"]["data"]["promise"],
    }[asked]()

    assert (shown["state"], shown["settledAt"]) == ("rejected_timedout", START_MS + 10)


def preloaded(engine: Engine) -> Any:
    """Return the one promise that acquiring `t` brings along."""
    engine.ok("task.release", id="t", version=1)
    [promise] = engine.acquire("t", 1)[1]["preload"]
    return promise


def test_c9_every_offer_names_the_version_that_can_be_acquired(engine: Engine) -> None:
    engine.create("t", TARGETED)
    for expected in range(4):
        [(id, version)] = engine.offers()
        assert version == expected
        assert engine.acquire(id, version)[1]["task"]["version"] == expected + 1
        engine.ok("task.release", id=id, version=expected + 1)


@pytest.mark.parametrize("asked", ["task.acquire", "task.create"])
def test_c10_of_two_workers_one_holds_the_task(open_engine: Callable[[Clock], Engine], asked: str) -> None:
    clock = Clock()
    one, other = open_engine(clock), open_engine(clock)
    one.create("t", TARGETED)

    def take(engine: Engine, pid: str) -> int:
        if asked == "task.acquire":
            return engine.acquire("t", 0, pid)[0]
        create = {"id": "t", "timeoutAt": clock.now + 1, "tags": TARGETED}
        return engine.send("task.create", pid=pid, ttl=9, action=action("promise.create", create))[0]

    assert [take(one, "w1"), take(other, "w2")] == [200, 409]
    assert other.task("t")["pid"] == "w1"


def test_c10_who_held_the_task_before_holds_it_no_more(engine: Engine) -> None:
    engine.hold("t", ttl=100)
    engine.clock.advance(100)
    engine.acquire("t", 1, "w2")

    engine.ok("task.heartbeat", pid="w1", tasks=[{"id": "t", "version": 1}, {"id": "t", "version": 2}])
    assert engine.fence("t", 1, "promise.create", id="x", timeoutAt=START_MS + LONG_MS)[0] == 409
    assert engine.fulfill("t", 1)[0] == 409
    engine.clock.advance(LEASE_MS)
    assert engine.task("t")["state"] == "pending"


@pytest.mark.parametrize("how", ["settled", "timed out"])
def test_c11_a_settled_promise_takes_no_callback_and_no_listener(engine: Engine, how: str) -> None:
    engine.hold("w")
    engine.create("p", EXTERNAL, life=10)
    if how == "settled":
        engine.settle("p")
    else:
        engine.clock.advance(10)

    for kind, whom in (("promise.register_callback", "awaiter"), ("promise.register_listener", "address")):
        answer = engine.ok(kind, awaited="p", **{whom: "w" if whom == "awaiter" else "http://x"})
        assert answer["promise"]["state"] != "pending"

    assert engine.stored("SELECT * FROM callbacks") == []
    assert engine.stored("SELECT * FROM listeners") == []
    assert engine.stored("SELECT * FROM unblocks") == []
    assert engine.task("w")["resumes"] == 0


@pytest.mark.parametrize("kind", ["debug.reset", "debug.start", "debug.tick", "debug.snap", "debug.stop"])
def test_c12_there_is_no_debug_surface_to_be_left_open(engine: Engine, kind: str) -> None:
    engine.create("p")

    assert engine.status(kind) == 403
    assert engine.promise("p")["state"] == "pending"
