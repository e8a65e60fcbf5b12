"""Processes that a test may kill by the dozen: real ones, forked from a server that has imported everything.

A fresh interpreter takes most of a second to import the SDK; a fork takes milliseconds, and so the
moments at which it is killed are spread over its work and not over its start.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from typing import TYPE_CHECKING, Any

from hitl_cli import defaults
from hitl_cli.people.contacts import Directory, NotificationSettings
from hitl_cli.worker.process import run_worker
from hitl_cli.worker.run import WorkerOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.process import BaseProcess
    from pathlib import Path

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.recovery.preloaded"])


class MovedClock:
    """A computer's clock that a test moves: all processes with the same file see it move at once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._time_ns = time.time_ns
        self.move(0)

    def move(self, ms: int) -> None:
        """Set it to so much ahead of the real one, or behind."""
        new = self._file.with_suffix(".new")
        new.write_text(str(ms))
        new.replace(self._file)

    def __call__(self) -> int:
        """Return what it shows, ms since the epoch."""
        return self._time_ns() // 1_000_000 + int(self._file.read_text())

    def __getstate__(self) -> Path:
        return self._file

    def __setstate__(self, file: Path) -> None:
        self._file, self._time_ns = file, time.time_ns

    def install(self) -> None:
        """Make it the clock of this process."""
        time.time_ns = lambda: self() * 1_000_000
        time.time = lambda: self() / 1_000


def start(function: Callable[..., None], *args: object) -> BaseProcess:
    """Run a function in a process of its own; it ends with the test's process."""
    process = PROCESSES.Process(target=function, args=args, daemon=True)
    process.start()
    return process


def work(
    server: Path | str,
    app: str | None,
    lease_ms: int,
    env: Mapping[str, str],
    clock: MovedClock | None = None,
    group: str = defaults.GROUP,
    reach: NotificationSettings | None = None,
    told: Mapping[str, Any] | None = None,
) -> None:
    """Be a worker of a database or of a server, as `hitl worker` is one; on a computer with that clock.

    `told` is what else it is told (WorkerOptions).
    """
    os.environ.update(env)
    if clock is not None:
        clock.install()
    url = server if isinstance(server, str) else f"sqlite:///{server}"
    options = WorkerOptions(
        server=url,
        apps=(app,) if app else (),
        lease_ms=lease_ms,
        **{"group": group, "reach": reach or NotificationSettings(directory=Directory()), **(told or {})},
    )
    run_worker(options, lambda _serving: None, lambda _event: None)
