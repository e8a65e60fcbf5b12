"""Settles requests by their deadlines, on a Resonate Server, which arms timeouts for targeted promises only.

There a request stays pending past its deadline until somebody reads it. Workers and gateways read it when it
is due. They list what is open every few seconds, less often if that takes the server long.
"""

from __future__ import annotations

import time
from itertools import takewhile
from math import inf
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import get_promises
from hitl_cli.inbox.pending import blocking_pages

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client

LIST_EVERY_S = 5.0
"""How often open requests are listed at most."""

SHARE = 20
"""Listing may take one part in so many of the time."""

AGAIN_S = 1.0
"""When to read a request again that is overdue here: the server's clock may be behind."""


class DueRequests:
    """The open requests of a server, by deadline."""

    def __init__(self) -> None:
        self._due: list[tuple[int, str]] = []
        self._list_at = -inf

    def look(self, client: Client) -> float:
        """Settle what is due, and return in how many seconds to look again. Raises Unreachable."""
        if not client.capabilities.plain:
            return inf
        began = time.monotonic()
        if began >= self._list_at:
            listed = (promise for page in blocking_pages(client) for promise in page)
            self._due = sorted((promise.timeout_at, promise.id) for promise in listed)
            ended = time.monotonic()
            self._list_at = ended + max(LIST_EVERY_S, (ended - began) * SHARE)
        now = client.now()
        late = [id for _, id in takewhile(lambda due: due[0] <= now, self._due)]
        if late:
            settled = {id for id, found in get_promises(client, late).items() if found.state != "pending"}
            self._due = [due for due in self._due if due[1] not in settled]
        next_s = (self._due[0][0] - now) / 1_000 if self._due else inf
        return min(max(next_s, AGAIN_S), self._list_at - time.monotonic())
