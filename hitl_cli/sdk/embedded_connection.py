"""The SDK's connection (`resonate_base.Network` and `Source`) to an engine in this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from resonate_base import ConnectorError

from hitl_cli.engine.addresses import SHARE_PAUSE_S, any_of, one_of
from hitl_cli.engine.commit_loop import CommitLoop
from hitl_cli.engine.errors import EngineError
from hitl_cli.engine.server import FAR, Lease, Server
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.format.json import to_json
from hitl_cli.sdk.task_ports import EngineTaskPorts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from hitl_cli.engine.doorbell import Bell
    from hitl_cli.engine.errors import FormatChanged
    from hitl_cli.engine.records import Promise
    from hitl_cli.engine.server import Batch, Decoded, Subscriber
    from hitl_cli.engine.trace import Trace


class EmbeddedConnection:
    """One worker's connection to the file: network and source in one."""

    due = FAR

    def __init__(
        self,
        path: Path,
        *,
        group: str,
        pid: str,
        room: Callable[[int], int],
        wants: Callable[[Promise], bool],
        ended: Callable[[str], None] = lambda _: None,
        clock: Callable[[], int] = now_ms,
        trace: Trace | None = None,
        lease_ms: int | None = None,
    ) -> None:
        """Open the file. `room` says how many tasks can start after a number have ended, `wants` which.

        With `lease_ms`, tasks are already acquired when they are handed over, and run through `tasks`;
        without it, they are offered, and acquired by a request. `ended` is called with the reason when this
        process can no longer serve the file.

        Raises FileUnusable; StorageFailed if it can only be read.
        """
        self._commit_loop = CommitLoop(path, clock, self, Server(path, clock, trace))
        self.server = self._commit_loop.server
        self.tasks = EngineTaskPorts(self._commit_loop)
        self._group = group
        self._pid = pid
        self.name = pid
        self.lease = None if lease_ms is None else Lease(pid, lease_ms)
        self._free = room
        self.wants = wants
        self._ended = ended
        self._addresses = (any_of(group), self.unicast())
        self._callbacks: list[Callable[[str], None]] = []
        self._bell: Bell | None = None
        self._serves = ""
        self._peers = 0
        self._places = 0
        self._pausing = False

    # resonate_base.Source

    def unicast(self) -> str:
        """Return the address of this process only."""
        return one_of(self._group, self._pid)

    def resolve_target(self, target: str) -> str:
        """Return the address of any worker of a group."""
        return any_of(target)

    def recv(self, callback: Callable[[str], None]) -> None:
        """Pass messages to the callback."""
        self._callbacks.append(callback)

    # resonate_base.Network

    async def start(self) -> None:
        """Start fetching messages."""
        if self._bell is None:
            self._bell = self._commit_loop.hang(self._group, self._pid)
            self._bell.says(self._serves)

    async def stop(self) -> None:
        """Stop fetching messages. Requests are still answered, so that current work can end."""
        self._callbacks.clear()
        if self._bell is not None:
            self._commit_loop.unhang(self._bell)
            self._bell = None

    async def send(self, req: str, headers: dict[str, str] | None = None) -> str:  # noqa: ARG002
        """Answer one request, once it is on disk. Raises ConnectorError if the file failed."""
        try:
            return (await self._commit_loop.ask(req)).decode()
        except EngineError as error:
            raise ConnectorError(error) from error

    def announce(self, workflows: Sequence[str]) -> None:
        """Announce the workflows of this worker, next to the file, from `start` on."""
        self._serves = to_json(workflows)

    def close(self) -> None:
        """Close the file. No request may follow."""
        self._commit_loop.close()

    def now(self) -> int:
        """Return the file's current time in ms since the epoch."""
        return self._commit_loop.now()

    def poke(self) -> None:
        """Look for messages soon, because more tasks may fit."""
        self._commit_loop.soon()

    # engine.server.Subscriber, with name and wants() above

    def room(self, ended: int) -> int:
        """Return how many tasks to take now: all that can start, or if others listen, a share of its places.

        A share of the free capacity would become smaller each time, and so would the batches. Each batch
        costs a commit.
        """
        if self._pausing:
            return 0
        free = self._free(ended)
        self._places = max(free, self._places)
        return min(free, -(-self._places // (self._peers + 1)))

    def addresses(self) -> Sequence[str]:
        """Return the addresses whose messages are fetched here."""
        return self._addresses

    # What a MessageOutlet offers

    def subscribers(self) -> Sequence[Subscriber]:
        """Return this worker, while it wants messages."""
        self._peers = max(self._commit_loop.ringer.count(self._group) - 1, 0)
        return [self] if self._callbacks else []

    def also(self, requests: Sequence[Decoded]) -> None:
        """Return nothing: this worker takes its messages as the server hands them out."""

    def deliver(self, batch: Batch) -> None:
        """Pass on the messages; then the other workers of the group have priority for a moment."""
        for delivery in batch.deliveries:
            if delivery.held is not None:
                self.tasks.give(delivery.held)
            for callback in self._callbacks:
                callback(delivery.text)
        if batch.deliveries and self._peers:
            self._pausing = True
            asyncio.get_running_loop().call_later(SHARE_PAUSE_S, self._end_pause)

    def others(self, offered: set[str]) -> Iterable[str]:
        """Return the addresses of other listeners; the worker's own address only if it is shared."""
        own = self._addresses if self._callbacks else ()
        return offered if self._peers else offered.difference(own)

    def rung(self, bell: Bell | None) -> None:
        """Do nothing: each batch looks for messages anyway."""

    def ended(self, error: FormatChanged) -> None:
        """Report to the worker that it can no longer serve the file."""
        self._ended(str(error))

    def _end_pause(self) -> None:
        self._pausing = False
        self._commit_loop.soon()
