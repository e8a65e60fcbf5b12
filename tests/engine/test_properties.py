"""What holds after every request in any sequence of them, sent to two servers over one file.

The names of the checks are those of the specification's catalogue, spec/02-abstract/properties.lean.
A turn may take several steps (deadlines and leases that are due, then the request), so what the
catalogue says of one step is said here of its sum.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from hitl_cli.engine.machine import deliverable
from tests.engine.conftest import ADDRESS, Clock, Engine, Worker, action, request

START_MS = 1_000
OTHER = "poll://uni@workers/w1"
TAGS: list[dict[str, str]] = [
    {},
    {"resonate:external": "true"},
    {"resonate:scope": "global"},
    {"resonate:timer": "true"},
    {"resonate:timer": "true", "resonate:target": ADDRESS},
    {"resonate:target": ADDRESS},
    {"resonate:target": ADDRESS, "resonate:delay": str(START_MS + 30)},
    {"resonate:target": OTHER, "resonate:external": "true"},
]
SETTABLE = ("resolved", "rejected", "rejected_canceled")

ids = st.sampled_from(["a", "b", "c", "c", "a:1"])
targeted = st.sampled_from(["a", "b"])
servers = st.sampled_from([0, 1])
lives = st.sampled_from([-5, 0, 1, 10, 40, 200])
ttls = st.sampled_from([0, 5, 20, 100])
pids = st.sampled_from(["w1", "w2"])
verdicts = st.sampled_from(SETTABLE)
off_by = st.sampled_from([0, 0, 0, 0, 1, -1])


@dataclass
class Snapshot:
    """All that is stored, by id."""

    promises: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    callbacks: set[tuple[str, str]] = field(default_factory=set)
    listeners: set[tuple[str, str]] = field(default_factory=set)
    unblocks: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def of(cls, db: sqlite3.Connection) -> Snapshot:
        """Read the file, past the engine."""

        def rows(table: str) -> list[dict[str, Any]]:
            return [dict(row) for row in db.execute(f"SELECT * FROM {table}")]

        promises = {row["id"]: row for row in rows("promises")}
        name = {row["seq"]: id for id, row in promises.items()}
        tasks = {name[row["seq"]]: row for row in rows("tasks")}
        callbacks = rows("callbacks")
        listeners = rows("listeners")
        unblocks = rows("unblocks")
        return cls(
            promises,
            tasks,
            {(name[row["awaited"]], name[row["awaiter"]]) for row in callbacks},
            {(name[row["promise"]], row["address"]) for row in listeners},
            {(name[row["promise"]], row["address"]) for row in unblocks},
        )

    def alive(self, id: str, now: int) -> bool:
        """Whether the promise is pending at `now`, looked at or not."""
        promise = self.promises[id]
        return bool(promise["state"] == "pending" and promise["timeout_at"] > now)


class Protocol(RuleBasedStateMachine):
    """Drives two servers over one file, each with a clock of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "hitl.db"
        self.engines = [Engine(path, Clock(START_MS)) for _ in range(2)]
        self.file = sqlite3.connect(path)
        self.file.row_factory = sqlite3.Row
        self.before = Snapshot()
        self.now = 0
        self.shown_settled: dict[str, Any] = {}
        self.shown_versions: dict[str, int] = {}
        self.shown_fulfilled: set[str] = set()
        self.granted: set[tuple[str, int]] = set()

    def teardown(self) -> None:
        self.file.close()
        for engine in self.engines:
            engine.server.close()
        self.folder.cleanup()

    # Requests

    def send(self, server: int, kind: str, **data: Any) -> tuple[int, Any]:
        """Send a request to one of the servers and check all that must hold afterwards."""
        turn = self.engines[server].turn(request(kind, data))
        answer = json.loads(turn.answers[0])
        status, data = answer["head"]["status"], answer["data"]
        after = self.check_step(turn.now, messages=[])
        self.check_answer(turn.now, kind, status, data, after)
        self.before = after
        return status, data

    def version(self, id: str) -> int:
        """Return the version that the task is stored at."""
        return int(self.before.tasks.get(id, {"version": 0})["version"])

    @initialize(
        server=servers,
        life=st.sampled_from([40, 150]),
        awaits=st.booleans(),
        listens=st.booleans(),
        steps=st.booleans(),
    )
    def two_tasks_and_what_they_wait_for(
        self, server: int, life: int, awaits: bool, listens: bool, steps: bool
    ) -> None:
        for id in ("a", "b"):
            create = {"id": id, "timeoutAt": START_MS + life, "tags": TAGS[5]}
            self.send(server, "task.create", pid="w1", ttl=20, action=action("promise.create", create))
        self.send(server, "promise.create", id="c", timeoutAt=START_MS + 60, tags=TAGS[1])
        if listens:
            self.send(server, "promise.register_listener", awaited="c", address=OTHER)
        if steps:
            step = action("promise.create", {"id": "a:1", "timeoutAt": START_MS + 10, "tags": {}})
            self.send(server, "task.fence", id="a", version=1, action=step)
        if awaits:
            self.suspend_on(server, "b", "c")

    def suspend_on(self, server: int, id: str, awaited: str) -> None:
        """Suspend a task on one promise."""
        actions = [action("promise.register_callback", {"awaited": awaited, "awaiter": id})]
        self.send(server, "task.suspend", id=id, version=self.version(id), actions=actions)

    @rule(server=servers, ms=st.sampled_from([1, 4, 15, 50, -20]))
    def time_passes(self, server: int, ms: int) -> None:
        self.engines[server].clock.advance(ms)

    @rule(server=servers, id=ids, kind=st.sampled_from(["promise.get", "task.get"]))
    def look(self, server: int, id: str, kind: str) -> None:
        self.send(server, kind, id=id)

    @rule(
        server=servers, state=st.sampled_from([None, "pending", "resolved", "rejected_timedout", "acquired"])
    )
    def search(self, server: int, state: str | None) -> None:
        kind = "task.search" if state == "acquired" else "promise.search"
        status, data = self.send(server, kind, state=state)
        assert status == 200
        found = data.get("promises", []) + data.get("tasks", [])
        assert all(state in {None, record["state"]} for record in found)

    @rule(server=servers, id=ids, life=lives, tags=st.sampled_from(TAGS))
    def create(self, server: int, id: str, life: int, tags: dict[str, str]) -> None:
        assert self.send(server, "promise.create", id=id, timeoutAt=self.now + life, tags=tags)[0] == 200

    @rule(server=servers, id=ids, state=st.sampled_from([*SETTABLE, *SETTABLE, "rejected_timedout"]))
    def settle(self, server: int, id: str, state: str) -> None:
        status, _ = self.send(server, "promise.settle", id=id, state=state, value={"data": state})
        assert status in ({200, 404} if state in SETTABLE else {400})

    @rule(server=servers, awaited=ids, awaiter=ids)
    def register_callback(self, server: int, awaited: str, awaiter: str) -> None:
        self.send(server, "promise.register_callback", awaited=awaited, awaiter=awaiter)

    @rule(server=servers, awaited=ids, address=st.sampled_from([OTHER, OTHER, ADDRESS, "nowhere"]))
    def register_listener(self, server: int, awaited: str, address: str) -> None:
        self.send(server, "promise.register_listener", awaited=awaited, address=address)

    @rule(server=servers, id=ids, pid=pids, ttl=ttls, life=lives, tags=st.sampled_from(TAGS))
    def create_task(self, server: int, id: str, pid: str, ttl: int, life: int, tags: dict[str, str]) -> None:
        create = {"id": id, "timeoutAt": self.now + life, "tags": tags}
        self.send(server, "task.create", pid=pid, ttl=ttl, action=action("promise.create", create))

    @rule(server=servers, id=targeted, off=off_by, pid=pids, ttl=ttls)
    def acquire(self, server: int, id: str, off: int, pid: str, ttl: int) -> None:
        version = max(0, self.version(id) + off)
        self.send(server, "task.acquire", id=id, version=version, pid=pid, ttl=ttl)

    @rule(server=servers, id=targeted, off=off_by, inner=ids, life=lives, tags=st.sampled_from(TAGS))
    def fence_create(
        self, server: int, id: str, off: int, inner: str, life: int, tags: dict[str, str]
    ) -> None:
        create = action("promise.create", {"id": inner, "timeoutAt": self.now + life, "tags": tags})
        version = max(0, self.version(id) + off)
        self.send(server, "task.fence", id=id, version=version, action=create)

    @rule(server=servers, id=targeted, off=off_by, inner=ids, state=verdicts)
    def fence_settle(self, server: int, id: str, off: int, inner: str, state: str) -> None:
        settle = action("promise.settle", {"id": inner, "state": state})
        version = max(0, self.version(id) + off)
        self.send(server, "task.fence", id=id, version=version, action=settle)

    @rule(server=servers, pid=pids, offs=st.lists(st.tuples(ids, off_by), max_size=3))
    def heartbeat(self, server: int, pid: str, offs: list[tuple[str, int]]) -> None:
        refs = [{"id": id, "version": max(0, self.version(id) + off)} for id, off in offs]
        assert self.send(server, "task.heartbeat", pid=pid, tasks=refs) == (200, {})

    @rule(server=servers, id=targeted, off=off_by, awaited=st.lists(ids, max_size=3))
    def suspend(self, server: int, id: str, off: int, awaited: list[str]) -> None:
        actions = [action("promise.register_callback", {"awaited": a, "awaiter": id}) for a in awaited]
        version = max(0, self.version(id) + off)
        self.send(server, "task.suspend", id=id, version=version, actions=actions)

    @rule(server=servers, id=targeted, awaited=st.sampled_from(["c", "c", "a", "b"]))
    def suspend_well(self, server: int, id: str, awaited: str) -> None:
        self.suspend_on(server, id, awaited)

    @rule(server=servers, id=targeted, off=off_by, state=verdicts)
    def fulfill(self, server: int, id: str, off: int, state: str) -> None:
        settle = action("promise.settle", {"id": id, "state": state, "value": {"data": state}})
        version = max(0, self.version(id) + off)
        self.send(server, "task.fulfill", id=id, version=version, action=settle)

    @rule(server=servers, id=targeted, kind=st.sampled_from(["task.release", "task.halt", "task.continue"]))
    def give_back(self, server: int, id: str, kind: str) -> None:
        self.send(server, kind, id=id, version=self.version(id))

    @rule(server=servers, address=st.sampled_from([ADDRESS, OTHER]), room=st.sampled_from([0, 1, 5]))
    def fetch(self, server: int, address: str, room: int) -> None:
        turn = self.engines[server].server.turn([], [Worker([address], free=room)])
        messages = [json.loads(delivery.text) for delivery in turn.deliveries]
        after = self.check_step(turn.now, messages)
        offers = [m["data"]["task"] for m in messages if m["kind"] == "execute"]
        assert len(offers) <= room
        for offer in offers:
            task = after.tasks[offer["id"]]
            assert after.alive(offer["id"], turn.now), "preserved_execute_only_for_live_task"
            assert (task["state"], task["version"]) == ("pending", offer["version"]), "outbox_never_ahead"
            assert task["address"] == address, "outbox_execute_address_is_target_tag"
            assert task["due"] > turn.now, "monotone_task_retry_rearm_advances"
        for message in messages:
            if message["kind"] == "unblock":
                self.check_promise(turn.now, message["data"]["promise"], after)
                assert message["data"]["promise"]["state"] != "pending", "unblock_names_settled_promise"
        self.before = after

    # What must hold

    def check_step(self, now: int, messages: list[dict[str, Any]]) -> Snapshot:
        """Check what is stored now, by itself and beside what was stored before the turn."""
        after = Snapshot.of(self.file)
        assert now >= self.now, "time goes back"
        if after != self.before:
            self.now = now  # an instant at which nothing was written is one that nobody can know of
        for id, promise in after.promises.items():
            check_promise_row(after, id, promise, now)
        for id, task in after.tasks.items():
            check_task_row(after, id, task, now)
        check_waiting(after)
        check_promises_moved(self.before, after, now)
        check_tasks_moved(self.before, after, now)
        check_word_is_kept(self.before, after, messages)
        return after

    def check_answer(self, now: int, kind: str, status: int, data: Any, after: Snapshot) -> None:
        """Check that the answer shows what is stored, and takes nothing back that was shown before."""
        assert status in {200, 300, 400, 404, 409, 422}
        assert isinstance(data, str) == (status >= 400)
        for promise in records(data, "promise"):
            self.check_promise(now, promise, after)
        for task in records(data, "task"):
            stored = after.tasks[task["id"]]
            assert task["state"] == stored["state"]
            assert (task.get("pid"), task.get("ttl")) == (stored["pid"], stored["ttl"])
            assert (task["version"], task["resumes"]) == (stored["version"], stored["resumes"])
            assert task["version"] >= self.shown_versions.get(task["id"], 0)
            self.shown_versions[task["id"]] = task["version"]
            assert task["state"] == "fulfilled" or task["id"] not in self.shown_fulfilled
            assert task["state"] == "fulfilled" or after.alive(task["id"], now), "TaskResponsesAreProjected"
            if task["state"] == "fulfilled":
                self.shown_fulfilled.add(task["id"])
            if kind in {"task.acquire", "task.create"} and status == 200 and task["state"] == "acquired":
                claim = (task["id"], task["version"])
                assert claim not in self.granted, "AtMostOneValidClaim"
                self.granted.add(claim)

    def check_promise(self, now: int, shown: dict[str, Any], after: Snapshot) -> None:
        """Check one promise in an answer or a message."""
        id, stored = shown["id"], after.promises[shown["id"]]
        if shown["state"] == "pending":
            assert shown["timeoutAt"] > now, "ResponsesAreProjected"
            assert id not in self.shown_settled, "ResponsesNeverRegress"
        else:
            assert self.shown_settled.setdefault(id, shown) == shown, "Stickiness"
        assert (shown["state"], shown.get("settledAt")) == (stored["state"], stored["settled_at"])
        assert (shown["value"], shown["tags"]) == (json.loads(stored["value"]), json.loads(stored["tags"]))


