"""Lists of open requests, answered from memory (hitl_cli/inbox/open_requests.py) in a thread of its own.

Lists that arrive while the thread is busy are answered together, after one look at what has changed. Until
the requests are loaded, and with a server that does not tell what changes, lists are read from the server.
After `IDLE_S` without a list the memory is freed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from hitl_cli.errors import HitlError, logged
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.open_requests import OpenRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hitl_cli.client.pool import ClientPool
    from hitl_cli.client.protocol import Client
    from hitl_cli.people.actor import Actor

logger = logging.getLogger(__name__)

IDLE_S = 600.0

AWAY_S = 1.0
"""Pause before a failed server is tried again."""

MOST = 250_000
"""Open requests to keep at most; with more, all lists are read from the server. Each takes about 2 kB."""

TOGETHER = 16
"""Answers that are handed over at a time, so that the event loop and this thread work in turns."""

STOP_S = 2.0
"""How long a gateway that stops waits for the thread: a server may never answer."""


class _Asked(NamedTuple):
    """A list that somebody asked for. It is answered by `None` if it must be read from the server."""

    actor: Actor
    work: Callable[[Inbox], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[tuple[Any] | None]


class _Answered(NamedTuple):
    asked: _Asked
    result: tuple[Any] | None = None
    error: BaseException | None = None

    def hand_over(self) -> None:
        """Answer, in the event loop."""
        if self.asked.answer.done():
            return
        if self.error is not None:
            self.asked.answer.set_exception(self.error)
        else:
            self.asked.answer.set_result(self.result)


class Lists:
    """Answers lists of open requests."""

    def __init__(self, open_client: Callable[[], Client], pool: ClientPool) -> None:
        """`open_client` is called in the thread; `pool` reads from the server what memory cannot answer."""
        self._open_client = open_client
        self._pool = pool
        self._changed = threading.Condition()
        self._waiting: list[_Asked] = []
        self._loaded = False
        self._asked_at = 0.0
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run[T](self, actor: Actor, work: Callable[[Inbox], T]) -> T:
        """Return the result of `work`, which must only list open requests."""
        loop = asyncio.get_running_loop()
        asked = _Asked(actor, work, loop, loop.create_future())
        if self._put(asked) and (answer := await asked.answer) is not None:
            result: T = answer[0]
            return result
        return await self._pool.run(lambda client: work(Inbox(client, actor)))

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _put(self, asked: _Asked) -> bool:
        """Queue a list for the thread; return False if that has nothing loaded."""
        with self._changed:
            self._asked_at = time.monotonic()
            if self._loaded:
                self._waiting.append(asked)
                self._changed.notify()
            elif self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="lists", daemon=True)
                self._thread.start()
            return self._loaded

    # In the thread

    def _run(self) -> None:
        client: Client | None = None
        failed = False
        while self._is_wanted():
            try:
                client = client or self._open_client()
                failed = not self._serve(client)
            except HitlError as error:
                if not failed:
                    logger.warning("lists are read from the server, which failed: %s", logged(error))
                failed = True
            except Exception:
                logger.exception("lists are read from the server for a moment")
                failed = True
            self._decline()
            if failed:
                self._pause()
        if client is not None:
            client.close()

    def _is_wanted(self) -> bool:
        """Whether anyone has asked for a list lately; otherwise the thread ends."""
        with self._changed:
            wanted = not self._closed and time.monotonic() - self._asked_at < IDLE_S
            if not wanted:
                self._thread = None
            return wanted

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, AWAY_S)

    def _serve(self, client: Client) -> bool:
        """Load the open requests, and answer lists until they must be loaded again or nobody asks.

        Return False if memory cannot answer lists. Raises Unreachable.
        """
        if not OpenRequests.suits(client):
            return False
        known = OpenRequests(client)
        for _ in known.load():
            if self._closed or len(known) > MOST:
                return False
        with self._changed:
            self._loaded = True
        while True:
            asked = self._take()
            if not asked:
                return True
            try:
                fresh = known.refresh()
            except HitlError as error:
                self._hand_over([_Answered(one, error=error) for one in asked])
                raise
            if not fresh:
                self._hand_over([_Answered(one) for one in asked])
                return True
            for at in range(0, len(asked), TOGETHER):
                self._hand_over([_answered(client, known, one) for one in asked[at : at + TOGETHER]])

    def _take(self) -> list[_Asked]:
        """Return the lists that wait, as soon as there is one; none if nobody asks, or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, IDLE_S)
            asked, self._waiting = self._waiting, []
            return [] if self._closed else asked

    def _decline(self) -> None:
        """Leave the lists that wait to the server."""
        with self._changed:
            self._loaded = False
            asked, self._waiting = self._waiting, []
        self._hand_over([_Answered(one) for one in asked])

    def _hand_over(self, answered: list[_Answered]) -> None:
        """Answer in the event loop."""
        if answered and not self._closed:
            answered[0].asked.loop.call_soon_threadsafe(_hand_over, answered)


def _answered(client: Client, known: OpenRequests, asked: _Asked) -> _Answered:
    """Answer a list."""
    try:
        return _Answered(asked, (asked.work(Inbox(client, asked.actor, known)),))
    except Exception as error:  # noqa: BLE001 - raised again for who asked
        return _Answered(asked, error=error)


def _hand_over(answered: Iterable[_Answered]) -> None:
    for one in answered:
        one.hand_over()
