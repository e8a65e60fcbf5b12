"""Workflows that ask people."""

import asyncio
import dataclasses
import gc
import logging
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from resonate.context import Context

from hitl_cli import Decision, Rejected, ask, ask_all, digest_of
from hitl_cli.authoring.workflow import workflow
from hitl_cli.errors import BadInput, NotCovered

logging.basicConfig(format="%(message)s")

Amount = Annotated[int, Meta(ge=1, le=500)]


class Expense(Struct, frozen=True):
    amount: Amount
    day: date
    note: str = "none"


@dataclasses.dataclass(frozen=True)
class Release:
    version: str
    percent: int


def model() -> Any:
    """Return a pydantic model, where that is installed."""
    from pydantic import BaseModel, Field

    class Person(BaseModel):
        name: str
        age: int = Field(ge=18)

    return Person


@workflow
async def asks(ctx: Context, options: dict[str, Any]) -> Any:
    """Ask with these options, and return the decision."""
    return await ask(ctx, **options)


@workflow
async def requires(ctx: Context) -> Any:
    try:
        return (await ask(ctx, "Well?", deadline="1h")).require().data
    except Rejected as no:
        return f"no: {no}"


def told(decision: Decision[Any]) -> list[Any]:
    """Return the type of the data, and the data."""
    data = decision.data
    fields = data.model_dump() if hasattr(data, "model_dump") else msgspec.to_builtins(data)
    return [type(data).__name__, fields]


@workflow
async def asks_for(ctx: Context, form: str) -> list[Any]:
    """Ask with a form that is a type, and ask once more, so that the first answer is read again."""
    forms = {"struct": lambda: Expense, "dataclass": lambda: Release, "pydantic": model}
    decision = await ask(ctx, "How much?", form=forms[form]())
    await ask(ctx, "Sure?")
    return told(decision)


@workflow
async def hears_misfit(ctx: Context, options: dict[str, Any]) -> list[str]:
    """Return what an answer that does not fit looks like to a workflow."""
    try:
        await ask(ctx, "How much?", **options)
    except Exception as error:  # noqa: BLE001 - its type is what is asked for
        return [type(error).__name__, str(error)]
    return []


@workflow
async def asks_three(ctx: Context) -> list[Any]:
    first, second, third = (ask(ctx, f"{n}?", form={"type": "integer"}) for n in range(3))
    answers = [*await asyncio.gather(first, second), *await ask_all(third)]
    return [answer.data for answer in answers]


@workflow
async def asks_each(ctx: Context, people: list[str]) -> None:
    """Ask each of them at once, and end with the first no."""

    async def approved_by(person: str) -> None:
        (await ask(ctx, f"Does {person} agree?", to=person)).require()

    await asyncio.gather(*map(approved_by, people))


@workflow
async def asks_both_ways(ctx: Context) -> list[Any]:
    """Ask, beside a promise that says nothing and a step."""
    asked = ask(ctx, "Asked?", remind="1h")
    plain = ctx.promise(timeout=timedelta(days=30))
    step = ctx.run(nothing)
    return [(await asked).data, await plain, await step]


def nothing(_ctx: Context) -> str:
    return "nothing"


@workflow
async def asks_in_a_child(ctx: Context, patience: str | None) -> Any:
    child = ctx.options(timeout=timedelta(days=40)) if patience else ctx
    return await child.run(asks, {"prompt": "Deep down?", "deadline": "30d"})


@workflow
async def asks_twice(ctx: Context) -> list[Any]:
    """Ask twice; the second prompt has the first answer."""
    first = await ask(ctx, "First?", remind="1h", deadline="30d")
    second = await ask(ctx, f"Second, after {msgspec.json.encode(first.data).decode()}?")
    return [first.data, second.data]


@workflow
async def asks_about_file(ctx: Context, path: str) -> Any:
    digest = await ctx.run(digest_of, path)
    return (await ask(ctx, "This one?", digest=digest)).data


@workflow
async def asks_from_file(ctx: Context, path: str) -> Any:
    """Ask with a file's content as the prompt, which may differ in a replay."""
    return (await ask(ctx, **options_in(path))).data


def options_in(path: str) -> dict[str, Any]:
    return msgspec.json.decode(Path(path).read_bytes(), type=dict[str, Any])


@workflow
async def tells_whom(ctx: Context, options: dict[str, Any]) -> list[Any]:
    """A workflow that hands on the id of what it asks, while it waits."""
    asked = ask(ctx, **options)
    told = await ctx.run(hand_on, await asked.id())
    try:
        return [told, (await asked).approved]
    except BadInput as error:
        return [told, str(error)]


def hand_on(_ctx: Context, id: str) -> str:
    return id


@workflow
async def uses(ctx: Context, expires: bool = False) -> Any:
    """Use an approval up, and try to use it again."""
    decision = await ask(ctx, "Run it?", once=True, valid_for="1ms" if expires else "1h")
    found = []
    for _ in range(2):
        try:
            await decision.consume(ctx)
            found.append(await ctx.run(acts))
        except NotCovered as refused:
            found.append(refused.code)
    return found


def acts(_: Context) -> str:
    return "done"


@workflow
async def collected(ctx: Context) -> int:
    """Return how many objects nobody refers to, besides each other, since the last time."""
    return await ctx.run(collect)


def collect(_ctx: Context) -> int:
    return gc.collect()
