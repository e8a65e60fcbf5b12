"""A client that runs the engine in this process: the server is a file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from hitl_cli.client.protocol import (
    Client,
    Listener,
    ProtocolRequest,
    ProtocolResponse,
    capabilities_named,
)
from hitl_cli.engine.doorbell import WATCHERS, Bell, Ringer
from hitl_cli.engine.errors import EngineError
from hitl_cli.engine.server import CAPABILITIES, Server, data_of, request_of
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hitl_cli.engine.trace import Trace


class EmbeddedClient(Client):
    """A client that runs the engine in this process."""

    capabilities = capabilities_named((*CAPABILITIES, "ring", "batch", "serial"))

    def __init__(
        self,
        path: Path,
        clock: Callable[[], int] = now_ms,
        trace: Trace | None = None,
        server: Server | None = None,
    ) -> None:
        """Open the file, unless it is open as a `server`. Raises Unreachable."""
        self.name = f"sqlite:///{path}"
        self._path = path
        self._clock = clock
        try:
            self._server = server or Server(path, clock, trace)
        except EngineError as error:
            raise Unreachable(str(error), code=error.code) from error
        self._ringer = Ringer(path)
        self._bell: Bell | None = None
        self._ahead_ms = 0

    def call_many(self, requests: Sequence[ProtocolRequest]) -> list[ProtocolResponse]:
        """Carry out the requests in one transaction."""
        try:
            batch = self._server.run_batch([request_of(request.kind, request.data) for request in requests])
        except EngineError as error:
            raise Unreachable(str(error), code=error.code) from error
        self._ahead_ms = max(batch.now - self._clock(), 0)
        self._ringer.ring(batch.offered, watchers=batch.settled, everyone=batch.sooner)
        return [ProtocolResponse(answer.status, data_of(answer)) for answer in batch.decided]

    def wait(self, timeout_s: float) -> None:
        """Return when another process has committed, or after `timeout_s` seconds.

        The first call only starts listening and returns at once. Changes before it are not noticed.
        """
        if self._bell is None or self._bell.left:
            self._bell = Bell(self._path, WATCHERS, f"{time.time_ns():x}-{id(self):x}")
        else:
            self._bell.wait(timeout_s)

    def version(self) -> int:
        """Return a number that changes when another process commits. Raises Unreachable."""
        try:
            return self._server.store.data_version()
        except EngineError as error:
            raise Unreachable(str(error), code=error.code) from error

    def fire_due(self) -> None:
        """Settle promises that are past their deadline. Raises Unreachable."""
        self.call_many([ProtocolRequest("promise.get", {"id": "hitl"})])  # any request settles what is due

    def now(self) -> int:
        """Return the current time in ms since the epoch; never earlier than the latest time in the file."""
        return self._clock() + self._ahead_ms

    def has_worker(self, group: str) -> bool | None:
        """Return whether a worker of the group is listening."""
        return self._ringer.hears(group)

    def listeners(self) -> list[Listener]:
        """Return the workers that are listening. A server that forwards tasks names no workflows."""
        return [Listener(group, _names_in(text)) for group, text in self._ringer.said()]

    def close(self) -> None:
        """Close the file."""
        if self._bell is not None:
            self._bell.close()
        self._ringer.close()
        self._server.close()


def _names_in(text: str | None) -> tuple[str, ...] | None:
    """Return the names in a worker's announcement; None if it cannot be read."""
    try:
        return None if text is None else msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.DecodeError:
        return None
