"""Limits how many messages are sent to one place at a time, so that a slow one does not block the others.

A step that sends occupies one of the worker's slots. So only a few steps may wait for the same server, and
the others give up after a moment. After a timeout, further messages fail at once for a while.
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
"""How long a message waits for a slot. After that it fails, and a durable step tries it again later."""

ALL = 3
"""How many places can be slow before messages to others must wait."""

SLOW_S = 5.0
"""A failure after this time counts as a timeout of the place."""

REST_S = 30.0
"""How long nothing is sent to a place after a timeout."""


class ConcurrencyLimit:
    """Limits concurrency per place and in total; fails fast if no slot was freed lately."""

    def __init__(self, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`at_once` is the limit per place; the total limit is ALL times that."""
        self._places: defaultdict[str, _Slots] = defaultdict(lambda: _Slots(at_once, clock))
        self._all = _Slots(ALL * at_once, clock)
        self._resting: dict[str, float] = {}
        self._clock = clock

    @asynccontextmanager
    async def slot(self, address: Address) -> AsyncIterator[None]:
        """Hold a slot while a message is sent. Raises DeliveryFailed if none is free in time."""
        place = _place_of(address)
        self._check_awake(place)
        held: list[_Slots] = []
        began = self._clock()
        try:
            for slots in (self._places[place], self._all):
                await slots.take()
                held.append(slots)
            self._check_awake(place)
            began = self._clock()
            yield
        except (DeliveryFailed, TimeoutError, OSError):
            if len(held) > 1 and self._clock() - began >= SLOW_S:
                self._resting[place] = self._clock() + REST_S
            raise
        finally:
            for slots in reversed(held):
                slots.free()

    def _check_awake(self, place: str) -> None:
        if self._clock() < self._resting.get(place, 0.0):
            raise DeliveryFailed("not tried: an earlier message to this place timed out.")


class _Slots:
    """Slots for `at_once` messages. If none was taken or freed for WAIT_S, callers fail at once."""

    def __init__(self, at_once: int, clock: Callable[[], float]) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._moved = clock()
        self._clock = clock

    async def take(self) -> None:
        """Take a slot. Raises DeliveryFailed if none is free in time."""
        if self._free.locked():
            stuck = self._clock() - self._moved >= WAIT_S
            try:
                async with asyncio.timeout(0 if stuck else WAIT_S):
                    await self._free.acquire()
            except TimeoutError:
                raise DeliveryFailed("not tried: too many other messages are being sent.") from None
        else:
            await self._free.acquire()
        self._moved = self._clock()

    def free(self) -> None:
        """Free a slot."""
        self._moved = self._clock()
        self._free.release()


def _place_of(address: Address) -> str:
    """Return a key for the server of an address. All mail goes through one server."""
    try:
        where = "" if address.kind == "email" else urlsplit(address.to).hostname or ""
    except ValueError:  # Apprise will check it
        where = ""
    return f"{address.kind} {where}"
