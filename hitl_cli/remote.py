"""A client of, and a worker's connections to, a Resonate server over HTTP: by the SDK's own."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

import msgspec
from resonate.connections import HttpConnection
from resonate_base import ORIGIN_HEADER, PROTOCOL_VERSION, ResonateError

from hitl_cli.client import OK, Answer, Client, Request, as_promise, read
from hitl_cli.engine.records import Value
from hitl_cli.engine.server import now_ms
from hitl_cli.errors import Unreachable
from hitl_cli.wire import offered_task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from resonate_base import Network, Source

HTTP_POLL_S = 0.25
"""How often a command that waits asks an HTTP server."""


class HttpClient(Client):
    """A client of a Resonate server over HTTP, by the SDK's own connection."""

    embedded = False

    def __init__(self, url: str, token: str | None) -> None:
        self.name = url
        self._loop = asyncio.Runner()
        self._connection = HttpConnection(url=url, auth=token)
        self._token = token

    def call_many(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer the requests, sent at once."""
        return self._loop.run(self._send_all(requests))

    async def _send_all(self, requests: Sequence[Request]) -> list[Answer]:
        return list(await asyncio.gather(*(self._send(request) for request in requests)))

    async def _send(self, request: Request) -> Answer:
        try:
            return await send(self._connection, request, self._token)
        except (ResonateError, OSError) as error:
            raise Unreachable(f"{self.name} cannot be reached: {error}.") from error

    def wait(self, timeout_s: float) -> None:
        """Sleep until it is time to ask again."""
        time.sleep(min(timeout_s, HTTP_POLL_S))

    def now(self) -> int:
        """Return the present in ms since the epoch."""
        return now_ms()

    def has_worker(self, group: str) -> bool | None:  # noqa: ARG002
        """Return None: the protocol does not tell."""
        return None

    def close(self) -> None:
        """Close the connection."""
        self._loop.run(self._connection.stop())
        self._loop.close()


class ChoosingSource:
    """A source that passes on only the tasks whose function is served here.

    What is not passed on, the server offers again after a while. Were it passed on, the SDK would
    release it, the server would offer it at once, and so on without end.
    """

    def __init__(self, source: Source, network: Network, wants: Callable[[str, Value], bool]) -> None:
        self._source = source
        self._network = network
        self._wants = wants
        self._callbacks: list[Callable[[str], None]] = []
        self._choosing: set[asyncio.Task[None]] = set()
        source.recv(self._received)

    def unicast(self) -> str:
        """Return the address of this process alone."""
        return self._source.unicast()

    def resolve_target(self, target: str) -> str:
        """Return the address of any worker of a group."""
        return self._source.resolve_target(target)

    def recv(self, callback: Callable[[str], None]) -> None:
        """Have messages handed to the callback."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Begin to receive messages."""
        await self._source.start()

    async def stop(self) -> None:
        """Receive no more messages."""
        self._callbacks.clear()
        await self._source.stop()

    def _received(self, text: str) -> None:
        task = asyncio.get_running_loop().create_task(self._choose(text))
        self._choosing.add(task)
        task.add_done_callback(self._choosing.discard)

    async def _choose(self, text: str) -> None:
        if (id := offered_task(text)) is not None:
            answer = await send(self._network, Request("promise.get", {"id": id}), None)
            if answer.status == OK:
                promise = as_promise(answer)
                if not self._wants(promise.id, promise.param or Value()):
                    return
        for callback in self._callbacks:
            callback(text)


async def send(network: Network, request: Request, token: str | None) -> Answer:
    """Send one request over an SDK network. Raises ResonateError."""
    head = {"corrId": uuid.uuid4().hex, "version": PROTOCOL_VERSION} | ({"auth": token} if token else {})
    envelope = {"kind": request.kind, "head": head, "data": request.data}
    routed_by = str(request.data.get("id") or request.data.get("awaited") or "default")
    body = msgspec.json.encode(envelope).decode()
    return read(await network.send(body, {ORIGIN_HEADER: routed_by.split(":", 1)[0]}))
