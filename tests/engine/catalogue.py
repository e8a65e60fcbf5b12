"""The specification's catalogue of what always holds, said of the stored file.

The names are those of resonatehq/resonate-specification, spec/02-abstract/properties.lean (a test compares
the two lists). A check returns whether it holds, and its docstring says it in one line.

- `always`: true of every stored state.
- `step`: true of what one step makes of a state. A step is one request, or one hand-out, or what is due at
  one instant. Callbacks and listeners are drained in the step that settles (docs/explanation/protocol.md).
- `span`: true of any number of steps at one instant, so of a batch that took several.
- `sweep`: true of a step that nobody asked for.
- `record`: true of every record in an answer.

Where the representation differs from the specification's, the check says the same of ours:

- A task's `due` is both deadlines: the next offer while it is pending, the lease's end while it is held.
- `resumes` is a number, not a list of names.
- There is no outbox. An `execute` message is a pending task that is due; what a batch hands over is in
  `handed`. An `unblock` message is a row of `unblocks` until it is handed over.
- A timer with a target has no task, and a promise with scope=global is external.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hitl_cli.engine.machine import OFFER_RETRY_MS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping

SETTLED = ("resolved", "rejected", "rejected_canceled", "rejected_timedout")


@dataclass(frozen=True)
class Promise:
    """A stored promise and who waits for it: the row, with `param`, `value` and `tags` decoded."""

    seq: int
    id: str
    state: str
    param: dict[str, Any]
    value: dict[str, Any]
    tags: dict[str, str]
    timeout_at: int
    created_at: int
    settled_at: int | None
    target: str | None
    timer: int
    external: int
    open: int
    root: int
    owner: int | None
    callbacks: list[str]
    listeners: list[str]

    @property
    def pending(self) -> bool:
        return self.state == "pending"

    @property
    def is_timer(self) -> bool:
        return self.tags.get("resonate:timer") == "true"

    @property
    def targeted(self) -> bool:
        return "resonate:target" in self.tags and not self.is_timer

    @property
    def is_external(self) -> bool:
        marked = self.tags.get("resonate:external") == "true" or self.tags.get("resonate:scope") == "global"
        return marked or self.targeted or self.is_timer

    @property
    def verdict(self) -> str:
        """What its deadline makes of it."""
        return "resolved" if self.is_timer else "rejected_timedout"

    def alive(self, now: int) -> bool:
        """Whether it is pending at `now`, looked at or not."""
        return self.pending and self.timeout_at > now


@dataclass(frozen=True)
class Task:
    """A stored task, by its promise's id."""

    id: str
    state: str
    version: int
    address: str
    pid: str | None
    ttl: int | None
    due: int | None
    resumes: int

    @property
    def free(self) -> bool:
        """Whether nobody holds it and no time is set for it."""
        return self.pid is None and self.ttl is None and self.due is None

    @property
    def lease(self) -> tuple[str | None, int | None, int | None]:
        return self.pid, self.ttl, self.due if self.state == "acquired" else None


@dataclass(frozen=True)
class Schedule:
    """A stored schedule: the row, with param and tags decoded."""

    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: dict[str, Any]
    promise_tags: dict[str, str]
    created_at: int
    next_run_at: int
    last_run_at: int | None
    catch_up: str


@dataclass(frozen=True)
class Unblock:
    """A message to a listener, not handed over yet."""

    promise: str
    address: str


