"""The application: its routes, its middlewares, and how it starts and stops.

The handlers are in other modules, each with a table `ROUTES`. A handler parses the request, calls one method
of the inbox or of runs through the bridge, and renders the result.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import ClientPayloadError, web

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
from hitl_cli.gateway.context import GATEWAY, gateway_of
from hitl_cli.gateway.error_responses import answer_failures
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.gateway.observing import observe
from hitl_cli.gateway.pages import routes as pages
from hitl_cli.people.gateway_file import announced

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

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

BODY_MAX = 2 * 1024 * 1024
"""Bytes of a request's body. An answer may have a million, and a form encodes some of them as three."""

BODY_S = 20.0
"""Timeout for a request's body."""

IDLE_S = 20.0
"""Timeout for an idle connection and for a request's head: slow clients must not use up all connections."""

CONNECTIONS_MAX = 16_384
"""Connections at a time, as far as the process may open files; further ones are refused."""

GRACE_S = 5.0
"""Time to finish the current requests when the gateway stops."""

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
"""Headers of every response that does not set them itself."""


def application(gateway: Gateway) -> web.Application:
    """Return the application. By default it serves the example routes only on this machine."""
    app = web.Application(
        middlewares=[observe, answer_failures, gateway.access.admit, _take_body], client_max_size=BODY_MAX
    )
    app.on_response_prepare.append(_harden)
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


async def _harden(request: Request, response: StreamResponse) -> None:
    """Add the security headers to a response, and the base path to its redirect."""
    response.headers["Server"] = "hitl"
    if response.headers.get("Location", "").startswith("/"):
        response.headers["Location"] = gateway_of(request).options.base + response.headers["Location"]
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


@web.middleware
async def _take_body(
    request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
) -> StreamResponse:
    """Read the whole body before the handler runs. Raises HttpError for one that is malformed or too slow."""
    if request.can_read_body:
        if request.content_type.startswith("multipart/"):
            raise HttpError(415, "send JSON or a form without files (application/x-www-form-urlencoded).")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise HttpError(415, "send the body uncompressed.", {"Accept-Encoding": "identity"})
        try:
            async with asyncio.timeout(BODY_S):
                await request.read()
            form = await request.post()  # aiohttp caches it; empty if the body is not a form
            for text in (*form.keys(), *form.values()):
                str(text).encode()  # some charsets decode to lone surrogates
        except TimeoutError as error:
            raise HttpError(408, f"the request did not arrive within {BODY_S:.0f} s.") from error
        except ClientPayloadError as error:
            raise HttpError(400, "the request's body is malformed.") from error
        except (LookupError, UnicodeError) as error:
            raise HttpError(400, "the form is not UTF-8 text.") from error
    return await handler(request)
