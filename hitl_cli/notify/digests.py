"""`hitl.digest`: one message to one person with all that came for them within a window of time."""

# Annotations are evaluated here: see telling.

from datetime import timedelta
from functools import partial

from resonate.context import Context

from hitl_cli.notify.composing import compose_digest
from hitl_cli.notify.gathering import Ended, gathered_in
from hitl_cli.notify.notices import Notice
from hitl_cli.notify.telling import Teller, clock, in_rounds, step
from hitl_cli.notify.told import Try

MARGIN = timedelta(seconds=5)
"""How long after its window a digest is put together: what was kept at its very end is still on its way."""


async def digest(ctx: Context, who: str, ends_at: int) -> Ended:
    """Wait for the end of the window (ms since the epoch), and say all that came in it and still matters."""
    await ctx.sleep(timedelta(milliseconds=max(ends_at - clock(ctx), 0)) + MARGIN)
    notices = await step(ctx).run(collect, ctx.info.id)
    ids = tuple(notice.id for notice in notices)
    if not notices:
        return Ended()
    last = await in_rounds(ctx, lambda place: step(ctx, once=True).run(send_digest, who, notices, place))
    return Ended(notices=ids, last=last)


async def collect(ctx: Context, digest: str) -> tuple[Notice, ...]:
    """Return what was kept for a digest."""
    return await ctx.get_dependency(Teller).ask(partial(gathered_in, digest=digest))


async def send_digest(ctx: Context, who: str, notices: tuple[Notice, ...], place: int) -> Try:
    """Say it to somebody at their nth address."""
    teller = ctx.get_dependency(Teller)
    id = ctx.info.parent_id
    say = partial(compose_digest, id=id, who=who, notices=notices, reach=teller.reach)
    return await teller.send(say, who, place, clock(ctx))
