"""What is noted of each HTTP request: a line of the access log, and its time for the metrics."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from aiohttp import web

from hitl_cli import tracing
from hitl_cli.format import log_fields
from hitl_cli.gateway.auth.rate_limit import client_of
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import shown_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web import Request, StreamResponse

logger = logging.getLogger("hitl_cli.access")

LEFT = 499
"""Stands for the status of a request whose client has left."""


@web.middleware
async def observe(
    request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
) -> StreamResponse:
    """Note how a request was answered, and how long that took."""
    began, status = time.perf_counter(), LEFT
    log_fields.context.set({})  # a connection has one context for all its requests
    try:
        response = await _traced(request, handler)
        status = response.status
    except web.HTTPException as redirect:
        status = redirect.status
        raise
    finally:
        _note(request, status, time.perf_counter() - began)
    return response


async def _traced(
    request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
) -> StreamResponse:
    """Handle a request, in a span of its own if traces are on."""
    tracer = tracing.current()
    if tracer is None:
        return await handler(request)
    resource = request.match_info.route.resource
    route = "" if resource is None else gateway_of(request).options.without_base(resource.canonical)
    about = {"http.request.method": request.method, "http.route": route}
    caller = tracing.trace_in(request.headers.get(tracing.HEADER))
    with tracer.span(f"{request.method} {route}".strip(), about, parent=caller, serves=True) as made:
        status = LEFT
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as redirect:
            status = redirect.status
            raise
        finally:
            made.set_attribute("http.response.status_code", status)
        return response


def _note(request: Request, status: int, seconds: float) -> None:
    gateway = gateway_of(request)
    if gateway.scrape is not None and not _waits(request):
        resource = request.match_info.route.resource
        route = None if resource is None else gateway.options.without_base(resource.canonical)
        gateway.scrape.metrics.request(request.method, route, status, seconds)
    if gateway.options.access_log:
        _log(request, status, round(seconds * 1_000))


def _waits(request: Request) -> bool:
    """Whether the time of a request is that of people: an event stream, or a long poll."""
    return "wait" in request.query or request.path.endswith("/events")


def _log(request: Request, status: int, ms: int) -> None:
    """Log a request, without what may be a secret: its query, its headers, the tokens of links."""
    visitor = gateway_of(request).access.known(request)
    person = None if visitor is None else visitor.person
    path = shown_path(request)
    remote = client_of(request, gateway_of(request).options.trust_from) or "-"
    also = {"method": request.method, "path": path, "status": status, "ms": ms, "remote": remote}
    logger.info(
        "%s %s %s %s ms %s %s",
        request.method,
        path,
        status,
        ms,
        person or "-",
        remote,
        extra={"event": "http", "also": also, **({"person": person} if person else {})},
    )
