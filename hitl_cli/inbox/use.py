"""Using up an approval that may be used once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.client.protocol import get_promise
from hitl_cli.client.records import store, under
from hitl_cli.client.tags import USED_TAG
from hitl_cli.client.wire import Audit, fresh_id
from hitl_cli.errors import BadInput, Conflict, NotAllowed, NotCovered
from hitl_cli.format.times import instant
from hitl_cli.inbox.ask import decision_of
from hitl_cli.inbox.permission import is_asker
from hitl_cli.requests.decision import approval_expired
from hitl_cli.requests.use import Use, check_usable, check_use, use_id, use_recorded

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor

LONGEST_KEY = 200


def consume(client: Client, actor: Actor, item: RequestSummary, key: str) -> Use:
    """Record the use of an approval, and return it. See Inbox.consume."""
    if not 0 < len(key) <= LONGEST_KEY:
        raise BadInput(f"the key of a use must have 1 to {LONGEST_KEY} characters.", code="bad-name")
    if "start" not in actor.may and not is_asker(item, actor):
        raise NotAllowed(
            f"{item.id} was asked by {item.asker}: to use its approval, others need the permission start."
            " Nothing was changed.",
            code="not-asker",
        )
    promise = item.promise
    if promise.state == "pending":
        raise Conflict(f"{item.id} is not decided yet.", code="not-decided")
    decision = decision_of(promise, item.asked, actor.groups, item.run, amendments=item.amendments)
    if not decision.approved:
        raise NotCovered(f"{item.id} was not approved.")
    check_usable(decision)
    before = get_promise(client, use_id(item.id))
    now = client.now()
    if before is None:
        if decision.valid_until is not None and instant(now) > decision.valid_until:
            raise approval_expired(decision)
        own = Use(by=actor.person, via=actor.via, at=now, key=key)
        audit = Audit(id=fresh_id(), by=own.by, via=own.via, at=now)
        create = under(promise, use_id(item.id), USED_TAG, msgspec.to_builtins(own), audit)
        before = store(client, create)
    use = use_recorded(before)
    check_use(item.id, use, key)
    return use
