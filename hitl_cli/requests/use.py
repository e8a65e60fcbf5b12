"""Approvals that may be used once: the process that creates the record of the use first, uses it.

The record is a promise under the request, whose id is derived from the request, so that it exists once on
every server. The same key again is the same use.
"""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import Json, child_id, decode
from hitl_cli.errors import BadInput, BadUsage, NotCovered
from hitl_cli.format.times import iso
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.client.wire import Promise
    from hitl_cli.requests.decision import Decision


class Use(Struct, frozen=True, kw_only=True):
    """The use of an approval: by whom, how, and when (ms since the epoch). `key` identifies the use."""

    by: str | None
    via: str | None
    at: int
    key: str


def use_id(request: str) -> str:
    """Return the id of the record of a request's use."""
    return child_id(request, "u")


def use_in(data: Json, created_at: int) -> Use:
    """Return the use in the data of a record. Unreadable data also counts as a use, by an unknown person."""
    try:
        return msgspec.convert(data, inspected(Use))
    except msgspec.ValidationError:
        return Use(by=None, via=None, at=created_at, key="")


def use_recorded(record: Promise) -> Use:
    """Return the use in a record."""
    return use_in(decode(record.param), record.created_at)


def use_of(request: str, promises: Iterable[Promise]) -> Use | None:
    """Return the use of a request's approval that is recorded in one of the promises."""
    return next((use_recorded(one) for one in promises if one.id == use_id(request)), None)


def check_use(id: str, use: Use, key: str) -> None:
    """Raise NotCovered if an approval was used before, by another use."""
    if use.key != key:
        raise NotCovered(
            f"the approval of {id} was already used by {use.by or 'another tool'} via {use.via or 'it'}"
            f" ({iso(use.at)}). Ask again.",
            code="approval-used",
            at=use.at,
        )


def check_usable(decision: Decision[Any]) -> None:
    """Raise Rejected if a decision is not an approval, BadInput if it may be used more than once."""
    decision.require()
    if not decision.once:
        raise BadInput(
            f"{decision.id} was not asked with once=True, so its approval is not used up.", code="not-once"
        )


@singledispatch
def consume_at(place: Any, decision: Decision[Any], _key: str | None) -> Any:
    """Use up an approval at a place: `Hitl`, `AsyncHitl`, or the context of a workflow. Each adds its own."""
    raise BadUsage(f"{decision.id}: pass the ctx of the workflow, or the Hitl that asked, not {place!r}.")
