"""The application: all routes, what every request passes through, and how it starts and stops.

What is answered is in the modules beside it, each with a table `ROUTES`. A handler parses, calls one
function of the inbox or of runs through the bridge, and shows what that returns.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import ClientPayloadError, web

from hitl_cli.engine.http.listener import listen
from hitl_cli.errors import BadSetting
from hitl_cli.gateway import example_routes, health, hooks, static
from hitl_cli.gateway.api import routes as api
from hitl_cli.gateway.auth.redirects import HOME
from hitl_cli.gateway.context import GATEWAY, gateway_of
from hitl_cli.gateway.error_responses import answer_failures
from hitl_cli.gateway.http_error import HttpError
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
]

BODY_MAX = 2 * 1024 * 1024
"""Bytes of a request's body: an answer may carry a million, and a form writes some of them as three."""

BODY_S = 20.0
"""How long a request's body may take to arrive."""

IDLE_S = 20.0
"""How long a connection may say nothing, or take to say what it wants: slow ones are not to use up all."""

CONNECTIONS_MAX = 8_192
"""Connections at a time; more are told to come back."""

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
    """Return the application. The pattern's own routes are on this machine alone, if nobody asks for them."""
    app = web.Application(
        middlewares=[answer_failures, gateway.access.admit, _take_body], client_max_size=BODY_MAX
    )
    app.on_response_prepare.append(_harden)
    app[GATEWAY] = gateway
    extra = example_routes.ROUTES if gateway.options.serves_example_routes else []
    app.add_routes([*ROUTES, *extra])
    if base := gateway.options.base:  # for a proxy that does not remove it
        _check_base(base, ROUTES)
        app.add_routes([web.get(base, _to_inbox), *(_under(base, route) for route in (*ROUTES, *extra))])
    return app


def _check_base(base: str, routes: Iterable[web.RouteDef]) -> None:
    """Raise BadSetting for a path under which an address could be of two pages."""
    for path in (route.path for route in routes):
        fixed, pattern, _ = path.partition("{")
        if path.startswith(f"{base}/") or (pattern and f"{base}/".startswith(fixed)):
            raise BadSetting(
                f"a gateway cannot be under {base}: it has pages of that name. Use another path."
            )


def _under(base: str, route: web.RouteDef) -> web.RouteDef:
    """Return a route under a path."""
    return web.RouteDef(route.method, base + route.path, route.handler, route.kwargs)


async def _to_inbox(_request: Request) -> StreamResponse:
    """Lead from the path that the gateway is under to its first page."""
    raise web.HTTPSeeOther(HOME)


async def run(gateway: Gateway, serving: Callable[[str], None]) -> None:
    """Serve until told to stop; `serving` is told the URL once it does. Raises OSError."""
    # What is no HTTP at all anybody may send without end: it is answered, and not logged.
    malformed = logging.getLogger("hitl_cli.gateway.malformed")
    malformed.setLevel(logging.CRITICAL)
    runner = web.AppRunner(
        application(gateway),
        access_log=None,
        logger=malformed,
        auto_decompress=False,  # a megabyte can hold a thousand of them, and anybody may send it
        keepalive_timeout=IDLE_S,
        shutdown_timeout=GRACE_S,
    )
    await runner.setup()
    http = runner.server
    assert http is not None
    try:
        listener, url = await listen(http, gateway.options.host, gateway.options.port, CONNECTIONS_MAX)
        if urlsplit(gateway.options.url).port == 0:  # the address is known only now
            gateway.cookies.name(urlsplit(url).port)
        gateway.housekeeper.start()
        with announced(gateway.options.announced_in, gateway.options.reached_at(url)):
            serving(url)
            await gateway.stopping.wait()
        listener.close()
    finally:
        await runner.cleanup()
        await asyncio.to_thread(gateway.housekeeper.stop)
        await asyncio.to_thread(gateway.feed.close)
        await asyncio.to_thread(gateway.bridge.close)
        await asyncio.to_thread(gateway.lookback.close)


async def _harden(request: Request, response: StreamResponse) -> None:
    """Say on every answer what a browser may do with it, and lead to where people reach the gateway."""
    response.headers["Server"] = "hitl"
    if response.headers.get("Location", "").startswith("/"):
        response.headers["Location"] = gateway_of(request).options.base + response.headers["Location"]
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


@web.middleware
async def _take_body(
    request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
) -> StreamResponse:
    """Read the body before anything is done with it, and give up on one that does not come."""
    if request.can_read_body:
        if request.content_type.startswith("multipart/"):
            raise HttpError(415, "send JSON, or a form (application/x-www-form-urlencoded) without files.")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise HttpError(415, "send it as it is, and not compressed.", {"Accept-Encoding": "identity"})
        try:
            async with asyncio.timeout(BODY_S):
                await request.read()
            form = await request.post()  # kept with the request; of what is no form it is empty
            for text in (*form.keys(), *form.values()):
                str(text).encode()  # some charsets have it be what no text is
        except TimeoutError as error:
            raise HttpError(408, f"the request did not arrive within {BODY_S:.0f} s.") from error
        except ClientPayloadError as error:
            raise HttpError(400, "the request's body is malformed.") from error
        except (LookupError, UnicodeError) as error:
            raise HttpError(400, "the form is not text in UTF-8.") from error
    return await handler(request)
