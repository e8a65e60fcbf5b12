"""Workflows that wait for several things at once, or forget to wait."""

import asyncio
import contextlib
import gc
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
from resonate.context import Context

from hitl_cli import ask
from hitl_cli.authoring.workflow import workflow

MONTH = timedelta(days=30)


async def yes(ctx: Context, prompt: str) -> Any:
    """Ask, and raise Rejected on a no."""
    return (await ask(ctx, prompt, remind="1d")).require().data


async def put(answers: asyncio.Queue[Any], ctx: Context, prompt: str) -> None:
    await answers.put(await yes(ctx, prompt))


@workflow
async def child(ctx: Context, prompt: str) -> Any:
    return await yes(ctx, prompt)


# The first no ends it


@workflow
async def gathers(ctx: Context) -> Any:
    return await asyncio.gather(yes(ctx, "A?"), yes(ctx, "B?"))


@workflow
async def gathers_deeply(ctx: Context) -> Any:
    return await asyncio.gather(asyncio.gather(yes(ctx, "A?"), yes(ctx, "B?")), yes(ctx, "C?"))


@workflow
async def gathers_later(ctx: Context) -> Any:
    """Await something else before the gather."""
    both = asyncio.gather(yes(ctx, "A?"), yes(ctx, "B?"))
    own = await yes(ctx, "C?")
    return [*await both, own]


@workflow
async def groups(ctx: Context) -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(yes(ctx, prompt)) for prompt in ("A?", "B?")]
    return [task.result() for task in tasks]


@workflow
async def asks_one_by_one(ctx: Context) -> Any:
    first, second = ask(ctx, "A?"), ask(ctx, "B?")
    return [(await first).require().data, (await second).require().data]


@workflow
async def steps(ctx: Context) -> Any:
    far = ctx.options(timeout=MONTH)
    return await asyncio.gather(far.run(child, "A?"), far.run(child, "B?"))


@workflow
async def calls(ctx: Context) -> Any:
    far = ctx.options(timeout=MONTH)
    return await asyncio.gather(far.rpc("child", "A?"), far.rpc("child", "B?"))


# Whatever comes first


@workflow
async def takes_the_first(ctx: Context) -> Any:
    asked = [asyncio.ensure_future(ask(ctx, prompt)) for prompt in ("A?", "B?")]
    done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    return [task.result().data for task in done]


@workflow
async def takes_the_first_before_a_pause(ctx: Context) -> Any:
    asked = asyncio.ensure_future(ask(ctx, "A?"))
    pause = asyncio.ensure_future(ctx.sleep(timedelta(days=2)))
    await asyncio.wait([asked, pause], return_when=asyncio.FIRST_COMPLETED)
    return asked.result().data if asked.done() else "nobody answered"


@workflow
async def takes_them_as_they_come(ctx: Context) -> Any:
    return [(await each).data for each in asyncio.as_completed([ask(ctx, "A?"), ask(ctx, "B?")])]


# A task group


@workflow
async def groups_promises(ctx: Context) -> Any:
    """Use only functions of the SDK."""

    async def answer() -> Any:
        return await ctx.promise(timeout=MONTH)

    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(answer()), group.create_task(answer())
    return [first.result(), second.result()]


@workflow
async def groups_a_sequence(ctx: Context) -> Any:
    """Ask A and B at once, and A2 after A, whatever became of B."""

    async def sequence() -> Any:
        return [await yes(ctx, "A?"), await yes(ctx, "A2?")]

    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(sequence()), group.create_task(yes(ctx, "B?"))
    return [*first.result(), second.result()]


@workflow
async def groups_beside_its_own_await(ctx: Context) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(yes(ctx, "A?"))
        own = await ask(ctx, "B?")
    return [task.result(), own.data]


async def slowly(_ctx: Context) -> int:
    """End after the other task has begun to wait for a person."""
    await asyncio.sleep(0.5)
    return 2


@workflow
async def groups_beside_a_slow_step(ctx: Context) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(yes(ctx, "A?"))
        own = await ctx.run(slowly)
    return [task.result(), own]


@workflow
async def gathers_errors(ctx: Context) -> Any:
    results = await asyncio.gather(yes(ctx, "A?"), yes(ctx, "B?"), return_exceptions=True)
    return [str(result) for result in results]


@workflow
async def shields(ctx: Context) -> Any:
    return (await asyncio.shield(ask(ctx, "A?"))).data


@workflow
async def takes_them_from_a_generator(ctx: Context) -> Any:
    """As agents' frameworks do: what answers is put into a queue that a generator reads."""
    answers: asyncio.Queue[Any] = asyncio.Queue()

    async def taken() -> AsyncIterator[Any]:
        for _ in range(2):
            yield await answers.get()

    async with asyncio.TaskGroup() as group:
        for prompt in ("A?", "B?"):
            group.create_task(put(answers, ctx, prompt))
        return [answer async for answer in taken()]


