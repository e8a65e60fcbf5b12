"""Runs blocking client calls in threads, for use from an event loop.

Each thread has its own client, which it opens on first use.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Concatenate

from hitl_cli.engine.server import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.protocol import Client

THREADS = 4
"""How many calls run at once. More would only wait for the same file."""


class ClientPool:
    """Runs functions of a client in threads."""

    def __init__(self, open_client: Callable[[], Client], threads: int = THREADS) -> None:
        self._open_client = open_client
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="server")
        self._own = threading.local()
        self._clients: list[Client] = []
        self._lock = threading.Lock()

    async def run[**P, T](
        self, function: Callable[Concatenate[Client, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of a function of a client, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: function(self._client(), *args, **kwargs))

    def now(self) -> int:
        """Return the present in ms since the epoch: by the server's clock, once it was reached."""
        return self._clients[0].now() if self._clients else now_ms()

    def close(self) -> None:
        """Wait for the calls in progress, and close the clients. It may be called in an event loop."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._clients:
            with ThreadPoolExecutor(1) as closing:  # a client over HTTP has an event loop of its own
                list(closing.map(lambda client: client.close(), self._clients))

    def _client(self) -> Client:
        client: Client | None = getattr(self._own, "client", None)
        if client is None:
            client = self._open_client()
            self._own.client = client
            with self._lock:
                self._clients.append(client)
        return client
