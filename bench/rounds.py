"""One round of one peer: a fresh server, its workers, N runs blocked, all decided."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from bench.peer import BLOCKED, COMPLETED
from bench.peers import peer
from bench.process import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from bench.peer import Options, Running

SINGLES = 200
"""Decisions taken one at a time, while the rest is blocked."""

SINGLES_S = 15.0
"""The longest that those may take together; then fewer must do."""

WARM = 100
"""Runs that are started and decided before anything is measured."""

LOOK_S = 0.02
"""How often several workers are asked how far they are; one is asked once, and answers when it is."""


class Figures(Struct, frozen=True, kw_only=True):
    """The results of a round."""

    starts: float
    """Runs started and blocked, per second."""
    decisions: float
    """Decisions made and their runs completed, per second."""
    cpu_us: float
    """CPU time a decision, of worker and server, µs."""
    server_us: float = 0.0
    """The server's part of it."""
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    worker_mb: float = 0.0
    """Peak resident memory of the worker."""
    server_mb: float = 0.0
    """The same of the server, all its processes together, at the end."""
    disk_bytes: float = 0.0
    """Bytes on disk a run, once worker and server have ended: all that the server's folder has gained."""
    idle: float = 0.0
    """Share of a core that worker and server use while all runs are blocked and nobody decides."""


def measure(
    key: str,
    blocked: int,
    options: Options,
    *,
    apart: bool = False,
    workers: int = 1,
    singles: int = SINGLES,
    idle_s: float = 0.0,
    patience_s: float = 120.0,
    within: Callable[[Running], AbstractContextManager[Running]] = contextlib.nullcontext,
) -> Figures:
    """Measure one round. `apart`: another process decides. Raises Missing, TimeoutError, RuntimeError.

    `within` prepares a server, and returns it as workers see it.
    """
    chosen = peer(key)
    with tempfile.TemporaryDirectory(prefix="hitl-bench-", ignore_cleanup_errors=True) as folder:
        with chosen.serve(Path(folder), options) as served, within(served) as running:
            empty = size(running.folder)
            with contextlib.ExitStack() as ends:

                def child(role: str) -> Child:
                    started = Child(key, role, running.config, patience_s)
                    ends.callback(started.close)
                    return started

                crew = [child("worker") for _ in range(workers)]
                this = Round(crew, child("decider") if apart else None, running)
                figures = this.run(blocked, singles, idle_s)
        kept = (size(running.folder) - empty) / this.started
        return msgspec.structs.replace(figures, disk_bytes=kept)


class Round:
    """The processes of a round, and what has been asked of them so far."""

    def __init__(self, crew: Sequence[Child], decider: Child | None, running: Running) -> None:
        self._crew = crew
        self._decider = decider
        self._running = running
        self.started = 0
        """Runs, all told."""
        self._ended = 0

    def run(self, blocked: int, singles: int, idle_s: float) -> Figures:
        """Measure."""
        self._start(ids("warm", WARM))
        self._decide(ids("warm", WARM))

        runs, ones = ids("run", blocked), ids("one", singles)
        starts = blocked / self._start(runs)
        if ones:
            self._start(ones)
        idle = self._idle(idle_s) if idle_s else 0.0
        taken = sorted(self._singly(ones))

        cpu, server = self._cpu(), self._server_cpu()
        decisions = blocked / self._decide(runs)
        return Figures(
            starts=starts,
            decisions=decisions,
            cpu_us=(self._cpu() - cpu) / blocked * 1e6,
            server_us=(self._server_cpu() - server) / blocked * 1e6,
            p50_ms=taken[len(taken) // 2] if taken else 0.0,
            p99_ms=taken[int(len(taken) * 0.99)] if taken else 0.0,
            worker_mb=max(peak_mb(child.pid) for child in self._crew),
            server_mb=sum(share_mb(pid) for pid in self._servers()),
            idle=idle,
        )

    def _start(self, runs: Sequence[str]) -> float:
        """Start runs and wait until all have blocked. Return the seconds that took."""
        shares = self._shares(runs)
        for child, share in zip(self._crew, shares, strict=True):
            child.send("start", share)
        began = min([child.answer().began for child in self._crew])
        self.started += len(runs)
        return self._until("blocked", self.started) - began

    def _decide(self, runs: Sequence[str]) -> float:
        """Decide runs and wait until all have ended. Return the seconds that took."""
        shares = self._shares(runs)
        if self._decider is not None:
            began = self._decider.ask("decide", self._handles(shares)).began
        else:
            for child, share in zip(self._crew, shares, strict=True):
                child.send("decide", share)
            began = min([child.answer().began for child in self._crew])
        self._ended += len(runs)
        return self._until("recorded", self._ended) - began

    def _singly(self, runs: Sequence[str]) -> Iterator[float]:
        """Decide runs one at a time, and yield the ms until each was seen to end."""
        end = time.monotonic() + SINGLES_S
        for run in runs:
            self._crew[0].ask("watch", [run])
            handles = self._handles([[run]])
            began = (self._decider or self._crew[0]).ask("decide", handles).began
            self._ended += 1
            yield (self._until("completed", self._ended) - began) * 1_000
            if time.monotonic() > end:
                return

    def _handles(self, shares: Sequence[Sequence[str]]) -> list[str]:
        """Return what the runs that each worker started are decided by."""
        answers = [child.ask("handles", share) for child, share in zip(self._crew, shares, strict=False)]
        return [handle for answer in answers for handle in answer.handles]

    def _shares(self, runs: Sequence[str]) -> list[Sequence[str]]:
        """Return an equal part of the runs for each worker."""
        return [runs[n :: len(self._crew)] for n in range(len(self._crew))]

    def _until(self, what: str, count: int) -> float:
        """Wait until the workers together have counted that many. Return when they had (monotonic, s)."""
        if len(self._crew) == 1:
            return self._crew[0].ask(what, count=count).ended
        key = BLOCKED if what == BLOCKED else COMPLETED
        while True:
            answers = [child.ask("counts", [key]) for child in self._crew]
            if sum(answer.count for answer in answers) >= count:
                return max(answer.ended for answer in answers)
            time.sleep(LOOK_S)

    def _servers(self) -> list[int]:
        """Return the processes of the server, with those that they started."""
        return [pid for first in self._running.pids for pid in family(first)]

    def _cpu(self) -> float:
        """Return the CPU seconds that worker and server have used."""
        return sum(cpu_s(pid) for pid in [*(child.pid for child in self._crew), *self._servers()])

    def _server_cpu(self) -> float:
        """Return the CPU seconds that the server has used."""
        return sum(cpu_s(pid) for pid in self._servers())

    def _idle(self, seconds: float) -> float:
        before = self._cpu()
        time.sleep(seconds)
        return (self._cpu() - before) / seconds


def ids(prefix: str, count: int) -> list[str]:
    """Return ids of runs."""
    return [f"{prefix}-{n:06}" for n in range(count)]


def size(folder: Path | None) -> int:
    """Return the bytes of all files in a folder."""
    if folder is None:
        return 0
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process and those that it has seen end have used, all threads."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """Return the most resident memory that a process has had."""
    return kib(Path(f"/proc/{pid}/status"), "VmHWM:") / 1024


def share_mb(pid: int) -> float:
    """Return a process's resident memory; what it shares with others is divided among them."""
    return kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") / 1024


def kib(path: Path, field: str) -> int:
    """Return a number of KiB from a file of /proc; 0 where there is none."""
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
    return 0
