"""Reads the figures of a gateway's metrics at each scrape."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from hitl_cli.errors import Unreachable
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.recent_decisions import RecentDecisions
from hitl_cli.metrics.gateway import GatewayMetrics
from hitl_cli.metrics.listener import MetricsListener
from hitl_cli.people.actor import Actor
from hitl_cli.runs.open_runs import open_runs

if TYPE_CHECKING:
    from hitl_cli.gateway.context import Gateway
    from hitl_cli.inbox.open_figures import OpenFigures
    from hitl_cli.metrics.options import MetricsOptions

ACTOR = Actor(person="metrics", via="metrics", may=frozenset({"read"}))
"""An actor without settings that could hide requests: all are counted, and none is shown."""

PAUSES = 20
"""The pause between two reads of open requests and runs, in multiples of the time of the last read."""


class Scrape:
    """Serves the metrics of a gateway. `start` and `stop` are called in its event loop."""

    def __init__(self, gateway: Gateway, options: MetricsOptions) -> None:
        self._gateway = gateway
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool = gateway.own_pool()
        self._recent = RecentDecisions()
        self._requests_at = self._runs_at = 0.0
        """When they are read next."""
        self.metrics = GatewayMetrics(
            options.settings,
            up=lambda: gateway.check.away is None,
            streams=lambda: gateway.feed.listeners,
            polls=lambda: len(gateway.waiters),
        )
        self.metrics.watch_disk(gateway.options.server)
        self._listener = MetricsListener(options, self._text, lambda: gateway.check.away)

    def start(self) -> str:
        """Start, and return the URL of the metrics. Raises OSError if it cannot listen."""
        self._loop = asyncio.get_running_loop()
        self._pool.submit(self._recent.look).add_done_callback(lambda found: found.exception())
        self._listener.start()
        return f"{self._listener.url}/metrics"

    def stop(self) -> None:
        """Stop. Waits for a read in progress."""
        self._listener.stop()
        self._pool.close()

    # In the listener's thread

    async def _text(self) -> bytes:
        try:
            known = self._gateway.check.away is None and await self._read()
        except Unreachable:
            known = False
        if not known:  # `hitl_server_up` reports it
            self.metrics.show_open(None)
            self.metrics.show_runs(None)
            self._requests_at = self._runs_at = 0.0
        return await self.metrics.text()

    async def _read(self) -> bool:
        """Read the figures of the server, unless they were just read. Raises Unreachable."""
        if time.monotonic() >= self._requests_at:
            self.metrics.show_open(await self._open())
        if (began := time.monotonic()) >= self._runs_at:
            self.metrics.show_runs(await self._pool.run(open_runs))
            self._runs_at = _paced(began)
        self.metrics.count(await self._pool.run(self._recent.look))
        return True

    async def _open(self) -> OpenFigures:
        """Return the figures of open requests, from memory if the server reports changes."""
        assert self._loop is not None
        began = time.monotonic()
        reading = self._gateway.lists.run(ACTOR, Inbox.figures)
        found = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(reading, self._loop))
        self._requests_at = 0.0 if found.kept else _paced(began)
        return found


def _paced(began: float) -> float:
    """Return when to read again, after a read that began at `began` and ends now."""
    now = time.monotonic()
    return now + (now - began) * PAUSES
