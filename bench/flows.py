"""The workflow that is measured: blocks until somebody decides, then takes one step."""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text anew at each step.

from datetime import timedelta
from typing import Any

from resonate.context import Context

from hitl_cli import workflow

DEADLINE = timedelta(days=1)


@workflow
async def decided(ctx: Context, _id: str) -> Any:
    """Wait for a decision, and return what the step after it made of it."""
    return await ctx.run(step, await ctx.promise(timeout=DEADLINE))


def step(_ctx: Context, decision: Any) -> Any:
    """Return the decision."""
    return decision
