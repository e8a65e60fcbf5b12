"""A server whose clients set the time, for the specification's scenarios and checkers.

It has the kinds `debug.*` and the head field `resonate:debug_time` of Resonate Server 0.9.8 (src/server.rs,
src/processing). Use a separate file: other processes on the same file would use the wall clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli.engine import machine
from hitl_cli.engine.records import Millis, Promise, PromiseRecord, Reply, Task, TaskRecord
from hitl_cli.engine.server import (
    DEBUG,
    FAR,
    UNDECODABLE,
    Batch,
    Server,
    after,
    asked,
    execute_message,
    fire_due,
    merged,
    unblock_message,
)
from hitl_cli.engine.store import PROMISE, TASK
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.engine.server import Decoded, Extra, Subscriber
    from hitl_cli.engine.store import Transaction

TABLES = ("promises", "tasks", "callbacks", "listeners", "unblocks", "schedules", "tags")


class _Tick(Struct, frozen=True):
    """The data of debug.tick: an instant, ms since the epoch."""

    time: Millis


class _PromiseTimeout(Struct, frozen=True):
    """The deadline of a pending promise."""

    id: str
    timeout: int


class _TaskTimeout(Struct, frozen=True):
    """When a task is offered next (type 0), or its lease expires (type 1)."""

    id: str
    type: int
    timeout: int


class _Callback(Struct, frozen=True, order=True):
    """Which promise awaits which."""

    awaiter: str
    awaited: str


class _Listener(Struct, frozen=True, order=True):
    """Which address listens for which promise."""

    id: str
    address: str


class _Outgoing(Struct, frozen=True):
    """A message that was not fetched yet."""

    address: str
    message: msgspec.Raw


class _Snapshot(Struct, frozen=True, rename="camel"):
    """The data of debug.snap: the whole state."""

    promises: list[PromiseRecord]
    promise_timeouts: list[_PromiseTimeout]
    callbacks: list[_Callback]
    listeners: list[_Listener]
    tasks: list[TaskRecord]
    task_timeouts: list[_TaskTimeout]
    messages: list[_Outgoing]


class DebugServer(Server):
    """A server that supports debug.* and `resonate:debug_time`."""

    _frozen = False

    def _decide(
        self, requests: Sequence[Decoded], subscribers: Sequence[Subscriber], extra: Extra | None
    ) -> Batch:
        special = any(request.kind in DEBUG or request.debug_time is not None for request in requests)
        if not (self._frozen or special):
            return super()._decide(requests, subscribers, extra)
        # Each has its own time, and so its own transaction.
        batches = [self._one(request) for request in requests]
        if not self._frozen:
            return merged([*batches, super()._decide([], subscribers, after(batches, extra))])
        return msgspec.structs.replace(merged([*batches, self._still()]), due=FAR)

    def _one(self, request: Decoded) -> Batch:
        if request.kind in DEBUG:
            answer = self._obey(request)
            return msgspec.structs.replace(self._still(), requests=[request], decided=[answer])
        at = request.debug_time
        if at is None and not self._frozen:
            return super()._decide([request], [], None)
        return self._commit([request], [], write=True, at=at, fire=False)

    def _still(self) -> Batch:
        """Return a batch without effects."""
        return self._commit([], [], write=False, fire=False)

    def _obey(self, request: Decoded) -> Reply:
        """Answer a debug.* request."""
        now = self._clock()
        data: Any = {}
        if request.kind == "debug.tick":
            try:
                now = msgspec.json.decode(asked(request), type=inspected(_Tick)).time
            except UNDECODABLE as error:
                return machine.refuse(400, f"debug.tick is malformed: {error}")
            if request.debug_time not in (None, now):
                return machine.refuse(400, "resonate:debug_time is not the tick's time")
        with self.store.transaction(lambda: now, write=True, exact=True) as tx:
            match request.kind:
                case "debug.tick":
                    data = []
                    while tx.next_due() <= now:
                        fire_due(tx)
                case "debug.reset":
                    for table in TABLES:
                        tx.change(f"DELETE FROM {table}")
                    tx.change("UPDATE clock SET now = 0, slow_from = NULL, slow_wall = NULL")
                case "debug.snap":
                    data = _snapshot(tx)
                case kind:
                    self._frozen = kind == "debug.start"
        return Reply(200, data)


def _snapshot(tx: Transaction) -> _Snapshot:
    """Return the whole state, in the order of the ids."""
    promises = [Promise(*row) for row in tx.rows(f"SELECT {PROMISE} FROM promises p ORDER BY id")]
    tasks = [
        Task(*row) for row in tx.rows(f"SELECT {TASK} FROM tasks t JOIN promises USING (seq) ORDER BY id")
    ]
    by_seq = {promise.seq: promise for promise in promises}
    ids = {promise.seq: promise.id for promise in promises}
    return _Snapshot(
        promises=[promise.record() for promise in promises],
        promise_timeouts=[
            _PromiseTimeout(each.id, each.timeout_at)
            for each in promises
            if each.state == "pending" and each.external
        ],
        callbacks=sorted(
            _Callback(ids[awaiter], ids[awaited])
            for awaited, awaiter in tx.rows("SELECT awaited, awaiter FROM callbacks")
        ),
        listeners=sorted(
            _Listener(ids[seq], address) for seq, address in tx.rows("SELECT promise, address FROM listeners")
        ),
        tasks=[task.record(ids[task.seq]) for task in tasks],
        task_timeouts=[
            _TaskTimeout(ids[task.seq], int(task.state == "acquired"), task.due)
            for task in tasks
            if task.due is not None
        ],
        messages=[
            *(
                _Outgoing(task.address, msgspec.Raw(execute_message(task, by_seq[task.seq])))
                for task in tasks
                if task.state == "pending" and task.due is not None and task.due <= tx.now
            ),
            *(
                _Outgoing(address, msgspec.Raw(unblock_message(by_seq[seq])))
                for address, seq in tx.rows("SELECT address, promise FROM unblocks")
            ),
        ],
    )
