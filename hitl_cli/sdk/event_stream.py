"""A worker's stream of messages from a Resonate server, which lasts.

The SDK's own ends after five minutes, the timeout of aiohttp for a whole response, and is not opened again:
from then on a worker hears of no task.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import aiohttp
from resonate.connections import SSEConnection

if TYPE_CHECKING:
    from aiohttp import AddrInfoType

CONNECT_S = 30.0
"""How long opening the connection may take. The SDK tries again after a while."""

KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds and tries after which the system reports that the server's machine is gone."""


class EventStream(SSEConnection):
    """The SDK's stream of server-sent events, without a time limit."""

    def _ensure_session(self) -> aiohttp.ClientSession:
        if self._session is None and not self._stopped:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                connector=aiohttp.TCPConnector(socket_factory=_kept_alive),
            )
        return super()._ensure_session()


def _kept_alive(address: AddrInfoType) -> socket.socket:
    """Return a socket that notices that the other machine is gone."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
