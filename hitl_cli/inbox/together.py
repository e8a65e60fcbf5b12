"""Decisions of several people at once, in two round trips: one reads the requests, one settles them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET

from hitl_cli.inbox.decide import Settling
from hitl_cli.inbox.inbox import Inbox
from hitl_cli.inbox.pending import demanded, sees, summaries
from hitl_cli.people.sight import Sight
from hitl_cli.requests.decision_input import DecisionInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.decide import Said
    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor


class WantedDecision(NamedTuple):
    """A person's decision on the request with this id."""

    actor: Actor
    id: str
    said: Said


def decide_together(
    client: Client, wanted: Sequence[WantedDecision]
) -> list[DecisionResult | Exception | None]:
    """Do what `Inbox.decide` does for each decision, and return its result or error.

    None means that a decision must be made on its own: the id may be another name of a request, several must
    approve, or a rule is to be made. Raises Unreachable if no decision was made.
    """
    named = summaries(client, [one.id for one in wanted])
    begun = [_begun(client, named.get(one.id), one) for one in wanted]
    settling = [one.request for one in begun if isinstance(one, Settling)]
    answers = iter(client.call_many(settling) if settling else [])
    results: list[DecisionResult | Exception | None] = []
    for one in begun:
        if isinstance(one, Settling):
            try:
                results.append(one.result(next(answers), client.now()))
            except Exception as error:  # noqa: BLE001 - raised again for its author
                results.append(error)
        else:
            results.append(one)
    return results


def _begun(
    client: Client, item: RequestSummary | None, wanted: WantedDecision
) -> DecisionResult | Settling | Exception | None:
    """Check a decision."""
    if item is None or not item.promise.is_blocking:
        return None
    if not sees(Sight(wanted.actor, acting="decide"), item):
        return None
    item = demanded(item, wanted.actor.groups)
    if item.asked.several:
        return None
    if isinstance(wanted.said, DecisionInput) and wanted.said.for_ is not UNSET:
        return None
    try:
        return Inbox(client, wanted.actor).begin(item, wanted.said)
    except Exception as error:  # noqa: BLE001 - raised again for its author
        return error
