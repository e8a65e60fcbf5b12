"""Periodic work of workers and gateways, which completes the unfinished work of dead processes.

It settles requests that have all their votes but were not settled (hitl_cli/inbox/pending.py), so that the
run continues, and makes checkpoints of the history (hitl_cli/notify/checkpoints.py). A worker also queues
missing notifications (hitl_cli/notify/reconcile.py). On a Resonate Server it settles requests by their
deadlines (hitl_cli/inbox/deadlines.py).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from hitl_cli.auth.held_decisions import why_ended
from hitl_cli.errors import HitlError, Unreachable, logged
from hitl_cli.inbox.deadlines import DueRequests
from hitl_cli.inbox.held import make_left
from hitl_cli.inbox.pending import settle_complete
from hitl_cli.notify.checkpoints import CheckpointMaker
from hitl_cli.worker.periodic_thread import PeriodicThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.protocol import Client
    from hitl_cli.notify.reconcile import Reconciler
    from hitl_cli.people.contacts import Directory

logger = logging.getLogger(__name__)

COUNT_EVERY_S = 30.0


class Housekeeper(PeriodicThread):
    """Does the periodic work in a thread of its own: at once, and then every `every_s` seconds.

    Deadlines on a Resonate Server are checked in between.
    """

    def __init__(
        self,
        open_client: Callable[[], Client],
        directory: Callable[[], Directory],
        every_s: float,
        unheard: Reconciler | None = None,
    ) -> None:
        """`open_client` is called in that thread; `unheard` finds requests without notifications."""
        super().__init__("votes")
        self._unheard = unheard
        self._checkpoints = CheckpointMaker(directory)
        self._open_client = open_client
        self._directory = directory
        self._every_s = every_s

    def _run(self) -> None:
        client: Client | None = None
        due, round_at, away = DueRequests(), 0.0, False
        while True:
            pause_s = self._every_s
            try:
                client = client or self._open_client()
                if time.monotonic() >= round_at:
                    settle_complete(client, self._directory().members)
                    next_s = make_left(client, self._directory().members, why_ended)
                    if self._unheard is not None:
                        self._unheard.look(client)
                    self._checkpoints.look(client)
                    round_at = time.monotonic() + min(self._every_s, next_s)
                pause_s = min(due.look(client), round_at - time.monotonic())
                away = False
            except (HitlError, OSError) as error:
                told, away = away, isinstance(error, Unreachable)
                if not (told and away):  # `ServerCheck` logs that the server is back
                    logger.warning("housekeeping failed, retried in %g s: %s", self._every_s, logged(error))
            except Exception:  # a malformed promise of another tool must not end the thread
                logger.exception("housekeeping failed, retried in %g s", self._every_s)
            if self._stopped.wait(max(pause_s, 0.0)):
                break
        if client is not None:
            client.close()