def records(data: Any, what: str) -> list[dict[str, Any]]:
    """Return every promise, or every task, in an answer's data."""
    if isinstance(data, str):
        return []
    found = [data[what]] if what in data else []
    found += data.get(f"{what}s", [])
    if what == "promise":
        found += data.get("preload", [])
        if "action" in data:
            found += records(data["action"]["data"], what)
    return found


def check_promise_row(at: Snapshot, id: str, promise: dict[str, Any], now: int) -> None:
    """The catalogue's well_formed_promise_* and what couples a promise to its task."""
    tags, value, settled_at = json.loads(promise["tags"]), json.loads(promise["value"]), promise["settled_at"]
    timer = tags.get("resonate:timer") == "true"
    verdict = "resolved" if timer else "rejected_timedout"
    assert promise["created_at"] <= min(promise["timeout_at"], now)
    assert (promise["state"] != "pending") == (settled_at is not None)
    if promise["state"] == "pending":
        assert promise["created_at"] < promise["timeout_at"]
        assert value == {}
    else:
        assert promise["created_at"] <= settled_at <= min(promise["timeout_at"], now)
        assert (settled_at == promise["timeout_at"]) <= (promise["state"] == verdict)
        assert (settled_at == promise["timeout_at"]) <= (value == {})
        assert (promise["state"] == "rejected_timedout") <= (settled_at == promise["timeout_at"])
    assert (id in at.tasks) == ("resonate:target" in tags and not timer), "task_iff_targeted_promise"
    if promise["external"]:
        assert promise["state"] != "pending" or promise["timeout_at"] > now, "what is due has fired"


