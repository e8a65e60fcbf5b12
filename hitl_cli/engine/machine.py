"""The protocol: one function per request, one per step the server takes by itself.

Read it beside resonatehq/resonate-specification, spec/02-abstract/external.lean and internal.lean:
the names, the order of the guards (400, 404, then 409 or 422) and the effects are the same. No SQL,
no clock and no I/O is in here; `now` comes in, and `State` is what the rules read and write.

Every read materialises: a promise that is read past its deadline is settled at that moment.
Two things differ from the text of the specification, and docs/explanation/protocol.md says why: settling
drains callbacks and listeners in the same step, and a targeted timer is a timer without a task.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Protocol

import msgspec

from hitl_cli.engine import cron
from hitl_cli.engine.records import (
    EMPTY_VALUE,
    ID_MAX,
    VALUE_MAX,
    CreateAction,
    FenceData,
    HeldData,
    PreloadData,
    Promise,
    PromiseCreate,
    PromiseData,
    PromisesData,
    PromiseSettle,
    Reply,
    Response,
    ResponseHead,
    Schedule,
    ScheduleData,
    SchedulesData,
    Task,
    TaskData,
    TasksData,
    Value,
    json_text,
    size_of,
)
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hitl_cli.engine.records import (
        PromiseRecord,
        PromiseRegisterCallback,
        PromiseRegisterListener,
        PromiseSearch,
        PromiseState,
        ScheduleCreate,
        ScheduleSearch,
        Single,
        Standing,
        TaskAcquire,
        TaskCreate,
        TaskFence,
        TaskFulfill,
        TaskHeartbeat,
        TaskRef,
        TaskSearch,
        TaskSuspend,
    )

OFFER_RETRY_MS = 5_000
"""How long a task that was handed over may stay unacquired before it is offered again.
The specification's retryTimeout, and its default."""

SEARCH_LIMIT = 100
"""Records on a page when the caller does not say."""

SETTABLE = ("resolved", "rejected", "rejected_canceled")
"""The states with which a client may settle a promise."""

SETTLED_BY_DEADLINE = ("resolved", "rejected_timedout")
"""The states that a deadline leads to: of a timer, and of everything else."""

INSTANT_DIGITS = 18
"""The most digits of an instant or a cursor: the store can hold any number with so few."""


class State(Protocol):
    """What the rules read and write. `seq` is the store's own key for a promise and its task."""

    def promise(self, id: str) -> Promise | None: ...
    def task(self, id: str) -> tuple[Task, Promise] | None: ...
    def standing(self, id: str) -> tuple[Task, Standing] | None: ...
    def standing_by_seq(self, seq: int) -> tuple[Task, Standing] | None: ...
    def created_by(self, owner: int) -> Iterable[Promise]: ...
    def overdue(self, now: int) -> list[Promise]: ...
    def overdue_external(self, now: int) -> list[Promise]: ...
    def search_promises(self, req: PromiseSearch, limit: int, now: int) -> list[Promise]: ...
    def search_tasks(self, req: TaskSearch, limit: int, now: int) -> list[tuple[Task, Promise]]: ...
    def schedule(self, id: str) -> Schedule | None: ...
    def search_schedules(self, req: ScheduleSearch, limit: int) -> list[Schedule]: ...

    def insert_promise(self, promise: Promise, tags: Mapping[str, str]) -> Promise: ...
    def settle_promise(self, promise: Promise, state: PromiseState, value: str, at: int) -> Promise: ...
    def insert_task(self, task: Task) -> None: ...
    def update_task(self, task: Task) -> None: ...
    def put_off_task(self, seq: int, due: int) -> None: ...
    def count_resume(self, seq: int) -> None: ...
    def fulfill_task(self, seq: int) -> None: ...

    def add_callback(self, awaited: int, awaiter: int) -> None: ...
    def take_callbacks(self, awaited: int) -> list[int]: ...
    def add_listener(self, promise: int, address: str) -> None: ...
    def notify_listeners(self, promise: int) -> None: ...

    def put_schedule(self, schedule: Schedule) -> None: ...
    def delete_schedule(self, id: str) -> None: ...


