"""A worker's connections to a server, by the server's URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from resonate_base import Network, Source

from hitl_cli.client.connect import database_path, is_http, named_trace
from hitl_cli.engine.errors import EngineError
from hitl_cli.engine.records import Value
from hitl_cli.engine.server import now_ms
from hitl_cli.errors import Unreachable
from hitl_cli.sdk.observer import TaskPorts

if TYPE_CHECKING:
    from pathlib import Path


class WorkerLink(Struct, frozen=True):
    """What a worker speaks to a server through: the SDK's two seams, and how to let go of them."""

    name: str
    network: Network
    source: Source
    tasks: TaskPorts | None
    """What does what the SDK asks for its tasks, where that is quicker than the network."""
    poke: Callable[[], None]
    """Say that there is room again."""
    close: Callable[[], None]
    now: Callable[[], int] = now_ms
    """The present, ms since the epoch, as the server has it."""


def worker_link(
    url: str,
    token: str | None,
    *,
    group: str,
    pid: str,
    room: Callable[[], int],
    wants: Callable[[str, Value], bool],
    lease_ms: int,
    ended: Callable[[str], None],
) -> WorkerLink:
    """Return a worker's connections.

    `room` says how many tasks it can start now, `wants` whether it can run the call in a promise's
    param, `lease_ms` for how long it holds them at a time; `ended` is told why, when the server can be
    served no longer. Raises BadInput, Unreachable.
    """
    if is_http(url):
        return _http_link(url, token, group, pid, wants)
    return _embedded_link(database_path(url), group, pid, room, wants, lease_ms, ended)


def _embedded_link(
    path: Path,
    group: str,
    pid: str,
    room: Callable[[], int],
    wants: Callable[[str, Value], bool],
    lease_ms: int,
    ended: Callable[[str], None],
) -> WorkerLink:
    """Return a worker's connection to the engine in this process."""
    from hitl_cli.sdk.embedded_connection import EmbeddedConnection

    value = msgspec.json.Decoder(Value)
    try:
        connection = EmbeddedConnection(
            path,
            group=group,
            pid=pid,
            room=room,
            wants=lambda promise: wants(promise.id, value.decode(promise.param)),
            ended=ended,
            trace=named_trace(),
            lease_ms=lease_ms,
        )
    except EngineError as error:
        raise Unreachable(str(error), code=error.code) from error
    return WorkerLink(
        f"sqlite:///{path}",
        network=connection,
        source=connection,
        tasks=connection.tasks,
        poke=connection.poke,
        close=connection.close,
        now=connection.now,
    )


def _http_link(
    url: str, token: str | None, group: str, pid: str, wants: Callable[[str, Value], bool]
) -> WorkerLink:
    """Return a worker's connections to a Resonate server over HTTP: the SDK's own."""
    from resonate.connections import HttpConnection, SSEConnection

    from hitl_cli.sdk.http_source import FilteringSource

    network = HttpConnection(url=url, auth=token)
    source = FilteringSource(SSEConnection(url=url, pid=pid, group=group, auth=token), network, wants)
    return WorkerLink(url, network=network, source=source, tasks=None, poke=lambda: None, close=lambda: None)
