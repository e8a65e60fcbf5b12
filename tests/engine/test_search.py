"""promise.search and task.search, as docs/explanation/protocol.md defines them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.engine.search import FEW
from hitl_cli.engine.server import FIRE_LIMIT
from tests.engine.conftest import (
    EXTERNAL,
    INTERNAL,
    LIFE_MS,
    START_MS,
    TARGETED,
    TIMER,
    Clock,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.conftest import Engine


def found(engine: Engine, **data: Any) -> list[str]:
    """Return the ids on the first page of a promise.search."""
    return [promise["id"] for promise in engine.ok("promise.search", **data)["promises"]]


def pages(engine: Engine, kind: str, field: str, **data: Any) -> list[list[str]]:
    """Return the ids of every page of a search."""
    got = []
    answer = engine.ok(kind, **data)
    while True:
        got.append([record["id"] for record in answer[field]])
        if "cursor" not in answer:
            return got
        answer = engine.ok(kind, **data, cursor=answer["cursor"])


def test_a_search_of_nothing_finds_nothing(engine: Engine) -> None:
    assert engine.send("promise.search") == (200, {"promises": []})
    assert engine.send("task.search") == (200, {"tasks": []})


def test_a_search_shows_promises_as_get_does_in_order_of_creation(engine: Engine) -> None:
    for id in ("b", "a", "c"):
        engine.create(id)
    engine.settle("a")

    shown = engine.ok("promise.search")["promises"]

    assert shown == [engine.promise(id) for id in ("b", "a", "c")]


def test_the_newest_come_first_where_that_is_asked(engine: Engine) -> None:
    for id in ("b", "a", "c"):
        engine.create(id)

    assert found(engine, sort="-created") == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("state", "ids"),
    [
        ("pending", ["open"]),
        ("resolved", ["yes", "slept"]),
        ("rejected", ["no"]),
        ("rejected_canceled", ["off"]),
        ("rejected_timedout", ["late", "late step"]),
    ],
)
def test_a_search_by_state_finds_what_get_shows_in_that_state(
    engine: Engine, state: str, ids: list[str]
) -> None:
    settled = {"yes": "resolved", "no": "rejected", "off": "rejected_canceled"}
    for id in ("open", *settled):
        engine.create(id)
    for id, verdict in settled.items():
        engine.settle(id, verdict)
    engine.create("late", EXTERNAL, life=10)
    engine.create("late step", INTERNAL, life=10)
    engine.create("slept", TIMER, life=10)
    engine.clock.advance(10)

    assert found(engine, state=state) == ids
    assert {promise["state"] for promise in engine.ok("promise.search", state=state)["promises"]} == {state}


@pytest.mark.parametrize("sort", ["created", "-created"])
@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 100])
def test_pages_hold_everything_once_and_in_order(engine: Engine, sort: str, limit: int) -> None:
    ids = [f"p{n}" for n in range(6)]
    for id in ids:
        engine.create(id)

    got = pages(engine, "promise.search", "promises", sort=sort, limit=limit)

    assert [id for page in got for id in page] == (ids if sort == "created" else ids[::-1])
    assert all(len(page) <= limit for page in got)
    assert all(got)


@pytest.mark.parametrize(("sort", "rest"), [("created", ["p2", "p3", "new"]), ("-created", ["p1", "p0"])])
def test_a_page_is_stable_while_others_create_and_settle(engine: Engine, sort: str, rest: list[str]) -> None:
    for n in range(4):
        engine.create(f"p{n}")
    first = engine.ok("promise.search", sort=sort, limit=2)
    engine.create("new")
    engine.settle("p0")

    assert found(engine, sort=sort, limit=10, cursor=first["cursor"]) == rest


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "", "9" * 19, "1; DROP TABLE promises"])
def test_a_cursor_that_no_search_gave_is_refused(engine: Engine, cursor: str) -> None:
    assert engine.status("promise.search", cursor=cursor) == 400
    assert engine.status("task.search", cursor=cursor) == 400


@pytest.mark.parametrize("limit", [0, -1, 10_001, "many"])
def test_a_limit_out_of_range_is_refused(engine: Engine, limit: Any) -> None:
    assert engine.status("promise.search", limit=limit) == 400
    assert engine.status("task.search", limit=limit) == 400


def test_a_search_by_tags_finds_what_has_them_all(engine: Engine) -> None:
    engine.create("both", EXTERNAL | {"hitl:key": "a'b\"c", "colour": "red"})
    engine.create("one", EXTERNAL | {"colour": "red"})
    engine.create("other", EXTERNAL | {"colour": "redder"})

    assert found(engine, tags={"colour": "red"}) == ["both", "one"]
    assert found(engine, tags={"colour": "red", "hitl:key": "a'b\"c"}) == ["both"]
    assert found(engine, tags={"colour": "blue"}) == []


def test_a_search_for_what_waits_finds_bare_promises_of_the_npm_sdk_too(engine: Engine) -> None:
    engine.create("run", TARGETED)
    engine.create("step", INTERNAL)
    engine.create("sleep", TIMER | TARGETED)
    engine.create("ask", EXTERNAL)
    engine.create("npm", {"resonate:scope": "global"})
    engine.create("answered", EXTERNAL)
    engine.settle("answered")

    assert found(engine, state="pending", tags={"resonate:external": "true"}) == ["ask", "npm"]


def test_a_search_for_runs_finds_what_starts_a_lineage_and_has_a_task(engine: Engine) -> None:
    engine.create("run", TARGETED)
    engine.create("run:1", TARGETED)
    engine.create("plain", EXTERNAL)
    engine.create("sleep", TIMER | TARGETED)

    assert found(engine, root=True) == ["run"]


def test_a_search_by_origin_finds_the_lineage_and_not_its_neighbours(engine: Engine) -> None:
    for id in ("run", "run:1", "run:1.2", "run2", "run;x", "ru", "run-1:1", "rum:1"):
        engine.create(id, EXTERNAL | {"resonate:origin": id.partition(":")[0]})

    assert found(engine, tags={"resonate:origin": "run"}) == ["run", "run:1", "run:1.2"]
    assert found(engine, tags={"resonate:origin": "run"}, sort="-created", limit=1) == ["run:1.2"]


def test_a_search_by_origin_finds_ids_that_do_not_tell_it(engine: Engine) -> None:
    """The Rust SDK writes `run.0` where the Python SDK writes `run:1`."""
    for id in ("run", "run.0", "run.0.1", "run.1:1", "run:1", "run.x"):
        engine.create(id, TARGETED | {"resonate:origin": "other" if id == "run.x" else "run"})

    below = ["run", "run.0", "run.0.1", "run.1:1", "run:1"]
    assert found(engine, tags={"resonate:origin": "run"}) == below
    assert found(engine, tags={"resonate:origin": "run"}, sort="-created", limit=2) == below[:-3:-1]
    assert found(engine, tags={"resonate:origin": "run"}, state="pending", idPrefix="run.0") == below[1:3]
    assert found(engine, root=True) == ["run"]


def test_what_a_search_showed_as_settled_stays_so_where_the_clock_is_behind(
    open_engine: Callable[[Clock], Engine],
) -> None:
    ahead, behind = open_engine(Clock(START_MS + 50)), open_engine(Clock(START_MS))
    behind.create("step", INTERNAL, life=20)

    assert [p["state"] for p in ahead.ok("promise.search")["promises"]] == ["rejected_timedout"]

    assert behind.settle("step")["state"] == "rejected_timedout"


def test_what_a_preload_showed_as_settled_stays_so_where_the_clock_is_behind(
    open_engine: Callable[[Clock], Engine],
) -> None:
    ahead, behind = open_engine(Clock(START_MS + 50)), open_engine(Clock(START_MS))
    behind.hold("t")
    behind.fence("t", 1, "promise.create", id="t:1", timeoutAt=START_MS + 20, tags=INTERNAL)
    behind.fulfill("t", 1)

    preload = ahead.hold_again("t")["preload"]
    assert [promise["state"] for promise in preload] == ["rejected_timedout"]

    assert behind.settle("t:1")["state"] == "rejected_timedout"


def test_a_task_search_finds_tasks_by_state_page_by_page(engine: Engine) -> None:
    for n in range(5):
        engine.create(f"t{n}", TARGETED)
    engine.acquire("t1", 0)
    engine.ok("task.halt", id="t3")

    assert pages(engine, "task.search", "tasks", limit=2) == [["t0", "t1"], ["t2", "t3"], ["t4"]]
    assert pages(engine, "task.search", "tasks", state="pending", limit=2) == [["t0", "t2"], ["t4"]]
    assert engine.ok("task.search", state="acquired")["tasks"] == [engine.task("t1")]


def test_what_settled_last_comes_first(engine: Engine) -> None:
    for id in ("c", "a", "b", "open"):
        engine.create(id)
    engine.create("run", TARGETED)
    engine.create("step", INTERNAL)
    for id in ("a", "run", "c", "step", "b"):
        engine.clock.advance(1)
        engine.settle(id)

    assert found(engine, sort="-settled") == ["b", "c", "a"]
    assert found(engine, sort="-settled", tags=EXTERNAL, state="resolved") == ["b", "c", "a"]
    assert found(engine, sort="-settled", idPrefix="c") == ["c"]
    assert found(engine, sort="-settled", state="rejected") == []
    assert found(engine, sort="-settled", state="pending") == []


def test_what_its_deadline_settled_stands_at_its_deadline_looked_at_since_or_not(engine: Engine) -> None:
    engine.create("early")
    engine.create("late")
    engine.create("expired", EXTERNAL, life=10)
    engine.clock.advance(5)
    engine.settle("early")
    engine.create("born late", EXTERNAL, life=-3)
    engine.clock.advance(100)
    engine.settle("late")

    assert found(engine, sort="-settled") == ["late", "expired", "early", "born late"]


def test_all_that_has_expired_is_found_however_much_that_is(engine: Engine) -> None:
    many = FIRE_LIMIT * 2 + 7
    due = [
        request("promise.create", {"id": f"p{n}", "timeoutAt": START_MS + n + 1, "tags": EXTERNAL})
        for n in range(many)
    ]
    engine.batch(*due)
    engine.clock.advance(many)

    assert found(engine, sort="-settled", limit=10_000) == [f"p{n}" for n in reversed(range(many))]


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 100])
def test_pages_of_what_settled_hold_everything_once_whatever_settled_at_the_same_instant(
    engine: Engine, limit: int
) -> None:
    for n in range(8):
        engine.create(f"p{n}")
    for n in (3, 1, 2, 0, 7, 5, 6, 4):
        engine.clock.advance(n % 2)
        engine.settle(f"p{n}")

    got = pages(engine, "promise.search", "promises", sort="-settled", limit=limit)

    assert [id for page in got for id in page] == ["p6", "p5", "p4", "p7", "p2", "p1", "p0", "p3"]
    assert all(len(page) <= limit for page in got)


def test_a_page_of_what_settled_is_stable_while_others_settle(engine: Engine) -> None:
    for n in range(6):
        engine.create(f"p{n}")
    for n in (0, 2, 4):
        engine.settle(f"p{n}")
    first = engine.ok("promise.search", sort="-settled", limit=1)
    assert [promise["id"] for promise in first["promises"]] == ["p4"]
    engine.settle("p5")
    engine.clock.advance(1)
    engine.settle("p1")

    assert found(engine, sort="-settled", cursor=first["cursor"]) == ["p2", "p0"]


def test_what_settled_before_an_instant_is_not_looked_at(engine: Engine) -> None:
    for n in range(4):
        engine.create(f"p{n}")
        engine.clock.advance(10)
        engine.settle(f"p{n}")

    assert found(engine, sort="-settled", settledSince=START_MS + 20) == ["p3", "p2", "p1"]
    assert found(engine, sort="-settled", settledSince=START_MS + 21, limit=1) == ["p3"]
    assert found(engine, sort="-settled", settledSince=START_MS + 41) == []
    assert engine.status("promise.search", settledSince=START_MS) == 400
    assert engine.status("promise.search", sort="-settled", settledSince=-1) == 400


@pytest.mark.parametrize("cursor", ["1", "x.1", "1.", "1.2.3", "-1.2", "1." + "9" * 19, ""])
def test_a_cursor_of_another_order_is_refused(engine: Engine, cursor: str) -> None:
    assert engine.status("promise.search", sort="-settled", cursor=cursor) == 400


def test_a_tag_that_thousands_have_is_found_among_what_settled_as_well(engine: Engine) -> None:
    many = FEW + 5
    life = {"timeoutAt": START_MS + LIFE_MS, "tags": EXTERNAL | {"team": "ops"}}
    engine.batch(*(request("promise.create", {"id": f"p{n}", **life}) for n in range(many)))
    engine.batch(*(request("promise.settle", {"id": f"p{n}", "state": "resolved"}) for n in range(many - 2)))
    engine.create("other")
    engine.settle("other")

    assert found(engine, sort="-settled", tags={"team": "ops"}, limit=2) == [f"p{many - 3}", f"p{many - 4}"]
    assert found(engine, sort="-settled", tags={"team": "dev"}) == []


def test_a_search_by_id_prefix_is_in_the_order_of_ids(engine: Engine) -> None:
    for id in ("b", "job-2", "job-10", "job", "job-1", "jog"):
        engine.create(id)

    assert found(engine, idPrefix="job-", sort="id") == ["job-1", "job-10", "job-2"]
    assert found(engine, idPrefix="job") == ["job-2", "job-10", "job", "job-1"]
    assert pages(engine, "promise.search", "promises", idPrefix="jo", sort="id", limit=2) == [
        ["job", "job-1"],
        ["job-10", "job-2"],
        ["jog"],
    ]
    assert found(engine, idPrefix="job%") == []


def test_a_tag_that_thousands_have_is_found_among_the_pending_as_well(engine: Engine) -> None:
    many = FEW + 5
    life = {"timeoutAt": START_MS + LIFE_MS, "tags": EXTERNAL | {"team": "ops"}}
    engine.batch(*(request("promise.create", {"id": f"p{n}", **life}) for n in range(many)))
    settle = {"state": "resolved"}
    engine.batch(*(request("promise.settle", {"id": f"p{n}", **settle}) for n in range(many - 2)))

    assert found(engine, state="pending", tags={"team": "ops"}) == [f"p{many - 2}", f"p{many - 1}"]
    assert found(engine, state="pending", tags={"team": "ops"}, sort="-created", limit=1) == [f"p{many - 1}"]
    assert found(engine, state="resolved", tags={"team": "ops"}, limit=2) == ["p0", "p1"]


@pytest.mark.parametrize("key", ["resonate:parent", "resonate:target", "resonate:scope", "resonate:schedule"])
def test_every_tag_of_the_sdks_can_be_searched_for(engine: Engine, key: str) -> None:
    engine.create("with", EXTERNAL | {key: "poll://any@x"})
    engine.create("without", EXTERNAL)

    assert found(engine, tags={key: "poll://any@x"}) == ["with"]


def test_a_step_that_its_deadline_has_ended_is_found_by_what_it_came_to(engine: Engine) -> None:
    engine.create("step", INTERNAL, life=10)
    engine.create("timer", TIMER, life=10)
    engine.create("other", INTERNAL)
    engine.clock.advance(10)

    assert found(engine, state="rejected_timedout") == ["step"]
    assert found(engine, state="resolved") == ["timer"]
    assert found(engine, state="pending") == ["other"]


def test_a_task_search_takes_tags_a_prefix_and_an_order(engine: Engine) -> None:
    for id in ("b", "a", "c"):
        engine.create(id, TARGETED | {"team": "ops" if id != "c" else "dev"})
    engine.hold("a2")

    def tasks(**data: Any) -> list[str]:
        return [task["id"] for task in engine.ok("task.search", **data)["tasks"]]

    assert tasks(tags={"team": "ops"}) == ["b", "a"]
    assert tasks(sort="-created", state="pending") == ["c", "a", "b"]
    assert tasks(idPrefix="a", sort="id") == ["a", "a2"]
    assert tasks(idPrefix="a", state="acquired") == ["a2"]
    assert pages(engine, "task.search", "tasks", sort="id", limit=3) == [["a", "a2", "b"], ["c"]]


@pytest.mark.parametrize(
    ("kind", "data", "index"),
    [
        ("promise", {"state": "pending", "tags": {"resonate:external": "true"}}, "promises_open"),
        ("promise", {"state": "pending"}, "promises_pending"),
        ("promise", {"root": True}, "promises_root"),
        ("promise", {"root": True, "sort": "-created", "state": "rejected"}, "promises_failed"),
        ("promise", {"state": "rejected_timedout"}, "promises_failed"),
        ("promise", {"root": True, "state": "pending"}, "promises_pending"),
        ("promise", {"tags": {"resonate:origin": "run"}}, "sqlite_autoindex_promises"),
        ("promise", {"idPrefix": "run", "sort": "id"}, "sqlite_autoindex_promises"),
        ("promise", {"tags": {"team": "ops"}}, "SEARCH g USING PRIMARY KEY"),
        ("promise", {"tags": {"team": "ops"}, "sort": "-created"}, "SEARCH g USING PRIMARY KEY"),
        ("promise", {"sort": "-settled"}, "promises_settled"),
        ("promise", {"sort": "-settled", "tags": EXTERNAL, "state": "rejected"}, "promises_settled"),
        ("promise", {"sort": "-settled", "settledSince": START_MS}, "promises_settled (settled_at>?)"),
        ("promise", {"sort": "-settled", "cursor": "5.5"}, "promises_settled (settled_at<?)"),
        ("task", {"state": "suspended"}, "tasks_live"),
        ("task", {"idPrefix": "run", "sort": "id"}, "sqlite_autoindex_promises"),
        ("schedule", {"idPrefix": "run"}, "SEARCH s USING PRIMARY KEY"),
    ],
)
def test_a_search_reads_an_index_and_sorts_nothing_whatever_else_is_stored(
    engine: Engine, kind: str, data: dict[str, Any], index: str
) -> None:
    statements: list[str] = []
    engine.server.store._db.set_trace_callback(statements.append)
    engine.ok(f"{kind}.search", **data)
    [search] = [sql for sql in statements if "LIMIT 101" in sql]

    plan = [row["detail"] for row in engine.stored(f"EXPLAIN QUERY PLAN {search}")]

    assert any(index in step for step in plan), plan
    assert "resonate:origin" in data.get("tags", {}) or not any("TEMP B-TREE" in step for step in plan), plan
