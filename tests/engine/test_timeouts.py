"""Deadlines, leases and delays, by the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.engine.server import FIRE_LIMIT
from tests.engine.conftest import (
    EXTERNAL,
    INTERNAL,
    LEASE_MS,
    START_MS,
    TARGETED,
    TIMER,
    request,
)

if TYPE_CHECKING:
    from tests.engine.conftest import Engine

FAR_MS = 10**12


@pytest.mark.parametrize(
    ("tags", "state"),
    [
        (INTERNAL, "rejected_timedout"),
        (EXTERNAL, "rejected_timedout"),
        (TARGETED, "rejected_timedout"),
        (TIMER, "resolved"),
        (TIMER | TARGETED, "resolved"),
        (TIMER | EXTERNAL, "resolved"),
        ({"resonate:timer": "false"}, "rejected_timedout"),
    ],
)
def test_at_its_deadline_a_promise_is_settled_by_it(engine: Engine, tags: dict[str, str], state: str) -> None:
    engine.create("p", tags, life=10)
    engine.clock.advance(9)
    assert engine.promise("p")["state"] == "pending"

    engine.clock.advance(1)

    shown = engine.promise("p")
    assert (shown["state"], shown["settledAt"], shown["value"]) == (state, START_MS + 10, {})


def test_a_deadline_is_stamped_with_itself_and_not_with_when_it_was_noticed(engine: Engine) -> None:
    engine.create("p", life=10)
    engine.clock.advance(1_000)

    engine.run_batch()

    assert engine.stored("SELECT state, settled_at FROM promises") == [
        {"state": "rejected_timedout", "settled_at": START_MS + 10}
    ]


def test_a_deadline_resumes_who_awaits_and_tells_who_listens(engine: Engine) -> None:
    engine.hold("w")
    engine.create("p", life=10)
    engine.suspend("w", 1, "p")
    engine.ok("promise.register_listener", awaited="p", address="poll://any@workers")
    engine.clock.advance(10)

    kinds = {message["kind"] for message in engine.fetch()}

    assert kinds == {"execute", "unblock"}


def test_firing_a_deadline_twice_is_harmless(engine: Engine) -> None:
    engine.hold("w")
    engine.create("p", life=10)
    engine.suspend("w", 1, "p")
    engine.clock.advance(10)

    engine.run_batch()
    engine.run_batch()

    assert engine.task("w")["resumes"] == 1


def test_a_deadline_ends_the_promises_own_task(engine: Engine) -> None:
    engine.hold("t", ttl=FAR_MS, life=10)
    engine.clock.advance(10)

    assert engine.fulfill("t", 1)[0] == 409
    assert engine.task("t") == {"id": "t", "state": "fulfilled", "version": 1, "resumes": 0}


def test_a_lapsed_lease_puts_the_task_on_offer_at_its_version(engine: Engine) -> None:
    engine.hold("t")
    engine.clock.advance(LEASE_MS - 1)
    assert engine.offers() == []

    engine.clock.advance(1)

    assert engine.offers() == [("t", 1)]
    assert engine.task("t") == {"id": "t", "state": "pending", "version": 1, "resumes": 0}
    assert engine.acquire("t", 1, "w2")[1]["task"]["version"] == 2


def test_who_lost_the_lease_can_do_nothing_more(engine: Engine) -> None:
    engine.hold("t")
    engine.clock.advance(LEASE_MS)
    engine.acquire("t", 1, "w2")

    assert engine.fulfill("t", 1)[0] == 409
    assert engine.status("task.release", id="t", version=1) == 409
    assert engine.task("t")["pid"] == "w2"


def test_a_delayed_task_is_offered_when_its_delay_ends(engine: Engine) -> None:
    engine.create("t", TARGETED | {"resonate:delay": str(START_MS + 50)})
    assert engine.offers() == []
    engine.clock.advance(49)
    assert engine.offers() == []

    engine.clock.advance(1)

    assert engine.offers() == [("t", 0)]


@pytest.mark.parametrize("delay", ["0", "1", "", "soon", "-5", "1.5", "९" * 40])
def test_a_delay_that_has_passed_or_is_none_delays_nothing(engine: Engine, delay: str) -> None:
    engine.create("t", TARGETED | {"resonate:delay": delay})

    assert engine.offers() == [("t", 0)]


@pytest.mark.parametrize("delay", ["9" * 18, "9" * 19])
def test_a_delay_beyond_all_time_keeps_the_task_from_being_offered(engine: Engine, delay: str) -> None:
    engine.create("t", TARGETED | {"resonate:delay": delay})
    engine.clock.advance(1_000)

    assert engine.task("t")["state"] == "pending"
    assert engine.offers() == []


def test_a_batch_says_when_something_will_be_due(engine: Engine) -> None:
    create = request("promise.create", {"id": "p", "timeoutAt": START_MS + 500, "tags": EXTERNAL})
    batch = engine.run_batch(create)
    assert (batch.due, batch.sooner) == (START_MS + 500, True)

    engine.hold("t", ttl=100, life=1_000)
    assert engine.run_batch().due == START_MS + 100

    later = request("promise.create", {"id": "q", "timeoutAt": START_MS + 900, "tags": EXTERNAL})
    batch = engine.run_batch(later)
    assert (batch.due, batch.sooner) == (START_MS + 100, False)


def test_nothing_is_due_where_nothing_waits(engine: Engine) -> None:
    engine.create("internal", INTERNAL, life=10)
    engine.create("p")
    engine.settle("p")

    assert engine.run_batch().due > START_MS + FAR_MS


def backlog(engine: Engine, tags: dict[str, str]) -> list[str]:
    """Create more promises than one batch fires, let them all fall due, and return the ids."""
    ids = [f"p{n:04}" for n in range(FIRE_LIMIT + 3)]
    creates = [{"id": id, "timeoutAt": START_MS + 10 + n, "tags": tags} for n, id in enumerate(ids)]
    engine.run_batch(*(request("promise.create", data) for data in creates))
    engine.clock.advance(10_000)
    return ids


def test_a_backlog_of_deadlines_is_worked_off_batch_by_batch(engine: Engine) -> None:
    backlog(engine, EXTERNAL)

    first = engine.run_batch()
    assert first.due <= first.now
    assert engine.run_batch().due > first.now

    assert engine.stored("SELECT count(*) AS n FROM promises WHERE state = 'pending'") == [{"n": 0}]


def test_behind_a_backlog_of_deadlines_no_read_shows_a_promise_as_pending(engine: Engine) -> None:
    ids = backlog(engine, TARGETED)

    assert engine.promise(ids[-1])["state"] == "rejected_timedout"


def test_behind_a_backlog_of_deadlines_no_task_of_a_dead_promise_is_offered(engine: Engine) -> None:
    backlog(engine, TARGETED)

    assert engine.offers() == []


def test_behind_a_backlog_of_deadlines_a_lapsed_lease_of_a_dead_promise_does_not_lapse_into_an_offer(
    engine: Engine,
) -> None:
    engine.hold("t", ttl=5, life=9_000)
    backlog(engine, EXTERNAL)

    engine.run_batch()

    assert engine.stored("SELECT state FROM tasks") == [{"state": "acquired"}]
    assert engine.task("t")["state"] == "fulfilled"


def test_behind_a_backlog_of_deadlines_a_task_search_shows_what_has_ended(engine: Engine) -> None:
    ids = backlog(engine, TARGETED)

    status, data = engine.send("task.search", limit=10_000)

    assert status == 200
    assert {task["state"] for task in data["tasks"]} == {"fulfilled"}
    assert len(data["tasks"]) == len(ids)


@pytest.mark.parametrize(("state", "all_of_them"), [("pending", False), ("fulfilled", True)])
def test_behind_a_backlog_of_deadlines_a_task_search_by_state_finds_what_it_shows(
    engine: Engine, state: str, all_of_them: bool
) -> None:
    ids = backlog(engine, TARGETED)

    found = engine.ok("task.search", state=state, limit=10_000)["tasks"]

    assert [task["id"] for task in found] == (ids if all_of_them else [])
