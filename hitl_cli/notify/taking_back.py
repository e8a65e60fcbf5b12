"""`hitl.take-back`: cancels the requests and calls that a function has left pending when it ended.

Open requests are canceled, and their assignees are notified. A call of another workflow that is waiting for
people is canceled with everything below it. Any other call continues, and is checked again later.
"""

# Annotations are evaluated here, not kept as text; see deliver.py.

import asyncio
import re
from datetime import timedelta

from msgspec import Struct
from resonate.context import Context

from hitl_cli.client.pool import ClientPool
from hitl_cli.client.protocol import Client, get_promise, search, send_all
from hitl_cli.client.tags import ORIGIN_TAG, SCOPE_TAG, TAKE_BACK_SEGMENT, belongs_to_notification
from hitl_cli.client.wire import Audit, Promise, child_id, error_value, fresh_id
from hitl_cli.notify.deliver import tell_outcome
from hitl_cli.requests.question import question_of
from hitl_cli.runs.run import cancel_request

VIA_WORKFLOW = "workflow"
"""The `via` of such a cancellation in the audit record."""

AT_ONCE_S = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Pauses in memory before checking whether the function has ended, which happens within moments."""

LATER = timedelta(seconds=10)
"""The pause after that, doubled each time: its worker died, and another worker must finish the function."""

LATEST = timedelta(days=1)
"""The longest pause."""

_DETACHED = re.compile(r"d[0-9a-f]{16}(\.|$)")
"""The segment of a detached call's id after its run's. Such a call outlives its caller."""


class Canceled(Struct, frozen=True, kw_only=True):
    """The canceled requests; `is_all` says that nothing is left to cancel, now or later."""

    requests: tuple[Promise, ...] = ()
    is_all: bool


async def take_back(ctx: Context) -> int:
    """Cancel everything pending below this call's function. Returns the number of canceled requests."""
    function = ctx.info.id[: -len(TAKE_BACK_SEGMENT) - 1]
    taken = 0
    for pause_s in AT_ONCE_S:
        await asyncio.sleep(pause_s)
        found = await _cancel_and_notify(ctx, function)
        taken += len(found.requests)
        if found.is_all:
            return taken
    pause = LATER
    while not found.is_all:
        await ctx.sleep(pause)
        pause = min(pause * 2, LATEST)
        found = await _cancel_and_notify(ctx, function)
        taken += len(found.requests)
    return taken


async def _cancel_and_notify(ctx: Context, function: str) -> Canceled:
    """Cancel everything pending below a function, and notify the assignees."""
    found = await ctx.get_dependency(ClientPool).run(cancel_below, function)
    for promise in found.requests:
        question = question_of(promise)
        if question is not None:
            await tell_outcome(ctx, question, promise)
    return found


def cancel_below(client: Client, function: str) -> Canceled:
    """Cancel everything pending below a function that has ended."""
    ended = get_promise(client, function)
    if ended is None or ended.state == "pending":
        return Canceled(is_all=ended is None)
    below = [
        promise
        for promise in search(client, state="pending", tags={ORIGIN_TAG: ended.origin})
        if _is_below(promise.id, function) and not belongs_to_notification(promise.id)
    ]
    asked = [promise.id for promise in below if promise.is_blocking]
    going_on = [
        call.id
        for call in below
        if call.is_call and not call.is_timer and not any(_is_below(id, call.id) for id in asked)
    ]
    moot = [
        promise.id
        for promise in below
        if (promise.is_blocking or promise.is_call or promise.is_timer or _is_step(promise))
        and not any(promise.id == call or _is_below(promise.id, call) for call in going_on)
    ]
    audit = Audit(id=fresh_id(), via=VIA_WORKFLOW, at=client.now())
    value = error_value("the workflow ended without this answer", audit.headers())
    settled = send_all(client, [cancel_request(id, value) for id in moot])
    taken = tuple(each for each in settled if each.is_blocking and each.state == "rejected_canceled")
    return Canceled(requests=taken, is_all=not moot and not going_on)


def _is_step(promise: Promise) -> bool:
    """Whether a promise is a step of a function, and not a vote or a comment."""
    own = any(tag.startswith("hitl:") for tag in promise.tags)
    return promise.tags.get(SCOPE_TAG) == "local" and not own


def _is_below(id: str, ancestor: str) -> bool:
    """Whether a promise is below another one in the call tree, and not detached from it."""
    beginning = child_id(ancestor, "")
    return id.startswith(beginning) and not (":" not in ancestor and _DETACHED.match(id, len(beginning)))
