"""A gateway in a thread of its own.

It has its own event loop, so that a step that blocks the worker's loop does not block the pages.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from hitl_cli.gateway.app import run
from hitl_cli.gateway.context import Gateway

if TYPE_CHECKING:
    from hitl_cli.gateway.options import Options


class BackgroundGateway:
    """A gateway that serves from `start` to `stop`, at `url`."""

    def __init__(self, options: Options) -> None:
        """Read the keys. Raises BadInput."""
        self._gateway = Gateway(options)
        self._thread = threading.Thread(target=self._serve, name="gateway", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: Exception | None = None
        self.url = ""

    def start(self) -> None:
        """Start, and return once the gateway serves. Raises OSError if it cannot listen."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop, and return once the current requests are answered."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._gateway.stop)
        self._thread.join()

    def _serve(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:  # noqa: BLE001 - raised again in the thread that started this one
            self._failure = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        await run(self._gateway, self._announce)

    def _announce(self, url: str) -> None:
        self.url = url
        self._ready.set()
