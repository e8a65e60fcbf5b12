"""What a worker is doing, seen from what it asks for its tasks: the events it reports.

Nothing in a workflow has to report anything. `ObservedTasks` stands where the SDK expects its ports to the
server (resonate/send.py, TaskLifecycle and PromiseFencing), before those that do the work.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec
from msgspec import Struct
from resonate.error import PlatformError, ResonateError, SerializationError, ServerError
from resonate.send import PromiseFencing, TaskLifecycle
from resonate.types import PromiseSettleReq, Value

from hitl_cli.client.tags import INTERNAL_FUNCTIONS
from hitl_cli.client.wire import Call, decode_as, encode, error_message, error_value, is_blocking
from hitl_cli.sdk.suspension import take_back_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from resonate.send import SuspendResult, TaskAcquireResult, TaskFenceResult
    from resonate.types import PromiseCreateReq, PromiseRecord, PromiseRegisterCallbackData

type EventKind = Literal["started", "resumed", "waiting", "completed", "failed", "lost", "unknown"]

CONFLICT = 409

LONGEST_PAUSE_S = 60.0
"""How long a task that fails here time after time is held back before it is given back once more."""


class TaskPorts(TaskLifecycle, PromiseFencing, Protocol):
    """What the SDK asks for its tasks."""


class Event(Struct, frozen=True, omit_defaults=True):
    """One thing that happened to a run. `at` is ms since the epoch."""

    event: EventKind
    workflow: str
    at: int
    function: str | None = None
    promises: tuple[str, ...] = ()
    reason: str | None = None


class ObservedTasks:
    """A worker's tasks, and the report of what happens to them."""

    def __init__(
        self,
        tasks: TaskPorts,
        report: Callable[[Event], None],
        not_held: Callable[[str], None],
        clock: Callable[[], int],
        target: str | None = None,
    ) -> None:
        """`report` is told of events, `not_held` of tasks that were refused or given back.

        `target` is the address of workers that take back what a run asked that is failed here.
        """
        self._tasks = tasks
        self._report = report
        self._not_held = not_held
        self._clock = clock
        self._target = target
        self._functions: dict[str, str] = {}
        self._blocking: set[str] = set()
        self._given_back: dict[str, int] = {}

    # resonate.send.TaskLifecycle

    async def task_acquire(self, id: str, version: int, pid: str, ttl: int) -> TaskAcquireResult:
        """Take a task that is on offer."""
        try:
            held = await self._tasks.task_acquire(id, version, pid, ttl)
        except ResonateError:
            self._not_held(id)
            raise
        call = decode_as(held.promise.param, Call)
        if call is not None:
            self._functions[id] = call.func
            self._blocking.update(p.id for p in held.preload if p.state == "pending" and is_blocking(p.tags))
            self._say("started" if held.task.version == 1 else "resumed", id)
        return held

    async def task_fulfill(self, id: str, version: int, action: PromiseSettleReq) -> PromiseRecord:
        """Settle a task's promise, which ends the task."""
        try:
            promise = await self._tasks.task_fulfill(id, version, action)
        except ServerError as error:
            self._failed(id, error)
            raise
        if promise.state == "resolved":
            self._say("completed", id)
        else:
            self._say("failed", id, reason=error_message(promise.value))
        self._functions.pop(id, None)
        self._given_back.pop(id, None)
        return promise

    async def task_suspend(
        self, id: str, version: int, actions: list[PromiseRegisterCallbackData]
    ) -> SuspendResult:
        """Let go of a task until something it awaits has settled."""
        try:
            result = await self._tasks.task_suspend(id, version, actions)
        except ServerError as error:
            self._failed(id, error)
            raise
        if result == "suspended":
            people = tuple(action.awaited for action in actions if action.awaited in self._blocking)
            self._blocking.difference_update(people)
            if people:
                self._say("waiting", id, promises=people)
            self._functions.pop(id, None)
            self._given_back.pop(id, None)
        return result

    async def task_release(self, id: str, version: int) -> None:
        """Give a task back that failed in the SDK's own hands, and not for ever at once.

        The server offers it again in the same moment. So it is held back a little longer each time,
        and where no worker could do better the run is failed instead.
        """
        error = sys.exception()
        cause = error.cause if isinstance(error, PlatformError) else error
        if isinstance(cause, SerializationError):  # it could not be written down the next time either
            await self.fail(id, version, f"the result cannot be kept: {cause}")
            return
        times = self._given_back.get(id, 0)
        self._given_back[id] = times + 1
        if times:
            await asyncio.sleep(min(2.0**times / 2, LONGEST_PAUSE_S))
        try:
            await self._tasks.task_release(id, version)
        finally:
            self._not_held(id)
            self._functions.pop(id, None)

    async def fail(self, id: str, version: int, reason: str) -> None:
        """End a run with an error, if its task is still held. Raises ResonateError but for that."""
        value = error_value(reason)
        settle = PromiseSettleReq(
            id=id, state="rejected", value=Value(headers=value.headers, data=value.data)
        )
        try:
            if self._target is not None:
                take_back = take_back_request(id, id.partition(":")[0], self._target, self._clock())
                call = encode(take_back.param.data)
                encoded = msgspec.structs.replace(take_back, param=Value(data=call.data))
                await self._tasks.task_fence_create(id, version, encoded)
            await self.task_fulfill(id, version, settle)
        except ServerError as error:
            if error.code != CONFLICT:
                raise
        self._not_held(id)

    # resonate.send.PromiseFencing

    async def task_fence_create(self, id: str, version: int, req: PromiseCreateReq) -> TaskFenceResult:
        """Create a promise, while the task is held."""
        try:
            result = await self._tasks.task_fence_create(id, version, req)
        except ServerError as error:
            self._failed(id, error)
            raise
        if result.promise.state == "pending" and is_blocking(result.promise.tags):
            self._blocking.add(result.promise.id)
        return result

    async def task_fence_settle(self, id: str, version: int, req: PromiseSettleReq) -> TaskFenceResult:
        """Settle a promise, while the task is held."""
        try:
            return await self._tasks.task_fence_settle(id, version, req)
        except ServerError as error:
            self._failed(id, error)
            raise

    def _failed(self, id: str, error: ServerError) -> None:
        """Say once that a task is no longer ours: canceled, expired, or taken over."""
        if error.code == CONFLICT and id in self._functions:
            self._say("lost", id)
            del self._functions[id]

    def _say(
        self, kind: EventKind, id: str, *, promises: tuple[str, ...] = (), reason: str | None = None
    ) -> None:
        function = self._functions.get(id)
        if function in INTERNAL_FUNCTIONS and kind != "failed":
            return
        self._report(Event(kind, id, self._clock(), function=function, promises=promises, reason=reason))
