"""Waits of `AsyncHitl`: one thread looks up all requests and runs of a server together.

At a gateway each wait is an HTTP request of its own; they share a few threads.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hitl_cli.client.waiting import PATIENCE_S
from hitl_cli.errors import HitlError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.python_api.backend import Backend

SLICE_S = 0.5
"""How long a thread waits before it looks for those that began to wait meanwhile."""

LOOK_S = 30.0
"""How often a request is looked at although nothing was reported: its votes may be complete."""

THREADS = 64
"""Waits at a gateway at a time. With more of them, each gets its turn for SLICE_S."""


class AsyncWaits:
    """The waits of one `AsyncHitl`, in one event loop at a time."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(THREADS, "hitl-wait")

    async def close(self) -> None:
        """Stop the threads, each after its current slice, so that connections can be closed."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for waiter in [waiter for those in self._waiting.values() for waiter in those]:
            waiter.cancel()
        if self._looking is not None and self._looking.get_loop() is asyncio.get_running_loop():
            await self._looking

    async def until[T](
        self, look: Callable[[str, float | None], T | None], id: str, timeout_s: float | None
    ) -> T | None:
        """Return the first result of `look` that is not None; None after `timeout_s` seconds.

        The first look fails at once if the server cannot be reached. Later it may be restarting, for
        PATIENCE_S. Raises Unreachable, and what `look` raises.
        """
        if self._process != os.getpid():
            self._begin()  # the threads and the waits are those of the parent
        end = None if timeout_s is None else time.monotonic() + timeout_s
        found, heard_at = await asyncio.to_thread(look, id, 0.0), time.monotonic()
        while found is None:
            rest = LOOK_S if end is None else min(end - time.monotonic(), LOOK_S)
            if rest <= 0:
                return None
            try:
                found, heard_at = await self._next(look, id, rest), time.monotonic()
            except Unreachable:
                if time.monotonic() > heard_at + PATIENCE_S:
                    raise
                await asyncio.sleep(min(rest, SLICE_S))
        return found

    async def _next[T](self, look: Callable[[str, float | None], T | None], id: str, rest: float) -> T | None:
        """Call `look` once something may have changed, or after a while."""
        if self._backend.looks_for_many:
            await self._settled(id, rest)
            return await asyncio.to_thread(look, id, 0.0)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, look, id, min(rest, SLICE_S))

    async def _settled(self, id: str, timeout_s: float) -> None:
        """Wait until a request or run is settled, at most `timeout_s`. Raises Unreachable."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(id, set()).add(waiter)
        if self._looking is None or self._looking.done() or self._looking.get_loop() is not loop:
            self._looking = loop.create_task(self._look_for_all())
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return
        finally:
            those = self._waiting[id]
            those.discard(waiter)
            if not those:
                del self._waiting[id]

    async def _look_for_all(self) -> None:
        """Wake the waiters of settled requests and runs, as long as there are waiters."""
        while self._waiting:
            told: list[str] = list(self._waiting)
            error: HitlError | None = None
            try:
                told = await asyncio.to_thread(self._backend.settled, told, SLICE_S)
            except HitlError as failed:
                error = failed
            for waiter in [waiter for id in told for waiter in self._waiting.get(id, ())]:
                if waiter.done():
                    continue
                if error is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(error)
            await asyncio.sleep(0)  # those that were woken leave
