"""Ours: `hitl worker` on a file, and the SDK's own worker on `hitl server`."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

from bench import flows
from bench.peer import BLOCKED, COMPLETED, Missing, Peer, Running
from bench.peers.http import free_port, http_decider, http_worker, until_it_listens
from bench.peers.sdk import SdkHand, sdk_decider
from hitl_cli.cli.worker import event_lines, reporter
from hitl_cli.client.connect import file_url
from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.people.contacts import Contact, Directory, NotificationSettings
from hitl_cli.sdk.embedded_connection import EmbeddedConnection
from hitl_cli.worker.process import spare_the_collector
from hitl_cli.worker.run import Worker, WorkerOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from bench.peer import Hand, Options, Tally
    from hitl_cli.sdk.observer import Event

SYNCS = "every commit"
COUNTED = {"waiting": BLOCKED, "completed": COMPLETED}


@contextlib.asynccontextmanager
async def hitl_worker(server: str, tally: Tally, hook: str | None = None) -> AsyncIterator[Hand]:
    """Run a worker of hitl on a server, with the output of `hitl worker`.

    With a `hook`, the reviewer has that webhook.
    """
    show = reporter(event_lines())

    def report(event: Event) -> None:
        show(event)
        if event.event in COUNTED:
            tally.add(COUNTED[event.event])

    serves = asyncio.Event()
    people = {} if hook is None else {"reviewer": Contact(webhook=hook)}
    reach = NotificationSettings(directory=Directory(people=people, gateway="http://hitl.example.org"))
    worker = Worker(WorkerOptions(server=server, reach=reach), report)
    spare_the_collector()
    running = asyncio.create_task(worker.run([("bench", flows)], lambda _: serves.set()))
    await serves.wait()
    assert worker._resonate is not None
    yield SdkHand(worker._resonate.promises, tally)
    worker.stop()
    await running


class Hitl(Peer):
    """The worker that `hitl worker` runs, with the engine in its process."""

    name = "hitl"
    syncs = SYNCS

    @contextlib.contextmanager
    def serve(self, folder: Path, options: Options) -> Iterator[Running]:
        """Create the file."""
        del options
        path = folder / "hitl.db"
        EmbeddedClient(path).close()
        yield Running({"path": str(path)}, folder=folder)

    def worker(self, config: dict[str, str], tally: Tally, pid: str) -> AbstractAsyncContextManager[Hand]:
        """Run the worker."""
        del pid
        return hitl_worker(f"sqlite:///{config['path']}", tally, config.get("hook"))

    @contextlib.asynccontextmanager
    async def decider(self, config: dict[str, str]) -> AsyncIterator[Hand]:
        """Open the file once more, as a gateway would."""
        from pathlib import Path

        connection = EmbeddedConnection(
            Path(config["path"]), group="deciders", pid="decider", room=lambda _: 0, wants=lambda _: False
        )
        async with sdk_decider(connection) as hand:
            yield hand
        connection.close()


class HitlServer(Peer):
    """`hitl server` over loopback."""

    name = "hitl server"
    syncs = SYNCS

    @contextlib.contextmanager
    def serve(self, folder: Path, options: Options) -> Iterator[Running]:
        """Run `hitl server`."""
        del options
        command = [sys.executable, "-m", "hitl_cli", "server"]
        if subprocess.run([*command, "--help"], capture_output=True, check=False).returncode:
            raise Missing("this version has no `hitl server`")
        port = free_port()
        server = subprocess.Popen(
            [*command, "-S", file_url(folder / "hitl.db"), "--port", str(port)],
            stdout=subprocess.DEVNULL,
        )
        try:
            until_it_listens(port, server)
            yield Running({"url": f"http://127.0.0.1:{port}"}, (server.pid,), folder)
        finally:
            server.terminate()
            server.wait()

    def worker(self, config: dict[str, str], tally: Tally, pid: str) -> AbstractAsyncContextManager[Hand]:
        """Run the SDK's worker."""
        return http_worker(config["url"], tally, pid)

    def decider(self, config: dict[str, str]) -> AbstractAsyncContextManager[Hand]:
        """Give the SDK's client."""
        return http_decider(config["url"])
