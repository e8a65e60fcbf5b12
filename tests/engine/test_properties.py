"""What holds after every step, whatever is asked, of whom, when, and whatever fails in the middle.

Three servers over one file, each with its own clock, are asked anything in any order. After every batch
- the file is as the catalogue has it (catalogue.py), by itself and beside what it was before;
- every answer, and all that is stored, is what a second implementation comes to (oracle.py);
- nothing is taken back that an answer has shown.

HYPOTHESIS_PROFILE=thorough tries for minutes what else is tried for seconds.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from hitl_cli.engine.errors import StorageFailed
from hitl_cli.engine.file_clock import Instant, following
from hitl_cli.engine.server import Lease
from tests.engine import catalogue
from tests.engine.conftest import ADDRESS, Clock, Engine, Worker, action, request
from tests.engine.failing import Killed, failing
from tests.engine.oracle import CRONS, NEVER, YEARLY, Oracle, queue_of
from tests.memory import in_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.engine.server import Batch, Delivery
    from tests.engine.catalogue import State
    from tests.engine.oracle import Answer, Data, Task

EXAMPLES = 40
MORE_EXAMPLES = {"thorough": 4_000}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 120)
STEPS = 40
ROOM = 1024**3

START_MS = 1_000
OTHER = "poll://uni@workers/w1"
TARGETED = {"resonate:target": ADDRESS}
TAGS: list[dict[str, str] | None] = [
    None,
    {"resonate:external": "true"},
    {"resonate:external": "true", "resonate:origin": "a", "k": "v"},
    {"resonate:scope": "global"},
    {"resonate:timer": "true"},
    {"resonate:timer": "true", "resonate:target": ADDRESS},
    TARGETED,
    TARGETED | {"k": "w"},
    TARGETED | {"resonate:delay": str(START_MS + 30)},
    {"resonate:target": f"{ADDRESS}/w2"},
    {"resonate:target": OTHER, "resonate:external": "true", "resonate:scope": "global"},
]
SETTABLE = ("resolved", "rejected", "rejected_canceled")


class In(NamedTuple):
    """So many ms from the instant of the request."""

    ms: int


class Later(NamedTuple):
    """The same as the text that a tag is."""

    ms: int


class At(NamedTuple):
    """The version of a task when the request is made, and so much beside it."""

    id: str
    off: int = 0


type Ask = tuple[str, Data]


class Well(NamedTuple):
    """A request that suits the state of a task, so that much comes to pass and not all is refused."""

    id: str
    other: str
    act: str
    ttl: int
    pid: str
    off: int
    """How far from well it is: what is added to the version."""

    def ask(self, oracle: Oracle) -> Ask:
        """Return the request, as things stand."""
        task = oracle.tasks.get(self.id)
        ref = {"id": self.id, "version": At(self.id, self.off)}
        awaited = [p.id for p in oracle.promises.values() if self.id in p.callbacks]
        match task.state if task is not None else None:
            case "suspended" | "pending" | "halted" if awaited and self.act.startswith("await"):
                return "promise.settle", {"id": awaited[-1], "state": "resolved", "value": {"data": "MQ=="}}
            case "pending":
                return "task.acquire", ref | {"pid": self.pid, "ttl": self.ttl}
            case "acquired":
                return self.held(oracle, ref)
            case "halted":
                return "task.continue", {"id": self.id}
            case None:
                delay = {"resonate:delay": Later(15)} if self.off else {"k": "v"}
                return "promise.create", {"id": self.id, "timeoutAt": In(300), "tags": TARGETED | delay}
            case _:
                return "task.get", {"id": self.id}

    def held(self, oracle: Oracle, ref: Data) -> Ask:
        """Return what the holder of the task asks."""
        settle = {"state": "rejected", "value": {"data": "IjEi"}}
        if self.act in {"step", "await", "watch"} and self.other not in oracle.promises:
            tags = {"resonate:external": "true"} if self.act != "step" else {}
            create = {"id": self.other, "timeoutAt": In(90), "tags": tags}
            return "task.fence", ref | {"action": action("promise.create", create)}
        match self.act:
            case "step":
                return "task.fence", ref | {"action": action("promise.settle", settle | {"id": self.other})}
            case "await" | "await all":
                known = [p.id for p in oracle.promises.values() if p.external and p.id != self.id]
                ids = known[-3:] if self.act == "await all" else [self.other]
                waits = [{"awaited": id, "awaiter": self.id} for id in ids]
                return "task.suspend", ref | {
                    "actions": [action("promise.register_callback", wait) for wait in waits]
                }
            case "watch":
                return "promise.register_callback", {"awaited": self.other, "awaiter": self.id}
            case "fulfill":
                return "task.fulfill", ref | {"action": action("promise.settle", settle | {"id": self.id})}
            case "heartbeat":
                return "task.heartbeat", {"pid": self.pid, "tasks": [ref]}
            case "stray":
                stray = {"id": self.id, "version": At(self.id, 1)}
                return "task.heartbeat", {"pid": oracle.tasks[self.id].pid, "tasks": [stray]}
            case "listen":
                return "promise.register_listener", {"awaited": self.id, "address": OTHER}
            case _:
                return f"task.{self.act}", ref


ids = st.sampled_from(["a", "b", "c", "c", "d", "a:1"])
TASKS = ["a", "b", "e", "f", "h"]
ALL = [*TASKS, "c", "d", "a:1"]

targeted = st.sampled_from(TASKS)
servers = st.sampled_from([0, 1, 2])
lives = st.sampled_from([-5, 0, 1, 10, 40, 200, 10**6, 10**12]).map(In)
ttls = st.sampled_from([0, 5, 20, 100, 10**12])
pids = st.sampled_from(["w1", "w2"])
verdicts = st.sampled_from(SETTABLE)
values = st.sampled_from([None, {}, {"data": "IjEi"}, {"headers": {"h": "1"}}])
addresses = st.sampled_from([OTHER, OTHER, ADDRESS, f"{ADDRESS}/w2", "http://x", "poll://nowhere", "nowhere"])
versions = st.tuples(targeted, st.sampled_from([0, 0, 0, 0, 1, -1])).map(lambda pair: At(*pair))


def asks(kind: str, **data: st.SearchStrategy[Any] | str) -> st.SearchStrategy[Ask]:
    """Return requests of one kind, from strategies for their fields."""
    fixed = {key: st.just(value) if isinstance(value, str) else value for key, value in data.items()}
    return st.tuples(st.just(kind), st.fixed_dictionaries(fixed))


def inner(kind: str, **data: st.SearchStrategy[Any]) -> st.SearchStrategy[Data]:
    """Return requests that go inside another one."""
    return asks(kind, **data).map(inside)


def inside(ask: Ask) -> Data:
    """Return a request as it is inside another one."""
    return action(*ask)


def held(ask: Ask) -> Ask:
    """Return a request about a task, with the id of the task whose version it names."""
    return ask[0], {"id": ask[1]["version"].id} | ask[1]


create = {"id": ids, "timeoutAt": lives, "tags": st.sampled_from(TAGS), "param": values}
owned = {"id": targeted, "tags": st.just(TARGETED)}
settle = {"id": ids, "state": verdicts, "value": values}
awaiting = inner("promise.register_callback", awaited=ids, awaiter=targeted)
awaiting_c = inner(
    "promise.register_callback", awaited=st.sampled_from(["c", "c", "d", "b"]), awaiter=targeted
)
refs = st.lists(
    st.one_of(versions, st.just(At("c"))).map(lambda at: {"id": at.id, "version": at}), max_size=3
)

acts = [
    "await",
    "await",
    "await all",
    "await all",
    "watch",
    "watch",
    "step",
    "step",
    "fulfill",
    "heartbeat",
    "stray",
    "listen",
    "release",
    "halt",
]
well = st.builds(
    Well,
    targeted,
    st.sampled_from(["c", "d", "b", "g", "a:1"]),
    st.sampled_from(acts),
    ttls,
    st.sampled_from(["w1", "w1", "w2"]),
    st.sampled_from([0, 0, 0, 0, 0, 0, 1, -1]),
)

looks = st.one_of(asks("promise.get", id=ids), asks("task.get", id=ids))
promises = st.one_of(
    asks("promise.create", **create),
    asks("promise.settle", **settle),
    asks("promise.settle", id=ids, state=st.sampled_from(["pending", "rejected_timedout"])),
    asks("promise.register_callback", awaited=ids, awaiter=ids),
    asks("promise.register_listener", awaited=ids, address=addresses),
)
tasks = st.one_of(
    asks("task.create", pid=pids, ttl=ttls, action=inner("promise.create", **create)),
    asks("task.create", pid=pids, ttl=ttls, action=inner("promise.create", **create | owned)),
    asks("task.acquire", version=versions, pid=pids, ttl=ttls).map(held),
    asks("task.halt", id=ids),
    asks("task.continue", id=ids),
)
holders = st.one_of(
    asks("task.fence", version=versions, action=inner("promise.create", **create)).map(held),
    asks("task.fence", version=versions, action=inner("promise.settle", **settle)).map(held),
    asks(
        "task.fence", version=versions, action=inner("promise.settle", id=ids, state=st.just("pending"))
    ).map(held),
    asks("task.heartbeat", pid=pids, tasks=refs),
    asks("task.suspend", version=versions, actions=st.lists(awaiting, max_size=3)).map(held),
    asks("task.suspend", version=versions, actions=st.lists(awaiting_c, min_size=1, max_size=1)).map(held),
    asks("task.fulfill", version=versions, action=inner("promise.settle", **settle)).map(held),
    asks(
        "task.fulfill", version=versions, action=inner("promise.settle", id=ids, state=st.just("pending"))
    ).map(held),
    asks("task.release", version=versions).map(held),
)
states = st.sampled_from([None, "pending", "pending", *SETTABLE, "rejected_timedout"])
task_states = st.sampled_from([None, "pending", "acquired", "suspended", "halted", "fulfilled"])
found_tags = st.sampled_from(
    [None, None, {"resonate:external": "true"}, {"resonate:origin": "a"}, TARGETED, {"k": "v"}, {"k": "w"}]
)
found = {
    "tags": found_tags,
    "idPrefix": st.sampled_from([None, None, "a", "c"]),
    "limit": st.sampled_from([1, 2, 100]),
}
orders = st.sampled_from(["created", "-created", "id"])
searches = st.one_of(
    asks("promise.search", state=states, root=st.booleans(), sort=orders, **found),
    asks("promise.search", state=states, sort=orders, limit=st.just(2)),
    asks(
        "promise.search",
        state=states,
        sort=st.sampled_from(["-settled", "-settled", "-settled", "-created"]),
        settledSince=st.sampled_from([None, None, In(0), In(-4), In(-50)]),
        **found,
    ),
    asks("task.search", state=task_states, sort=orders, **found),
    asks("schedule.search", **found),
)
schedule_ids = st.sampled_from(["s", "c"])
recurring = st.one_of(
    asks(
        "schedule.create",
        id=schedule_ids,
        cron=st.sampled_from(["* * * * *", "* * * * *", *CRONS, "0 0 30 2 *"]),
        promiseId=st.sampled_from(["{{.id}}-{{.timestamp}}", "{{.id}}"]),
        promiseTimeout=st.sampled_from([0, 10, 10**6]),
        promiseParam=values,
        promiseTags=st.sampled_from(TAGS),
    ),
    asks(
        "schedule.create",
        id=schedule_ids,
        cron=st.just(YEARLY),
        promiseId=st.just("{{.timestamp}}:{{.id}}"),
        promiseTimeout=st.sampled_from([10, 10**10]),
        catchUp=st.just("all"),
    ),
)
schedules = st.one_of(
    recurring,
    asks("schedule.get", id=schedule_ids),
    asks("schedule.delete", id=schedule_ids),
)
anything = st.one_of(well, well, well, well, well, well, looks, promises, tasks, holders, searches, schedules)


class Protocol(RuleBasedStateMachine):
    """Drives the servers, the oracle beside them, and looks into the file with a connection of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=in_memory(ROOM))
        self.path = Path(self.folder.name) / "hitl.db"
        self.engines = [Engine(self.path, Clock(START_MS)) for _ in range(3)]
        self.file = sqlite3.connect(self.path, isolation_level=None)
        self.oracle = Oracle()
        self.read_at: int | None = None
        self.before = self.stored()
        self.checked_at: int | None = None
        self.cursors: dict[str, str] = {}
        self.shown = Shown()

    def teardown(self) -> None:
        self.file.close()
        for engine in self.engines:
            engine.server.close()
        self.folder.cleanup()

    # Turns

    def instant(self, server: int) -> int:
        """Return when a batch of the server happens: by its clock, and never before what is written."""
        wall = self.engines[server].clock()
        now = following(Instant(*self.before.clock), wall).now
        assert now == wall or now >= max(self.before.clock[0], wall)
        return now

    def fire(self, server: int) -> None:
        """Have a server do what is due, and nothing else."""
        now = self.instant(server)
        self.oracle.fire(now)
        self.check_batch(now, self.engines[server].run_batch(), one_step=True, asked=False)

    def ask(self, server: int, *asked: Ask | Well) -> list[Answer]:
        """Send requests in one batch and check the answers, and all that must hold afterwards."""
        now = self.instant(server)
        self.oracle.fire(now)
        sent, expected = self.prepare(self.oracle, asked, now)
        batch = self.engines[server].run_batch(*(request(*one) for one in sent))
        self.check_batch(now, batch, one_step=False, asked=True)
        return self.check_answers(now, batch, sent, expected)

    def ask_one(self, server: int, ask: Ask | Well) -> Answer:
        """Send one request as a step of its own: what is due has fired before."""
        self.fire(server)
        now = self.instant(server)
        sent, expected = self.prepare(self.oracle, [ask], now)
        batch = self.engines[server].run_batch(request(*sent[0]))
        self.check_batch(now, batch, one_step=True, asked=True)
        return self.check_answers(now, batch, sent, expected)[0]

    def prepare(
        self, oracle: Oracle, asked: Sequence[Ask | Well], now: int
    ) -> tuple[list[Ask], list[Answer]]:
        """Return the requests with their instants and versions filled in, and what the oracle answers."""
        sent, expected = [], []
        for one in asked:
            kind, data = one.ask(oracle) if isinstance(one, Well) else one
            sent.append((kind, resolve(data, oracle, now)))
            expected.append(self.consult(oracle, sent[-1], now))
        return sent, expected

    def consult(self, oracle: Oracle, ask: Ask, now: int) -> Answer:
        """Return the oracle's answer. Its cursors are ids."""
        kind, data = ask
        if "cursor" in data:
            data = data | {"cursor": self.cursors[data["cursor"]]}
        return copy.deepcopy(oracle.ask(kind, data, now))

    # What happens

    @initialize(
        server=servers,
        life=st.sampled_from([40, 10**6, 10**12]),
        awaits=st.booleans(),
        listens=st.booleans(),
        steps=st.booleans(),
        schedule=st.none() | recurring,
    )
    def two_tasks_and_what_they_wait_for(
        self, server: int, life: int, awaits: bool, listens: bool, steps: bool, schedule: Ask | None
    ) -> None:
        for id in ("a", "b"):
            made = action("promise.create", {"id": id, "timeoutAt": In(life), "tags": TARGETED})
            self.ask_one(server, ("task.create", {"pid": "w1", "ttl": 20, "action": made}))
        external = {"resonate:external": "true"}
        self.ask_one(server, ("promise.create", {"id": "c", "timeoutAt": In(life + 20), "tags": external}))
        if listens:
            self.ask_one(server, ("promise.register_listener", {"awaited": "c", "address": OTHER}))
        if steps:
            step = action("promise.create", {"id": "a:1", "timeoutAt": In(10), "tags": {}})
            self.ask_one(server, ("task.fence", {"id": "a", "version": At("a"), "action": step}))
        if schedule is not None:
            self.ask_one(server, schedule)
        if awaits:
            waits = action("promise.register_callback", {"awaited": "c", "awaiter": "b"})
            self.ask_one(server, ("task.suspend", {"id": "b", "version": At("b"), "actions": [waits]}))

    @rule(
        server=servers,
        ms=st.sampled_from(
            [1, 4, 4, 4, 15, 15, 50, 100, 6_000, 70_000, 70_000, 90_000_000, -20, -3_600_000, 31_536_000_000]
        ),
    )
    def time_passes(self, server: int, ms: int) -> None:
        self.engines[server].clock.advance(ms)

    @rule(server=servers, early=st.sampled_from([0, 0, 1]))
    def time_comes(self, server: int, early: int) -> None:
        """Wait for the next instant at which anything changes by itself, or till just before."""
        now = self.instant(server)
        instants = [at for at in self.oracle.instants() if at > now]
        if instants:
            self.engines[server].clock.now = min(instants) - early

    @rule(server=servers, ask=well)
    def all_goes_well(self, server: int, ask: Well) -> None:
        self.ask_one(server, ask)

    @rule(
        server=servers, asked=st.lists(st.tuples(st.sampled_from([0, 0, 1, 4]), well), min_size=2, max_size=8)
    )
    def one_by_one(self, server: int, asked: list[tuple[int, Well]]) -> None:
        for ms, ask in asked:
            self.engines[server].clock.advance(ms)
            self.ask_one(server, ask)

    @rule(server=servers, ask=promises)
    def about_promises(self, server: int, ask: Ask) -> None:
        self.ask_one(server, ask)

    @rule(server=servers, ask=tasks)
    def about_tasks(self, server: int, ask: Ask) -> None:
        self.ask_one(server, ask)

    @rule(server=servers, ask=holders)
    def by_holders(self, server: int, ask: Ask) -> None:
        self.ask_one(server, ask)

    @rule(server=servers, ask=schedules)
    def about_schedules(self, server: int, ask: Ask) -> None:
        self.ask_one(server, ask)

    @rule(server=servers, ask=looks)
    def looking(self, server: int, ask: Ask) -> None:
        self.ask_one(server, ask)

    @rule(server=servers, asked=st.lists(anything, min_size=1, max_size=4))
    def many_at_once(self, server: int, asked: list[Ask | Well]) -> None:
        self.ask(server, *asked)

    @rule(server=servers, ask=searches)
    def search_to_the_end(self, server: int, ask: Ask) -> None:
        kind, data = ask
        while "cursor" in (found := self.ask_one(server, (kind, data))[1]):
            data = data | {"cursor": found["cursor"]}

    @rule(
        server=servers,
        answered=st.lists(
            st.tuples(st.sampled_from([0, 0, 1]), ids, st.sampled_from(SETTABLE)), min_size=2, max_size=4
        ),
        limit=st.sampled_from([1, 2, 100]),
        since=st.sampled_from([None, In(0), In(-4)]),
    )
    def what_was_answered_is_listed(
        self, server: int, answered: list[tuple[int, str, str]], limit: int, since: In | None
    ) -> None:
        external = {"resonate:external": "true"}
        for ms, id, state in answered:
            self.engines[server].clock.advance(ms)
            self.ask_one(server, ("promise.create", {"id": id, "timeoutAt": In(10**6), "tags": external}))
            self.ask_one(server, ("promise.settle", {"id": id, "state": state}))
        search = {"sort": "-settled", "limit": limit, "settledSince": since}
        self.search_to_the_end(server, ("promise.search", search))

    @rule(
        server=servers,
        takes=st.sampled_from([[ADDRESS], [ADDRESS], [OTHER], [ADDRESS, OTHER]]),
        room=st.sampled_from([0, 1, 1, 2, 5]),
        knows=st.sampled_from([["a", "b", "c", "d", "a:1"], ALL, ALL]),
        lease=st.none() | st.none() | st.builds(Lease, pids, ttls),
        first=st.lists(well, min_size=2, max_size=6),
        alone=st.booleans(),
    )
    def fetch(
        self,
        server: int,
        takes: list[str],
        room: int,
        knows: list[str],
        lease: Lease | None,
        first: list[Well],
        alone: bool,
    ) -> None:
        self.ask(server, *first)
        if alone:
            self.fire(server)
        now = self.instant(server)
        self.oracle.fire(now)
        worker = Worker(takes, free=room, knows=lambda promise: promise.id in knows, lease=lease)
        batch = self.engines[server].server.run_batch([], [worker])
        deliveries = list(batch.deliveries)
        handed: list[tuple[str, Data]] = []
        for address in takes:
            ready = [task for task in self.oracle.offers(address, now) if task.id in knows][:room]
            offered, deliveries = deliveries[: len(ready)], deliveries[len(ready) :]
            assert {json.loads(one.text)["data"]["task"]["id"] for one in offered} <= set(knows)
            self.check_offers(now, ready, offered)
            room -= len(ready)
            waiting = {id for id, listener in self.oracle.unblocks if listener == address}
            told, deliveries = deliveries[: len(waiting)], deliveries[len(waiting) :]
            self.check_told(waiting, told)
            self.oracle.unblocks -= {(id, address) for id in waiting}
            handed += [(address, json.loads(one.text)) for one in [*offered, *told] if one.held is None]
        assert not deliveries
        later = self.oracle.next_offer(takes, now)
        self.check_batch(now, batch, one_step=alone, asked=lease is not None, handed=handed, due=later)

    def check_offers(self, now: int, ready: list[Task], offered: list[Delivery]) -> None:
        """Check that the tasks that have waited longest are handed over, or given to hold."""
        refs = [json.loads(one.text)["data"]["task"] for one in offered]
        tasks = [self.oracle.tasks[ref["id"]] for ref in refs]
        assert [task.retry_at for task in tasks] == [task.retry_at for task in ready]
        for one, ref, task in zip(offered, refs, tasks, strict=True):
            assert (ref["version"], task.state) == (task.version, "pending")
            terms = one.subscriber.lease
            if terms is None:
                assert one.held is None
                self.oracle.hand_over(task.id, now)
                continue
            status, data = self.oracle.task_acquire(ref | {"pid": terms.pid, "ttl": terms.ttl}, now)
            held = json.loads(msgspec.json.encode(one.held))
            assert (status, held) == (200, data)
            self.shown.check_claim("task.acquire", {"data": held})

    def check_told(self, waiting: set[str], told: list[Delivery]) -> None:
        """Check what a listener is told."""
        promises = [json.loads(one.text)["data"]["promise"] for one in told]
        assert {promise["id"] for promise in promises} == waiting
        assert all(promise == self.oracle.promises[promise["id"]].record() for promise in promises)

    @rule(server=servers)
    def restart(self, server: int) -> None:
        clock = self.engines[server].clock
        self.engines[server].server.close()
        self.engines[server] = Engine(self.path, clock)

    @rule(
        server=servers,
        asked=st.lists(anything, min_size=1, max_size=3),
        at=st.integers(1, 16),
        how=st.sampled_from(["killed", "killed after", "the disk", "a bug"]),
    )
    def fails(self, server: int, asked: list[Ask | Well], at: int, how: str) -> None:
        now, engine = self.instant(server), self.engines[server]
        whole = copy.deepcopy(self.oracle)
        whole.fire(now)
        sent, expected = self.prepare(whole, asked, now)
        batch = None
        with failing(engine.server.store, at, how) as file, suppress(Killed, StorageFailed):
            batch = engine.run_batch(*(request(*one) for one in sent))
        if batch is None:
            assert file.failed
            if how.startswith("killed"):
                engine.server.close()
                self.engines[server] = Engine(self.path, engine.clock)
            if how == "killed after" and self.stored() != self.before:
                self.oracle = whole
                self.check_stored(now, one_step=False, asked=True)
            assert self.stored() == self.before, "a batch that failed left a trace"
            return
        if file.failed:
            expected = self.each_alone(sent, now)
        else:
            self.oracle = whole
        self.check_batch(now, batch, one_step=False, asked=True)
        self.check_answers(now, batch, sent, expected)

    def each_alone(self, sent: list[Ask], now: int) -> list[Answer]:
        """Return the answers to requests that did not share their batch, because that failed."""
        expected = []
        for one in sent:
            self.oracle.fire(now)
            expected.append(self.consult(self.oracle, one, now))
        self.oracle.fire(now)
        return expected

    # What must hold

    def stored(self) -> State:
        """Return what is stored. It is read again, and has other parts, only if an engine has committed."""
        version = self.file.execute("PRAGMA data_version").fetchone()[0]
        if version != self.read_at:
            self.read_at, self.read = version, catalogue.read(self.file)
        return dataclasses.replace(self.read)

    def check_batch(
        self,
        now: int,
        batch: Batch,
        *,
        one_step: bool,
        asked: bool,
        handed: Sequence[tuple[str, Data]] = (),
        due: int = NEVER,
    ) -> None:
        """Check what a batch tells of itself, and what it left in the file."""
        before = self.before
        after = self.check_stored(now, one_step=one_step, asked=asked, handed=handed)
        assert batch.now == now
        assert batch.due == min(self.oracle.next_due(), due)
        assert batch.offered >= new_offers(before, after, now), "nobody is told of an offer"
        watched = {p.id for p in after.promises.values() if p.open or p.root} - before.promises.keys()
        ended = {
            p.id for p in before.promises.values() if p.external and p.pending != after.promises[p.id].pending
        }
        assert batch.settled or not (watched | ended), "nobody is told of a settlement"

    def check_stored(
        self, now: int, *, one_step: bool, asked: bool, handed: Sequence[tuple[str, Data]] = ()
    ) -> State:
        """Check the file by the catalogue and by the oracle."""
        before, after = self.before, self.stored()
        after.handed = list(handed)
        same = after.promises is before.promises and not handed
        if not (same and now == self.checked_at):
            broken = catalogue.broken_in(now, after)
            assert not broken, broken
            self.checked_at = now
        if not same:  # a step that changes nothing breaks none of these
            broken = catalogue.broken_by(now, before, after, one_step=one_step, asked=asked)
            assert not broken, broken
        for here, there in zip(seen(after), foreseen(self.oracle), strict=True):
            assert here == there, (here, there)
        unchanged = dataclasses.replace(before, clock=after.clock) == after
        assert after.clock[0] == now or (unchanged and after.clock == before.clock)
        self.before = after
        return after

    def check_answers(self, now: int, batch: Batch, sent: list[Ask], expected: list[Answer]) -> list[Answer]:
        """Check the answers by the oracle, and that they take nothing back; return them."""
        answers: list[Answer] = []
        for raw, (kind, data), foretold in zip(batch.answers, sent, expected, strict=True):
            envelope = json.loads(raw)
            self.judge(now, kind, data, envelope)
            answers.append((envelope["head"]["status"], envelope["data"]))
            assert self.plain(envelope) == foretold, (kind, data)
            for shown in records(envelope["data"]):
                assert catalogue.broken_by_record(shown, self.before) == []
                self.shown.check(now, shown)
            self.shown.check_claim(kind, envelope)
        return answers

    def judge(self, now: int, kind: str, data: Data, envelope: Data) -> None:  # noqa: ARG002
        """Check an answer's envelope."""
        assert (envelope["kind"], envelope["head"]["corrId"]) == (kind, "c")
        assert isinstance(envelope["data"], str) == (envelope["head"]["status"] >= 400)

    def plain(self, envelope: Data) -> Answer:
        """Return an answer as the oracle has it: no words of errors, its cursors, and no inner head."""
        status, data = envelope["head"]["status"], envelope["data"]
        if status >= 400:
            return status, None
        if "action" in data:
            inside = data["action"]
            inner_status, shown = inside["head"]["status"], inside["data"]
            answer = {"status": inner_status, "data": shown if inner_status < 400 else None}
            return status, data | {"action": {"kind": inside["kind"]} | answer}
        if "cursor" in data:
            last = (data.get("promises") or data.get("tasks") or data.get("schedules"))[-1]["id"]
            return status, data | {"cursor": self.cursors.setdefault(data["cursor"], last)}
        return status, data