# Reading


def _read_promise(tx: State, id: str, now: int) -> Promise | None:
    """Return the promise, settled first if its deadline has passed."""
    promise = tx.promise(id)
    return None if promise is None else _expire(tx, promise, now)


def _read_task(tx: State, id: str, now: int) -> tuple[Task, Promise] | None:
    """Return the task and its promise, both ended first if the deadline has passed."""
    found = tx.task(id)
    if found is None or not is_due(found[1], now):
        return found
    _expire(tx, found[1], now)
    return tx.task(id)


def _read_standing(tx: State, id: str, now: int) -> tuple[Task, Standing] | None:
    """Return the task and the state of its promise, both ended first if the deadline has passed."""
    found = tx.standing(id)
    if found is None or not is_due(found[1], now):
        return found
    _read_task(tx, id, now)
    return tx.standing(id)


def is_due(promise: Promise | Standing, now: int) -> bool:
    """Whether the promise is pending past its deadline."""
    return promise.state == "pending" and promise.timeout_at <= now


def _project(promise: Promise, now: int) -> Promise:
    """Return the promise with its state at `now`, and write nothing."""
    if not is_due(promise, now):
        return promise
    return msgspec.structs.replace(promise, state=_deadline_state(promise), settled_at=promise.timeout_at)


def _deadline_state(promise: Promise) -> PromiseState:
    """Return the state that a promise gets at its deadline."""
    return "resolved" if promise.timer else "rejected_timedout"


# Effects


def _expire(tx: State, promise: Promise, now: int) -> Promise:
    """Settle the promise by its deadline, if that has passed."""
    if not is_due(promise, now):
        return promise
    return _settle(tx, promise, _deadline_state(promise), EMPTY_VALUE, promise.timeout_at, now)


def _settle(tx: State, promise: Promise, state: PromiseState, value: str, at: int, now: int) -> Promise:
    """Settle the promise, end its task, resume the tasks that await it, and notify its listeners."""
    settled = tx.settle_promise(promise, state, value, at)
    if promise.target is not None:
        tx.fulfill_task(promise.seq)
    if promise.external:
        for awaiter in tx.take_callbacks(promise.seq):
            _resume(tx, awaiter, now)
        tx.notify_listeners(promise.seq)
    return settled


def _resume(tx: State, awaiter: int, now: int) -> None:
    """Offer a suspended task again; for another live task, count that something it awaits has settled.

    A task whose own deadline has passed is not changed: its deadline ends it.
    """
    found = tx.standing_by_seq(awaiter)
    if found is None or found[0].state == "fulfilled" or is_due(found[1], now):
        return
    task = found[0]
    if task.state == "suspended":
        tx.update_task(msgspec.structs.replace(task, state="pending", resumes=1, due=now))
    else:
        tx.count_resume(task.seq)


def _create(tx: State, req: PromiseCreate, now: int, owner: int | None = None) -> Promise:
    """Create the promise, and a pending task where it is targeted. The id must be free."""
    promise = tx.insert_promise(newborn(req, now, owner), req.tags or {})
    if promise.target is None:
        return promise
    if promise.state == "pending":
        due = max(_delayed_until(req), now)
        tx.insert_task(_new_task(promise, "pending", due=due))
    else:
        tx.insert_task(_new_task(promise, "fulfilled"))
    return promise


