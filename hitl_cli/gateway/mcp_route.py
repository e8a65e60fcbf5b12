"""The route `/mcp`, for MCP clients with a token that may ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from hitl_cli.errors import MissingExtra, NotAllowed
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.mcp.extra import require_mcp

if TYPE_CHECKING:
    from aiohttp.web import Request

VIA = "mcp"
"""The `via` of actions, for the record."""

INSUFFICIENT = {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}


async def _serve(request: Request) -> web.StreamResponse:
    """Respond to a message, with the permission `ask` only."""
    gateway = gateway_of(request)
    if not gateway.options.mcp:
        raise HttpError(404, "this gateway does not serve MCP: it was started with --no-mcp.")
    try:
        require_mcp()
    except MissingExtra as error:
        raise HttpError(404, f"this gateway does not serve MCP. {error}") from error
    try:
        visitor = gateway.access.visitor(request, "ask")
    except NotAllowed as error:
        raise HttpError(403, str(error), INSUFFICIENT, code=error.code) from error
    actor = msgspec.structs.replace(visitor.actor, via=VIA, may=frozenset({"ask"}))
    return await gateway.mcp.serve(request, actor)


ROUTES = [web.post("/mcp", _serve)]
