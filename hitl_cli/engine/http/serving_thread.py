"""Serves HTTP in a thread with its own event loop, so that another blocked loop does not delay it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class ServingThread:
    """A server that serves from `start` to `stop`, at `url`."""

    def __init__(
        self,
        name: str,
        serve: Callable[[Callable[[str], None]], Coroutine[None, None, None]],
        stop: Callable[[], None],
        patience_s: float | None = None,
    ) -> None:
        """`serve` calls its argument with the URL once it serves, and returns after `stop` is called.

        `stop` waits for it to return, at most for `patience_s` if given.
        """
        self.url = ""
        self._serve = serve
        self._stop = stop
        self._patience_s = patience_s
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: Exception | None = None

    def start(self) -> None:
        """Start, and return once it serves. Raises OSError if it cannot listen."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop, and return once the current requests are answered."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop)
        if self._thread.ident is not None:
            self._thread.join(self._patience_s)

    def _run(self) -> None:
        try:
            asyncio.run(self._run_loop())
        except Exception as error:
            if self._ready.is_set():
                raise
            self._failure = error  # raised again in the thread that started this one
        finally:
            self._ready.set()

    async def _run_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._serve(self._announce)

    def _announce(self, url: str) -> None:
        self.url = url
        self._ready.set()
