"""A worker's connections to a server, by the server's URL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct
from resonate_base import Network, Source

from hitl_cli.client.connect import Driver, driver_of, shown_url
from hitl_cli.client.protocol import Client
from hitl_cli.engine.records import Value
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import BadServer
from hitl_cli.sdk.observer import TaskPorts


class WorkerLink(Struct, frozen=True):
    """A worker's connections to a server: the SDK's network and source, and how to close them."""

    name: str
    network: Network
    source: Source
    tasks: TaskPorts | None
    """Answers the SDK's requests for its tasks, if that is faster than the network."""
    poke: Callable[[], None]
    """Report that the worker can start more tasks."""
    close: Callable[[], None]
    announce: Callable[[Sequence[str]], None] = lambda _: None
    """Publish which workflows are served, if the server supports that."""
    client: Client | None = None
    """A client for reads in the event loop, if they take less time there than to ask a thread.

    `close` closes it too.
    """
    now: Callable[[], int] = now_ms
    """The server's current time, ms since the epoch."""


class WorkerTerms(Struct, frozen=True, kw_only=True):
    """What a connection to a server needs to know about the worker.

    `room` says how many tasks it can start after a number have ended, `served` the functions that it can run
    with their versions, `wants` whether it can run the call in the param of a promise (by its id), `left`
    which tasks it leaves to others, `lease_ms` the length of its leases. `ended` is called with the reason if
    the server can no longer be served.
    """

    group: str
    pid: str
    room: Callable[[int], int]
    served: Callable[[], Iterable[tuple[str, int]]]
    wants: Callable[[str, Value], bool]
    left: Callable[[], Iterable[str]] = tuple
    lease_ms: int
    ended: Callable[[str], None]


@runtime_checkable
class WorkerDriver(Driver, Protocol):
    """A driver that also serves workers."""

    def worker_link(self, url: str, token: str | None, terms: WorkerTerms) -> WorkerLink:
        """Return a worker's connections. Raises BadServer, Unreachable."""


def worker_link(url: str, token: str | None, terms: WorkerTerms) -> WorkerLink:
    """Return a worker's connections to a server. Raises BadServer, Unreachable."""
    driver = driver_of(url)
    if not isinstance(driver, WorkerDriver):
        raise BadServer(f"{shown_url(url)} takes no workers of hitl.")
    return driver.worker_link(url, token, terms)