class Shown:
    """What the answers have shown so far, none of which may be taken back."""

    def __init__(self) -> None:
        self.settled: dict[str, Data] = {}
        self.versions: dict[str, int] = {}
        self.fulfilled: set[str] = set()
        self.granted: set[tuple[str, int]] = set()

    def check(self, now: int, record: Data) -> None:
        """Check one record of an answer at `now`, and remember it."""
        id = record["id"]
        if "version" in record:
            assert record["version"] >= self.versions.get(id, 0)
            self.versions[id] = record["version"]
            assert record["state"] == "fulfilled" or id not in self.fulfilled
            assert record["state"] == "fulfilled" or id not in self.settled
            if record["state"] == "fulfilled":
                self.fulfilled.add(id)
        elif record["state"] == "pending":
            assert record["timeoutAt"] > now, "ResponsesAreProjected"
            assert id not in self.settled, "ResponsesNeverRegress"
        else:
            assert self.settled.setdefault(id, record) == record, "Stickiness"

    def check_claim(self, kind: str, envelope: Data) -> None:
        """Check that no version of a task is granted twice."""
        data = envelope["data"]
        if kind in {"task.acquire", "task.create"} and isinstance(data, dict):
            claim = (data["task"]["id"], data["task"]["version"])
            if data["task"]["state"] == "acquired":
                assert claim not in self.granted, "AtMostOneValidClaim"
                self.granted.add(claim)


