"""`sqlite:///path`: the engine in this process, on a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from hitl_cli.client.connect import absolute, named_trace, split_url
from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.engine.errors import EngineError
from hitl_cli.errors import BadServer, Unreachable
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.sdk.worker_link import WorkerLink, WorkerTerms


def connect(url: str, token: str | None) -> Client:  # noqa: ARG001 - a file takes no token
    """Return a client of the file, which is created if it does not exist. Raises BadServer, Unreachable."""
    return EmbeddedClient(file(url), trace=named_trace())


def file(url: str) -> Path:
    """Return the file of a URL, with symbolic links resolved. Raises BadServer."""
    parts = split_url(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.query or parts.fragment:
        raise BadServer(f"{url!r} contains '?' or '#': write them as %3F and %23.")
    if parts.netloc or not path or "\0" in path:
        raise BadServer(f"{url!r} has no file: use sqlite:///relative/path or sqlite:////absolute/path.")
    file = absolute(path)
    # SQLite has its log beside the real file. The keys and bells are there too, shared by all links to it.
    return Path(os.path.realpath(file)) if os.path.islink(file) else file  # noqa: PTH114 - raises nothing


def exists(url: str) -> bool:
    """Whether the file exists, or cannot be checked (`connect` will then report it). Raises BadServer."""
    try:
        return file(url).exists()
    except OSError:
        return True


def worker_link(url: str, token: str | None, terms: WorkerTerms) -> WorkerLink:  # noqa: ARG001
    """Return a worker's connection to the engine in this process. Raises BadServer, Unreachable."""
    import msgspec

    from hitl_cli.engine.records import Value
    from hitl_cli.sdk.embedded_connection import EmbeddedConnection
    from hitl_cli.sdk.worker_link import WorkerLink

    path = file(url)
    value = msgspec.json.Decoder(inspected(Value))
    try:
        connection = EmbeddedConnection(
            path,
            group=terms.group,
            pid=terms.pid,
            room=terms.room,
            wants=lambda promise: terms.wants(promise.id, value.decode(promise.param)),
            ended=terms.ended,
            trace=named_trace(),
            lease_ms=terms.lease_ms,
        )
    except EngineError as error:
        raise Unreachable(str(error), code=error.code) from error
    client = EmbeddedClient(path, server=connection.server)

    def close() -> None:
        connection.close()
        client.close()

    return WorkerLink(
        f"sqlite:///{path}",
        network=connection,
        source=connection,
        tasks=connection.tasks,
        poke=connection.poke,
        close=close,
        announce=connection.announce,
        client=client,
        now=connection.now,
    )
