"""The event stream: one watcher for all streams of a gateway, which is idle while nobody listens.

The watcher is a thread with a client of its own. It encodes each change once as a server-sent event, and
passes it to every stream. A stream whose reader is too slow is closed; after reconnecting, it gets a `look`
event.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.errors import HitlError, logged
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.inbox.watch import Change, watch_inbox
from hitl_cli.people.away import read_aways, with_deputies
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.people.sight import Sight
from hitl_cli.people.visibility import EVERYONE
from hitl_cli.views.events import change_document

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.watch import InboxWatch
    from hitl_cli.people.actor import Actor
    from hitl_cli.people.groups import Absence
    from hitl_cli.people.visibility import Visibility

logger = logging.getLogger(__name__)

STREAMS_MAX = 6_000
"""Streams at a time. Each takes a file descriptor and some kilobytes."""

BACKLOG = 64
"""Batches a stream may be behind, once its socket is full, before it is closed."""

PAUSE_S = 0.05
"""Minimum time between two checks; changes within it are sent together."""

SHARE = 10
"""Checking and sending may take one part in ten of the watcher's time."""

STREAM_S = 0.000_02
"""Approximate time to write to one stream."""

AWAY_S = 1.0
"""Pause before a failed server is tried again."""

READY_S = 5.0
"""How long a new stream waits for the watcher to start."""


class Event(Struct, frozen=True):
    """A server-sent event as bytes, and its change. An event without a change is for all readers.

    `instead` is the `look` event for readers who were assignees before the change and may no longer see the
    request.
    """

    text: bytes
    change: Change | None = None
    instead: bytes = b""

    def text_for(self, sight: Sight, *, mine: bool) -> bytes:
        """Return the bytes that a reader gets of an event."""
        if self.is_for(sight, mine=mine):
            return self.text
        actor, change = sight.actor, self.change
        return self.instead if actor.only is None and change is not None and change.ends_for(actor) else b""

    def is_for(self, sight: Sight, *, mine: bool) -> bool:
        """Whether a reader gets an event: its request is one that they may see, or may answer (`mine`).

        For a link, it is about its request.
        """
        actor, change = sight.actor, self.change
        if change is None or actor.only is not None:
            return change is None or change.id == actor.only
        return change.seen_by(sight) and (not mine or change.concerns(actor))


