"""What the TypeScript workers call in Python, and what calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resonate.retry import Never

from hitl_cli.authoring.workflow import workflow

if TYPE_CHECKING:
    from resonate.context import Context
    from resonate.resonate import Resonate


def register(resonate: Resonate) -> None:
    """Register what is not to be tried again when it fails."""
    resonate.register(add, retry_policy=Never())


async def add(_ctx: Context, one: int, other: int) -> int:
    """Return a sum. Raises ValueError where there is none."""
    if other < 0:
        raise ValueError("only upwards")
    return one + other


@workflow
async def ask(ctx: Context) -> Any:
    """Return what a person answers."""
    return await ctx.promise()


@workflow
async def call(ctx: Context, name: str, target: str, *args: Any) -> Any:
    """Call another workflow, in whichever group and language, and return what it gave or how it failed."""
    try:
        return {"got": await ctx.options(target=target).rpc(name, *args)}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the caller looks at
        return {"failed": str(error)}