@workflow
async def takes_them_with_a_default(ctx: Context) -> Any:
    """Await what has no name: `anext` with a default, and `__await__` of a class."""
    answers: asyncio.Queue[Any] = asyncio.Queue()

    async def taken() -> AsyncIterator[Any]:
        yield await answers.get()

    class Taken:
        def __await__(self) -> Generator[Any, None, Any]:
            return answers.get().__await__()

    async with asyncio.TaskGroup() as group:
        for prompt in ("A?", "B?"):
            group.create_task(put(answers, ctx, prompt))
        return [await anext(taken(), None), await Taken()]


@workflow
async def groups_with_anyio(ctx: Context) -> Any:
    answers: list[Any] = []

    async def put(prompt: str) -> None:
        answers.append(await yes(ctx, prompt))

    async with anyio.create_task_group() as group:
        for prompt in ("A?", "B?"):
            group.start_soon(put, prompt)
    return answers


@workflow
async def catches_its_cancellation(ctx: Context) -> Any:
    """Await one task after another, each as one that may have been canceled."""
    answers = []
    for task in [asyncio.create_task(yes(ctx, prompt)) for prompt in ("A?", "B?")]:
        try:
            answers.append(await task)
        except asyncio.CancelledError:
            answers.append(None)
    return answers


async def ticks() -> None:
    for _ in range(600):
        await asyncio.sleep(0.1)


@workflow
async def catches_its_cancellation_beside_a_task(ctx: Context) -> Any:
    """The same, while a task that nobody awaits works at intervals."""
    task = asyncio.create_task(ticks())
    answers = await catches_its_cancellation(ctx)
    task.cancel()
    return answers


@workflow
async def cleans_up(ctx: Context, ended: str) -> Any:
    """Wait for a task in `finally`, as for the end of a connection, for less than the patience."""

    async def close() -> None:
        await asyncio.sleep(0.5)
        note_end(Path(ended))

    task = asyncio.create_task(ticks())
    try:
        return await yes(ctx, "A?")
    finally:
        await asyncio.gather(close())
        task.cancel()


@workflow
async def groups_slow_work(ctx: Context) -> Any:
    """Ask B only after a step and a moment outside of the steps, under a timeout of its own."""

    async def slowly() -> Any:
        async with asyncio.timeout(60):
            await ctx.run(nothing)
            await asyncio.sleep(0.2)
        return await yes(ctx, "B?")

    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(yes(ctx, "A?")), group.create_task(slowly())
    return [first.result(), second.result()]


@workflow
async def gathers_eager_tasks(ctx: Context) -> Any:
    """Ask B only after a moment, in tasks that run before `create_task` returns."""

    async def slowly() -> Any:
        await asyncio.sleep(0.2)
        return await yes(ctx, "B?")

    loop = asyncio.get_running_loop()
    factory: Any = loop.get_task_factory()
    works = (yes(ctx, "A?"), slowly())  # from Python 3.14 on: create_task(work, eager_start=True)
    return await asyncio.gather(*(factory(loop, work, eager_start=True) for work in works))


@workflow
async def groups_slow_network(ctx: Context) -> Any:
    """Ask B only after an answer of a server, as httpx waits for one."""

    def answer(listening: socket.socket) -> None:
        with listening, listening.accept()[0] as connection:
            time.sleep(0.2)
            connection.sendall(b"B?")

    async def slowly() -> Any:
        async with await anyio.connect_tcp(*listening.getsockname()) as stream:
            prompt = await stream.receive()
        return await yes(ctx, prompt.decode())

    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=answer, args=(listening,)).start()
    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(yes(ctx, "A?")), group.create_task(slowly())
    return [first.result(), second.result()]


@workflow
async def groups_slow_signals(ctx: Context, by: str) -> Any:
    """Ask B only after a timer or a thread has set an event."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        time.sleep(0.2)
        loop.call_soon_threadsafe(event.set)

    async def slowly() -> Any:
        if by == "timer":
            loop.call_later(0.2, event.set)
        else:
            loop.run_in_executor(None, work)
        await event.wait()
        return await yes(ctx, "B?")

    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(yes(ctx, "A?")), group.create_task(slowly())
    return [first.result(), second.result()]


LIMIT = asyncio.Semaphore(1)
"""What all runs of a worker share, as a client of an API with few connections."""


@workflow
async def groups_under_a_limit(ctx: Context) -> Any:
    """Ask B only after work for which all runs wait in turn, under a timeout, as httpx does."""

    async def slowly() -> Any:
        async with asyncio.timeout(60), LIMIT:
            await asyncio.sleep(0.3)
        return await yes(ctx, "B?")

    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(yes(ctx, "A?")), group.create_task(slowly())
    return [first.result(), second.result()]


FETCHED: dict[str, asyncio.Task[str]] = {}


@workflow
async def groups_a_shared_task(ctx: Context) -> Any:
    """Ask B only after a task that the first run has created for all."""

    async def fetch() -> str:
        await asyncio.sleep(0.5)
        return "B?"

    async def slowly() -> Any:
        if "B?" not in FETCHED:
            FETCHED["B?"] = asyncio.create_task(fetch())
        return await yes(ctx, await FETCHED["B?"])

    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(yes(ctx, "A?")), group.create_task(slowly())
    return [first.result(), second.result()]


@workflow
async def forgets_tasks(ctx: Context, ended: str) -> Any:
    """Ask beside tasks that nobody awaits."""
    answers: asyncio.Queue[Any] = asyncio.Queue()

    async def waits() -> None:
        try:
            await answers.get()
        finally:
            note_end(Path(ended))

    async def nothing() -> None:
        await asyncio.Future()

    asyncio.create_task(nothing())  # noqa: RUF006
    await asyncio.sleep(0.1)
    gc.collect()
    asyncio.create_task(yes(ctx, "B?")).cancel()
    task = asyncio.create_task(waits())
    answer = await yes(ctx, "A?")
    task.cancel()
    return answer


def note_end(ended: Path) -> None:
    ended.write_text("ended")


@workflow
async def leaves_by_exit(ctx: Context) -> None:
    ask(ctx, "A?")
    await ctx.run(nothing)
    sys.exit(3)


@workflow
async def asks_no_more(ctx: Context, code: str) -> Any:
    """Ask with a file's content as the prompt, which changes like the prompt of changed code."""
    first = ask(ctx, "A?")
    if asks_more(Path(code)):
        await ask(ctx, "B?")
    return (await first).data


