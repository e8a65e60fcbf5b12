"""Settles requests by their deadlines, where the server does not.

A Resonate Server arms timeouts for promises with a target only, so a request stays pending past its deadline
until it is read. And no server knows the deadline of a request that can be moved (`extend`): its promise ends
at the last moment to which it can be moved. Workers, gateways and processes that wait for such a request
settle both kinds when they are due. They list open requests every few seconds, less often if that takes the
server long.
"""

from __future__ import annotations

import time
from itertools import takewhile
from math import inf
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import get_promises
from hitl_cli.client.records import closing, settle
from hitl_cli.client.tags import EXTEND_TAG
from hitl_cli.client.wire import Audit, fresh_id
from hitl_cli.inbox.pending import EVERYTHING, RequestFilter, blocking_pages
from hitl_cli.requests.amendments import (
    AmendmentInput,
    amendments_of_many,
    create_request,
    deadline_of,
    is_overdue,
)
from hitl_cli.requests.decision import VIA_DEADLINE, settled_by_deadline
from hitl_cli.requests.question import question_of

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise

LIST_EVERY_S = 5.0
"""How often open requests are listed at most."""

SHARE = 20
"""Listing may take one part in this many of the time."""

AGAIN_S = 1.0
"""When to read a request again that is overdue by this machine's clock: the server's may be behind."""


def settle_overdue(client: Client, promise: Promise) -> Promise:
    """Settle an open request whose deadline can be moved and has passed, and return its promise.

    It first stores an amendment `expire`. If the deadline was moved before that, the request stays open;
    after it, the deadline cannot be moved.
    """
    if promise.state != "pending" or EXTEND_TAG not in promise.tags:
        return promise
    question = question_of(promise)
    if question is None or question.extend is None:
        return promise
    number = 0
    while True:
        known = amendments_of_many(client, [promise.id])[promise.id]
        if not is_overdue(question, promise, known, client.now()):
            return promise
        if any(one.kind == "expire" for one in known):
            break
        number = 1 + max([number, *(one.number for one in known)])
        audit = Audit(id=fresh_id(), by=VIA_DEADLINE, via=VIA_DEADLINE, at=client.now())
        create = create_request(promise, AmendmentInput(kind="expire"), audit, number)
        client.call_many([create, closing(create)])
    state, value = settled_by_deadline(promise.id, question, deadline_of(promise, known))
    return settle(client, promise.id, state, value)


class DueRequests:
    """The open requests that the server does not settle by itself, by deadline."""

    def __init__(self) -> None:
        self._due: list[tuple[int, str]] = []
        self._list_at = -inf

    def look(self, client: Client) -> float:
        """Settle the due requests, and return in how many seconds to call again. Raises Unreachable."""
        began = time.monotonic()
        if began >= self._list_at:
            self._due = due_requests(client)
            ended = time.monotonic()
            self._list_at = ended + max(LIST_EVERY_S, (ended - began) * SHARE)
        now = client.now()
        late = [id for _, id in takewhile(lambda due: due[0] <= now, self._due)]
        if late:
            read = get_promises(client, late)
            found = {id: settle_overdue(client, promise) for id, promise in read.items()}
            over = {id for id, promise in found.items() if promise.state != "pending"}
            self._due = [due for due in self._due if due[1] not in over]
        next_s = (self._due[0][0] - now) / 1_000 if self._due else inf
        return min(max(next_s, AGAIN_S), self._list_at - time.monotonic())


def due_requests(client: Client) -> list[tuple[int, str]]:
    """Return the requests that the server does not settle by itself, by deadline."""
    wanted = EVERYTHING if client.capabilities.plain else RequestFilter(tags={EXTEND_TAG: "1"})
    listed = [promise for page in blocking_pages(client, wanted) for promise in page]
    moved = amendments_of_many(client, [one.id for one in listed if EXTEND_TAG in one.tags])
    return sorted((deadline_of(one, moved.get(one.id, ())), one.id) for one in listed)
