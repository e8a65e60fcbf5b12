"""hitl on PostgreSQL beside the SDK's own connector and the file, in one run: python -m bench.postgres.

Each round measures all cases, one after the other; printed are the medians, and the median of the ratios to
the SDK's connector with as many blocked and finished runs in the same round. Another process decides.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from bench import history
from bench.delay import delayed
from bench.peer import Options
from bench.peers import peer
from bench.rounds import SINGLES, measure
from bench.table import FAILURES, markdown, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.peer import Running
    from bench.rounds import Figures

OURS, STOCK, FILE = "hitl-postgres", "resonate-pg", "hitl"
IDLE_S = 10.0
PATIENCE_S = 300.0


class Case(Struct, frozen=True):
    """What is measured at once."""

    peer: str
    blocked: int
    finished: int = 0
    workers: int = 1
    delay_ms: float = 0.0


def cases(blocked: list[int], finished: int, delay_ms: float) -> Iterator[Case]:
    """Yield all cases of a round."""
    for size in blocked:
        yield Case(FILE, size)
        for past in (0, finished):
            yield Case(OURS, size, past)
            yield Case(STOCK, size, past)
        yield Case(OURS, size, workers=2)
    yield Case(OURS, blocked[0], delay_ms=delay_ms)


def measured(case: Case, options: Options) -> Figures:
    """Measure a case once. Raises Missing, TimeoutError, RuntimeError, OSError."""

    @contextlib.contextmanager
    def within(running: Running) -> Iterator[Running]:
        if case.finished:
            history.add(running.config["dsn"], case.finished, int(time.time() * 1_000))
        if not case.delay_ms:
            yield running
            return
        with delayed(running, case.delay_ms) as seen:
            yield seen

    return measure(
        case.peer,
        case.blocked,
        options,
        apart=True,
        workers=case.workers,
        singles=0 if case.workers > 1 else SINGLES,
        idle_s=IDLE_S,
        patience_s=PATIENCE_S,
        within=within,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.postgres", description=__doc__)
    parser.add_argument("--blocked", nargs="*", type=int, default=[1_000, 10_000], metavar="N")
    parser.add_argument("--finished", type=int, default=100_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=1.0, metavar="MS", help="each way, in the last case")
    parser.add_argument("--only-ours", action="store_true", help="leave out the file and the SDK's connector")
    parser.add_argument("--resonate-sql", type=Path, default=os.environ.get("HITL_BENCH_RESONATE_SQL"))
    given = parser.parse_args()
    options = Options(given.resonate_sql and Path(given.resonate_sql).absolute(), None, Path())
    found: dict[Case, list[Figures]] = {}
    ratios: dict[Case, list[float]] = {}
    with contextlib.suppress(KeyboardInterrupt):
        for turn in range(given.rounds):
            for case in cases(sorted(given.blocked), given.finished, given.delay):
                if given.only_ours and case.peer != OURS:
                    continue
                try:
                    figures = measured(case, options)
                except FAILURES as error:
                    print(f"round {turn + 1}: {case}: {error}", file=sys.stderr, flush=True)
                    continue
                found.setdefault(case, []).append(figures)
                line = (
                    f"{figures.decisions:,.0f}/s, p50 {figures.p50_ms:.1f} ms, load {os.getloadavg()[0]:.1f}"
                )
                print(f"round {turn + 1}: {case}: {line}", file=sys.stderr, flush=True)
            for case, all_of_it in found.items():
                stock = found.get(Case(STOCK, case.blocked, case.finished), [])
                if case.peer != STOCK and len(all_of_it) == len(stock) == turn + 1:
                    ratios.setdefault(case, []).append(all_of_it[-1].decisions / stock[-1].decisions)
    print(rendered(found, ratios))


def rendered(found: dict[Case, list[Figures]], ratios: dict[Case, list[float]]) -> str:
    """Return the table, as Markdown."""
    rows = []
    for case, figures in found.items():

        def median(name: str, figures: list[Figures] = figures) -> float:
            return float(statistics.median(getattr(each, name) for each in figures))

        rows.append(
            [
                peer(case.peer).name + (f", {case.delay_ms:g} ms away" if case.delay_ms else ""),
                f"{case.blocked:,}",
                f"{case.finished:,}",
                f"{case.workers}",
                number(median("starts")),
                number(median("decisions")),
                number(statistics.median(ratios[case]) if case in ratios else None, ".1f"),
                number(median("p50_ms") or None, ".1f"),
                number(median("p99_ms") or None, ".1f"),
                number(median("cpu_us") - median("server_us")),
                number(median("server_us")),
                number(median("idle") * 100, ".1f", " %"),
            ]
        )
    head = [
        "",
        "blocked",
        "finished",
        "workers",
        "started /s",
        "decided /s",
        "times the SDK's",
        "p50 ms",
        "p99 ms",
    ]
    return markdown([*head, "worker µs", "server µs", "idle, of a core"], rows)


if __name__ == "__main__":
    main()
