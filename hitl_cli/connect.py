"""From a server's URL to what speaks to it: a client for people's commands, connections for workers.

A URL is `sqlite:///path` (the embedded engine; `sqlite:////path` is absolute) or `http(s)://host`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urlsplit

import msgspec
from msgspec import Struct

from hitl_cli.embedded import EmbeddedClient
from hitl_cli.engine.errors import EngineError
from hitl_cli.engine.records import Value
from hitl_cli.engine.server import now_ms
from hitl_cli.engine.trace import Trace
from hitl_cli.errors import BadInput, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from resonate_base import Network, Source

    from hitl_cli.activity import Tasks
    from hitl_cli.client import Client


def connect(url: str, token: str | None = None) -> Client:
    """Return a client for people's commands. Raises BadInput, Unreachable."""
    if is_http(url):
        from hitl_cli.remote import HttpClient  # noqa: PLC0415 - imports the SDK

        return HttpClient(url, token)
    return EmbeddedClient(database_path(url), trace=named_trace())


def named_trace() -> Trace | None:
    """Return the trace that HITL_TRACE names, if it is set: of every file that this process opens."""
    path = os.environ.get("HITL_TRACE")
    return Trace(Path(path)) if path else None


def file_url(path: Path) -> str:
    """Return the URL that names a file, whatever characters its path has."""
    return f"sqlite:///{quote(str(path))}"


def split(url: str) -> SplitResult:
    """Return the parts of a URL. Raises BadInput."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadInput(f"{url!r} is not a URL: {error}.") from error


def is_http(url: str) -> bool:
    """Whether the URL is of a server over HTTP. Raises BadInput for one that names no host."""
    parts = split(url)
    if parts.scheme not in ("http", "https"):
        return False
    if not parts.hostname:
        raise BadInput(f"{url!r} names no host: write http://host or http://host:port.")
    return True


def database_path(url: str) -> Path:
    """Return the file that a `sqlite:///` URL names. Raises BadInput for any other URL."""
    parts = split(url)
    if parts.scheme != "sqlite":
        kind = f"{parts.scheme}://" if parts.scheme else repr(url)
        raise BadInput(f"{kind} is not a kind of server hitl knows: use sqlite:///path or http(s)://host.")
    path = unquote(parts.path.removeprefix("/"))
    if parts.query or parts.fragment:
        raise BadInput(f"{url!r} has a '?' or a '#' in it: write them as %3F and %23.")
    if parts.netloc or not path or "\0" in path:
        raise BadInput(f"{url!r} names no file: write sqlite:///relative/path or sqlite:////absolute/path.")
    return Path(path).expanduser().absolute()


class Link(Struct, frozen=True):
    """What a worker speaks to a server through: the SDK's two seams, and how to let go of them."""

    name: str
    network: Network
    source: Source
    tasks: Tasks | None
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
) -> Link:
    """Return a worker's connections.

    `room` says how many tasks it can start now, `wants` whether it can run the call in a promise's
    param, `lease_ms` for how long it holds them at a time; `ended` is told why, when the server can be
    served no longer. Raises BadInput, Unreachable.
    """
    if is_http(url):
        return http_link(url, token, group, pid, wants)
    return embedded_link(database_path(url), group, pid, room, wants, lease_ms, ended)


def embedded_link(
    path: Path,
    group: str,
    pid: str,
    room: Callable[[], int],
    wants: Callable[[str, Value], bool],
    lease_ms: int,
    ended: Callable[[str], None],
) -> Link:
    """Return a worker's connection to the engine in this process."""
    from hitl_cli.engine.network import EmbeddedConnection  # noqa: PLC0415 - imports asyncio

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
        raise Unreachable(str(error)) from error
    return Link(
        f"sqlite:///{path}",
        network=connection,
        source=connection,
        tasks=connection.tasks,
        poke=connection.poke,
        close=connection.close,
        now=connection.now,
    )


def http_link(url: str, token: str | None, group: str, pid: str, wants: Callable[[str, Value], bool]) -> Link:
    """Return a worker's connections to a Resonate server over HTTP: the SDK's own."""
    from resonate.connections import HttpConnection, SSEConnection  # noqa: PLC0415 - imports aiohttp

    from hitl_cli.remote import ChoosingSource  # noqa: PLC0415

    network = HttpConnection(url=url, auth=token)
    source = ChoosingSource(SSEConnection(url=url, pid=pid, group=group, auth=token), network, wants)
    return Link(url, network=network, source=source, tasks=None, poke=lambda: None, close=lambda: None)
