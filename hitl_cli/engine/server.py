"""Runs requests through the rules: decodes each, decides, commits several together, and answers.

`Server.run_batch` is one transaction: it fires what is due, answers the requests, and hands out as many
messages as the subscribers have room for. It is synchronous; `commit_loop` makes the batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from hitl_cli.engine import machine, records
from hitl_cli.engine.errors import EngineError, FileMoved
from hitl_cli.engine.records import (
    ExecuteData,
    ExecuteMessage,
    HeldData,
    MessageHead,
    PromiseData,
    Reply,
    Request,
    RequestHead,
    Response,
    ResponseHead,
    TaskRef,
    UnblockMessage,
)
from hitl_cli.engine.store import NeedsWriting, Store
from hitl_cli.engine.trace import Observation
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from hitl_cli.engine.records import Promise, Task
    from hitl_cli.engine.store import Transaction
    from hitl_cli.engine.trace import Trace

FIRE_LIMIT = 500
"""Due steps fired in one batch, so that a backlog of deadlines does not delay the requests."""

UNBLOCK_LIMIT = 500
"""Listener messages handed out in one batch."""

FAR = 9 * 10**18
"""An instant that never comes."""

type Extra = Callable[[Transaction], None]
"""Runs in a batch's transaction, after the requests. A batch may run twice, and so may this."""

type Rule = Callable[[Transaction, Any, int], Reply]

RULES: dict[str, tuple[type[Struct], Rule]] = {
    "promise.get": (records.Single, machine.promise_get),
    "promise.create": (records.PromiseCreate, machine.promise_create),
    "promise.settle": (records.PromiseSettle, machine.promise_settle),
    "promise.register_callback": (records.PromiseRegisterCallback, machine.promise_register_callback),
    "promise.register_listener": (records.PromiseRegisterListener, machine.promise_register_listener),
    "promise.search": (records.PromiseSearch, machine.promise_search),
    "task.get": (records.Single, machine.task_get),
    "task.create": (records.TaskCreate, machine.task_create),
    "task.acquire": (records.TaskAcquire, machine.task_acquire),
    "task.fence": (records.TaskFence, machine.task_fence),
    "task.heartbeat": (records.TaskHeartbeat, machine.task_heartbeat),
    "task.suspend": (records.TaskSuspend, machine.task_suspend),
    "task.fulfill": (records.TaskFulfill, machine.task_fulfill),
    "task.release": (records.TaskRef, machine.task_release),
    "task.halt": (records.Single, machine.task_halt),
    "task.continue": (records.Single, machine.task_continue),
    "task.search": (records.TaskSearch, machine.task_search),
    "schedule.get": (records.Single, machine.schedule_get),
    "schedule.create": (records.ScheduleCreate, machine.schedule_create),
    "schedule.delete": (records.Single, machine.schedule_delete),
    "schedule.search": (records.ScheduleSearch, machine.schedule_search),
}

READS = frozenset(
    {"promise.get", "promise.search", "task.get", "task.search", "schedule.get", "schedule.search"}
)
"""Kinds that usually write nothing, and so need not wait for another process's write."""

GETS = frozenset({"promise.get", "task.get", "schedule.get"})
"""Kinds whose data is an id."""

ENDS = frozenset({"task.fulfill", "task.suspend", "task.release"})
"""Kinds that end the execution of a task, if they succeed."""

OK = 200

DEBUG = frozenset({"debug.start", "debug.stop", "debug.reset", "debug.tick", "debug.snap"})
"""Kinds that engine.debug knows."""

CAPABILITIES = ("sort", "root", "prefix", "open", "order", "after")
"""The additions to promise.search (docs/explanation/protocol.md), unlike other servers."""

UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""The exceptions of a decoder for bytes that are not a valid request."""

MESSAGE_HEAD = MessageHead()

_request = msgspec.json.Decoder(inspected(Request))
_data = {kind: msgspec.json.Decoder(inspected(struct)) for kind, (struct, _) in RULES.items()}
_encode = msgspec.json.Encoder().encode


class Lease(Struct, frozen=True):
    """The lease under which a subscriber takes tasks. `ttl` is in ms."""

    pid: str
    ttl: int


class Subscriber(Protocol):
    """A receiver of messages for some addresses."""

    name: str
    """Unique among the subscribers of this server."""

    lease: Lease | None
    """The lease of tasks that it receives already acquired; None if it acquires tasks by requests."""

    def addresses(self) -> Sequence[str]:
        """Return the addresses whose messages it receives."""

    def room(self, ended: int) -> int:
        """Return how many tasks it can start. `ended` is how many of its tasks end in the same batch."""

    def wants(self, promise: Promise) -> bool:
        """Return whether it can run this promise's task; if not, the task is left to others."""


