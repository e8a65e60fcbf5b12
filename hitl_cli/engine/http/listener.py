"""Listening for HTTP with a limit on connections; and the requests and responses of small servers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)


FILES_BESIDE = 512
"""Files that a process has open besides its connections."""


def connections_possible(wanted: int) -> int:
    """Raise the limit of open files for `wanted` connections, and return how many are possible.

    A warning is logged if the user may not raise it far enough.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < needed:
        most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with contextlib.suppress(OSError, ValueError):  # some systems have a lower limit that cannot be read
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
        if soft < needed:
            possible = max(soft - FILES_BESIDE, soft // 2)
            logger.warning(
                "this process may open %s files, so it serves %s connections at a time, not %s. To serve"
                " more, raise the limit with ulimit -Hn, or LimitNOFILE= of systemd",
                f"{soft:,}",
                f"{possible:,}",
                f"{wanted:,}",
            )
            return possible
    return wanted


async def listen(http: web.Server, host: str, port: int, connections_max: int) -> tuple[asyncio.Server, str]:
    """Return the listener and its URL. Connections above the limit get a 503. Raises OSError."""
    listener = await asyncio.get_running_loop().create_server(
        lambda: _Full() if len(http.connections) >= connections_max else http(), host, port, backlog=1_024
    )
    host, port = listener.sockets[0].getsockname()[:2]
    return listener, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def plain(status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return a response with one line of text."""
    return web.Response(status=status, text=f"{text}\n", headers=headers)


def bearer(headers: Mapping[str, str]) -> str | None:
    """Return the token in the headers of a request; None without one."""
    kind, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


class _Full(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        transport.close()
