"""resonate-sdk on resonate-pg: the server is a schema of stored procedures in PostgreSQL."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bench.peer import Missing, Peer
from bench.peers.postgres import SYNCS, postgres
from bench.peers.sdk import GROUP, sdk_decider, sdk_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from bench.peer import Hand, Options, Running, Tally


class ResonatePg(Peer):
    """The worker's connector is the package resonate-pg, as it ships."""

    name = "resonate-pg"
    syncs = SYNCS

    @contextlib.contextmanager
    def serve(self, folder: Path, options: Options) -> Iterator[Running]:
        """Run PostgreSQL and apply the schema."""
        if options.resonate_sql is None or not options.resonate_sql.exists():
            raise Missing("name its schema: --resonate-sql FILE (resonatehq/resonate-pg, resonate.sql)")
        try:
            import psycopg
            import resonate_pg  # noqa: F401
        except ImportError as error:
            raise Missing("resonate-pg is not installed") from error
        with postgres(folder) as running:
            with psycopg.connect(running.config["dsn"], autocommit=True) as db:
                db.execute(options.resonate_sql.read_bytes())
            yield running

    def worker(self, config: dict[str, str], tally: Tally, pid: str) -> AbstractAsyncContextManager[Hand]:
        """Run the SDK's worker."""
        from resonate_pg import PostgresConnection

        connection = PostgresConnection(config["dsn"], pid=pid, group=GROUP)
        return sdk_worker(connection, connection, tally, pid)

    def decider(self, config: dict[str, str]) -> AbstractAsyncContextManager[Hand]:
        """Give the SDK's client."""
        from resonate_pg import PostgresConnection

        return sdk_decider(PostgresConnection(config["dsn"], pid="decider", group="deciders"))
