"""Every answer and message that the engine gives passes the npm SDK's own guards."""

from __future__ import annotations

import json
import subprocess
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.engine.debug import DebugServer
from hitl_cli.engine.server import DEBUG, RULES
from tests.engine.conftest import (
    ADDRESS,
    EXTERNAL,
    INTERNAL,
    LIFE_MS,
    TARGETED,
    TIMER,
    Clock,
    Engine,
    Worker,
    action,
)
from tests.typescript.node import project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hitl_cli.engine.server import Batch

ONE = "poll://uni@workers/w1"

STATUSES = {
    "promise.get": {200, 400, 404},
    "promise.create": {200, 400},
    "promise.settle": {200, 400, 404},
    "promise.register_callback": {200, 400, 404, 422},
    "promise.register_listener": {200, 400, 404, 422},
    "promise.search": {200, 400},
    "task.get": {200, 400, 404},
    "task.create": {200, 400, 409, 422},
    "task.acquire": {200, 400, 404, 409},
    "task.fence": {200, 400, 404, 409},
    "task.heartbeat": {200, 400},
    "task.suspend": {200, 300, 400, 404, 409, 422},
    "task.fulfill": {200, 400, 404, 409},
    "task.release": {200, 400, 404, 409},
    "task.halt": {200, 400, 404, 409},
    "task.continue": {200, 400, 404, 409},
    "task.search": {200, 400},
    "schedule.get": {200, 400, 404},
    "schedule.create": {200, 400},
    "schedule.delete": {200, 400, 404},
    "schedule.search": {200, 400},
    "debug.start": {200, 403},
    "debug.stop": {200, 403},
    "debug.reset": {200, 403},
    "debug.tick": {200, 400, 403},
    "debug.snap": {200, 403},
}
"""What each kind of request can be answered with. A kind that is added to the engine belongs in here."""