def resolve(value: Any, oracle: Oracle, now: int) -> Any:
    """Return the value with every In and At filled in."""
    match value:
        case In(ms):
            return now + ms
        case Later(ms):
            return str(now + ms)
        case At(id, off):
            return max(0, oracle.tasks[id].version + off) if id in oracle.tasks else 0
        case dict():
            return {key: resolve(item, oracle, now) for key, item in value.items()}
        case list():
            return [resolve(item, oracle, now) for item in value]
        case _:
            return value


def records(data: Any) -> list[Data]:
    """Return every record in an answer's data."""
    if not isinstance(data, dict):
        return []
    found = [data[key] for key in ("task", "promise") if key in data]
    found += [record for key in ("promises", "tasks", "preload") for record in data.get(key, [])]
    return found + (records(data["action"]["data"]) if "action" in data else [])


def new_offers(a: State, b: State, now: int) -> set[str]:
    """Return the addresses that have something to fetch which they had not before."""

    def on_offer(state: State) -> set[tuple[str, str, int]]:
        pending = [t for t in state.tasks.values() if t.state == "pending" and t.due is not None]
        return {(t.address, t.id, t.version) for t in pending if (t.due or 0) <= now}

    tasks = {address for address, *_ in on_offer(b) - on_offer(a)}
    return tasks | {message.address for message in b.unblocks if message not in a.unblocks}


