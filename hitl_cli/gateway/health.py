"""Health checks of the gateway and its server, for monitoring."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from hitl_cli.client.protocol import get_promise
from hitl_cli.errors import Unreachable
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import AWAY

if TYPE_CHECKING:
    from aiohttp.web import Request


READY_S = 4.0
"""How long the server may take to answer: less than a usual probe's timeout, so that it gets the reason."""


async def _health(_request: Request) -> web.Response:
    """Respond 200: the gateway is up."""
    return web.Response(text="ok\n")


async def _ready(request: Request) -> web.Response:
    """Respond 200 if the server can be reached, otherwise 503."""
    gateway = gateway_of(request)
    try:
        async with asyncio.timeout(READY_S):
            await gateway.bridge.run(get_promise, "hitl")
    except TimeoutError:
        return web.Response(status=503, text=f"the server has not answered for {READY_S:g} s.\n")
    except Unreachable as error:
        why = error if gateway.access.known(request) else AWAY
        return web.Response(status=503, text=f"{why}\n")
    return web.Response(text="ready\n")


ROUTES = [web.get("/health", _health), web.get("/ready", _ready)]
