"""Who is away: list, set, end."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hitl_cli.gateway.api.route import Call, Instant, Routes, in_ms
from hitl_cli.inbox import Inbox
from hitl_cli.views.away import AwayDocument, AwaysDocument, away_document

routes = Routes()


class AwayBody(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from", "for_": "for"}
):
    """Until when you are away, and your deputy. `for` is another person, if you are an operator."""

    until: Instant
    from_: Instant | None = None
    to: Annotated[str | None, Meta(description="Your deputy.")] = None
    for_: Annotated[str | None, Meta(description="Another person, if you are an operator.")] = None
    anyway: Annotated[bool, Meta(description="Accept names that are not in the settings.")] = False


class AwayQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """Whose absence to end: your own, or another person's if you are an operator."""

    for_: Annotated[str | None, Meta(description="Another person, if you are an operator.")] = None


@routes.get("/away", "List the people who are away or will be, and their deputies.", needs=("read",))
def _list(call: Call[None, None], inbox: Inbox) -> AwaysDocument:  # noqa: ARG001
    """Return the people who are away now or will be."""
    return AwaysDocument([away_document(one) for one in inbox.aways()])


@routes.post("/away", "Record that you are away, and your deputy.", needs=("decide",))
def _set(call: Call[None, AwayBody], inbox: Inbox) -> AwayDocument:
    """Record that you are away, in place of an earlier record."""
    body = call.body
    since, until = None if body.from_ is None else in_ms(body.from_), in_ms(body.until)
    return away_document(
        inbox.go_away(until=until, since=since, to=body.to, person=body.for_, anyway=body.anyway)
    )


@routes.delete("/away", "End your absence.", needs=("decide",))
def _end(call: Call[AwayQuery, None], inbox: Inbox) -> AwaysDocument:
    """Record that you are back. Returns the people who are still away."""
    inbox.come_back(call.query.for_)
    return AwaysDocument([away_document(one) for one in inbox.aways()])
