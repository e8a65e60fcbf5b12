"""When a process commits: it collects requests and due work into batches.

Requests that arrive in one iteration of the event loop share one transaction and one sync. Messages are
fetched in the same transactions, when another process rings, and when something falls due.
A worker runs one in its process; `http` runs one for all clients of a port.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from hitl_cli.engine.doorbell import POLL_S, Bell, Ringer
from hitl_cli.engine.errors import EngineError, FormatChanged
from hitl_cli.engine.server import decode, reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from hitl_cli.engine.records import Reply
    from hitl_cli.engine.server import Batch, Decoded, Extra, Server, Subscriber
    from hitl_cli.engine.store import Store

logger = logging.getLogger(__name__)

WORTH_SAYING_MS = 60_000
"""Warn if the clock is this far behind the file."""

RETRY_S = 1.0
"""Pause before the next attempt after the file has failed."""


class _MessageOutlet(Protocol):
    """The destination of a process's messages."""

    @property
    def due(self) -> int:
        """When to look for messages next, in ms since the epoch, in addition to `Batch.due`."""

    def subscribers(self) -> Sequence[Subscriber]:
        """Return the subscribers for the batch that begins."""

    def also(self, requests: Sequence[Decoded]) -> Extra | None:
        """Return an action for the transaction of the batch with these requests; None for none."""

    def deliver(self, batch: Batch) -> None:
        """Hand over the messages of a batch, which is on disk."""

    def others(self, offered: set[str]) -> Iterable[str]:
        """Return the addresses among these that other processes listen at."""

    def rung(self, bell: Bell | None) -> None:
        """Handle a commit of another process; `bell` is the one that it rang, if any."""

    def ended(self, error: FormatChanged) -> None:
        """Handle the end of all batches: a newer version has upgraded the file."""


class CommitLoop:
    """Runs the batches of one process on one file."""

    def __init__(self, path: Path, clock: Callable[[], int], outlet: _MessageOutlet, server: Server) -> None:
        """Run the batches of a server for an outlet. Raises StorageFailed if the file is read-only."""
        self.server = server
        first = self.server.run_batch([])
        self.ringer = Ringer(path)
        self._path = path
        self._clock = clock
        self._outlet = outlet
        self._queue: list[tuple[Decoded, asyncio.Future[Reply]]] = []
        self._bells: dict[tuple[str, str], Bell] = {}
        self._poll_s = POLL_S
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0
        self._failed = False
        self._seen: tuple[Store | None, int] = (None, 0)
        self._closed = False
        self._ahead_ms = 0
        self._ahead_said = False
        self._note_time(first.now)

    def now(self) -> int:
        """Return the file's current time in ms since the epoch."""
        return self._clock() + self._ahead_ms

    async def ask(self, raw: str) -> bytes:
        """Return the response to a request, once it is on disk. Raises EngineError if the file fails."""
        request = decode(raw)
        return reply(request, await self.decide(request))

    def decide(self, request: Decoded) -> asyncio.Future[Reply]:
        """Return the future response to a decoded request, not encoded yet. Raises EngineError."""
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._queue.append((request, answered))
        self.soon()
        return answered

    def soon(self) -> None:
        """Run a batch in the next iteration of the event loop."""
        if not self._asked:
            self._asked = True
            asyncio.get_running_loop().call_soon(self._run)

    def hang(self, group: str, name: str) -> Bell:
        """Hang a bell, and start looking for messages."""
        bell = Bell(self._path, group, name)
        if bell.fileno() >= 0:
            asyncio.get_running_loop().add_reader(bell.fileno(), self._rung, bell)
        self._bells[bell.place] = bell
        self._poll_s = min(self._poll_s, bell.poll_s)
        self.soon()
        return bell

    def unhang(self, bell: Bell) -> None:
        """Remove a bell. Without any bell no messages are looked for, but requests are still answered."""
        del self._bells[bell.place]
        if bell.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(bell.fileno())
        bell.close()
        if not self._bells and self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        """Close the file. No request may follow."""
        self._closed = True
        self.ringer.close()
        self.server.close()

    def _rung(self, bell: Bell) -> None:
        bell.answer()
        self._outlet.rung(bell)
        self.soon()

    def _look(self) -> None:
        """Run a batch if the file has changed or something is due, also if a ring was lost."""
        try:
            # The place of the file, because another file at the path may have the same number.
            seen = (self.server.store, self.server.store.data_version())
        except EngineError:
            self.soon()  # the batch reports the error
            return
        if seen != self._seen:
            self._seen = seen
            self._outlet.rung(None)
            self.soon()
        elif min(self._due, self._outlet.due) <= self.now() or self._failed:
            self.soon()
        else:
            self._arm()

    def _run(self) -> None:
        self._asked = False
        if self._closed:
            return
        queue, self._queue = self._queue, []
        requests = [request for request, _ in queue]
        try:
            batch = self.server.run_batch(requests, self._outlet.subscribers(), self._outlet.also(requests))
        except EngineError as error:
            self._fail(queue, error)
            return
        self._failed = False
        self._note_time(batch.now)
        for (_, answered), answer in zip(queue, batch.decided, strict=True):
            if not answered.done():
                answered.set_result(answer)
        self._outlet.deliver(batch)
        self.ringer.ring(
            self._outlet.others(batch.offered), watchers=batch.settled, everyone=batch.sooner, but=self._bells
        )
        self._due = batch.due
        self._arm()

    def _note_time(self, now: int) -> None:
        """Use the file's time if the machine's clock is behind it, and warn once."""
        self._ahead_ms = max(now - self._clock(), 0)
        if self._ahead_ms < WORTH_SAYING_MS:
            self._ahead_said = False
        elif not self._ahead_said:
            self._ahead_said = True
            logger.warning(
                "this machine's clock is %s behind the latest time in %s: hitl goes on from that time, so"
                " durations are right, but dates are ahead until the clock has caught up",
                timedelta(seconds=self._ahead_ms // 1_000),
                self._path,
            )

    def _fail(self, queue: Sequence[tuple[Decoded, asyncio.Future[Reply]]], error: EngineError) -> None:
        """Fail the requests with the error, log it once, and try again later."""
        if isinstance(error, FormatChanged):
            self._outlet.ended(error)  # logs it
        elif not self._failed:
            logger.warning("%s", error)
        self._failed = True
        for _, answered in queue:
            if not answered.done():
                answered.set_exception(error)
        self._arm(RETRY_S)

    def _arm(self, at_least_s: float = 0.0) -> None:
        """Set the timer for the next due time, at most the time that a ring may be lost."""
        if not self._bells:
            return
        if self._timer is not None:
            self._timer.cancel()
        left_s = (min(self._due, self._outlet.due) - self.now()) / 1_000
        delay_s = max(at_least_s, min(left_s, self._poll_s), 0.0)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)
