"""`http://host` and `https://host`: any Resonate server, through the SDK's connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.client.connect import shown_url, split_url
from hitl_cli.errors import BadServer

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.sdk.worker_link import WorkerLink, WorkerTerms


def connect(url: str, token: str | None) -> Client:
    """Return a client of the server. Raises BadServer."""
    from hitl_cli.client.http import HttpClient

    _check(url)
    return HttpClient(url, token)


def file(url: str) -> None:
    """Return None: the server's file is not on this machine. Raises BadServer."""
    _check(url)


def exists(url: str) -> bool:
    """Return True: connecting creates nothing. Raises BadServer."""
    _check(url)
    return True


def worker_link(url: str, token: str | None, terms: WorkerTerms) -> WorkerLink:
    """Return a worker's connections to the server. Raises BadServer."""
    from hitl_cli.sdk.http_connections import EventStream, FilteringSource, Requests
    from hitl_cli.sdk.worker_link import WorkerLink

    _check(url)
    network = Requests(url=url, auth=token)
    stream = EventStream(url=url, pid=terms.pid, group=terms.group, auth=token)
    source = FilteringSource(stream, network, token, terms.wants)
    return WorkerLink(
        shown_url(url), network=network, source=source, tasks=None, poke=lambda: None, close=lambda: None
    )


def _check(url: str) -> None:
    """Raise BadServer for a URL without a host, or with a port that is not valid."""
    parts = split_url(url)
    if not parts.hostname:
        raise BadServer(f"{shown_url(url)!r} has no host: use http://host or http://host:port.")
    try:
        _ = parts.port
    except ValueError as error:
        raise BadServer(f"{shown_url(url)!r} is not a URL: {error}.") from error
