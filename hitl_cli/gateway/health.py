"""Whether the gateway is up, and whether its server is: for what watches over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from hitl_cli.gateway.bridge import reachable
from hitl_cli.gateway.failures import AWAY
from hitl_cli.gateway.service import gateway_of

if TYPE_CHECKING:
    from aiohttp.web import Request


async def health(_request: Request) -> web.Response:
    """Say that the gateway is up."""
    return web.Response(text="ok\n")


async def ready(request: Request) -> web.Response:
    """Say whether the server can be asked."""
    gateway = gateway_of(request)
    why = await reachable(gateway.bridge)
    if why is None:
        return web.Response(text="ready\n")
    return web.Response(status=503, text=f"{why if gateway.access.known(request) else AWAY}\n")


ROUTES = [web.get("/health", health), web.get("/ready", ready)]