class Delivery(Struct, frozen=True):
    """A message for a subscriber, in wire format."""

    subscriber: Subscriber
    text: str
    held: HeldData | None = None
    """The task that the message offers, if the subscriber holds it already."""


class Batch(Struct, frozen=True):
    """The result of a committed batch of requests."""

    requests: Sequence[Decoded]
    decided: list[Reply]
    """The response to each request."""
    deliveries: list[Delivery]
    offered: set[str]
    """Addresses with new messages."""
    settled: bool
    """Whether a promise that people may watch was created or settled."""
    now: int
    """The time of the whole batch, ms since the epoch."""
    due: int
    """The next instant at which something will be due: a deadline, a lease, a later offer."""
    sooner: bool
    """Whether the next deadline or lease ends sooner than before the batch."""

    @property
    def answers(self) -> list[bytes]:
        """The responses in wire format."""
        return [reply(request, answer) for request, answer in zip(self.requests, self.decided, strict=True)]


class Decoded(Struct, frozen=True):
    """A decoded request, or one whose response is already known."""

    kind: str
    corr_id: str
    data: Any
    known: Reply | None = None
    asked: msgspec.Raw | None = None
    """The data as received; None if the request is from this process, and not JSON."""
    debug_time: int | None = None
    """The time to use for the response, if debugging is allowed."""
    tried: bool = False
    """Whether it was decided in a transaction of its own."""


class Server:
    """A Resonate server over one file, in this process."""

    def __init__(self, path: Path, clock: Callable[[], int] = now_ms, trace: Trace | None = None) -> None:
        """Open the file. `clock` gives ms since the epoch. Raises FileUnusable."""
        self._store = Store(path)
        self._clock = clock
        self._trace = trace

    @property
    def store(self) -> Store:
        """The open file; it is opened again after `Store.left`. Raises FileUnusable."""
        if self._store.left:
            # A missing file is not created: it may be on a disk that is not mounted at the moment.
            self._store = Store(self._store.path, create=False)
        return self._store

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def run_batch(
        self,
        requests: Sequence[str | bytes | Decoded],
        subscribers: Iterable[Subscriber] = (),
        extra: Extra | None = None,
    ) -> Batch:
        """Answer the requests and hand out messages, in one transaction that is on disk on return.

        Raises StorageFailed if nothing was changed. Raises FileMoved if the file was replaced; the next
        batch then uses the file that is at the path now.
        """
        decoded = [raw if isinstance(raw, Decoded) else decode(raw) for raw in requests]
        try:
            return self._decide(decoded, list(subscribers), extra)
        except FileMoved as moved:
            if moved.another:
                self._store.leave()
            raise

    def _decide(
        self, requests: Sequence[Decoded], subscribers: Sequence[Subscriber], extra: Extra | None
    ) -> Batch:
        reads_only = requests and all(request.kind in READS for request in requests)
        looks_only = subscribers and not requests  # a bell may have rung without need
        try:
            if (looks_only or (reads_only and not subscribers)) and extra is None and self._trace is None:
                with contextlib.suppress(NeedsWriting):  # something is due or on offer: repeat it as a writer
                    return self._commit(requests, subscribers, write=False)
            return self._commit(requests, subscribers, extra, write=True)
        except EngineError:
            raise
        except Exception:
            import logging

            logging.getLogger(__name__).exception("unexpected error; trying each request of the batch alone")
            return self._each_alone(requests, subscribers, extra)

    def _each_alone(
        self, requests: Sequence[Decoded], subscribers: Sequence[Subscriber], extra: Extra | None
    ) -> Batch:
        """Answer each request in a batch of its own, so that a failing one does not undo the others."""
        tried, batches = [], []
        for request in requests:
            try:
                batches.append(self._commit([request], (), write=True))
                [known] = batches[-1].decided
                tried.append(msgspec.structs.replace(request, known=known, tried=True))
            except EngineError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's alone
                known = machine.refuse(500, f"the server failed: {type(error).__name__}")
                tried.append(msgspec.structs.replace(request, known=known))
        last = self._commit(tried, subscribers, after(batches, extra), write=True)
        return msgspec.structs.replace(merged([*batches, last]), requests=last.requests, decided=last.decided)

    def _commit(
        self,
        requests: Sequence[Decoded],
        subscribers: Sequence[Subscriber],
        extra: Extra | None = None,
        *,
        write: bool,
        at: int | None = None,
        fire: bool = True,
    ) -> Batch:
        """Run one batch; if debugging sets the time `at`, at that time and without firing due steps."""
        clock = self._clock if at is None else lambda: at
        with self.store.transaction(clock, write=write, exact=at is not None) as tx:
            due_before = tx.next_due()
            if fire and due_before <= tx.now:
                fire_due(tx)
            decided = [_decide(tx, request) for request in requests]
            deliveries: list[Delivery] = []
            later = FAR
            for one in subscribers:
                later = min(later, _hand_out(tx, one, one.room(_ended(requests, decided)), deliveries))
            if extra is not None:
                extra(tx)
            due = tx.next_due()
            if self._trace is not None:
                seen = _observed(requests, decided, tx.now) + _observed(*_acquired(deliveries), tx.now)
                self._trace.append(tx, seen)
        return Batch(
            requests=requests,
            decided=decided,
            deliveries=deliveries,
            offered=tx.offered,
            settled=tx.settled,
            now=tx.now,
            due=min(due, later),
            sooner=due < due_before,
        )


