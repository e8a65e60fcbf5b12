"""The SDK's connection (`resonate_base.Network` and `Source`) to an engine in this process.

Requests that arrive in one turn of the event loop share one transaction and one sync. Messages are
fetched in the same transactions, when another process rings, and when something falls due.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from resonate_base import ConnectorError

from hitl_cli.engine.doorbell import Bell, Ringer
from hitl_cli.engine.errors import EngineError, FormatChanged
from hitl_cli.engine.server import Server, now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hitl_cli.engine.records import Promise
    from hitl_cli.engine.server import Turn

logger = logging.getLogger(__name__)

RETRY_S = 1.0
"""How long to wait before looking for messages again after the file failed."""

SHARE_PAUSE_S = 0.002
"""How long a worker that took work leaves what comes to the others of its group, if there are any.
One that is awake anyway would else be faster, each time, than one that has to wake up first."""


def any_of(group: str) -> str:
    """Return the address that any worker of the group takes messages for."""
    return f"poll://any@{group}"


class EmbeddedConnection:
    """One worker's connection to the file: network and source in one."""

    def __init__(
        self,
        path: Path,
        *,
        group: str,
        pid: str,
        room: Callable[[], int],
        wants: Callable[[Promise], bool],
        ended: Callable[[str], None] = lambda _: None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """Open the file. `room` says how many tasks can start now, `wants` which of them.

        `ended` is told why, when the file can be served from here no longer.

        Raises FileUnusable; StorageFailed if it can only be read.
        """
        self._server = Server(path, clock)
        self._server.turn([])  # a file that can only be read is refused here
        self._ringer = Ringer(path)
        self._path = path
        self._group = group
        self._pid = pid
        self.name = pid
        self._free = room
        self.wants = wants
        self._ended = ended
        self._addresses = (any_of(group), self.unicast())
        self._clock = clock
        self._callbacks: list[Callable[[str], None]] = []
        self._queue: list[tuple[str, asyncio.Future[str]]] = []
        self._bell: Bell | None = None
        self._turn_asked = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0
        self._failed = False
        self._seen = -1
        self._peers = 0
        self._pausing = False
        self._closed = False

    # resonate_base.Source

    def unicast(self) -> str:
        """Return the address of this process alone."""
        return f"poll://uni@{self._group}/{self._pid}"

    def resolve_target(self, target: str) -> str:
        """Return the address of any worker of a group."""
        return any_of(target)

    def recv(self, callback: Callable[[str], None]) -> None:
        """Have messages handed to the callback."""
        self._callbacks.append(callback)

    # resonate_base.Network

    async def start(self) -> None:
        """Begin to fetch messages."""
        if self._bell is not None:
            return
        self._bell = Bell(self._path, self._group, self._pid)
        if self._bell.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._bell.fileno(), self._rung)
        self.poke()

    async def stop(self) -> None:
        """Fetch no more messages. Requests are still answered, so that work in hand can end."""
        self._callbacks.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._bell is not None:
            if self._bell.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(self._bell.fileno())
            self._bell.close()

    async def send(self, req: str, headers: dict[str, str] | None = None) -> str:  # noqa: ARG002
        """Answer one request, once it is on disk. Raises ConnectorError if the file failed."""
        answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._queue.append((req, answered))
        self._ask_turn()
        return await answered

    def close(self) -> None:
        """Close the file. No request may follow."""
        self._closed = True
        self._ringer.close()
        self._server.close()

    def poke(self) -> None:
        """Look for messages soon: there may be room for more."""
        self._ask_turn()

    # engine.server.Subscriber, with name and wants() above

    def room(self) -> int:
        """Return how many tasks to take now: what can start, or a part of it where others share the work."""
        if self._pausing:
            return 0
        return -(-self._free() // (self._peers + 1))

    def addresses(self) -> Sequence[str]:
        """Return the addresses whose messages are fetched here."""
        return self._addresses

    # Turns

    def _ask_turn(self) -> None:
        if not self._turn_asked:
            self._turn_asked = True
            asyncio.get_running_loop().call_soon(self._run_turn)

    def _rung(self) -> None:
        if self._bell is not None:
            self._bell.answer()
        self._ask_turn()

    def _look(self) -> None:
        """Take a turn if the file changed or something is due; a lost ring costs no more than this."""
        try:
            seen = self._server.store.data_version()
        except EngineError:
            self._ask_turn()  # which says what is wrong
            return
        if seen != self._seen or self._due <= self._clock() or self._failed:
            self._seen = seen
            self._ask_turn()
        else:
            self._arm()

    def _run_turn(self) -> None:
        self._turn_asked = False
        if self._closed:
            return
        queue, self._queue = self._queue, []
        self._peers = max(self._ringer.count(self._group) - 1, 0)
        try:
            turn = self._server.turn([request for request, _ in queue], [self] if self._callbacks else [])
        except EngineError as error:
            self._fail(queue, error)
            return
        self._failed = False
        for (_, answered), reply in zip(queue, turn.answers, strict=True):
            if not answered.done():
                answered.set_result(reply.decode())
        self._deliver(turn)
        self._tell_others(turn)
        self._arm()

    def _fail(self, queue: Sequence[tuple[str, asyncio.Future[str]]], error: EngineError) -> None:
        """Answer the requests with the failure, say it once, and look again in a while."""
        if not self._failed and not isinstance(error, FormatChanged):
            logger.warning("%s", error)
        self._failed = True
        for _, answered in queue:
            if not answered.done():
                answered.set_exception(ConnectorError(error))
        if isinstance(error, FormatChanged):
            self._ended(str(error))
        self._arm(RETRY_S)

    def _deliver(self, turn: Turn) -> None:
        """Hand over the messages; after that the others of the group come first for a moment."""
        for delivery in turn.deliveries:
            for callback in self._callbacks:
                callback(delivery.text)
        if turn.deliveries and self._peers:
            self._pausing = True
            asyncio.get_running_loop().call_later(SHARE_PAUSE_S, self._end_pause)

    def _end_pause(self) -> None:
        self._pausing = False
        self._ask_turn()

    def _tell_others(self, turn: Turn) -> None:
        """Ring those who have something to fetch, and everyone if something is due sooner than they know."""
        own = self._addresses if self._callbacks else ()
        others = turn.offered if self._peers else turn.offered.difference(own)
        self._ringer.ring(others, watchers=turn.settled, everyone=turn.sooner)
        self._due = turn.due

    def _arm(self, at_least_s: float = 0.0) -> None:
        """Sleep until something is due, and never longer than a lost ring may go unnoticed."""
        if self._bell is None or not self._callbacks:
            return
        if self._timer is not None:
            self._timer.cancel()
        left_s = (self._due - self._clock()) / 1_000
        delay_s = max(at_least_s, min(left_s, self._bell.poll_s), 0.0)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)