def asks_more(code: Path) -> bool:
    more = code.read_text() == "asks"
    code.write_text("changed")
    return more


async def nothing(_ctx: Context) -> None:
    await asyncio.sleep(0)


# Timeouts of asyncio


@workflow
async def times_out(ctx: Context, how: str) -> Any:  # noqa: C901
    """Put a timeout around a wait that can last for months."""
    match how:
        case "timeout":
            async with asyncio.timeout(3600):
                await ask(ctx, "A?")
        case "wait_for":
            await asyncio.wait_for(ask(ctx, "A?"), 3600)
        case "wait":
            await asyncio.wait([asyncio.ensure_future(ask(ctx, "A?"))], timeout=3600)
        case "as_completed":
            return [await each for each in asyncio.as_completed([ask(ctx, "A?")], timeout=3600)]
        case "gather":
            async with asyncio.timeout(3600):
                await asyncio.gather(ask(ctx, "A?"), ask(ctx, "B?"))
        case "in a group":
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.wait_for(yes(ctx, "A?"), 3600))
        case "in a group of anyio":
            with anyio.move_on_after(3600):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(yes, ctx, "A?")
        case "promise":
            await asyncio.wait_for(ctx.promise(timeout=MONTH), 3600)
        case "sleep":
            await asyncio.wait_for(ctx.sleep(MONTH), 3600)
        case "call":
            await asyncio.wait_for(ctx.options(timeout=MONTH).rpc("child", "A?"), 3600)
    return None


@workflow
async def times_a_step(ctx: Context) -> Any:
    """Put a timeout around a step, which may end by it, and ask after that."""
    async with asyncio.timeout(3600):
        await ctx.run(nothing)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ctx.run(lasts), 0.05)
    return await yes(ctx, "Well?")


@workflow
async def asks_between_timed_work(ctx: Context) -> Any:
    """Ask in a loop whose timeout is only for the work that it waits for."""

    async def work(delay_s: float) -> float:
        await asyncio.sleep(delay_s)
        return delay_s

    works = asyncio.as_completed([work(0), work(0.2)], timeout=3600)
    return [await yes(ctx, f"{await each}?") for each in works]


async def lasts(_ctx: Context) -> None:
    await asyncio.sleep(0.3)


# A forgotten await


@workflow
async def forgets(ctx: Context, how: str) -> Any:
    """Use a question as if it were the decision."""
    asked: Any = ask(ctx, "A?")
    match how:
        case "attribute":
            return asked.approved
        case "method":
            return asked.require()
        case "truth":
            return "yes" if asked else "no"
        case "equality":
            return asked == "ship"
        case "text":
            return f"{asked}"
        case "item":
            return asked["amount"]
        case "result":
            return asked
    return "nothing was used"


@workflow
async def catches_all(ctx: Context, how: str) -> Any:
    """Catch what suspends the function, as a bare `except:` does."""
    try:
        decision = await ask(ctx, "A?")
    except BaseException:  # noqa: BLE001
        if how == "raises":
            raise ValueError("no answer") from None
        return "no answer"
    return decision.approved


@workflow
async def awaits_a_canceled_task(ctx: Context, where: str) -> None:
    """Cancel a task, and await it."""

    async def cancels(_ctx: Context) -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    await (cancels(ctx) if where == "workflow" else ctx.run(cancels))


@workflow
async def calls_and_forgets(ctx: Context) -> str:
    """Call what asks, and end without its result."""
    ctx.options(timeout=MONTH).rpc("child", "A?")
    return "done"


# What cannot be asked


@workflow
async def asks_badly(ctx: Context, options: dict[str, Any]) -> Any:
    return await ask(ctx, **options)
