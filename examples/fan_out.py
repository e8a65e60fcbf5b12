"""Ask several teams at once, and continue when all have answered.

hitl worker --app examples/fan_out.py
hitl start contract-1 '["legal", "security"]' --workflow review
hitl approve contract-1-legal --as legal
hitl reject contract-1-security --as security --reason "no encryption"
hitl wait contract-1
"""

from resonate.context import Context

from hitl_cli import ask, ask_all
from hitl_cli.authoring.workflow import workflow


@workflow
async def review(ctx: Context, teams: list[str]) -> dict[str, str]:
    """Return the answer of each team."""
    run = ctx.info.id
    questions = [ask(ctx, f"Does {team} approve {run}?", to=team, key=f"{run}-{team}") for team in teams]
    decisions = await ask_all(*questions)
    said = ["yes" if decision.approved else f"no: {decision.reason}" for decision in decisions]
    return dict(zip(teams, said, strict=True))
