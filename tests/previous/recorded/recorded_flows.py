"""The app of the recorded runs. It imports only names that are documented. Do not change it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct
from resonate.context import Context
from resonate.resonate import Resonate
from resonate.retry import Constant, Never

from hitl_cli import Rejected, ask, digest_of, workflow

CREW = "group:crew"
LATER = Constant(max_retries=1_000, delay=3_600)


class OverBudget(Rejected):
    """An exception of the app's own, with data of its own."""

    def __init__(self, amount: int) -> None:
        super().__init__(amount)
        self.amount = amount


class Rollout(Struct):
    percent: int = 100
    note: str = ""


def register(resonate: Resonate) -> None:
    resonate.register(demands, retry_policy=Never())


@workflow
async def asks(ctx: Context, options: dict[str, Any]) -> Any:
    """Ask with these options, and return the decision."""
    return await ask(ctx, **options)


@workflow
async def decides_together(ctx: Context, version: str) -> list[Any]:
    """Two people must choose, and say how far."""
    decision = await ask(
        ctx,
        f"Deploy **{version}**?",
        details={"version": version, "tests": [1, 2]},
        form=Rollout,
        choices=["ship", "hold"],
        approvals=2,
        to=CREW,
        tags={"team": "web"},
    )
    return [decision.choice, decision.data.percent, sorted(vote.by for vote in decision.votes)]


@workflow
async def asks_twice(ctx: Context) -> list[Any]:
    """Ask one thing after the other: the first answer is read again, as the form's type."""
    first = await ask(ctx, "How far?", form=Rollout)
    second = await ask(ctx, f"Sure, {first.data.percent} %?", key="second-thoughts", priority="high")
    return [first.data.percent, first.data.note, first.by, second.approved]


@workflow
async def sleeps(ctx: Context) -> list[str]:
    before = await ctx.run(says, "before")
    await ctx.sleep(timedelta(hours=8))
    return [before, await ctx.run(says, "after")]


def says(_ctx: Context, word: str) -> str:
    return word


@workflow
async def prints(ctx: Context) -> str:
    """A step that fails until the printer is on, tried again each hour."""
    return await ctx.options(retry_policy=LATER).run(print_it)


def print_it(_ctx: Context) -> str:
    if not Path("printer-is-on").exists():
        raise ConnectionError("the printer is off")
    return "printed"


@workflow
async def catches(ctx: Context) -> list[list[Any]]:
    """Catch what children raise, each by its class, and then ask and wait."""
    once = ctx.options(retry_policy=Never())
    caught: list[list[Any]] = []
    for raising in (
        lambda: once.run(demands, "In a child?"),
        lambda: ctx.rpc(demands, "In a run of its own?"),
        lambda: once.run(demands, "In time?"),
        lambda: once.run(spends, 700),
    ):
        try:
            await raising()
        except Rejected as no:
            caught.append([type(no).__name__, str(no), getattr(no, "amount", None)])
    for failing in (lambda: once.run(digest_of, "nowhere.tar"), lambda: once.run(asks_nonsense)):
        try:
            await failing()
        except Exception as error:  # noqa: BLE001 - its type is what is asked for
            caught.append([type(error).__name__, str(error), None])
    last = await ask(ctx, "And now?")
    return [*caught, ["answered", last.data, None]]


async def demands(ctx: Context, prompt: str) -> Any:
    """Ask, and raise Rejected unless it is a yes."""
    return (await ask(ctx, prompt, deadline="1h" if "time" in prompt else "90d")).require().data


def spends(_ctx: Context, amount: int) -> None:
    raise OverBudget(amount)


async def asks_nonsense(ctx: Context) -> None:
    """Raise what `ask` raises for what cannot be asked."""
    await ask(ctx, "Well?", remind="soon")


@workflow
async def fails(ctx: Context) -> None:
    await ctx.options(retry_policy=Never()).run(spends, 900)
