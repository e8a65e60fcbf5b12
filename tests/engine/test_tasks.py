"""task.get, create, acquire, fence, heartbeat, suspend, fulfill, release, halt and continue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.conftest import (
    EXTERNAL,
    INTERNAL,
    LEASE_MS,
    LIFE_MS,
    START_MS,
    TARGETED,
    TIMER,
    action,
)

if TYPE_CHECKING:
    from tests.engine.conftest import Engine


def create_task(engine: Engine, id: str, tags: dict[str, str] = TARGETED, **more: Any) -> tuple[int, Any]:
    """Send task.create."""
    create = {"id": id, "timeoutAt": START_MS + LIFE_MS, "tags": tags} | more
    return engine.send("task.create", pid="w1", ttl=LEASE_MS, action=action("promise.create", create))


def test_a_task_that_does_not_exist_is_not_found(engine: Engine) -> None:
    assert engine.send("task.get", id="t")[0] == 404
    assert engine.acquire("t", 0)[0] == 404
    assert engine.fence("t", 1, "promise.create", id="x", timeoutAt=1)[0] == 404
    assert engine.suspend("t", 1, "x")[0] == 404
    assert engine.fulfill("t", 1)[0] == 404
    for kind in ("task.release", "task.halt", "task.continue"):
        assert engine.send(kind, id="t", version=1)[0] == 404


def test_task_create_holds_the_new_task_at_version_one(engine: Engine) -> None:
    status, data = create_task(engine, "t")

    assert status == 200
    assert data["task"] == {
        "id": "t",
        "state": "acquired",
        "version": 1,
        "resumes": 0,
        "ttl": LEASE_MS,
        "pid": "w1",
    }
    assert data["promise"] == engine.promise("t")
    assert data["preload"] == []
    assert engine.offers() == []


@pytest.mark.parametrize("tags", [INTERNAL, EXTERNAL, TIMER, TIMER | TARGETED])
def test_task_create_needs_a_target_and_no_timer(engine: Engine, tags: dict[str, str]) -> None:
    assert create_task(engine, "t", tags)[0] == 400
    assert engine.status("promise.get", id="t") == 404


def test_task_create_takes_a_task_that_is_on_offer(engine: Engine) -> None:
    engine.create("t", TARGETED)

    status, data = create_task(engine, "t")

    assert (status, data["task"]["state"], data["task"]["version"]) == (200, "acquired", 1)


@pytest.mark.parametrize("state", ["acquired", "suspended", "halted"])
def test_task_create_is_a_conflict_where_the_task_is_not_on_offer(engine: Engine, state: str) -> None:
    engine.hold("t")
    engine.create("p")
    if state == "suspended":
        engine.suspend("t", 1, "p")
    if state == "halted":
        engine.ok("task.halt", id="t")

    assert create_task(engine, "t")[0] == 409
    assert engine.task("t")["state"] == state


def test_task_create_of_a_promise_without_a_task_is_refused(engine: Engine) -> None:
    engine.create("p", EXTERNAL)

    assert create_task(engine, "p")[0] == 422


def test_task_create_past_the_deadline_is_born_ended(engine: Engine) -> None:
    status, data = create_task(engine, "t", timeoutAt=START_MS)

    assert status == 200
    assert data["task"] == {"id": "t", "state": "fulfilled", "version": 0, "resumes": 0}
    assert (data["promise"]["state"], data["promise"]["settledAt"]) == ("rejected_timedout", START_MS)


def test_task_create_of_what_has_ended_shows_how_it_ended(engine: Engine) -> None:
    engine.hold("t")
    settled = engine.fulfill("t", 1)[1]["promise"]

    status, data = create_task(engine, "t")

    assert (status, data["task"]["state"], data["promise"]) == (200, "fulfilled", settled)


def test_acquire_hands_over_the_task_at_the_next_version(engine: Engine) -> None:
    created = engine.create("t", TARGETED)

    status, data = engine.acquire("t", 0, "w2", 77)

    assert status == 200
    assert data == {
        "task": {"id": "t", "state": "acquired", "version": 1, "resumes": 0, "ttl": 77, "pid": "w2"},
        "promise": created,
        "preload": [],
    }


def test_acquire_at_another_version_is_a_conflict(engine: Engine) -> None:
    engine.create("t", TARGETED)

    assert engine.acquire("t", 1)[0] == 409
    assert engine.task("t")["version"] == 0


def test_acquire_forgets_the_resumptions_that_it_hands_over(engine: Engine) -> None:
    engine.hold("t")
    engine.create("p")
    engine.suspend("t", 1, "p")
    engine.settle("p")

    assert engine.task("t")["resumes"] == 1
    assert engine.acquire("t", 1)[1]["task"]["resumes"] == 0


def test_acquire_brings_what_the_task_created_before_in_order(engine: Engine) -> None:
    engine.hold("t")
    for id in ("t:2", "t:1"):
        engine.fence("t", 1, "promise.create", id=id, timeoutAt=START_MS + LIFE_MS, tags=INTERNAL)
    engine.fence("t", 1, "promise.settle", id="t:1", state="resolved", value={"data": "IjEi"})
    engine.create("other")
    engine.ok("task.release", id="t", version=1)

    preload = engine.acquire("t", 1)[1]["preload"]

    assert preload == [engine.promise("t:2"), engine.promise("t:1")]


@pytest.mark.parametrize("kind", ["promise.create", "promise.settle"])
def test_a_fence_answers_what_the_request_inside_it_answers(engine: Engine, kind: str) -> None:
    engine.hold("t")
    data: dict[str, Any] = {"id": "t:1"}
    if kind == "promise.create":
        data |= {"timeoutAt": START_MS + LIFE_MS, "tags": EXTERNAL}
    else:
        engine.create("t:1")
        data |= {"state": "resolved", "value": {"data": "IjEi"}}

    status, answer = engine.fence("t", 1, kind, **data)

    assert status == 200
    assert answer["action"]["kind"] == kind
    assert answer["action"]["head"]["status"] == 200
    assert answer["action"]["data"] == {"promise": engine.promise("t:1")}
    assert answer["preload"] == []


def test_a_fence_passes_on_that_the_inner_request_failed(engine: Engine) -> None:
    engine.hold("t")

    status, answer = engine.fence("t", 1, "promise.settle", id="nobody", state="resolved")

    assert (status, answer["action"]["head"]["status"]) == (200, 404)
    assert isinstance(answer["action"]["data"], str)


def test_a_fence_at_another_version_changes_nothing(engine: Engine) -> None:
    engine.hold("t")

    assert engine.fence("t", 2, "promise.create", id="x", timeoutAt=START_MS + LIFE_MS)[0] == 409
    assert engine.status("promise.get", id="x") == 404


def test_a_fence_after_the_lease_has_lapsed_changes_nothing(engine: Engine) -> None:
    engine.hold("t")
    engine.clock.advance(LEASE_MS)

    assert engine.fence("t", 1, "promise.create", id="x", timeoutAt=START_MS + LIFE_MS)[0] == 409
    assert engine.status("promise.get", id="x") == 404


def test_a_task_may_not_settle_its_own_promise_through_a_fence(engine: Engine) -> None:
    engine.hold("t")

    assert engine.fence("t", 1, "promise.settle", id="t", state="resolved")[0] == 400
    assert engine.promise("t")["state"] == "pending"


def test_a_fence_carries_nothing_but_create_and_settle(engine: Engine) -> None:
    engine.hold("t")

    assert engine.fence("t", 1, "promise.get", id="x")[0] == 400


def test_a_heartbeat_renews_the_lease_by_its_own_length(engine: Engine) -> None:
    engine.hold("t", ttl=100)
    engine.clock.advance(99)
    engine.ok("task.heartbeat", pid="w1", tasks=[{"id": "t", "version": 1}])

    engine.clock.advance(99)
    assert engine.task("t")["state"] == "acquired"
    engine.clock.advance(1)
    assert engine.task("t")["state"] == "pending"


@pytest.mark.parametrize(("pid", "version"), [("w2", 1), ("w1", 0), ("w1", 2)])
def test_a_heartbeat_of_another_holder_or_version_renews_nothing(
    engine: Engine, pid: str, version: int
) -> None:
    engine.hold("t", ttl=100)
    engine.clock.advance(99)
    engine.ok("task.heartbeat", pid=pid, tasks=[{"id": "t", "version": version}])

    engine.clock.advance(1)
    assert engine.task("t")["state"] == "pending"


def test_one_heartbeat_may_name_tasks_of_many_lineages_and_some_that_are_gone(engine: Engine) -> None:
    for id in ("a", "b:1"):
        engine.hold(id, ttl=100)
    engine.clock.advance(99)
    refs = [{"id": id, "version": 1} for id in ("a", "gone", "b:1")]
    engine.ok("task.heartbeat", pid="w1", tasks=refs)

    engine.clock.advance(99)
    assert [engine.task(id)["state"] for id in ("a", "b:1")] == ["acquired", "acquired"]


def test_a_heartbeat_of_nothing_is_answered(engine: Engine) -> None:
    assert engine.send("task.heartbeat", pid="w1", tasks=[]) == (200, {})


def test_a_suspended_task_is_held_by_nobody_and_not_on_offer(engine: Engine) -> None:
    engine.hold("t")
    engine.create("p")

    assert engine.suspend("t", 1, "p") == (200, {"preload": []})

    assert engine.task("t") == {"id": "t", "state": "suspended", "version": 1, "resumes": 0}
    engine.clock.advance(LEASE_MS)
    assert engine.offers() == []
    assert engine.acquire("t", 1)[0] == 409


def test_suspending_forgets_what_settled_while_the_task_was_held(engine: Engine) -> None:
    engine.hold("t")
    for id in ("p", "q"):
        engine.create(id)
    engine.ok("promise.register_callback", awaited="p", awaiter="t")
    engine.settle("p")
    assert engine.task("t")["resumes"] == 1

    engine.suspend("t", 1, "q")

    assert engine.task("t")["resumes"] == 0


def test_suspending_on_what_has_settled_is_a_redirect_and_the_task_stays_held(engine: Engine) -> None:
    engine.hold("t")
    for id in ("t:1", "t:2"):
        engine.fence("t", 1, "promise.create", id=id, timeoutAt=START_MS + LIFE_MS, tags=EXTERNAL)
    engine.settle("t:2")

    status, data = engine.suspend("t", 1, "t:1", "t:2")

    assert status == 300
    assert data == {"preload": [engine.promise("t:1"), engine.promise("t:2")]}
    assert engine.task("t")["state"] == "acquired"
    assert engine.stored("SELECT * FROM callbacks") == []


def test_suspending_on_what_has_just_timed_out_is_a_redirect(engine: Engine) -> None:
    engine.hold("t")
    engine.create("p", life=10)
    engine.clock.advance(10)

    assert engine.suspend("t", 1, "p")[0] == 300


def test_a_task_awaiting_many_is_resumed_by_the_first_and_once(engine: Engine) -> None:
    engine.hold("t")
    for id in ("p", "q"):
        engine.create(id)
    engine.suspend("t", 1, "p", "q")

    engine.settle("q")
    assert engine.offers() == [("t", 1)]
    engine.settle("p")

    assert engine.offers() == []
    assert engine.task("t")["resumes"] == 2


@pytest.mark.parametrize("awaited", [[], ["t"], ["p", "p"], ["p", "t"]])
def test_suspending_on_nothing_on_itself_or_twice_on_one_is_malformed(
    engine: Engine, awaited: list[str]
) -> None:
    engine.hold("t")
    engine.create("p")

    assert engine.suspend("t", 1, *awaited)[0] == 400
    assert engine.task("t")["state"] == "acquired"


@pytest.mark.parametrize("awaited", ["nobody", "internal"])
def test_suspending_on_what_cannot_be_awaited_is_refused_and_leaves_no_trace(
    engine: Engine, awaited: str
) -> None:
    engine.hold("t")
    engine.create("p")
    engine.create("internal", INTERNAL)

    assert engine.suspend("t", 1, "p", awaited)[0] == 422
    assert engine.task("t")["state"] == "acquired"
    assert engine.stored("SELECT * FROM callbacks") == []


def test_fulfill_settles_the_promise_and_ends_the_task(engine: Engine) -> None:
    engine.hold("t")
    engine.clock.advance(5)

    status, data = engine.fulfill("t", 1, "rejected")

    assert status == 200
    assert (data["promise"]["state"], data["promise"]["settledAt"]) == ("rejected", START_MS + 5)
    assert engine.promise("t") == data["promise"]
    assert engine.task("t") == {"id": "t", "state": "fulfilled", "version": 1, "resumes": 0}


def test_fulfill_at_another_version_changes_nothing(engine: Engine) -> None:
    engine.hold("t")

    assert engine.fulfill("t", 2)[0] == 409
    assert engine.promise("t")["state"] == "pending"


@pytest.mark.parametrize("state", ["pending", "rejected_timedout"])
def test_fulfill_into_a_state_that_is_not_the_clients_is_malformed(engine: Engine, state: str) -> None:
    engine.hold("t")

    assert engine.fulfill("t", 1, state)[0] == 400


def test_fulfill_resumes_the_task_that_awaits_it(engine: Engine) -> None:
    engine.hold("parent")
    engine.hold("child", pid="w2")
    engine.suspend("parent", 1, "child")

    engine.fulfill("child", 1)

    assert engine.offers() == [("parent", 1)]


def test_a_released_task_is_on_offer_at_once_at_its_version(engine: Engine) -> None:
    engine.hold("t")

    assert engine.send("task.release", id="t", version=1) == (200, {})

    assert engine.task("t") == {"id": "t", "state": "pending", "version": 1, "resumes": 0}
    assert engine.offers() == [("t", 1)]


@pytest.mark.parametrize("version", [0, 2])
def test_release_at_another_version_changes_nothing(engine: Engine, version: int) -> None:
    engine.hold("t")

    assert engine.status("task.release", id="t", version=version) == 409
    assert engine.task("t")["state"] == "acquired"


@pytest.mark.parametrize("state", ["pending", "acquired", "suspended"])
def test_a_halted_task_is_not_offered_until_it_is_continued(engine: Engine, state: str) -> None:
    engine.create("t", TARGETED)
    engine.create("p")
    if state != "pending":
        engine.acquire("t", 0)
    if state == "suspended":
        engine.suspend("t", 1, "p")
    version = engine.task("t")["version"]

    assert engine.send("task.halt", id="t") == (200, {})
    assert engine.task("t") == {"id": "t", "state": "halted", "version": version, "resumes": 0}
    engine.settle("p")
    engine.clock.advance(LEASE_MS)
    assert engine.offers() == []
    assert engine.acquire("t", version)[0] == 409

    assert engine.send("task.continue", id="t") == (200, {})
    assert engine.offers() == [("t", version)]


def test_halting_twice_is_as_good_as_once(engine: Engine) -> None:
    engine.hold("t")

    assert [engine.status("task.halt", id="t") for _ in range(2)] == [200, 200]


def test_what_has_ended_can_be_neither_halted_nor_continued(engine: Engine) -> None:
    engine.hold("t")
    engine.fulfill("t", 1)

    assert engine.status("task.halt", id="t") == 409
    assert engine.status("task.continue", id="t") == 409


@pytest.mark.parametrize("halted", [True, False])
def test_continue_is_for_halted_tasks_only(engine: Engine, halted: bool) -> None:
    engine.hold("t")
    if halted:
        engine.ok("task.halt", id="t")

    assert engine.status("task.continue", id="t") == (200 if halted else 409)


def test_a_stale_holder_can_do_nothing_after_a_halt(engine: Engine) -> None:
    engine.hold("t")
    engine.create("p")
    engine.ok("task.halt", id="t")

    assert engine.fence("t", 1, "promise.settle", id="p", state="resolved")[0] == 409
    assert engine.suspend("t", 1, "p")[0] == 409
    assert engine.fulfill("t", 1)[0] == 409
    assert engine.status("task.release", id="t", version=1) == 409
    assert engine.promise("p")["state"] == "pending"


@pytest.mark.parametrize("state", ["pending", "rejected_timedout"])
def test_a_fence_hands_on_that_nobody_can_settle_so_and_is_judged_itself_first(
    engine: Engine, state: str
) -> None:
    engine.hold("t")
    engine.create("p")

    status, answer = engine.fence("t", 1, "promise.settle", id="p", state=state)

    assert (status, answer["action"]["head"]["status"]) == (200, 400)
    assert engine.promise("p")["state"] == "pending"
    assert engine.fence("t", 2, "promise.settle", id="p", state=state)[0] == 409
    assert engine.fence("none", 1, "promise.settle", id="p", state=state)[0] == 404
