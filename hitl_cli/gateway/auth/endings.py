"""Looks up which sessions were ended, and caches that for a moment."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from hitl_cli.auth.ended import ends, is_ended
from hitl_cli.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hitl_cli.auth.ended import Ends
    from hitl_cli.client.pool import ClientPool

BELIEVED_S = 2.0
"""How long a result is cached, and so how long an ended session may still work."""


class Endings:
    """The ends of sessions, as last read. `clock` returns seconds."""

    def __init__(self, bridge: ClientPool, clock: Callable[[], float] = time.monotonic) -> None:
        self._bridge = bridge
        self._clock = clock
        self._lock = asyncio.Lock()
        self._known: Ends = {}
        self._until = float("-inf")

    def forget(self) -> None:
        """Read them again at the next request."""
        self._until = float("-inf")

    async def cover(self, subjects: Iterable[str], made_at: int) -> bool:
        """Whether a session or link of these subjects, made at `made_at` (ms since the epoch), was ended.

        While the server is unreachable, the last read counts: pages cannot show anything then.
        """
        if self._clock() >= self._until:
            async with self._lock:
                if self._clock() >= self._until:
                    with suppress(Unreachable):
                        self._known = await self._bridge.run(ends)
                    self._until = self._clock() + BELIEVED_S
        return is_ended(self._known, subjects, made_at)
