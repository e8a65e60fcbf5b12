"""The SDK's connections to a Resonate server over HTTP, for a worker that runs for months."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import aiohttp
from resonate.connections import HttpConnection, SSEConnection
from resonate.error import ServerError

if TYPE_CHECKING:
    from aiohttp import AddrInfoType

BAD_REQUEST = 400
TOO_LARGE = 413

SAID = 200
"""Characters of a text of a server to show."""

CONNECT_S = 30.0
"""How long opening the connection may take. The SDK tries again after a while."""

ANSWER_S = 60.0
"""How long a server may be silent before a request is sent again."""

KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds and tries after which the system reports that the server's machine is gone."""


class Requests(HttpConnection):
    """The SDK's requests, sent again if no answer comes, and refused if they are too large.

    The SDK's own raises TimeoutError after five minutes, into the workflow that waits. For a request that is
    too large, a proxy or a Resonate Server has HTTP status 413 and a text, which it takes for a failure.
    """

    def _ensure_session(self) -> aiohttp.ClientSession:
        if self._session is None and not self._stopped:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=ANSWER_S),
                connector=aiohttp.TCPConnector(limit=self._conn_limit),
                raise_for_status=_refuse_too_large,
            )
        return super()._ensure_session()


async def _refuse_too_large(response: aiohttp.ClientResponse) -> None:
    """Raise ServerError if a request was too large, unless the answer is the protocol's."""
    if response.status == TOO_LARGE and response.content_type != "application/json":
        size = response.request_info.headers.get("Content-Length", "?")
        said = (await response.text())[:SAID].strip()
        raise ServerError(BAD_REQUEST, f"the server does not accept a request of {size} bytes: {said}")


class EventStream(SSEConnection):
    """The SDK's stream of server-sent events, without a time limit.

    The SDK's own ends after five minutes, the time limit of aiohttp for a whole response, and is not opened
    again: from then on a worker hears of no task.
    """

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