class Stream:
    """The events for one reader: those that the `listener` may see, or may answer (`mine`)."""

    def __init__(self, listener: Actor | None, drop: Callable[[], None], *, mine: bool = False) -> None:
        """Without a listener, it gets all events."""
        self._sight = None if listener is None else Sight(listener)
        self._all = self._sight is None or (self._sight.all and not mine and self._sight.actor.only is None)
        self._mine = mine
        self._drop = drop
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(BACKLOG)

    async def next(self, timeout_s: float) -> bytes | None:
        """Return the next bytes to write, None at the end. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            return await self._waiting.get()

    def give(self, events: Sequence[Event], text: bytes) -> None:
        """Add events; `text` is all of them as bytes. Drops a stream that is too far behind."""
        if self._sight is not None and not self._all:
            text = b"".join(one.text_for(self._sight, mine=self._mine) for one in events)
        if text:
            self._put(text)

    def give_to(self, people: Collection[str], text: bytes) -> None:
        """Add the bytes of an event that is for certain people, if the listener is one of them."""
        actor = None if self._sight is None else self._sight.actor
        if actor is not None and any(actor.groups.same(actor.person, name) for name in people):
            self._put(text)

    def end(self) -> None:
        """End the stream."""
        self._put(None)

    def _put(self, text: bytes | None) -> None:
        try:
            self._waiting.put_nowait(text)
        except asyncio.QueueFull:
            self._drop()


class EventBroadcaster:
    """The event stream of a gateway. All methods but the watcher's run in its event loop."""

    def __init__(
        self,
        open_client: Callable[[], Client],
        clock: Callable[[], int],
        stopping: asyncio.Event,
        visibility: Callable[[], Visibility] = lambda: EVERYONE,
    ) -> None:
        """`clock` returns ms since the epoch. The streams end once `stopping` is set."""
        self._visibility = visibility
        self._open_client = open_client
        self._clock = clock
        self._stopping = stopping
        self._streams: set[Stream] = set()
        self._ready = asyncio.Event()
        self._end: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Condition()
        self._audience = 0
        self._watching = False
        """Whether changes are watched: the watcher continues if a stream joins as the last one leaves."""
        self._closed = threading.Event()
        self._numbers = itertools.count(1)

    def join(self, listener: Actor | None, drop: Callable[[], None], *, mine: bool = False) -> Stream:
        """Return a new stream; `drop` is called if its reader is too slow. Raises HttpError (503)."""
        if len(self._streams) >= STREAMS_MAX:
            raise HttpError(503, "too many open event streams. Try again later.", {"Retry-After": "30"})
        stream = Stream(listener, drop, mine=mine)
        self.add(stream)
        return stream

    def add(self, stream: Stream) -> None:
        """Add a stream of the gateway itself."""
        self._streams.add(stream)
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._end = self._loop.create_task(self._end_streams())
            self._thread = threading.Thread(target=self._run, name="feed")
            self._thread.start()
        self._set_audience()

    @property
    def listeners(self) -> int:
        """How many streams there are."""
        return len(self._streams)

    async def ready(self) -> None:
        """Return once the watcher reports all further changes, or after READY_S."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                await self._ready.wait()

    def leave(self, stream: Stream) -> None:
        """Remove a stream."""
        self._streams.discard(stream)
        self._set_audience()

    def event(self, name: str, data: object = None) -> Event:
        """Return an event with a fresh id."""
        body = msgspec.json.encode({} if data is None else data)
        head = f"event: {name}\nid: {self._clock()}-{next(self._numbers)}\ndata: ".encode()
        return Event(head + body + b"\n\n")

    def close(self) -> None:
        """Stop watching. Blocks until the watcher has ended."""
        self._closed.set()
        with self._wake:
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _set_audience(self) -> None:
        with self._wake:
            self._audience = len(self._streams)
            if not self._watching:
                self._ready.clear()
            self._wake.notify()

    async def _end_streams(self) -> None:
        await self._stopping.wait()
        for stream in self._streams:
            stream.end()

    def _deliver(self, events: Sequence[Event]) -> None:
        text = b"".join(event.text for event in events)
        for stream in list(self._streams):
            stream.give(events, text)

    def _deliver_to(self, people: Collection[str], event: Event) -> None:
        for stream in list(self._streams):
            stream.give_to(people, event.text)

    def _start(self) -> None:
        if self._watching:
            self._ready.set()

    # In the watcher's thread

    def _run(self) -> None:
        client: Client | None = None
        failed = False
        while self._is_wanted():
            try:
                client = client or self._open_client()
                changes = watch_inbox(client)
                changes.start()
                absences = _absences(client)
                with self._wake:
                    self._watching = True
                self._call(self._start)
                if failed:
                    self._tell(None)
                failed = False
                self._follow(client, changes, absences)
            except HitlError as error:
                if not failed:
                    logger.warning("event stream paused, server unreachable: %s", logged(error))
                failed = True
                self._closed.wait(AWAY_S)
            except Exception:
                logger.exception("event stream failed; trying again")
                failed = True
                self._closed.wait(AWAY_S)
        if client is not None:
            client.close()

    def _is_wanted(self) -> bool:
        """Wait until there is a stream; return False once the gateway is closed."""
        with self._wake:
            self._wake.wait_for(lambda: self._audience or self._closed.is_set())
        return not self._closed.is_set()

    def _follow(self, client: Client, changes: InboxWatch, absences: frozenset[Absence]) -> None:
        """Send changes while there are streams. Raises Unreachable."""
        version, looked = client.version(), -changes.every_s
        while self._has_audience() and not self._closed.is_set():
            seen, began = client.version(), time.monotonic()
            if seen == version and began - looked < changes.every_s:
                client.wait(changes.every_s)
                continue
            version, looked = seen, began
            found = changes.look()
            if found is None or found:
                self._tell(found)
            before, absences = absences, _absences(client)
            if absences != before:
                self._tell_of_absences(before ^ absences)
            took = time.monotonic() - began + STREAM_S * self._audience
            self._closed.wait(max(PAUSE_S, took * SHARE))

    def _has_audience(self) -> bool:
        """Whether there are streams; if not, the next one waits until the watcher begins again."""
        with self._wake:
            self._watching = self._audience > 0
            return self._watching

    def _tell(self, found: Sequence[Change] | None) -> None:
        """Send changes to all streams; None means that readers must read their lists again."""
        if found is None:
            events = [self.event("look")]
        else:
            events = [
                msgspec.structs.replace(
                    self.event(f"request.{one.kind}", change_document(told)),
                    change=one,
                    instead=b"" if one.left is None else self.event("look").text,
                )
                for one in found
                for told in (one.told(self._visibility()),)
            ]
        self._call(self._deliver, events)

    def _tell_of_absences(self, absences: Collection[Absence]) -> None:
        """Send `look` to people whose absence has begun or ended, and to their deputies."""
        people = {name for one in absences for name in (one.person, *one.deputies)}
        self._call(self._deliver_to, people, self.event("look"))

    def _call[*Args](self, function: Callable[[*Args], None], *args: *Args) -> None:
        """Call a function in the event loop, unless it is closed."""
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function, *args)


def _absences(client: Client) -> frozenset[Absence]:
    """Return the current absences. Raises Unreachable."""
    read_aways(client, anew=True)
    return frozenset(with_deputies(client, NO_GROUPS).away)