def newborn(req: PromiseCreate, now: int, owner: int | None) -> Promise:
    """Return the promise that `req` asks for; one whose deadline has passed is born settled."""
    tags = req.tags or {}
    timer = tags.get("resonate:timer") == "true"
    target = None if timer else tags.get("resonate:target")
    marked = tags.get("resonate:external") == "true"
    # The npm SDK's ctx.promise() says only scope=global, and its worker suspends on it.
    bare = not timer and target is None and tags.get("resonate:scope") == "global"
    timeout_at = int(req.timeout_at)
    promise = Promise(
        seq=0,
        id=req.id,
        state="pending",
        param=json_text(req.param) if req.param is not None else EMPTY_VALUE,
        value=EMPTY_VALUE,
        tags=json_text(tags),
        timeout_at=timeout_at,
        created_at=min(now, timeout_at),
        settled_at=None,
        target=target,
        timer=timer,
        external=marked or bare or timer or target is not None,
        open=marked or bare,
        root=target is not None and tags.get("resonate:origin", req.id.split(":", 1)[0]) == req.id,
        owner=owner,
    )
    return _project(promise, now)


def _new_task(promise: Promise, state: str, **fields: object) -> Task:
    """Return a task for a promise that was just created."""
    task = Task(
        seq=promise.seq,
        state="pending",
        version=0,
        address=_queue_of(promise.target or ""),
        pid=None,
        ttl=None,
        due=None,
        resumes=0,
    )
    return msgspec.structs.replace(task, state=state, **fields)


def _queue_of(target: str) -> str:
    """Return the address under which a task is offered; `poll://any@group/pid` only prefers that pid."""
    anycast = target.startswith("poll://any@")
    return "/".join(target.split("/")[:3]) if anycast else target


def _delayed_until(req: PromiseCreate) -> int:
    """Return the instant before which the task is not to be offered; 0 without one."""
    delay = (req.tags or {}).get("resonate:delay", "")
    if not (delay.isascii() and delay.isdecimal()):
        return 0
    return int(delay) if len(delay) <= INSTANT_DIGITS else 10**INSTANT_DIGITS


def _hold(task: Task, version: int, pid: str, ttl: int, now: int) -> Task:
    """Return the task, held by `pid` for `ttl` ms."""
    return msgspec.structs.replace(
        task, state="acquired", version=version, pid=pid, ttl=ttl, due=now + ttl, resumes=0
    )


def _let_go(task: Task, state: str, due: int | None = None) -> Task:
    """Return the task without a holder."""
    return msgspec.structs.replace(task, state=state, pid=None, ttl=None, due=due)


def _preload(tx: State, seq: int, now: int) -> list[PromiseRecord]:
    """Return the promises that a task has created so far: those that its replay will ask for."""
    return [_expire(tx, child, now).record() for child in tx.created_by(seq)]


# Answers


def _found_promise(promise: Promise) -> Reply:
    """Answer with one promise."""
    return Reply(200, PromiseData(promise.record()))


def refuse(status: int, message: str) -> Reply:
    """Answer with an error."""
    return Reply(status, message)


def _no_promise(id: str) -> Reply:
    """Answer that there is no such promise."""
    return refuse(404, f"there is no promise {id}")


def _no_task(id: str) -> Reply:
    """Answer that there is no such task."""
    return refuse(404, f"there is no task {id}")


# promise.*


def promise_get(tx: State, req: Single, now: int) -> Reply:
    """Answer promise.get."""
    promise = _read_promise(tx, req.id, now)
    return _no_promise(req.id) if promise is None else _found_promise(promise)


def promise_create(tx: State, req: PromiseCreate, now: int, owner: int | None = None) -> Reply:
    """Answer promise.create. `owner` is the promise of the task that sends the request, if a task does."""
    if size_of(req.param) > VALUE_MAX:
        return _too_large(req.param)
    promise = _read_promise(tx, req.id, now)
    return _found_promise(_create(tx, req, now, owner) if promise is None else promise)


def promise_settle(tx: State, req: PromiseSettle, now: int) -> Reply:
    """Answer promise.settle: the first settlement counts, and later requests get it in response."""
    if req.state not in SETTABLE:
        return _not_settable(req.state)
    if size_of(req.value) > VALUE_MAX:
        return _too_large(req.value)
    promise = _read_promise(tx, req.id, now)
    if promise is None:
        return _no_promise(req.id)
    if promise.state == "pending":
        promise = _settle(tx, promise, req.state, _value_text(req), now, now)
    return _found_promise(promise)


