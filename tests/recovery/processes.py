"""Processes that a test may kill by the dozen: real ones, forked from a server that has imported everything.

A fresh interpreter takes most of a second to import the SDK; a fork takes milliseconds, and so the
moments at which it is killed are spread over its work and not over its start.
"""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

from hitl_cli.worker import WorkerOptions, run_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.process import BaseProcess
    from pathlib import Path

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "hitl_cli.worker",
        "hitl_cli.engine.network",
        "hitl_cli.embedded",
        "hitl_cli.cli.app",
        "hitl_cli.cli.decisions",
        "hitl_cli.cli.runs",
        "tests.recovery.storm",
    ]
)


def start(function: Callable[..., None], *args: object) -> BaseProcess:
    """Run a function in a process of its own; it ends with the test's process."""
    process = PROCESSES.Process(target=function, args=args, daemon=True)
    process.start()
    return process


def work(database: Path, app: str, lease_ms: int, env: Mapping[str, str]) -> None:
    """Be a worker, as `hitl worker` is one."""
    os.environ.update(env)
    options = WorkerOptions(server=f"sqlite:///{database}", apps=(app,), lease_ms=lease_ms)
    run_worker(options, lambda _serving: None, lambda _event: None)
