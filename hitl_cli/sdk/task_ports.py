"""The SDK's ports to its tasks (resonate/send.py, TaskLifecycle and PromiseFencing), directly to the engine.

The SDK's own Sender encodes and decodes JSON six times for a request. Here it is a Struct that the rules use
directly. The requests, the answers and the errors are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from resonate.error import ServerError
from resonate.send import Redirect, TaskAcquireResult, TaskFenceResult
from resonate.types import PromiseRecord, TaskRecord, Value
from resonate_base import ConnectorError

from hitl_cli.engine import records
from hitl_cli.engine.errors import EngineError
from hitl_cli.engine.server import Decoded
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from resonate.send import SuspendResult
    from resonate.types import PromiseCreateReq, PromiseRegisterCallbackData, PromiseSettleReq

    from hitl_cli.engine.commit_loop import CommitLoop
    from hitl_cli.engine.records import Reply

OK = 200
REDIRECT = 300
ERROR = 400

_value = msgspec.json.Decoder(inspected(Value))
_tags = msgspec.json.Decoder(dict[str, str])


class EngineTaskPorts:
    """The tasks of one worker, in the batches that its process commits."""

    def __init__(self, commit_loop: CommitLoop) -> None:
        self._commit_loop = commit_loop
        self._held: dict[str, records.HeldData] = {}

    def give(self, held: records.HeldData) -> None:
        """Keep a task that the server handed over as already acquired, until the SDK asks for it."""
        self._held[held.task.id] = held

    # resonate.send.TaskLifecycle

    async def task_acquire(self, id: str, version: int, pid: str, ttl: int) -> TaskAcquireResult:
        """Acquire a pending task."""
        held = self._held.pop(id, None)
        if held is None or held.task.version != version + 1:
            asked = records.TaskAcquire(id=id, version=version, pid=pid, ttl=ttl)
            held = (await self._ask("task.acquire", asked)).data
        return TaskAcquireResult(
            task=_task_record(held.task),
            promise=_promise_record(held.promise),
            preload=[_promise_record(each) for each in held.preload],
        )

    async def task_fulfill(self, id: str, version: int, action: PromiseSettleReq) -> PromiseRecord:
        """Settle a task's promise, which ends the task."""
        settle = records.SettleAction(_settlement(action))
        answer = await self._ask("task.fulfill", records.TaskFulfill(id=id, version=version, action=settle))
        return _promise_record(answer.data.promise)

    async def task_suspend(
        self, id: str, version: int, actions: list[PromiseRegisterCallbackData]
    ) -> SuspendResult:
        """Suspend a task until something it awaits has settled."""
        awaited = [
            records.CallbackAction(
                records.PromiseRegisterCallback(awaited=action.awaited, awaiter=action.awaiter)
            )
            for action in actions
        ]
        answer = await self._ask("task.suspend", records.TaskSuspend(id=id, version=version, actions=awaited))
        if answer.status == REDIRECT:
            return Redirect(preload=[_promise_record(each) for each in answer.data.preload])
        return "suspended"

    async def task_release(self, id: str, version: int) -> None:
        """Release a task."""
        await self._ask("task.release", records.TaskRef(id=id, version=version))

    # resonate.send.PromiseFencing

    async def task_fence_create(self, id: str, version: int, req: PromiseCreateReq) -> TaskFenceResult:
        """Create a promise, while the task is held."""
        return await self._fence(id, version, records.CreateAction(_creation(req)))

    async def task_fence_settle(self, id: str, version: int, req: PromiseSettleReq) -> TaskFenceResult:
        """Settle a promise, while the task is held."""
        return await self._fence(id, version, records.SettleAction(_settlement(req)))

    async def _fence(
        self, id: str, version: int, action: records.CreateAction | records.SettleAction
    ) -> TaskFenceResult:
        answer = await self._ask("task.fence", records.TaskFence(id=id, version=version, action=action))
        done: records.FenceData = answer.data
        if done.action.head.status >= ERROR:
            raise ServerError(done.action.head.status, done.action.data)
        return TaskFenceResult(
            promise=_promise_record(done.action.data.promise),
            preload=[_promise_record(each) for each in done.preload],
        )

    async def _ask(self, kind: str, data: msgspec.Struct) -> Reply:
        """Return the answer, once it is on disk. Raises ServerError, ConnectorError."""
        try:
            answer = await self._commit_loop.decide(Decoded(kind, "", data))
        except EngineError as error:
            raise ConnectorError(error) from error
        if answer.status >= ERROR:
            raise ServerError(answer.status, answer.data)
        return answer


def _creation(req: PromiseCreateReq) -> records.PromiseCreate:
    """Return the request as the engine would decode it, with the same validation. Raises ServerError."""
    try:
        return msgspec.convert(req, inspected(records.PromiseCreate), from_attributes=True)
    except msgspec.ValidationError as error:
        raise ServerError(400, f"the request is malformed: {error}") from error


def _settlement(req: PromiseSettleReq) -> records.PromiseSettle:
    """Return the request as the engine would decode it, without validation: the SDK created the promise."""
    value = records.Value(headers=req.value.headers, data=req.value.data)
    return records.PromiseSettle(id=req.id, state=req.state, value=value)


def _promise_record(record: records.PromiseRecord) -> PromiseRecord:
    """Return a promise as the SDK's record."""
    return PromiseRecord(
        id=record.id,
        state=record.state,
        param=_value.decode(record.param),
        value=_value.decode(record.value),
        tags=_tags.decode(record.tags),
        timeout_at=record.timeout_at,
        created_at=record.created_at,
        settled_at=record.settled_at,
    )


def _task_record(record: records.TaskRecord) -> TaskRecord:
    """Return a task as the SDK's record."""
    return TaskRecord(
        id=record.id,
        state=record.state,
        version=record.version,
        resumes=record.resumes,
        ttl=record.ttl,
        pid=record.pid,
    )
