"""The SDK's ports to its tasks (resonate/send.py, TaskLifecycle and PromiseFencing), over requests as JSON.

The requests, the answers and the errors are those of the SDK's own Sender. Tasks that a server hands over
already acquired are kept here until the SDK asks for them.

A step begins before its promise is stored, because the answer is already known: the lease means that no other
worker has the task, and the promises that came with the task show that the step is new. The result of a step
is stored after its promise; for a quick step, in the same batch.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct
from resonate.error import ServerError
from resonate.send import Redirect, TaskAcquireResult, TaskFenceResult
from resonate.types import PromiseRecord, TaskRecord, Value
from resonate_base import PROTOCOL_VERSION

from hitl_cli.client.tags import SCOPE_TAG, TARGET_TAG, TIMER_TAG
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Callable

    from resonate.send import SuspendResult
    from resonate.types import PromiseCreateReq, PromiseRegisterCallbackData, PromiseSettleReq

REDIRECT = 300
ERROR = 400

SURE_S = 1.0
"""A step begins without waiting for the server's answer if the server confirmed the task this recently."""

SURE_OF_LEASE = 0.5
"""After this part of a lease no step begins so, even if the lease was renewed."""

NEAR_MS = 10_000
"""A step whose deadline is this near does not begin so: the server may be about to expire it."""


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


_answer = msgspec.json.Decoder(inspected(_Answer))
_promise = msgspec.json.Decoder(inspected(_PromiseData))
_held = msgspec.json.Decoder(inspected(HeldTask))
_fence = msgspec.json.Decoder(inspected(_FenceData))
_preload = msgspec.json.Decoder(inspected(_PreloadData))
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


class _Hold(Struct):
    """A task that was handed over held. Times are monotonic, in s."""

    version: int
    leased_until: float
    """Until when no other worker can have it: a part of its first lease."""
    sure_until: float
    unconfirmed: list[asyncio.Future[bytes]] = []
    """The answers to the creations of its steps that were not checked yet."""


class Ask(Protocol):
    """Asks a server."""

    def __call__(self, request: str, after: asyncio.Future[bytes] | None = None) -> asyncio.Future[bytes]:
        """Return the future answer. It raises ConnectorError if the server cannot be reached.

        A request that comes `after` another one takes effect after it.
        """


