"""A thread for periodic work until it is stopped."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

STOP_S = 1.0
"""How long a process that ends waits for work in progress: a server may never answer."""


class PeriodicThread(ABC):
    """Runs `_run` in a thread, which ends once `_stopped` is set."""

    def __init__(self, name: str) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join(STOP_S)

    @abstractmethod
    def _run(self) -> None:
        """Do the work until `_stopped` is set."""
