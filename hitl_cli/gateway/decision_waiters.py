"""Long polls: HTTP requests that wait until a request is decided, or its asker is asked back.

All of them share one event stream of the gateway, so waiting costs nothing while nothing changes.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import get_promises
from hitl_cli.gateway.event_broadcaster import Stream
from hitl_cli.gateway.http_error import HttpError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aiohttp.web import Request

    from hitl_cli.client.pool import ClientPool
    from hitl_cli.client.protocol import Client
    from hitl_cli.gateway.event_broadcaster import Event, EventBroadcaster

WAITERS_MAX = 20_000
"""Long polls at a time."""

SWEEP_S = 2.0
"""How often to look for clients that have left."""


class DecisionWaiters:
    """The long polls of a gateway. All methods run in its event loop."""

    def __init__(
        self, feed: EventBroadcaster, bridge: ClientPool, go_on: Callable[..., None], stopping: asyncio.Event
    ) -> None:
        """`go_on` runs a coroutine in the background. All waiting ends once `stopping` is set."""
        self._feed = feed
        self._bridge = bridge
        self._go_on = go_on
        self._stopping = stopping
        self._waiting: dict[str, dict[asyncio.Event, Request]] = {}
        self._stream: _Changes | None = None
        self._count = 0

    def __len__(self) -> int:
        """Return how many HTTP requests wait."""
        return self._count

    @contextmanager
    def on(self, request: Request, id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set when the request with an id may be decided, or the client has left.

        Look at the request in the block before waiting, so that no decision is missed. Raises HttpError
        (503).
        """
        if len(self) >= WAITERS_MAX:
            raise HttpError(503, "too many requests are waiting. Try again later.", {"Retry-After": "30"})
        if self._stream is None:
            self._stream = _Changes(self._heard)
            self._feed.add(self._stream)
            self._go_on(self._watch_clients())
        woken = asyncio.Event()
        self._waiting.setdefault(id, {})[woken] = request
        self._count += 1
        try:
            yield woken
        finally:
            self._count -= 1
            those = self._waiting[id]
            del those[woken]
            if not those:
                del self._waiting[id]

    async def ready(self) -> None:
        """Return once no later decision can be missed."""
        await self._feed.ready()

    def _heard(self, decided: Sequence[str] | None) -> None:
        """Wake the waiters for these requests; None means that there were too many changes to list."""
        if decided is None:
            self._go_on(self._look())
            return
        self._wake(decided)

    def _wake(self, ids: Sequence[str]) -> None:
        for id in ids:
            for woken in self._waiting.get(id, ()):
                woken.set()

    async def _look(self) -> None:
        """Look up which requests are decided, and wake their waiters."""

        def settled(client: Client) -> list[str]:
            found = get_promises(client, list(self._waiting))
            return [id for id, promise in found.items() if promise.state != "pending"]

        self._wake(await self._bridge.run(settled))

    async def _watch_clients(self) -> None:
        """Wake the waiters whose client has left, as long as there are waiters."""
        while self._waiting and not self._stopping.is_set():
            for those in list(self._waiting.values()):
                for woken, request in those.items():
                    if has_left(request):
                        woken.set()
            try:
                async with asyncio.timeout(SWEEP_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue
        self._wake(list(self._waiting))
        if self._stream is not None:
            self._feed.leave(self._stream)
            self._stream = None


class _Changes(Stream):
    """A stream that only passes on the ids of requests that are decided or asked back."""

    def __init__(self, heard: Callable[[Sequence[str] | None], None]) -> None:
        super().__init__(None, lambda: None)
        self._heard = heard

    def give(self, events: Sequence[Event], text: bytes) -> None:  # noqa: ARG002 - the text is for clients
        """Pass on the ids of the requests that the events report as decided or asked back."""
        if any(event.change is None for event in events):
            self._heard(None)
            return
        changes = [change for event in events if (change := event.change) is not None]
        ids = [one.id for one in changes if one.kind == "decided" or one.thread == "ask-back"]
        if ids:
            self._heard(ids)


def has_left(request: Request) -> bool:
    """Whether the client of an HTTP request has closed its connection."""
    return request.transport is None or request.transport.is_closing()
