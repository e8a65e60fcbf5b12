"""Ours on PostgreSQL: `hitl worker`, with the schema of hitl beside that of resonate-pg."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from bench import flows
from bench.peer import Missing
from bench.peers.hitl import COUNTED
from bench.peers.resonate_pg import ResonatePg
from bench.peers.sdk import SdkHand, sdk_decider
from hitl_cli.cli.worker import event_lines, reporter
from hitl_cli.sdk.worker_link import WorkerTerms, worker_link
from hitl_cli.worker.process import spare_the_collector
from hitl_cli.worker.run import LEASE_MS, Worker, WorkerOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from bench.peer import Hand, Options, Running, Tally
    from hitl_cli.sdk.observer import Event


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

    @contextlib.asynccontextmanager
    async def worker(self, config: dict[str, str], tally: Tally, pid: str) -> AsyncIterator[Hand]:
        """Run the worker; what it does is printed, as `hitl worker` prints it."""
        del pid
        show = reporter(event_lines())

        def report(event: Event) -> None:
            show(event)
            if event.event in COUNTED:
                tally.add(COUNTED[event.event])

        serves = asyncio.Event()
        worker = Worker(WorkerOptions(server=config["dsn"]), report)
        spare_the_collector()
        running = asyncio.create_task(worker.run([("bench", flows)], lambda _: serves.set()))
        await serves.wait()
        assert worker._resonate is not None
        yield SdkHand(worker._resonate.promises, tally)
        worker.stop()
        await running

    @contextlib.asynccontextmanager
    async def decider(self, config: dict[str, str]) -> AsyncIterator[Hand]:
        """Connect once more, as a gateway would."""
        terms = WorkerTerms(
            group="deciders",
            pid="decider",
            room=lambda: 0,
            served=lambda: (),
            wants=lambda *_: False,
            lease_ms=LEASE_MS,
            ended=lambda _: None,
        )
        link = worker_link(config["dsn"], None, terms)
        async with sdk_decider(link.network) as hand:
            yield hand
        link.close()
