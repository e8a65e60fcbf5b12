"""Additions to the SDK's Context for workflows.

The context of resonate-sdk cannot return the current time or create a promise with data and tags.
Its own calls take both from `_state` (resonate/context.py): `clock`, and `effects` (resonate/effects.py),
which creates and settles promises only while the task is held.
"""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from resonate.error import PlatformError, ResonateError
from resonate.ids import join_id
from resonate.types import PromiseCreateReq, PromiseSettleReq, Value

from hitl_cli.client.tags import PARENT_TAG, lineage
from hitl_cli.client.wire import EXTERNAL
from hitl_cli.errors import Unreachable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Mapping

    from resonate.context import Context, ResonateFuture
    from resonate.types import PromiseRecord

    from hitl_cli.engine.records import Value as WireValue


class LeftToOthers(ResonateError):
    """A run that another worker can continue, and this one cannot."""


class ServerAway(ResonateError):
    """The server cannot be read, so this attempt ends. The run continues in the next one."""


async def read[T](reading: Awaitable[T]) -> T:
    """Return the result of a read from the server. If that is unreachable, no step and no run fails."""
    try:
        return await reading
    except Unreachable as error:
        raise PlatformError([ServerAway(str(error))]) from error


def now(ctx: Context) -> int:
    """Return the server's current time in ms since the epoch (UTC)."""
    return ctx._state.clock()


def is_rehearsal(ctx: Context) -> bool:
    """Whether this is a dry run (hitl_cli/sdk/rehearsal.py), which must change nothing on the server."""
    return getattr(ctx._state.effects, "rehearses", False)


def calling_module() -> str:
    """Return the module of the code that called the caller of this.

    No frame is kept: it would refer to itself, and keep all that the run refers to until it is collected.
    """
    return str(sys._getframe(2).f_globals.get("__name__", ""))


def first_id(step: str) -> str:
    """Return the id of a step's first promise, which is for its first await, run or sleep."""
    return join_id(step, "1")


async def create_first(ctx: Context, data: Any, tags: Mapping[str, str], timeout_at: int) -> PromiseRecord:
    """Create the promise that the first `ctx.promise()` of this step finds and awaits, or return it.

    `data` is any JSON, `timeout_at` in ms since the epoch (UTC); the promise never outlives the step.
    """
    id = first_id(ctx.info.id)
    place = lineage(id, scope="global", origin=ctx.info.origin_id, parent=ctx.info.id)
    return await create(ctx, id, data, {**tags, **place, **EXTERNAL}, min(timeout_at, ctx.info.timeout_at))


async def create(ctx: Context, id: str, data: Any, tags: Mapping[str, str], timeout_at: int) -> PromiseRecord:
    """Create a promise that no call of the SDK finds, or return the existing one.

    `data` is any JSON, `timeout_at` in ms since the epoch (UTC).
    """
    request = PromiseCreateReq(id=id, timeout_at=timeout_at, param=Value(data=data), tags=dict(tags))
    return await ctx._state.effects.create_promise(request)


async def create_record(ctx: Context, id: str, data: Any, tags: Mapping[str, str]) -> PromiseRecord:
    """Create a record, which is settled at once so that nothing waits for it, or return the existing one."""
    record = await create(ctx, id, data, tags, ctx.info.timeout_at)
    if record.state == "pending":
        await ctx._state.effects.settle_promise(id, None)
    return record


async def cancel(ctx: Context, id: str, value: WireValue) -> PromiseRecord:
    """Cancel a promise of this run, and return it: canceled, or settled before."""
    effects: Any = ctx._state.effects
    sent = Value(headers=value.headers, data=value.data)
    request = PromiseSettleReq(id=id, state="rejected_canceled", value=sent)
    try:
        done = await effects.sender.task_fence_settle(effects.task_id, effects.task_version, request)
        settled: PromiseRecord = effects.codec.decode_promise(done.promise)
    except ResonateError as error:
        raise PlatformError([error]) from error
    effects.cache[id] = settled
    return settled


async def settle_children(ctx: Context, *, but: str | None = None) -> None:
    """Resolve the pending promises of this step: a timer, or a step whose worker died."""
    effects = ctx._state.effects
    for promise in list(getattr(effects, "cache", {}).values()):
        if promise.tags.get(PARENT_TAG) == ctx.info.id and promise.state == "pending" and promise.id != but:
            await effects.settle_promise(promise.id, None)


def found(ctx: Context, id: str) -> PromiseRecord | None:
    """Return a promise of this run, if it is known without asking the server."""
    record: PromiseRecord | None = getattr(ctx._state.effects, "cache", {}).get(id)
    return record


def next_id(ctx: Context) -> str:
    """Take the id that the next call of the SDK would give to its promise.

    From here on the function is not retried, as after a call of the SDK (`invoke_with_retry`).
    """
    ctx._state.workflow = True
    return ctx._next_id()


def named(ctx: Context, id: str) -> Context:
    """Return the context for one call, whose promise gets this id."""
    one = copy.copy(ctx)
    one._next_id = lambda: id  # type: ignore[method-assign]
    return one


def beside(id: str) -> str:
    """Return the id of a promise's replacement. It cannot equal an id of the SDK, which ends in a number."""
    origin, _, rest = id.partition(":")
    above, dot, segment = rest.rpartition(".")
    return f"{origin}:{above}{dot}r{segment}"


def leave_to_others(why: str) -> NoReturn:
    """Release the task, so that another worker takes it."""
    raise PlatformError([LeftToOthers(why)])


def on_end(step: ResonateFuture[Any], ended: Callable[[asyncio.Task[Any]], None]) -> None:
    """Call `ended` with the asyncio task of a step, once this attempt at it is over."""
    step._task.add_done_callback(ended)