def _not_settable(state: PromiseState) -> Reply:
    """Answer that a promise cannot be settled with that state."""
    return refuse(400, f"a promise cannot be settled as {state}: use {', '.join(SETTABLE)}")


def _too_large(value: Value | None) -> Reply:
    """Answer that a payload is too large to store."""
    return refuse(400, _size_said(value))


def _size_said(value: Value | None) -> str:
    return f"the data has {size_of(value):,} bytes as stored, and the limit is {VALUE_MAX:,}"


def _storable(req: PromiseSettle) -> PromiseSettle:
    """Return the settlement of a run. A value that is too large is replaced by a rejection that says so."""
    if size_of(req.value) <= VALUE_MAX:
        return req
    return PromiseSettle(id=req.id, state="rejected", value=_too_large_error(req.value))


def _end_with_too_large(tx: State, req: TaskFence, payload: Value | None, now: int) -> Reply:
    """End a run whose step has a payload that is too large: reject its promise, which ends the task.

    If only the request were refused, an SDK would release the task and repeat the same step without end.
    """
    promise = _read_promise(tx, req.id, now)
    if promise is not None and promise.state == "pending":
        error = json_text(_too_large_error(payload))
        _settle(tx, promise, "rejected", error, now, now)
    return refuse(409, f"{_size_said(payload)}: the run has ended with that")


def _too_large_error(value: Value | None) -> Value:
    """Return the error value for a payload that is too large, in the SDKs' encoding."""
    error = json_text({"__type": "error", "message": _size_said(value)})
    return Value(data=b64encode(error.encode()).decode())


def _value_text(req: PromiseSettle) -> str:
    """Return the value of a settlement as JSON text."""
    return EMPTY_VALUE if req.value is None else json_text(req.value)


def promise_register_callback(tx: State, req: PromiseRegisterCallback, now: int) -> Reply:
    """Answer promise.register_callback."""
    if req.awaited == req.awaiter:
        return refuse(400, "a promise cannot await itself")
    awaited = _read_promise(tx, req.awaited, now)
    if awaited is None:
        return _no_promise(req.awaited)
    awaiter = _read_promise(tx, req.awaiter, now)
    if awaiter is None:
        return refuse(422, f"there is no promise {req.awaiter} to resume")
    if awaiter.target is None:
        return refuse(422, f"{req.awaiter} has no task to resume")
    if not awaited.external:
        return refuse(422, f"{req.awaited} is internal: only its own task awaits it")
    if awaited.state == "pending" and awaiter.state == "pending":
        tx.add_callback(awaited.seq, awaiter.seq)
    return _found_promise(awaited)


def promise_register_listener(tx: State, req: PromiseRegisterListener, now: int) -> Reply:
    """Answer promise.register_listener."""
    if not _deliverable(req.address):
        return refuse(400, f"{req.address!r} is not an address: use http(s)://… or poll://any@GROUP")
    awaited = _read_promise(tx, req.awaited, now)
    if awaited is None:
        return _no_promise(req.awaited)
    if not awaited.external:
        return refuse(422, f"{req.awaited} is internal: only its own task awaits it")
    if awaited.state == "pending":
        tx.add_listener(awaited.seq, _queue_of(req.address))
    return _found_promise(awaited)


def _deliverable(address: str) -> bool:
    """Whether messages can be sent to the address (spec/01-protocol/validation.lean, addressValid)."""
    return address.startswith(("http://", "https://")) or (address.startswith("poll://") and "@" in address)


