"""`GET /api/v1/events`: what changes, as server-sent events, for programs and for the pages' own script."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Literal

from aiohttp import web
from msgspec import Struct

from hitl_cli.gateway.api.route import Call, Route
from hitl_cli.gateway.context import gateway_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web import Request

    from hitl_cli.gateway.event_broadcaster import Stream
    from hitl_cli.people.actor import Actor

RETRY_MS = 2_000
"""How long a browser waits before it connects again."""

ALIVE_S = 15.0
"""How often a silent stream says that it is alive: proxies close what says nothing for a minute."""

KNOWN_S = 30.0
"""For how long it is believed that whoever listens still may."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


class EventsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """Which changes: all, or those of requests that are yours to answer (`me`)."""

    for_: Literal["me"] | None = None


async def _events(call: Call) -> web.StreamResponse:
    """Tell what changes until the reader goes, or the gateway does."""
    request = call.request
    listener = call.actor if call.query.for_ is not None else None
    return await tell(request, listener, lambda: gateway_of(request).access.still_known(request))


async def tell(
    request: Request, listener: Actor | None, may_listen: Callable[[], Awaitable[bool]]
) -> web.StreamResponse:
    """Tell what changes, to a listener what concerns them, until the reader goes or may listen no more."""
    gateway = gateway_of(request)
    response = web.StreamResponse(headers=HEADERS)
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    stream = gateway.feed.join(listener, lambda: _hang_up(request))
    try:
        await gateway.feed.ready()
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            again = "Last-Event-ID" in request.headers
            first = gateway.feed.event("look" if again else "ready")
            await response.write(f"retry: {RETRY_MS}\n\n".encode() + first.text)
            await _write(response, stream, may_listen)
    finally:
        gateway.feed.leave(stream)
    return response


async def _write(
    response: web.StreamResponse, stream: Stream, may_listen: Callable[[], Awaitable[bool]]
) -> None:
    """Write what a stream is given, until it ends or its reader may listen no more."""
    known_at = time.monotonic()
    while True:
        try:
            text = await stream.next(ALIVE_S)
        except TimeoutError:
            text = b": alive\n\n"
        if text is None:
            return
        if time.monotonic() - known_at > KNOWN_S:
            if not await may_listen():
                return
            known_at = time.monotonic()
        await response.write(text)


def _hang_up(request: Request) -> None:
    """End a connection whose reader takes nothing."""
    if request.transport is not None:
        request.transport.abort()


TABLE = [
    Route(
        method="GET",
        path="/api/v1/events",
        handle=_events,
        needs="read",
        summary="What changes, as server-sent events.",
        query=EventsQuery,
        answers={200: None},
        media_type="text/event-stream",
    )
]
