"""`ServerCheck`: checks every few seconds, in a thread of its own, whether the server can be reached.

It logs once that the server is unreachable, and once that it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import get_promise
from hitl_cli.errors import HitlError, Unreachable, logged
from hitl_cli.format.durations import format_duration
from hitl_cli.worker.periodic_thread import PeriodicThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.protocol import Client

logger = logging.getLogger("hitl_cli.server_state")

EVERY_S = 5.0

PATIENCE_S = 10.0
"""How long a check may take before the server counts as unreachable: it may never answer."""


class ServerCheck(PeriodicThread):
    """Checks the server until it is stopped."""

    def __init__(self, open_client: Callable[[], Client], every_s: float = EVERY_S) -> None:
        """`open_client` is called in the thread."""
        super().__init__("server-check")
        self._open_client = open_client
        self._every_s = every_s
        self._reached_at = time.monotonic()
        self._why: str | None = None

    @property
    def away(self) -> str | None:
        """Why the server cannot be reached; None if it can."""
        return self._why

    @property
    def away_s(self) -> float:
        """How long the server has not been reached, in seconds; 0 if it is reached."""
        return 0.0 if self.away is None else time.monotonic() - self._reached_at

    def _run(self) -> None:
        client: Client | None = None
        while True:
            try:
                client = self._look(client)
            except (HitlError, OSError) as error:
                self._is_away(error)
            else:
                if self._why is not None:
                    away = format_duration(round(time.monotonic() - self._reached_at) * 1_000)
                    logger.info("the server is reachable again after %s", away)
                self._reached_at, self._why = time.monotonic(), None
            if self._stopped.wait(self._every_s):
                break
        if client is not None:
            client.close()

    def _look(self, client: Client | None) -> Client:
        """Read something from the server, and return the client. Raises HitlError, OSError."""
        hangs = Unreachable(f"the server has not answered for {PATIENCE_S:g} s.")
        patience = threading.Timer(PATIENCE_S, self._is_away, (hangs,))
        patience.daemon = True
        patience.start()
        try:
            client = client or self._open_client()
            get_promise(client, "hitl")
            return client
        finally:
            patience.cancel()

    def _is_away(self, error: HitlError | OSError) -> None:
        if self._why is None:
            logger.warning("the server is unreachable: %s", logged(error))
        self._why = str(error)
