"""The interface of a measured peer: it runs a server, a worker, and decisions.

A peer is driven by processes of its own (`bench.process`): one or two workers, and one that decides.
All of them are told where the server is by a `config`, which `serve` gives.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

IN_FLIGHT = 64
"""Requests that a starting or deciding side has open at a time, as many people who answer at once."""

BLOCKED = "blocked"
COMPLETED = "completed"


class Missing(Exception):
    """A peer cannot be measured here; the message says why."""


class Options(Struct, frozen=True):
    """Where things are that no package brings."""

    resonate_sql: Path | None
    resonate_server: Path | None
    npm_folder: Path


class Running(Struct, frozen=True):
    """A server that runs."""

    config: dict[str, str]
    """What its workers and deciders are told."""
    pids: tuple[int, ...] = ()
    """Its own processes, and those they start."""
    folder: Path | None = None
    """What it keeps on disk; None where it keeps nothing."""


class Hand(Protocol):
    """What can be done from a process: start runs, decide them."""

    async def start(self, id: str) -> None:
        """Start a run. Only a worker is asked to."""

    async def decide(self, handle: str) -> None:
        """Decide the request of a run, and return once the decision is recorded."""

    def handle(self, id: str) -> str:
        """Return the id with which any process can decide a blocked run."""

    async def watch(self, id: str) -> None:
        """Make sure that the end of this run is counted in the moment that it comes."""

    async def recorded(self, count: int) -> None:
        """Return once that many runs are known to have ended. Only a worker is asked."""


class Peer(ABC):
    """A system that runs durable workflows which wait for a decision."""

    name: str
    syncs: str
    """Whether a commit is on disk before it is answered, as the peer ships."""
    apart = True
    """Whether another process than the worker's can decide."""
    workers = 2
    """How many worker processes can share one server."""
    sizes = 100_000
    """The most blocked runs that it can take at all."""

    @abstractmethod
    def serve(self, folder: Path, options: Options) -> AbstractContextManager[Running]:
        """Run the server, with its data in the folder. Raises Missing."""

    @abstractmethod
    def worker(self, config: dict[str, str], tally: Tally, pid: str) -> AbstractAsyncContextManager[Hand]:
        """Run a worker in this process, which counts blocked and completed runs."""

    @abstractmethod
    def decider(self, config: dict[str, str]) -> AbstractAsyncContextManager[Hand]:
        """Give what decides in a process that is no worker."""


class Tally:
    """Counts what happened and when it last did, and lets a coroutine wait for a count."""

    def __init__(self) -> None:
        self.counts = {BLOCKED: 0, COMPLETED: 0}
        self.last = {BLOCKED: 0.0, COMPLETED: 0.0}
        self._waiting: dict[str, tuple[int, asyncio.Event]] = {}

    def add(self, what: str) -> None:
        """Count one more."""
        self.counts[what] += 1
        self.last[what] = time.monotonic()
        if what in self._waiting:
            wanted, reached = self._waiting[what]
            if self.counts[what] >= wanted:
                reached.set()

    async def reaches(self, what: str, count: int) -> float:
        """Return once `what` has happened `count` times, and when it last did (monotonic, s)."""
        if self.counts[what] < count:
            reached = asyncio.Event()
            self._waiting[what] = (count, reached)
            await reached.wait()
            del self._waiting[what]
        return self.last[what]


async def each[T](things: Sequence[T], act: Callable[[T], Awaitable[Any]]) -> None:
    """Do something to each of the things, IN_FLIGHT at a time."""
    if len(things) == 1:
        await act(things[0])
        return
    rest = iter(things)

    async def lane() -> None:
        for thing in rest:
            await act(thing)

    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
