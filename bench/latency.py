"""From an answer in one process to the next step in a worker in another; and what an idle worker costs."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from bench.setup import database, start_blocked_by, worker
from hitl_cli import inbox, runs
from hitl_cli.embedded import EmbeddedClient

ANSWERS = 200
IDLE_S = 10.0
APP = Path(__file__).with_name("stepping.py")


def answer_to_step(path: Path) -> list[float]:
    """Return the ms from each answer to the step after it."""
    taken = []
    with EmbeddedClient(path) as client:
        start_blocked_by(client, path, ANSWERS, "stepping")
        for n in range(ANSWERS):
            id = f"stepping-{n:06}"
            began = time.time_ns()
            inbox.decide(client, f"{id}:1", inbox.approval(by="bench", via="bench"))
            run = runs.wait(client, id)
            taken.append((run.result - began) / 1e6)
    return taken


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure both."""
    with database() as path, worker(path, "--app", str(APP)) as process:
        taken = sorted(answer_to_step(path))
        p50, p99 = statistics.median(taken), taken[int(len(taken) * 0.99)]
        print(f"answer to next step: p50 {p50:.1f} ms, p99 {p99:.1f} ms ({ANSWERS} answers)", flush=True)
        before = cpu_s(process.pid)
        time.sleep(IDLE_S)
        used = (cpu_s(process.pid) - before) / IDLE_S
        print(f"idle worker: {used:.2%} of a core over {IDLE_S:.0f} s", flush=True)


if __name__ == "__main__":
    main()
