"""An app that asks two people at once."""

import asyncio
from datetime import timedelta
from typing import Any

from resonate.context import Context

from hitl_cli.authoring.workflow import workflow


@workflow
async def two_questions(ctx: Context, _id: str) -> list[Any]:
    """Return both answers."""
    questions = [ctx.promise(timeout=timedelta(days=1)) for _ in range(2)]
    return list(await asyncio.gather(*questions))
