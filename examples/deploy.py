"""Ship a version once somebody has said yes.

hitl worker --app examples/deploy.py
hitl start release-1.4.2 1.4.2 --workflow deploy
hitl approve release-1.4.2
"""

from datetime import timedelta

from resonate.context import Context

from hitl_cli import workflow


@workflow
async def deploy(ctx: Context, version: str) -> str:
    """Test, ask, ship."""
    await ctx.run(test, version)
    approval = await ctx.promise(timeout=timedelta(days=30))  # waits for a person; nothing runs meanwhile
    return await ctx.run(ship, version, approval)


def test(_ctx: Context, version: str) -> None:
    """Do something slow. It is not done again when the workflow wakes up."""
    print(f"testing {version}", flush=True)


def ship(_ctx: Context, version: str, approval: object) -> str:
    """Do something that needed a yes."""
    return f"{version} is out, approved with {approval}"
