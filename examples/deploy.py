"""Ship a version after a person has approved it.

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
    """Test the version, ask for approval, and ship it."""
    await ctx.run(test, version)
    # Waits for a person for up to 30 days. No process needs to run in the meantime.
    decision = await ask(ctx, f"Ship {version}?", deadline="30d")
    decision.require()
    return await ctx.run(ship, version, decision.by)


def test(_ctx: Context, version: str) -> None:
    """Run the tests. The result is saved: the step does not run again when the workflow resumes."""
    print(f"testing {version}", flush=True)


def ship(_ctx: Context, version: str, by: str | None) -> str:
    """Ship the version. Only an approval gets here."""
    return f"{version} is out, approved by {by}"