def after(batches: Sequence[Batch], extra: Extra | None) -> Extra | None:
    """Return `extra` for a batch that also hands out what earlier batches offered."""
    if extra is None:
        return None

    def hand_out(tx: Transaction) -> None:
        tx.offered.update(*(batch.offered for batch in batches))
        extra(tx)

    return hand_out


def merged(batches: Sequence[Batch]) -> Batch:
    """Return successive batches as one. There must be at least one."""
    return Batch(
        requests=[request for batch in batches for request in batch.requests],
        decided=[answer for batch in batches for answer in batch.decided],
        deliveries=[delivery for batch in batches for delivery in batch.deliveries],
        offered=set().union(*(batch.offered for batch in batches)),
        settled=any(batch.settled for batch in batches),
        now=batches[-1].now,
        due=batches[-1].due,
        sooner=any(batch.sooner for batch in batches),
    )


def _observed(requests: Sequence[Decoded], decided: Sequence[Reply], now: int) -> list[Observation]:
    """Return what a trace records of a batch: requests of known kinds, each in the batch that decided it."""
    return [
        Observation(request.kind, now, asked(request), msgspec.Raw(reply(request, answer)))
        for request, answer in zip(requests, decided, strict=True)
        if request.kind in RULES and not request.tried
    ]


def asked(request: Decoded) -> msgspec.Raw:
    """Return a request's data as JSON."""
    return msgspec.Raw(_encode(request.data)) if request.asked is None else request.asked


def decode(raw: str | bytes) -> Decoded:
    """Decode and validate one request."""
    try:
        request = _request.decode(raw)
    except UNDECODABLE as error:
        return Decoded("error", "", None, machine.refuse(400, f"the request is malformed: {error}"))
    kind, head = request.kind, request.head
    decoder = _data.get(kind)
    data, known = None, None
    if decoder is not None:
        try:
            data = decoder.decode(request.data)
        except UNDECODABLE as error:
            known = _malformed(kind, error)
    elif kind in DEBUG:
        known = machine.refuse(403, "debugging is not allowed here: it takes a server started with --debug")
    else:
        known = machine.refuse(400, f"there is no request of the kind {kind!r}")
    return Decoded(kind, head.corr_id, data, known, request.data, head.debug_time)


def request_of(kind: str, data: dict[str, Any]) -> Decoded:
    """Return a request of a caller in this process, as `decode` would; fast for the most frequent kinds."""
    if kind in GETS and isinstance(id := data.get("id"), str) and id.isascii() and len(data) == 1:
        try:
            return Decoded(kind, "", msgspec.convert(data, inspected(RULES[kind][0])))
        except msgspec.ValidationError as error:
            return Decoded(kind, "", None, _malformed(kind, error))
    return decode(encode_request(kind, data))


def _malformed(kind: str, error: Exception) -> Reply:
    return machine.refuse(400, f"{kind} is malformed: {error}")


def _decide(tx: Transaction, request: Decoded) -> Reply:
    """Execute one request."""
    return request.known or RULES[request.kind][1](tx, request.data, tx.now)


