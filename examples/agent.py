"""An agent that cleans up a folder, and asks before it deletes anything.

hitl worker --app examples/agent.py
hitl start clean-up-1 attic --workflow agent
hitl approve clean-up-1
hitl reject clean-up-1 --reason "these are the only ones"
hitl wait clean-up-1
"""

from pathlib import Path

from msgspec import Struct
from resonate.context import Context

from hitl_cli import ask
from hitl_cli.authoring.workflow import workflow


class Call(Struct, frozen=True):
    """A tool that the agent wants to use."""

    tool: str
    path: str


@workflow
async def agent(ctx: Context, folder: str) -> list[str]:
    """Run the calls that the model chooses, one at a time, and give it each result."""
    seen: list[str] = []
    while (call := await ctx.run(think, folder, seen)) is not None:
        if call.tool in DESTRUCTIVE:
            decision = await ask(ctx, f"May the agent {call.tool} `{call.path}`?", details={"so far": seen})
            if not decision.approved:
                seen.append(f"not allowed to {call.tool} {call.path}: {decision.reason}")
                continue
        seen.append(await ctx.run(TOOLS[call.tool], call.path))
    return seen


def think(_ctx: Context, folder: str, seen: list[str]) -> Call | None:
    """Return the next call. Replace this fixed plan with a call to a model."""
    plan = [
        Call("list", folder),
        Call("delete", f"{folder}/cache.tmp"),
        Call("delete", f"{folder}/photo.jpg"),
    ]
    return plan[len(seen)] if len(seen) < len(plan) else None


def list_files(_ctx: Context, path: str) -> str:
    """Return the names of the files in a folder."""
    return "found " + ", ".join(sorted(file.name for file in Path(path).iterdir()))


def delete(_ctx: Context, path: str) -> str:
    """Delete a file if it exists. A step can run twice: a worker may die before its result is saved."""
    Path(path).unlink(missing_ok=True)
    return f"deleted {path}"


TOOLS = {"list": list_files, "delete": delete}
DESTRUCTIVE = {"delete"}
