"""The main job, done by real processes on a database that is gone afterwards."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from hitl_cli.connect import connect, file_url
from hitl_cli.engine.doorbell import WATCHERS, Bell, until
from hitl_cli.errors import RunFailed, TimedOut
from hitl_cli.inbox.listing import pending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENCE_S = 30.0
"""How long a step of the demo may take before it is said to have failed."""


class Demo:
    """A worker, a database, and the commands run against them."""

    workflow_id = "hitl-001"

    def __init__(self, echo: Callable[[Sequence[str]], None]) -> None:
        """`echo` is shown each command before it runs."""
        self._echo = echo
        self._folder = Path(tempfile.mkdtemp(prefix="hitl-demo-"))
        self._database = self._folder / "hitl.db"
        kept = {name: value for name, value in os.environ.items() if name != "HITL_APP"}
        self._env = {
            **kept,
            "HITL_SERVER": file_url(self._database),
            "HITL_WORKFLOW": "approval",
            "HITL_GROUP": "default",
        }
        self._worker: subprocess.Popen[str] | None = None
        self._lines: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.terminate()
            self._worker.wait()
        if self._lines is not None:
            self._lines.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start_worker(self) -> None:
        """Start the worker, and wait until it serves."""
        self._echo(["hitl", "worker"])
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "hitl_cli", "worker"],
            env=self._env,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._worker.stdout is not None  # noqa: S101
        first = self._worker.stdout.readline().rstrip()
        if not first:
            raise RunFailed("the worker did not start.")
        print(f"  worker | {first}", flush=True)
        self._lines = threading.Thread(target=self._show_lines, daemon=True)
        self._lines.start()

    def _show_lines(self) -> None:
        assert self._worker is not None  # noqa: S101
        assert self._worker.stdout is not None  # noqa: S101
        for line in self._worker.stdout:
            print(f"  worker | {line.rstrip()}", flush=True)

    def run(self, *command: str, may_fail: bool = False) -> None:
        """Run a command of this tool, shown as a person would type it. Raises RunFailed if it fails."""
        self._echo(["hitl", *command])
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "hitl_cli", *command], env=self._env, cwd=self._folder, check=False
        )
        if done.returncode and not may_fail:
            raise RunFailed(f"`hitl {shlex.join(command)}` failed.")

    def blocked(self) -> str:
        """Return the promise that waits for a person, once there is one. Raises TimedOut."""
        import time  # noqa: PLC0415

        bell = Bell(self._database, WATCHERS, "demo")
        try:
            with connect(self._env["HITL_SERVER"]) as client:
                if not until(lambda: bool(pending(client, limit=1)[0]), bell, PATIENCE_S, time.monotonic):
                    raise TimedOut("the workflow did not block: its worker did not run it in time.")
                return pending(client, limit=1)[0][0].id
        finally:
            bell.close()
