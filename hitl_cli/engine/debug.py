"""A server whose time its clients set, for the specification's scenarios and checkers.

The kinds `debug.*` and the head field `resonate:debug_time`, as Resonate Server 0.9.8 has them
(src/server.rs, src/processing). It is for a file of its own: other processes on it keep the wall clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli.engine import machine
from hitl_cli.engine.records import (
    ExecuteData,
    ExecuteMessage,
    Message,
    Millis,
    PromiseData,
    PromiseRecord,
    Reply,
    TaskRecord,
    TaskRef,
    UnblockMessage,
)
from hitl_cli.engine.server import FAR, UNDECODABLE, Batch, Server, asked, fire_due, merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.engine.server import Decoded, Extra, Subscriber
    from hitl_cli.engine.store import Transaction

TABLES = ("promises", "tasks", "callbacks", "listeners", "unblocks", "schedules", "tags")


class _Tick(Struct, frozen=True):
    """The data of debug.tick: an instant, ms since the epoch."""

    time: Millis


class _PromiseTimeout(Struct, frozen=True):
    """A deadline that will fire by itself."""

    id: str
    timeout: int


class _TaskTimeout(Struct, frozen=True):
    """When a task is offered next (type 0), or its lease lapses (type 1)."""

    id: str
    type: int
    timeout: int


class _Callback(Struct, frozen=True, order=True):
    """Who awaits what."""

    awaiter: str
    awaited: str


class _Listener(Struct, frozen=True, order=True):
    """Who listens for what."""

    id: str
    address: str


class _Outgoing(Struct, frozen=True):
    """A message that nobody has fetched yet."""

    address: str
    message: Message


class _Snapshot(Struct, frozen=True, rename="camel"):
    """The data of debug.snap: everything that is stored."""

    promises: list[PromiseRecord]
    promise_timeouts: list[_PromiseTimeout]
    callbacks: list[_Callback]
    listeners: list[_Listener]
    tasks: list[TaskRecord]
    task_timeouts: list[_TaskTimeout]
    messages: list[_Outgoing]


class DebugServer(Server):
    """A server that obeys debug.* and `resonate:debug_time`."""

    _frozen = False

    def _decide(
        self, requests: Sequence[Decoded], subscribers: Sequence[Subscriber], extra: Extra | None
    ) -> Batch:
        if not self._frozen and not any(_is_special(request) for request in requests):
            return super()._decide(requests, subscribers, extra)
        # Each at its own instant, and so in a transaction of its own.
        batches = [self._one(request) for request in requests]
        if not self._frozen:
            return merged([*batches, super()._decide([], subscribers, extra)])
        return msgspec.structs.replace(merged([*batches, self._still()]), due=FAR)

    def _one(self, request: Decoded) -> Batch:
        if request.kind.startswith("debug."):
            return self._debug(request)
        at = request.debug_time
        if at is None and not self._frozen:
            return super()._decide([request], [], None)
        return self._commit([request], [], write=True, at=at, fire=False)

    def _still(self) -> Batch:
        """Return a batch in which nothing happens."""
        return self._commit([], [], write=False, fire=False)

    def _debug(self, request: Decoded) -> Batch:
        """Answer one of debug.*."""
        now = self._clock()
        data: Any = {}
        if request.kind in ("debug.start", "debug.stop"):
            self._frozen = request.kind == "debug.start"
        elif request.kind == "debug.tick":
            try:
                now = msgspec.json.decode(asked(request), type=_Tick).time
            except UNDECODABLE as error:
                return self._said(request, machine.refuse(400, f"debug.tick is malformed: {error}"))
            if request.debug_time not in (None, now):
                return self._said(request, machine.refuse(400, "resonate:debug_time is not the tick's time"))
            with self.store.transaction(lambda: now, write=True, exact=True) as tx:
                while tx.next_due() <= now:
                    fire_due(tx)
            data = []
        else:
            with self.store.transaction(lambda: now, write=True, exact=True) as tx:
                if request.kind == "debug.reset":
                    _reset(tx)
                else:
                    data = _snapshot(tx)
        return self._said(request, Reply(200, data))

    def _said(self, request: Decoded, answer: Reply) -> Batch:
        return msgspec.structs.replace(self._still(), requests=[request], decided=[answer])


def _is_special(request: Decoded) -> bool:
    """Whether a request is answered otherwise here than by another server."""
    return request.kind.startswith("debug.") or request.debug_time is not None


def _reset(tx: Transaction) -> None:
    """Delete everything, the last instant too."""
    for table in TABLES:
        tx.change(f"DELETE FROM {table}")
    tx.change("UPDATE clock SET now = 0, slow_from = NULL, slow_wall = NULL")


def _snapshot(tx: Transaction) -> _Snapshot:
    """Return everything that is stored, in the order of the ids."""
    promises = tx.every_promise()
    ids = {promise.seq: promise.id for promise in promises}
    records = {promise.seq: promise.record() for promise in promises}
    tasks = sorted(tx.every_task(), key=lambda task: ids[task.seq])
    unblocks = tx.rows("SELECT address, promise FROM unblocks")
    return _Snapshot(
        promises=list(records.values()),
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
                _Outgoing(
                    task.address, ExecuteMessage(ExecuteData(TaskRef(id=ids[task.seq], version=task.version)))
                )
                for task in tasks
                if task.state == "pending" and task.due is not None and task.due <= tx.now
            ),
            *(_Outgoing(address, UnblockMessage(PromiseData(records[seq]))) for address, seq in unblocks),
        ],
    )
