"""DBOS: a library on a database. A run waits in `recv` for a message."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from bench.peer import BLOCKED, COMPLETED, Missing, Peer, Running
from bench.peers.postgres import SYNCS, postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from bench.peer import Hand, Options, Tally

DAY_S = 86_400
NEEDED_SQLITE = (3, 42)
"""Its schema calls unixepoch('subsec')."""


class DbosHand:
    """Starts runs in this process, and sends them their decisions."""

    def __init__(self, dbos: Any, decided: Any, tally: Tally) -> None:
        self._dbos = dbos
        self._decided = decided
        self._tally = tally

    async def start(self, id: str) -> None:
        """Start a run, and count its end when DBOS has recorded it."""
        from dbos import SetWorkflowID

        with SetWorkflowID(id):
            handle = await self._dbos.start_workflow_async(self._decided, id)
        handle.task.add_done_callback(lambda _: self._tally.add(COMPLETED))

    async def decide(self, handle: str) -> None:
        """Send a run its decision."""
        await self._dbos.send_async(handle, True)

    def handle(self, id: str) -> str:
        """Return the run's id."""
        return id

    async def watch(self, id: str) -> None:
        """Do nothing: each end is seen."""

    async def recorded(self, count: int) -> None:
        """Return once that many runs have ended."""
        await self._tally.reaches(COMPLETED, count)


class ClientHand(DbosHand):
    """Sends runs their decisions from another process."""

    def __init__(self, client: Any) -> None:
        self._dbos = client


class Dbos(Peer):
    """The runs of a process are its own: two workers each run what they started."""

    sizes = 10_000

    @contextlib.asynccontextmanager
    async def worker(self, config: dict[str, str], tally: Tally, pid: str) -> AsyncIterator[Hand]:
        """Run DBOS in this process."""
        from dbos import DBOS

        DBOS(
            config={
                "name": "bench",
                "system_database_url": config["dsn"],
                "executor_id": pid,
                "console_log_level": "ERROR",
                "log_level": "ERROR",
            }
        )

        async def step(decision: object) -> object:
            return decision

        durable_step = DBOS.step()(step)

        async def decided(_id: str) -> object:
            tally.add(BLOCKED)
            return await durable_step(await DBOS.recv_async(timeout_seconds=DAY_S))

        workflow = DBOS.workflow()(decided)
        DBOS.launch()
        try:
            yield DbosHand(DBOS, workflow, tally)
        finally:
            DBOS.destroy()

    @contextlib.asynccontextmanager
    async def decider(self, config: dict[str, str]) -> AsyncIterator[Hand]:
        """Give DBOS's client."""
        from dbos import DBOSClient

        client = DBOSClient(system_database_url=config["dsn"])
        try:
            yield ClientHand(client)
        finally:
            client.destroy()


class DbosPostgres(Dbos):
    """What DBOS recommends for use in earnest."""

    name = "DBOS on Postgres"
    syncs = SYNCS

    @contextlib.contextmanager
    def serve(self, folder: Path, options: Options) -> Iterator[Running]:
        """Run PostgreSQL."""
        del options
        needs_dbos()
        with postgres(folder) as running:
            yield running


class DbosSqlite(Dbos):
    """DBOS with its default settings: it looks for messages once a second."""

    name = "DBOS on SQLite"
    syncs = "every commit (SQLite's default)"
    sizes = 1_000

    @contextlib.contextmanager
    def serve(self, folder: Path, options: Options) -> Iterator[Running]:
        """Need only a folder."""
        del options
        needs_dbos()
        if sqlite3.sqlite_version_info < NEEDED_SQLITE:
            raise Missing(f"it needs SQLite 3.42, and this Python has {sqlite3.sqlite_version}")
        yield Running({"dsn": f"sqlite:///{folder}/dbos.db"}, folder=folder)


def needs_dbos() -> None:
    """Raise Missing without DBOS."""
    try:
        import dbos  # noqa: F401
    except ImportError as error:
        raise Missing("dbos is not installed") from error