def seen(state: State) -> tuple[Any, ...]:
    """Return what is stored, as `foreseen` has it."""
    names = {p.seq: p.id for p in state.promises.values()}
    promises = {
        p.id: [
            (p.state, p.param, p.value, p.tags, p.timeout_at, p.created_at, p.settled_at),
            (p.target, bool(p.timer), bool(p.external), bool(p.open), bool(p.root)),
            (names.get(p.owner or 0), p.callbacks, p.listeners),
        ]
        for p in sorted(state.promises.values(), key=lambda p: p.seq)
    }
    tasks = {
        t.id: (t.state, t.version, t.address, t.pid, t.ttl, t.due, t.resumes) for t in state.tasks.values()
    }
    unblocks = sorted((message.promise, message.address) for message in state.unblocks)
    schedules = {
        s.id: [
            (s.cron, s.promise_id, s.promise_timeout, s.promise_param, s.promise_tags),
            (s.created_at, s.next_run_at, s.last_run_at, s.catch_up),
        ]
        for s in state.schedules.values()
    }
    return list(promises), promises, tasks, unblocks, schedules, state.tags


def foreseen(oracle: Oracle) -> tuple[Any, ...]:
    """Return what the oracle holds."""
    promises = {
        p.id: [
            (p.state, p.param, p.value, p.tags, p.timeout_at, p.created_at, p.settled_at),
            (p.target, p.timer, p.external, p.open, p.root),
            (p.maker, sorted(p.callbacks), sorted(p.listeners)),
        ]
        for p in oracle.promises.values()
    }
    tasks = {
        t.id: (
            t.state,
            t.version,
            queue_of(oracle.promises[t.id].target or ""),
            t.pid,
            t.ttl,
            t.retry_at if t.expires_at is None else t.expires_at,
            len(t.resumes),
        )
        for t in oracle.tasks.values()
    }
    schedules = {
        s.id: [
            (s.cron, s.promise_id, s.promise_timeout, s.promise_param, s.promise_tags),
            (s.created_at, s.next_run_at, s.last_run_at, s.catch_up),
        ]
        for s in oracle.schedules.values()
    }
    tags = {
        (key, value, p.id)
        for p in oracle.promises.values()
        for key, value in p.tags.items()
        if not key.startswith("resonate:")
        or key == "resonate:schedule"
        or (key == "resonate:origin" and not f"{p.id}:".startswith(f"{value}:"))
    }
    return list(promises), promises, tasks, sorted(oracle.unblocks), schedules, tags


class ProtocolAtLength(Protocol):
    """The same, more often."""


def tried(machine: type[Protocol], examples: int) -> Any:
    """Return the test that tries this number of examples."""
    machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    return pytest.mark.timeout(3_600)(machine.TestCase)


TestWhatAlwaysHolds = tried(Protocol, EXAMPLES)
TestWhatAlwaysHoldsAtLength = pytest.mark.long(pytest.mark.heavy(tried(ProtocolAtLength, MORE_EXAMPLES)))
