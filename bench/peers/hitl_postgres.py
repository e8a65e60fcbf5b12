"""Ours on PostgreSQL: `hitl worker`, with the schema of hitl beside that of resonate-pg."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bench.peer import Missing
from bench.peers.hitl import hitl_worker
from bench.peers.resonate_pg import ResonatePg
from bench.peers.sdk import sdk_decider
from hitl_cli.sdk.worker_link import WorkerTerms, worker_link
from hitl_cli.worker.run import LEASE_MS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from bench.peer import Hand, Options, Running, Tally


class HitlPostgres(ResonatePg):
    """The same server as the SDK's own connector is measured on."""

    name = "hitl on Postgres"

    @contextlib.contextmanager
    def serve(self, folder: Path, options: Options) -> Iterator[Running]:
        """Run PostgreSQL and install both schemas, while it is empty."""
        try:
            from hitl_cli.postgres import schema
        except ImportError as error:
            raise Missing("psycopg is not installed") from error
        with super().serve(folder, options) as running:
            schema.install(running.config["dsn"])
            yield running

    def worker(self, config: dict[str, str], tally: Tally, pid: str) -> AbstractAsyncContextManager[Hand]:
        """Run the worker."""
        del pid
        return hitl_worker(config["dsn"], tally)

    @contextlib.asynccontextmanager
    async def decider(self, config: dict[str, str]) -> AsyncIterator[Hand]:
        """Connect once more, as a gateway would."""
        terms = WorkerTerms(
            group="deciders",
            pid="decider",
            room=lambda _: 0,
            served=lambda: (),
            wants=lambda *_: False,
            lease_ms=LEASE_MS,
            ended=lambda _: None,
        )
        link = worker_link(config["dsn"], None, terms)
        async with sdk_decider(link.network) as hand:
            yield hand
        link.close()
