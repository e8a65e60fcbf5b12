"""Debugging: a server whose time its clients set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.engine.debug import DebugServer
from tests.engine.conftest import (
    ADDRESS,
    EXTERNAL,
    INTERNAL,
    START_MS,
    TARGETED,
    Clock,
    Worker,
    action,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Debugged:
    """A server to debug with, and short ways to ask it things at an instant."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.server = DebugServer(path, self.clock)

    def send(self, kind: str, data: Any = None, at: int | None = None) -> tuple[int, Any]:
        """Send one request, at an instant if one is given."""
        [answer] = self.answers([(kind, data, at)])
        return answer

    def answers(self, asked: Sequence[tuple[str, Any, int | None]]) -> list[tuple[int, Any]]:
        """Send requests in one batch."""
        raw = []
        for kind, data, at in asked:
            head = {"corrId": "c", "version": "2026-04-01"} | ({"resonate:debug_time": at} if at else {})
            raw.append(json.dumps({"kind": kind, "head": head, "data": data or {}}))
        answers = [json.loads(answer) for answer in self.server.run_batch(raw).answers]
        return [(answer["head"]["status"], answer["data"]) for answer in answers]

    def create(self, id: str, timeout_at: int, tags: dict[str, str] = EXTERNAL, at: int = 1) -> None:
        """Create a promise."""
        data = {"id": id, "timeoutAt": timeout_at, "tags": tags}
        assert self.send("promise.create", data, at)[0] == 200

    def state(self, id: str, at: int) -> str:
        """Return a promise's state at an instant."""
        state: str = self.send("promise.get", {"id": id}, at)[1]["promise"]["state"]
        return state


@pytest.fixture
def debugged(tmp_path: Path) -> Iterator[Debugged]:
    """A server to debug with, over a fresh file."""
    made = Debugged(tmp_path / "hitl.db")
    yield made
    made.server.close()


def test_a_request_is_answered_at_the_instant_it_names(debugged: Debugged) -> None:
    debugged.send("debug.start")
    debugged.create("p", timeout_at=100)

    assert debugged.state("p", at=99) == "pending"
    assert debugged.state("p", at=100) == "rejected_timedout"


def test_requests_of_one_batch_have_an_instant_each(debugged: Debugged) -> None:
    debugged.send("debug.start")
    created = [
        ("promise.create", {"id": f"p{at}", "timeoutAt": 1_000, "tags": EXTERNAL}, at) for at in (30, 10, 20)
    ]

    assert [data["promise"]["createdAt"] for _, data in debugged.answers(created)] == [30, 10, 20]


def test_after_start_nothing_fires_by_the_wall_clock_and_nothing_is_handed_out(debugged: Debugged) -> None:
    debugged.send("debug.start")
    debugged.create("p", timeout_at=100)
    debugged.create("t", timeout_at=1_000, tags=TARGETED)

    batch = debugged.server.run_batch([], [Worker()])

    assert (list(batch.deliveries), batch.due > START_MS) == ([], True)
    assert debugged.send("debug.snap")[1]["promises"][0]["state"] == "pending"
    debugged.send("debug.stop")
    debugged.server.run_batch([], [Worker()])
    assert {p["state"] for p in debugged.send("debug.snap")[1]["promises"]} == {"rejected_timedout"}


def test_a_tick_fires_what_is_due_at_its_time_and_nothing_more(debugged: Debugged) -> None:
    debugged.send("debug.start")
    debugged.create("p", timeout_at=100)
    debugged.create("q", timeout_at=101)
    debugged.create("step", timeout_at=50, tags=INTERNAL)

    assert debugged.send("debug.tick", {"time": 100}) == (200, [])

    states = {p["id"]: p["state"] for p in debugged.send("debug.snap")[1]["promises"]}
    assert states == {"p": "rejected_timedout", "q": "pending", "step": "pending"}


def test_a_tick_fires_every_occurrence_of_a_schedule_that_wants_all(debugged: Debugged) -> None:
    debugged.send("debug.start")
    data = {"id": "s", "cron": "* * * * *", "promiseId": "{{.id}}-{{.timestamp}}", "promiseTimeout": 10**9}
    debugged.send("schedule.create", data | {"promiseTags": TARGETED, "catchUp": "all"}, at=1)

    debugged.send("debug.tick", {"time": 60_000 * 250})

    assert len(debugged.send("debug.snap")[1]["promises"]) == 250


@pytest.mark.parametrize("data", [{}, {"time": -1}, {"time": "now"}, {"time": 2**70}])
def test_a_tick_without_a_time_is_refused(debugged: Debugged, data: dict[str, Any]) -> None:
    assert debugged.send("debug.tick", data)[0] == 400


def test_a_tick_at_another_time_than_its_head_says_is_refused(debugged: Debugged) -> None:
    assert debugged.send("debug.tick", {"time": 5}, at=6)[0] == 400
    assert debugged.send("debug.tick", {"time": 5}, at=5)[0] == 200


def test_a_snapshot_has_everything_that_is_stored(debugged: Debugged) -> None:
    debugged.send("debug.start")
    debugged.create("p", timeout_at=900)
    debugged.create("listened", timeout_at=900)
    create = {"id": "t", "timeoutAt": 1_000, "tags": TARGETED}
    debugged.send("task.create", {"pid": "w", "ttl": 50, "action": action("promise.create", create)}, at=10)
    callback = {"awaited": "p", "awaiter": "t"}
    debugged.send(
        "task.suspend",
        {"id": "t", "version": 1, "actions": [action("promise.register_callback", callback)]},
        at=11,
    )
    debugged.send("promise.register_listener", {"awaited": "listened", "address": "http://x"}, at=11)
    debugged.create("offered", timeout_at=1_000, tags=TARGETED, at=12)

    status, snap = debugged.send("debug.snap")

    assert status == 200
    assert [p["id"] for p in snap["promises"]] == ["listened", "offered", "p", "t"]
    assert snap["promiseTimeouts"][0] == {"id": "listened", "timeout": 900}
    assert snap["callbacks"] == [{"awaiter": "t", "awaited": "p"}]
    assert snap["listeners"] == [{"id": "listened", "address": "http://x"}]
    assert [(t["id"], t["state"]) for t in snap["tasks"]] == [("offered", "pending"), ("t", "suspended")]
    assert snap["taskTimeouts"] == [{"id": "offered", "type": 0, "timeout": 12}]
    assert [(m["address"], m["message"]["data"]["task"]) for m in snap["messages"]] == [
        (ADDRESS, {"id": "offered", "version": 0})
    ]

    debugged.send("promise.settle", {"id": "listened", "state": "resolved"}, at=20)
    snap = debugged.send("debug.snap")[1]
    assert [m["message"]["kind"] for m in snap["messages"]] == ["execute", "unblock"]


def test_a_reset_leaves_nothing_and_time_begins_again(debugged: Debugged) -> None:
    debugged.create("p", timeout_at=START_MS + 100, at=START_MS)
    debugged.send("debug.start")

    assert debugged.send("debug.reset") == (200, {})

    snap = debugged.send("debug.snap")[1]
    assert all(part == [] for part in snap.values())
    debugged.create("q", timeout_at=10, at=1)
    assert debugged.state("q", at=5) == "pending"


def test_without_start_the_clock_goes_on_and_only_the_request_has_its_own(debugged: Debugged) -> None:
    debugged.create("p", timeout_at=100, at=1)

    assert debugged.server.run_batch([]).now == START_MS
    assert debugged.state("p", at=1) == "rejected_timedout"
