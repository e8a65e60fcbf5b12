"""Measure hitl and its peers in one run, and print the tables: python -m bench [--help].

Each peer is measured in turn with hitl before it, several rounds over; printed are the medians, and
the median of the ratios of each pair. What cannot be installed or started is left out, and why is said.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from bench.peer import Options
from bench.peers import PEERS
from bench.table import Plan, Results, measure_all, render


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), metavar="PEER")
    parser.add_argument("--blocked", nargs="*", type=int, default=[1_000, 10_000], metavar="N")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patience", type=float, default=120.0, metavar="S", help="longest step of a peer")
    parser.add_argument(
        "--resonate-sql",
        type=Path,
        default=os.environ.get("HITL_BENCH_RESONATE_SQL"),
        metavar="FILE",
        help="the schema of resonate-pg (HITL_BENCH_RESONATE_SQL)",
    )
    parser.add_argument(
        "--resonate-server",
        type=Path,
        default=os.environ.get("HITL_BENCH_RESONATE_SERVER"),
        metavar="FILE",
        help="the program of the Resonate Server (HITL_BENCH_RESONATE_SERVER)",
    )
    parser.add_argument(
        "--npm",
        type=Path,
        default=Path(__file__).parents[1] / ".tools" / "npm",
        metavar="FOLDER",
        help="where Restate's server is, or is put by npm",
    )
    given = parser.parse_args()
    for signum in (signal.SIGTERM, signal.SIGINT):  # so that no server is left behind
        signal.signal(signum, signal.default_int_handler)
    options = Options(path(given.resonate_sql), path(given.resonate_server), given.npm.absolute())
    plan = Plan(tuple(given.peers), tuple(sorted(given.blocked)), given.rounds, given.patience)
    results = Results()
    try:
        measure_all(plan, options, results, lambda line: print(line, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        print("interrupted: these are the figures so far", file=sys.stderr)
    print(render(plan, results))


def path(given: str | Path | None) -> Path | None:
    """Return a path that was given, made absolute."""
    return Path(given).absolute() if given else None


if __name__ == "__main__":
    main()
