"""Publish a text once a reviewer says so. They may also want it revised, as often as it takes.

hitl worker --app examples/content_review.py
hitl start post-1 "Hello wrold" --workflow content
hitl answer post-1 revise --comment "Hello world" --as reviewer
hitl answer post-1 publish --as reviewer
hitl wait post-1
"""

from resonate.context import Context

from hitl_cli import ask
from hitl_cli.authoring.workflow import workflow


@workflow
async def content(ctx: Context, draft: str) -> str:
    """Ask again about each draft, until it is published or dropped."""
    for version in range(1, 100):
        decision = await ask(
            ctx,
            f"What about draft {version}?",
            details={"draft": draft},
            choices=["publish", "revise", "drop"],
            to="reviewer",
            deadline="7d",
            on_deadline="drop",
        )
        match decision.choice:
            case "publish":
                return await ctx.run(publish, draft)
            case "revise":
                draft = await ctx.run(revise, draft, decision.comment)
            case _:
                break
    return "dropped"


def revise(_ctx: Context, draft: str, remark: str | None) -> str:
    """Return the next draft. An author, or a model, would be asked here; this one takes remarks literally."""
    return remark or draft


def publish(_ctx: Context, draft: str) -> str:
    """Do something that cannot be taken back."""
    return f"published: {draft}"
