"""Spans of a worker: executions, runs and calls, steps. Their trace comes from the promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from resonate.types import PromiseCreateReq, Value

from hitl_cli.client.failure import failure_in
from hitl_cli.client.tags import PARENT_TAG, RETRY_TAG, SCOPE_TAG, TARGET_TAG, TELL
from hitl_cli.client.wire import FUNCTION_HEADER, is_blocking
from hitl_cli.tracing import HEADER, Trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resonate.types import PromiseRecord

    from hitl_cli.tracing.tracer import Tracer

NAMES = {TELL: "notification"}
"""The names of spans of hitl's own functions."""


class _Held(Struct, frozen=True):
    """A running task: its caller's span, its own span, its function, and its start (ms)."""

    caller: Trace
    own: Trace
    function: str
    since: int


class TaskTraces:
    """Creates the spans of one worker's tasks."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._held: dict[str, _Held] = {}

    def acquired(self, promise: PromiseRecord, function: str, now: int) -> None:
        """Begin an execution. Everything that follows in this context belongs to its run."""
        caller = self._tracer.trace_of(promise.id, promise.created_at, _header(promise.param.headers))
        own = caller.of(promise.id)
        self._held[promise.id] = _Held(caller, own, NAMES.get(function, function), now)
        self._tracer.enter(own)

    def carried(self, task: str, req: PromiseCreateReq) -> PromiseCreateReq:
        """Return the creation of a promise, with the trace if other processes act on the promise."""
        held = self._held.get(task)
        if held is None or not (TARGET_TAG in req.tags or is_blocking(req.tags)):
            return req
        above = held.own.of(req.tags.get(PARENT_TAG, task))
        headers = {**(req.param.headers or {}), HEADER: above.header()}
        param = Value(headers=headers, data=req.param.data)
        return PromiseCreateReq(id=req.id, timeout_at=req.timeout_at, param=param, tags=req.tags)

    def stepped(self, task: str, promise: PromiseRecord) -> None:
        """Create the span of a step that has ended."""
        held, tags = self._held.get(task), promise.tags
        if held is None or tags.get(SCOPE_TAG) != "local" or RETRY_TAG in tags or promise.settled_at is None:
            return
        name = (promise.param.headers or {}).get(FUNCTION_HEADER, "step")
        own, above = held.own.of(promise.id), held.own.of(tags.get(PARENT_TAG, task))
        self._emit(name, own, above, promise, {"hitl.step.id": promise.id})

    def suspended(self, task: str, now: int) -> None:
        """Create the span of an execution that has ended."""
        held = self._held.pop(task, None)
        if held is not None:
            self._execution(held, task, now)

    def fulfilled(self, task: str, promise: PromiseRecord, now: int) -> None:
        """Create the spans of a run or a call that has ended, and of its last execution."""
        held = self._held.pop(task, None)
        if held is not None:
            self._execution(held, task, now)
            about = {"hitl.run.id": task, "hitl.workflow": held.function}
            self._emit(held.function, held.own, held.caller, promise, about)

    def _execution(self, held: _Held, task: str, now: int) -> None:
        span = held.own.of(f"{task} since {held.since}")
        about = {"hitl.run.id": task, "hitl.workflow": held.function}
        self._tracer.emit(f"execute {held.function}", span, held.own, held.since, now, about)

    def _emit(
        self, name: str, own: Trace, above: Trace, promise: PromiseRecord, about: Mapping[str, str]
    ) -> None:
        failed = None if promise.state == "resolved" else failure_in(promise.value).type or promise.state
        end = promise.settled_at or promise.created_at
        self._tracer.emit(name, own, above, promise.created_at, end, about, failed)


def _header(headers: Mapping[str, str] | None) -> str | None:
    return (headers or {}).get(HEADER)
