"""The SDK's ports to its tasks (resonate/send.py, TaskLifecycle and PromiseFencing), over requests as JSON.

The requests, the answers and the errors are those of the SDK's own Sender. Tasks that a server hands over
held already are kept here until the SDK asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from resonate.error import ServerError
from resonate.send import Redirect, TaskAcquireResult, TaskFenceResult
from resonate.types import PromiseRecord, TaskRecord
from resonate_base import PROTOCOL_VERSION

from hitl_cli.client.tags import TARGET_TAG, TIMER_TAG

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from resonate.send import SuspendResult
    from resonate.types import PromiseCreateReq, PromiseRegisterCallbackData, PromiseSettleReq

REDIRECT = 300
ERROR = 400


class HeldTask(Struct, frozen=True):
    """A task that this worker holds, its promise, and what it has created so far."""

    task: TaskRecord
    promise: PromiseRecord
    preload: list[PromiseRecord] = []


class _Head(Struct, frozen=True):
    status: int = 200


class _Answer(Struct, frozen=True):
    head: _Head
    data: msgspec.Raw


class _PromiseData(Struct, frozen=True):
    promise: PromiseRecord


class _FenceData(Struct, frozen=True):
    action: _Answer


class _PreloadData(Struct, frozen=True):
    preload: list[PromiseRecord] = []


_answer = msgspec.json.Decoder(_Answer)
_promise = msgspec.json.Decoder(_PromiseData)
_held = msgspec.json.Decoder(HeldTask)
_fence = msgspec.json.Decoder(_FenceData)
_preload = msgspec.json.Decoder(_PreloadData)
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


class RequestTaskPorts:
    """The tasks of one worker."""

    def __init__(self, ask: Callable[[str], Awaitable[bytes]]) -> None:
        """`ask` answers one request. It raises ConnectorError if the server cannot be asked."""
        self._ask_server = ask
        self._held: dict[str, HeldTask] = {}

    def give(self, held: HeldTask) -> None:
        """Keep a task that the server handed over already acquired, until the SDK asks for it."""
        self._held[held.task.id] = held

    # resonate.send.TaskLifecycle

    async def task_acquire(self, id: str, version: int, pid: str, ttl: int) -> TaskAcquireResult:
        """Acquire a pending task."""
        held = self._held.pop(id, None)
        if held is None or held.task.version != version + 1:
            asked = {"id": id, "version": version, "pid": pid, "ttl": ttl}
            held = _held.decode((await self._ask("task.acquire", asked)).data)
        return TaskAcquireResult(task=held.task, promise=held.promise, preload=held.preload)

    async def task_fulfill(self, id: str, version: int, action: PromiseSettleReq) -> PromiseRecord:
        """Settle a task's promise, which ends the task."""
        asked = {"id": id, "version": version, "action": _inner("promise.settle", action)}
        return _promise.decode((await self._ask("task.fulfill", asked)).data).promise

    async def task_suspend(
        self, id: str, version: int, actions: list[PromiseRegisterCallbackData]
    ) -> SuspendResult:
        """Suspend a task until something it awaits has settled."""
        awaited = [_inner("promise.register_callback", action) for action in actions]
        answer = await self._ask("task.suspend", {"id": id, "version": version, "actions": awaited})
        if answer.head.status == REDIRECT:
            return Redirect(preload=_preload.decode(answer.data).preload)
        return "suspended"

    async def task_release(self, id: str, version: int) -> None:
        """Release a task."""
        await self._ask("task.release", {"id": id, "version": version})

    # resonate.send.PromiseFencing

    async def task_fence_create(self, id: str, version: int, req: PromiseCreateReq) -> TaskFenceResult:
        """Create a promise, while the task is held.

        A timer has no target here, although `ctx.sleep` gives it one. Nothing runs when it ends, and a task
        of it would be offered, taken and dropped until then.
        """
        if req.tags.get(TIMER_TAG) == "true" and TARGET_TAG in req.tags:
            tags = {name: text for name, text in req.tags.items() if name != TARGET_TAG}
            req = msgspec.structs.replace(req, tags=tags)
        return await self._fence(id, version, _inner("promise.create", req))

    async def task_fence_settle(self, id: str, version: int, req: PromiseSettleReq) -> TaskFenceResult:
        """Settle a promise, while the task is held."""
        return await self._fence(id, version, _inner("promise.settle", req))

    async def _fence(self, id: str, version: int, action: dict[str, Any]) -> TaskFenceResult:
        answer = await self._ask("task.fence", {"id": id, "version": version, "action": action})
        done = _fence.decode(answer.data).action
        _raise_for(done)
        return TaskFenceResult(promise=_promise.decode(done.data).promise, preload=[])

    async def _ask(self, kind: str, data: dict[str, Any]) -> _Answer:
        """Return the answer. Raises ServerError, ConnectorError."""
        head = {"corrId": "", "version": PROTOCOL_VERSION}
        answer = _answer.decode(
            await self._ask_server(_encode({"kind": kind, "head": head, "data": data}).decode())
        )
        _raise_for(answer)
        return answer


def _raise_for(answer: _Answer) -> None:
    """Raise ServerError for an answer that is an error."""
    if answer.head.status >= ERROR:
        raise ServerError(answer.head.status, _text.decode(answer.data))


def _inner(kind: str, data: object) -> dict[str, Any]:
    """Return a request inside another one."""
    return {"kind": kind, "head": {}, "data": data}
