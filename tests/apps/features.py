"""One workflow for each feature of the SDK."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from resonate.context import Context
from resonate.resonate import Resonate
from resonate.retry import Constant

from hitl_cli.authoring.workflow import workflow

ATTEMPTS = "ATTEMPTS"
"""The variable that names the file in which attempts are counted, a character each."""

GATE = "GATE"
"""The variable that names the file that ends what waits at the gate."""

AT_ONCE = Constant(max_retries=2, delay=0)


def register(resonate: Resonate) -> None:
    resonate.register(third_time_lucky, retry_policy=AT_ONCE)


def add(_ctx: Context, a: int, b: int) -> int:
    return a + b


async def add_later(_ctx: Context, a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


@workflow
async def runs(ctx: Context, a: int, b: int) -> list[int]:
    return [await ctx.run(add, a, b), await ctx.run(add_later, a, b)]


@workflow
async def double(ctx: Context, x: int) -> int:
    return await ctx.run(add, x, x)


@workflow
async def calls(ctx: Context, x: int) -> int:
    return await ctx.rpc(double, x)


@workflow
def where(_ctx: Context) -> int:
    return os.getpid()


def _opened() -> bool:
    return Path(os.environ[GATE]).exists()


async def wait_at_gate(_ctx: Context) -> int:
    while not _opened():  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.01)
    return os.getpid()


@workflow
async def where_at_the_gate(ctx: Context) -> int:
    """Return who ran it, once the gate is open: until then it takes up a place of its worker."""
    return await ctx.run(wait_at_gate)


@workflow
async def calls_group(ctx: Context, group: str) -> list[int]:
    here: int = await ctx.rpc("where")
    there: int = await ctx.options(target=group).rpc("where")
    return [here, there]


@workflow
async def sleeps(ctx: Context, seconds: float) -> str:
    await ctx.sleep(timedelta(seconds=seconds))
    return "awake"


@workflow
async def asks_two(ctx: Context) -> list[Any]:
    year = timedelta(days=365)
    return list(await asyncio.gather(ctx.promise(timeout=year), ctx.promise(timeout=year)))


@workflow
async def asks(ctx: Context) -> Any:
    return await ctx.promise(timeout=timedelta(days=365))


@workflow
async def hears_no(ctx: Context) -> list[str]:
    """Return a rejection as a workflow sees it."""
    try:
        await ctx.promise(timeout=timedelta(days=365))
    except Exception as error:  # noqa: BLE001 - its type is what is asked for
        return [type(error).__name__, str(error)]
    return []


@workflow
async def detaches(ctx: Context) -> str:
    """Start another workflow and end without waiting for it."""
    return await ctx.detached("asks")


async def meet(_ctx: Context, barrier: asyncio.Barrier) -> int:
    return await barrier.wait()


@workflow
async def meets(ctx: Context) -> list[int]:
    """Three children that can end only if all three are under way at once."""
    barrier = asyncio.Barrier(3)
    return sorted(await asyncio.gather(*(ctx.run(meet, barrier) for _ in range(3))))


def attempt(_ctx: Context) -> int:
    """Fail twice, then return how often it was tried."""
    path = Path(os.environ[ATTEMPTS])
    with path.open("a") as file:
        file.write("x")
    tried = path.stat().st_size
    if tried < 3:
        raise ConnectionError(f"attempt {tried} failed")
    return tried


def third_time_lucky(ctx: Context) -> int:
    return attempt(ctx)


@workflow
async def retries(ctx: Context) -> int:
    return await ctx.options(retry_policy=AT_ONCE).run(attempt)


@workflow
async def fails(ctx: Context, _run: str) -> None:
    await ctx.run(add, 1, 1)
    raise ValueError("there is no budget for it")


@workflow
async def counts(ctx: Context, steps: int) -> int:
    total = 0
    for _ in range(steps):
        total = await ctx.run(add, total, 1)
    return total
