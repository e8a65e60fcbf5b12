"""`RecentDecisions`: reads the decisions since the last call, by anyone, each one once."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hitl_cli.inbox.history import decision_of, settled_at, settled_since
from hitl_cli.requests.question import WORKFLOW_TAG

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.history import HistoryEntry

MOST = 5_000
"""Decisions to read in one look. With more, the oldest are left out."""

OVERLAP_MS = 10_000
"""How far back a look reads again: a commit may be seen after a later one."""


class RecentDecisions:
    """Reads the decisions since the last call. The cost depends only on the number of new ones."""

    def __init__(self) -> None:
        self._since: int | None = None
        self._known: set[str] = set()

    @staticmethod
    def suits(client: Client) -> bool:
        """Whether a client's server can list what was settled last; others would read everything."""
        can = client.capabilities
        return can.sort and can.open

    def look(self, client: Client) -> list[HistoryEntry]:
        """Return the decisions since the last call, newest first; at the first call, none."""
        if not self.suits(client):
            return []
        first, now = self._since is None, client.now()
        since = now - OVERLAP_MS if self._since is None else self._since
        found = list(islice(settled_since(client, since), MOST))
        new = [promise for promise in found if promise.id not in self._known]
        newest = max(map(settled_at, found), default=since)
        self._since = max(newest - OVERLAP_MS, since)
        self._known = {promise.id for promise in found if settled_at(promise) >= self._since}
        return [] if first else [decision_of(one, one.tags.get(WORKFLOW_TAG)) for one in new]
