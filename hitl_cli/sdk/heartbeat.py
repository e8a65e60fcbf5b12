"""Keeps the leases of a worker's tasks alive, from a thread of its own.

A step that blocks the event loop (a synchronous HTTP call, a long computation) must not cost the
worker its leases, so the renewals do not depend on the loop. It replaces the SDK's `Heartbeat`
(resonate/heartbeat.py), so the SDK reports to it when each execution begins and ends.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from contextvars import ContextVar
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.errors import HitlError, logged
from hitl_cli.format import log_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.protocol import Client

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3
"""Two renewals can fail before a lease expires."""


executing: ContextVar[tuple[str, int]] = ContextVar("executing")
"""The task that is being executed, and its version."""


class LeaseHeartbeat:
    """Renews the leases of the held tasks every third of a lease, and releases the tasks at the end."""

    def __init__(
        self, open_client: Callable[[], Client], pid: str, lease_s: float, ended: Callable[[str], None]
    ) -> None:
        """`open_client` is called in the thread that uses it; `ended` is called after each execution."""
        self._open_client = open_client
        self._pid = pid
        self._interval_s = lease_s / RENEWALS_PER_LEASE
        self._ended = ended
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    # resonate.heartbeat.Heartbeat

    def start(self, task_id: str, task_version: int) -> None:
        """Record that an execution begins. Called in its asyncio task."""
        executing.set((task_id, task_version))
        log_fields.context.set({"run": task_id})
        with self._lock:
            self._held[task_id] = task_version
        if not self._thread.ident:
            self._thread.start()

    def stop(self, task_id: str) -> None:
        """Record that an execution ended."""
        with self._lock:
            self._held.pop(task_id, None)
        self._ended(task_id)

    def shutdown(self) -> None:
        """Stop renewing."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1)

    def held(self) -> dict[str, int]:
        """Return the tasks that are being executed, with their versions."""
        with self._lock:
            return dict(self._held)

    def give_back(self) -> None:
        """Release the held tasks, so that other workers need not wait until the leases expire.

        It blocks, so do not call it in the event loop; it works even while the loop is blocked.
        """
        releases = [
            ProtocolRequest("task.release", {"id": id, "version": version})
            for id, version in self.held().items()
        ]
        if not releases:
            return
        try:
            with self._open_client() as client:
                client.call_many(releases)
        except HitlError as error:
            logger.warning(
                "unfinished tasks could not be released, so other workers take them when their leases"
                " expire: %s",
                logged(error),
            )

    def _run(self) -> None:
        client: Client | None = None
        while not self._stopped.wait(self._interval_s):
            renewals = self._renewals()
            if not renewals:
                continue
            try:
                client = client or self._open_client()
                client.call_many(renewals)
            except (HitlError, OSError) as error:
                logger.warning("leases could not be renewed, retrying: %s", logged(error))
        if client is not None:
            client.close()

    def _renewals(self) -> list[ProtocolRequest]:
        """Return one heartbeat per lineage, because some servers accept no heartbeat for several."""
        tasks: dict[str, list[dict[str, object]]] = defaultdict(list)
        for id, version in self.held().items():
            tasks[id.split(":", 1)[0]].append({"id": id, "version": version})
        return [
            ProtocolRequest("task.heartbeat", {"pid": self._pid, "tasks": group}) for group in tasks.values()
        ]