class Recorder(Engine):
    """An engine that keeps every answer and every message it gave, as the wire has them."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self.given: list[dict[str, str]] = []
        self._ids = count()

    def debug(self) -> None:
        """Be a server to debug with from now on."""
        self.server.close()
        self.server = DebugServer(self.path, self.clock)

    def run_batch(self, *requests: str) -> Batch:
        """Run a batch, each request under a correlation id of its own."""
        renamed = [json.loads(text) for text in requests]
        for envelope in renamed:
            envelope["head"]["corrId"] = f"c{next(self._ids)}"
        batch = super().run_batch(*(json.dumps(envelope) for envelope in renamed))
        for envelope, answer in zip(renamed, batch.answers, strict=True):
            corr_id = envelope["head"]["corrId"]
            self.given.append({"what": "answer", "corrId": corr_id, "text": answer.decode()})
        return batch

    def fetch(self, worker: Worker | None = None) -> list[dict[str, Any]]:
        """Return the messages that a worker is handed now."""
        messages = super().fetch(worker)
        self.given += [{"what": "message", "corrId": "", "text": json.dumps(one)} for one in messages]
        return messages

    def statuses(self) -> dict[str, set[int]]:
        """Return which statuses each kind of request was answered with."""
        found: dict[str, set[int]] = {}
        for one in self.given:
            answer = json.loads(one["text"])
            if one["what"] == "answer":
                found.setdefault(answer["kind"], set()).add(answer["head"]["status"])
        return found


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "hitl.db", Clock())
    yield recorder
    recorder.server.close()


def test_every_answer_and_message_passes_the_guards_of_the_npm_sdk(
    engine: Recorder, node: str, packages: Path, tmp_path: Path
) -> None:
    for kind in [*RULES, *DEBUG]:
        engine.send(kind, id=7)
    ask_of_promises(engine)
    ask_of_tasks(engine)
    ask_of_suspended_tasks(engine)
    ask_of_schedules(engine)
    hear_of_tasks_and_promises(engine)
    ask_to_debug(engine)

    assert engine.statuses() == STATUSES
    assert set(STATUSES) == {*RULES, *DEBUG}
    assert refused(engine.given, node, packages, tmp_path) == []


def test_an_answer_that_the_sdk_would_not_take_is_noticed(node: str, packages: Path, tmp_path: Path) -> None:
    head = {"corrId": "c", "status": 200, "version": "2026-04-01"}
    record = {"id": "p", "state": "pending", "param": {}, "value": {"data": None}, "tags": {}}
    bad = [
        {
            "kind": "promise.get",
            "head": head,
            "data": {"promise": {**record, "timeoutAt": 1, "createdAt": 1}},
        },
        {"kind": "promise.get", "head": {**head, "status": 404}, "data": {"error": "none"}},
        {"kind": "task.halt", "head": {**head, "corrId": "other"}, "data": {}},
        {"kind": "task.dance", "head": head, "data": {}},
    ]
    given = [{"what": "answer", "corrId": "c", "text": json.dumps(one)} for one in bad]
    given.append({"what": "message", "corrId": "", "text": '{"kind": "execute", "data": {}}'})

    assert len(refused(given, node, packages, tmp_path)) == len(given)


def refused(given: list[dict[str, str]], node: str, packages: Path, folder: Path) -> list[str]:
    """Return what the npm SDK's guards say of answers and messages that it would not take."""
    program = project(folder / "guards", packages) / "guards.mjs"
    lines = "\n".join(json.dumps(one) for one in given)
    done = subprocess.run(
        [node, str(program)], input=lines, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def ask_of_promises(engine: Recorder) -> None:
    """Have promise.* answered in every way, of promises of every kind and state."""
    full = {"headers": {"h": "é"}, "data": "eyJhIjogMX0="}
    engine.ok("promise.create", id="full", timeoutAt=engine.clock.now + LIFE_MS, param=full, tags=EXTERNAL)
    engine.ok("promise.create", id="bare", timeoutAt=engine.clock.now + LIFE_MS)
    engine.create("born dead", life=-1)
    engine.create("late", life=10)
    engine.create("timer", TIMER | TARGETED, life=10)
    engine.create("task", TARGETED)
    engine.create("npm", {"resonate:scope": "global"})
    for state in ("resolved", "rejected", "rejected_canceled"):
        engine.create(state)
        engine.ok("promise.settle", id=state, state=state, value=full)
    engine.create("no value")
    engine.ok("promise.settle", id="no value", state="resolved")
    engine.clock.advance(20)
    for id in ("full", "bare", "born dead", "late", "timer", "task", "npm", "resolved", "nobody"):
        engine.send("promise.get", id=id)
        engine.send("promise.register_listener", awaited=id, address=ONE)
        engine.send("promise.register_callback", awaited=id, awaiter="task")
    engine.send("promise.register_listener", awaited="full", address="nowhere")
    engine.send("promise.register_callback", awaited="full", awaiter="bare")
    engine.send("promise.settle", id="nobody", state="resolved", value={})
    engine.ok("promise.search")
    page = engine.ok("promise.search", limit=2)
    engine.ok("promise.search", limit=2, cursor=page["cursor"])
    engine.send("promise.search", cursor="no cursor")


def ask_of_tasks(engine: Recorder) -> None:
    """Have task.* answered in every way, of tasks in every state."""
    engine.create("offered", TARGETED)
    held = engine.hold("held")
    engine.hold("ended")
    engine.fulfill("ended", 1)
    engine.ok("task.halt", id=engine.hold("halted")["id"])
    engine.create("no task", INTERNAL)
    for id in ("offered", "held", "ended", "halted", "nobody"):
        engine.send("task.get", id=id)
    engine.ok("task.heartbeat", pid="w1", tasks=[{"id": "held", "version": held["version"]}])
    for id, tags in (("held", TARGETED), ("no task", TARGETED), ("ended", TARGETED), ("new", INTERNAL)):
        create = {"id": id, "timeoutAt": engine.clock.now + LIFE_MS, "tags": tags}
        engine.send("task.create", pid="w", ttl=1_000, action=action("promise.create", create))
    dead = {"id": "dead", "timeoutAt": 1, "tags": TARGETED}
    engine.ok("task.create", pid="w", ttl=1_000, action=action("promise.create", dead))
    engine.fence(
        "held", 1, "promise.create", id="held:1", timeoutAt=engine.clock.now + LIFE_MS, tags=INTERNAL
    )
    engine.fence("held", 1, "promise.settle", id="held:1", state="resolved", value={"data": "IjEi"})
    engine.fence("held", 1, "promise.settle", id="held:9", state="resolved", value={})
    for id in ("ended", "nobody"):
        engine.acquire(id, 1)
        engine.fence(id, 1, "promise.settle", id="x:1", state="resolved", value={})
        engine.fulfill(id, 1)
        engine.send("task.release", id=id, version=1)
        engine.send("task.halt", id=id)
        engine.send("task.continue", id=id)
    engine.ok("task.release", id="held", version=1)
    assert engine.acquire("held", 1)[0] == 200
    engine.hold_again("offered")
    engine.ok("task.continue", id="halted")
    engine.ok("task.search")
    page = engine.ok("task.search", limit=2)
    engine.ok("task.search", limit=2, cursor=page["cursor"])
    engine.send("task.search", cursor="no cursor")


def ask_of_suspended_tasks(engine: Recorder) -> None:
    """Have task.suspend answered in every way."""
    engine.hold("s")
    engine.fence("s", 1, "promise.create", id="s:1", timeoutAt=engine.clock.now + LIFE_MS, tags=EXTERNAL)
    engine.suspend("s", 1, "missing")
    engine.suspend("s", 1)
    engine.suspend("nobody", 1, "s:1")
    engine.suspend("s", 9, "s:1")
    assert engine.suspend("s", 1, "s:1")[0] == 200
    engine.ok("task.get", id="s")
    engine.settle("s:1")
    assert engine.acquire("s", 1)[0] == 200
    assert engine.suspend("s", 2, "s:1")[0] == 300


def ask_of_schedules(engine: Recorder) -> None:
    """Have schedule.* answered in every way, of schedules that have run and that have not."""
    for id in ("hourly", "always"):
        cron = "0 * * * *" if id == "hourly" else "* * * * *"
        every = {"cron": cron, "promiseId": "{{.id}}-{{.timestamp}}", "promiseTimeout": LIFE_MS}
        engine.ok("schedule.create", id=id, **every, promiseParam={"data": "e30="}, promiseTags=TARGETED)
        engine.ok("schedule.create", id=id, **every, promiseTags=TARGETED)
    engine.send(
        "schedule.create", id="never", cron="yes", promiseId="x", promiseTimeout=1, promiseTags=TARGETED
    )
    engine.clock.advance(60_000)
    for id in ("hourly", "always", "nobody"):
        engine.send("schedule.get", id=id)
    page = engine.ok("schedule.search", limit=1)
    engine.ok("schedule.search", limit=1, cursor=page["cursor"])
    engine.send("schedule.search", limit=0)
    engine.fetch()
    engine.send("schedule.delete", id="always")
    engine.send("schedule.delete", id="always")


def hear_of_tasks_and_promises(engine: Recorder) -> None:
    """Have messages of both kinds handed out."""
    for id in ("heard 1", "heard 2", "heard 3"):
        engine.create(id, life=LIFE_MS if id != "heard 3" else 10)
        engine.ok("promise.register_listener", awaited=id, address=ONE)
    engine.ok("promise.settle", id="heard 1", state="resolved", value={"headers": {"hitl:by": "ada"}})
    engine.settle("heard 2", "rejected")
    engine.create("told", TARGETED)
    engine.clock.advance(20)

    kinds = {message["kind"] for message in engine.fetch(Worker([ADDRESS, ONE]))}

    assert kinds == {"execute", "unblock"}


def ask_to_debug(engine: Recorder) -> None:
    """Have debug.* answered in every way, with something of everything stored, and messages to be sent."""
    engine.create("unheard")
    engine.ok("promise.register_listener", awaited="unheard", address=ONE)
    engine.settle("unheard")
    engine.create("listened to")
    engine.ok("promise.register_listener", awaited="listened to", address=ONE)
    engine.hold("waits")
    engine.fence("waits", 1, "promise.create", id="waits:1", timeoutAt=engine.clock.now + 5, tags=EXTERNAL)
    assert engine.suspend("waits", 1, "waits:1")[0] == 200
    engine.hold("leased")
    engine.create("unsent", TARGETED)
    engine.debug()
    engine.ok("debug.start")
    shown = engine.ok("debug.snap")
    assert all(shown.values()), shown
    engine.ok("debug.tick", time=engine.clock.now + 10)
    engine.send("debug.tick", time="soon")
    engine.ok("debug.stop")
    engine.ok("debug.reset")
    engine.ok("debug.snap")
