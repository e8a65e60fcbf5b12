"""A dry run of a recorded run with the current code: no step runs, nothing is written.

The SDK executes the workflow's function as a worker does, with ports that only record. It stops at the first
step that has not run, because what follows depends on its result.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec
from resonate.error import PlatformError, ResonateError
from resonate.send import TaskFenceResult
from resonate.types import PromiseCreateReq, PromiseRecord, PromiseSettleReq, Value

from hitl_cli.client.tags import SCOPE_TAG
from hitl_cli.client.wire import Json, decode, is_blocking
from hitl_cli.errors import QuestionChanged
from hitl_cli.sdk.replay import CheckedEffects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.wire import Promise
    from hitl_cli.sdk.resonate_client import Registering

logger = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""How long a dry run may take. It takes longer only if it waits for something that is not a step."""

TURNS = 100
"""Turns of the event loop after which the tasks of a dry run have ended: none of them waits for anything."""


class NotRun(ResonateError):
    """A step that has not run yet."""


class Rehearsed(msgspec.Struct):
    """What a run would do: `put` has the data of each request to create, `seen` the ids that it read.

    `calls` are the recorded calls for which the code now calls another function, and that function. `failed`
    is why a changed request would fail the run; `broken_off`: it stopped at a step that has not run yet.
    """

    put: dict[str, Json] = {}
    seen: set[str] = set()
    calls: dict[str, str] = {}
    failed: str | None = None
    broken_off: bool = False


class _Ports:
    """The SDK's ports to the server (resonate/send.py, PromiseFencing), which only record."""

    def __init__(self, known: dict[str, PromiseRecord], came: Rehearsed, now: int) -> None:
        self._known = known
        self._came = came
        self._now = now

    async def task_fence_create(self, id: str, version: int, req: PromiseCreateReq) -> TaskFenceResult:  # noqa: ARG002
        record = PromiseRecord(
            id=req.id,
            state="pending",
            param=req.param,
            tags=req.tags,
            timeout_at=req.timeout_at,
            created_at=self._now,
        )
        self._known[req.id] = record
        if is_blocking(req.tags):
            self._came.put[req.id] = decode(req.param)
        return TaskFenceResult(promise=record, preload=[])

    async def task_fence_settle(self, id: str, version: int, req: PromiseSettleReq) -> TaskFenceResult:  # noqa: ARG002
        record = msgspec.structs.replace(
            self._known[req.id], state=req.state, value=req.value, settled_at=self._now
        )
        self._known[req.id] = record
        return TaskFenceResult(promise=record, preload=[])


class _RehearsedEffects(CheckedEffects):
    """The durable operations of a dry run."""

    rehearses = True
    came: Rehearsed

    async def create_promise(self, req: PromiseCreateReq) -> PromiseRecord:
        """Create a promise, or return the existing one. Raises PlatformError if a step has not run yet."""
        self.came.seen.add(req.id)
        record = self.cache.get(req.id)
        is_open = record is None or record.state == "pending"
        if is_open and req.tags.get(SCOPE_TAG) == "local" and req.id not in self.asks | self.anew:
            raise PlatformError([NotRun()])
        return await super().create_promise(req)


async def rehearse(resonate: Registering, root: Promise, below: Sequence[Promise], now: int) -> Rehearsed:
    """Return what a run would do now. `root` and `below` are all of its promises."""
    came = Rehearsed()
    known = {promise.id: _record(promise) for promise in below}
    core: Any = resonate._core
    effects: Any = _RehearsedEffects(_Ports(known, came, now), core.codec, root.id, 0, list(known.values()))
    effects.came = came
    others = asyncio.all_tasks()
    try:
        async with asyncio.timeout(PATIENCE_S):
            outcome = await core.execute_until_blocked_inner(
                core.codec.decode_promise(_record(root)), effects
            )
    except (Exception, PlatformError) as cause:  # noqa: BLE001 - an app may raise anything
        if not isinstance(cause, PlatformError):
            logger.warning("run %s cannot be checked: %r", root.id, cause)
        came.broken_off = True
        await _let_end(others)
        return came
    finally:
        came.calls = effects.changed
    if getattr(outcome, "state", None) == "rejected":
        error = core.codec.decode_error(outcome.value)
        came.failed = str(error) if isinstance(error, QuestionChanged) else None
    return came


async def _let_end(others: set[asyncio.Task[Any]]) -> None:
    """Cancel the tasks of a stopped dry run, and wait until they have ended."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - others
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _record(promise: Promise) -> PromiseRecord:
    """Return a promise as the SDK's record."""
    param, value = promise.param, promise.value
    return PromiseRecord(
        id=promise.id,
        state=promise.state,
        param=Value() if param is None else Value(headers=param.headers, data=param.data),
        value=Value() if value is None else Value(headers=value.headers, data=value.data),
        tags=promise.tags,
        timeout_at=promise.timeout_at,
        created_at=promise.created_at,
        settled_at=promise.settled_at,
    )
