"""`hitl.digest`: sends a person one message with all notifications of a time window."""

# Annotations are evaluated here: see deliver.py.

from datetime import timedelta

from resonate.context import Context

from hitl_cli.notify.compose import compose_digest
from hitl_cli.notify.deliver import Notifier, in_rounds, step
from hitl_cli.notify.digest_store import DigestEnd, gathered_in
from hitl_cli.notify.status import DeliveryAttempt
from hitl_cli.requests.notification import Notification
from hitl_cli.sdk import context as sdk

MARGIN = timedelta(seconds=5)
"""A digest is composed this long after its window, because the last notifications may still be arriving."""


async def digest(ctx: Context, who: str, ends_at: int) -> DigestEnd:
    """Wait for the end of the window (ms since the epoch), and send the notifications that still matter."""
    await ctx.sleep(timedelta(milliseconds=max(ends_at - sdk.now(ctx), 0)) + MARGIN)
    notices = await step(ctx).run(collect, ctx.info.id)
    ids = tuple(notice.id for notice in notices)
    if not notices:
        return DigestEnd()
    last = await in_rounds(ctx, lambda place: step(ctx, once=True).run(send_digest, who, notices, place))
    return DigestEnd(notices=ids, last=last)


async def collect(ctx: Context, digest: str) -> tuple[Notification, ...]:
    """Return the notifications in a digest."""
    return await ctx.get_dependency(Notifier).bridge.run(gathered_in, digest)


async def send_digest(
    ctx: Context, who: str, notices: tuple[Notification, ...], place: int
) -> DeliveryAttempt:
    """Send a digest to a person's nth address."""
    teller = ctx.get_dependency(Notifier)
    id = ctx.info.parent_id
    composing = teller.bridge.run(compose_digest, id=id, who=who, notices=notices, reach=teller.reach)
    return await teller.send(composing, who, place, sdk.now(ctx))
