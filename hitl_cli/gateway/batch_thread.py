"""A thread that serves calls in batches, with a client of its own.

Calls that arrive while it is busy form the next batch. Under load they share round trips, commits and
switches of threads.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from hitl_cli.errors import HitlError, logged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.protocol import Client

logger = logging.getLogger(__name__)

IDLE_S = 600.0
"""How long the thread waits to be asked before it ends."""

AWAY_S = 1.0
"""Pause before a failed server is tried again."""

STOP_S = 2.0
"""How long a gateway that stops waits for the thread: a server may never answer."""


class Asked[T, R](NamedTuple):
    """A call. The answer is its result in a tuple, or None if the thread declines."""

    what: T
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[tuple[R] | None]


class BatchThread[T, R](ABC):
    """Serves calls in a thread, which starts when needed and ends when idle."""

    name: str

    def __init__(self, open_client: Callable[[], Client]) -> None:
        """`open_client` is called in the thread."""
        self._open_client = open_client
        self._changed = threading.Condition()
        self._waiting: list[Asked[T, R]] = []
        self._open = False
        self._asked_at = 0.0
        self._thread: threading.Thread | None = None
        self._closed = False

    async def ask(self, what: T) -> tuple[R] | None:
        """Return the result in a tuple; None if the thread declines. Raises what serving it raised."""
        loop = asyncio.get_running_loop()
        asked = Asked[T, R](what, loop, loop.create_future())
        with self._changed:
            self._asked_at = time.monotonic()
            if self._open:
                self._waiting.append(asked)
                self._changed.notify()
            elif self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()
            if not self._open:
                return None
        return await asked.answer

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(STOP_S)

    # In the thread

    @abstractmethod
    def serve(self, client: Client) -> bool:
        """Call `open`, and serve what `take` returns, until it returns nothing or an error occurs.

        Return False if nothing can be served for now. Raises Unreachable.
        """

    def open(self) -> None:
        """Let `ask` queue calls from now on."""
        with self._changed:
            self._open = True

    def take(self) -> list[Asked[T, R]]:
        """Return the queued calls, as soon as there are any; nothing when idle, or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, IDLE_S)
            asked, self._waiting = self._waiting, []
            return [] if self._closed else asked

    def answer(self, asked: Sequence[Asked[T, R]], results: Sequence[tuple[R] | Exception | None]) -> None:
        """Hand over results, errors, or None to decline."""
        if asked and not self._closed:
            asked[0].loop.call_soon_threadsafe(_hand_over, list(zip(asked, results, strict=True)))

    def fail(self, asked: Sequence[Asked[T, R]], error: Exception | None = None) -> None:
        """Hand over the same error for all calls, or decline them."""
        self.answer(asked, [error] * len(asked))

    @property
    def closed(self) -> bool:
        """Whether the thread must end."""
        return self._closed

    def _run(self) -> None:
        client: Client | None = None
        failed = False
        while self._is_wanted():
            try:
                client = client or self._open_client()
                failed = not self.serve(client)
            except HitlError as error:
                if not failed:
                    logger.warning("%s: the server failed: %s", self.name, logged(error))
                failed = True
            except Exception:
                logger.exception("%s failed; trying again", self.name)
                failed = True
            self._shut()
            if failed:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, AWAY_S)
        if client is not None:
            client.close()

    def _is_wanted(self) -> bool:
        """Whether there were calls lately; otherwise the thread ends."""
        with self._changed:
            wanted = not self._closed and time.monotonic() - self._asked_at < IDLE_S
            if not wanted:
                self._thread = None
            return wanted

    def _shut(self) -> None:
        """Decline the queued calls and all later ones."""
        with self._changed:
            self._open = False
            asked, self._waiting = self._waiting, []
        self.fail(asked)


def _hand_over[T, R](answered: Sequence[tuple[Asked[T, R], tuple[R] | Exception | None]]) -> None:
    """Answer, in the event loop."""
    for asked, result in answered:
        if asked.answer.done():
            continue
        if isinstance(result, Exception):
            asked.answer.set_exception(result)
        else:
            asked.answer.set_result(result)
