"""Ship a version once somebody has said yes.

hitl worker --app examples/deploy.py
hitl start release-1.4.2 1.4.2 --workflow deploy
hitl approve release-1.4.2 --comment "after lunch"
hitl wait release-1.4.2
"""

from resonate.context import Context

from hitl_cli import ask
from hitl_cli.authoring.workflow import workflow


@workflow
async def deploy(ctx: Context, version: str) -> str:
    """Test, ask, ship."""
    await ctx.run(test, version)
    decision = await ask(
        ctx, f"Ship {version}?", deadline="30d"
    )  # waits for a person; nothing runs meanwhile
    decision.require()
    return await ctx.run(ship, version, decision.by)


def test(_ctx: Context, version: str) -> None:
    """Do something slow. It is not done again when the workflow wakes up."""
    print(f"testing {version}", flush=True)


def ship(_ctx: Context, version: str, by: str | None) -> str:
    """Do something that needed a yes."""
    return f"{version} is out, approved by {by}"