def promise_search(tx: State, req: PromiseSearch, now: int) -> Reply:
    """Answer promise.search, which the specification leaves open; see docs/explanation/protocol.md."""
    if req.after is not None:
        last = tx.promise(req.after)
        if last is None or req.cursor is not None or req.sort != "created":
            return refuse(400, 'after is the id of a promise, without a cursor and with the sort "created"')
        req = msgspec.structs.replace(req, cursor=str(last.seq))
    if not _is_cursor(req):
        return refuse(400, "the cursor is not one that promise.search gave")
    if req.settled_since is not None and req.sort != "-settled":
        return refuse(400, 'settledSince goes with the sort "-settled"')
    if req.sort == "-settled":
        _settle_all(tx, tx.overdue_external(now), now)
    elif req.state in SETTLED_BY_DEADLINE:
        _settle_all(tx, tx.overdue(now), now)
    limit = req.limit or SEARCH_LIMIT
    found = tx.search_promises(req, limit + 1, now)
    cursor = _cursor_after(req, found[limit - 1]) if len(found) > limit else None
    return Reply(200, PromisesData([_expire(tx, p, now).record() for p in found[:limit]], cursor))


def _is_cursor(req: PromiseSearch | TaskSearch) -> bool:
    """Whether there is no cursor, or one that a search can have returned."""
    if req.cursor is None or req.sort == "id":
        return True
    numbers = req.cursor.split(".")
    wanted = 2 if req.sort == "-settled" else 1
    return len(numbers) == wanted and all(n.isdecimal() and len(n) <= INSTANT_DIGITS for n in numbers)


def _cursor_after(req: PromiseSearch | TaskSearch, last: Promise) -> str:
    """Return the cursor of the page after the one that ends with `last`."""
    match req.sort:
        case "id":
            return last.id
        case "-settled":
            return f"{last.settled_at}.{last.seq}"
        case _:
            return str(last.seq)


def _settle_all(tx: State, overdue: Iterable[Promise], now: int) -> None:
    """Settle promises whose deadline has passed, so that a search for what deadlines settle finds them."""
    for promise in overdue:
        _expire(tx, promise, now)


# task.*


def task_get(tx: State, req: Single, now: int) -> Reply:
    """Answer task.get."""
    found = _read_task(tx, req.id, now)
    return _no_task(req.id) if found is None else Reply(200, TaskData(found[0].record(req.id)))


def task_create(tx: State, req: TaskCreate, now: int) -> Reply:
    """Answer task.create: create the promise and hold its task, or take the task if it is on offer."""
    action = req.action.data
    tags = action.tags or {}
    if "resonate:target" not in tags or tags.get("resonate:timer") == "true":
        return refuse(400, "task.create takes a promise with resonate:target and without resonate:timer")
    if size_of(action.param) > VALUE_MAX:
        return _too_large(action.param)
    promise = _read_promise(tx, action.id, now)
    if promise is None:
        promise = tx.insert_promise(newborn(action, now, None), tags)
        if promise.state == "pending":
            task = _hold(_new_task(promise, "pending"), 1, req.pid, req.ttl, now)
        else:
            task = _new_task(promise, "fulfilled")
        tx.insert_task(task)
        return Reply(200, HeldData(task.record(promise.id), promise.record(), []))
    if promise.target is None:
        return refuse(422, f"{action.id} is a promise without a task")
    found = _read_task(tx, action.id, now)
    if found is None or found[0].state not in ("pending", "fulfilled"):
        return refuse(409, f"the task {action.id} is not on offer")
    task, promise = found
    if task.state == "pending":
        return Reply(200, take(tx, task, promise, req.pid, req.ttl, now))
    return Reply(200, HeldData(task.record(promise.id), promise.record(), _preload(tx, promise.seq, now)))


def task_acquire(tx: State, req: TaskAcquire, now: int) -> Reply:
    """Answer task.acquire."""
    found = _read_task(tx, req.id, now)
    if found is None:
        return _no_task(req.id)
    task, promise = found
    if task.state != "pending" or promise.state != "pending":
        return refuse(409, f"the task {req.id} is not on offer: it is {task.state}")
    if task.version != req.version:
        return refuse(409, f"the task {req.id} is at version {task.version}, not {req.version}")
    return Reply(200, take(tx, task, promise, req.pid, req.ttl, now))