@dataclass
class State:
    """All that is stored, by id, and the messages that the batch which led here handed over."""

    promises: dict[str, Promise] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    tags: set[tuple[str, str, str]] = field(default_factory=set)
    """Key, value and promise of every tag that a search finds by an index."""
    unblocks: list[Unblock] = field(default_factory=list)
    clock: tuple[int, int | None, int | None] = (0, None, None)
    """The latest instant, and how time has passed since if the computer's clock fell behind it."""
    rows: dict[str, int] = field(default_factory=dict)
    """How many rows each table has."""
    handed: list[tuple[str, dict[str, Any]]] = field(default_factory=list, compare=False)
    """The addresses and the messages."""

    def alive(self, id: str, now: int) -> bool:
        return id in self.promises and self.promises[id].alive(now)

    def executes(self) -> Iterator[tuple[str, str, int]]:
        """Yield address, task and version of every task that was handed over."""
        for address, message in self.handed:
            if message["kind"] == "execute":
                task = message["data"]["task"]
                yield address, task["id"], task["version"]

    def told(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield address and promise of every message to a listener that was handed over."""
        for address, message in self.handed:
            if message["kind"] == "unblock":
                yield address, message["data"]["promise"]


def read(db: sqlite3.Connection) -> State:
    """Return all that is stored. A row that names what is not there keeps its number as the name."""
    db.execute("BEGIN")
    tables = {
        table: db.execute(f"SELECT * FROM {table}").fetchall()
        for table in (
            "promises",
            "tasks",
            "callbacks",
            "listeners",
            "unblocks",
            "schedules",
            "tags",
            "clock",
        )
    }
    db.execute("COMMIT")
    ids = {row[0]: row[1] for row in tables["promises"]}

    def name(seq: int) -> str:
        return str(ids.get(seq, f"#{seq}"))

    state = State(clock=tables["clock"][0], rows={table: len(rows) for table, rows in tables.items()})
    for seq, id, kind, param, value, tags, *rest in tables["promises"]:
        callbacks = sorted(name(awaiter) for awaited, awaiter in tables["callbacks"] if awaited == seq)
        listeners = sorted(address for promise, address in tables["listeners"] if promise == seq)
        decoded = [json.loads(param), json.loads(value), json.loads(tags)]
        state.promises[id] = Promise(*[seq, id, kind, *decoded, *rest, callbacks, listeners])
    state.tasks = {name(seq): Task(name(seq), *rest) for seq, *rest in tables["tasks"]}
    for id, cron, promise_id, timeout, param, tags, *rest in tables["schedules"]:
        schedule = Schedule(id, cron, promise_id, timeout, json.loads(param), json.loads(tags), *rest)
        state.schedules[id] = schedule
    state.tags = {(key, value, name(promise)) for key, value, promise in tables["tags"]}
    state.unblocks = [Unblock(name(promise), address) for address, promise, _ in tables["unblocks"]]
    return state


type StateCheck = Callable[[int, State], bool]
type StepCheck = Callable[[int, State, State], bool]
type RecordCheck = Callable[[dict[str, Any], State], bool]

ALWAYS: dict[str, StateCheck] = {}
STEP: dict[str, StepCheck] = {}
SPAN: dict[str, StepCheck] = {}
SWEEP: dict[str, StepCheck] = {}
RECORD: dict[str, RecordCheck] = {}


def always(check: StateCheck) -> StateCheck:
    return ALWAYS.setdefault(check.__name__, check)


def step(check: StepCheck) -> StepCheck:
    return STEP.setdefault(check.__name__, check)


def span(check: StepCheck) -> StepCheck:
    return SPAN.setdefault(check.__name__, check)


def sweep(check: StepCheck) -> StepCheck:
    return SWEEP.setdefault(check.__name__, check)


def record(check: RecordCheck) -> RecordCheck:
    return RECORD.setdefault(check.__name__, check)


def broken_in(now: int, s: State) -> list[str]:
    """Return the names of the checks that the state breaks."""
    return [name for name, holds in ALWAYS.items() if not holds(now, s)]


def broken_by(now: int, a: State, b: State, *, one_step: bool, asked: bool) -> list[str]:
    """Return the names of the checks that the way from `a` to `b`, all of it at `now`, breaks."""
    checks = SPAN | (STEP if one_step else {}) | ({} if asked else SWEEP)
    return [name for name, holds in checks.items() if not holds(now, a, b)]


def broken_by_record(shown: dict[str, Any], s: State) -> list[str]:
    """Return the names of the checks that a record in an answer breaks."""
    return [name for name, holds in RECORD.items() if not holds(shown, s)]


def both[T](a: Mapping[str, T], b: Mapping[str, T]) -> Iterator[tuple[T, T]]:
    """Yield what was there and what has become of it."""
    return ((before, b[id]) for id, before in a.items() if id in b)


def born[T](a: Mapping[str, T], b: Mapping[str, T]) -> Iterator[T]:
    """Yield what is there now and was not."""
    return (after for id, after in b.items() if id not in a)


# A promise


@always
def well_formed_promise_created_at_lte_timeout_at(_now: int, s: State) -> bool:
    """No promise is created after its deadline."""
    return all(p.created_at <= p.timeout_at for p in s.promises.values())


@always
def well_formed_promise_pending_created_before_deadline(_now: int, s: State) -> bool:
    """A pending promise was created before its deadline."""
    return all(p.created_at < p.timeout_at for p in s.promises.values() if p.pending)


@always
def well_formed_promise_settled_at_lte_timeout_at(_now: int, s: State) -> bool:
    """No promise is settled after its deadline."""
    return all(p.settled_at <= p.timeout_at for p in s.promises.values() if p.settled_at is not None)


@always
def well_formed_promise_created_at_lte_settled_at(_now: int, s: State) -> bool:
    """No promise is settled before it was created."""
    return all(p.created_at <= p.settled_at for p in s.promises.values() if p.settled_at is not None)


@always
def well_formed_promise_settled_at_iff_not_pending(_now: int, s: State) -> bool:
    """A promise has an instant of settlement if, and only if, it is settled."""
    return all(p.pending == (p.settled_at is None) for p in s.promises.values())


@always
def well_formed_promise_pending_has_no_value(_now: int, s: State) -> bool:
    """A pending promise has no value."""
    return all(not p.value for p in s.promises.values() if p.pending)


@always
def well_formed_promise_deadline_verdict_matches_timer_tag(_now: int, s: State) -> bool:
    """A promise that its deadline settled is resolved if it is a timer, and else timed out."""
    return all(p.state == p.verdict for p in s.promises.values() if p.settled_at == p.timeout_at)


@always
def well_formed_promise_deadline_settlement_has_no_value(_now: int, s: State) -> bool:
    """A promise that its deadline settled has no value."""
    return all(not p.value for p in s.promises.values() if p.settled_at == p.timeout_at)


@always
def well_formed_promise_timer_not_targeted(_now: int, s: State) -> bool:
    """A timer has no task. (The specification refuses a timer with a target; here the target is ignored.)"""
    timers = [p for p in s.promises.values() if p.is_timer]
    return all(p.timer and p.target is None and p.id not in s.tasks for p in timers)


@always
def well_formed_promise_timedout_is_server_owned(_now: int, s: State) -> bool:
    """A promise that timed out did so at its deadline."""
    timed_out = [p for p in s.promises.values() if p.state == "rejected_timedout"]
    return all(p.settled_at == p.timeout_at for p in timed_out)


@always
def well_formed_promise_callbacks_unique(_now: int, s: State) -> bool:
    """No task waits twice for one promise."""
    return all(len(set(p.callbacks)) == len(p.callbacks) for p in s.promises.values())


@always
def well_formed_promise_listeners_unique(_now: int, s: State) -> bool:
    """No address listens twice to one promise."""
    return all(len(set(p.listeners)) == len(p.listeners) for p in s.promises.values())


@always
def well_formed_promise_obligations_require_external(_now: int, s: State) -> bool:
    """Only external promises are waited for; scope=global makes one external too."""
    return all(p.is_external and p.external for p in s.promises.values() if p.callbacks or p.listeners)


@always
def well_formed_promise_awaiter_is_not_self(_now: int, s: State) -> bool:
    """No task waits for its own promise."""
    return all(p.id not in p.callbacks for p in s.promises.values())


@always
def well_formed_promise_created_at_lte_now(now: int, s: State) -> bool:
    """No promise is created in the future."""
    return all(p.created_at <= now for p in s.promises.values())


@always
def well_formed_promise_settled_at_lte_now(now: int, s: State) -> bool:
    """No promise is settled in the future."""
    return all(p.settled_at <= now for p in s.promises.values() if p.settled_at is not None)


# A task


@always
def well_formed_task_acquired_iff_has_pid(_now: int, s: State) -> bool:
    """A task has a holder if, and only if, it is held."""
    return all((t.state == "acquired") == (t.pid is not None) for t in s.tasks.values())


@always
def well_formed_task_acquired_iff_has_ttl(_now: int, s: State) -> bool:
    """A task has a lease's length if, and only if, it is held."""
    return all((t.state == "acquired") == (t.ttl is not None) for t in s.tasks.values())


@always
def well_formed_task_acquired_iff_has_expires_at(_now: int, s: State) -> bool:
    """A held task has a lease's end. (`due`, which a pending task has too, and no other.)"""
    timed = [t for t in s.tasks.values() if t.due is not None]
    return all(t.due is not None for t in s.tasks.values() if t.state == "acquired") and all(
        t.state in {"acquired", "pending"} for t in timed
    )


@always
def well_formed_task_pending_iff_has_retry_at(_now: int, s: State) -> bool:
    """A pending task has a next offer. (`due`, which a held task has too, and no other.)"""
    timed = [t for t in s.tasks.values() if t.due is not None and t.state != "acquired"]
    return all(t.due is not None for t in s.tasks.values() if t.state == "pending") and all(
        t.state == "pending" for t in timed
    )


@always
def well_formed_task_fulfilled_is_cleared(_now: int, s: State) -> bool:
    """A task that ended has no holder, no time set and nothing to see."""
    return all(t.free and t.resumes == 0 for t in s.tasks.values() if t.state == "fulfilled")


@always
def well_formed_task_suspended_is_cleared(_now: int, s: State) -> bool:
    """A suspended task has no holder and no time set."""
    return all(t.free for t in s.tasks.values() if t.state == "suspended")


@always
def well_formed_task_halted_is_cleared(_now: int, s: State) -> bool:
    """A halted task has no holder and no time set."""
    return all(t.free for t in s.tasks.values() if t.state == "halted")


@always
def well_formed_task_suspended_has_no_resumes(_now: int, s: State) -> bool:
    """A suspended task has nothing to see."""
    return all(t.resumes == 0 for t in s.tasks.values() if t.state == "suspended")


@always
def well_formed_task_resumes_unique(_now: int, s: State) -> bool:
    """A task has no more to see than others have settled. (Ours is the number, not the names.)"""
    settled = [p.id for p in s.promises.values() if p.is_external and not p.pending]
    return all(t.resumes <= len(settled) for t in s.tasks.values())


@always
def well_formed_task_acquired_version_positive(_now: int, s: State) -> bool:
    """A held task has been acquired at least once."""
    return all(t.version >= 1 for t in s.tasks.values() if t.state == "acquired")


@always
def well_formed_config_retry_positive(_now: int, _s: State) -> bool:
    """A task that was handed over is not offered again at once."""
    return OFFER_RETRY_MS > 0


# A schedule


@always
def well_formed_schedule_promise_tags_not_timer_targeted(_now: int, s: State) -> bool:
    """No schedule makes timers with a target."""
    tags = [c.promise_tags for c in s.schedules.values()]
    return all(t.get("resonate:timer") != "true" or "resonate:target" not in t for t in tags)


@always
def well_formed_schedule_created_at_lte_next_run_at(_now: int, s: State) -> bool:
    """No schedule fires next before it was created."""
    return all(c.created_at <= c.next_run_at for c in s.schedules.values())


@always
def well_formed_schedule_created_at_lte_last_run_at(_now: int, s: State) -> bool:
    """No schedule has fired before it was created."""
    return all(c.created_at <= c.last_run_at for c in s.schedules.values() if c.last_run_at is not None)


@always
def well_formed_schedule_last_run_at_lt_next_run_at(_now: int, s: State) -> bool:
    """A schedule fires next after it last did."""
    return all(c.last_run_at < c.next_run_at for c in s.schedules.values() if c.last_run_at is not None)


# The store


@always
def well_formed_store_promise_ids_unique(_now: int, s: State) -> bool:
    """No two promises have one id."""
    return len(s.promises) == s.rows["promises"]


@always
def well_formed_store_task_ids_unique(_now: int, s: State) -> bool:
    """No promise has two tasks."""
    return len(s.tasks) == s.rows["tasks"]


@always
def well_formed_store_schedule_ids_unique(_now: int, s: State) -> bool:
    """No two schedules have one id."""
    return len(s.schedules) == s.rows["schedules"]


@always
def well_formed_store_outbox_keys_unique(_now: int, s: State) -> bool:
    """There is one message for a listener and promise, and no batch hands a task over twice."""
    executes = [id for _, id, _ in s.executes()]
    told = [(address, promise["id"]) for address, promise in s.told()]
    waiting = [(message.address, message.promise) for message in s.unblocks]
    return all(len(set(keys)) == len(keys) for keys in (executes, [*told, *waiting]))


@always
def consistent_task_iff_targeted_promise(_now: int, s: State) -> bool:
    """A promise has a task if, and only if, it has a target and is no timer."""
    return s.tasks.keys() == {p.id for p in s.promises.values() if p.targeted}


@always
def consistent_settled_promise_has_fulfilled_task(_now: int, s: State) -> bool:
    """The task of a settled promise has ended."""
    settled = [p.id for p in s.promises.values() if not p.pending]
    return all(s.tasks[id].state == "fulfilled" for id in settled if id in s.tasks)


@always
def consistent_settled_task_promise_settled(_now: int, s: State) -> bool:
    """The promise of a task that ended is settled."""
    ended = [t.id for t in s.tasks.values() if t.state == "fulfilled"]
    return all(not s.promises[id].pending for id in ended if id in s.promises)


@always
def consistent_callback_awaiter_is_targeted(_now: int, s: State) -> bool:
    """Whoever waits for a promise has a task to resume."""
    awaiters = {id for p in s.promises.values() for id in p.callbacks}
    return all(id in s.promises and s.promises[id].targeted for id in awaiters)


@always
def consistent_listener_addresses_deliverable(_now: int, s: State) -> bool:
    """Whoever listens has an address that messages can be sent to."""
    return all(deliverable(address) for p in s.promises.values() for address in p.listeners)


@always
def consistent_outbox_execute_names_existing_task(_now: int, s: State) -> bool:
    """A task that is handed over exists."""
    return all(id in s.tasks for _, id, _ in s.executes())


@always
def consistent_outbox_never_ahead(_now: int, s: State) -> bool:
    """A task is handed over at the version it has, so that no version is named before it is issued."""
    return all(version == s.tasks[id].version for _, id, version in s.executes() if id in s.tasks)


@always
def consistent_outbox_execute_address_is_target_tag(_now: int, s: State) -> bool:
    """A task is offered to its promise's target; one that prefers a process of a group, to the group."""
    queues = {
        id: queue_of(s.promises[id].tags.get("resonate:target", "")) for id in s.tasks if id in s.promises
    }
    offered = all(queues.get(id) == address for address, id, _ in s.executes())
    return offered and all(s.tasks[id].address == queue for id, queue in queues.items())


@always
def consistent_outbox_unblock_names_settled_promise(_now: int, s: State) -> bool:
    """What a listener is told of is settled."""
    named = [message.promise for message in s.unblocks] + [promise["id"] for _, promise in s.told()]
    shown = all(promise["state"] in SETTLED for _, promise in s.told())
    return shown and all(id in s.promises and not s.promises[id].pending for id in named)


@always
def consistent_outbox_unblock_address_deliverable(_now: int, s: State) -> bool:
    """What a listener is told goes to an address that messages can be sent to."""
    addresses = [message.address for message in s.unblocks] + [address for address, _ in s.told()]
    return all(deliverable(address) for address in addresses)


@always
def consistent_suspended_task_holds_rung(now: int, s: State) -> bool:
    """A suspended task waits for something, unless its own deadline has passed."""
    awaiters = {id for p in s.promises.values() for id in p.callbacks}
    suspended = [t.id for t in s.tasks.values() if t.state == "suspended"]
    return all(id in awaiters or not s.alive(id, now) for id in suspended)


# What must not move


@span
def preserved_promise_birth_fields_immutable(_now: int, a: State, b: State) -> bool:
    """What a promise is born with stays: param, tags, deadline, creation, and what we derive from them."""

    def birth(p: Promise) -> tuple[Any, ...]:
        derived = (p.seq, p.target, p.timer, p.external, p.open, p.root, p.owner)
        return p.param, p.tags, p.timeout_at, p.created_at, derived

    return all(birth(p) == birth(q) for p, q in both(a.promises, b.promises))


@span
def preserved_settled_promise_record(_now: int, a: State, b: State) -> bool:
    """What is shown of a settled promise never changes."""

    def shown(p: Promise) -> tuple[Any, ...]:
        return p.state, p.settled_at, p.value

    settled = [p for p in a.promises.values() if not p.pending]
    return all(p.id in b.promises and shown(p) == shown(b.promises[p.id]) for p in settled)


@span
def preserved_promise_state_frozen_once_settled(_now: int, a: State, b: State) -> bool:
    """A settled promise keeps its state."""
    settled = [p for p in a.promises.values() if not p.pending]
    return all(p.id in b.promises and p.state == b.promises[p.id].state for p in settled)


@span
def preserved_promise_settlement_is_one_way(_now: int, a: State, b: State) -> bool:
    """What is pending was pending before, or is new."""
    return all(p.pending for p, q in both(a.promises, b.promises) if q.pending)


@span
def preserved_promise_value_until_settlement(_now: int, a: State, b: State) -> bool:
    """A promise's value does not change while it is pending."""
    kept = all(p.value == q.value for p, q in both(a.promises, b.promises) if q.pending)
    return kept and a.promises.keys() <= b.promises.keys()


@span
def preserved_promise_no_duplicate_ids(_now: int, _a: State, b: State) -> bool:
    """No step gives two promises one id, or one number."""
    return len(b.promises) == b.rows["promises"] == len({p.seq for p in b.promises.values()})


@span
def preserved_timedout_is_server_owned(now: int, a: State, b: State) -> bool:
    """A promise times out at its deadline and not before."""
    timed_out = [
        (p, q) for p, q in both(a.promises, b.promises) if p.pending and q.state == "rejected_timedout"
    ]
    return all(p.timeout_at <= now and q.settled_at == p.timeout_at for p, q in timed_out)


@step
def preserved_schedule_birth_fields_immutable(_now: int, a: State, b: State) -> bool:
    """What a schedule is born with stays."""

    def birth(c: Schedule) -> tuple[Any, ...]:
        promise = (c.promise_id, c.promise_timeout, c.promise_param, c.promise_tags)
        return c.cron, promise, c.created_at, c.catch_up

    return all(birth(c) == birth(d) for c, d in both(a.schedules, b.schedules))


@span
def preserved_fulfilled_task(_now: int, a: State, b: State) -> bool:
    """A task that ended never changes."""
    return all(b.tasks.get(t.id) == t for t in a.tasks.values() if t.state == "fulfilled")


@span
def preserved_no_dead_dispatch(now: int, a: State, b: State) -> bool:
    """No task becomes pending whose promise's deadline has passed."""
    was_pending = {t.id for t in a.tasks.values() if t.state == "pending"}
    entered = [u.id for u in b.tasks.values() if u.state == "pending" and u.id not in was_pending]
    return all(b.alive(id, now) for id in entered)


@span
def preserved_execute_only_for_live_task(now: int, _a: State, b: State) -> bool:
    """No task is handed over whose promise's deadline has passed."""
    return all(b.alive(id, now) for _, id, _ in b.executes())


@step
def preserved_task_acquisition_only_from_pending(_now: int, a: State, b: State) -> bool:
    """What is held now was held before, or pending, or is new."""
    return all(t.state in {"pending", "acquired"} for t, u in both(a.tasks, b.tasks) if u.state == "acquired")


@step
def preserved_task_suspension_only_from_acquired(_now: int, a: State, b: State) -> bool:
    """What is suspended now was suspended before, or held."""
    suspended = [u.id for u in b.tasks.values() if u.state == "suspended"]
    return all(id in a.tasks and a.tasks[id].state in {"acquired", "suspended"} for id in suspended)


@step
def preserved_task_halted_only_reenters_via_pending(_now: int, a: State, b: State) -> bool:
    """A halted task is not held again without being offered."""
    halted = [t.id for t in a.tasks.values() if t.state == "halted"]
    return all(id in b.tasks and b.tasks[id].state in {"halted", "pending", "fulfilled"} for id in halted)


@span
def preserved_task_lease_holder_stable(_now: int, a: State, b: State) -> bool:
    """At one version a task has one holder and one length of lease."""
    same = [
        (t, u)
        for t, u in both(a.tasks, b.tasks)
        if t.state == u.state == "acquired" and t.version == u.version
    ]
    return all((t.pid, t.ttl) == (u.pid, u.ttl) for t, u in same)


# What moves one way only


@span
def monotone_promise_set_grows(_now: int, a: State, b: State) -> bool:
    """No promise disappears."""
    return a.promises.keys() <= b.promises.keys()


@span
def monotone_task_set_grows(_now: int, a: State, b: State) -> bool:
    """No task disappears."""
    return a.tasks.keys() <= b.tasks.keys()


@step
def monotone_task_version_increases_only_on_acquisition(_now: int, a: State, b: State) -> bool:
    """A version grows by one when a pending task is acquired, and at no other time."""
    return all(
        u.version == t.version + (t.state == "pending" and u.state == "acquired")
        for t, u in both(a.tasks, b.tasks)
    )


@step
def monotone_promise_callbacks_grow_while_pending(_now: int, a: State, b: State) -> bool:
    """Nobody stops waiting for a promise that is pending, and nobody waits for a new one."""
    kept = all(set(p.callbacks) <= set(q.callbacks) for p, q in both(a.promises, b.promises) if q.pending)
    return kept and not any(q.callbacks for q in born(a.promises, b.promises))


@span
def monotone_promise_callbacks_shrink_once_settled(_now: int, _a: State, b: State) -> bool:
    """Nobody begins to wait for a settled promise. (Ours has nobody left: they are drained at once.)"""
    return not any(q.callbacks for q in b.promises.values() if not q.pending)


@step
def monotone_promise_listeners_grow_while_pending(_now: int, a: State, b: State) -> bool:
    """Nobody stops listening to a promise that is pending, and nobody listens to a new one."""
    kept = all(set(p.listeners) <= set(q.listeners) for p, q in both(a.promises, b.promises) if q.pending)
    return kept and not any(q.listeners for q in born(a.promises, b.promises))


@span
def monotone_promise_listeners_shrink_once_settled(_now: int, _a: State, b: State) -> bool:
    """Nobody begins to listen to a settled promise. (Ours has nobody left: they are drained at once.)"""
    return not any(q.listeners for q in b.promises.values() if not q.pending)


@span
def monotone_outbox_keys_never_disappear(_now: int, a: State, b: State) -> bool:
    """A message to a listener stays until it is handed over. (An execute message is the task itself.)"""
    told = [Unblock(promise["id"], address) for address, promise in b.told()]
    return all(message in b.unblocks or message in told for message in a.unblocks)


@step
def monotone_task_resumes_grow_or_clear(_now: int, a: State, b: State) -> bool:
    """What a task has to see grows, or is all seen."""
    return all(u.resumes == 0 or u.resumes >= t.resumes for t, u in both(a.tasks, b.tasks))


@step
def monotone_task_retry_rearm_advances(now: int, a: State, b: State) -> bool:
    """A pending task's next offer is moved into the future."""
    stayed = [(t, u) for t, u in both(a.tasks, b.tasks) if t.state == u.state == "pending"]
    return all(t.due == u.due or (u.due is not None and u.due > now) for t, u in stayed)


# What becomes of what

PROMISE_EDGES = {("pending", after) for after in ("pending", *SETTLED)} | {
    (state, state) for state in SETTLED
}
TASK_EDGES = {
    "pending": {"pending", "acquired", "halted", "fulfilled"},
    "acquired": {"pending", "acquired", "suspended", "halted", "fulfilled"},
    "suspended": {"pending", "suspended", "halted", "fulfilled"},
    "halted": {"pending", "halted", "fulfilled"},
    "fulfilled": {"fulfilled"},
}
UNASKED_TASK_EDGES = {
    "pending": {"pending", "fulfilled"},
    "acquired": {"pending", "acquired", "fulfilled"},
    "suspended": {"pending", "suspended", "fulfilled"},
    "halted": {"halted", "fulfilled"},
    "fulfilled": {"fulfilled"},
}


@span
def consistent_promise_state_edge_admissible(_now: int, a: State, b: State) -> bool:
    """A promise is settled once."""
    return all((p.state, q.state) in PROMISE_EDGES for p, q in both(a.promises, b.promises))


@step
def consistent_task_state_edge_admissible(_now: int, a: State, b: State) -> bool:
    """A task goes from state to state only as the protocol has it."""
    return all(u.state in TASK_EDGES.get(t.state, ()) for t, u in both(a.tasks, b.tasks))


@sweep
def consistent_task_state_edge_internal_admissible(_now: int, a: State, b: State) -> bool:
    """The server by itself acquires, suspends, halts and continues no task."""
    return all(u.state in UNASKED_TASK_EDGES.get(t.state, ()) for t, u in both(a.tasks, b.tasks))


@sweep
def consistent_promise_state_edge_internal_admissible(_now: int, a: State, b: State) -> bool:
    """The server by itself settles a promise only as its deadline has it."""
    return all(
        p.state == q.state or (p.pending and q.state == p.verdict) for p, q in both(a.promises, b.promises)
    )


@span
def consistent_promise_settled_at_moves_with_state(_now: int, a: State, b: State) -> bool:
    """A promise's instant of settlement changes when its state does."""
    moved = [(p.settled_at != q.settled_at, p.state != q.state) for p, q in both(a.promises, b.promises)]
    return all(instant == state for instant, state in moved) and a.promises.keys() <= b.promises.keys()


@span
def consistent_promise_settlement_stamp(now: int, a: State, b: State) -> bool:
    """A promise is settled by a client, now and before its deadline, or by its deadline, at it."""

    def stamped(q: Promise) -> bool:
        by_client = q.settled_at == now < q.timeout_at and q.state != "rejected_timedout"
        by_deadline = q.settled_at == q.timeout_at <= now and q.state == q.verdict and not q.value
        return by_client or by_deadline

    return all(stamped(q) for p, q in both(a.promises, b.promises) if p.pending and not q.pending)


@step
def consistent_new_promise_born_clean(now: int, a: State, b: State) -> bool:
    """A new promise is pending, or its deadline settled it at birth; nobody waits for it yet.

    What a schedule creates is as old as its occurrence; its deadline may settle it in the same batch.
    """

    def clean(q: Promise) -> bool:
        late = "resonate:schedule" in q.tags
        alone = not q.callbacks and not q.listeners and not q.value and q.created_at <= now
        alive = q.pending and q.settled_at is None and q.created_at < q.timeout_at
        dead = q.settled_at == q.timeout_at <= now and q.state == q.verdict
        dead = dead and (q.created_at == q.timeout_at or late)
        return alone and (alive or dead)

    return all(clean(q) for q in born(a.promises, b.promises))


@span
def consistent_settlement_fulfils_task(_now: int, a: State, b: State) -> bool:
    """Settling a promise ends its task in the same step."""
    settled = [q.id for p, q in both(a.promises, b.promises) if p.pending and not q.pending]
    return all(b.tasks[id].state == "fulfilled" for id in settled if id in b.tasks)


@span
def consistent_task_fulfilment_needs_settlement(_now: int, a: State, b: State) -> bool:
    """A task ends in the step that settles its promise."""
    ended = [u.id for t, u in both(a.tasks, b.tasks) if u.state == "fulfilled" != t.state]
    return all(a.promises[id].pending and not b.promises[id].pending for id in ended)


@span
def consistent_obligation_discharge_requires_settled(_now: int, a: State, b: State) -> bool:
    """Who waits for a promise, or listens to it, is forgotten only once it is settled."""
    kept = [(p, q) for p, q in both(a.promises, b.promises) if q.pending]
    return all(set(p.callbacks) <= set(q.callbacks) and set(p.listeners) <= set(q.listeners) for p, q in kept)


def discharged(a: State, b: State) -> dict[str, list[str]]:
    """Return whose callbacks were drained, and what settled."""
    drained: dict[str, list[str]] = {}
    for p, q in both(a.promises, b.promises):
        for awaiter in set(p.callbacks) - set(q.callbacks):
            drained.setdefault(awaiter, []).append(p.id)
    return drained


@step
def consistent_callback_consumption_resumes_awaiter(_now: int, a: State, b: State) -> bool:
    """A task whose callbacks were drained has that much more to see, unless it ended."""
    drained = discharged(a, b)
    return all(
        b.tasks[id].state == "fulfilled" or b.tasks[id].resumes == a.tasks[id].resumes + len(settled)
        for id, settled in drained.items()
        if id in b.tasks
    )


@span
def consistent_listener_consumption_enqueues_unblock(_now: int, a: State, b: State) -> bool:
    """Who listened and is forgotten has one message, stored or handed over."""
    messages = [(message.promise, message.address) for message in b.unblocks]
    messages += [(promise["id"], address) for address, promise in b.told()]
    gone = [
        (p.id, address)
        for p, q in both(a.promises, b.promises)
        for address in set(p.listeners) - set(q.listeners)
    ]
    return all(messages.count(key) == 1 for key in gone)


@step
def consistent_wake_follows_callback_consumption(_now: int, a: State, b: State) -> bool:
    """A suspended task is offered again because something it awaited settled."""
    drained = discharged(a, b)
    woken = [u for t, u in both(a.tasks, b.tasks) if (t.state, u.state) == ("suspended", "pending")]
    return all(u.resumes == len(drained.get(u.id, [])) > 0 for u in woken)


@step
def consistent_suspension_registers_callback(_now: int, a: State, b: State) -> bool:
    """A task that is suspended waits for something pending. (It may have waited for it before.)"""
    waits = {id for q in b.promises.values() if q.pending for id in q.callbacks}
    entered = [u.id for t, u in both(a.tasks, b.tasks) if u.state == "suspended" != t.state]
    return all(id in waits for id in entered)


@step
def consistent_task_birth_couples_promise_birth(_now: int, a: State, b: State) -> bool:
    """A task is born with its promise, as that is: pending or held with a pending one, else ended."""

    def coupled(u: Task) -> bool:
        q = b.promises.get(u.id)
        if q is None or u.id in a.promises or not q.targeted:
            return False
        version = 1 if u.state == "acquired" else 0
        return (u.state == "fulfilled") != q.pending and u.version == version

    targeted = [q.id for q in born(a.promises, b.promises) if q.targeted]
    return all(coupled(u) for u in born(a.tasks, b.tasks)) and all(id in b.tasks for id in targeted)


@step
def consistent_task_birth_state(_now: int, a: State, b: State) -> bool:
    """A task is born pending, held or ended, with the fields of that and no others."""

    def whole(u: Task) -> bool:
        match u.state:
            case "pending":
                return u.due is not None and u.pid is None and u.ttl is None and u.resumes == 0
            case "acquired":
                return None not in u.lease and u.version >= 1 and u.resumes == 0
            case "fulfilled":
                return u.free and u.resumes == 0
            case _:
                return False

    return all(whole(u) for u in born(a.tasks, b.tasks))


# Messages


@span
def consistent_new_execute_matches_task_and_target(now: int, a: State, b: State) -> bool:
    """A task is handed over while it is pending and due, at its version, to its target."""

    def due(id: str) -> bool:
        t = a.tasks.get(id)
        return t is None or t.state != "pending" or (t.due is not None and t.due <= now)

    executes = [(address, b.tasks.get(id), version) for address, id, version in b.executes()]
    return all(
        u is not None and u.state == "pending" and (u.address, u.version) == (address, version) and due(u.id)
        for address, u, version in executes
    )


@span
def consistent_new_unblock_carries_stored_record(_now: int, _a: State, b: State) -> bool:
    """A listener is told the promise as it is stored."""

    def same(shown: dict[str, Any]) -> bool:
        q = b.promises[shown["id"]]
        seen = (shown["state"], shown["settledAt"], shown["value"], shown["timeoutAt"], shown["createdAt"])
        return seen == (q.state, q.settled_at, q.value, q.timeout_at, q.created_at)

    return all(same(promise) for _, promise in b.told())


@step
def consistent_new_unblock_discharges_its_listener(_now: int, a: State, b: State) -> bool:
    """A message to a listener is left for who listened, and listens no more."""
    new = [message for message in b.unblocks if message not in a.unblocks]
    return all(
        message.address in a.promises[message.promise].listeners
        and message.address not in b.promises[message.promise].listeners
        for message in new
    )


# Leases, offers and what a task has to see


@step
def consistent_task_lease_released_atomically(_now: int, a: State, b: State) -> bool:
    """A task that is held no more has no holder, no lease, and the version it had."""
    ended = [(t, u) for t, u in both(a.tasks, b.tasks) if t.state == "acquired" != u.state]
    return all(u.lease == (None, None, None) and u.version == t.version for t, u in ended)


@step
def consistent_task_lease_fields_move_together(_now: int, a: State, b: State) -> bool:
    """Holder, length and end of a lease appear and disappear as one; a heartbeat moves the end alone."""

    def together(t: Task, u: Task) -> bool:
        match (t.state == "acquired", u.state == "acquired"):
            case (False, True):
                return None not in u.lease
            case (True, False):
                return u.lease == (None, None, None)
            case (True, True):
                return (t.pid, t.ttl) == (u.pid, u.ttl)
            case _:
                return t.lease == u.lease

    return all(together(t, u) for t, u in both(a.tasks, b.tasks))


@step
def consistent_task_resumes_cleared_only_on_dispatch_or_park(_now: int, a: State, b: State) -> bool:
    """A task has seen what there was once it is acquired, suspends or ends."""
    cleared = [u for t, u in both(a.tasks, b.tasks) if t.resumes > 0 == u.resumes]
    return all(u.state in {"acquired", "suspended", "fulfilled"} for u in cleared)


@step
def consistent_task_acquisition_is_atomic(now: int, a: State, b: State) -> bool:
    """A task is acquired from pending, at a new version, with a whole lease from now, and all seen."""

    def whole(t: Task, u: Task) -> bool:
        leased = u.pid is not None and u.ttl is not None and u.due == now + u.ttl
        return t.state == "pending" and t.version < u.version and leased and u.resumes == 0

    return all(whole(t, u) for t, u in both(a.tasks, b.tasks) if t.state != "acquired" == u.state)


@span
def consistent_task_lease_deadline_is_now_plus_ttl(now: int, a: State, b: State) -> bool:
    """A lease ends its length after now, or when it did."""
    held = [u for u in b.tasks.values() if u.state == "acquired"]
    return all(
        u.due == now + (u.ttl or 0) or (u.id in a.tasks and a.tasks[u.id].lease == u.lease) for u in held
    )


@step
def consistent_task_pending_entry_arms_retry(now: int, a: State, b: State) -> bool:
    """A task that becomes pending is on offer at once."""
    return all(u.due == now for t, u in both(a.tasks, b.tasks) if t.state != "pending" == u.state)


@step
def consistent_task_retry_rearm_only_when_due(now: int, a: State, b: State) -> bool:
    """A pending task's next offer is moved only once it is due."""
    moved = [t for t, u in both(a.tasks, b.tasks) if t.state == u.state == "pending" and t.due != u.due]
    return all(t.due is not None and t.due <= now for t in moved)


@step
def consistent_task_wake_records_resume(now: int, a: State, b: State) -> bool:
    """A suspended task that is offered again has something to see, now, at the version it had."""
    woken = [(t, u) for t, u in both(a.tasks, b.tasks) if (t.state, u.state) == ("suspended", "pending")]
    return all(u.resumes > 0 and u.due == now and u.version == t.version for t, u in woken)


# Records in answers

PROMISE_FIELDS = {"id", "state", "param", "value", "tags", "timeoutAt", "createdAt", "settledAt"}
TASK_FIELDS = {"id", "state", "version", "resumes", "ttl", "pid"}


@record
def well_formed_promise_record_hides_callbacks(shown: dict[str, Any], _s: State) -> bool:
    """A promise's record does not tell who waits for it."""
    return "timeoutAt" not in shown or shown.keys() <= PROMISE_FIELDS


@record
def well_formed_promise_record_hides_listeners(shown: dict[str, Any], _s: State) -> bool:
    """A promise's record does not tell who listens to it."""
    return "timeoutAt" not in shown or shown.keys() <= PROMISE_FIELDS


@record
def well_formed_task_record_hides_deadlines(shown: dict[str, Any], _s: State) -> bool:
    """A task's record tells neither the end of its lease nor its next offer."""
    return "version" not in shown or shown.keys() <= TASK_FIELDS


@record
def well_formed_task_record_resumes_is_a_count(shown: dict[str, Any], _s: State) -> bool:
    """A task's record tells how much it has to see, and not what."""
    return "version" not in shown or type(shown["resumes"]) is int


PART = "a part of the catalogue's own, with nothing to check"
GAP = "a gap that the specification names: its own machine accepts it, and so does ours"

UNCHECKED = {
    "Property": PART,
    "Named": PART,
    "subsetOf": PART,
    "internalChecks": PART,
    "internalFailures": PART,
    "internalWellFormed": PART,
    "catalogue": PART,
    "legalAt": PART,
    "stateHolds": PART,
    "stateCount": PART,
    "transCount": PART,
    "gaps": PART,
    "well_formed_task_ttl_positive": f"{GAP}: a lease of 0 ms, which ends at once",
    "well_formed_promise_target_is_nonempty": f"{GAP}: an empty target, whose task nobody is offered",
    "well_formed_promise_delay_before_deadline": f"{GAP}: a first offer after the deadline",
}
"""The names of the specification that nothing is checked under, and why."""


def deliverable(address: str) -> bool:
    """Whether messages can be sent to the address: http(s)://, or poll:// with a group."""
    scheme, found, rest = address.partition("://")
    return bool(found) and (scheme in {"http", "https"} or (scheme == "poll" and "@" in rest))


def queue_of(target: str) -> str:
    """Return the address that is offered a target's task."""
    return "/".join(target.split("/")[:3]) if target.startswith("poll://any@") else target
