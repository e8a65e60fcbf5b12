"""What a worker and a gateway look after now and then, although the process that began it died.

They settle requests that have all their votes, where the process that cast the last one died before
(hitl_cli/inbox/pending.py), so that a run goes on although nobody decides. A worker also queues notifications
of requests of which nobody was notified (hitl_cli/notify/reconcile.py).
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from hitl_cli.errors import HitlError, logged
from hitl_cli.inbox.pending import settle_complete

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.protocol import Client
    from hitl_cli.notify.reconcile import Reconciler
    from hitl_cli.people.groups import Groups

logger = logging.getLogger(__name__)

COUNT_EVERY_S = 30.0

STOP_S = 1.0
"""How long a process that ends waits for a count in hand: a server may never answer."""


class Housekeeper:
    """Counts votes from a thread of its own, at once and then every so often."""

    def __init__(
        self,
        open_client: Callable[[], Client],
        groups: Callable[[], Groups],
        every_s: float,
        unheard: Reconciler | None = None,
    ) -> None:
        """`open_client` is called in the thread that uses it; `unheard` is what looks whom to tell."""
        self._unheard = unheard
        self._open_client = open_client
        self._groups = groups
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="votes", daemon=True)

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def stop(self) -> None:
        """Count no more."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join(STOP_S)

    def _run(self) -> None:
        client: Client | None = None
        while True:
            try:
                client = client or self._open_client()
                settle_complete(client, self._groups())
                if self._unheard is not None:
                    self._unheard.look(client)
            except (HitlError, OSError) as error:
                logger.warning("it could not be looked after votes and notices: %s", logged(error))
            except Exception:  # a promise of others that nobody foresaw must not end the counting
                logger.exception("it could not be looked after votes and notices")
            if self._stopped.wait(self._every_s):
                break
        if client is not None:
            client.close()
