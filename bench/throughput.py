"""Start to blocked, and decision to completed, per second: one worker, every commit synced.

    python -m bench.throughput [BLOCKED...]

Each figure is taken with that many runs blocked; the last line is the ratio of the time per
decision with the most blocked to that with the least.
"""

from __future__ import annotations

import statistics
import sys
import time

from bench.setup import database, live_count, start_blocked, suspended_count, wait_for, worker
from hitl_cli.client import Request
from hitl_cli.embedded import EmbeddedClient
from hitl_cli.inbox import approval, value_of
from hitl_cli.wire import Decision

ROUNDS = 5
DECISIONS = 1_000
BATCH = 20
"""Decisions sent at once, as many people answer through one gateway."""


def measure(blocked: int) -> tuple[float, float]:
    """Return started runs and decided runs per second."""
    with database() as path, EmbeddedClient(path) as client, worker(path):
        assert isinstance(client, EmbeddedClient)
        start_blocked(client, path, 100, "warm")
        began = time.perf_counter()
        start_blocked(client, path, blocked, "run")
        wait_for(lambda: suspended_count(path) >= blocked + 100)
        starts = blocked / (time.perf_counter() - began)

        answer = approval(by="bench", via="bench")
        began = time.perf_counter()
        for at in range(0, DECISIONS, BATCH):
            client.call_many(
                [
                    Request(
                        "promise.settle",
                        {
                            "id": f"run-{n * (blocked // DECISIONS):06}:1",
                            "state": "resolved",
                            "value": value_of(answer, Decision(id=str(n), by="bench").headers()),
                        },
                    )
                    for n in range(at, at + BATCH)
                ]
            )
        wait_for(lambda: live_count(path) <= blocked + 100 - DECISIONS)
        return starts, DECISIONS / (time.perf_counter() - began)


def main() -> None:
    """Measure at each number of blocked runs in turn, several times over, and print the medians."""
    sizes = [int(arg) for arg in sys.argv[1:]] or [1_000, 10_000]
    rounds = [{size: measure(size) for size in sizes} for _ in range(ROUNDS)]
    for size in sizes:
        starts, decisions = (statistics.median(each[size][n] for each in rounds) for n in (0, 1))
        print(f"{size:>7,} blocked: {starts:>6,.0f} started/s, {decisions:>6,.0f} decided/s", flush=True)
    least, most = min(sizes), max(sizes)
    ratio = statistics.median(each[least][1] / each[most][1] for each in rounds)
    print(f"time per decision, {most:,} blocked / {least:,} blocked: {ratio:.2f}")


if __name__ == "__main__":
    main()
