"""A workflow that says when its first step after the answer ran."""

import time
from datetime import timedelta

from resonate.context import Context

from hitl_cli import workflow


@workflow
async def stepping(ctx: Context, _id: str) -> int:
    """Return the instant of the step, ns since the epoch."""
    await ctx.promise(timeout=timedelta(days=1))
    return await ctx.run(step)


def step(_ctx: Context) -> int:
    """Return the present, ns since the epoch."""
    return time.time_ns()
