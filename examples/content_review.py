"""Publish a text after review. The reviewer may ask for any number of revisions.

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
    """Ask about each draft until one is published or dropped."""
    for version in range(1, 100):
        decision = await ask(
            ctx,
            f"Publish draft {version}?",
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


def revise(_ctx: Context, draft: str, comment: str | None) -> str:
    """Return the next draft. Replace this with an author or a model; here the comment is the new text."""
    return comment or draft


def publish(_ctx: Context, draft: str) -> str:
    """Publish the text. Only an approval gets here."""
    return f"published: {draft}"
