"""Who is away: list, set, end."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from hitl_cli.gateway.api.route import Call, Route
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.views.away import AwayDocument, AwaysDocument, away_document

if TYPE_CHECKING:
    from aiohttp import web

    from hitl_cli.inbox import Inbox

type Instant = Annotated[datetime, Meta(tz=True, description="An instant with a time zone, in ISO 8601.")]


class AwayBody(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from", "for_": "for"}
):
    """Until when you are away, and your deputy. `for` is another person, if you are an operator."""

    until: Instant
    from_: Instant | None = None
    to: str | None = None
    for_: str | None = None


class AwayQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """Whose: your own, or another person's if you are an operator."""

    for_: str | None = None


async def _list(call: Call) -> web.Response:
    """Return who is away now, or will be."""

    def look(inbox: Inbox) -> AwaysDocument:
        return AwaysDocument([away_document(one) for one in inbox.aways()])

    return json_answer(await call.inbox(look))


async def _set(call: Call) -> web.Response:
    """Say that you are away, in place of what you have said before."""
    body: AwayBody = call.body

    def do(inbox: Inbox) -> AwayDocument:
        since = None if body.from_ is None else _ms(body.from_)
        return away_document(inbox.go_away(until=_ms(body.until), since=since, to=body.to, person=body.for_))

    return json_answer(await call.inbox(do))


async def _end(call: Call) -> web.Response:
    """Say that you are back. Returns who is still away."""
    query: AwayQuery = call.query

    def do(inbox: Inbox) -> AwaysDocument:
        inbox.come_back(query.for_)
        return AwaysDocument([away_document(one) for one in inbox.aways()])

    return json_answer(await call.inbox(do))


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1_000)


TABLE = [
    Route(
        method="GET",
        path="/api/v1/away",
        handle=_list,
        needs=("read",),
        summary="List who is away, and who stands in.",
        answers={200: AwaysDocument},
    ),
    Route(
        method="POST",
        path="/api/v1/away",
        handle=_set,
        needs=("decide",),
        summary="Say that you are away, and who stands in for you.",
        body=AwayBody,
        answers={200: AwayDocument},
    ),
    Route(
        method="DELETE",
        path="/api/v1/away",
        handle=_end,
        needs=("decide",),
        summary="Say that you are back.",
        query=AwayQuery,
        answers={200: AwaysDocument},
    ),
]
