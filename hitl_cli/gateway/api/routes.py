"""The routes of the API, and its OpenAPI document."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from hitl_cli.gateway.api import agents, away, events, history, me, requests, rules, runs
from hitl_cli.gateway.api.openapi import document
from hitl_cli.gateway.api.route import served
from hitl_cli.gateway.context import gateway_of

if TYPE_CHECKING:
    from aiohttp.web import Request

TABLE = [
    *runs.routes,
    *requests.routes,
    *rules.routes,
    *away.routes,
    *agents.routes,
    *history.routes,
    *events.routes,
    *me.routes,
]


@cache
def _described(base: str) -> bytes:
    """Return the OpenAPI document as JSON, which never changes at runtime."""
    return msgspec.json.encode(document(TABLE, base))


async def _openapi(request: Request) -> web.Response:
    """Return the OpenAPI document."""
    described = _described(gateway_of(request).options.base)
    return web.Response(body=described, content_type="application/json")


ROUTES = [*map(served, TABLE), web.get("/api/v1/openapi.json", _openapi)]
