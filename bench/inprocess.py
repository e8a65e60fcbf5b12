"""The cost of decisions made in the worker's own process, for tuning.

    python -m bench.inprocess [BLOCKED] [--ask | --tell] [--profile FILE]

The worker is the one that `hitl worker` runs. CPU seconds tell more than the rate where the machine
does other things too. With --ask, the runs ask by `ask`, and not by `ctx.promise()`. With --tell, also the
reviewer is told of each request and each decision by webhook, and a phase ends when all messages have come.
With --profile, the decisions (and not the starts) are profiled into FILE, which `python -m pstats` reads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peer import BLOCKED, COMPLETED, Options, Tally, each
from bench.peers.hitl import Hitl
from bench.peers.sdk import SdkHand
from bench.rounds import ids
from bench.webhook import receiving

if TYPE_CHECKING:
    from bench.webhook import Count

LOOK_S = 0.02
"""How often to look whether all messages have come."""


async def measure(
    config: dict[str, str],
    blocked: int,
    profile: cProfile.Profile | None,
    *,
    ask: bool,
    heard: Count | None = None,
) -> str:
    """Start that many runs, wait until all have blocked, decide all, wait until all have completed.

    `heard` counts the messages: one for each request, and one for each decision.
    """
    runs, tally = ids("run", blocked), Tally()
    async with Hitl().worker(config, tally, "worker") as hand:
        if ask:
            assert isinstance(hand, SdkHand)
            hand.workflow, hand.waits_for = "asked", "1.1"
        began, cpu = time.perf_counter(), time.process_time()
        await each(runs, hand.start)
        await tally.reaches(BLOCKED, blocked)
        await hears(heard, blocked)
        starts, starts_cpu = time.perf_counter() - began, time.process_time() - cpu
        if profile is not None:
            profile.enable()
        began, cpu = time.perf_counter(), time.process_time()
        await each(runs, hand.decide)
        await tally.reaches(COMPLETED, blocked)
        await hears(heard, 2 * blocked)
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


async def hears(heard: Count | None, count: int) -> None:
    """Wait until that many messages have come, if any are counted."""
    while heard is not None and heard.value < count:  # noqa: ASYNC110 - another process counts
        await asyncio.sleep(LOOK_S)


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("blocked", nargs="?", type=int, default=10_000)
    parser.add_argument("--ask", action="store_true")
    parser.add_argument("--tell", action="store_true")
    parser.add_argument("--profile", metavar="FILE")
    given = parser.parse_args()
    profile = cProfile.Profile() if given.profile else None
    options = Options(None, None, Path())
    with (
        tempfile.TemporaryDirectory(prefix="hitl-bench-") as folder,
        Hitl().serve(Path(folder), options) as running,
        receiving() if given.tell else contextlib.nullcontext((None, None)) as (hook, heard),
    ):
        config = running.config | ({"hook": hook} if hook is not None else {})
        ask = given.ask or given.tell
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
            figures = asyncio.run(measure(config, given.blocked, profile, ask=ask, heard=heard))
        print(figures)
    if profile is not None:
        profile.dump_stats(given.profile)


if __name__ == "__main__":
    main()
