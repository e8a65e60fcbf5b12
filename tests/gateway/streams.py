"""Reads server-sent events, as they come."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from msgspec import Struct

from tests.conftest import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.gateway.conftest import GatewayProcess


class Seen(Struct, frozen=True):
    """An event that came."""

    name: str
    id: str
    data: Any


class Reader:
    """One stream of events, read in a thread."""

    def __init__(
        self,
        gateway: GatewayProcess | str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        path: str = "/api/v1/events",
    ) -> None:
        parts = urlsplit(gateway if isinstance(gateway, str) else gateway.url)
        self._connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=PATIENCE_S * 4
        )
        self._connection.request("GET", f"{path}{query}", headers=dict(headers or {}))
        assert self._connection.sock is not None
        self._socket: socket.socket = self._connection.sock
        self.answer = self._connection.getresponse()
        self.seen: list[Seen] = []
        self.ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # or closing would wait for the thread that reads
        self.ended.wait(PATIENCE_S)
        self._connection.close()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            while line := self.answer.readline():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                    continue
                if "event" in fields:
                    self.seen.append(Seen(fields["event"], fields["id"], json.loads(fields["data"])))
                fields = {}
        except (OSError, ValueError, AttributeError):
            pass
        self.ended.set()

    def wait_for(self, name: str, id: str | None = None) -> Seen:
        """Wait for an event, of one request if that is named, and return it."""

        def found() -> Seen | None:
            return next(
                (one for one in list(self.seen) if one.name == name and id in (None, one.data.get("id"))),
                None,
            )

        seen = wait_until(found)
        assert seen is not None
        return seen

    def names(self, id: str) -> list[str]:
        """Return what happened to a request, in that order."""
        return [one.name for one in self.seen if one.data.get("id") == id]
