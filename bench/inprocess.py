"""Decisions made in the worker's own process, and what each costs it.

    python -m bench.inprocess [BLOCKED] [--profile FILE]

The worker is the one that `hitl worker` runs. CPU seconds tell more than the rate where the machine
does other things too. With --profile, the decisions (and not the starts) are profiled into FILE,
which `python -m pstats` reads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import os
import time
from typing import TYPE_CHECKING, Any

from resonate.types import PromiseCreateReq, Value

from bench import flows
from bench.setup import database
from hitl_cli.cli.worker import reporter
from hitl_cli.runs import RunSpec, create_request
from hitl_cli.worker import Registering, Worker, WorkerOptions, spare_the_collector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from hitl_cli.activity import Event

IN_FLIGHT = 64
"""Requests that the deciding side has open at a time, as many people who answer at once."""

DAY_MS = 86_400_000


class Tally:
    """Counts what happened, and lets a coroutine wait for a count."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._waiting: list[tuple[str, int, asyncio.Event]] = []

    def add(self, what: str) -> None:
        """Count one more."""
        self._counts[what] = count = self._counts.get(what, 0) + 1
        for name, wanted, reached in self._waiting:
            if name == what and count >= wanted:
                reached.set()

    async def reaches(self, what: str, count: int) -> None:
        """Return once `what` has happened `count` times."""
        if self._counts.get(what, 0) >= count:
            return
        reached = asyncio.Event()
        entry = (what, count, reached)
        self._waiting.append(entry)
        await reached.wait()
        self._waiting.remove(entry)


async def each[T](things: Iterable[T], act: Callable[[T], Awaitable[Any]]) -> None:
    """Do something to each of the things, IN_FLIGHT at a time."""
    rest = iter(things)

    async def lane() -> None:
        for thing in rest:
            await act(thing)

    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))


async def start(resonate: Registering, id: str) -> None:
    """Start a run, as `hitl start` does."""
    spec = RunSpec(id=id, workflow="decided")
    data = create_request(spec, "default", int(time.time() * 1_000) + DAY_MS, "bench").data
    await resonate.promises.sender.promise_create(
        PromiseCreateReq(id=id, timeout_at=data["timeoutAt"], param=data["param"], tags=data["tags"])
    )


async def decide(resonate: Registering, id: str) -> None:
    """Resolve the promise that a run waits for."""
    await resonate.promises.resolve(f"{id}:1", Value(data=True))


@contextlib.asynccontextmanager
async def serving(path: Path) -> AsyncIterator[tuple[Registering, Tally]]:
    """Run a worker in this process. Its events are printed to nowhere, as `hitl worker` would print them."""
    tally = Tally()
    serves = asyncio.Event()
    show = reporter()

    def report(event: Event) -> None:
        show(event)
        tally.add(event.event)

    worker = Worker(WorkerOptions(server=f"sqlite:///{path}"), report)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: ASYNC230, PTH123
        running = asyncio.create_task(worker.run([("bench", flows)], lambda _: serves.set()))
        await serves.wait()
        assert worker._resonate is not None
        yield worker._resonate, tally
        worker.stop()
        await running


async def measure(path: Path, blocked: int, profile: cProfile.Profile | None) -> str:
    """Start that many runs, wait until all have blocked, decide all, wait until all have completed."""
    ids = [f"run-{n:06}" for n in range(blocked)]
    async with serving(path) as (resonate, tally):
        began, cpu = time.perf_counter(), time.process_time()
        await each(ids, lambda id: start(resonate, id))
        await tally.reaches("waiting", blocked)
        starts, starts_cpu = time.perf_counter() - began, time.process_time() - cpu
        if profile is not None:
            profile.enable()
        began, cpu = time.perf_counter(), time.process_time()
        await each(ids, lambda id: decide(resonate, id))
        await tally.reaches("completed", blocked)
        took, took_cpu = time.perf_counter() - began, time.process_time() - cpu
        if profile is not None:
            profile.disable()
    return "\n".join(
        f"{what:<22} {blocked / wall:6,.0f}/s, {cpu / blocked * 1e6:4.0f} µs of CPU each"
        for what, wall, cpu in (
            ("start to blocked:", starts, starts_cpu),
            ("decision to completed:", took, took_cpu),
        )
    )


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("blocked", nargs="?", type=int, default=10_000)
    parser.add_argument("--profile", metavar="FILE")
    options = parser.parse_args()
    profile = cProfile.Profile() if options.profile else None
    spare_the_collector()
    with database() as path:
        print(asyncio.run(measure(path, options.blocked, profile)))
    if profile is not None:
        profile.dump_stats(options.profile)


if __name__ == "__main__":
    main()