def check_task_row(at: Snapshot, id: str, task: dict[str, Any], now: int) -> None:
    """The catalogue's well_formed_task_* and what couples a task to its promise."""
    held = task["state"] == "acquired"
    assert (task["pid"] is not None, task["ttl"] is not None) == (held, held)
    assert (task["due"] is not None) == (task["state"] in {"pending", "acquired"})
    assert task["resumes"] == 0 or task["state"] in {"pending", "acquired", "halted"}
    assert task["version"] >= held
    # Only a grant at this very instant can have a lease that ends with it: a ttl of 0.
    assert not held or task["due"] > now or task["ttl"] == 0
    assert (task["state"] == "fulfilled") == (at.promises[id]["state"] != "pending")
    if task["state"] == "suspended":
        assert any(awaiter == id for _, awaiter in at.callbacks), "suspended_task_holds_rung"


def check_waiting(at: Snapshot) -> None:
    """Who waits waits for something that is pending and external, and can be told."""
    for awaited, awaiter in at.callbacks:
        assert at.promises[awaited]["state"] == "pending", "SettledPromiseHasNoSubscriptions"
        assert at.promises[awaited]["external"], "obligations_require_external"
        assert awaiter in at.tasks, "callback_awaiter_is_targeted"
        assert awaiter != awaited, "awaiter_is_not_self"
    for listened, address in at.listeners:
        assert at.promises[listened]["state"] == "pending", "SettledPromiseHasNoSubscriptions"
        assert at.promises[listened]["external"], "obligations_require_external"
        assert deliverable(address), "listener_addresses_deliverable"
    for settled, _ in at.unblocks:
        assert at.promises[settled]["state"] != "pending", "unblock_names_settled_promise"


