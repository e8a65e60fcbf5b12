"""The SDK's connections to a Resonate server over HTTP, for a worker that runs for months."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

import aiohttp
from resonate.connections import HttpConnection, SSEConnection
from resonate.error import ServerError
from resonate_base import ResonateError

from hitl_cli.client.http import send
from hitl_cli.client.protocol import OK, ProtocolRequest, as_promise
from hitl_cli.client.wire import offered_task
from hitl_cli.engine.records import Value
from hitl_cli.errors import HitlError, logged
from hitl_cli.sdk.suspension import outside_of_functions

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import AddrInfoType
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace
    from resonate_base import Network, Source

logger = logging.getLogger(__name__)

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

    The SDK's own class raises TimeoutError after five minutes, in the workflow that waits. If a request is
    too large, a proxy or a Resonate Server responds with HTTP status 413 and a text, which the SDK's class
    takes for a connection failure.
    """

    def _ensure_session(self) -> aiohttp.ClientSession:
        if self._session is None and not self._stopped:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=ANSWER_S),
                connector=_Connections(limit=self._conn_limit),
                raise_for_status=_refuse_too_large,
            )
        return super()._ensure_session()


class _Connections(aiohttp.TCPConnector):
    """Connections of the worker: a workflow that suspends does not wait for what they receive."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        """Return a free connection, or a new one."""
        with outside_of_functions():
            return await super().connect(req, traces, timeout)


async def _refuse_too_large(response: aiohttp.ClientResponse) -> None:
    """Raise ServerError if a request was too large, unless the response is one of the protocol."""
    if response.status == TOO_LARGE and response.content_type != "application/json":
        size = response.request_info.headers.get("Content-Length", "?")
        said = (await response.text())[:SAID].strip()
        raise ServerError(BAD_REQUEST, f"the server does not accept a request of {size} bytes: {said}")


class EventStream(SSEConnection):
    """The SDK's stream of server-sent events, without a time limit.

    The SDK's own stream ends after five minutes, aiohttp's time limit for a whole response, and is not
    reopened, so the worker would get no more tasks.
    """

    def _ensure_session(self) -> aiohttp.ClientSession:
        if self._session is None and not self._stopped:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                connector=aiohttp.TCPConnector(socket_factory=_kept_alive),
            )
        return super()._ensure_session()


def _kept_alive(address: AddrInfoType) -> socket.socket:
    """Return a socket that detects a lost peer."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


class FilteringSource:
    """A source that passes on only the tasks whose function this worker serves.

    The server offers the other tasks again after a while. If they were passed on, the SDK would release them,
    and the server would offer them again at once, without end.

    A Resonate Server also offers the timers of `ctx.sleep`, which no worker can execute. Their tasks are
    halted, so that they are not offered again. The timers are still resolved at their time.
    """

    def __init__(
        self, source: Source, network: Network, token: str | None, wants: Callable[[str, Value], bool]
    ) -> None:
        self._source = source
        self._network = network
        self._token = token
        self._wants = wants
        self._callbacks: list[Callable[[str], None]] = []
        self._choosing: set[asyncio.Task[None]] = set()
        source.recv(self._received)

    def unicast(self) -> str:
        """Return the address of this process only."""
        return self._source.unicast()

    def resolve_target(self, target: str) -> str:
        """Return the address of any worker of a group."""
        return self._source.resolve_target(target)

    def recv(self, callback: Callable[[str], None]) -> None:
        """Pass messages to the callback."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Start receiving messages."""
        await self._source.start()

    async def stop(self) -> None:
        """Stop receiving messages."""
        self._callbacks.clear()
        await self._source.stop()

    def _received(self, text: str) -> None:
        task = asyncio.get_running_loop().create_task(self._choose(text))
        self._choosing.add(task)
        task.add_done_callback(self._choosing.discard)

    async def _choose(self, text: str) -> None:
        if (id := offered_task(text)) is not None:
            try:
                if not await self._is_wanted(id):
                    return
            except (HitlError, ResonateError, OSError) as error:  # the server offers it again after a while
                logger.warning("the task %s was offered, but cannot be read: %s", id, logged(error))
                return
        for callback in self._callbacks:
            callback(text)

    async def _is_wanted(self, id: str) -> bool:
        """Whether this worker can execute a task. A timer's task is halted."""
        answer = await send(self._network, ProtocolRequest("promise.get", {"id": id}), self._token)
        if answer.status != OK:
            return True
        promise = as_promise(answer)
        if promise.is_timer:
            if promise.state == "pending":
                await send(self._network, ProtocolRequest("task.halt", {"id": id}), self._token)
            return False
        return self._wants(promise.id, promise.param or Value())
