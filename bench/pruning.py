"""`hitl prune` of finished runs in a PostgreSQL, while a worker completes runs that are decided one by one.

    python -m bench.pruning --resonate-sql FILE [--finished N]

Printed is how long it takes, and whether a decision takes longer meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench import history
from bench.commands import HITL
from bench.peer import Options
from bench.peers import peer
from bench.process import Child
from bench.rounds import WARM, Round, ids

KEY = "hitl-postgres"
DAYS = 7
AGO_MS = 40 * 86_400_000
ALONE = 200
AT_ONCE = 25
RUNS = 4_000
PATIENCE_S = 120.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--resonate-sql", type=Path, metavar="FILE", required=True)
    parser.add_argument("--finished", type=int, default=100_000, metavar="N")
    given = parser.parse_args()
    options = Options(given.resonate_sql.absolute(), None, Path())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.ExitStack() as ends:
        running = ends.enter_context(peer(KEY).serve(Path(folder), options))
        dsn = running.config["dsn"]
        history.add(dsn, given.finished, int(time.time() * 1_000) - AGO_MS)

        def child(role: str) -> Child:
            started = Child(KEY, role, running.config, PATIENCE_S)
            ends.callback(started.close)
            return started

        this = Round([child("worker")], child("decider"), running)
        runs = ids("run", RUNS)
        this._start([*ids("warm", WARM), *runs])
        this._decide(ids("warm", WARM))
        alone = sorted(this._singly(runs[:ALONE]))
        cpu, began = this._server_cpu(), time.monotonic()
        command = [HITL, "prune", "--older", f"{DAYS}d", "--yes"]
        pruning = subprocess.Popen(
            command, env={**os.environ, "HITL_SERVER": dsn}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        meanwhile: list[float] = []
        at = ALONE
        while pruning.poll() is None and at < RUNS:
            meanwhile += this._singly(runs[at : at + AT_ONCE])
            at += AT_ONCE
        said = pruning.communicate()[0].decode().strip()
        took, used = time.monotonic() - began, this._server_cpu() - cpu
    meanwhile.sort()
    print(f"{said}: {took:.0f} s, {used:.1f} s of CPU in the database, load {os.getloadavg()[0]:.1f}")
    for name, each in (("alone", alone), ("meanwhile", meanwhile)):
        p50, p99 = each[len(each) // 2], each[int(len(each) * 0.99)]
        print(f"a decision {name}: p50 {p50:.1f}, p99 {p99:.1f}, longest {each[-1]:.1f} ms ({len(each):,})")


if __name__ == "__main__":
    main()
