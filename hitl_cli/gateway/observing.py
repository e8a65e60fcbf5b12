"""Records each HTTP request: a line of the access log, and its time for the metrics."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from aiohttp import web

from hitl_cli import tracing
from hitl_cli.format import log_fields
from hitl_cli.gateway.auth.rate_limit import client_of
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import shown_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from aiohttp.web import Request, StreamResponse
    from opentelemetry.trace import Span

logger = logging.getLogger("hitl_cli.access")

LEFT = 499
"""The status for a request whose client has left."""


@web.middleware
async def observe(
    request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
) -> StreamResponse:
    """Record how a request was answered, and how long that took; in a span of its own if traces are on."""
    began, status = time.perf_counter(), LEFT
    log_fields.context.set({})  # all requests of a connection share one context
    with _span(request) as made:
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as redirect:
            status = redirect.status
            raise
        finally:
            if made is not None:
                made.set_attribute("http.response.status_code", status)
            _note(request, status, time.perf_counter() - began)
    return response


def _span(request: Request) -> AbstractContextManager[Span | None]:
    """Return the span of a request; nothing if traces are off."""
    tracer = tracing.current()
    if tracer is None:
        return nullcontext()
    route = _route_of(request) or ""
    about = {"http.request.method": request.method, "http.route": route}
    caller = tracing.trace_in(request.headers.get(tracing.HEADER))
    return tracer.span(f"{request.method} {route}".strip(), about, parent=caller, serves=True)


def _route_of(request: Request) -> str | None:
    """Return the pattern of a request's route."""
    resource = request.match_info.route.resource
    return None if resource is None else gateway_of(request).options.without_base(resource.canonical)


def _note(request: Request, status: int, seconds: float) -> None:
    gateway = gateway_of(request)
    if gateway.scrape is not None and not _waits(request):
        gateway.scrape.metrics.request(request.method, _route_of(request), status, seconds)
    if gateway.options.access_log:
        _log(request, status, round(seconds * 1_000))


def _waits(request: Request) -> bool:
    """Whether a request takes as long as its client wants to wait: an event stream, or a long poll."""
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
