"""A request's way through the rules: decoded once, decided, committed with its neighbours, answered.

`Server.turn` is one transaction: it fires what is due, answers every request given, and hands out
messages as far as the subscribers have room. It is synchronous; `network` batches for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from hitl_cli.engine import machine, records
from hitl_cli.engine.errors import EngineError
from hitl_cli.engine.records import (
    Answer,
    ExecuteData,
    ExecuteMessage,
    PromiseData,
    Request,
    RequestHead,
    Response,
    ResponseHead,
    TaskRef,
    UnblockMessage,
)
from hitl_cli.engine.store import NeedsWriting, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from hitl_cli.engine.records import Message, Promise
    from hitl_cli.engine.store import Transaction

FIRE_LIMIT = 500
"""Due steps fired in one turn, so that a backlog of deadlines does not hold up the requests."""

UNBLOCK_LIMIT = 500
"""Listener messages handed out in one turn."""

type Rule = Callable[[Transaction, Any, int], Answer]

RULES: dict[str, tuple[type[Struct], Rule]] = {
    "promise.get": (records.PromiseGet, machine.promise_get),
    "promise.create": (records.PromiseCreate, machine.promise_create),
    "promise.settle": (records.PromiseSettle, machine.promise_settle),
    "promise.register_callback": (records.PromiseRegisterCallback, machine.promise_register_callback),
    "promise.register_listener": (records.PromiseRegisterListener, machine.promise_register_listener),
    "promise.search": (records.PromiseSearch, machine.promise_search),
    "task.get": (records.TaskGet, machine.task_get),
    "task.create": (records.TaskCreate, machine.task_create),
    "task.acquire": (records.TaskAcquire, machine.task_acquire),
    "task.fence": (records.TaskFence, machine.task_fence),
    "task.heartbeat": (records.TaskHeartbeat, machine.task_heartbeat),
    "task.suspend": (records.TaskSuspend, machine.task_suspend),
    "task.fulfill": (records.TaskFulfill, machine.task_fulfill),
    "task.release": (records.TaskRelease, machine.task_release),
    "task.halt": (records.TaskHalt, machine.task_halt),
    "task.continue": (records.TaskContinue, machine.task_continue),
    "task.search": (records.TaskSearch, machine.task_search),
    "schedule.get": (records.ScheduleGet, machine.schedule_get),
    "schedule.create": (records.ScheduleCreate, machine.schedule_create),
    "schedule.delete": (records.ScheduleDelete, machine.schedule_delete),
    "schedule.search": (records.ScheduleSearch, machine.schedule_search),
}

READS = frozenset(
    {"promise.get", "promise.search", "task.get", "task.search", "schedule.get", "schedule.search"}
)
"""Kinds that usually write nothing, and so need not wait for another process's write."""

UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What a decoder makes of bytes that are no request, whoever sent them."""

_request = msgspec.json.Decoder(Request)
_data = {kind: msgspec.json.Decoder(struct) for kind, (struct, _) in RULES.items()}
_encode = msgspec.json.Encoder().encode


def now_ms() -> int:
    """Return the wall clock in ms since the epoch."""
    return time.time_ns() // 1_000_000


class Subscriber(Protocol):
    """Who takes messages for some addresses."""

    name: str
    """Tells it from the others of this server."""

    def addresses(self) -> Sequence[str]:
        """Return the addresses it takes messages for."""

    def room(self) -> int:
        """Return how many tasks it can start now."""

    def wants(self, promise: Promise) -> bool:
        """Return whether it can run this promise's task; if not, the task is left to others."""


class Delivery(Struct, frozen=True):
    """A message for a subscriber, as the wire has it."""

    subscriber: Subscriber
    text: str


class Turn(Struct, frozen=True):
    """What came of one turn, committed."""

    answers: list[bytes]
    deliveries: list[Delivery]
    offered: set[str]
    """Addresses that have something new to fetch."""
    settled: bool
    """Whether a promise that people may watch was created or settled."""
    now: int
    """The instant at which all of it happened, ms since the epoch."""
    due: int
    """The next instant at which something will be due: a deadline, a lease, a later offer."""
    sooner: bool
    """Whether the next deadline or lease ends sooner than before the turn."""


class Decoded(Struct, frozen=True):
    """A request that is ready to be decided, or one whose answer is known already."""

    kind: str
    corr_id: str
    data: Any
    refusal: Answer | None = None
    answered: bytes | None = None