def reply(request: Decoded, answer: Reply, *, telling: bool = False) -> bytes:
    """Return a response in wire format; `telling` adds the server's additions to the protocol."""
    head = ResponseHead(
        request.corr_id, answer.status, capabilities=CAPABILITIES if telling else msgspec.UNSET
    )
    return _encode(Response(request.kind, head, answer.data))


def data_of(answer: Reply) -> msgspec.Raw:
    """Return the data of a response in wire format, for a caller in this process."""
    return msgspec.Raw(_encode(answer.data))


def fire_due(tx: Transaction) -> None:
    """Take the due steps: schedules first, because the deadlines of their promises may also have passed."""
    for schedule in tx.due_schedules(FIRE_LIMIT):
        machine.process_schedule(tx, schedule, tx.now)
    for promise in tx.due_promises(FIRE_LIMIT):
        machine.process_promise_timeout(tx, promise, tx.now)
    for task, promise in tx.lapsed_leases(FIRE_LIMIT):
        machine.process_lease_timeout(tx, task, promise, tx.now)


def _ended(requests: Sequence[Decoded], decided: Sequence[Reply]) -> int:
    """Return how many executions the requests of a batch have ended."""
    pairs = zip(requests, decided, strict=True)
    return sum(1 for request, answer in pairs if answer.status == OK and request.kind in ENDS)


def _hand_out(tx: Transaction, subscriber: Subscriber, room: int, deliveries: list[Delivery]) -> int:
    """Take up to `room` tasks for a subscriber, and its other messages. Return when there may be more."""
    later = FAR
    for address in subscriber.addresses():
        offer_at, word_at = tx.waiting_at(address)
        if offer_at is not None and offer_at <= tx.now:
            if room > 0:
                taken = _take_offers(tx, address, subscriber, room)
                room -= len(taken)
                deliveries += taken
            offer_at = tx.next_offer(address)
        later = min(later, FAR if offer_at is None else offer_at)
        if word_at is not None and word_at <= tx.now:
            words = tx.take_unblocks(address, UNBLOCK_LIMIT)
            deliveries += [Delivery(subscriber, unblock_message(promise).decode()) for promise in words]
    return later


def _take_offers(tx: Transaction, address: str, subscriber: Subscriber, room: int) -> list[Delivery]:
    """Take up to `room` pending tasks, and note those that the subscriber leaves to others."""
    taken, refused = [], []
    for task, promise in tx.offers(address, subscriber.name):
        if machine.is_due(promise, tx.now):
            continue
        if not subscriber.wants(promise):
            refused.append(task)
            continue
        taken.append((task, promise))
        if len(taken) == room:
            break
    for task in refused:
        tx.refuse(task, subscriber.name)
    return [_offer(tx, subscriber, task, promise) for task, promise in taken]


def _offer(tx: Transaction, subscriber: Subscriber, task: Task, promise: Promise) -> Delivery:
    """Offer a task to a subscriber, or acquire it for the subscriber if that has a lease."""
    message = execute_message(task, promise).decode()
    if subscriber.lease is None:
        machine.process_offer(tx, task, tx.now)
        return Delivery(subscriber, message)
    terms = subscriber.lease
    return Delivery(subscriber, message, machine.take(tx, task, promise, terms.pid, terms.ttl, tx.now))


def _acquired(deliveries: Sequence[Delivery]) -> tuple[list[Decoded], list[Reply]]:
    """Return the requests and responses that would have acquired the tasks that were handed over."""
    requests, answers = [], []
    for one in deliveries:
        data, terms = one.held, one.subscriber.lease
        if data is not None and terms is not None:
            task = data.task
            asked = records.TaskAcquire(id=task.id, version=task.version - 1, pid=terms.pid, ttl=terms.ttl)
            requests.append(Decoded("task.acquire", "", asked))
            answers.append(Reply(200, data))
    return requests, answers


def execute_message(task: Task, promise: Promise, head: MessageHead = MESSAGE_HEAD) -> bytes:
    """Return the message that offers a task."""
    return _encode(ExecuteMessage(ExecuteData(TaskRef(id=promise.id, version=task.version)), head))


def unblock_message(promise: Promise) -> bytes:
    """Return the message about a settled promise."""
    return _encode(UnblockMessage(PromiseData(promise.record())))


def encode_request(kind: str, data: object) -> bytes:
    """Return a request's envelope, for a caller in this process. `data` is a Struct or a dict."""
    return _encode(Request(kind, RequestHead(), msgspec.Raw(_encode(data))))
