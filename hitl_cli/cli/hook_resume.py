"""`hitl hook resume`: resume the sessions of coding agents whose requests were decided."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hitl_cli.agents import deferred
from hitl_cli.cli.context import handling
from hitl_cli.cli.output import note
from hitl_cli.client.waiting import PATIENCE_S
from hitl_cli.client.wire import fresh_id
from hitl_cli.errors import BadInput, Unreachable
from hitl_cli.format.terminal import printable
from hitl_cli.settings import data_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.inbox.deferrals import DeferredSession
    from hitl_cli.python_api.backend import Backend

WAIT_S = 1.0
"""The longest time until a signal to end is noticed."""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end it. The sessions that it has resumed continue."""

ENDING_S = 60.0
"""How long to wait for the process that deferred to end. Later, its id may belong to another process."""


def resume_sessions(
    backend: Backend,
    command: list[str],
    logs: Path | None,
    *,
    once: bool,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Resume sessions with this command of the agent, until a signal, or once.

    `pause` waits for the given number of seconds, or until something has changed.
    """
    program, *more = command
    found = shutil.which(program)
    if found is None:
        raise BadInput(f"{program} is not a command here: give its path with --program.", code="bad-file")
    folder = _made(logs or data_folder() / "sessions")
    stopped: list[int] = []
    with handling(ENDING, lambda number, _: stopped.append(number)):
        resumer = _Resumer(backend, [found, *more], folder)
        resumer.look()
        if once:
            resumer.wait_for_all(stopped)
            return
        _say(f"waiting for decisions on deferred sessions; output in {folder}")
        heard_at = time.monotonic()
        while not stopped:
            pause(WAIT_S)
            try:
                resumer.look()
                heard_at = time.monotonic()
            except Unreachable:
                if time.monotonic() > heard_at + PATIENCE_S:
                    raise
        resumer.leave()


class _Resumer:
    """Starts a process for each session, and reports when it ends."""

    def __init__(self, backend: Backend, command: list[str], folder: Path) -> None:
        self._backend = backend
        self._command = command
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._seen: dict[str, float] = {}
        self._told: set[tuple[str, str]] = set()

    def look(self) -> None:
        """Report the sessions that have ended, and resume those whose request is decided."""
        for session, process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[session]
                _say(f"session {session} ended: exit {process.returncode}")
        for one in self._backend.deferred(deferred.this_machine()):
            if one.outcome and one.session not in self._running and self._may_start(one):
                self._start(one)

    def wait_for_all(self, stopped: list[int]) -> None:
        """Wait until all sessions have ended."""
        while self._running and not stopped:
            time.sleep(WAIT_S / 10)
            self.look()
        self.leave()

    def leave(self) -> None:
        """Report the sessions that continue without this process."""
        for session, process in self._running.items():
            _say(f"session {session} goes on in process {process.pid}")

    def _may_start(self, one: DeferredSession) -> bool:
        """Whether the process that deferred has ended, and the folder of the session exists."""
        since = self._seen.setdefault(one.request, time.monotonic())
        if not deferred.is_over(one) and time.monotonic() < since + ENDING_S:
            return self._waits(one, f"the process {one.pid} that deferred it has not ended")
        if Path(one.cwd).is_dir():
            return True
        return self._waits(one, f"its folder {printable(one.cwd)} does not exist")

    def _waits(self, one: DeferredSession, why: str) -> bool:
        """Print once why a session is not resumed. Returns False."""
        if (one.request, why) not in self._told:
            self._told.add((one.request, why))
            note(f"hitl: session {one.session} waits: {why}")
        return False

    def _start(self, one: DeferredSession) -> None:
        """Start the process of a session, unless another process does."""
        log = self._folder / f"{one.session}.log"
        with _opened(log) as output:
            if not self._backend.take_deferred(one.request, fresh_id()):
                return
            program, *more = self._command
            try:
                process = subprocess.Popen(  # noqa: S603 - the user's program; the session's id is checked
                    deferred.command_of(program, one, more),
                    cwd=one.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # it continues when this process is stopped
                )
            except OSError as error:
                note(f"hitl: session {one.session} was not resumed: {error.strerror}")
                return
        self._running[one.session] = process
        what = deferred.outcome_in_words(one)
        _say(f"session {one.session} resumed: {one.request} was {what}; output in {log}")


def _made(folder: Path) -> Path:
    """Return the folder of the logs. Raises BadInput."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder} cannot be created: {error.strerror}.", code="bad-file") from error
    return folder


def _opened(log: Path) -> BinaryIO:
    """Open a log to write at its end, readable by its owner alone."""
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "ab")


def _say(line: str) -> None:
    """Print a line at once."""
    print(printable(line), flush=True)
