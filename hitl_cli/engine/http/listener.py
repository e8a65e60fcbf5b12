"""Listening for HTTP, up to a number of connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web


async def listen(http: web.Server, host: str, port: int, connections_max: int) -> tuple[asyncio.Server, str]:
    """Return the listener and its URL. Connections above the limit get a 503. Raises OSError."""
    listener = await asyncio.get_running_loop().create_server(
        lambda: _Full() if len(http.connections) >= connections_max else http(), host, port, backlog=1_024
    )
    host, port = listener.sockets[0].getsockname()[:2]
    return listener, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Full(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        transport.close()