def take(tx: State, task: Task, promise: Promise, pid: str, ttl: int, now: int) -> HeldData:
    """Hold a task that is on offer, and return the response for its holder."""
    preload = _preload(tx, promise.seq, now) if task.version else []  # it was never held before
    task = _hold(task, task.version + 1, pid, ttl, now)
    tx.update_task(task)
    return HeldData(task.record(promise.id), promise.record(), preload)


def _held(tx: State, ref: TaskRef, now: int) -> Task | Reply:
    """Return the task if it is held at the version that the request names, otherwise the refusal."""
    found = _read_standing(tx, ref.id, now)
    return _no_task(ref.id) if found is None else _checked_hold(ref, *found)


def _checked_hold(ref: TaskRef, task: Task, promise: Promise | Standing) -> Task | Reply:
    """Return a task that was found if it is held as the request says, otherwise the refusal."""
    if task.state != "acquired" or promise.state != "pending":
        return refuse(409, f"the task {ref.id} is not held: it is {task.state}")
    if task.version != ref.version:
        return refuse(409, f"the task {ref.id} is held at version {task.version}, not {ref.version}")
    return task


def task_fence(tx: State, req: TaskFence, now: int) -> Reply:
    """Answer task.fence: the inner request, on condition that the task is still held."""
    if req.action.data.id == req.id:
        return refuse(400, "a task's own promise is settled by task.fulfill")
    task = _held(tx, req, now)
    if isinstance(task, Reply):
        return task
    payload = req.action.data.param if isinstance(req.action, CreateAction) else req.action.data.value
    if size_of(payload) > VALUE_MAX:
        return _end_with_too_large(tx, req, payload, now)
    if isinstance(req.action, CreateAction):
        kind, inner = "promise.create", promise_create(tx, req.action.data, now, owner=task.seq)
    else:
        kind, inner = "promise.settle", promise_settle(tx, req.action.data, now)
    return Reply(200, FenceData(Response(kind, ResponseHead("", inner.status), inner.data), []))


def task_heartbeat(tx: State, req: TaskHeartbeat, now: int) -> Reply:
    """Answer task.heartbeat: renew the leases that are still held, and ignore the others."""
    for ref in req.tasks:
        _heartbeat_one(tx, req.pid, ref, now)
    return Reply(200)


def _heartbeat_one(tx: State, pid: str, ref: TaskRef, now: int) -> None:
    """Renew one lease, if `pid` still holds the task at that version."""
    found = _read_standing(tx, ref.id, now)
    if found is None:
        return
    task = found[0]
    if task.state == "acquired" and task.version == ref.version and task.pid == pid:
        tx.put_off_task(task.seq, now + (task.ttl or 0))


def task_suspend(tx: State, req: TaskSuspend, now: int) -> Reply:
    """Answer task.suspend: 200 when suspended, 300 when something awaited has settled already."""
    ids = [action.data.awaited for action in req.actions]
    if not ids or req.id in ids or len(set(ids)) != len(ids):
        return refuse(400, "task.suspend takes at least one promise, each once, and not the task's own")
    task = _held(tx, req, now)
    if isinstance(task, Reply):
        return task
    awaited = [promise for id in ids if (promise := _read_promise(tx, id, now)) is not None]
    if len(awaited) != len(ids) or not all(promise.external for promise in awaited):
        return refuse(422, "a task can await only promises that exist and that are not internal")
    if any(promise.state != "pending" for promise in awaited):
        tx.update_task(msgspec.structs.replace(task, resumes=0))
        return Reply(300, PreloadData(_preload(tx, task.seq, now)))
    for promise in awaited:
        tx.add_callback(promise.seq, task.seq)
    tx.update_task(msgspec.structs.replace(_let_go(task, "suspended"), resumes=0))
    return Reply(200, PreloadData([]))