class Server:
    """A Resonate server over one file, in this process."""

    def __init__(self, path: Path, clock: Callable[[], int] = now_ms) -> None:
        """Open the file. `clock` gives ms since the epoch. Raises FileUnusable."""
        self.store = Store(path)
        self._clock = clock

    def close(self) -> None:
        """Close the file."""
        self.store.close()

    def turn(self, requests: Sequence[str | bytes], subscribers: Iterable[Subscriber] = ()) -> Turn:
        """Answer the requests and hand out messages, in one transaction that is on disk on return.

        Raises StorageFailed, and then nothing was changed.
        """
        decoded = [decode(raw) for raw in requests]
        subscribers = list(subscribers)
        if not subscribers and decoded and all(request.kind in READS for request in decoded):
            try:
                return self._turn(decoded, subscribers, write=False)
            except NeedsWriting:
                pass  # a deadline has passed: the same again, as a writer
        try:
            return self._turn(decoded, subscribers, write=True)
        except EngineError:
            raise
        except Exception:
            import logging  # noqa: PLC0415 - a command that goes well has no use for it

            logging.getLogger(__name__).exception("a request failed in a way that none should")
            return self._turn([self._tried(request) for request in decoded], subscribers, write=True)

    def _tried(self, request: Decoded) -> Decoded:
        """Answer one request alone, so that one that fails does not undo its neighbours."""
        try:
            [answered] = self._turn([request], (), write=True).answers
        except EngineError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's alone
            refusal = machine.refuse(500, f"the server failed: {type(error).__name__}")
            return Decoded(request.kind, request.corr_id, None, refusal)
        return Decoded(request.kind, request.corr_id, None, answered=answered)

    def _turn(self, requests: Sequence[Decoded], subscribers: Sequence[Subscriber], *, write: bool) -> Turn:
        with self.store.transaction(self._clock, write=write) as tx:
            due_before = tx.next_due()
            if due_before <= tx.now:
                fire_due(tx)
            answers = [answer(tx, request) for request in requests]
            deliveries = [delivery for one in subscribers for delivery in hand_out(tx, one)]
            due = tx.next_due()
            offers = [
                at for one in subscribers for address in one.addresses() if (at := tx.next_offer(address))
            ]
        return Turn(
            answers=answers,
            deliveries=deliveries,
            offered=tx.offered,
            settled=tx.settled,
            now=tx.now,
            due=min(due, *offers) if offers else due,
            sooner=due < due_before,
        )


def decode(raw: str | bytes) -> Decoded:
    """Decode and validate one request."""
    try:
        request = _request.decode(raw)
    except UNDECODABLE as error:
        return Decoded("error", "", None, machine.refuse(400, f"the request is malformed: {error}"))
    decoder = _data.get(request.kind)
    if decoder is None:
        refusal = machine.refuse(400, f"there is no request of the kind {request.kind!r}")
        return Decoded(request.kind, request.head.corr_id, None, refusal)
    try:
        return Decoded(request.kind, request.head.corr_id, decoder.decode(request.data))
    except UNDECODABLE as error:
        refusal = machine.refuse(400, f"{request.kind} is malformed: {error}")
        return Decoded(request.kind, request.head.corr_id, None, refusal)


def answer(tx: Transaction, request: Decoded) -> bytes:
    """Decide one request and return its answer's bytes."""
    if request.answered is not None:
        return request.answered
    decided = request.refusal or RULES[request.kind][1](tx, request.data, tx.now)
    head = ResponseHead(request.corr_id, decided.status)
    return _encode(Response(request.kind, head, decided.data))


def fire_due(tx: Transaction) -> None:
    """Take the steps that are due: deadlines first, then leases, then schedules."""
    for promise in tx.due_promises(FIRE_LIMIT):
        machine.process_promise_timeout(tx, promise, tx.now)
    for task, promise in tx.lapsed_leases(FIRE_LIMIT):
        machine.process_lease_timeout(tx, task, promise, tx.now)
    for schedule in tx.due_schedules(FIRE_LIMIT):
        machine.process_schedule(tx, schedule, tx.now)


def hand_out(tx: Transaction, subscriber: Subscriber) -> Iterable[Delivery]:
    """Take the messages that a subscriber has room for."""
    room = subscriber.room()
    for address in subscriber.addresses():
        taken, refused = [], []
        if room > 0:
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
        room -= len(taken)
        for task, promise in taken:
            machine.process_offer(tx, task, tx.now)
            yield deliver(
                subscriber, ExecuteMessage(ExecuteData(TaskRef(id=promise.id, version=task.version)))
            )
        for promise in tx.take_unblocks(address, UNBLOCK_LIMIT):
            yield deliver(subscriber, UnblockMessage(PromiseData(promise.record())))


def deliver(subscriber: Subscriber, message: Message) -> Delivery:
    """Return a message, encoded."""
    return Delivery(subscriber, _encode(message).decode())


def encode_request(kind: str, data: object, corr_id: str = "") -> bytes:
    """Return a request's envelope, for a caller in this process. `data` is a Struct or a dict."""
    return _encode(Request(kind, RequestHead(corr_id), msgspec.Raw(_encode(data))))
