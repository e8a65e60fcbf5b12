"""The application: all routes, what every request passes through, and how it starts and stops.

What is answered is in the modules beside it, each with a table `ROUTES`. A handler parses, calls one
function of the inbox or of runs through the bridge, and shows what that returns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from hitl_cli.gateway import health, pattern, static
from hitl_cli.gateway.failures import answer_failures
from hitl_cli.gateway.service import GATEWAY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web import Request, StreamResponse

    from hitl_cli.gateway.service import Gateway

ROUTES = [*health.ROUTES, *pattern.ROUTES, *static.ROUTES]

BODY_MAX = 2 * 1024 * 1024
"""Bytes of a request's body: an answer may carry a million, and a form writes some of them as three."""

GRACE_S = 5.0
"""How long requests in hand have to be answered once the gateway is told to stop."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What every answer says, unless it says otherwise itself."""


def application(gateway: Gateway) -> web.Application:
    """Return the application, with all routes."""
    app = web.Application(
        middlewares=[harden, answer_failures, gateway.access.admit], client_max_size=BODY_MAX
    )
    app[GATEWAY] = gateway
    app.add_routes(ROUTES)
    return app


async def run(gateway: Gateway, serving: Callable[[str], None]) -> None:
    """Serve until told to stop; `serving` is told the URL once it does. Raises OSError."""
    runner = web.AppRunner(application(gateway), access_log=None, shutdown_timeout=GRACE_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, gateway.options.host, gateway.options.port, backlog=1_024)
        await site.start()
        host, port = runner.addresses[0][:2]
        serving(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        await gateway.stopping.wait()
    finally:
        await runner.cleanup()
        await asyncio.to_thread(gateway.bridge.close)


@web.middleware
async def harden(request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]) -> StreamResponse:
    """Say on every answer what a browser may do with it."""
    response = await handler(request)
    if not response.prepared:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
    return response