def task_fulfill(tx: State, req: TaskFulfill, now: int) -> Reply:
    """Answer task.fulfill."""
    settlement = _storable(req.action.data)
    if settlement.state not in SETTABLE:
        return _not_settable(settlement.state)
    found = _read_task(tx, req.id, now)
    if found is None:
        return _no_task(req.id)
    task = _checked_hold(req, *found)
    if isinstance(task, Reply):
        return task
    return _found_promise(_settle(tx, found[1], settlement.state, _value_text(settlement), now, now))


def task_release(tx: State, req: TaskRef, now: int) -> Reply:
    """Answer task.release."""
    task = _held(tx, req, now)
    if isinstance(task, Reply):
        return task
    tx.update_task(_let_go(task, "pending", due=now))
    return Reply(200)


def task_halt(tx: State, req: Single, now: int) -> Reply:
    """Answer task.halt."""
    found = _read_task(tx, req.id, now)
    if found is None:
        return _no_task(req.id)
    if found[0].state == "fulfilled":
        return refuse(409, f"the task {req.id} has ended")
    if found[0].state != "halted":
        tx.update_task(_let_go(found[0], "halted"))
    return Reply(200)


def task_continue(tx: State, req: Single, now: int) -> Reply:
    """Answer task.continue."""
    found = _read_task(tx, req.id, now)
    if found is None:
        return _no_task(req.id)
    if found[0].state != "halted" or found[1].state != "pending":
        return refuse(409, f"the task {req.id} is not halted: it is {found[0].state}")
    tx.update_task(_let_go(found[0], "pending", due=now))
    return Reply(200)


def task_search(tx: State, req: TaskSearch, now: int) -> Reply:
    """Answer task.search, which the specification leaves open; see docs/explanation/protocol.md."""
    if not _is_cursor(req):
        return refuse(400, "the cursor is not one that task.search gave")
    if req.state == "fulfilled":
        _settle_all(tx, tx.overdue(now), now)
    limit = req.limit or SEARCH_LIMIT
    found = tx.search_tasks(req, limit + 1, now)
    cursor = _cursor_after(req, found[limit - 1][1]) if len(found) > limit else None
    ended = [_read_task(tx, promise.id, now) or (task, promise) for task, promise in found[:limit]]
    return Reply(200, TasksData([task.record(promise.id) for task, promise in ended], cursor))


# schedule.*


def _found_schedule(schedule: Schedule) -> Reply:
    """Answer with one schedule."""
    return Reply(200, ScheduleData(schedule.record()))


def _no_schedule(id: str) -> Reply:
    """Answer that there is no such schedule."""
    return refuse(404, f"there is no schedule {id}")


def schedule_get(tx: State, req: Single, now: int) -> Reply:  # noqa: ARG001 - a rule like the others
    """Answer schedule.get."""
    schedule = tx.schedule(req.id)
    return _no_schedule(req.id) if schedule is None else _found_schedule(schedule)


def schedule_create(tx: State, req: ScheduleCreate, now: int) -> Reply:
    """Answer schedule.create: the first schedule with an id counts, and later requests get it in response."""
    tags = req.promise_tags or {}
    if tags.get("resonate:timer") == "true" and "resonate:target" in tags:
        return refuse(400, "a schedule's promises cannot have both resonate:timer and resonate:target")
    if size_of(req.promise_param) > VALUE_MAX:
        return _too_large(req.promise_param)
    if len(_expand(req.promise_id, req.id, cron.LAST_YEAR_MS)) > ID_MAX:
        return refuse(400, f"the ids of the schedule's promises would be longer than {ID_MAX} characters")
    if (problem := cron.problem(req.cron)) is not None:
        return refuse(400, problem)
    schedule = tx.schedule(req.id)
    if schedule is None:
        schedule = Schedule(
            id=req.id,
            cron=req.cron,
            promise_id=req.promise_id,
            promise_timeout=int(req.promise_timeout),
            promise_param=json_text(req.promise_param) if req.promise_param is not None else EMPTY_VALUE,
            promise_tags=json_text(tags),
            created_at=now,
            next_run_at=cron.next_after(req.cron, now),
            last_run_at=None,
            catch_up=req.catch_up,
        )
        tx.put_schedule(schedule)
    return _found_schedule(schedule)


