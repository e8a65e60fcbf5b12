"""The application: its routes, its middlewares, and how it starts and stops.

The handlers are in other modules, each with a table `ROUTES`. A handler parses the request, calls one method
of the inbox or of runs through the bridge, and renders the result.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from hitl_cli.engine.http.listener import connections_possible, listen
from hitl_cli.errors import BadSetting
from hitl_cli.gateway import (
    answer_urls,
    command_calls,
    example_routes,
    health,
    hooks,
    login_routes,
    mcp_route,
    static,
)
from hitl_cli.gateway.api import routes as api
from hitl_cli.gateway.auth.redirects import HOME
from hitl_cli.gateway.context import GATEWAY
from hitl_cli.gateway.error_responses import answer_failures
from hitl_cli.gateway.observing import observe
from hitl_cli.gateway.pages import routes as pages
from hitl_cli.gateway.request_body import BODY_MAX, take_body
from hitl_cli.gateway.response_headers import harden
from hitl_cli.people.gateway_file import announced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp.web import Request, StreamResponse

    from hitl_cli.gateway.context import Gateway

ROUTES = [
    *health.ROUTES,
    *static.ROUTES,
    *pages.ROUTES,
    *api.ROUTES,
    *hooks.ROUTES,
    *answer_urls.ROUTES,
    *login_routes.ROUTES,
    *command_calls.ROUTES,
    *mcp_route.ROUTES,
]

IDLE_S = 20.0
"""Timeout for an idle connection and for a request's head: slow clients must not use up all connections."""

CONNECTIONS_MAX = 16_384
"""Connections at a time, as far as the process may open files; further ones are refused."""

GRACE_S = 5.0
"""Time to finish the current requests when the gateway stops."""


def application(gateway: Gateway) -> web.Application:
    """Return the application. By default it serves the example routes only on this machine."""
    app = web.Application(
        middlewares=[observe, answer_failures, gateway.access.admit, take_body], client_max_size=BODY_MAX
    )
    app.on_response_prepare.append(harden)
    app[GATEWAY] = gateway
    extra = example_routes.ROUTES if gateway.options.serves_example_routes else []
    extra = [*(route for one in gateway.access.sign_ins for route in one.routes), *extra]
    app.add_routes([*ROUTES, *extra])
    if base := gateway.options.base:  # for a proxy that does not strip it
        _check_base(base, ROUTES)
        app.add_routes([web.get(base, _to_inbox), *(_under(base, route) for route in (*ROUTES, *extra))])
    return app


def _check_base(base: str, routes: Iterable[web.RouteDef]) -> None:
    """Raise BadSetting for a base path that conflicts with a route."""
    for path in (route.path for route in routes):
        fixed, pattern, _ = path.partition("{")
        if path.startswith(f"{base}/") or (pattern and f"{base}/".startswith(fixed)):
            raise BadSetting(
                f"the gateway cannot be served under {base}: it has pages at that path. Use another path."
            )


def _under(base: str, route: web.RouteDef) -> web.RouteDef:
    """Return a route under a path."""
    return web.RouteDef(route.method, base + route.path, route.handler, route.kwargs)


async def _to_inbox(_request: Request) -> StreamResponse:
    """Redirect from the base path to the inbox."""
    raise web.HTTPSeeOther(HOME)


async def run(gateway: Gateway, serving: Callable[[str], None]) -> None:
    """Serve until the gateway stops; `serving` is called with the URL once it listens. Raises OSError."""
    # Malformed HTTP is answered but not logged: anyone could flood the log with it.
    malformed = logging.getLogger("hitl_cli.gateway.malformed")
    malformed.setLevel(logging.CRITICAL)
    runner = web.AppRunner(
        application(gateway),
        access_log=None,
        logger=malformed,
        auto_decompress=False,  # a compressed megabyte could expand to a gigabyte
        keepalive_timeout=IDLE_S,
        shutdown_timeout=GRACE_S,
    )
    await runner.setup()
    http = runner.server
    assert http is not None
    try:
        room = connections_possible(CONNECTIONS_MAX)
        listener, url = await listen(http, gateway.options.host, gateway.options.port, room)
        gateway.url = gateway.options.reached_at(url)
        if urlsplit(gateway.options.url).port == 0:  # the port is known only now
            gateway.cookies.name(urlsplit(url).port)
        gateway.housekeeper.start()
        gateway.check.start()
        gateway.start_metrics()
        gateway.go_on(gateway.fire_deadlines())
        gateway.go_on(gateway.prepare())
        with announced(gateway.options.announced_in, gateway.url):
            serving(url)
            await gateway.stopping.wait()
        listener.close()
    finally:
        await runner.cleanup()
        await gateway.drop()
        await asyncio.to_thread(gateway.housekeeper.stop)
        await asyncio.to_thread(gateway.check.stop)
        if gateway.scrape is not None:
            await asyncio.to_thread(gateway.scrape.stop)
        await asyncio.to_thread(gateway.feed.close)
        await asyncio.to_thread(gateway.lists.close)
        await asyncio.to_thread(gateway.decisions.close)
        await asyncio.to_thread(gateway.bridge.close)
        await asyncio.to_thread(gateway.lookback.close)
