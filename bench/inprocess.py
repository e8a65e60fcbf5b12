"""Decisions made in the worker's own process, and what each costs it: for one who tunes.

    python -m bench.inprocess [BLOCKED] [--ask] [--profile FILE]

The worker is the one that `hitl worker` runs. CPU seconds tell more than the rate where the machine
does other things too. With --ask, the runs ask by `ask`, and not by `ctx.promise()`. With --profile, the
decisions (and not the starts) are profiled into FILE, which `python -m pstats` reads.
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

from bench.peer import BLOCKED, COMPLETED, Options, Tally, each
from bench.peers.hitl import Hitl
from bench.peers.sdk import SdkHand
from bench.rounds import ids


async def measure(
    config: dict[str, str], blocked: int, profile: cProfile.Profile | None, *, ask: bool
) -> str:
    """Start that many runs, wait until all have blocked, decide all, wait until all have completed."""
    runs, tally = ids("run", blocked), Tally()
    async with Hitl().worker(config, tally, "worker") as hand:
        if ask:
            assert isinstance(hand, SdkHand)
            hand.workflow, hand.waits_for = "asked", "1.1"
        began, cpu = time.perf_counter(), time.process_time()
        await each(runs, hand.start)
        await tally.reaches(BLOCKED, blocked)
        starts, starts_cpu = time.perf_counter() - began, time.process_time() - cpu
        if profile is not None:
            profile.enable()
        began, cpu = time.perf_counter(), time.process_time()
        await each(runs, hand.decide)
        await tally.reaches(COMPLETED, blocked)
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
    parser.add_argument("--ask", action="store_true")
    parser.add_argument("--profile", metavar="FILE")
    given = parser.parse_args()
    profile = cProfile.Profile() if given.profile else None
    options = Options(None, None, Path())
    with (
        tempfile.TemporaryDirectory(prefix="hitl-bench-") as folder,
        Hitl().serve(Path(folder), options) as running,
    ):
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
            figures = asyncio.run(measure(running.config, given.blocked, profile, ask=given.ask))
        print(figures)
    if profile is not None:
        profile.dump_stats(given.profile)


if __name__ == "__main__":
    main()
