"""The history of decisions, and statistics of them."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from aiohttp import web
from msgspec import Meta, Struct

from hitl_cli.errors import BadQuery
from hitl_cli.format.durations import parse_duration
from hitl_cli.gateway.api.requests import Cursor, Duration, Limit, Name
from hitl_cli.gateway.api.route import Call, Routes
from hitl_cli.inbox.history import HistoryFilter
from hitl_cli.ledger import Ledger
from hitl_cli.requests.question import Outcome
from hitl_cli.views.history import HistoryPage, history_entry_document
from hitl_cli.views.stats import StatsDocument, stats_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.history import HistoryEntry

routes = Routes()

LINES = 500
"""Lines of an export that are read at a time."""

LINES_OF_JSON = "application/x-ndjson"

MOST = 20_000
"""Statistics cover at most this many of the newest decisions, which take a second or two to read."""


class HistoryQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which decisions to list. With `id`, all comments, votes and decisions on that request or run."""

    id: Annotated[Name | None, Meta(description="All entries of one request or run.")] = None
    by: Annotated[Name | None, Meta(description="The person who decided, voted or commented.")] = None
    since: Annotated[str | None, Meta(description="Decisions of the last duration, e.g. 7d.")] = None
    workflow: Annotated[str, Meta(description="A glob for the run's id or its workflow.")] | None = None
    outcome: Outcome | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


class ExportQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The period to export: from `since` ago to `until` ago, or to now."""

    since: Annotated[str | None, Meta(description="Begin this duration ago, e.g. 30d.")] = None
    until: Annotated[str | None, Meta(description="End this duration ago, e.g. 1d.")] = None


class StatsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The period to cover, up to now."""

    since: Duration = "30d"


@routes.get("/history", "List decisions, newest first.", needs=("read", "ask"))
async def _show_history(call: Call[HistoryQuery, None]) -> HistoryPage:
    """Return the history of decisions."""
    query = call.query
    ago_ms = None if query.since is None else parse_duration(query.since)
    if query.id is not None and query.cursor is not None:
        raise BadQuery("cursor cannot be used with id: the history of one id has no pages.")

    def look(inbox: Inbox) -> tuple[list[HistoryEntry], str | None]:
        since = None if ago_ms is None else max(inbox.client.now() - ago_ms, 0)
        wanted = HistoryFilter(by=query.by, since=since, workflow=query.workflow, outcome=query.outcome)
        if query.id is not None:
            return inbox.story(query.id, wanted), None
        return inbox.history_page(wanted, limit=query.limit, after=query.cursor)

    found, following = await call.look_back(look)
    return HistoryPage([history_entry_document(entry) for entry in found], following)


@routes.get(
    "/history.jsonl",
    "Export the history with its proof, as lines of JSON.",
    needs=("read",),
    answers={200: None},
    media_type=LINES_OF_JSON,
)
async def _export_history(call: Call[ExportQuery, None]) -> web.StreamResponse:
    """Return requests, decisions, votes and signatures as lines of JSON, which `hitl verify FILE` checks."""
    ago = [None if text is None else parse_duration(text) for text in (call.query.since, call.query.until)]
    pool = call.gateway.own_pool()  # a long read keeps one client busy
    keys = call.gateway.options.people.checkpoints.known

    def begin(client: Client) -> Iterator[bytes]:
        between = (None if ms is None else max(client.now() - ms, 0) for ms in ago)
        return Ledger(client, call.actor).export(keys, *between)

    try:
        lines = await pool.run(begin)
        text = await pool.run(lambda _: b"".join(islice(lines, LINES)))
        response = web.StreamResponse(headers={"Content-Type": LINES_OF_JSON})
        await response.prepare(call.request)
        while text:
            await response.write(text)
            text = await pool.run(lambda _: b"".join(islice(lines, LINES)))
        return response
    finally:
        await asyncio.to_thread(pool.close)


@routes.get("/stats", "Get statistics of decisions: outcomes and times.", needs=("read",))
async def _show_stats(call: Call[StatsQuery, None]) -> StatsDocument:
    """Return statistics of decisions: outcomes, and how long people take."""
    ago_ms = parse_duration(call.query.since)
    found = await call.look_back(lambda inbox: inbox.stats(ago_ms, MOST))
    return stats_document(found)
