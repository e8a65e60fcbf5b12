"""Fixtures: an engine over a file of its own, with a clock that the test moves."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from hitl_cli.engine.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hitl_cli.engine.records import Promise
    from hitl_cli.engine.server import Batch, Lease

START_MS = 1_000_000
LIFE_MS = 60_000
"""How long a promise lives here unless the test says otherwise."""

LEASE_MS = 10_000

ADDRESS = "poll://any@workers"
INTERNAL: dict[str, str] = {}
EXTERNAL = {"resonate:external": "true"}
TIMER = {"resonate:timer": "true"}
TARGETED = {"resonate:target": ADDRESS}


class Clock:
    """Milliseconds that pass when the test says so."""

    def __init__(self, now: int = START_MS) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, ms: int) -> None:
        self.now += ms


@dataclass
class Worker:
    """Takes messages, as the engine's Subscriber."""

    takes: Sequence[str] = (ADDRESS,)
    free: int = 100
    knows: Callable[[Promise], bool] = lambda _: True
    got: list[dict[str, Any]] = field(default_factory=list)
    name: str = field(default_factory=lambda: uuid4().hex)
    lease: Lease | None = None

    def addresses(self) -> Sequence[str]:
        return self.takes

    def room(self, ended: int) -> int:
        return self.free + ended

    def wants(self, promise: Promise) -> bool:
        return self.knows(promise)


def request(kind: str, data: Mapping[str, Any], corr_id: str = "c") -> str:
    """Return a request's envelope as a client sends it."""
    return json.dumps({"kind": kind, "head": {"corrId": corr_id, "version": "2026-04-01"}, "data": data})


def action(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request inside another one."""
    return {"kind": kind, "head": {}, "data": data}


class Engine:
    """One server over one file, and short ways to ask it things."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.server = Server(path, clock)

    def run_batch(self, *requests: str) -> Batch:
        """Run a batch of requests in one transaction."""
        return self.server.run_batch(requests)

    def batch(self, *requests: str) -> list[tuple[int, Any]]:
        """Run a batch and return each answer's status and data."""
        answers = [json.loads(raw) for raw in self.run_batch(*requests).answers]
        return [(answer["head"]["status"], answer["data"]) for answer in answers]

    def send(self, kind: str, /, **data: Any) -> tuple[int, Any]:
        """Send one request and return the answer's status and data."""
        return self.batch(request(kind, data))[0]

    def ok(self, kind: str, /, **data: Any) -> Any:
        """Send one request that must succeed, and return the answer's data."""
        status, answer = self.send(kind, **data)
        assert status == 200, answer
        return answer

    def status(self, kind: str, /, **data: Any) -> int:
        """Send one request and return the answer's status."""
        return self.send(kind, **data)[0]

    def fetch(self, worker: Worker | None = None) -> list[dict[str, Any]]:
        """Return the messages that a worker is handed now."""
        batch = self.server.run_batch([], [worker or Worker()])
        return [json.loads(delivery.text) for delivery in batch.deliveries]

    def offers(self, worker: Worker | None = None) -> list[tuple[str, int]]:
        """Return id and version of the tasks that a worker is handed now."""
        tasks = [m["data"]["task"] for m in self.fetch(worker) if m["kind"] == "execute"]
        return [(task["id"], task["version"]) for task in tasks]

    # What most tests begin with

    def create(self, id: str, tags: Mapping[str, str] = EXTERNAL, life: int = LIFE_MS) -> Any:
        """Create a promise and return its record."""
        data = self.ok("promise.create", id=id, timeoutAt=self.clock.now + life, tags=tags)
        return data["promise"]

    def hold_again(self, id: str) -> Any:
        """Send task.create for a task that exists, and return the answer's data."""
        create = {"id": id, "timeoutAt": self.clock.now + LIFE_MS, "tags": TARGETED}
        return self.ok("task.create", pid="w1", ttl=LEASE_MS, action=action("promise.create", create))

    def hold(self, id: str, pid: str = "w1", ttl: int = LEASE_MS, life: int = LIFE_MS) -> Any:
        """Create a task that is held from its birth, and return its record."""
        create = {"id": id, "timeoutAt": self.clock.now + life, "tags": TARGETED}
        return self.ok("task.create", pid=pid, ttl=ttl, action=action("promise.create", create))["task"]

    def fence(self, id: str, version: int, kind: str, /, **data: Any) -> tuple[int, Any]:
        """Send a request inside a fence."""
        return self.send("task.fence", id=id, version=version, action=action(kind, data))

    def suspend(self, id: str, version: int, *awaited: str) -> tuple[int, Any]:
        """Suspend a task on promises."""
        actions = [action("promise.register_callback", {"awaited": a, "awaiter": id}) for a in awaited]
        return self.send("task.suspend", id=id, version=version, actions=actions)

    def acquire(self, id: str, version: int, pid: str = "w1", ttl: int = LEASE_MS) -> tuple[int, Any]:
        """Acquire a task that is on offer."""
        return self.send("task.acquire", id=id, version=version, pid=pid, ttl=ttl)

    def fulfill(self, id: str, version: int, state: str = "resolved") -> tuple[int, Any]:
        """End a task."""
        settle = action("promise.settle", {"id": id, "state": state, "value": {"data": "IjEi"}})
        return self.send("task.fulfill", id=id, version=version, action=settle)

    def settle(self, id: str, state: str = "resolved", data: str = "IjEi") -> Any:
        """Settle a promise and return its record."""
        return self.ok("promise.settle", id=id, state=state, value={"data": data})["promise"]

    def promise(self, id: str) -> Any:
        """Return a promise's record."""
        return self.ok("promise.get", id=id)["promise"]

    def task(self, id: str) -> Any:
        """Return a task's record."""
        return self.ok("task.get", id=id)["task"]

    def stored(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Return rows as they are in the file, past the engine."""
        with closing(sqlite3.connect(self.path)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, values)]


@pytest.fixture
def open_engine(tmp_path: Path) -> Iterator[Callable[[Clock], Engine]]:
    """Open the test's file once more, with a clock of its own."""
    engines: list[Engine] = []

    def opened(clock: Clock) -> Engine:
        engines.append(Engine(tmp_path / "data" / "hitl.db", clock))
        return engines[-1]

    yield opened
    for engine in engines:
        engine.server.close()


@pytest.fixture
def engine(open_engine: Callable[[Clock], Engine]) -> Engine:
    """An engine over a fresh file."""
    return open_engine(Clock())
