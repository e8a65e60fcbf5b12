"""The SDK's own server in the worker's memory. It stores nothing, and no other process can reach it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from resonate.connections import LocalConnection

from bench.peer import Peer, Running
from bench.peers.sdk import GROUP, sdk_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from bench.peer import Hand, Options, Tally


class Memory(Peer):
    """resonate-sdk on its LocalConnection."""

    name = "resonate-sdk in memory"
    syncs = "nothing is kept"
    apart = False
    workers = 1

    @contextlib.contextmanager
    def serve(self, folder: Path, options: Options) -> Iterator[Running]:
        """Need nothing."""
        del folder, options
        yield Running({})

    def worker(self, config: dict[str, str], tally: Tally, pid: str) -> AbstractAsyncContextManager[Hand]:
        """Run the worker, and its server with it."""
        del config
        connection = LocalConnection(pid=pid, group=GROUP)
        return sdk_worker(connection, connection, tally, pid)

    def decider(self, config: dict[str, str]) -> AbstractAsyncContextManager[Hand]:
        """No other process can reach it."""
        raise NotImplementedError
