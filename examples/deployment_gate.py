"""Deploy exactly the file that was approved: the request holds its SHA-256.

hitl worker --app examples/deployment_gate.py
hitl start gate-7 app.tar --workflow gate
hitl approve gate-7 --as ops
hitl wait gate-7
"""

from pathlib import Path

from resonate.context import Context

from hitl_cli import ask, digest_of
from hitl_cli.authoring.workflow import workflow


@workflow
async def gate(ctx: Context, artifact: str) -> str:
    """Ask about a file, and check that it has not changed before it is deployed."""
    digest = await ctx.run(digest_of, artifact)  # a step, so that the file is read once
    decision = await ask(
        ctx,
        f"Deploy `{digest.file}` to production?",
        details={"bytes": await ctx.run(size, artifact)},
        digest=digest,
        to=["ops"],
        deadline="2d",
        remind="4h",
        escalate={"8h": ["lead"]},
    )
    decision.require()
    if await ctx.run(digest_of, artifact) != digest:
        raise ValueError(f"{digest.file} differs from the file that {decision.by} approved")
    return await ctx.run(deploy, artifact)


def size(_ctx: Context, artifact: str) -> int:
    """Return the size of a file."""
    return Path(artifact).stat().st_size


def deploy(_ctx: Context, artifact: str) -> str:
    """Deploy the file. Only an approval gets here."""
    return f"{artifact} is in production"
