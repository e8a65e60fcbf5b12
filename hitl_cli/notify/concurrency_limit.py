"""Limits how many messages are on their way to one place, so that one that hangs holds up no others.

A step that sends takes one of the places in which a worker executes. So only some of them wait for the same
server, the others for a moment; and where one has just waited in vain, the next do not wait at all.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hitl_cli.notify.messages import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hitl_cli.people.contacts import Address

WAIT_S = 2.0
"""How long a message waits for those before it. What is not sent then is tried again by a durable step."""

ALL = 3
"""How many places can hang before messages to the others wait."""

SLOW_S = 5.0
"""A message that was not taken after so long has waited in vain."""

REST_S = 30.0
"""How long nothing is sent after that."""


class ConcurrencyLimit:
    """Limit concurrency to each place and in all; fail fast where no slot was freed lately."""

    def __init__(self, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`at_once` is how many may be on their way to one place; ALL times as many to all."""
        self._places: defaultdict[str, _Slots] = defaultdict(lambda: _Slots(at_once, clock))
        self._all = _Slots(ALL * at_once, clock)
        self._resting: dict[str, float] = {}
        self._clock = clock

    @asynccontextmanager
    async def slot(self, address: Address) -> AsyncIterator[None]:
        """Hold a slot while a message is sent. Raises DeliveryFailed if none is free in time."""
        place = _place_of(address)
        self._check_awake(place)
        async with self._places[place].one(), self._all.one():
            began = self._clock()
            try:
                self._check_awake(place)
                yield
            except (DeliveryFailed, TimeoutError, OSError):
                if self._clock() - began >= SLOW_S:
                    self._resting[place] = self._clock() + REST_S
                raise

    def _check_awake(self, place: str) -> None:
        if self._clock() < self._resting.get(place, 0.0):
            raise DeliveryFailed("a message before it was not taken in time.")


class _Slots:
    """Slots for `at_once` messages. Nobody waits for one where none was taken or freed for WAIT_S."""

    def __init__(self, at_once: int, clock: Callable[[], float]) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._moved = clock()
        self._clock = clock

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a slot. Raises DeliveryFailed if none is free in time."""
        stuck = self._free.locked() and self._clock() - self._moved >= WAIT_S
        try:
            async with asyncio.timeout(0 if stuck else WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise DeliveryFailed("too much is on its way there.") from None
        self._moved = self._clock()
        try:
            yield
        finally:
            self._moved = self._clock()
            self._free.release()


def _place_of(address: Address) -> str:
    """Return what is the same for all that goes to one server. All mail goes through one."""
    try:
        where = "" if address.kind == "email" else urlsplit(address.to).hostname or ""
    except ValueError:  # Apprise knows what it means, or says that it does not
        where = ""
    return f"{address.kind} {where}"