BIRTH = (
    "seq",
    "param",
    "tags",
    "timeout_at",
    "created_at",
    "target",
    "timer",
    "external",
    "open",
    "root",
    "owner",
)


def check_promises_moved(a: Snapshot, b: Snapshot, now: int) -> None:
    """What a turn may do to promises."""
    assert a.promises.keys() <= b.promises.keys(), "promise_set_grows"
    for id, p in a.promises.items():
        q = b.promises[id]
        assert [p[key] for key in BIRTH] == [q[key] for key in BIRTH], "birth_fields_immutable"
        if p["state"] != "pending":
            assert q == p, "preserved_settled_promise_record"
        elif q["state"] != "pending":
            by_client = q["settled_at"] == now < q["timeout_at"] and q["state"] in SETTABLE
            assert by_client or q["settled_at"] == q["timeout_at"] <= now, "promise_settlement_stamp"
        else:
            assert {c for c in a.callbacks if c[0] == id} <= b.callbacks, "callbacks_grow_while_pending"
            assert {c for c in a.listeners if c[0] == id} <= b.listeners, "listeners_grow_while_pending"


def check_tasks_moved(a: Snapshot, b: Snapshot, now: int) -> None:
    """What a turn may do to tasks."""
    assert a.tasks.keys() <= b.tasks.keys(), "task_set_grows"
    for id, u in b.tasks.items():
        t = a.tasks.get(id)
        if u["state"] == "pending" and (t is None or t["state"] != "pending"):
            assert b.alive(id, now), "preserved_no_dead_dispatch"
        if t is None:
            assert u["version"] == (u["state"] == "acquired"), "task_birth_state"
            continue
        if t["state"] == "fulfilled":
            assert u == t, "preserved_fulfilled_task"
        # A turn grants at most once, and what it grants is held at its end.
        assert u["version"] - t["version"] in {0, 1}, "version_increases_only_on_acquisition"
        assert u["version"] == t["version"] or u["state"] == "acquired"
        if u["state"] == t["state"] == "acquired" and u["version"] == t["version"]:
            assert (u["pid"], u["ttl"]) == (t["pid"], t["ttl"]), "task_lease_holder_stable"
            assert u["due"] in {t["due"], now + u["ttl"]}, "task_lease_deadline_is_now_plus_ttl"
        if t["state"] == "halted":
            assert u["state"] in {"halted", "pending", "fulfilled"}, "halted_only_reenters_via_pending"
        if u["resumes"] < t["resumes"]:
            assert u["state"] in {"acquired", "suspended", "fulfilled"}, (
                "resumes_cleared_only_on_dispatch_or_park"
            )
        if u["state"] == "pending" and t["state"] == "suspended":
            assert u["resumes"] > 0, "task_wake_records_resume"
            drained = {awaited for awaited, awaiter in a.callbacks - b.callbacks if awaiter == id}
            assert drained, "wake_follows_callback_consumption"


def check_word_is_kept(a: Snapshot, b: Snapshot, messages: list[dict[str, Any]]) -> None:
    """Who listened has word left for it or in its hands; nothing that was left is lost."""
    told = {m["data"]["promise"]["id"] for m in messages if m["kind"] == "unblock"}
    for promise, address in (a.listeners - b.listeners) | a.unblocks:
        assert (promise, address) in b.unblocks or promise in told, "listener_consumption_enqueues_unblock"


Protocol.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestWhatAlwaysHolds = Protocol.TestCase
