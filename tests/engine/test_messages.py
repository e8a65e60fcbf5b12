"""Which worker gets which message: offered tasks, and settled promises."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.engine.machine import OFFER_RETRY_MS
from tests.engine.conftest import ADDRESS, EXTERNAL, TARGETED, Clock, Worker, action, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.engine.records import Promise
    from tests.engine.conftest import Engine

OTHERS = "poll://any@others"
ONE = "poll://uni@workers/w1"


def listen(engine: Engine, id: str, address: str = ONE) -> None:
    """Create a promise and have the address listen to it."""
    engine.create(id, EXTERNAL)
    engine.ok("promise.register_listener", awaited=id, address=address)


def test_an_offer_names_the_task_at_its_version_and_has_a_head(engine: Engine) -> None:
    engine.create("t", TARGETED)

    assert engine.fetch() == [
        {
            "kind": "execute",
            "data": {"task": {"id": "t", "version": 0}},
            "head": {"version": "2026-04-01"},
        }
    ]


def test_an_unblock_carries_the_settled_promise_and_has_a_head(engine: Engine) -> None:
    listen(engine, "p")
    settled = engine.settle("p")

    assert engine.fetch(Worker([ONE])) == [
        {"kind": "unblock", "data": {"promise": settled}, "head": {"version": "2026-04-01"}}
    ]


def test_a_worker_is_handed_no_more_than_it_has_room_for_and_the_longest_waiting_first(
    engine: Engine,
) -> None:
    for id in ("c", "a", "b"):
        engine.create(id, TARGETED)
        engine.clock.advance(1)

    assert engine.offers(Worker(free=2)) == [("c", 0), ("a", 0)]
    assert engine.offers(Worker(free=2)) == [("b", 0)]


@pytest.mark.parametrize("room", [0, -1])
def test_a_worker_without_room_is_handed_no_task_but_hears_of_promises(engine: Engine, room: int) -> None:
    engine.create("t", TARGETED)
    listen(engine, "p")
    engine.settle("p")

    kinds = [message["kind"] for message in engine.fetch(Worker([ADDRESS, ONE], free=room))]

    assert kinds == ["unblock"]
    assert engine.offers() == [("t", 0)]


def held(engine: Engine, *ids: str) -> None:
    """Create tasks that are held."""
    for id in ids:
        engine.create(id, TARGETED)
        engine.ok("task.acquire", id=id, version=0, pid="w", ttl=60_000)


def test_what_ends_in_a_batch_makes_room_for_what_the_batch_hands_out(engine: Engine) -> None:
    held(engine, "done", "blocked", "lost")
    engine.create("p", EXTERNAL)
    for id in ("a", "b", "c"):
        engine.create(id, TARGETED)
    ends = [
        request("task.fulfill", fulfilling("done", 1)),
        request("task.suspend", suspending("blocked", "p")),
        request("task.fulfill", fulfilling("lost", 7)),
    ]

    batch = engine.server.run_batch(ends, [Worker(free=0)])

    assert [answer.status for answer in batch.decided] == [200, 200, 409]
    assert [json.loads(one.text)["data"]["task"]["id"] for one in batch.deliveries] == ["a", "b"]


def test_a_suspension_that_is_refused_makes_no_room(engine: Engine) -> None:
    held(engine, "t")
    engine.create("p", EXTERNAL)
    engine.settle("p")
    engine.create("a", TARGETED)

    batch = engine.server.run_batch([request("task.suspend", suspending("t", "p"))], [Worker(free=0)])

    assert ([answer.status for answer in batch.decided], batch.deliveries) == ([300], [])


def fulfilling(id: str, version: int) -> dict[str, Any]:
    settle = action("promise.settle", {"id": id, "state": "resolved", "value": {}})
    return {"id": id, "version": version, "action": settle}


def suspending(id: str, awaited: str) -> dict[str, Any]:
    callback = action("promise.register_callback", {"awaited": awaited, "awaiter": id})
    return {"id": id, "version": 1, "actions": [callback]}


def test_a_worker_whose_bell_rang_in_vain_waits_for_no_lock(engine: Engine) -> None:
    with closing(sqlite3.connect(engine.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert engine.server.run_batch([], [Worker()]).deliveries == []
        other.execute("ROLLBACK")
    engine.create("t", TARGETED)
    assert len(engine.server.run_batch([], [Worker()]).deliveries) == 1


def test_room_is_shared_by_a_workers_addresses(engine: Engine) -> None:
    engine.create("a", TARGETED)
    engine.create("b", {"resonate:target": ONE})

    assert engine.offers(Worker([ADDRESS, ONE], free=1)) == [("a", 0)]
    assert engine.offers(Worker([ADDRESS, ONE], free=1)) == [("b", 0)]


def test_what_a_worker_does_not_know_is_left_to_others(engine: Engine) -> None:
    for id in ("new:a", "old:b"):
        engine.create(id, TARGETED)

    assert engine.offers(Worker(knows=lambda promise: promise.id.startswith("old"), free=1)) == [("old:b", 0)]
    assert engine.offers(Worker()) == [("new:a", 0)]


def test_two_workers_in_one_batch_are_never_handed_the_same_task(engine: Engine) -> None:
    for id in ("a", "b", "c"):
        engine.create(id, TARGETED)
    first, second = Worker(free=2), Worker(free=2)

    deliveries = engine.server.run_batch([], [first, second]).deliveries

    assert [delivery.subscriber for delivery in deliveries] == [first, first, second]


def test_a_task_that_was_handed_over_is_not_offered_again_at_once(
    open_engine: Callable[[Clock], Engine],
) -> None:
    clock = Clock()
    one, other = open_engine(clock), open_engine(clock)
    one.create("t", TARGETED)

    assert one.offers() == [("t", 0)]
    assert other.offers() == []


def test_a_task_that_nobody_acquired_is_offered_again_after_a_while(engine: Engine) -> None:
    engine.create("t", TARGETED)
    engine.offers()
    engine.clock.advance(OFFER_RETRY_MS - 1)
    assert engine.offers() == []

    engine.clock.advance(1)

    assert engine.offers() == [("t", 0)]
    assert engine.offers() == []


def test_the_batch_says_when_a_task_will_be_offered_again(engine: Engine) -> None:
    engine.create("t", TARGETED)

    batch = engine.server.run_batch([], [Worker()])

    assert batch.due == engine.clock.now + OFFER_RETRY_MS


def test_a_task_that_was_acquired_is_not_offered_again(engine: Engine) -> None:
    engine.create("t", TARGETED)
    engine.offers()
    engine.acquire("t", 0, ttl=10 * OFFER_RETRY_MS)
    engine.clock.advance(2 * OFFER_RETRY_MS)

    assert engine.offers() == []


def test_a_task_resumed_while_an_old_offer_is_out_is_offered_at_its_newest_version(engine: Engine) -> None:
    engine.create("t", TARGETED)
    assert engine.offers() == [("t", 0)]
    engine.acquire("t", 0)
    engine.ok("task.release", id="t", version=1)

    assert engine.offers() == [("t", 1)]


def test_tasks_go_to_their_own_group_only(engine: Engine) -> None:
    engine.create("here", TARGETED)
    engine.create("there", {"resonate:target": OTHERS})

    assert engine.offers(Worker([OTHERS])) == [("there", 0)]
    assert engine.offers(Worker([ONE])) == []
    assert engine.offers() == [("here", 0)]


def test_an_unblock_is_handed_over_once(engine: Engine) -> None:
    listen(engine, "p")
    engine.settle("p")

    assert len(engine.fetch(Worker([ONE]))) == 1
    assert engine.fetch(Worker([ONE])) == []
    assert engine.stored("SELECT * FROM unblocks") == []


def test_an_unblock_waits_for_its_reader_as_long_as_it_takes(engine: Engine) -> None:
    listen(engine, "p")
    engine.settle("p")
    engine.clock.advance(10**9)

    assert [message["kind"] for message in engine.fetch(Worker([ONE]))] == ["unblock"]


def test_every_listener_hears_and_each_address_once(engine: Engine) -> None:
    listen(engine, "p", ONE)
    for address in (ONE, OTHERS):
        engine.ok("promise.register_listener", awaited="p", address=address)
    engine.settle("p")
    engine.settle("p", "rejected")

    assert len(engine.fetch(Worker([ONE]))) == 1
    assert len(engine.fetch(Worker([OTHERS]))) == 1


def test_a_batch_names_the_addresses_that_have_something_to_fetch(engine: Engine) -> None:
    listen(engine, "p", OTHERS)
    create = {"id": "t", "timeoutAt": engine.clock.now + 1_000, "tags": TARGETED}
    settle = {"id": "p", "state": "resolved"}

    batch = engine.run_batch(request("promise.create", create), request("promise.settle", settle))

    assert batch.offered == {ADDRESS, OTHERS}
    assert engine.run_batch().offered == set()


@pytest.mark.parametrize(
    ("kind", "data", "watched"),
    [
        ("promise.settle", {"id": "p", "state": "resolved"}, True),
        ("promise.settle", {"id": "step", "state": "resolved"}, False),
        ("promise.create", {"id": "q", "timeoutAt": 2_000_000, "tags": EXTERNAL}, True),
        ("promise.create", {"id": "q:1", "timeoutAt": 2_000_000}, False),
        ("promise.get", {"id": "p"}, False),
    ],
)
def test_a_batch_says_whether_people_who_watch_have_something_new_to_see(
    engine: Engine, kind: str, data: dict[str, object], watched: bool
) -> None:
    engine.create("p", EXTERNAL)
    engine.create("step", {})

    assert engine.run_batch(request(kind, data)).settled == watched


def test_messages_of_a_batch_that_failed_as_a_whole_are_still_there(engine: Engine) -> None:
    engine.create("t", TARGETED)

    class Broken(Worker):
        def wants(self, promise: object) -> bool:
            raise ZeroDivisionError(promise)

    with pytest.raises(ZeroDivisionError):
        engine.fetch(Broken())

    assert engine.offers() == [("t", 0)]


def test_what_a_worker_refused_it_is_not_asked_about_again(engine: Engine) -> None:
    asked: list[str] = []

    def wants_none(promise: Promise) -> bool:
        asked.append(promise.id)
        return False

    worker = Worker(knows=wants_none)
    engine.create("a", TARGETED)
    assert [engine.offers(worker), engine.offers(worker)] == [[], []]
    engine.create("b", TARGETED)
    assert engine.offers(worker) == []
    assert asked == ["a", "b"]
