"""`GET /api/v1/events`: changes of requests as server-sent events, for programs and for the web pages."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Literal

from aiohttp import web
from msgspec import Struct

from hitl_cli.gateway.api.route import Call, Routes
from hitl_cli.gateway.context import gateway_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web import Request

    from hitl_cli.gateway.event_broadcaster import Stream
    from hitl_cli.people.actor import Actor

routes = Routes()

RETRY_MS = 2_000
"""How long a browser waits before it connects again."""

ALIVE_S = 15.0
"""Interval of keep-alive comments: proxies close a stream that is silent for a minute."""

KNOWN_S = 10.0
"""How often to check that the listener is still authenticated."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


class EventsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """Which changes to send: all, or those of requests that you may answer (`me`)."""

    for_: Literal["me"] | None = None


@routes.get(
    "/events",
    "Stream changes of requests as server-sent events.",
    needs=("read",),
    answers={200: None},
    media_type="text/event-stream",
)
async def _events(call: Call[EventsQuery, None]) -> web.StreamResponse:
    """Stream changes of requests until the client or the gateway closes the connection."""
    request = call.request
    return await tell(
        request,
        call.actor,
        lambda: gateway_of(request).access.still_sees(request, call.actor),
        mine=call.query.for_ is not None,
    )


async def tell(
    request: Request, listener: Actor, may_listen: Callable[[], Awaitable[bool]], *, mine: bool = False
) -> web.StreamResponse:
    """Stream changes of what the listener may see, or may answer (`mine`).

    It ends when the client leaves or loses its permission.
    """
    gateway = gateway_of(request)
    response = web.StreamResponse(headers=HEADERS)
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    stream = gateway.feed.join(listener, lambda: _hang_up(request), mine=mine)
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
    """Write the events of a stream until it ends or its reader loses the permission."""
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
    """Close the connection of a client that reads too slowly."""
    if request.transport is not None:
        request.transport.abort()
