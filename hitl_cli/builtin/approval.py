"""`approval`: wait until a person approves, then return the data of the approval."""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text again at each step
# (resonate/durable.py, _resolve_annotation), which costs more than the step itself.

from datetime import timedelta
from typing import Any

import msgspec
from resonate.context import Context

from hitl_cli.defaults import DEADLINE_MS
from hitl_cli.requests.question import Question
from hitl_cli.sdk import context as sdk


async def approval(ctx: Context, workflow_id: str = "", prompt: str = "") -> dict[str, Any]:
    """Ask for approval, wait for it, and return its data. A rejection fails the run with its reason.

    The default prompt asks to approve the run.
    """
    name = workflow_id or ctx.info.origin_id
    question = Question(prompt=prompt or f"Approve {name}?")
    tags = question.tags(key=None, workflow=ctx.info.func_name)
    await sdk.create_first(ctx, msgspec.to_builtins(question), tags, sdk.now(ctx) + DEADLINE_MS)
    data = await ctx.promise(timeout=timedelta(milliseconds=DEADLINE_MS))
    return {"message": f"workflow {name} completed", "data": data}
