"""`approval`: block until a person approves, then return what they gave."""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text anew at each step
# (resonate/durable.py, _resolve_annotation), which costs more than the step itself.

from datetime import timedelta
from typing import Any

from resonate.context import Context

from hitl_cli.defaults import DEADLINE_MS
from hitl_cli.format.shell import command


async def approval(ctx: Context, workflow_id: str) -> dict[str, Any]:
    """Ask for approval, wait for it, and return it. A rejection fails the run with its reason."""
    blocked = ctx.promise(timeout=timedelta(milliseconds=DEADLINE_MS))
    await ctx.run(tell_person, workflow_id, await blocked.id())
    data = await blocked
    print(f"workflow {workflow_id} unblocked, promise resolved", flush=True)
    return {"message": f"workflow {workflow_id} completed", "data": data}


def tell_person(_ctx: Context, workflow_id: str, promise_id: str) -> None:
    """Print how to answer. A durable step: it is not done again when the workflow resumes."""
    print(f"promise {promise_id} waits for an answer: {command('approve', [promise_id])}", flush=True)
    print(f"workflow {workflow_id} blocked, waiting on human interaction", flush=True)
