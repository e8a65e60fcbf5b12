"""The address with /metrics, /health and /ready: an event loop in a thread of its own.

So a scrape does not delay other work, and a step that blocks the worker's event loop does not fail the health
check.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import TYPE_CHECKING

from aiohttp import web

from hitl_cli.engine.http.hosts import is_here
from hitl_cli.engine.http.listener import bearer, listen, plain
from hitl_cli.engine.http.serving_thread import ServingThread
from hitl_cli.errors import HitlError, logged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web import BaseRequest

    from hitl_cli.metrics.options import MetricsOptions

logger = logging.getLogger(__name__)

TEXT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}

CONNECTIONS_MAX = 64
IDLE_S = 75.0
"""Longer than Prometheus' usual interval, so that it keeps its connection."""

STOP_S = 1.0
"""How long to wait for a scrape that is being answered."""

SCRAPE_S = 8.0
"""Timeout for a scrape: less than Prometheus' own of 10 s, so that its error is ours."""


class MetricsListener(ServingThread):
    """Serves from `start` to `stop`, at `url`."""

    def __init__(
        self,
        options: MetricsOptions,
        text: Callable[[], Awaitable[bytes]],
        away: Callable[[], str | None],
    ) -> None:
        """`text` returns the metrics; `away` returns why the server cannot be reached, or None."""
        self._options = options
        self._text = text
        self._away = away
        self._ended = asyncio.Event()
        super().__init__("metrics", self._listen, self._ended.set, STOP_S)

    # In the thread

    async def _listen(self, announce: Callable[[str], None]) -> None:
        http = web.Server(self._handle, access_log=None, keepalive_timeout=IDLE_S)
        listener, url = await listen(http, self._options.host, self._options.port, CONNECTIONS_MAX)
        announce(url)
        await self._ended.wait()
        listener.close()
        await http.shutdown(0)

    async def _handle(self, request: BaseRequest) -> web.Response:
        token = self._options.settings.token
        if token is None and not is_here(request.host):  # DNS rebinding
            return plain(421, "unknown host: use localhost.")
        match request.path:
            case "/health":
                return plain(200, "ok")
            case "/ready":
                away = self._away()
                return plain(200, "ready") if away is None else plain(503, self._said(away, request))
            case "/metrics" if self._admits(request):
                return await self._metrics()
            case "/metrics":
                return plain(401, "send the token as Authorization: Bearer …", {"WWW-Authenticate": "Bearer"})
        return plain(404, "not found: see /metrics, /health, /ready")

    def _said(self, away: str, request: BaseRequest) -> str:
        """Return why the server is unreachable; to an unauthenticated reader, without details."""
        return away if self._admits(request) else "the server cannot be reached."

    def _admits(self, request: BaseRequest) -> bool:
        token = self._options.settings.token
        given = bearer(request.headers)
        if token is None or given is None:
            return token is None
        return hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode())

    async def _metrics(self) -> web.Response:
        try:
            async with asyncio.timeout(SCRAPE_S):
                return web.Response(body=await self._text(), headers=TEXT)
        except TimeoutError:
            return plain(503, f"the metrics could not be read within {SCRAPE_S:g} s.")
        except HitlError as error:
            logger.warning("the metrics could not be read: %s", logged(error))
            return plain(503, "the metrics could not be read.")
