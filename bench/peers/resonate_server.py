"""resonate-sdk on the Resonate Server over loopback, as it ships and with its delivery turned up."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING, ClassVar

from bench.peer import Missing, Peer, Running
from bench.peers.http import free_port, http_decider, http_worker, until_it_listens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from bench.peer import Hand, Options, Tally


class ResonateServer(Peer):
    """Delivers on a tick of 100 ms, up to 100 messages at a time, into a buffer of 100."""

    name = "Resonate Server"
    syncs = "no (SQLite, synchronous=NORMAL)"
    sizes = 100
    settings: ClassVar[Mapping[str, str]] = {}

    @contextlib.contextmanager
    def serve(self, folder: Path, options: Options) -> Iterator[Running]:
        """Run the server."""
        if options.resonate_server is None or not options.resonate_server.exists():
            raise Missing("name its program: --resonate-server FILE")
        port = free_port()
        env = {
            **os.environ,
            **self.settings,
            "RESONATE_LEVEL": "error",
            "RESONATE_SERVER__PORT": str(port),
            "RESONATE_SERVER__BIND": "127.0.0.1",
            "RESONATE_STORAGE__SQLITE__PATH": str(folder / "resonate.db"),
            "RESONATE_OBSERVABILITY__METRICS_PORT": str(free_port()),
        }
        server = subprocess.Popen(
            [options.resonate_server, "serve"],
            env=env,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
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


class TunedResonateServer(ResonateServer):
    """Looks every millisecond, and has room for all that a run of the benchmark can send."""

    name = "Resonate Server, tuned"
    sizes = 100_000
    settings: ClassVar[Mapping[str, str]] = {
        "RESONATE_MESSAGES__POLL_INTERVAL": "1",
        "RESONATE_MESSAGES__BATCH_SIZE": "1000",
        "RESONATE_TRANSPORTS__HTTP_POLL__BUFFER_SIZE": "1000000",
    }
