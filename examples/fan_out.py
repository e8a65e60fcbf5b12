"""Ask several people at once, and go on when all have answered.

hitl worker --app examples/fan_out.py
hitl start review-1 '["legal", "security"]' --workflow review
hitl approve review-1:1 --as legal
hitl approve review-1:2 --as security
"""

import asyncio
from datetime import timedelta
from typing import Any

from resonate.context import Context

from hitl_cli import workflow


@workflow
async def review(ctx: Context, teams: list[str]) -> dict[str, Any]:
    """Return each team's answer; one rejection fails the run with its reason."""
    questions = [ctx.promise(timeout=timedelta(days=7)) for _ in teams]
    for team, question in zip(teams, questions, strict=True):
        await ctx.run(ask, team, await question.id())
    answers = await asyncio.gather(*questions)
    return dict(zip(teams, answers, strict=True))


def ask(_ctx: Context, team: str, promise_id: str) -> None:
    """Tell a team what to answer. This is where a message would be sent."""
    print(f"{team}: hitl approve {promise_id}", flush=True)
