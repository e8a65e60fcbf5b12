"""Lists of open requests, answered from memory (hitl_cli/inbox/open_requests.py) in a thread of its own.

Calls that arrive while the thread is busy are answered together, after one read of the changes. Lists are
read from the server until the requests are loaded, and always if the server does not report changes. When
idle, the memory is freed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hitl_cli.errors import HitlError
from hitl_cli.gateway.batch_thread import BatchThread
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.open_requests import OpenRequests
from hitl_cli.inbox.pending import pending
from hitl_cli.people.actor import Actor

if TYPE_CHECKING:
    from hitl_cli.client.pool import ClientPool
    from hitl_cli.client.protocol import Client

type _Wanted = tuple[Actor, Callable[[Inbox], Any]]

MOST = 250_000
"""Open requests to keep at most; with more, all lists are read from the server. Each takes about 2 kB."""

HEAD_START_S = 0.2
YIELD_S = 0.001
"""Pause between two parts of loading, for lists that are read from the server: above all the first one."""

TOGETHER = 16
"""Answers that are handed over at a time, so that the event loop and this thread work in turns."""

PAUSES = 4
PAUSE_S = 0.05
"""After reading changes, the thread pauses for four times as long, at most `PAUSE_S`, so that more lists
share the next read."""


class Lists(BatchThread[_Wanted, Any]):
    """Answers lists of open requests."""

    name = "lists"

    def __init__(self, open_client: Callable[[], Client], pool: ClientPool) -> None:
        """`pool` reads from the server what memory cannot answer."""
        super().__init__(open_client)
        self._pool = pool

    async def run[T](self, actor: Actor, work: Callable[[Inbox], T]) -> T:
        """Return the result of `work`, which must only list open requests."""
        answer = await self.ask((actor, work))
        if answer is not None:
            result: T = answer[0]
            return result
        return await self._pool.run(lambda client: work(Inbox(client, actor)))

    async def prepare(self) -> None:
        """Read one request, so that the server plans the query before the first list. Raises Unreachable."""
        await self._pool.run(_read_one)

    def serve(self, client: Client) -> bool:
        """Load the open requests, and answer lists until they must be loaded again. Raises Unreachable."""
        if not OpenRequests.suits(client):
            return False
        known = OpenRequests(client)
        time.sleep(HEAD_START_S)
        for _ in known.load():
            if self.closed or len(known) > MOST:
                return False
            time.sleep(YIELD_S)
        self.open()
        while asked := self.take():
            began = time.monotonic()
            try:
                fresh = known.refresh()
            except HitlError as error:
                self.fail(asked, error)
                raise
            if not fresh:
                self.fail(asked)
                return True
            pause_s = min((time.monotonic() - began) * PAUSES, PAUSE_S)
            for at in range(0, len(asked), TOGETHER):
                some = asked[at : at + TOGETHER]
                self.answer(some, [_listed(client, known, *one.what) for one in some])
            time.sleep(pause_s)
        return True


def _read_one(client: Client) -> None:
    if OpenRequests.suits(client):
        pending(client, limit=1)


def _listed(
    client: Client, known: OpenRequests, actor: Actor, work: Callable[[Inbox], Any]
) -> tuple[Any] | Exception:
    """Return the result of a list, or its error."""
    try:
        return (work(Inbox(client, actor, known)),)
    except Exception as error:  # noqa: BLE001 - raised again for who asked
        return error
