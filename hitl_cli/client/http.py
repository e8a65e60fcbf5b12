"""A client of a Resonate server over HTTP, with the SDK's connection."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from typing import TYPE_CHECKING

import msgspec
from resonate.connections import HttpConnection
from resonate_base import ORIGIN_HEADER, PROTOCOL_VERSION, ResonateError

from hitl_cli.client import inherited
from hitl_cli.client.connect import shown_url
from hitl_cli.client.gateway_api import is_gateway
from hitl_cli.client.protocol import (
    Capabilities,
    Client,
    ProtocolRequest,
    ProtocolResponse,
    capabilities_named,
    read,
)
from hitl_cli.engine.records import ASKS_CAPABILITIES
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import TooLarge, Unreachable, certificate_fault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resonate_base import Network

HTTP_POLL_S = 0.25
"""How often a waiting command polls an HTTP server."""

LARGE = 1_000_000
"""Bytes of a request that a proxy or a server may refuse without an answer of the protocol."""

SAID = 200
"""Characters of a text of a server to show."""


class HttpClient(Client):
    """A client of a Resonate server over HTTP, with the SDK's connection."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url, self.name = url, shown_url(url)
        self._token = token
        self._capabilities: Capabilities | None = None
        self._open()

    def _open(self) -> None:
        self._process = os.getpid()
        self._loop = asyncio.Runner()
        self._connection = HttpConnection(url=self._url, auth=self._token)

    @property
    def capabilities(self) -> Capabilities:
        """What the server can do beyond the protocol. Raises Unreachable.

        The first response says so. A plain Resonate server ignores the header that asks for it.
        """
        if self._capabilities is None:
            self.call_many([ProtocolRequest("promise.get", {"id": "hitl"})])
        return self._capabilities or Capabilities()

    def call_many(self, requests: Sequence[ProtocolRequest]) -> list[ProtocolResponse]:
        """Send the requests concurrently, and return the responses."""
        if self._left_inherited():
            self._open()
        return self._loop.run(self._send_all(requests))

    def _left_inherited(self) -> bool:
        """In a forked process, leave its parent's connection alone. Return whether it is the parent's."""
        if self._process == os.getpid():
            return False
        inherited.keep((self._loop, self._connection))
        return True

    async def _send_all(self, requests: Sequence[ProtocolRequest]) -> list[ProtocolResponse]:
        return list(await asyncio.gather(*(self._send(request) for request in requests)))

    async def _send(self, request: ProtocolRequest) -> ProtocolResponse:
        asking = {ASKS_CAPABILITIES: "1"} if self._capabilities is None else None
        try:
            answer = await send(self._connection, request, self._token, asking)
        except Unreachable as error:
            if error.code == "server-failed" and await asyncio.to_thread(is_gateway, self._url):
                raise Unreachable(
                    f"{self.name} is a gateway of hitl. Sign in first: hitl login {self.name}, or pass a"
                    " token of `hitl token create` with --token or HITL_TOKEN. Workers and upkeep need"
                    " the server itself.",
                    code=error.code,
                ) from error
            raise
        except (ResonateError, OSError) as error:
            self._capabilities = None  # the next response may come from another server
            raise Unreachable(
                f"{self.name} cannot be reached: {_why(error)}.",
                hint="Check that it is running, and that its address is right (--server).",
            ) from error
        if asking:
            self._capabilities = capabilities_named(answer.capabilities or ())
        return answer

    def wait(self, timeout_s: float) -> None:
        """Sleep until the next poll is due."""
        time.sleep(min(timeout_s, HTTP_POLL_S))

    def now(self) -> int:
        """Return the current time in ms since the epoch."""
        return now_ms()

    def has_worker(self, group: str) -> bool | None:  # noqa: ARG002
        """Return None: the protocol has no such request."""
        return None

    def close(self) -> None:
        """Close the connection."""
        if self._left_inherited():
            return
        self._loop.run(self._connection.stop())
        self._loop.close()


def _why(error: BaseException) -> str:
    """Return why a server cannot be reached: the text of the innermost cause."""
    if refused := certificate_fault(error):
        return refused
    causes = (error.__cause__, *error.args[:1])
    inner = next((cause for cause in causes if isinstance(cause, BaseException)), None)
    if inner is not None and not isinstance(error, OSError):
        return _why(inner)
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, OSError) and error.errno:
        reason = os.strerror(error.errno) if error.errno > 0 else error.strerror or str(error)
        return f"{reason[:1].lower()}{reason[1:]}"
    return str(error) or type(error).__name__


async def send(
    network: Network, request: ProtocolRequest, token: str | None, headers: Mapping[str, str] | None = None
) -> ProtocolResponse:
    """Send one request over an SDK network. Raises ResonateError."""
    head = {"corrId": uuid.uuid4().hex, "version": PROTOCOL_VERSION} | ({"auth": token} if token else {})
    envelope = {"kind": request.kind, "head": head, "data": request.data}
    routed_by = str(request.data.get("id") or request.data.get("awaited") or "default")
    if any(char < " " or char == "\x7f" for char in routed_by):  # not allowed in a header
        routed_by = "default"
    body = msgspec.json.encode(envelope).decode()
    answer = await network.send(body, {ORIGIN_HEADER: routed_by.split(":", 1)[0], **(headers or {})})
    if len(body) > LARGE and not answer.startswith("{"):
        raise TooLarge(
            f"the server does not accept a request of {len(body):,} bytes: {answer[:SAID].strip()}."
        )
    return read(answer)
