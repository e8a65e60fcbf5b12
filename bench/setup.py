"""What the benchmarks share: a database in a temporary folder, and a real worker process on it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hitl_cli.client import search
from hitl_cli.runs import RunSpec, start_many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hitl_cli.embedded import EmbeddedClient

PATIENCE_S = 300.0
LOOK_S = 0.02
"""How often the file is looked at: seldom enough to cost the worker nothing."""


@contextlib.contextmanager
def database() -> Iterator[Path]:
    """Give a file in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hitl-bench-") as folder:
        yield Path(folder) / "hitl.db"


@contextlib.contextmanager
def worker(path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run `hitl worker` on the file, its events thrown away."""
    command = [sys.executable, "-m", "hitl_cli", "worker", "-S", f"sqlite:///{path}", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("serving")
    drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        drain.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(LOOK_S)


def start_blocked(client: EmbeddedClient, path: Path, count: int, prefix: str) -> float:
    """Start runs and wait until all have blocked. Return the seconds that took."""
    began = time.perf_counter()
    start_many(client, [RunSpec(id=f"{prefix}-{n:06}", workflow="approval") for n in range(count)])
    last = f"{prefix}-{count - 1:06}"
    wait_for(lambda: blocked(client, last) and open_count(path) >= count)
    return time.perf_counter() - began


def start_blocked_by(client: EmbeddedClient, path: Path, count: int, workflow: str) -> None:
    """Start runs of a workflow and wait until all have blocked."""
    start_many(client, [RunSpec(id=f"{workflow}-{n:06}", workflow=workflow) for n in range(count)])
    wait_for(lambda: suspended_count(path) >= count)


def blocked(client: EmbeddedClient, id: str) -> bool:
    """Whether a run waits for a person."""
    return any(p.is_blocking for p in search(client, tags={"resonate:origin": id}, state="pending"))


def open_count(path: Path) -> int:
    """Return how many promises wait for a person: counted in the file, which the protocol cannot."""
    return scalar(path, "SELECT count(*) FROM promises WHERE state = 'pending' AND open = 1")


def suspended_count(path: Path) -> int:
    """Return how many runs are suspended."""
    return scalar(path, "SELECT count(*) FROM tasks WHERE state = 'suspended'")


def live_count(path: Path) -> int:
    """Return how many runs have not ended."""
    return scalar(path, "SELECT count(*) FROM promises WHERE state = 'pending' AND root = 1")


def scalar(path: Path, sql: str) -> int:
    """Return the one number that a query gives."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(path)) as db:
        return int(db.execute(sql).fetchone()[0])
