"""The events that a worker reports, derived from the requests for its tasks.

Workflows need not report anything. `ObservedTasks` takes the place of the SDK's ports to the server
(resonate/send.py, TaskLifecycle and PromiseFencing), and passes the calls on to the ports that do the work.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import sys
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec
from msgspec import Struct
from resonate.error import PlatformError, ResonateError, SerializationError, ServerError
from resonate.send import PromiseFencing, TaskLifecycle
from resonate.types import PromiseCreateReq, PromiseSettleReq, Value

from hitl_cli import tracing
from hitl_cli.client.failure import Failure, failure_in
from hitl_cli.client.tags import INTERNAL_FUNCTIONS, RETRY_TAG, SCOPE_TAG, TARGET_TAG, lineage
from hitl_cli.client.wire import (
    FUNCTION_HEADER,
    Call,
    child_id,
    decode_as,
    encode,
    error_value,
    is_blocking,
    too_large,
)
from hitl_cli.engine.records import VALUE_MAX, size_of
from hitl_cli.sdk.calls import call_mark, caller_mark, running, step_mark
from hitl_cli.sdk.context import LeftToOthers
from hitl_cli.sdk.failures import comes_from, failure_of, given_up, remembered
from hitl_cli.sdk.heartbeat import executing
from hitl_cli.sdk.suspension import take_back_request
from hitl_cli.sdk.traces import TaskTraces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from resonate.send import SuspendResult, TaskAcquireResult, TaskFenceResult
    from resonate.types import PromiseRecord, PromiseRegisterCallbackData

type EventKind = Literal[
    "started", "resumed", "waiting", "retrying", "completed", "failed", "lost", "unknown"
]

logger = logging.getLogger(__name__)

BAD_REQUEST = 400
CONFLICT = 409

LONGEST_PAUSE_S = 60.0
"""The longest delay before a task that keeps failing here is released again."""


RETRY_LIFE_MS = 86_400_000
"""How long the record of a retry may stay open if its worker dies before it is closed."""


SURELY_SMALL = VALUE_MAX // 4
"""Characters that are not larger than the limit in any encoding."""


class TooLarge(ServerError):
    """An argument or a result of a workflow is larger than the limit."""


class TaskPorts(TaskLifecycle, PromiseFencing, Protocol):
    """The requests of the SDK for its tasks."""


class Event(Struct, frozen=True, omit_defaults=True):
    """One event of a run. Instants are ms since the epoch.

    `failure` says why the run failed, or why the `step` failed that is retried at `again`.
    """

    event: EventKind
    workflow: str
    at: int
    function: str | None = None
    promises: tuple[str, ...] = ()
    reason: str | None = None
    step: str | None = None
    again: int | None = None
    failure: Failure | None = None


class ObservedTasks:
    """A worker's tasks. Reports their events."""

    def __init__(
        self,
        tasks: TaskPorts,
        report: Callable[[Event], None],
        not_held: Callable[[str], None],
        clock: Callable[[], int],
        target: str | None = None,
    ) -> None:
        """`report` receives events, `not_held` the ids of tasks that were refused or released.

        `target` is the address of the workers that cancel the open requests of a run that fails here.
        """
        self._tasks = tasks
        self._report = report
        self._not_held = not_held
        self._clock = clock
        self._target = target
        self._functions: dict[str, str] = {}
        self._blocking: set[str] = set()
        self._given_back: dict[str, int] = {}
        self.left: set[str] = set()
        """The tasks that this worker cannot execute and that others can: it must not take them again."""
        self._failed_steps: dict[str, dict[str, Failure]] = {}
        tracer = tracing.current()
        self._traces = None if tracer is None else TaskTraces(tracer)

    # resonate.send.TaskLifecycle

    async def task_acquire(self, id: str, version: int, pid: str, ttl: int) -> TaskAcquireResult:
        """Acquire a pending task."""
        try:
            held = await self._tasks.task_acquire(id, version, pid, ttl)
        except ResonateError:
            self._not_held(id)
            raise
        call = decode_as(held.promise.param, Call)
        if call is not None:
            self._functions[id] = call.func
            if self._traces is not None:
                self._traces.acquired(held.promise, call.func, self._clock())
            self._look_at(id, held.preload)
            self._say("started" if held.task.version == 1 else "resumed", id)
        return held

    async def task_fulfill(self, id: str, version: int, action: PromiseSettleReq) -> PromiseRecord:
        """Settle a task's promise, which ends the task."""
        action = _marked(self._explained(id, _storable(action)), call_mark(id))
        try:
            promise = await self._tasks.task_fulfill(id, version, action)
        except ServerError as error:
            self._lost(id, error)
            raise
        if self._traces is not None:
            self._traces.fulfilled(id, promise, self._clock())
        if promise.state == "resolved":
            self._say("completed", id)
        else:
            failure = failure_in(promise.value)
            self._say("failed", id, reason=failure.text, failure=failure)
        self._forget(id)
        self._given_back.pop(id, None)
        return promise

    async def task_suspend(
        self, id: str, version: int, actions: list[PromiseRegisterCallbackData]
    ) -> SuspendResult:
        """Suspend a task until something it awaits has settled."""
        try:
            result = await self._tasks.task_suspend(id, version, actions)
        except ServerError as error:
            self._lost(id, error)
            raise
        if result == "suspended":
            people = tuple(action.awaited for action in actions if action.awaited in self._blocking)
            self._blocking.difference_update(people)
            if people:
                self._say("waiting", id, promises=people)
            self._forget(id)
            self._given_back.pop(id, None)
        else:
            self._look_at(id, result.preload)
        return result

    async def task_release(self, id: str, version: int) -> None:
        """Release a task that failed in the SDK itself, after a delay that grows with each failure.

        The server offers a released task again at once. If every worker would fail in the same way, the run
        is failed instead. A task that is left to others is released without a delay the first time.
        """
        error = sys.exception()
        cause = error.cause if isinstance(error, PlatformError) else error
        if isinstance(cause, SerializationError):  # the next attempt could not store it either
            where = "".join(f" ({note})" for note in getattr(cause.error, "__notes__", ()))
            await self.fail(id, version, given_up(cause, f"the result cannot be stored: {cause}{where}"))
            return
        if isinstance(cause, ServerError) and cause.code == BAD_REQUEST:  # the server would refuse it again
            await self.fail(id, version, given_up(cause, cause.message))
            return
        times = self._given_back.get(id, 0)
        if isinstance(cause, LeftToOthers) and id not in self.left:
            self.left.add(id)
            times = 0
        self._given_back[id] = times + 1
        if times:
            await asyncio.sleep(min(2.0**times / 2, LONGEST_PAUSE_S))
        try:
            await self._tasks.task_release(id, version)
        finally:
            self._not_held(id)
            self._forget(id)

    async def fail(self, id: str, version: int, failure: Failure) -> None:
        """End a run with an error, if its task is still held. Raises ResonateError for any other refusal."""
        try:
            if self._target is not None:
                take_back = take_back_request(id, id.partition(":")[0], self._target, self._clock())
                call = encode(take_back.param.data)
                encoded = msgspec.structs.replace(take_back, param=Value(data=call.data))
                await self._tasks.task_fence_create(id, version, encoded)
            await self.task_fulfill(id, version, _rejection(id, failure))
        except ServerError as error:
            if error.code != CONFLICT:
                raise
        self._not_held(id)

    # resonate.send.PromiseFencing

    async def task_fence_create(self, id: str, version: int, req: PromiseCreateReq) -> TaskFenceResult:
        """Create a promise, while the task is held."""
        if req.param.data is not None:
            if size_of(req.param) > VALUE_MAX:
                raise TooLarge(BAD_REQUEST, too_large(req.id, req.param))
            if TARGET_TAG in req.tags and (mark := caller_mark(req.id)):
                param = Value(headers=mark, data=req.param.data)
                req = PromiseCreateReq(id=req.id, timeout_at=req.timeout_at, param=param, tags=req.tags)
        elif req.tags.get(SCOPE_TAG) == "local" and (step := running.get(None)) is not None:
            param = Value(headers={FUNCTION_HEADER: step.name})
            req = PromiseCreateReq(id=req.id, timeout_at=req.timeout_at, param=param, tags=req.tags)
        if self._traces is not None:
            req = self._traces.carried(id, req)
        try:
            result = await self._tasks.task_fence_create(id, version, req)
        except ServerError as error:
            self._lost(id, error)
            raise
        self._look_at(id, (result.promise,))
        return result

    async def task_fence_settle(self, id: str, version: int, req: PromiseSettleReq) -> TaskFenceResult:
        """Settle a promise, while the task is held."""
        req = self._explained(id, _storable(req))
        step = running.get(None)
        if step is not None and step.asked and step.id == req.id:
            req = _marked(req, step_mark(step))
        try:
            result = await self._tasks.task_fence_settle(id, version, req)
        except ServerError as error:
            self._lost(id, error)
            raise
        if self._traces is not None:
            self._traces.stepped(id, result.promise)
        if result.promise.state != "resolved":
            self._look_at(id, (result.promise,))
        return result

    async def note_retry(self, error: BaseException, delay_s: float) -> None:
        """Report that a step failed and is retried, and store that under the step."""
        id, version = executing.get()
        step = running.get(None)
        now = self._clock()
        again = now + round(delay_s * 1_000)
        failure = failure_of(error)
        failed, function = (step.id, step.name) if step else (id, self._functions.get(id))
        self._report(
            Event(
                "retrying",
                id,
                now,
                function=function,
                reason=failure.text,
                step=failed,
                again=again,
                failure=failure,
            )
        )
        said = {"error": failure.text, "where": failure.where, "again": again}
        tags = {RETRY_TAG: failed} | lineage(failed, scope="local", origin=id.split(":", 1)[0], parent=failed)
        record = PromiseCreateReq(
            id=child_id(failed, f"r{now}"),
            timeout_at=again + RETRY_LIFE_MS,
            param=Value(data=base64.b64encode(msgspec.json.encode(said)).decode()),
            tags=tags,
        )
        try:
            created = await self._tasks.task_fence_create(id, version, record)
            closing = PromiseSettleReq(id=created.promise.id, state="resolved", value=Value())
            await self._tasks.task_fence_settle(id, version, closing)
        except ResonateError as lost:  # the step reports it when it ends
            logger.warning("the failed attempt at %s could not be recorded: %s", failed, lost)

    def _look_at(self, id: str, promises: Iterable[PromiseRecord]) -> None:
        """Record which promises wait for a person, and which failed."""
        for promise in promises:
            if promise.state == "pending":
                if is_blocking(promise.tags):
                    self._blocking.add(promise.id)
            elif promise.state != "resolved":
                self._failed_steps.setdefault(id, {})[promise.id] = remembered(promise)

    def _explained(self, id: str, req: PromiseSettleReq) -> PromiseSettleReq:
        """Return a rejection with the known origin of its error; any other request unchanged."""
        if req.state == "resolved":
            return req
        step = running.get(None)
        failure = comes_from(failure_in(req.value), self._failed_steps.get(id, {}).items())
        if step is not None and step.id == req.id and failure.step is None:
            failure = msgspec.structs.replace(failure, function=step.name)
        headers = {**(req.value.headers or {}), **failure.headers()}
        return PromiseSettleReq(id=req.id, state=req.state, value=Value(headers=headers, data=req.value.data))

    def _forget(self, id: str) -> None:
        if self._traces is not None:
            self._traces.suspended(id, self._clock())
        self._functions.pop(id, None)
        self._failed_steps.pop(id, None)

    def _lost(self, id: str, error: ServerError) -> None:
        """Report once that this worker no longer holds a task: canceled, expired, or taken over."""
        if error.code == CONFLICT and id in self._functions:
            self._say("lost", id)
            self._forget(id)

    def _say(
        self,
        kind: EventKind,
        id: str,
        *,
        promises: tuple[str, ...] = (),
        reason: str | None = None,
        failure: Failure | None = None,
    ) -> None:
        function = self._functions.get(id)
        if function in INTERNAL_FUNCTIONS and kind != "failed":
            return
        now = self._clock()
        self._report(
            Event(kind, id, now, function=function, promises=promises, reason=reason, failure=failure)
        )


def _storable(req: PromiseSettleReq) -> PromiseSettleReq:
    """Return a settlement; if its value is too large, a rejection that says so."""
    value = req.value
    if not value.headers and (value.data is None or len(value.data) < SURELY_SMALL):
        return req
    if size_of(value) <= VALUE_MAX:
        return req
    message = too_large(req.id, req.value)
    return _rejection(req.id, Failure(message=message, type=TooLarge.__name__))


def _marked(req: PromiseSettleReq, mark: dict[str, str]) -> PromiseSettleReq:
    """Return a settlement, marked if a request was created below the call."""
    if not mark:
        return req
    value = Value(headers={**(req.value.headers or {}), **mark}, data=req.value.data)
    return PromiseSettleReq(id=req.id, state=req.state, value=value)


def _rejection(id: str, failure: Failure) -> PromiseSettleReq:
    """Return the settlement that rejects a promise."""
    value = error_value(failure.message, failure.headers())
    return PromiseSettleReq(id=id, state="rejected", value=Value(headers=value.headers, data=value.data))