class RequestTaskPorts:
    """The tasks of one worker."""

    def __init__(self, ask: Ask, lease_s: float, now: Callable[[], int]) -> None:
        """`now` returns the server's time in ms since the epoch."""
        self._ask_server = ask
        self._lease_s = lease_s
        self._now = now
        self._held: dict[str, HeldTask] = {}
        self._holds: dict[str, _Hold] = {}

    def give(self, held: HeldTask, asked_at: float) -> None:
        """Keep a task that the server handed over already acquired, until the SDK asks for it.

        `asked_at` is when it was requested (monotonic, s), which is before its lease began.
        """
        self._held[held.task.id] = held
        leased_until = asked_at + self._lease_s * SURE_OF_LEASE
        sure_until = min(asked_at + SURE_S, leased_until)
        self._holds[held.task.id] = _Hold(held.task.version, leased_until, sure_until)

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
        answer = await self._ask("task.fulfill", asked)
        self._holds.pop(id, None)
        return _promise.decode(answer.data).promise

    async def task_suspend(
        self, id: str, version: int, actions: list[PromiseRegisterCallbackData]
    ) -> SuspendResult:
        """Suspend a task until something it awaits has settled."""
        awaited = [_inner("promise.register_callback", action) for action in actions]
        answer = await self._ask("task.suspend", {"id": id, "version": version, "actions": awaited})
        if answer.head.status == REDIRECT:
            return Redirect(preload=_preload.decode(answer.data).preload)
        self._holds.pop(id, None)
        return "suspended"

    async def task_release(self, id: str, version: int) -> None:
        """Release a task."""
        self._holds.pop(id, None)
        await self._ask("task.release", {"id": id, "version": version})

    # resonate.send.PromiseFencing

    async def task_fence_create(self, id: str, version: int, req: PromiseCreateReq) -> TaskFenceResult:
        """Create a promise, while the task is held.

        A timer gets no target, although `ctx.sleep` gives it one. Nothing runs when it ends, and its task
        would be offered, taken and dropped until then.
        """
        if req.tags.get(TIMER_TAG) == "true" and TARGET_TAG in req.tags:
            tags = {name: text for name, text in req.tags.items() if name != TARGET_TAG}
            req = msgspec.structs.replace(req, tags=tags)
        if (hold := self._holds.get(id)) is not None and self._is_sure(hold, version, req):
            return self._begun(hold, id, version, req)
        return await self._fence(id, version, _inner("promise.create", req))

    async def task_fence_settle(self, id: str, version: int, req: PromiseSettleReq) -> TaskFenceResult:
        """Settle a promise, while the task is held."""
        return await self._fence(id, version, _inner("promise.settle", req))

    def _is_sure(self, hold: _Hold, version: int, req: PromiseCreateReq) -> bool:
        """Whether the answer to the creation of a promise is known in advance: it is a new step."""
        return (
            req.tags.get(SCOPE_TAG) == "local"
            and version == hold.version
            and time.monotonic() < hold.sure_until
            and req.timeout_at - self._now() > NEAR_MS
        )

    def _begun(self, hold: _Hold, id: str, version: int, req: PromiseCreateReq) -> TaskFenceResult:
        """Request the creation of a step's promise, and return the answer in advance."""
        asked = {"id": id, "version": version, "action": _inner("promise.create", req)}
        answering = self._ask_server(_text_of("task.fence", asked), _last(hold.unconfirmed))
        answering.add_done_callback(_looked_at)
        hold.unconfirmed.append(answering)
        record = PromiseRecord(
            id=req.id,
            state="pending",
            param=req.param,
            value=Value(headers={}),
            tags=req.tags,
            timeout_at=req.timeout_at,
            created_at=self._now(),
            settled_at=None,
        )
        return TaskFenceResult(promise=record, preload=[])

    async def _fence(self, id: str, version: int, action: dict[str, Any]) -> TaskFenceResult:
        answer = await self._ask("task.fence", {"id": id, "version": version, "action": action})
        done = _fence.decode(answer.data).action
        _raise_for(done)
        return TaskFenceResult(promise=_promise.decode(done.data).promise, preload=[])

    async def _ask(self, kind: str, data: dict[str, Any]) -> _Answer:
        """Return the answer. Raises ServerError, also that of an earlier creation; ConnectorError.

        After a refusal by the server, the task is no longer known to be held.
        """
        hold = self._holds.get(data["id"])
        asked_at = time.monotonic()
        before: list[asyncio.Future[bytes]] = []
        if hold is not None:
            before, hold.unconfirmed = hold.unconfirmed, []
        try:
            answer = _answer.decode(await self._ask_server(_text_of(kind, data), _last(before)))
            for each in before:
                created = _answer.decode(await each)
                _raise_for(created)
                _raise_for(_fence.decode(created.data).action)
            _raise_for(answer)
        except ServerError:
            self._holds.pop(data["id"], None)
            raise
        if hold is not None:
            hold.sure_until = min(asked_at + SURE_S, hold.leased_until)
        return answer


def _text_of(kind: str, data: dict[str, Any]) -> str:
    """Return a request as JSON."""
    head = {"corrId": "", "version": PROTOCOL_VERSION}
    return _encode({"kind": kind, "head": head, "data": data}).decode()


def _last(futures: list[asyncio.Future[bytes]]) -> asyncio.Future[bytes] | None:
    return futures[-1] if futures else None


def _looked_at(answering: asyncio.Future[bytes]) -> None:
    """Mark an error as handled: the next request for the task raises it, if there is one."""
    if not answering.cancelled():
        answering.exception()


def _raise_for(answer: _Answer) -> None:
    """Raise ServerError for an answer that is an error."""
    if answer.head.status >= ERROR:
        raise ServerError(answer.head.status, _text.decode(answer.data))


def _inner(kind: str, data: object) -> dict[str, Any]:
    """Return a request inside another one."""
    return {"kind": kind, "head": {}, "data": data}