def schedule_delete(tx: State, req: Single, now: int) -> Reply:  # noqa: ARG001
    """Answer schedule.delete."""
    if tx.schedule(req.id) is None:
        return _no_schedule(req.id)
    tx.delete_schedule(req.id)
    return Reply(200)


def schedule_search(tx: State, req: ScheduleSearch, now: int) -> Reply:  # noqa: ARG001
    """Answer schedule.search, which the specification leaves open; see docs/explanation/protocol.md."""
    limit = req.limit or SEARCH_LIMIT
    found = tx.search_schedules(req, limit + 1)
    cursor = found[limit - 1].id if len(found) > limit else None
    return Reply(200, SchedulesData([schedule.record() for schedule in found[:limit]], cursor))


def _expand(template: str, id: str, at: int) -> str:
    """Return the id of the promise that a schedule creates for one instant."""
    return template.replace("{{.id}}", id).replace("{{.timestamp}}", str(at))


# What the server does by itself


def process_promise_timeout(tx: State, promise: Promise, now: int) -> None:
    """Settle a promise whose deadline has passed."""
    _expire(tx, promise, now)


def process_lease_timeout(tx: State, task: Task, promise: Promise, now: int) -> None:
    """Offer a task again after its lease has expired, unless its promise is settled."""
    if task.state == "acquired" and task.due is not None and task.due <= now and not is_due(promise, now):
        tx.update_task(_let_go(task, "pending", due=now))


def process_offer(tx: State, task: Task, now: int) -> None:
    """Record that a pending task was handed over. It is offered again unless it is acquired in time."""
    tx.put_off_task(task.seq, now + OFFER_RETRY_MS)


def process_schedule(tx: State, schedule: Schedule, now: int) -> None:
    """Create the promise of each due occurrence, and store when the next one is due.

    The specification fires all that passed while no process ran (docs/explanation/protocol.md).
    """
    if schedule.next_run_at > now:
        return
    due, next_run_at = cron.due_now(schedule.cron, schedule.next_run_at, now, schedule.catch_up)
    for at in due:
        _fire(tx, schedule, at, now)
    last_run_at = due[-1] if due else schedule.last_run_at
    tx.put_schedule(msgspec.structs.replace(schedule, last_run_at=last_run_at, next_run_at=next_run_at))


def _fire(tx: State, schedule: Schedule, at: int, now: int) -> None:
    """Create the promise of one occurrence, unless its id is taken.

    It starts a lineage of its own, which the SDKs read from its tags. A promise with a target is a run, and
    has the tags of the SDKs' own runs: on a server without an index of runs, commands find runs by their
    scope.
    """
    id = _expand(schedule.promise_id, schedule.id, at)
    if _read_promise(tx, id, now) is not None:
        return
    origin = id.split(":", 1)[0]
    own = {
        "resonate:schedule": schedule.id,
        "resonate:origin": origin,
        "resonate:prefix": origin,
        "resonate:branch": id,
        "resonate:parent": id,
    }
    tags = msgspec.json.decode(schedule.promise_tags, type=dict[str, str]) | own
    if "resonate:target" in tags:
        tags["resonate:scope"] = "global"
    request = PromiseCreate(
        id=id,
        timeout_at=at + schedule.promise_timeout,
        param=msgspec.json.decode(schedule.promise_param, type=inspected(Value)),
        tags=tags,
    )
    _create(tx, request, at)
