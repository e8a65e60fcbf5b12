"""An example of a workflow: replace it with yours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli import ask, workflow

if TYPE_CHECKING:
    from resonate.context import Context


@workflow
async def release(ctx: Context, version: str) -> str:
    """Ask somebody of ops before a version is released."""
    decision = await ask(ctx, f"Release **{version}**?", to="group:ops", deadline="2d")
    decision.require()
    return f"{version} released"
