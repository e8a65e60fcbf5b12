"""Serves an ASGI application on a route of aiohttp, in its event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web
from multidict import CIMultiDict

from hitl_cli.gateway.decision_waiters import has_left

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.web import Request

    type _Message = Mapping[str, Any]
    type Application = Callable[
        [dict[str, Any], Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]],
        Awaitable[None],
    ]

LOOK_S = 1.0
"""How often to look whether the client has left."""

HOP = ("connection", "transfer-encoding")
"""Headers that are about the connection, which aiohttp keeps."""


async def serve(request: Request, application: Application, **more: Any) -> web.StreamResponse:
    """Return the response of an application. `more` is added to its scope."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.raw_path.partition("?")[0].encode(),
        "query_string": request.query_string.encode(),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
        "client": (request.remote or "", 0),
        "server": (request.host, None),
        **more,
    }
    body: bytes | None = await request.read()
    response: web.StreamResponse | None = None

    async def receive() -> _Message:
        nonlocal body
        if body is not None:
            message, body = {"type": "http.request", "body": body, "more_body": False}, None
            return message
        while not has_left(request):  # noqa: ASYNC110 - aiohttp does not tell it by an event
            await asyncio.sleep(LOOK_S)
        return {"type": "http.disconnect"}

    async def send(message: _Message) -> None:
        nonlocal response
        if message["type"] == "http.response.start":
            headers = CIMultiDict(
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in message.get("headers", ())
            )
            for name in HOP:
                headers.popall(name, None)
            response = web.StreamResponse(status=message["status"], headers=headers)
            await response.prepare(request)
        elif response is not None and not has_left(request):
            await response.write(message.get("body", b""))

    await application(scope, receive, send)
    if response is None:
        raise ConnectionResetError
    await response.write_eof()
    return response
