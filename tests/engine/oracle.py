"""The specification's machine: a second implementation, to compare the engine with.

Written from resonatehq/resonate-specification (spec/02-abstract: state.lean, external.lean, internal.lean),
and from docs/explanation/protocol.md where the two differ or the specification leaves something open;
from nothing of hitl_cli/engine. Plain dicts, no file, no batches, nothing remembered that can be looked up:
it is made to be read beside the specification, at any cost.

Answers are a status and the data as the wire has it; an error's data is None, since its words are free.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

type Data = dict[str, Any]
type Answer = tuple[int, Any]

RETRY_MS = 5_000
CATCH_UP = 100
"""Occurrences of one schedule that are fired in one step."""

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
CRONS = {
    "* * * * *": (MINUTE_MS, 0),
    "0 * * * *": (HOUR_MS, 0),
    "30 2 * * *": (DAY_MS, 2 * HOUR_MS + 30 * MINUTE_MS),
    "0 0 * * MON": (7 * DAY_MS, 4 * DAY_MS),  # 1970 began on a Thursday
}
"""Expressions that the oracle can read: how often each comes, and when after the epoch it first does."""

YEARLY = "0 0 1 1 *"
"""The other expression that the oracle can read."""

YEARS = [int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000 for year in range(1970, 2200)]
SETTABLE = ("resolved", "rejected", "rejected_canceled")
NEVER = 9 * 10**18


@dataclass
class Promise:
    """A PromiseObject. `maker` is the id of the task that created it, which is what preload follows."""

    id: str
    param: Data
    tags: dict[str, str]
    timeout_at: int
    created_at: int
    state: str = "pending"
    value: Data = field(default_factory=dict)
    settled_at: int | None = None
    callbacks: list[str] = field(default_factory=list)
    listeners: list[str] = field(default_factory=list)
    maker: str | None = None

    @property
    def timer(self) -> bool:
        return self.tags.get("resonate:timer") == "true"

    @property
    def target(self) -> str | None:
        """The address that executes it. A targeted timer is a timer (docs/explanation/protocol.md)."""
        return None if self.timer else self.tags.get("resonate:target")

    @property
    def bare(self) -> bool:
        """Whether it is a ctx.promise() of the npm SDK (docs/explanation/protocol.md)."""
        return self.tags.get("resonate:scope") == "global" and self.target is None and not self.timer

    @property
    def open(self) -> bool:
        return self.tags.get("resonate:external") == "true" or self.bare

    @property
    def external(self) -> bool:
        return self.open or self.target is not None or self.timer

    @property
    def root(self) -> bool:
        """Whether it starts a lineage and has a task: a run (docs/explanation/protocol.md, search)."""
        origin = self.tags.get("resonate:origin", self.id.partition(":")[0])
        return self.target is not None and origin == self.id

    def project(self, now: int) -> Promise:
        if self.state != "pending" or self.timeout_at > now:
            return self
        verdict = "resolved" if self.timer else "rejected_timedout"
        return replace(self, state=verdict, settled_at=self.timeout_at)

    def record(self) -> Data:
        shown = {
            "id": self.id,
            "state": self.state,
            "param": self.param,
            "value": self.value,
            "tags": self.tags,
            "timeoutAt": self.timeout_at,
            "createdAt": self.created_at,
            "settledAt": self.settled_at,
        }
        return {key: value for key, value in shown.items() if value is not None}


@dataclass
class Task:
    """A TaskObject."""

    id: str
    state: str
    version: int
    ttl: int | None = None
    pid: str | None = None
    expires_at: int | None = None
    retry_at: int | None = None
    resumes: list[str] = field(default_factory=list)

    def record(self) -> Data:
        shown = {
            "id": self.id,
            "state": self.state,
            "version": self.version,
            "resumes": len(self.resumes),
            "ttl": self.ttl,
            "pid": self.pid,
        }
        return {key: value for key, value in shown.items() if value is not None}

    def become(self, state: str, retry_at: int | None = None) -> None:
        """Be held by nobody."""
        self.state, self.retry_at = state, retry_at
        self.pid = self.ttl = self.expires_at = None

    def fulfill(self) -> None:
        self.become("fulfilled")
        self.resumes = []

    def hold(self, version: int, pid: str, ttl: int, now: int) -> None:
        self.become("acquired")
        self.version, self.pid, self.ttl, self.expires_at = version, pid, ttl, now + ttl
        self.resumes = []


@dataclass
class Schedule:
    """A Schedule. `catch_up` says what of the occurrences that were missed: the last, or all."""

    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: Data
    promise_tags: dict[str, str]
    created_at: int
    next_run_at: int
    catch_up: str
    last_run_at: int | None = None

    def record(self) -> Data:
        shown = {
            "id": self.id,
            "cron": self.cron,
            "promiseId": self.promise_id,
            "promiseTimeout": self.promise_timeout,
            "promiseParam": self.promise_param,
            "promiseTags": self.promise_tags,
            "createdAt": self.created_at,
            "nextRunAt": self.next_run_at,
            "lastRunAt": self.last_run_at,
            "catchUp": self.catch_up,
        }
        return {key: value for key, value in shown.items() if value is not None}

    def occurrences(self, now: int) -> list[int]:
        """Return the instants to fire now: the last, or all if asked for (docs/explanation/protocol.md)."""
        if self.next_run_at > now:
            return []
        if self.cron == YEARLY:
            due = [at for at in YEARS if self.next_run_at <= at <= now]
        else:
            due = list(range(self.next_run_at, now + 1, CRONS[self.cron][0]))
        return due[-1:] if self.catch_up == "last" else due[:CATCH_UP]


class Oracle:
    """The machine. Dicts keep the order of creation, which searches and preloads follow."""

    def __init__(self) -> None:
        self.promises: dict[str, Promise] = {}
        self.tasks: dict[str, Task] = {}
        self.schedules: dict[str, Schedule] = {}
        self.unblocks: set[tuple[str, str]] = set()
        """Promise and address of each message to a listener that is not fetched yet."""

    def ask(self, kind: str, data: Data, now: int) -> Answer:
        """Answer one request, and drain what it settled."""
        handler = getattr(self, kind.replace(".", "_"))
        answer: Answer = handler(data, now)
        self.drain(now)
        return answer

    # Reads: all of them materialise

    def read_promise(self, id: str, now: int) -> Promise | None:
        found = self.promises.get(id)
        if found is not None:
            seen = found.project(now)
            if seen.state != found.state:
                self.set_settled(found, seen.state, {}, found.timeout_at)
        return found

    def read_task(self, id: str, now: int) -> tuple[Task, Promise] | None:
        task = self.tasks.get(id)
        promise = None if task is None else self.read_promise(id, now)
        return None if task is None or promise is None else (task, promise)

    def held(self, data: Data, now: int) -> tuple[int, Task | None]:
        """Say why the task is not held at the version named: 404, 409; or 200, and the task."""
        found = self.read_task(data["id"], now)
        if found is None:
            return 404, None
        task, promise = found
        if task.state != "acquired" or promise.state != "pending" or task.version != data["version"]:
            return 409, None
        return 200, task

    def preload(self, id: str, now: int) -> list[Data]:
        children = [child.id for child in self.promises.values() if child.maker == id]
        return [promise.record() for child in children if (promise := self.read_promise(child, now))]

    # Writes

    def set_settled(self, promise: Promise, state: str, value: Data | None, at: int) -> None:
        promise.state, promise.value, promise.settled_at = state, value or {}, at
        if promise.id in self.tasks:
            self.tasks[promise.id].fulfill()

    def new_promise(self, data: Data, now: int, maker: str | None = None) -> Promise:
        promise = Promise(
            id=data["id"],
            param=data.get("param") or {},
            tags=data.get("tags") or {},
            timeout_at=data["timeoutAt"],
            created_at=min(now, data["timeoutAt"]),
            maker=maker,
        ).project(now)
        self.promises[promise.id] = promise
        return promise

    def create_promise(self, data: Data, now: int, maker: str | None) -> Promise:
        promise = self.new_promise(data, now, maker)
        if promise.target is not None and promise.state == "pending":
            due = max(int(promise.tags.get("resonate:delay", 0)), now)
            self.tasks[promise.id] = Task(promise.id, "pending", 0, retry_at=due)
        elif promise.target is not None:
            self.tasks[promise.id] = Task(promise.id, "fulfilled", 0)
        return promise

    # promise.*

    def promise_get(self, data: Data, now: int) -> Answer:
        promise = self.read_promise(data["id"], now)
        return (404, None) if promise is None else (200, {"promise": promise.record()})

    def promise_create(self, data: Data, now: int, maker: str | None = None) -> Answer:
        promise = self.read_promise(data["id"], now) or self.create_promise(data, now, maker)
        return 200, {"promise": promise.record()}

    def promise_settle(self, data: Data, now: int) -> Answer:
        if data["state"] not in SETTABLE:
            return 400, None
        promise = self.read_promise(data["id"], now)
        if promise is None:
            return 404, None
        if promise.state == "pending":
            self.set_settled(promise, data["state"], data.get("value"), now)
        return 200, {"promise": promise.record()}

    def promise_register_callback(self, data: Data, now: int) -> Answer:
        if data["awaited"] == data["awaiter"]:
            return 400, None
        awaited = self.read_promise(data["awaited"], now)
        if awaited is None:
            return 404, None
        awaiter = self.read_promise(data["awaiter"], now)
        if awaiter is None or awaiter.target is None or not awaited.external:
            return 422, None
        if awaited.state == awaiter.state == "pending":
            self.add_callback(awaited, awaiter.id)
        return 200, {"promise": awaited.record()}

    def add_callback(self, awaited: Promise, awaiter: str) -> None:
        if awaiter not in awaited.callbacks:
            awaited.callbacks.append(awaiter)

    def promise_register_listener(self, data: Data, now: int) -> Answer:
        if not address_valid(data["address"]):
            return 400, None
        awaited = self.read_promise(data["awaited"], now)
        if awaited is None:
            return 404, None
        if not awaited.external:
            return 422, None
        if awaited.state == "pending" and queue_of(data["address"]) not in awaited.listeners:
            awaited.listeners.append(queue_of(data["address"]))
        return 200, {"promise": awaited.record()}

    def promise_search(self, data: Data, now: int) -> Answer:
        """List promises as in docs/explanation/protocol.md. A cursor here is the id of the last record."""
        since = data.get("settledSince")
        if data.get("sort") == "-settled":
            self.look_at_external(now)
        elif since is not None:
            return 400, None
        else:
            self.look_at_all(data, now)
        found = [
            promise.id
            for promise in self.promises.values()
            if data.get("state") in {None, promise.project(now).state}
            and (promise.root or not data.get("root"))
            and (
                data.get("sort") != "-settled" or (promise.open and (promise.settled_at or 0) >= (since or 0))
            )
            and named(data, promise)
        ]
        page, cursor = one_page(in_order(self.promises, data), found, data)
        records = [promise.record() for id in page if (promise := self.read_promise(id, now))]
        return 200, {"promises": records} | cursor

    def look_at_all(self, data: Data, now: int) -> None:
        """Materialise all, if what deadlines settle is searched for. (The specification allows either.)"""
        if data.get("state") in {"resolved", "rejected_timedout", "fulfilled"}:
            for id in self.promises:
                self.read_promise(id, now)

    def look_at_external(self, now: int) -> None:
        """Materialise all that others may wait for."""
        for promise in self.promises.values():
            if promise.external:
                self.read_promise(promise.id, now)

    # task.*

    def task_get(self, data: Data, now: int) -> Answer:
        found = self.read_task(data["id"], now)
        return (404, None) if found is None else (200, {"task": found[0].record()})

    def task_create(self, data: Data, now: int) -> Answer:
        action = data["action"]["data"]
        tags = action.get("tags") or {}
        if "resonate:target" not in tags or tags.get("resonate:timer") == "true":
            return 400, None
        promise = self.read_promise(action["id"], now)
        if promise is None:
            promise = self.new_promise(action, now)
            task = self.tasks[promise.id] = Task(promise.id, "fulfilled", 0)
            if promise.state == "pending":
                task.hold(1, data["pid"], data["ttl"], now)
            return 200, {"task": task.record(), "promise": promise.record(), "preload": []}
        if promise.target is None:
            return 422, None
        task = self.tasks[promise.id]
        if task.state == "pending":
            task.hold(task.version + 1, data["pid"], data["ttl"], now)
        elif task.state != "fulfilled":
            return 409, None
        preload = self.preload(promise.id, now)
        return 200, {"task": task.record(), "promise": promise.record(), "preload": preload}

    def task_acquire(self, data: Data, now: int) -> Answer:
        found = self.read_task(data["id"], now)
        if found is None:
            return 404, None
        task, promise = found
        if task.state != "pending" or promise.state != "pending" or task.version != data["version"]:
            return 409, None
        task.hold(task.version + 1, data["pid"], data["ttl"], now)
        preload = self.preload(promise.id, now)
        return 200, {"task": task.record(), "promise": promise.record(), "preload": preload}

    def task_fence(self, data: Data, now: int) -> Answer:
        kind, inner = data["action"]["kind"], data["action"]["data"]
        if inner["id"] == data["id"]:
            return 400, None
        status, task = self.held(data, now)
        if task is None:
            return status, None
        if kind == "promise.create":
            inner_status, shown = self.promise_create(inner, now, maker=task.id)
        else:
            inner_status, shown = self.promise_settle(inner, now)
        return 200, {"action": {"kind": kind, "status": inner_status, "data": shown}, "preload": []}

    def task_heartbeat(self, data: Data, now: int) -> Answer:
        for ref in data["tasks"]:
            found = self.read_task(ref["id"], now)
            if found is None:
                continue
            task, promise = found
            named = task.version == ref["version"] and task.pid == data["pid"]
            if task.state == "acquired" and named and promise.state == "pending":
                task.expires_at = now + (task.ttl or 0)
        return 200, {}

    def task_suspend(self, data: Data, now: int) -> Answer:
        ids = [action["data"]["awaited"] for action in data["actions"]]
        if not ids or data["id"] in ids or len(set(ids)) != len(ids):
            return 400, None
        status, task = self.held(data, now)
        if task is None:
            return status, None
        awaited = [promise for id in ids if (promise := self.read_promise(id, now)) and promise.external]
        if len(awaited) != len(ids):
            return 422, None
        task.resumes = []
        if any(promise.state != "pending" for promise in awaited):
            return 300, {"preload": self.preload(task.id, now)}
        for promise in awaited:
            self.add_callback(promise, task.id)
        task.become("suspended")
        return 200, {"preload": []}

    def task_fulfill(self, data: Data, now: int) -> Answer:
        settlement = data["action"]["data"]
        if settlement["state"] not in SETTABLE:
            return 400, None
        status, task = self.held(data, now)
        if task is None:
            return status, None
        promise = self.promises[task.id]
        self.set_settled(promise, settlement["state"], settlement.get("value"), now)
        return 200, {"promise": promise.record()}

    def task_release(self, data: Data, now: int) -> Answer:
        status, task = self.held(data, now)
        if task is None:
            return status, None
        task.become("pending", retry_at=now)
        return 200, {}

    def task_halt(self, data: Data, now: int) -> Answer:
        found = self.read_task(data["id"], now)
        if found is None:
            return 404, None
        if found[0].state == "fulfilled":
            return 409, None
        found[0].become("halted")
        return 200, {}

    def task_continue(self, data: Data, now: int) -> Answer:
        found = self.read_task(data["id"], now)
        if found is None:
            return 404, None
        if found[0].state != "halted" or found[1].state != "pending":
            return 409, None
        found[0].become("pending", retry_at=now)
        return 200, {}

    def task_search(self, data: Data, now: int) -> Answer:
        """List tasks as docs/explanation/protocol.md has it."""
        self.look_at_all(data, now)
        found = [
            task.id
            for task in self.tasks.values()
            if data.get("state") in {None, task.state} and named(data, self.promises[task.id])
        ]
        page, cursor = one_page(in_order(self.promises, data), found, data)
        return 200, {"tasks": [self.tasks[id].record() for id in page]} | cursor

    # schedule.*

    def schedule_get(self, data: Data, _now: int) -> Answer:
        schedule = self.schedules.get(data["id"])
        return (404, None) if schedule is None else (200, {"schedule": schedule.record()})

    def schedule_create(self, data: Data, now: int) -> Answer:
        tags = data.get("promiseTags") or {}
        if tags.get("resonate:timer") == "true" and "resonate:target" in tags:
            return 400, None
        if data["cron"] not in {*CRONS, YEARLY}:
            return 400, None
        if data["id"] not in self.schedules:
            self.schedules[data["id"]] = Schedule(
                id=data["id"],
                cron=data["cron"],
                promise_id=data["promiseId"],
                promise_timeout=data["promiseTimeout"],
                promise_param=data.get("promiseParam") or {},
                promise_tags=tags,
                created_at=now,
                next_run_at=next_cron(data["cron"], now),
                catch_up=data.get("catchUp", "last"),
            )
        return 200, {"schedule": self.schedules[data["id"]].record()}

    def schedule_delete(self, data: Data, _now: int) -> Answer:
        return (404, None) if self.schedules.pop(data["id"], None) is None else (200, {})

    def schedule_search(self, data: Data, _now: int) -> Answer:
        """List schedules as docs/explanation/protocol.md has it."""
        tags = (data.get("tags") or {}).items()
        found = [
            schedule.id
            for schedule in self.schedules.values()
            if tags <= schedule.promise_tags.items() and schedule.id.startswith(data.get("idPrefix") or "")
        ]
        page, cursor = one_page(sorted(self.schedules), found, data)
        return 200, {"schedules": [self.schedules[id].record() for id in page]} | cursor

    # What the server does by itself

    def fire(self, now: int) -> None:
        """Do all that is due: schedules, deadlines of external promises, leases."""
        for schedule in sorted(
            self.schedules.values(), key=lambda schedule: (schedule.next_run_at, schedule.id)
        ):
            self.fire_schedule(schedule, now)
        self.look_at_external(now)
        self.drain(now)
        for task in self.tasks.values():
            lapsed = task.expires_at is not None and task.expires_at <= now
            if lapsed and self.promises[task.id].project(now).state == "pending":
                task.become("pending", retry_at=now)

    def fire_schedule(self, schedule: Schedule, now: int) -> None:
        due = schedule.occurrences(now)
        for at in due:
            id = schedule.promise_id.replace("{{.id}}", schedule.id).replace("{{.timestamp}}", str(at))
            if self.read_promise(id, now) is None:
                lineage = {"resonate:schedule": schedule.id, "resonate:branch": id, "resonate:parent": id}
                origin = id.partition(":")[0]
                lineage |= {"resonate:origin": origin, "resonate:prefix": origin}
                if "resonate:target" in schedule.promise_tags:
                    lineage["resonate:scope"] = "global"
                request = {
                    "id": id,
                    "timeoutAt": at + schedule.promise_timeout,
                    "param": schedule.promise_param,
                    "tags": schedule.promise_tags | lineage,
                }
                self.create_promise(request, at, None)
        if due:
            schedule.last_run_at, schedule.next_run_at = due[-1], next_cron(schedule.cron, due[-1])

    def drain(self, now: int) -> None:
        """Discharge what waits for promises that this step settled (docs/explanation/protocol.md)."""
        for promise in self.promises.values():
            if promise.state == "pending":
                continue
            self.unblocks |= {(promise.id, address) for address in promise.listeners}
            awaiters, promise.listeners, promise.callbacks = promise.callbacks, [], []
            for awaiter in awaiters:
                self.resume(promise.id, awaiter, now)

    def resume(self, awaited: str, awaiter: str, now: int) -> None:
        found = self.read_task(awaiter, now)
        if found is None or found[0].state == "fulfilled":
            return
        task = found[0]
        if task.state == "suspended":
            task.state, task.retry_at = "pending", now
        if awaited not in task.resumes:
            task.resumes.append(awaited)

    def next_due(self) -> int:
        """Return the next instant at which something fires."""
        deadlines = [p.timeout_at for p in self.promises.values() if p.external and p.state == "pending"]
        leases = [t.expires_at for t in self.tasks.values() if t.expires_at is not None]
        return min([NEVER, *deadlines, *leases, *(s.next_run_at for s in self.schedules.values())])

    def instants(self) -> list[int]:
        """Return every instant at which something changes, whether it fires by itself or not."""
        deadlines = [promise.timeout_at for promise in self.promises.values() if promise.state == "pending"]
        dues = [task.retry_at if task.expires_at is None else task.expires_at for task in self.tasks.values()]
        schedules = [schedule.next_run_at for schedule in self.schedules.values()]
        return [at for at in (*deadlines, *dues, *schedules) if at is not None]

    # Messages

    def offers(self, address: str, now: int) -> list[Task]:
        """Return the tasks that can be handed to the address, the longest waiting first."""
        tasks = [task for task in self.tasks.values() if task.retry_at is not None and task.retry_at <= now]
        here = [task for task in tasks if queue_of(self.promises[task.id].target or "") == address]
        return sorted(here, key=lambda task: task.retry_at or 0)

    def next_offer(self, addresses: Sequence[str], now: int) -> int:
        """Return the next instant at which a task that cannot be handed over yet can be."""
        tasks = [task for task in self.tasks.values() if task.retry_at is not None and task.retry_at > now]
        here = [task for task in tasks if queue_of(self.promises[task.id].target or "") in addresses]
        return min([NEVER, *(task.retry_at or 0 for task in here)])

    def hand_over(self, id: str, now: int) -> None:
        """Note that a task was handed over: processRetryTimeout."""
        self.tasks[id].retry_at = now + RETRY_MS


def address_valid(address: str) -> bool:
    http = address.startswith(("http://", "https://"))
    return http or (address.startswith("poll://") and "@" in address)


def queue_of(target: str) -> str:
    """Return the address that is offered the task: `poll://any@group/pid` goes to the whole group."""
    scheme, _, rest = target.partition("://")
    if scheme == "poll" and rest.startswith("any@"):
        return f"poll://{rest.partition('/')[0]}"
    return target


def has_tag(promise: Promise, key: str, value: str) -> bool:
    """Whether a search for the tag finds the promise (docs/explanation/protocol.md)."""
    if (key, value) == ("resonate:external", "true"):
        return promise.open
    if key == "resonate:origin" and (promise.id == value or promise.id.startswith(f"{value}:")):
        return True
    return promise.tags.get(key) == value


def named(data: Data, promise: Promise) -> bool:
    """Whether the promise has the tags and the beginning of an id that are searched for."""
    tags = (data.get("tags") or {}).items()
    return promise.id.startswith(data.get("idPrefix") or "") and all(has_tag(promise, *tag) for tag in tags)


def in_order(promises: dict[str, Promise], data: Data) -> list[str]:
    match data.get("sort"):
        case "id":
            return sorted(promises)
        case "-created":
            return list(reversed(promises))
        case "-settled":
            settled = [p for p in reversed(promises.values()) if p.settled_at is not None]
            return [p.id for p in sorted(settled, key=lambda p: p.settled_at or 0, reverse=True)]
        case _:
            return list(promises)


def one_page(order: list[str], found: list[str], data: Data) -> tuple[list[str], Data]:
    """Return the ids on a page, and the cursor of the next one if there is one."""
    cursor, limit = data.get("cursor"), data.get("limit") or 100
    rest = order if cursor is None else order[order.index(cursor) + 1 :]
    matching = [id for id in rest if id in found]
    return matching[:limit], {"cursor": matching[limit - 1]} if len(matching) > limit else {}


def next_cron(cron: str, after: int) -> int:
    if cron == YEARLY:
        return next(at for at in YEARS if at > after)
    every, first = CRONS[cron]
    return (after - first) // every * every + every + first
