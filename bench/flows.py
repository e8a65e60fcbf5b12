"""The measured workflows: they wait for a decision, then run one step."""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text anew at each step.

from datetime import timedelta
from typing import Any

from resonate.context import Context

from hitl_cli import ask
from hitl_cli.authoring.workflow import workflow

DEADLINE = timedelta(days=1)


@workflow
async def decided(ctx: Context, _id: str) -> Any:
    """Wait for a decision, and return the result of the step after it."""
    return await ctx.run(step, await ctx.promise(timeout=DEADLINE))


@workflow
async def asked(ctx: Context, _id: str) -> Any:
    """Do the same by `ask`."""
    decision = await ask(ctx, "Shall it go on?", to=["reviewer"], deadline=DEADLINE)
    return await ctx.run(step, decision.data)


@workflow
async def reminded(ctx: Context, _id: str) -> Any:
    """Ask, and remind after an hour."""
    return (await ask(ctx, "Shall it go on?", to=["reviewer"], remind="1h", deadline=DEADLINE)).data


def step(_ctx: Context, decision: Any) -> Any:
    """Return the decision."""
    return decision
